"""A bundle and samples as files of the simulator SANA-FE, and its answers held against what spikecut expects."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels.reference import measure_ranges
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cost.estimate import as_chip
from spikecut.deploy.pipeline.samples import check_labels, first_samples, samples_to_run
from spikecut.deploy.placement.capabilities import check_capabilities, missing_features
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.sanafe.answers import (
    SanafeComparison,
    SanafeTotals,
    compared,
    expected_spikes,
    read_spikes,
    spikes_text,
    totals_from,
)
from spikecut.deploy.sanafe.architecture import architecture_data
from spikecut.deploy.sanafe.limits import differences, refusals
from spikecut.deploy.sanafe.network import MappedNetwork
from spikecut.deploy.sanafe.totals import expected_totals
from spikecut.errors import CapabilityError, InputError, UnsupportedError
from spikecut.export.encode import encode
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork
from spikecut.files import read_json, write_json
from spikecut.folders import FolderKind, replacing_folder
from spikecut.text import brief

FORMAT = "spikecut sanafe 1"
ARCHITECTURE, EXPECTED = "architecture.yaml", "expected.json"
SANAFE = FolderKind(
    "SANA-FE export",
    EXPECTED,
    lambda data: isinstance(data, dict) and data.get("format") == FORMAT,
    (ARCHITECTURE, EXPECTED, "network_*.yaml", "spikes_*.csv"),
)


@dataclass(frozen=True)
class SanafeExport:
    """What was written for SANA-FE.

    Attributes
    ----------
    folder: architecture.yaml, and per sample n network_n.yaml, and spikes_n.csv with the spikes that are expected of
        it; expected.json with their totals.
    hardware: the hardware file's name. steps: hardware steps of each sample, T + P.
    totals: what SANA-FE's "simple" timing should say of each sample.
    differs: what its figures count otherwise than the hardware file, a line each. notes: remarks for the user.
    """

    folder: Path
    hardware: str
    steps: int
    totals: tuple[SanafeTotals, ...]
    differs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """What was written, and how SANA-FE runs it."""
        return f"{self.folder}: {len(self.totals)} samples of {self.steps} steps on {self.hardware}; {self.command}"

    @property
    def command(self) -> str:
        """How SANA-FE's own program runs the first sample, with all that `compare_sanafe` reads."""
        files = f"{self.folder / ARCHITECTURE} {self.folder / 'network_0.yaml'}"
        return f"sim -s -p -m -t simple -o ANSWERS {files} {self.steps}"


def export_sanafe(
    bundle: str | Path,
    dataset: str,
    out: str | Path,
    *,
    hardware: str | Path = "loihi1",
    samples: int = 1,
    overwrite: bool = False,
) -> SanafeExport:
    """Write a bundle, placed on a chip, and its first test samples as files that SANA-FE runs without spikecut.

    SANA-FE computes the spikes itself, and they are the same as here, neuron by neuron and step by step: what its
    neurons cannot do exactly is refused. It does not know the cutoff, so samples run to the horizon.

    Parameters
    ----------
    bundle: its folder. dataset: a name or the path of a file; the first samples of its test are taken.
    out: folder for the files. hardware: a hardware file by name or path, whose costs become the architecture's.
    samples: how many; each gets a network file of its own, since SANA-FE does not reset between two.
    overwrite: replace an earlier export in `out`.

    Raises
    ------
    UnsupportedError: something that SANA-FE's neurons do otherwise, all of it named. CapabilityError: the hardware
    lacks a feature, or does not hold the network. HardwareConfigError: it is no chip. BundleError, DataError: no sound
    bundle, no such samples. InputError: fewer than one sample, or an `out` that may not be written.
    """
    opened = open_bundle(bundle)
    chip = as_chip(load_hardware(hardware))
    missing = check_capabilities(opened.network, chip)
    if missing:
        raise CapabilityError(f"{missing_features(missing)} ({chip.name})")
    found = samples_to_run(opened, dataset)
    split = first_samples(found.split, samples)
    check_labels(opened.network, split)
    written = write_sanafe(opened.network, chip, encode(np.asarray(split.x), opened.network), Path(out), overwrite)
    return SanafeExport(
        written.folder, written.hardware, written.steps, written.totals, written.differs, (*found.notes, *written.notes)
    )


