"""Exported networks on SANA-FE, which computes the spikes itself: every neuron, every step, and the totals."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sanafe_networks import CASES, crowded, network_of, spikes_into

from spikecut.deploy.pipeline.sanafe import SanafeExport, compare_sanafe, write_sanafe
from spikecut.deploy.sanafe.answers import first_difference, read_messages, read_spikes
from spikecut.errors import InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork

RUN = Path(__file__).resolve().parents[2] / "support" / "sanafe_run.py"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "sanafe_export.json"
PYTHON = os.environ.get("SPIKECUT_SANAFE_PYTHON", sys.executable)
RELATIVE = 1e-9
FILES = ("architecture.yaml", "network_0.yaml")
# The kinds of the cost model, and what they do not have: soft resets, a current that stays, a graded and signed input,
# and a readout whose membrane is logged.
EACH = pytest.mark.parametrize(("kind", "neurons"), [*CASES, ("graded", 40), ("soft", 24)])


def exported(kind: str, neurons: int, folder: Path) -> SanafeExport:
    random = np.random.default_rng(7)
    network = network_of({"graded": "conv", "soft": "recurrent"}.get(kind, kind), random)
    inputs = spikes_into(network, random)
    if kind == "graded":
        network = graded(network)
        inputs = random.integers(-7, 8, inputs.shape).astype(np.int32) * inputs
    if kind == "soft":
        network = with_neurons(network, reset="subtract", decay_u=0, decay_v=700, threshold=9000, v_init=31)
    return write_sanafe(network, crowded(neurons), inputs, folder)


def with_neurons(network: IntegerNetwork, **changes: object) -> IntegerNetwork:
    layers = (replace(layer, neuron=replace(layer.neuron, **changes)) for layer in network.layers)
    return replace(network, layers=tuple(layers))


def graded(network: IntegerNetwork) -> IntegerNetwork:
    last = network.layers[-1]
    silent = replace(last, neuron=replace(last.neuron, reset="none", threshold=0))
    spec = InputSpec(network.input_shape, "direct", bits=3, signed=True)
    return replace(network, layers=(*network.layers[:-1], silent), input=spec, readout="membrane")


def digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@EACH
@pytest.mark.sanafe
@pytest.mark.skipif(
    "SPIKECUT_SANAFE_PYTHON" not in os.environ and importlib.util.find_spec("sanafe") is None,
    reason="sanafe is not installed: name a Python that has it in SPIKECUT_SANAFE_PYTHON",
)
def test_sanafe_computes_the_same(kind: str, neurons: int, tmp_path: Path) -> None:
    """The simulator itself; SPIKECUT_WRITE_GOLDEN=1 keeps its answers for where it is not installed."""
    done, answers = exported(kind, neurons, tmp_path / "export"), tmp_path / "answers"
    ran = subprocess.run([PYTHON, str(RUN), str(done.folder), "0", str(answers)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = compare_sanafe(done.folder, answers)
    assert found.equal and found.found is not None and "all equal" in str(found)
    assert found.spikes == done.totals[0].spikes > 500
    assert sum(read_messages(answers / "messages.csv").values()) == done.totals[0].messages
    theirs = {"spikes": digest(answers / "spikes.csv"), **json.loads((answers / "totals.json").read_text())}
    theirs |= {name: getattr(found.found, name) for name in ("messages", "hops", "synops")}
    check(done, theirs)
    if "SPIKECUT_WRITE_GOLDEN" in os.environ:
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        golden[kind] = {"request": digest(*(done.folder / name for name in FILES)), **theirs}
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


@EACH
def test_is_what_sanafe_said(kind: str, neurons: int, tmp_path: Path) -> None:
    """SANA-FE 2.2.9's recorded answers to the very same files."""
    done = exported(kind, neurons, tmp_path / "export")
    golden = json.loads(GOLDEN.read_text())[kind]
    assert digest(*(done.folder / name for name in FILES)) == golden["request"], "record SANA-FE's answers anew"
    check(done, golden)


def check(done: SanafeExport, theirs: dict) -> None:
    """The spikes byte for byte, as the trace has them; counts; time and energy."""
    expected = done.totals[0]
    assert digest(done.folder / "spikes_0.csv") == theirs["spikes"]
    assert {name: getattr(expected, name) for name in ("messages", "hops", "synops")} == {
        name: theirs[name] for name in ("messages", "hops", "synops")
    }
    assert expected.time_s == pytest.approx(theirs["time_s"], rel=RELATIVE)
    assert expected.energy_j == pytest.approx(theirs["energy_j"], rel=RELATIVE)


def test_a_difference_is_named(tmp_path: Path) -> None:
    done = exported("dense", 24, tmp_path / "export")
    answers = tmp_path / "answers"
    answers.mkdir()
    lines = (done.folder / "spikes_0.csv").read_text().splitlines(keepends=True)
    (answers / "spikes.csv").write_text("".join(lines[:500] + lines[501:]))
    neuron, step = lines[500].strip().split(",")
    found = compare_sanafe(done.folder, answers)
    assert found.difference == f"differ first in step {step}: {neuron} fires in spikecut alone" and not found.equal
    theirs = read_spikes(answers / "spikes.csv")
    assert first_difference(theirs, theirs) is None and found.found is None


@pytest.mark.parametrize("text", ["", "a,b\n", "neuron,timestep\nx,y\n", "neuron,timestep\nx\n"])
def test_a_damaged_trace_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "spikes.csv").write_text(text)
    with pytest.raises(InputError, match=r"spikes\.csv: "):
        read_spikes(tmp_path / "spikes.csv")
