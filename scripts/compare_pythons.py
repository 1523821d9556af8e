"""The ready networks in several Pythons: exported, calibrated, run and verified in each, and compared with the first.

    python scripts/compare_pythons.py OUT PYTHON [PYTHON ...] [--data FOLDER] [--networks NAME ...]

PYTHON: an interpreter with spikecut, torch and Lava; the first one is what the others are compared with. FOLDER holds
fashion-mnist and cifar10; networks whose data set is not there are left out, and the table says so. What a Python has
left in OUT is taken as it is: remove its folder there to run it again.

Each Python makes its own bundle of each network. `network.net`, the cutoff, and the rows of samples.parquet of a run on
the batched engine and of one on Lava must be those of the first Python, but for the time. `verify` must find every
integer equal on Lava's own models, for the bundle made there and for that of the first Python. Exit code 1 where any is
not so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spikecut import lava_repairs
from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.pretrained import EPSILON
from spikecut.deploy.pipeline.public import verify
from spikecut.errors import DataError
from spikecut.models.data import FOLDER_VARIABLE, Dataset, load_dataset
from spikecut.models.pretrained import ready_checkpoint, ready_names

ENGINES = ("batched", "lava")
DONE = "python.json"
TIME = "wall_time_s"


@dataclass(frozen=True)
class Size:
    """Samples of each network: batched and lava are run, `verify` are compared with torch on Lava's own models."""

    batched: int
    lava: int
    verify: int


def main() -> int:
    """Run what has not run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--networks", nargs="+", choices=ready_names(), default=ready_names())
    for name, count in asdict(Size(500, 20, 4)).items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help=f"samples, {count}")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.data is not None:
        os.environ[FOLDER_VARIABLE] = str(given.data.absolute())
    size = Size(given.batched, given.lava, given.verify)
    if given.here:
        run_here(given.out, [Path(first) for first in given.pythons], given.networks, size)
        return 0
    folders: list[Path] = []
    for python in given.pythons:
        folder = given.out.absolute() / label(python)
        if folder in folders:
            parser.error(f"{python}: two interpreters are {folder.name}")
        if not (folder / DONE).is_file():
            words = [python, str(Path(__file__).absolute()), str(folder), str((folders or [folder])[0]), "--here"]
            words += ["--networks", *given.networks]
            words += [word for name, count in asdict(size).items() for word in (f"--{name}", str(count))]
            subprocess.run(words, check=True)
        folders.append(folder)
    differences = [line for folder in folders for line in compare(folders[0], folder)]
    print("\n".join((*table(folders, size), *differences)))
    return 1 if differences else 0


def label(python: str) -> str:
    """What tells an interpreter from the others: Python, numpy and torch."""
    code = (
        "import platform; from importlib.metadata import version as v; "
        "print('python', platform.python_version(), 'numpy', v('numpy'), 'torch', v('torch'), sep='-')"
    )
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def run_here(out: Path, first: Sequence[Path], names: Sequence[str], size: Size) -> None:
    """All networks in the running Python, a folder each in `out`; first: the folder of the first Python."""
    out.mkdir(parents=True, exist_ok=True)
    require_lava()  # before torch asks for a start method
    done: dict[str, Any] = {}
    for name in names:
        try:
            done[name] = one_network(name, out, first[0], size)
        except DataError as error:
            done[name] = None
            print(f"{out.name}: {name} is left out: {error}", flush=True)
    about = {
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("numpy", "torch", "numba", "lightning")},
        "repairs": len(lava_repairs.needed()),
        "networks": done,
    }
    (out / DONE).write_text(json.dumps(about, indent=2), encoding="utf-8")


def one_network(name: str, out: Path, first: Path, size: Size) -> dict[str, Any]:
    """Export, calibrate, run and verify: what `verify` found."""
    from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
    from spikecut.deploy.pipeline.export import export_to_bundle
    from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle
    from spikecut.models.checkpoint import load_checkpoint

    network, recipe = load_checkpoint(ready_checkpoint(name))
    data = samples_of(recipe["dataset"])
    folder = out / name
    export_to_bundle(network, recipe, folder / "bundle", name=name)
    calibrate_split(open_bundle(folder / "bundle"), data.calibration, data.name, CalibrationOptions(epsilon=EPSILON))
    bundle = open_bundle(folder / "bundle")
    for engine in ENGINES:
        split = data.test.take(slice(getattr(size, engine)))
        run_bundle(RunTask(bundle, split, data.name, bundle.policy, RunOptions(engine)), RunTarget(folder / engine))
    bundles = dict.fromkeys((folder / "bundle", first / name / "bundle"))
    found = [verify(each, samples=size.verify, backend="lava") for each in bundles]
    print(f"{out.name}: {name}", flush=True)
    return {"samples": found[0].samples, "differences": [str(each.difference) for each in found if not each.passed]}


@cache
def samples_of(dataset: str) -> Dataset:
    """A data set, read once."""
    return load_dataset(dataset)


def networks(folder: Path) -> dict[str, Any]:
    """What a Python did, by network."""
    done: dict[str, Any] = json.loads((folder / DONE).read_text(encoding="utf-8"))["networks"]
    return {name: found for name, found in done.items() if found is not None}


def compare(first: Path, other: Path) -> list[str]:
    """Whatever is not as it is in the first Python, a line each."""
    said = [f"{other.name}: {name} was not run" for name in sorted(networks(first).keys() - networks(other).keys())]
    for name, found in networks(other).items():
        said += [f"{other.name}: {name}: torch and Lava differ at {where}" for where in found["differences"]]
        bundles = [folder / name / "bundle" for folder in (first, other)]
        for file, read in (("network.net", Path.read_bytes), ("cutoff.json", cutoff)):
            ours, theirs = (read(bundle / file) for bundle in bundles)
            if ours != theirs:
                said.append(f"{other.name}: {name}: {file} is another")
        for engine in ENGINES:
            rows, others = (pq.read_table(folder / name / engine / "samples.parquet") for folder in (first, other))
            if rows.column_names != others.column_names or rows.num_rows != others.num_rows:
                said.append(f"{other.name}: {name}: {engine}: other columns or rows")
                continue
            columns = [column for column in rows.column_names if not rows[column].equals(others[column])]
            if set(columns) - {TIME}:
                said.append(f"{other.name}: {name}: {engine}: {', '.join(columns)} differ")
    return said


def cutoff(file: Path) -> dict[str, Any]:
    """Policy and figures of a calibration, but for the intervals, whose last digit is that of scipy's release."""
    left_out = ("intervals", "sha256")
    return {key: value for key, value in json.loads(file.read_bytes()).items() if key not in left_out}


def table(folders: Sequence[Path], size: Size) -> list[str]:
    """Pythons and what was run in them, in Markdown."""
    rows = [
        f"| Python | numpy | torch | lines of Lava repaired | networks | batched, {size.batched} samples each | "
        f"Lava, {size.lava} | verify on Lava, {size.verify} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        about = json.loads((folder / DONE).read_text(encoding="utf-8"))
        done = networks(folder)
        counts = [
            sum(pq.read_metadata(folder / name / engine / "samples.parquet").num_rows for name in done)
            for engine in ENGINES
        ]
        verified = sum(found["samples"] for found in done.values())
        cells = (about["python"], *(about["versions"][name] for name in ("numpy", "torch")), about["repairs"])
        rows.append(
            "| " + " | ".join(map(str, (*cells, len(done), *(f"{count} rows" for count in counts), verified))) + " |"
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
