"""Which files come first: two workers take one file at a time, and a long one at the end leaves the other idle."""

# By wall time, longest first; all others are shorter than ten seconds.
LONGEST = (
    "models/training/test_devices.py",
    "end_to_end/test_event_networks.py",
    "deploy/backends/lava/test_halts.py",
    "deploy/backends/lava/test_cpu.py",
    "models/training/test_train.py",
    "end_to_end/test_same_results.py",
    "end_to_end/test_signals.py",
    "deploy/cli/test_nir.py",
    "deploy/verify/test_compare.py",
    "end_to_end/test_faults.py",
    "deploy/pipeline/test_pretrained.py",
    "end_to_end/test_readme.py",
    "deploy/cli/test_main.py",
    "end_to_end/test_fuzz.py",
    "export/torch_module/test_frameworks.py",
    "deploy/backends/kernels/test_compiled.py",
    "end_to_end/test_architecture.py",
    "deploy/cli/test_doctor.py",
    "end_to_end/test_without_torch.py",
    "end_to_end/test_docs.py",
    "deploy/backends/test_entry_points.py",
    "deploy/pipeline/test_convert.py",
    "deploy/cutoff/calibration/test_guarantee.py",
    "end_to_end/test_reference_networks.py",
    "deploy/_package/test_api.py",
    "export/nir/test_hostile.py",
    "deploy/cli/test_terminal.py",
    "end_to_end/test_quantisation_aware.py",
    "deploy/backends/lava/test_models.py",
    "deploy/backends/batched/test_engine.py",
)


def longest_first(items, tests):
    """Sort collected tests: the files of LONGEST, under the folder `tests`, then the others as they came."""
    place = {tests / file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
