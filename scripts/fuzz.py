"""A long fuzz campaign: random networks through the batched engine and through Lava's own models, compared with ==.

    make fuzz                        10^8 slots, and 200 networks in Lava's own runtime
    make fuzz ARGS="--slots 1e7 --runtime 20 --seed 3"

Prints the table of features with how often each occurred, the seeds, the counts and the time, and writes them as JSON.
Ends with an error where something differs, or where a feature never occurred. What is compared and counted:
tests/support/fuzz.py. A difference is printed by hypothesis with the seed that brings it back.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from fuzz import campaign, merged, never, runtime_campaign

ROUND = 2_000_000
SIZES = (250, 250, 1200)  # by seed: many networks, and some large ones


def work(seed: int) -> tuple[int, dict[str, int], set[str], float]:
    """One round of the campaign, in a process of its own."""
    began = time.perf_counter()
    tally, digests = campaign(seed, ROUND, largest=SIZES[seed % len(SIZES)])
    return seed, dict(tally), digests, time.perf_counter() - began


def main() -> int:
    """Run the campaign; 0 if nothing differs and every feature occurred."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=float, default=1e8, help="neurons × steps × samples to compare")
    parser.add_argument("--runtime", type=int, default=200, help="networks that go through Lava's own runtime")
    parser.add_argument("--seed", type=int, default=1, help="first seed; every round of two million slots has one")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz.json"))
    given = parser.parse_args()
    rounds = max(1, -(-int(given.slots) // ROUND))
    seeds = range(given.seed, given.seed + rounds)
    began = time.perf_counter()
    tallies, digests = [], set()
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for done, (seed, tally, found, seconds) in enumerate(pool.imap_unordered(work, seeds), start=1):
            tallies.append(tally)
            digests |= found
            print(f"seed {seed}: {tally['slots']:,} slots in {seconds:.0f} s ({done} of {rounds})", flush=True)
    direct = time.perf_counter() - began
    total = merged(tallies)
    total["distinct networks"] = len(digests)
    if given.runtime:
        total.update(runtime_campaign(given.seed, given.runtime, largest=24, samples=2))
    seconds = time.perf_counter() - began
    missing = never(total)
    for key, count in total.items():
        print(f"{key:60} {count:>15,}")
    print(
        f"0 mismatches; seeds {seeds[0]} to {seeds[-1]}; models driven by hand {direct:.0f} s, "
        f"in the runtime {seconds - direct:.0f} s"
    )
    report = {
        "mismatches": 0,
        "seeds": [seeds[0], seeds[-1]],
        "seconds": {"models driven by hand": direct, "runtime": seconds - direct},
        "counts": dict(total),
        "never": missing,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2) + "\n")
    if missing:
        print(f"never occurred: {', '.join(missing)}; run more slots", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
