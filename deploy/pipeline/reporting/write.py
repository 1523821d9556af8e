"""Report: run folders → one HTML file, or a folder of figures for a paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.pipeline.reporting.options import DEFAULTS, ReportOptions
from spikecut.deploy.pipeline.targets import check_file
from spikecut.deploy.report.html.contents import GENERATOR, KINDS, Report
from spikecut.errors import InputError
from spikecut.extras import needs_report
from spikecut.files import reason, write_bytes, write_json
from spikecut.folders import FolderKind, check_folder, replacing_folder
from spikecut.text import brief

MARK = "summary.json"
FORMAT = "spikecut figures 1"
FIGURES = FolderKind(
    "folder of figures",
    MARK,
    lambda data: isinstance(data, dict) and str(data.get("format", "")).startswith("spikecut figures "),
    (MARK, *(f"*.{kind}" for kind in KINDS)),
)
HEAD_BYTES = 4096
"""Where a page's mark stands."""


@dataclass(frozen=True)
class Reported:
    """A report that was written.

    Attributes
    ----------
    path: the file, or the folder of figures. files: names in the folder. report: what it shows.
    notes: what could not be shown, for the user.
    """

    path: Path
    report: Report
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """Where it is, and of which runs."""
        names = ", ".join(run.name for run in self.report.runs)
        return f"report of {names}: {self.path}"

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON."""
        runs = [{"name": run.name, "folder": run.folder, "missing": dict(run.missing)} for run in self.report.runs]
        return {"out": str(self.path), "files": list(self.files), "runs": runs}


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    figures: str | None = None,
    bundles: Sequence[str | Path] = (),
    samples: Sequence[int] = (),
    backend: str = "batched",
    overwrite: bool = False,
) -> Reported:
    """Write what runs found as one HTML file that loads nothing from elsewhere, or their figures for a paper.

    What a run's folder does not hold is computed anew from its bundle and data set, where they are found with the
    hashes of the run; where not, the report says so.

    Parameters
    ----------
    runs: folders that `spikecut run --out` wrote, one or several to be compared.
    out: the file, below 5 MB; with `figures` a folder.
    figures: "pdf" or "svg" for a folder of figures in the place of the page.
    bundles: where bundles of these runs are, if not where the runs say.
    samples: places in the data set of the samples to play, at most 20; by default a choice of right and wrong ones.
    backend: what is compared with the golden witness, "batched", or "lava" too.
    overwrite: replace an earlier report, or earlier figures.

    Raises
    ------
    InputError: no run's folder, packages of the extra `report` missing, or an `out` that holds something else or cannot
        be written. BundleError: one of `bundles` is not sound.
    """
    folders = [runs] if isinstance(runs, str | Path) else list(runs)
    options = ReportOptions(tuple(map(Path, bundles)), tuple(samples), backend)
    return write_report([Path(folder) for folder in folders], Path(out), figures, options, overwrite)


def write_report(
    folders: Sequence[Path],
    out: Path,
    figures: str | None = None,
    options: ReportOptions = DEFAULTS,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Reported:
    """See `report`."""
    with needs_report():
        import jinja2  # noqa: F401 (before minutes of work, not after them)
        import vl_convert  # noqa: F401
    if figures is not None:
        return _write_figures(folders, out, figures, options, overwrite, progress)
    # rich and matplotlib: only where a report is made
    from spikecut.deploy.pipeline.reporting.gather import gather
    from spikecut.deploy.report.html.page import page

    check_report_target(out, overwrite)
    found = gather(folders, options, progress)
    try:
        write_bytes(out, page(found))
    except OSError as error:
        raise InputError(f"cannot write {out}: {reason(error)}; choose another --out") from error
    return Reported(out.resolve(), found, notes=found.notes)


def check_report_target(out: Path, overwrite: bool) -> None:
    """Raise InputError unless a report may be written to this file."""
    check_file(out, "report", overwrite, _is_report)


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() in file.read(HEAD_BYTES)


def _write_figures(
    folders: Sequence[Path], out: Path, kind: str, options: ReportOptions, overwrite: bool, progress: Progress
) -> Reported:
    from spikecut.deploy.pipeline.reporting.gather import gather
    from spikecut.deploy.report.html.figures import paper_figures

    if kind not in KINDS:
        raise InputError(f"figures {kind!r}: choose {' or '.join(KINDS)}")
    check_folder(out, FIGURES, overwrite)
    found = gather(folders, options, progress)
    drawn = paper_figures(found, kind)
    with replacing_folder(out, FIGURES, overwrite) as part:
        for name, content in drawn.items():
            (part / name).write_bytes(content)
        about = [{"name": run.name, "folder": run.folder} for run in found.runs]
        write_json(part / MARK, {"format": FORMAT, "runs": about, "files": sorted(drawn)})
    return Reported(out.expanduser().resolve(), found, tuple(drawn), found.notes)
