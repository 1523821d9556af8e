"""Backends: Lava's CPU simulator, and the batched engine that says the same."""

from typing import Literal

from spikecut.deploy.backends.base import RECORDS, LavaModels, Record
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.calibration.calibrate import Calibration
from spikecut.deploy.run_trace import Mode, RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork

Backend = Literal["batched", "lava"]


def run(
    network: IntegerNetwork,
    inputs: Integers,
    backend: Backend = "batched",
    policy: CutoffPolicy | Calibration | None = None,
    record: Record = "output",
    mode: Mode = "isolated",
    lava_models: LavaModels = "fast",
) -> RunTrace:
    """Run encoded samples through a network, each from rest.

    Parameters
    ----------
    network: from `spikecut.load`.
    inputs: integers [T, N, *network.input_shape] from `spikecut.encode`.
    backend: "batched" or "lava" (Lava's CPU simulator); both give the same integers.
    policy: ends a sample's run early, or what `spikecut.calibrate` returned; None runs all T timesteps.
    record: "output" (scores only), "events" (counts per layer and step as well), "all" (every message).
    mode: on Lava "isolated", each sample alone, or "streaming", the next one starts while the pipeline drains.
    lava_models: on Lava "stock" (its own arithmetic), "fast" or "fused"; the same integers.

    Raises
    ------
    DataError: inputs that do not fit. InputError: an unknown backend or record, a policy for another horizon, a mode or
        models that the backend does not have.
    BackendError: Lava is missing or failed.
    """
    if record not in RECORDS:
        raise InputError(f"record {record!r}: expected one of {', '.join(RECORDS)}")
    if isinstance(policy, Calibration):
        policy = policy.policy
    if backend == "batched":
        if (mode, lava_models) != ("isolated", "fast"):
            raise InputError("mode and lava_models are of backend='lava': the batched engine has no choice of either")
        from spikecut.deploy.backends.batched.engine import run_batched

        return run_batched(network, inputs, policy, record)
    if backend == "lava":
        from spikecut.deploy.backends.lava.cpu import run_lava

        return run_lava(network, inputs, policy, record, mode=mode, models=lava_models)
    raise InputError(f"backend {backend!r}: expected batched or lava")
