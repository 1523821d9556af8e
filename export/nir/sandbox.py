"""A NIR file is read by another process first, which may hang, crash or run out of memory in this one's place.

The HDF5 library (2.0.0) circles for ever in some damaged files: one in 200 with a few bytes changed at random. Nothing
in Python stops that, so a process that can be killed goes ahead; what it says is what is said here. Its processor time
tells a damaged file, whatever else the machine does meanwhile; the time that passes is only bounded.
"""

import math
import signal
import subprocess
import sys
import time
from pathlib import Path

from spikecut.errors import BundleError
from spikecut.export.nir.file import NirNode, parse_graph
from spikecut.files import check_regular

SECONDS = 4.0  # of the processor, beside those for Python's own start
BYTES_PER_SECOND = 2**24  # on top, for files that are large but sound
PATIENCE = 120.0  # seconds that pass, on top of these
MEMORY = 4 * 2**30
REFUSED = 3


def read_graph(path: Path) -> NirNode:
    """The graph in a NIR file, distrusted.

    Raises
    ------
    BundleError: see nir_file.parse_graph; and a file that takes too long, too much memory, or crashes the HDF5 library.
    """
    limit = math.ceil(SECONDS + check_regular(path, BundleError) / BYTES_PER_SECOND)
    patience = PATIENCE + limit
    command = [sys.executable, "-m", "spikecut.export.nir.sandbox", str(path.absolute()), str(limit)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"{path}: not read within {patience:.0f} s: the machine is busy, or its disk slow; try again"
        ) from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be examined: no process could be started ({error})") from error
    if done.returncode == -signal.SIGXCPU:
        raise BundleError(f"{path}: damaged: HDF5 did not get to its end within {limit} s of the processor's time")
    if done.returncode == REFUSED:
        raise BundleError(done.stdout.strip().replace(str(path.absolute()), str(path)))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise BundleError(f"{path}: damaged: the HDF5 library failed on it ({last[0][:200]})")
    return parse_graph(path)


def _probe(path: Path, seconds: int) -> int:
    """Read the file, in a process of its own that the system ends after so many more seconds of the processor."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        last = math.ceil(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (last, last + 1))
    try:
        parse_graph(path)
    except BundleError as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_probe(Path(sys.argv[1]), int(sys.argv[2])))
