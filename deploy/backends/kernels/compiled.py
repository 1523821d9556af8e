"""numba's compiled functions, kept on disk in a way that processes which compile at the same moment cannot mix up.

numba numbers the files of one function's specialisations and writes the index that names them first, without a lock:
two processes can give one number to two specialisations, and a later one then loads a kernel of other constants, which
computes wrong integers without a word. Here a file's name is a digest of what it holds, and it is written before the
index names it: whatever the index names is what it should be. An entry that was lost in a race is compiled again.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from spikecut import fixed_point
from spikecut.errors import BackendError

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """A decorator: njit with these options and without Python's lock, cached on disk."""

    def decorate(function: Function) -> Function:
        dispatcher: Any = njit(nogil=True, **options)(function)
        dispatcher._cache = _Cache(function)  # where `cache=True` would put numba's own
        result: Function = dispatcher
        return result

    return decorate


def cache_folder() -> Path:
    """Where the compiled kernels are kept; BackendError where no folder can be written."""
    return Path(_Cache(cache_folder)._cache_path)


class CacheFile(IndexDataCacheFile):
    """The index and the files of one function."""

    def save(self, key: Any, data: Any) -> None:
        """Keep a specialisation: its own file first, then the index."""
        digest = hashlib.sha256(repr((self._source_stamp, self._version, key)).encode()).digest()
        name = self._data_name(int.from_bytes(digest[:16], "big"))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})


class _Cache(FunctionCache):
    """What is kept of one function; stale when its file or the constants of the chip have changed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            super().__init__(function)
        except RuntimeError as error:  # no folder that can be written
            raise BackendError(
                f"compiled kernels can be kept nowhere ({error}): set NUMBA_CACHE_DIR to a folder that can be written"
            ) from error
        constants = hashlib.sha256(Path(fixed_point.__file__).read_bytes()).hexdigest()
        stamp = self._impl.locator.get_source_stamp(), constants
        self._cache_file = CacheFile(self._cache_path, self._impl.filename_base, stamp)
