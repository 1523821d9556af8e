"""spikecut: from a trained spiking network to Loihi's integers, halted the moment the answer is safe.

    net = spikecut.load(path)                    netx file, NIR file or bundle → IntegerNetwork
    x = spikecut.encode(images, bundle)          floats → the bundle's integers, time first
    spikecut.convert(module, dataset, out)       trained ReLU network of torch → bundle
    trace = spikecut.run(net, x, policy=policy)  → RunTrace
    policy = spikecut.calibrate(scores, labels)  → cutoff policy
    spikecut.optimal_cutoff_timestep(scores, labels)
    spikecut.estimate(trace, hardware="loihi2")  → latency and energy per sample

Importing the package is cheap: each name loads its module when first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikecut.deploy.backends.run import run
    from spikecut.deploy.bundle import load
    from spikecut.deploy.cost.estimate import estimate
    from spikecut.deploy.cutoff.calibration.calibrate import calibrate
    from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff_timestep
    from spikecut.deploy.pipeline.convert import convert
    from spikecut.export.encode import encode

__version__ = "0.1.0"

__all__ = ["__version__", "calibrate", "convert", "encode", "estimate", "load", "optimal_cutoff_timestep", "run"]

_HOMES = {
    "calibrate": "spikecut.deploy.cutoff.calibration.calibrate",
    "convert": "spikecut.deploy.pipeline.convert",
    "encode": "spikecut.export.encode",
    "estimate": "spikecut.deploy.cost.estimate",
    "load": "spikecut.deploy.bundle",
    "optimal_cutoff_timestep": "spikecut.deploy.cutoff.calibration.oct",
    "run": "spikecut.deploy.backends.run",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'spikecut' has no attribute '{name}'")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of the public interface."""
    return sorted(__all__)
