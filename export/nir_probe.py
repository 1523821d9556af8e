"""A NIR file is read by another process first, which may hang, crash or run out of memory in this one's place.

The HDF5 library (2.0.0) circles for ever in some damaged files: one in 200 with a few bytes changed at random. Nothing
in Python stops that, so a process that can be killed goes ahead; what it says is what is said here.
"""

import subprocess
import sys
from pathlib import Path

from spikecut.errors import BundleError
from spikecut.export.nir_file import NirNode, parse_graph

SECONDS = 4.0
BYTES_PER_SECOND = 2**24  # on top, for files that are large but sound
MEMORY = 4 * 2**30
REFUSED = 3


def read_graph(path: Path) -> NirNode:
    """The graph in a NIR file, distrusted.

    Raises
    ------
    BundleError: see nir_file.parse_graph; and a file that takes too long, too much memory, or crashes the HDF5 library.
    """
    if not path.is_file():
        raise BundleError(f"{path}: no such file")
    limit = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    command = [sys.executable, "-m", "spikecut.export.nir_probe", str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise BundleError(f"{path}: damaged: HDF5 did not get to its end within {limit:.0f} s") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be examined: no process could be started ({error})") from error
    if done.returncode == REFUSED:
        raise BundleError(done.stdout.strip().replace(str(path.absolute()), str(path)))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise BundleError(f"{path}: damaged: the HDF5 library failed on it ({last[0][:200]})")
    return parse_graph(path)


def _probe(path: Path) -> int:
    """Read the file, in a process of its own."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        parse_graph(path)
    except BundleError as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_probe(Path(sys.argv[1])))
