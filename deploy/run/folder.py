"""A run's folder: samples.parquet, summary.json and figures/, all of it or nothing."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spikecut.deploy.run.summary import UNSEALED, RunSummary
from spikecut.errors import InputError
from spikecut.files import json_digest, sha256, write_json
from spikecut.folders import FolderKind, replacing_folder

SAMPLES = "samples.parquet"
FIGURES = ("exits", "accuracy", "raster", "mesh_*")
RUN = FolderKind(
    "run",
    "summary.json",
    lambda data: isinstance(data, dict) and str(data.get("format", "")).startswith("spikecut run "),
    (SAMPLES, "summary.json", "figures", *(f"figures/{name}.png" for name in FIGURES)),
)


def sealed(summary: Mapping[str, Any], samples: Path) -> dict[str, Any]:
    """The content of summary.json: a summary as JSON data, the hash of its samples' file, and one of all of it."""
    content = {**summary, "samples_sha256": sha256(samples) if samples.exists() else None}
    return {**content, "sha256": json_digest(content)}


def is_unchanged(data: Mapping[str, Any], samples: Path) -> bool:
    """Whether summary.json and the samples beside it are as they were written; before format 3 they had no hashes."""
    if data.get("format") in UNSEALED:
        return "sha256" not in data
    return data == sealed({key: data[key] for key in data if key not in ("sha256", "samples_sha256")}, samples)


class RunWriter:
    """Writes the files of a run into a folder that is empty: rows as they come, then summary and figures."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self._rows: pq.ParquetWriter | None = None

    def rows(self, table: pa.Table) -> None:
        """Append rows, one a sample, all of the same columns, to `samples.parquet`."""
        if self._rows is None:
            self._rows = pq.ParquetWriter(self.part / SAMPLES, table.schema)
        self._rows.write_table(table)

    def close(self) -> None:
        """End `samples.parquet`."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def finish(self, summary: RunSummary, figures: Mapping[str, bytes]) -> None:
        """Write all the rest. figures: file name without suffix, one of FIGURES → content of `figures/<name>.png`."""
        self.close()
        write_json(self.part / "summary.json", sealed(summary.data(), self.part / SAMPLES), sort_keys=False)
        (self.part / "figures").mkdir()
        for name, content in figures.items():
            if Path(name).name != name:
                raise InputError(f"figure name {name!r}: expected a file name without folder")
            (self.part / "figures" / f"{name}.png").write_bytes(content)


@contextmanager
def writing_run(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[RunWriter]:
    """Write a run's folder, all of it or nothing.

    A folder that is not empty is replaced only when `overwrite` is set and it holds an earlier run and nothing else.

    Raises InputError if the folder may not be replaced or cannot be written.
    """
    with replacing_folder(Path(folder), RUN, overwrite) as part:
        writer = RunWriter(part)
        try:
            yield writer
        finally:
            writer.close()
