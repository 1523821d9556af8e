"""Would the tests notice? Every mutant of the exactness core, against the tests of its module.

    python scripts/mutation [FILE ...] [--out mutants.jsonl] [--every 1]

A mutant changes one operator, number, condition, function or statement. Each gets a process of its own in which its
module's tests run until one fails (hypothesis draws the same each time). First the tests run on the module as it is:
they must pass, and what they take sets the limit, beyond which a mutant counts as endless. --out is read first: what
it holds is not run again. FILE: modules, by default the whole core (scripts/mutation/core.py).
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from changes import Mutant, mutants
from core import ROOT, TESTS
from trial import prepare, trial

SLOWER = 4
LEAST_S = 60


def main() -> int:
    """Run the campaign; 1 if a mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(TESTS), metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant")
    given = parser.parse_args()
    prepare()
    known = {key(row): row for row in map(json.loads, given.out.read_text().splitlines())} if given.out.exists() else {}
    counts: dict[str, Counter[str]] = {}
    for file in given.files:
        counts[file] = campaign(file, given.out, given.every, known)
        print(file, dict(counts[file]), flush=True)
    total = sum(counts.values(), Counter())
    print(f"{total['killed'] + total['endless']} of {total.total()} killed, {total['survived']} survived")
    return int(total["survived"] > 0)


def key(row: dict[str, object]) -> tuple[object, ...]:
    """What names a mutant as long as its line stays as it is."""
    return row["file"], row["text"], row["was"], row["now"], row["nth"]


def campaign(file: str, out: Path, every: int, known: dict[tuple[object, ...], dict[str, object]]) -> Counter[str]:
    """Try the mutants of a module; verdicts by number."""
    source = (ROOT / file).read_text()
    lines, seen, counts = source.splitlines(), Counter[tuple[object, ...]](), Counter[str]()
    chosen = list(mutants(source))[::every]
    limit = None
    for mutant in chosen:
        row = described(file, lines, mutant, seen)
        if key(row) not in known:
            if limit is None:
                limit = sound(file)
            outcome = trial(file, mutant.tree, TESTS[file], limit)
            row |= {"verdict": outcome.verdict, "seconds": round(outcome.seconds, 1), "said": outcome.said[:200]}
            with out.open("a") as file_out:
                file_out.write(json.dumps(row) + "\n")
        else:
            row = known[key(row)]
        counts[str(row["verdict"])] += 1
        if row["verdict"] == "survived":
            print(f"  {file}:{mutant.line}: {mutant.was} → {mutant.now}", flush=True)
    return counts


def described(file: str, lines: list[str], mutant: Mutant, seen: Counter[tuple[object, ...]]) -> dict[str, object]:
    """A mutant in words; nth: of those that read the same."""
    what = (lines[mutant.line - 1].strip(), mutant.was, mutant.now)
    seen[what] += 1
    return {"file": file, "line": mutant.line, "text": what[0], "was": what[1], "now": what[2], "nth": seen[what]}


def sound(file: str) -> int:
    """CPU seconds that a mutant gets: several times what the tests take on the module as it is."""
    outcome = trial(file, None, TESTS[file], 3600)
    if outcome.verdict != "survived":
        raise SystemExit(f"{file}: its tests fail without a mutant: {outcome.said}")
    print(f"{file}: {outcome.seconds:.0f} s as it is", flush=True)
    return max(LEAST_S, int(SLOWER * outcome.seconds))


if __name__ == "__main__":
    sys.exit(main())
