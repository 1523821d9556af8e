"""Trials of what is installed, each in a process of its own: whatever happens there, the doctor goes on.

python -m spikecut.deploy.pipeline.installation.trials NAME FILE     leaves what it found in FILE, as JSON
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from spikecut.deploy.backends.progress import Progress, silent
from spikecut.errors import BackendError, SpikecutError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.files import read_json, write_json

State = Literal["works", "not available", "fails"]
HORIZON, SIDE = 4, 2
MODULE = "spikecut.deploy.pipeline.installation.trials"
LIMIT_S = 600.0
"""A trial that has not ended by then is taken for one that hangs."""


@dataclass(frozen=True)
class Finding:
    """What a trial found; said: in words."""

    state: State
    said: str


def tiny_network() -> IntegerNetwork:
    """A convolution and a dense layer whose neurons fire where their input does."""
    pixels = SIDE * SIDE
    shape = (1, SIDE, SIDE)

    def neuron(channels: int) -> IntegerNeuron:
        return IntegerNeuron(
            threshold=32,
            bias_mantissa=np.zeros(channels, dtype=np.int64),
            decay_u=4096,
            decay_v=4096,
            bias_exponent=6,
            v_init=0,
            reset="zero",
        )

    conv = IntegerLayer("conv", "conv", np.full((1, 1, 1, 1), 64), neuron(1), shape, shape)
    dense = IntegerLayer("dense", "dense", 64 * np.eye(pixels, dtype=np.int64), neuron(pixels), shape, (pixels,))
    return IntegerNetwork((conv, dense), InputSpec(shape, "events"), "count", HORIZON, "trial")


def tiny_inputs() -> Integers:
    """Each pixel once, [T, N, 1, H, W]."""
    pixels = np.eye(SIDE * SIDE, dtype=np.int64).reshape(-1, 1, SIDE, SIDE)
    return np.repeat(pixels[None], HORIZON, axis=0)


def _check(backend: str, models: Literal["stock", "fast"] = "fast") -> None:
    from spikecut.deploy.backends.run import run

    scores = run(tiny_network(), tiny_inputs(), backend, lava_models=models).scores
    expected = np.repeat(np.eye(SIDE * SIDE, dtype=np.int64)[None], HORIZON, axis=0)
    if not np.array_equal(scores, expected):
        raise BackendError(f"{backend} computes other integers than it should, for a network of two layers")


def _batched() -> Finding:
    from spikecut.deploy.backends.kernels.compiled import cache_folder

    _check("batched")
    return Finding("works", f"a tiny network runs; compiled kernels are kept in {cache_folder()}")


def _int8() -> Finding:
    from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, import_torch
    from spikecut.deploy.backends.kernels.product import make_product

    try:
        for layer in tiny_network().layers:
            make_product(layer, 0, 1, Arithmetic("int8", import_torch()))
    except BackendError as error:
        return Finding("not available", f"{error}; the engine takes float32 products")
    return Finding("works", "oneDNN's products of integers are exact on this processor")


def _training() -> Finding:
    from spikecut.models.data import load_dataset
    from spikecut.models.data.dataset import Dataset
    from spikecut.models.training.train import train

    digits = load_dataset("digits")
    few = np.arange(20)
    train_part, calibration, test = (part.take(few) for part in (digits.train, digits.calibration, digits.test))
    train("tet", Dataset(digits.name, train_part, calibration, test, digits.labels), epochs=1)
    return Finding("works", "a network was trained for a moment")


def _lava() -> Finding:
    from spikecut import lava_repairs

    changed = lava_repairs.unrepairable()  # also files that no run imports
    if changed:
        return Finding("fails", f"{changed[0]} was changed since it was released: spikecut install-lava")
    for models in ("stock", "fast"):
        _check("lava", models)
    return Finding("works", "a tiny network runs, on Lava's own models and on the fast ones")


def _nir() -> Finding:
    from spikecut.export.nir.write import write_nir

    with tempfile.TemporaryDirectory(prefix="spikecut-nir-") as folder:
        write_nir(tiny_network(), Path(folder) / "trial.nir")
    return Finding("works", "a tiny network was written")


TRIALS: dict[str, Callable[[], Finding]] = {
    "batched": _batched,
    "int8": _int8,
    "training": _training,
    "lava": _lava,
    "nir": _nir,
}


def attempt(name: str) -> Finding:
    """What a trial finds in this process; whatever it raises is found, too."""
    try:
        return TRIALS[name]()
    except SpikecutError as error:
        return Finding("fails", " ".join(str(error).split()))
    except Exception as error:  # whatever another package does while it is imported
        return Finding("fails", " ".join(f"{type(error).__name__}: {error}".split()))


def attempt_all(names: Iterable[str], progress: Progress = silent) -> dict[str, Finding]:
    """What trials find, by name, side by side in a process each."""
    with tempfile.TemporaryDirectory(prefix="spikecut-trials-") as folder:
        running = {name: _Process(name, Path(folder)) for name in names}
        try:
            with progress("trying what is installed", len(running)) as advance:
                found = {}
                for name, process in running.items():
                    found[name] = process.finding()
                    advance(1)
                return found
        finally:
            for process in running.values():
                process.end()


class _Process:
    """A trial in a process of its own, and in a session of its own, so that it ends with all that it has started."""

    def __init__(self, name: str, folder: Path) -> None:
        self.file, errors = folder / f"{name}.json", folder / f"{name}.txt"
        optimised = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
        with errors.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *optimised, "-m", MODULE, name, str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=folder,  # which -m searches first: no file of the user's is imported in a package's place
                start_new_session=True,
            )
        self.errors, self.until = errors, time.monotonic() + LIMIT_S

    def finding(self) -> Finding:
        """What it left; a fault where it died or hangs."""
        try:
            code = self.process.wait(max(self.until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            return Finding("fails", f"its trial did not end within {LIMIT_S:g} s")
        if code == 0 and self.file.is_file():
            return Finding(**read_json(self.file))
        died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = self.errors.read_text(encoding="utf-8", errors="replace").split("\n")
        return Finding("fails", ": ".join((f"its trial died of {died}", *[line for line in said if line.strip()][-1:])))

    def end(self) -> None:
        """Leave nothing of it, unless it ended well."""
        if self.process.poll() != 0:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


if __name__ == "__main__":
    write_json(Path(sys.argv[2]), asdict(attempt(sys.argv[1])))
