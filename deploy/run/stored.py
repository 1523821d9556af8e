"""A run's folder, read back."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from spikecut.deploy.run.folder import RUN, SAMPLES, is_unchanged
from spikecut.deploy.run.summary import RunSummary
from spikecut.errors import InputError
from spikecut.files import check_regular, read_json, reason
from spikecut.text import brief

COLUMNS = {
    "index": pa.int64(),
    "label": pa.int64(),
    "prediction": pa.int64(),
    "timesteps": pa.int64(),
    "hardware_steps": pa.int64(),
    "reason": pa.string(),
    "scores": pa.list_(pa.int64()),
}
"""Columns that every version has written, and that a reader needs."""


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder holds it: summary.json, and samples.parquet with one row a sample."""

    folder: Path
    summary: RunSummary
    samples: pa.Table

    __repr__ = brief


def read_run(folder: str | Path) -> StoredRun:
    """Read a run's folder.

    Raises InputError, in one line, for anything but a whole run of `spikecut run --out` or of the demo.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder of a run; `spikecut run … --out {path}` makes one")
    if not (path / RUN.mark).is_file():
        raise InputError(f"{path} holds no {RUN.mark}: give the folder of a run, which `spikecut run --out` makes")
    data = read_json(path / RUN.mark)
    if not RUN.is_ours(data):
        raise InputError(f"{path / RUN.mark} is not of a run: give a folder that `spikecut run --out` made")
    try:
        summary = RunSummary.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path / RUN.mark}: {key}: {first['msg']}; run again") from error
    samples = _samples(path / SAMPLES, summary.samples)
    if not is_unchanged(data, path / SAMPLES):
        raise InputError(f"{path}: {RUN.mark} or {SAMPLES} was changed or damaged: a hash does not match; run again")
    return StoredRun(path, summary, samples)


def _samples(path: Path, expected: int) -> pa.Table:
    check_regular(path)
    try:
        table = pq.read_table(path, partitioning=None)
        names = table.column_names
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({reason(error)}): run again") from error
    lacking = [name for name, kind in COLUMNS.items() if name not in names or table[name].type != kind]
    if lacking:
        raise InputError(f"{path}: no column {lacking[0]!r} of type {COLUMNS[lacking[0]]}: run again")
    if table.num_rows != expected or expected < 1:
        raise InputError(f"{path} holds {table.num_rows} samples, the summary says {expected}: run again")
    return table
