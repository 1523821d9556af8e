"""A campaign of faults: commands that are hit at a random moment, finished again, and compared with undisturbed ones.

    make faults                                 600 cases, about half an hour
    make faults ARGS="--cases 0 --into docs/reliability.md"    the tables of those that are done
    make faults ARGS="--only 47 --keep runs/keep"    one case again; what it leaves stays in that folder

500 are runs on Lava, isolated and streaming, with each of its three models; 100 are trainings, exports and sweeps.
What may happen: tests/support/faults/campaign.py. Every case is a line of the file --out; a campaign that is broken off
goes on after the last one, and --again runs those anew that failed.
"""

import argparse
import json
import os
import shutil
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

from faults import campaign, places  # noqa: E402
from faults.operation import operations  # noqa: E402

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def given() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", default="", help="only commands whose names hold this")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    parser.add_argument("--again", action="store_true", help="those of --out that failed")
    parser.add_argument("--keep", type=Path, help="what cases leave stays here; else what failed ones leave, elsewhere")
    parser.add_argument("--into", type=Path, help="write the tables into this Markdown file, between its marks")
    parser.add_argument("--out", type=Path, default=Path("runs/faults.jsonl"))
    parser.add_argument("--no-mounts", action="store_true", help="as where the system lets nobody mount a disk")
    return parser.parse_args()


def _work(options: argparse.Namespace, numbers: list[int], done: dict[int, Any]) -> None:
    """Play cases; `done` and the file --out grow by one line each."""
    began = time.monotonic()
    mounted = not options.no_mounts and places.separate()
    print("full disks are " + ("small ones, mounted" if mounted else "a limit on the size of files"), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="spikecut-faults-"))
    chosen = [each for each in operations() if options.command in each.name]
    stage = campaign.Stage(folder, chosen, mounted)
    print(f"undisturbed ones done in {time.monotonic() - began:.0f} s; cases in {folder}", flush=True)
    with options.out.open("a") as file:
        for number in numbers:
            judged = campaign.asdict(stage.play(number, options.seed, options.keep, folder / "failed"))
            done[number] = judged
            file.write(json.dumps(judged) + "\n")
            file.flush()
            if judged["why"] or options.only:
                print(json.dumps(judged), flush=True)
    stage.disk.remove()
    if not (folder / "failed").exists():
        shutil.rmtree(folder)


def main() -> int:
    """Run the campaign; 0 if nothing failed."""
    options, began = given(), time.monotonic()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {each["number"]: each for each in map(json.loads, lines)}
    numbers = options.only or range(options.first, options.first + options.cases)
    if options.again:
        numbers = [number for number, each in done.items() if each["ending"] == "failed"]
    numbers = [number for number in numbers if options.only or options.again or number not in done]
    if numbers:
        _work(options, numbers, done)
    tables = campaign.table(list(done.values()))
    failed = [number for number, each in done.items() if each["ending"] == "failed"]
    print(tables)
    if options.into is not None:
        late = sum(each["note"] == "too late" for each in done.values())
        told = f'{len(done):,} cases, `make faults ARGS="--seed {options.seed}"`, {len(failed)} failed; '
        told += f"in {late} the command had ended before its moment:"
        text = options.into.read_text()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        options.into.write_text(f"{before}{BEGIN}\n{told}\n\n{tables}{END}{after}")
    print(f"{len(done)} cases, seed {options.seed}, {len(failed)} failed; {time.monotonic() - began:.0f} s")
    if failed:
        print(f"again: make faults ARGS='--seed {options.seed} --only {' '.join(map(str, failed[:20]))}'")
    return int(bool(failed))


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    os._exit(ended)  # libraries that are imported together tell at the end of what they leak
