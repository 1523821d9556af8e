"""Run samples on a backend chosen by its name."""

from pathlib import Path

import numpy as np

from spikecut.deploy.backends.base import (
    RECORDS,
    LavaModels,
    Record,
    RunSettings,
    backend_named,
    check_options,
    check_run,
)
from spikecut.deploy.backends.progress import Progress, before_first, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.choice import PolicyChoice, chosen_policy
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import DataError, InputError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


def run(  # noqa: PLR0913 (one more than seven, all but two of them with defaults that nearly everybody keeps)
    network: IntegerNetwork | Bundle | str | Path,
    inputs: Integers,
    backend: str = "batched",
    policy: PolicyChoice | None = None,
    record: Record = "output",
    mode: Mode = "isolated",
    lava_models: LavaModels = "fast",
    progress: Progress = silent,
) -> RunTrace:
    """Run encoded samples through a network, each from rest.

    Parameters
    ----------
    network: from `spikecut.load`, or a bundle or its folder.
    inputs: integers [T, N, *network.input_shape] from `spikecut.encode`.
    backend: "batched", "lava" (Lava's CPU simulator), or one that another package brings; all give the same integers.
    policy: ends a sample's run early; None runs all T timesteps. An object, of a class of one's own too; what
        `spikecut.calibrate` returned; or a name or a class, which means the bundle's calibrated policy if that is such
        a one, and else one made without arguments.
    record: "output" (scores only), "events" (counts per layer and step as well), "all" (every message).
    mode: on Lava "isolated", each sample alone, or "streaming", the next one starts while the pipeline drains.
    lava_models: on Lava "stock" (its own arithmetic), "fast" or "fused"; the same integers.
    progress: opens a bar, see docs/api.md; by default nothing is shown.

    Raises
    ------
    DataError: inputs that do not fit. InputError: an unknown backend or record, a policy for another horizon or what is
        no policy, a mode or models that the backend does not have.
    CapabilityError: the backend lacks something that the network needs. BackendError: Lava is missing or failed.
    """
    if record not in RECORDS:
        raise InputError(f"record {record!r}: expected one of {', '.join(RECORDS)}")
    chosen = backend_named(backend)
    check_options(chosen, mode, lava_models)
    if record not in chosen.capabilities.records:
        raise InputError(f"record {record!r}: {chosen.name} records {', '.join(chosen.capabilities.records)} only")
    net, calibrated = _opened(network)
    if not isinstance(inputs, np.ndarray):
        raise DataError(f"inputs: a {type(inputs).__name__}; expected the array that spikecut.encode gives")
    halting = chosen_policy(policy, calibrated)
    check_run(chosen, net)
    samples = inputs.shape[1] if inputs.ndim > 1 else 0
    with progress(f"{net.name} on {backend}", samples, before_first(chosen)) as advance:
        settings = RunSettings(halting, record, mode, lava_models, progress=advance)
        return joined(list(chosen.run(net, inputs, settings)))


def _opened(network: IntegerNetwork | Bundle | str | Path) -> tuple[IntegerNetwork, CutoffPolicy | None]:
    """The network, and its calibrated policy if it is that of a bundle."""
    if isinstance(network, IntegerNetwork):
        return network, None
    bundle = open_bundle(network) if isinstance(network, str | Path) else network
    if not isinstance(bundle, Bundle):
        raise InputError(f"network: a {type(bundle).__name__}; expected a bundle, or what spikecut.load gives")
    return bundle.network, bundle.policy
