"""A run's folder: samples.parquet, summary.json and figures/, all of it or nothing."""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from spikecut.deploy.evaluate import FORMAT, jsonable
from spikecut.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_FILES = {"samples.parquet", "summary.json", "figures", "report.html"}


def write_run(
    folder: str | os.PathLike[str],
    table: pa.Table,
    summary: Mapping[str, Any],
    figures: "Mapping[str, Figure] | None" = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a run's folder, all of it or nothing; returns its absolute path.

    Everything goes into a hidden folder beside the target, which is then renamed. A folder that is not empty is
    replaced only when `overwrite` is set and it holds an earlier run and nothing else.

    Parameters
    ----------
    figures: file name without suffix → matplotlib figure, saved as `figures/<name>.png`.

    Raises InputError if the folder may not be replaced or cannot be written.
    """
    content = json.dumps({"format": FORMAT, **jsonable(summary)}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        target = Path(folder).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as exc:  # ValueError: a null byte; RuntimeError: no such home
        raise InputError(f"cannot write the run to {str(folder)!r}: {exc}; choose another folder") from exc
    try:
        _check_target(target, overwrite)
        _write_beside(target, table, content, figures or {})
    except OSError as exc:
        raise InputError(f"cannot write the run to {target}: {exc.strerror or exc}; choose another folder") from exc
    return target


def _write_beside(target: Path, table: pa.Table, content: str, figures: "Mapping[str, Figure]") -> None:
    """Fill a hidden folder beside the target and rename it; on any exception nothing of it is left."""
    part = target.with_name(f".spikecut.{uuid.uuid4().hex[:8]}.part")
    created: list[Path] = []
    try:
        _make_parents(target.parent, created)
        part.mkdir()
        _fill(part, table, content, figures)
        _swap(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        for parent in reversed(created):
            with suppress(OSError):
                parent.rmdir()
        raise


def _check_target(target: Path, overwrite: bool) -> None:
    """Raise InputError unless the target is absent, empty, or an earlier run that may be replaced."""
    if not target.name:
        raise InputError(f"cannot write the run to {target}: choose a folder below it")
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"cannot write the run to {target}: it is a file")
    entries = {entry.name for entry in target.iterdir()}
    if not entries:
        return
    if not _is_run(target):
        raise InputError(f"{target} is not empty and holds no spikecut run: choose another folder")
    if not overwrite:
        raise InputError(f"{target} holds an earlier run: choose another folder, or ask to overwrite it")
    foreign = sorted(entries - RUN_FILES)
    if (target / "figures").is_dir():
        foreign += sorted(f"figures/{entry.name}" for entry in (target / "figures").iterdir() if entry.suffix != ".png")
    if foreign:
        raise InputError(f"{target} also holds {', '.join(foreign)}, which no run wrote: move that away first")


def _is_run(folder: Path) -> bool:
    """Whether a folder's summary.json is one of ours."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return False
    return isinstance(summary, dict) and str(summary.get("format", "")).startswith("spikecut run ")


def _make_parents(folder: Path, created: list[Path]) -> None:
    """Make a folder and those above it, noting each one made, from the top."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir()
        created.append(parent)


def _fill(part: Path, table: pa.Table, content: str, figures: "Mapping[str, Figure]") -> None:
    """Write the run's files into an empty folder."""
    pq.write_table(table, part / "samples.parquet")
    (part / "summary.json").write_text(content, encoding="utf-8")
    (part / "figures").mkdir()
    for name, figure in figures.items():
        from spikecut.deploy.report.plots import save

        if Path(name).name != name:
            raise InputError(f"figure name {name!r}: expected a file name without folder")
        save(figure, part / "figures" / f"{name}.png")


def _swap(part: Path, target: Path) -> None:
    """Put the finished folder in the target's place; on failure the earlier one is back."""
    earlier = part.with_suffix(".earlier")
    try:
        if target.exists():
            target.rename(earlier)
        part.rename(target)
    finally:
        if earlier.exists():
            if target.exists():
                shutil.rmtree(earlier, ignore_errors=True)
            else:
                earlier.rename(target)
