"""Sigma-delta neurons: Lava's own models, the engine, all sets of models in streams, and the oracle send the same."""

from types import SimpleNamespace

import numpy as np
import pytest
from lava_steps import Wire, make_model
from sigma_delta_networks import campaign

from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.export.network.sigma_delta import SigmaDelta, advance


def test_random_networks():
    """The first ones in streams of halted samples, too, through all sets of models."""
    tally = campaign(range(16))
    tally.update(campaign(range(16, 56), streamed=False))
    assert [key for key, count in tally.items() if not count] == []
    assert tally["sigma-delta: slots"] > 50_000


@pytest.mark.parametrize("seed", range(12))
def test_lavas_own_models(seed):
    """Its untouched fixed-point models, whose int32 wraps, too, on sums of all sizes."""
    require_lava()
    from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
    from lava.proc.sdn.process import ActivationMode, Delta, Sigma
    from lava.proc.sdn.process import SigmaDelta as Both

    rng = np.random.default_rng(seed)
    spike, state = int(rng.choice([0, 6, 7])), int(rng.choice([0, 6, 7]))
    threshold, bias = int(rng.choice([0, 1, 200])), rng.integers(-300, 300, 9)
    adds, unit, size = bool(seed % 2), seed % 3 == 0, 2 ** int(rng.choice([12, 24, 31]))
    sums = rng.integers(-size, size, (40, 9)) * (rng.random((40, 9)) < 0.8)
    shared = {"shape": (9,), "vth": threshold, "cum_error": adds, "spike_exp": spike, "state_exp": state}
    mode = ActivationMode.UNIT if unit else ActivationMode.RELU
    for process, model, kind in (
        (Both(bias=bias, act_mode=mode, **shared), PySigmaDeltaModelFixed, "both"),
        (Delta(**shared), PyDeltaModelFixed, "delta"),
        (Sigma(shape=(9,)), PySigmaModelFixed, "sigma"),
    ):
        given = SigmaDelta(kind != "delta", "unit" if unit else "relu", spike, state, adds)
        made = make_model(process, SimpleNamespace(exception_proc_model_map={type(process): model}))
        made.a_in, made.s_out = Wire(), Wire()
        ours = given.starts((9,))
        shifted = bias << given.shift if kind == "both" else np.zeros(9, dtype=np.int64)
        for arriving in sums:
            made.a_in.send(arriving)
            made.run_spk()
            ours, sent = advance(given, threshold, shifted, ours, arriving, kind == "sigma")
            np.testing.assert_array_equal(sent, made.s_out.recv())
