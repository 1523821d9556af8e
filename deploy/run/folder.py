"""A run's folder: samples.parquet, summary.json and figures/, all of it or nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spikecut.deploy.run.summary import RunSummary
from spikecut.errors import InputError
from spikecut.files import write_json
from spikecut.folders import FolderKind, replacing_folder

FIGURES = ("exits", "accuracy", "raster", "mesh_*")
RUN = FolderKind(
    "run",
    "summary.json",
    lambda data: isinstance(data, dict) and str(data.get("format", "")).startswith("spikecut run "),
    ("samples.parquet", "summary.json", "figures", *(f"figures/{name}.png" for name in FIGURES)),
)


def write_run(
    folder: str | os.PathLike[str],
    table: pa.Table,
    summary: RunSummary,
    figures: Mapping[str, bytes] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a run's folder, all of it or nothing; returns its absolute path.

    A folder that is not empty is replaced only when `overwrite` is set and it holds an earlier run and nothing else.

    Parameters
    ----------
    figures: file name without suffix, one of FIGURES → content of `figures/<name>.png`.

    Raises InputError if the folder may not be replaced or cannot be written.
    """
    with replacing_folder(Path(folder), RUN, overwrite) as part:
        _fill(part, table, summary.data(), figures or {})
    return Path(folder).expanduser().resolve()


def _fill(part: Path, table: pa.Table, summary: Mapping[str, Any], figures: Mapping[str, bytes]) -> None:
    """Write the run's files into an empty folder."""
    pq.write_table(table, part / "samples.parquet")
    write_json(part / "summary.json", summary, sort_keys=False)
    (part / "figures").mkdir()
    for name, content in figures.items():
        if Path(name).name != name:
            raise InputError(f"figure name {name!r}: expected a file name without folder")
        (part / "figures" / f"{name}.png").write_bytes(content)
