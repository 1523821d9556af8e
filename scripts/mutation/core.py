"""The exactness core, and the tests that must notice a change of it, those first that are quick and notice most."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ENGINE = (
    "tests/deploy/backends/kernels/test_product.py",
    "tests/deploy/backends/batched",
    "tests/deploy/backends/test_gain.py",
)
_LAVA = (
    "tests/deploy/backends/lava/test_models.py",
    "tests/deploy/backends/lava/test_cpu.py",
    "tests/deploy/backends/lava",
)
_CUTOFF = ("tests/deploy/cutoff", "tests/end_to_end/test_one_policy_three_users.py")
_QUANTISE = (
    "tests/export/quantise",
    "tests/deploy/_package/test_fixed_point.py",
    "tests/models/test_twin.py",
    "tests/export",
)
TESTS = {
    "deploy/_package/fixed_point.py": (
        "tests/deploy/_package/test_fixed_point.py",
        *_QUANTISE[:1],
        *_ENGINE,
        "tests/models/neurons",
    ),
    "export/quantise/fold.py": _QUANTISE,
    "export/quantise/headroom.py": _QUANTISE,
    "export/quantise/integers.py": _QUANTISE,
    "export/quantise/measure.py": _QUANTISE,
    "export/quantise/neurons.py": _QUANTISE,
    "deploy/backends/kernels/neuron.py": _ENGINE,
    "deploy/backends/kernels/step.py": (*_LAVA[:1], *_ENGINE, *_LAVA),
    "deploy/backends/kernels/product.py": _ENGINE,
    "deploy/backends/kernels/reference.py": _ENGINE,
    "deploy/backends/kernels/joined.py": _ENGINE,
    "deploy/backends/kernels/slot_events.py": (*_ENGINE, "tests/deploy/run"),
    "deploy/backends/batched/engine.py": _ENGINE,
    "deploy/backends/batched/slots.py": _ENGINE,
    "deploy/backends/batched/stream.py": (*_CUTOFF[:1], *_ENGINE, "tests/deploy/backends/lava/test_stream.py"),
    "deploy/backends/lava/processes/cutoff_monitor.py": ("tests/deploy/backends/lava/test_cpu.py", *_LAVA),
    "deploy/backends/lava/processes/fast.py": _LAVA,
    "deploy/backends/lava/processes/fused.py": _LAVA,
    "deploy/backends/lava/processes/neurons.py": (*_LAVA, "tests/deploy/backends/test_gain.py"),
    "deploy/backends/lava/processes/relay.py": (*_LAVA, "tests/end_to_end/test_residual.py"),
    "deploy/backends/lava/processes/source.py": ("tests/deploy/backends/lava/test_cpu.py", *_LAVA),
    "deploy/backends/lava/processes/stream.py": ("tests/deploy/backends/lava/test_stream.py",),
    "deploy/backends/lava/processes/synapses.py": _LAVA,
    "deploy/backends/lava/processes/wave.py": _LAVA,
    "deploy/cutoff/base.py": _CUTOFF,
    "deploy/cutoff/topk.py": _CUTOFF,
    "deploy/cutoff/threshold.py": _CUTOFF,
    "deploy/cutoff/fixed.py": _CUTOFF,
    "deploy/cutoff/stream.py": (*_CUTOFF, "tests/deploy/backends/lava/test_stream.py"),
}
"""By module; paths are relative to the repository."""


def module_of(file: str) -> str:
    """The name under which a file of the repository is imported."""
    parts = Path(file).with_suffix("").parts
    return ".".join(("spikecut", *(parts[2:] if parts[:2] == ("deploy", "_package") else parts)))
