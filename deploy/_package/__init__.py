"""spikecut: from a trained spiking network to Loihi's integers, stopped as soon as the answer is safe.

    bundle = spikecut.export("net.safetensors", "bundle")   checkpoint → bundle
    spikecut.verify(bundle)                                 torch = batched engine = Lava, or the first difference
    x = spikecut.encode(images, bundle)                     floats → the bundle's integers, time first
    trace = spikecut.run(bundle.network, x, policy=bundle.policy)
    policy = spikecut.calibrate(full_trace, labels)         a run without policy, to the horizon → cutoff policy
    spikecut.estimate(trace, hardware="loihi2")             latency and energy per sample, with bands

Every name is described in docs/api.md. Importing the package is cheap: each name loads its module when first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from spikecut.callable_package import CallablePackage
from spikecut.extras import needs_training

if TYPE_CHECKING:
    from spikecut.deploy.backends.base import Backend
    from spikecut.deploy.backends.progress import Progress
    from spikecut.deploy.backends.run import run
    from spikecut.deploy.bundle import Bundle, load, open_bundle
    from spikecut.deploy.cost.band import Band
    from spikecut.deploy.cost.estimate import CostEstimate, estimate
    from spikecut.deploy.cutoff.base import CutoffPolicy, LabelledScores
    from spikecut.deploy.cutoff.calibration.calibrate import Calibration, calibrate
    from spikecut.deploy.cutoff.calibration.oct import OptimalCutoff, optimal_cutoff_timestep
    from spikecut.deploy.pipeline.calibrate import CalibratedBundle
    from spikecut.deploy.pipeline.convert import Conversion, convert
    from spikecut.deploy.pipeline.demo import demo
    from spikecut.deploy.pipeline.installation.doctor import Diagnosis, doctor
    from spikecut.deploy.pipeline.installation.lava import LavaInstallation, install_lava
    from spikecut.deploy.pipeline.public import calibrate_bundle, pretrained_names, run_dataset, sweep, verify
    from spikecut.deploy.pipeline.public import export as _export
    from spikecut.deploy.pipeline.reporting.write import Reported, report
    from spikecut.deploy.pipeline.run import resume_run
    from spikecut.deploy.pipeline.sanafe import SanafeExport, compare_sanafe, export_sanafe
    from spikecut.deploy.pipeline.stream import Verdict, stream
    from spikecut.deploy.pipeline.train import Checkpoint, train
    from spikecut.deploy.placement.hardware import Hardware, hardware_names, load_hardware
    from spikecut.deploy.placement.hardware_template import HardwareCheck, check_hardware, hardware_template
    from spikecut.deploy.run.finished import Run
    from spikecut.deploy.run_trace import RunTrace
    from spikecut.deploy.sanafe.answers import SanafeComparison
    from spikecut.deploy.sweep.sweep import Sweep
    from spikecut.deploy.verify.compare import Verification
    from spikecut.errors import (
        ApproximationWarning,
        BackendError,
        BundleError,
        CapabilityError,
        CheckpointError,
        DataError,
        ExportError,
        HardwareConfigError,
        InputError,
        Interrupted,
        RangeError,
        Refusal,
        SpikecutError,
        UnsupportedError,
    )
    from spikecut.export.encode import encode
    from spikecut.export.network.input_spec import InputSpec
    from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
    from spikecut.export.network.neurons import IntegerNeuron
    from spikecut.export.torch_module.declare import neuron
    from spikecut.models.data import Dataset, load_dataset

    export = CallablePackage(_export)

__version__ = "0.1.0"

_NAMES = {
    "spikecut.deploy.backends.base": ("Backend",),
    "spikecut.deploy.backends.progress": ("Progress",),
    "spikecut.deploy.backends.run": ("run",),
    "spikecut.deploy.bundle": ("Bundle", "load", "open_bundle"),
    "spikecut.deploy.cost.band": ("Band",),
    "spikecut.deploy.cost.estimate": ("CostEstimate", "estimate"),
    "spikecut.deploy.cutoff.base": ("CutoffPolicy", "LabelledScores"),
    "spikecut.deploy.cutoff.calibration.calibrate": ("Calibration", "calibrate"),
    "spikecut.deploy.cutoff.calibration.oct": ("OptimalCutoff", "optimal_cutoff_timestep"),
    "spikecut.deploy.pipeline.calibrate": ("CalibratedBundle",),
    "spikecut.deploy.pipeline.convert": ("Conversion", "convert"),
    "spikecut.deploy.pipeline.demo": ("demo",),
    "spikecut.deploy.pipeline.installation.doctor": ("Diagnosis", "doctor"),
    "spikecut.deploy.pipeline.installation.lava": ("LavaInstallation", "install_lava"),
    "spikecut.deploy.pipeline.public": ("calibrate_bundle", "pretrained_names", "run_dataset", "sweep", "verify"),
    "spikecut.deploy.pipeline.reporting.write": ("Reported", "report"),
    "spikecut.deploy.pipeline.run": ("resume_run",),
    "spikecut.deploy.pipeline.sanafe": ("SanafeExport", "compare_sanafe", "export_sanafe"),
    "spikecut.deploy.pipeline.stream": ("Verdict", "stream"),
    "spikecut.deploy.pipeline.train": ("Checkpoint", "train"),
    "spikecut.deploy.placement.hardware": ("Hardware", "hardware_names", "load_hardware"),
    "spikecut.deploy.placement.hardware_template": ("HardwareCheck", "check_hardware", "hardware_template"),
    "spikecut.deploy.run.finished": ("Run",),
    "spikecut.deploy.run_trace": ("RunTrace",),
    "spikecut.deploy.sanafe.answers": ("SanafeComparison",),
    "spikecut.deploy.sweep.sweep": ("Sweep",),
    "spikecut.deploy.verify.compare": ("Verification",),
    "spikecut.errors": (
        "ApproximationWarning",
        "BackendError",
        "BundleError",
        "CapabilityError",
        "CheckpointError",
        "DataError",
        "ExportError",
        "HardwareConfigError",
        "InputError",
        "Interrupted",
        "RangeError",
        "Refusal",
        "SpikecutError",
        "UnsupportedError",
    ),
    "spikecut.export.encode": ("encode",),
    "spikecut.export.network.input_spec": ("InputSpec",),
    "spikecut.export.network.layers": ("IntegerLayer", "IntegerNetwork"),
    "spikecut.export.network.neurons": ("IntegerNeuron",),
    "spikecut.export.torch_module.declare": ("neuron",),
    "spikecut.models.data": ("Dataset", "load_dataset"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "ApproximationWarning",
    "Backend",
    "BackendError",
    "Band",
    "Bundle",
    "BundleError",
    "CalibratedBundle",
    "Calibration",
    "CapabilityError",
    "Checkpoint",
    "CheckpointError",
    "Conversion",
    "CostEstimate",
    "CutoffPolicy",
    "DataError",
    "Dataset",
    "Diagnosis",
    "ExportError",
    "Hardware",
    "HardwareCheck",
    "HardwareConfigError",
    "InputError",
    "InputSpec",
    "IntegerLayer",
    "IntegerNetwork",
    "IntegerNeuron",
    "Interrupted",
    "LabelledScores",
    "LavaInstallation",
    "OptimalCutoff",
    "Progress",
    "RangeError",
    "Refusal",
    "Reported",
    "Run",
    "RunTrace",
    "SanafeComparison",
    "SanafeExport",
    "SpikecutError",
    "Sweep",
    "UnsupportedError",
    "Verdict",
    "Verification",
    "__version__",
    "calibrate",
    "calibrate_bundle",
    "check_hardware",
    "compare_sanafe",
    "convert",
    "demo",
    "doctor",
    "encode",
    "estimate",
    "export",
    "export_sanafe",
    "hardware_names",
    "hardware_template",
    "install_lava",
    "load",
    "load_dataset",
    "load_hardware",
    "neuron",
    "open_bundle",
    "optimal_cutoff_timestep",
    "pretrained_names",
    "report",
    "resume_run",
    "run",
    "run_dataset",
    "stream",
    "sweep",
    "train",
    "verify",
]


class _Root(ModuleType):
    """The package spikecut, whose subpackage `export` is a function as well."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "export" and isinstance(value, ModuleType):
            value.__class__ = CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name == "export":
        return import_module("spikecut.export")
    if name not in _HOMES:
        raise AttributeError(f"module 'spikecut' has no attribute '{name}'")
    with needs_training():
        value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of the public interface."""
    return sorted(__all__)
