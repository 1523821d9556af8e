"""A campaign of hostile files: sound ones of every reader, mutated by seed, each read in a process of its own.

    make hostile                                 20,000 mutants, about half an hour
    make hostile ARGS="--quick --mutants 500"    without torch and Lava: under a minute
    make hostile ARGS="--mutants 0 --into docs/reliability.md"    the tables of those that are done
    make hostile ARGS="--only 4711 --keep"       one mutant again; its folder stays for a look

Prints the tables of docs/reliability.md, the mutants that failed, and the command that brings each back. What a mutant
may do and take: tests/support/hostile/campaign.py. Every mutant is a line of the file --out; a campaign that is broken
off goes on after the last one, and --again runs those anew that failed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ARROW_NUM_THREADS"):
    os.environ[name] = "1"  # what forks has a single thread
os.environ["MPLBACKEND"] = "Agg"

from hostile import campaign, sound  # noqa: E402

BEGIN, END = "<!-- hostile: begin -->", "<!-- hostile: end -->"


def given() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", default="", help="only readers whose names hold this")
    parser.add_argument("--quick", action="store_true", help="only readers that need no training and no Lava")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of mutants")
    parser.add_argument("--again", action="store_true", help="those of --out that failed")
    parser.add_argument("--keep", action="store_true", help="folders of all mutants stay; else those of failed ones")
    parser.add_argument("--into", type=Path, help="write the tables into this Markdown file, between its marks")
    parser.add_argument("--sound", type=Path, help="folder of the sound files, made there unless it exists")
    parser.add_argument("--out", type=Path, default=Path("runs/hostile.jsonl"))
    return parser.parse_args()


def _work(options: argparse.Namespace, numbers: list[int], done: dict[int, Any]) -> None:
    """Make and read mutants; `done` and the file --out grow by one line each."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="spikecut-hostile-"))
    campaign.import_most(options.quick)
    whole = (options.sound or folder / "sound").resolve()
    if not whole.exists():
        sound.make(whole, options.quick)
    readers = sound.readers(whole, options.quick)
    known = campaign.warm(readers, folder)
    print(f"sound files read in {time.monotonic() - began:.0f} s; mutants in {folder}", flush=True)
    with options.out.open("a") as file:
        for number in numbers:
            reader = readers[number % len(readers)]
            if options.reader not in reader.name:
                continue
            judged = campaign.judge(reader, number, options.seed, known, folder / str(number), options.keep)
            done[number] = campaign.asdict(judged)
            file.write(json.dumps(done[number]) + "\n")
            file.flush()
            if judged.verdict == "failed" or options.only:
                print(
                    f"{number} {reader.name}, {judged.group}: {judged.verdict} {judged.why}: {judged.said}", flush=True
                )


def main() -> int:
    """Run the campaign; 0 if nothing failed."""
    options, began = given(), time.monotonic()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {each["number"]: each for each in map(json.loads, lines)}
    numbers = options.only or range(options.first, options.first + options.mutants)
    if options.again:
        numbers = [number for number, each in done.items() if each["verdict"] == "failed"]
    numbers = [number for number in numbers if options.only or options.again or number not in done]
    if numbers:
        _work(options, numbers, done)
    tables = campaign.table(list(done.values()))
    failed = [number for number, each in done.items() if each["verdict"] == "failed"]
    print(tables)
    if options.into is not None:
        told = f'{len(done):,} mutants, `make hostile ARGS="--seed {options.seed}"`, {len(failed)} failed:'
        text = options.into.read_text()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        options.into.write_text(f"{before}{BEGIN}\n{told}\n\n{tables}{END}{after}")
    print(f"{len(done)} mutants, seed {options.seed}, {len(failed)} failed; {time.monotonic() - began:.0f} s")
    if failed:
        print(f"again: make hostile ARGS='--seed {options.seed} --keep --only {' '.join(map(str, failed[:20]))}'")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
