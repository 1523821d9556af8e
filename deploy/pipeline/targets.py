"""Where a step may write its files: nothing of others is ever replaced."""

from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from spikecut.errors import InputError
from spikecut.export.manifest import BUNDLE, CUTOFF
from spikecut.files import reason
from spikecut.folders import check_folder

PREFIX = "zoo:"


def cache_folder() -> Path:
    """Where the bundles of zoo:NAME are kept: spikecut/zoo below the user's cache folder."""
    return user_cache_path("spikecut", appauthor=False) / "zoo"


def is_pretrained(path: Path | None) -> bool:
    """Whether this names a pretrained checkpoint."""
    return path is not None and str(path).startswith(PREFIX)


def is_shared(path: Path) -> bool:
    """Whether this names, or is, a bundle that all commands share: none of them may change it."""
    try:
        return is_pretrained(path) or path.resolve().is_relative_to(cache_folder().resolve())
    except (OSError, ValueError, RuntimeError):  # a circle of links, say: whoever opens it says so
        return False


def check_file(out: Path, what: str, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Raise InputError where a file may not be written: only an earlier one of its kind is replaced."""
    try:
        there, name = out.exists(), out.resolve().name
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot write {out}: {reason(error)}; choose another --out") from error
    if not name or out.is_dir():
        raise InputError(f"{out} is a folder: choose another --out")
    if there and not overwrite:
        raise InputError(f"{out} exists: choose another file, or --overwrite")
    if there and not (out.is_file() and is_ours(out)):
        raise InputError(f"{out} is no {what} that spikecut wrote: choose another --out, or remove it")


def check_bundle_target(out: Path, overwrite: bool) -> tuple[str, ...]:
    """Raise InputError unless a bundle may be written there; what goes with the earlier one, in words."""
    target = check_folder(out, BUNDLE, overwrite)
    if not (target / CUTOFF).exists():
        return ()
    return (f"{out}: the earlier bundle's calibration ({CUTOFF}) went with it: calibrate again",)
