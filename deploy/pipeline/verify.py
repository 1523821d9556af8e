"""Verify: bundle → where the backends differ from the golden twin, if they do."""

from pathlib import Path

from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.progress import Progress, before_first, silent
from spikecut.deploy.verify.compare import Verification, verify


def verify_bundle(
    path: Path, samples: int | None = None, backend: str = "lava", progress: Progress = silent
) -> Verification:
    """Compare the golden twin with the batched engine, and with one more backend; see verify.compare.

    Raises what `verify` and `open_bundle` raise.
    """
    bundle = open_bundle(path)
    available = len(bundle.golden().labels)
    total = available if samples is None else min(samples, available)
    with progress(f"golden samples on {backend}", total, before_first(backend_named(backend))) as advance:
        return verify(bundle, samples, backend, advance)
