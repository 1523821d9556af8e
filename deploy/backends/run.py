"""Run samples on a backend chosen by its name."""

from spikecut.deploy.backends.base import (
    RECORDS,
    LavaModels,
    Record,
    RunSettings,
    backend_named,
    check_options,
    check_run,
)
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.calibration.calibrate import Calibration
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import InputError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


def run(
    network: IntegerNetwork,
    inputs: Integers,
    backend: str = "batched",
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
    backend: "batched", "lava" (Lava's CPU simulator), or one that another package brings; all give the same integers.
    policy: ends a sample's run early, or what `spikecut.calibrate` returned; None runs all T timesteps.
    record: "output" (scores only), "events" (counts per layer and step as well), "all" (every message).
    mode: on Lava "isolated", each sample alone, or "streaming", the next one starts while the pipeline drains.
    lava_models: on Lava "stock" (its own arithmetic), "fast" or "fused"; the same integers.

    Raises
    ------
    DataError: inputs that do not fit. InputError: an unknown backend or record, a policy for another horizon, a mode or
        models that the backend does not have.
    CapabilityError: the backend lacks something that the network needs. BackendError: Lava is missing or failed.
    """
    if record not in RECORDS:
        raise InputError(f"record {record!r}: expected one of {', '.join(RECORDS)}")
    chosen = backend_named(backend)
    check_options(chosen, mode, lava_models)
    if record not in chosen.capabilities.records:
        raise InputError(f"record {record!r}: {chosen.name} records {', '.join(chosen.capabilities.records)} only")
    check_run(chosen, network)
    settings = RunSettings(policy.policy if isinstance(policy, Calibration) else policy, record, mode, lava_models)
    return joined(list(chosen.run(network, inputs, settings)))
