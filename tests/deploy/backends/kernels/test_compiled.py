"""Compiled kernels on disk: in whatever order processes write, what is loaded is the kernel that was asked for."""

import subprocess
import sys

import pytest

from spikecut.deploy.backends.kernels.compiled import CacheFile

COMPILE = """
import sys
import numpy as np
from spikecut.deploy.backends.kernels import neuron

kinds = [(0, 0, 0), (0, 2, 1), (1, 0, 1), (1, 2, 0)]
for decay_u, decay_v, reset in kinds[:: int(sys.argv[1])]:
    for dtype in (np.float32, np.float64):
        u, v, out = np.full((1, 1), 4096, np.int32), np.full((1, 1), 4096, np.int32), np.zeros((1, 1), np.int32)
        kernel = neuron.make_kernel(decay_u, decay_v, reset, False, False)
        kernel(np.ones((1, 1), dtype), 6, np.zeros(1, np.int32), u, v, 2048, 2048, 100, 100, neuron.NO_GAIN, out)
        print(decay_u, decay_v, reset, dtype.__name__, u.item(), v.item(), out.item())
"""


WRITES = "_save_index", "_save_data"


def interrupted_by(file, write, other, key, data):
    """`file`, after one of whose writes another process writes all of its own; it read the index before."""
    before, own = other._load_index(), getattr(file, write)
    other._load_index = lambda: dict(before)

    def written(*arguments):
        own(*arguments)
        other.save(key, data)

    setattr(file, write, written)
    return file


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("known", [{}, {"earlier": "kept"}])
def test_two_that_write_at_once_never_swap(tmp_path, known, write):
    one, other, reader = (CacheFile(str(tmp_path), "kernel", ("source", "constants")) for _ in range(3))
    for key, data in known.items():
        one.save(key, data)
    interrupted_by(one, write, other, "of 24 bits", "wraps").save("proven", "does not wrap")
    found = {key: reader.load(key) for key in ("proven", "of 24 bits", *known)}
    assert found["proven"] in (None, "does not wrap")
    assert found["of 24 bits"] in (None, "wraps")
    assert set(found.values()) != {None}


@pytest.mark.parametrize("write", WRITES)
def test_a_kernel_of_an_earlier_source_is_never_loaded(tmp_path, write):
    earlier, now = (CacheFile(str(tmp_path), "kernel", (stamp, "constants")) for stamp in ("old", "new"))
    earlier.save("proven", "old code")
    assert now.load("proven") is None
    interrupted_by(now, write, earlier, "proven", "old code").save("proven", "new code")
    assert CacheFile(str(tmp_path), "kernel", ("new", "constants")).load("proven") in (None, "new code")


def test_processes_that_compile_at_once_compute_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    commands = [[sys.executable, "-c", COMPILE, step] for step in ("1", "-1", "1")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    first = [sorted(process.communicate()[0].splitlines()) for process in running]
    afterwards = subprocess.run(commands[0], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(afterwards) == 8
    assert first == [sorted(afterwards)] * 3
    assert list(tmp_path.rglob("*.nbc"))
