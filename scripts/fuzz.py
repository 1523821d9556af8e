"""A long fuzz campaign: random networks through the batched engine and through Lava's own models, compared with ==.

    make fuzz                        10^8 slots, and 200 networks in Lava's own runtime
    make fuzz ARGS="--slots 1e7 --runtime 20 --seed 3"

Prints the table of features with how often each occurred, the seeds, the counts and the time, and writes them as JSON.
A finished round is kept beside the JSON, so that a campaign that is broken off goes on where it was, unless the code
that it runs has changed since. Ends with an error where something differs, or where a feature never occurred. What is
compared and counted: tests/support/fuzz.py. A difference is printed by hypothesis with the seed that brings it back.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import sigma_delta_networks  # noqa: E402
from fuzz import campaign, merged, never, runtime_campaign  # noqa: E402

ROUND = 2_000_000
SIGMA_DELTA = 100
"""Networks of sigma-delta neurons beside each round, which are small."""
SIZES = (250, 250, 1200)  # by seed: many networks, and some large ones


def code() -> str:
    """Digest of all code that a round may run."""
    files = sorted(file for folder in ("deploy", "export", "tests/support") for file in (ROOT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def work(seed: int) -> tuple[int, dict[str, int], set[str], float]:
    """One round of the campaign, in a process of its own."""
    began = time.perf_counter()
    tally, digests = campaign(seed, ROUND, largest=SIZES[seed % len(SIZES)])
    tally.update(sigma_delta_networks.campaign(range(seed * SIGMA_DELTA, (seed + 1) * SIGMA_DELTA)))
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
    seeds = range(given.seed, given.seed + max(1, -(-int(given.slots) // ROUND)))
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes share the cores; threads that wait for each other take ages
    kept = given.out.parent / f"{given.out.stem}-rounds-{code()}"
    kept.mkdir(parents=True, exist_ok=True)
    files = [kept / f"{seed}.json" for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        missing = [seed for seed, file in zip(seeds, files, strict=True) if not file.is_file()]
        for seed, tally, found, seconds in pool.imap_unordered(work, missing):
            finished = {"tally": tally, "networks": sorted(found), "seconds": seconds}
            partial = kept / f"{seed}.partial"
            partial.write_text(json.dumps(finished))
            os.replace(partial, kept / f"{seed}.json")
            print(f"seed {seed}: {tally['slots']:,} slots in {seconds:.0f} s", flush=True)
    rounds = [json.loads(file.read_text()) for file in files]
    direct = sum(each["seconds"] for each in rounds)
    total = merged([each["tally"] for each in rounds])
    digests = {network for each in rounds for network in each["networks"]}
    total["distinct networks"] = len(digests)
    began = time.perf_counter()
    if given.runtime:
        total.update(runtime_campaign(given.seed, given.runtime, largest=24, samples=2))
    runtime = time.perf_counter() - began
    absent = never(total)
    for key, count in total.items():
        print(f"{key:60} {count:>15,}")
    print(
        f"0 mismatches; seeds {seeds[0]} to {seeds[-1]}; models driven by hand {direct:.0f} s of "
        f"processes, in the runtime {runtime:.0f} s"
    )
    report = {
        "mismatches": 0,
        "seeds": [seeds[0], seeds[-1]],
        "seconds": {"models driven by hand": direct, "runtime": runtime},
        "counts": dict(total),
        "never": absent,
    }
    given.out.write_text(json.dumps(report, indent=2) + "\n")
    if absent:
        print(f"never occurred: {', '.join(absent)}; run more slots", file=sys.stderr)
    return int(bool(absent))


if __name__ == "__main__":
    sys.exit(main())
