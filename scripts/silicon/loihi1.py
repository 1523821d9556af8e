"""Loihi 1: keyword spotting, nearest neighbours on Pohoiki Springs, NTIDIGITS, and what has no figure."""

import numpy as np

from silicon.networks import read_layers, references, run_delayed, trace_of
from silicon.rows import Row
from silicon.workload import EDGES, Work, Workload, plus, scaled, static_mw
from spikecut.deploy.cost.band import Figure
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.pricing import barrier_ns
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.place import place
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork

LOGS = "abr/power_benchmarks@fce95c8, logs/running/loihi_run01 to 05"
KEYWORD = "keyword spotting 390-256-256-29, Wolf Mountain"
KEYWORD_RATE, KEYWORD_STEPS = 296.5, 10
KEYWORD_SYNOPS = 390 * 256 + 256 * 256 + 256 * 29
NEIGHBOURS = "nearest neighbours, 76,800 patterns, Pohoiki Springs"
NEIGHBOURS_SOURCE = (
    "Frady et al. 2020, arXiv 2004.12691, Table 2, Neuro, and the counts of §3, as quoted by "
    "dyigitpolat/mimarsinan@06fd725, docs/research/physics/silicon_correlation_research.md, §2"
)
EMBEDDED_US = 5.9
"""A step's work of the embedded processor on MNIST: biphasic/Quartz-on-Loihi@a56d551, CNN/mnist-EDP-plot.ipynb, cells 3
to 7: 44 % (lmtActiveRatio) of 13.3 µs (timePerTimestep)."""
ENERGY_NOTEBOOKS = "intel-nrc-ecosystem/models@3dc53bf, nxsdk_modules_contrib/spytorch2loihi"
NTIDIGITS = f"{ENERGY_NOTEBOOKS}/slayer_rec/tutorials/ntidigits/ntidigitsEnergy.ipynb, cell 15"
BRAILLE = f"{ENERGY_NOTEBOOKS}/spytorch2loihi_import_energy-delay.ipynb"
NXTF = "Rueckauer et al. 2021, arXiv 2101.04261, the table of energy and delay; which one could not be read"


def rows(chip: Chip) -> list[Row]:
    """All rows of Loihi 1."""
    return [*_keyword_spotting(chip), _neighbours(chip), *_ntidigits(chip), *_without_figures()]


def _keyword_spotting(chip: Chip) -> list[Row]:
    """Spikes are not published: from none at all to all of them in every step."""
    silent = Workload(Work(neurons=541), "dense").energy_pj(chip)
    all_on = Workload(Work(541, 541, sent=512, received=902, synops=KEYWORD_SYNOPS), "dense").energy_pj(chip)
    between = Figure((silent.value + all_on.value) / 2, silent.low, all_on.high)
    inference = scaled(between, KEYWORD_STEPS * 1e-6)  # pJ a step, µJ an inference
    power = plus(static_mw(chip), scaled(inference, KEYWORD_RATE * 1e-3))
    spikes = "between no spike and all in every step; 10 steps an inference"
    paper = "abr/power_benchmarks@fce95c8, paper/power_summary.tex, Table 1"
    return [
        Row(
            KEYWORD,
            "power, program loaded, not running",
            96.3,
            "mW",
            static_mw(chip),
            "fitted",
            f"{LOGS}, after end_time",
        ),
        Row(
            "48-450-28 in two copies a chip, Nahuku32",
            "static power",
            2 * 89.08402777777778,
            "mW",
            static_mw(chip),
            "fitted",
            f"{BRAILLE}, cell 17, copies from cell 12",
        ),
        Row(KEYWORD, "power, running", 110.2, "mW", power, "tested", f"{LOGS}, start_time to end_time", spikes),
        Row(
            KEYWORD, "energy above that, an inference", 46.9, "µJ", inference, "shown", f"{LOGS}, the two above", spikes
        ),
        Row(KEYWORD, "dynamic energy an inference, as published", 270, "µJ", None, "shown", paper, "see below"),
    ]


def _neighbours(chip: Chip) -> Row:
    """60 steps a query; each of 667 to 750 input spikes reaches all neurons."""
    spikes = (667 + 750) / 2
    steps = 60
    work = Workload(Work(neurons=76_800, synops=spikes * 76_800 / steps), "dense")
    energy = scaled(work.energy_pj(chip), steps * 1e-9)
    return Row(NEIGHBOURS, "dynamic energy a query", 1.33, "mJ", energy, "tested", NEIGHBOURS_SOURCE, "see below")


def _ntidigits(chip: Chip) -> list[Row]:
    """3000 steps of lava-dl's reference input, run here; the output equals the reference spikes."""
    folder, steps = references() / "ntidigits", 3000
    layers = read_layers(folder / "ntidigits.net", (64,))
    network = IntegerNetwork(layers, InputSpec((64,), "events"), "count", steps, "NTIDIGITS")
    rasters = [np.load(folder / "input.npy").T.astype(np.int32)]
    for layer in layers:
        rasters.append(run_delayed(layer, rasters[-1]))
    if not np.array_equal(rasters[-1][: steps - 4], np.load(folder / "output.npy").T[4:]):
        raise SystemExit("NTIDIGITS: the spikes differ from lava-dl's reference")
    trace = trace_of(network, [raster[None] for raster in rasters], steps)
    # Their cut is two cores for each hidden layer and one for the last, as these limits give it.
    limit = chip.limits.neurons_per_core
    fewer = limit.model_copy(update=dict.fromkeys(("value", "low", "high"), 255))
    cut = chip.model_copy(update={"limits": chip.limits.model_copy(update={"neurons_per_core": fewer})})
    priced = estimate(trace, chip, placement=place(network, cut))
    # Twenty copies fill each chip, so the barrier is that of all its tiles.
    tiles = Figure(*(barrier_ns(chip.barrier, 32, edge) - barrier_ns(chip.barrier, 2, edge) for edge in EDGES))
    time = plus(scaled(priced.latency_s.mean, 1e6 / steps), scaled(tiles, 1e-3))
    with_processor = plus(time, Figure(*(EMBEDDED_US,) * 3))
    what = "NTIDIGITS 64-256-256-242, 6 cores, Nahuku32"
    spikes = "lava-dl's network and input, output equal to its reference spikes; without the core of the input"
    cores = "at least: cores and barrier of one chip; 32 chips and their embedded processors were at work; see below"
    return [
        Row(
            what,
            "dynamic energy a sample",
            575.963,
            "µJ",
            scaled(priced.dynamic_energy_j.mean, 1e6),
            "tested",
            NTIDIGITS,
            spikes,
        ),
        Row(what, "time a step", 17.6, "µs", time, "shown", NTIDIGITS, cores),
        Row(
            what,
            "time a step, with the processor's",
            17.6,
            "µs",
            with_processor,
            "shown",
            NTIDIGITS,
            f"and {EMBEDDED_US} µs of the embedded processor, of another network; see below",
        ),
    ]


def _without_figures() -> list[Row]:
    why = "shapes and spikes not published with it: no figure rather than a guess"
    return [
        Row("MNIST CNN by NxTF, 14 cores, Loihi 1", "energy a sample", 0.66, "mJ", None, "shown", NXTF, why),
        Row("MobileNet CIFAR-10 by NxTF, 861 cores, Loihi 1", "energy a sample", 102, "mJ", None, "shown", NXTF, why),
    ]