def write_sanafe(
    network: IntegerNetwork, chip: Chip, inputs: Integers, out: Path, overwrite: bool = False
) -> SanafeExport:
    """Write a network and its encoded samples, int [T, N, *shape], as `export_sanafe` does; raises as it does."""
    mapped = MappedNetwork(network, chip, place(network, chip))
    refused = refusals(network, mapped.placement)
    if refused:
        raise UnsupportedError(f"SANA-FE: {'; '.join(map(str, refused))}")
    _check_ranges(network, inputs)
    trace = run_batched(network, inputs, record="all")
    totals = expected_totals(mapped, trace)
    differs = differences(network, chip, mapped.placement)
    steps = int(trace.hardware_steps[0])
    with replacing_folder(out, SANAFE, overwrite) as folder:
        data = architecture_data(chip, mapped.placement, mapped.sources)
        (folder / ARCHITECTURE).write_text(yaml.safe_dump(data, sort_keys=False, width=120), encoding="utf-8")
        for sample in range(trace.samples):
            with (folder / f"network_{sample}.yaml").open("w", encoding="utf-8") as file:
                file.writelines(mapped.text(inputs[:, sample]))
            spikes = spikes_text(expected_spikes(mapped, trace, sample))
            (folder / f"spikes_{sample}.csv").write_text(spikes, encoding="utf-8")
        write_json(folder / EXPECTED, _expected(mapped, trace, totals, differs), sort_keys=False)
    return SanafeExport(out, chip.name, steps, tuple(totals), differs)


def compare_sanafe(folder: str | Path, answers: str | Path, sample: int = 0) -> SanafeComparison:
    """Hold SANA-FE's traces of one exported sample against what spikecut expects.

    Parameters
    ----------
    folder: what `export_sanafe` wrote. answers: a folder with SANA-FE's spikes.csv, and perf.csv where there is one.
    sample: which of the exported ones, from 0.

    Raises InputError for a folder or trace that is missing, damaged or of something else.
    """
    path = Path(folder)
    data = read_json(path / EXPECTED)
    if not SANAFE.is_ours(data):
        raise InputError(f"{path / EXPECTED}: not written by `spikecut export --to sanafe`")
    try:
        totals = totals_from(data["samples"][sample]["totals"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path / EXPECTED}: no totals of sample {sample}") from error
    return compared(read_spikes(path / f"spikes_{sample}.csv"), totals, Path(answers))


def _check_ranges(network: IntegerNetwork, inputs: Integers) -> None:
    """UnsupportedError where a sum leaves the chip's 24 bits, which SANA-FE's floating point does not have."""
    silence = np.zeros((network.depth, *inputs.shape[1:]), dtype=inputs.dtype)  # the last steps of the run
    for name, peaks in measure_ranges(network, np.concatenate([inputs, silence])).items():
        if not peaks.fits:
            raise UnsupportedError(
                f"SANA-FE: {name}: a sum of these samples leaves the chip's 24 bits, where it wraps; SANA-FE's does not"
            )


def _expected(
    mapped: MappedNetwork, trace: RunTrace, totals: list[SanafeTotals], differs: tuple[str, ...]
) -> dict[str, Any]:
    names = (layer.name for layer in mapped.network.layers)
    return {
        "format": FORMAT,
        "network": mapped.network.name,
        "hardware": mapped.chip.name,
        "timing": "simple",
        "steps": int(trace.hardware_steps[0]),
        "groups": dict(zip(names, mapped.groups, strict=True)),
        "inputs": {name: elements.tolist() for name, elements in mapped.inputs.items()},
        "samples": [{"totals": asdict(total)} for total in totals],
        "differs": list(differs),
    }
