"""Loihi 2: two neurons, networks of LIF neurons, PilotNet, YOLO-KP."""

from silicon.rows import Row, Use
from silicon.workload import Work, Workload, plus, scaled, static_mw, times
from spikecut.deploy.placement.hardware import Chip

PAIR = "two LIF neurons, {} Hz, Oheo Gulch"
PAIR_SOURCE = "NECOTIS/TemporalLearningInRSNNs@40bae15, loihi_experiment/res.json, frequency {}, means over six delays"
PAIR_STEPS = 10_000_000
PAIRS = {  # rate: seconds and joules of 10^7 steps, and W of static power; means over six delays of means of 100 runs
    25: (11.63701, 0.315664, 0.214555),
    50: (11.63978, 0.317555, 0.212486),
    100: (11.64131, 0.394000, 0.213719),
}
NOTEBOOK = "lava-dl@d825ac5, tutorials/lava/lib/dl/netx/{}/benchmark.ipynb"
PILOTNET = "PilotNet-LIF, 158,509 neurons on 74 cores, Oheo Gulch"
PROFILE = Workload(  # read off the plot of cell 27, which sums 10,000 steps
    whole=Work(neurons=158_509, spikes=43_200, sent=43_200, received=43_200, synops=2_289_000),
    busiest=Work(neurons=3_072, spikes=1_300, sent=1_300, received=2_600, synops=150_800),
    storage="conv",
    tiles=19,
)
PILOTNET_STEPS = 16
YOLO = "YOLO-KP, 2,618,560 neurons on 1,022 cores of 9 chips, VPX board (N3C1)"
YOLO_NOTEBOOK = "mbrehove/lava-dl@44f1fbb, tutorials/lava/lib/dl/netx/yolo_kp/benchmark_unthrottled (1).ipynb"
YOLO_CHIPS = 9
YOLO_FRAME = (
    Workload(  # a frame a step; spikes and messages read off cell 49, the busiest core's operations from cell 43
        whole=Work(neurons=2_618_560, spikes=900_000, sent=1_800_000, received=1_800_000, synops=209_028_479),
        busiest=Work(neurons=3_584, synops=1_119.7045 / 0.66e-3),
        storage="conv",
        tiles=32,
    )
)


def rows(chip: Chip) -> list[Row]:
    """All rows of Loihi 2."""
    return [*_pairs(chip), _competition(chip), *_pilotnet(chip), *_yolo(chip), *_static(chip)]


def _pairs(chip: Chip) -> list[Row]:
    found = []
    for rate, (seconds, joules, _) in PAIRS.items():
        spikes = 2 * rate / 1000  # a step is a millisecond, and the second neuron answers each spike of the first
        work = Workload(
            Work(neurons=2, spikes=spikes, sent=rate / 1000, received=rate / 1000, synops=rate / 1000), "dense"
        )
        use: Use = "fitted" if rate == 25 else "tested"
        what, source = PAIR.format(rate), PAIR_SOURCE.format(rate)
        remark = "the floor" if use == "fitted" else ""
        time = scaled(work.time_ns(chip), 1e-3)
        energy = scaled(work.energy_pj(chip), 1e-3)
        found.append(
            Row(what, "time a step", 1e6 * seconds / PAIR_STEPS, "µs", time, use, f"{source}, total_time", remark)
        )
        measured = 1e9 * joules / PAIR_STEPS
        found.append(
            Row(
                what,
                "dynamic energy a step",
                measured,
                "nJ",
                energy,
                use,
                f"{source}, dynamic_energy",
                "one run: ± 20 nJ",
            )
        )
    return found


def _competition(chip: Chip) -> Row:
    floor = Workload(Work(), "dense", tiles=2).time_ns(chip)
    source = "OzU-CAST/LoihiScalingEfficiency@1c5a162, README.md, Figs/latency.png, read off: 1.75 to 1.81"
    what = "winner-take-all, 200 to 1200 LIF neurons on 5 to 69 cores"
    return Row(
        what, "time a step", 1.77, "µs", scaled(floor, 1e-3), "fitted", source, "the floor on more than one tile"
    )


def _pilotnet(chip: Chip) -> list[Row]:
    source = NOTEBOOK.format("pilotnet_snn")
    time = PROFILE.time_ns(chip)
    dynamic = scaled(PROFILE.energy_pj(chip), PILOTNET_STEPS * 1e-9)
    total = plus(dynamic, scaled(times(static_mw(chip), time), PILOTNET_STEPS * 1e-9))
    counts = "counts of the run itself, from its activity profile (cell 27)"
    return [
        Row(
            PILOTNET,
            "time a step",
            152.85,
            "µs",
            scaled(time, 1e-3),
            "tested",
            f"{source}, cell 17: 408.91 frames/s",
            counts,
        ),
        Row(
            PILOTNET,
            "dynamic energy a frame",
            1.093544,
            "mJ",
            dynamic,
            "tested",
            f"{source}, cell 24",
            f"{counts}; no hops",
        ),
        Row(PILOTNET, "energy a frame", 1.661103, "mJ", total, "tested", f"{source}, cell 24", counts),
    ]


def _yolo(chip: Chip) -> list[Row]:
    """The energy set that of a convolution's synaptic operation; the time is that of links between chips."""
    time, dynamic = scaled(YOLO_FRAME.time_ns(chip), 1e-3), scaled(YOLO_FRAME.energy_pj(chip), 1e-9)
    counts = "synaptic operations from cell 42, spikes and messages read off cell 49; no hops"
    links = "at least: its messages between chips alone are put at 3,131 µs there (cell 44), and no file knows them"
    idle = f"4.156 W for {YOLO_CHIPS} chips; see below"
    return [
        Row(YOLO, "dynamic energy a frame", 4.605241, "mJ", dynamic, "fitted", f"{YOLO_NOTEBOOK}, cell 40", counts),
        Row(YOLO, "time a step", 8960.82, "µs", time, "shown", f"{YOLO_NOTEBOOK}, cell 33", links),
        Row(
            YOLO,
            "static power a chip",
            4155.645 / YOLO_CHIPS,
            "mW",
            static_mw(chip),
            "tested",
            f"{YOLO_NOTEBOOK}, cell 39",
            idle,
        ),
    ]


def _static(chip: Chip) -> list[Row]:
    power = static_mw(chip)
    found = [
        Row(
            PAIR.format(rate),
            "static power",
            1e3 * watts,
            "mW",
            power,
            "fitted",
            f"{PAIR_SOURCE.format(rate)}, static_power",
        )
        for rate, (_, _, watts) in PAIRS.items()
    ]
    for name, folder, cell, measured in (
        ("PilotNet-LIF, Oheo Gulch", "pilotnet_snn", 23, 232.078),
        ("PilotNet-SDNN, Oheo Gulch", "pilotnet_sdnn", 21, 281.775),
    ):
        source = f"{NOTEBOOK.format(folder)}, cell {cell}"
        found.append(Row(name, "static power", measured, "mW", power, "fitted", source))
    return found
