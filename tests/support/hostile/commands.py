"""What a mutant is handed to: the command line; where that would cost seconds, the function that it calls first."""

import hashlib
import json
import sys
from pathlib import Path


def main(arguments: tuple[str, ...]) -> None:
    """Run a command, or `read-run FOLDER`, or `load DATASET FOLDER`; SystemExit as of the command line."""
    from spikecut.deploy.cli import main as cli

    own = {"read-run": _read_run, "load": _load}.get(arguments[0])
    if Path("zoo").is_dir():
        from spikecut.models import pretrained

        pretrained.FOLDER = Path("zoo")
    if own is not None:
        cli.app = lambda *_arguments, **_options: own(*arguments[1:])
    sys.argv = ["spikecut", *arguments]
    cli.main()


def _read_run(folder: str) -> int:
    """A run's folder, as `report` reads it before it draws for seconds."""
    from spikecut.deploy.run.stored import read_run

    found = read_run(folder)
    print(json.dumps({"summary": found.summary.data(), "rows": found.samples.to_pylist()}, default=str))
    return 0


def _load(name: str, folder: str) -> int:
    """A data set from its own files, as every command reads it before it does anything else."""
    from spikecut.models.data import load_dataset

    data = load_dataset(name, folder=Path(folder), frames=4)
    digest = hashlib.sha256()
    for split in (data.train, data.calibration, data.test):
        digest.update(split.x[:].tobytes() + split.y.tobytes())
    print(json.dumps({"sha256": digest.hexdigest(), "labels": list(data.labels)}))
    return 0
