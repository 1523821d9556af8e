"""Options of the discretisation, and the rounding of decays."""

import nir
import numpy as np
import pytest
import torch
from nir_graphs import chain, lif, write

from spikecut.errors import BundleError, InputError
from spikecut.export.nir.discretisation import FRAMEWORKS, discretisation
from spikecut.export.nir.file import NirNode
from spikecut.export.nir.neurons import step_neuron
from spikecut.export.nir.read import read_nir


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"framework": "brian"}, "--framework 'brian'"),
        ({"reset": "soft"}, "--reset 'soft'"),
        ({"reset_order": "late"}, "--reset-order 'late'"),
        ({"dt": 0.0}, "--dt 0.0"),
        ({"dt": float("nan")}, "--dt nan"),
        ({"dt": -1.0}, "--dt -1.0"),
    ],
)
def test_wrong_options(given, message):
    with pytest.raises(InputError, match=message):
        discretisation(**given)


def test_what_was_assumed_is_said():
    for name, found in FRAMEWORKS.items():
        assert discretisation(name) == found
    lines = discretisation("snntorch", dt=1e-3, reset="zero").assumed
    assert "dt 0.001: as given" in lines and "reset zero: as given" in lines
    assert not any("1e-4" in line or "subtract" in line for line in lines)
    assert any("reset_order next_step" in line for line in lines)
    assert any("NIR states it" in line for line in discretisation(dt=1.0).assumed)


def neuron(tau, dtype=np.float64, **given):
    numbers = {"tau": tau, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    node = NirNode("lif", "LIF", {key: np.array(value, dtype=dtype) for key, value in numbers.items()})
    return step_neuron(node, discretisation(**{"dt": 1e-4, **given}), (3,))


@pytest.mark.parametrize("decay", range(1, 4097, 117))
def test_decays_that_only_float32_has_blurred_are_exact(decay):
    beta = np.float32(1 - decay / 4096)
    tau = np.float32(1e-4) / (np.float32(1) - beta)  # as snnTorch's exporter reckons
    found = neuron(tau, np.float32)
    assert found.decay_v == decay / 4096 and found.inexact == ()
    assert neuron(1e-4 / (decay / 4096)).decay_v == decay / 4096


def test_other_decays_are_kept_and_their_error_is_said():
    found = neuron(1e-4 / 0.1)
    assert found.decay_v == pytest.approx(0.1, rel=1e-12)
    assert found.inexact == ("v loses 0.1 per timestep (tau), the chip 410/4096: an error of 9.8e-05",)
    almost = neuron(1e-4 / (0.5 + 1e-9))
    assert almost.inexact  # float64 tells it from a half, float32 would not


def test_time_constants_need_a_timestep(tmp_path):
    path = write(tmp_path / "a.nir", chain(nir.Linear(np.eye(3)), lif((3,)), shape=(3,), out=(3,)))
    imported = read_nir(path, discretisation())
    assert [report.exactness for report in imported.nodes] == ["exact", "exact", "refused", "not reached"]
    with pytest.raises(InputError, match=r"node n1: .* give --dt .* or --framework"):
        imported.checked()
    with pytest.raises(InputError, match="longer than the time constant"):
        read_nir(path, discretisation(dt=10.0)).checked()


def test_exponential_and_euler_differ_as_they_should():
    tau = 4.0
    assert neuron(tau, dt=1.0).decay_v == 0.25
    assert neuron(tau, dt=1.0, framework="sinabs").decay_v == pytest.approx(1 - np.exp(-0.25), rel=1e-12)


def test_a_threshold_that_fires_for_ever_is_refused(tmp_path):
    path = write(tmp_path / "a.nir", chain(nir.Linear(np.eye(3)), lif((3,), threshold=0.0), shape=(3,), out=(3,)))
    with pytest.raises(Exception, match="fire for ever"):
        read_nir(path, discretisation(dt=1.0)).checked()


def test_contradictions_name_the_file(tmp_path):
    path = write(tmp_path / "a.nir", chain(nir.Linear(np.eye(4)), lif((3,)), shape=(3,), out=(3,)))
    with pytest.raises(BundleError, match=r"a\.nir: node n0: weight of shape \(4, 4\)"):
        read_nir(path, discretisation(dt=1.0))


def test_a_beta_that_was_learned_above_one_is_clamped_as_snntorch_clamps_it_and_said(tmp_path):
    """Its exporter writes tau = dt / (1 - β) and r = 1 / (1 - β), both negative then."""
    beta = 1.25
    node = nir.LIF(np.full(3, 1e-4 / (1 - beta)), np.full(3, 1 / (1 - beta)), np.zeros(3), np.ones(3), np.zeros(3))
    path = write(tmp_path / "a.nir", chain(nir.Linear(np.eye(3)), node, shape=(3,), out=(3,)))
    imported = read_nir(path, discretisation("snntorch", reset="zero"))
    [report] = [report for report in imported.nodes if report.kind == "LIF"]
    assert (
        report.exactness == "exact" and "v loses nothing" in report.detail and "β above 1 is clamped" in report.detail
    )
    network, witness = imported.checked()
    frames = 0.375 * torch.ones(8, 1, 3).double()
    spikes = [0, 0, 1, 0, 0, 1, 0, 0]  # 0.375 a step, 1 is passed at every third
    for said in (network(frames), witness(frames)):
        assert said[:, 0, 0].tolist() == spikes
    with pytest.raises(Exception, match="positive time constant"):
        read_nir(path, discretisation(dt=1e-4)).checked()
