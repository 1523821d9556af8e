"""What a run's summary says of its costs, read back into figures."""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.report.html.contents import HardwareCost
from spikecut.deploy.report.html.units import counted
from spikecut.deploy.report.monitor_lines import monitor_rows
from spikecut.errors import InputError

Cells = dict[str, dict[str, float | None]]
SHARED = {"static": "static power"}
"""Names of shared terms in words."""
UNKNOWN = float("nan")


class _Stored(BaseModel):
    """Part of a summary; what a later version adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Measure(_Stored):
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    unknown_terms: tuple[str, ...] = ()
    # Runs of earlier versions say "evidence".
    provenance: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("provenance", "evidence"))

    @property
    def figure(self) -> Figure:
        return _figure(self.mean, self.low, self.high)


class _Shares(_Stored):
    value: Cells = {}
    low: Cells = {}
    high: Cells = {}
    shared: dict[str, tuple[float | None, float | None, float | None]] = {}

    @property
    def layers(self) -> dict[str, Figure]:
        """Layer → the sum over its kinds of events."""
        return {name: Figure(*(_sum(edge.get(name, {})) for edge in self._edges)) for name in self.value}

    @property
    def beside(self) -> dict[str, Figure]:
        """What belongs to no layer, where it is known."""
        found = {SHARED.get(name, name): _figure(*term) for name, term in self.shared.items()}
        return {name: figure for name, figure in found.items() if figure.value > 0}

    @property
    def _edges(self) -> tuple[Cells, Cells, Cells]:
        return self.value, self.low, self.high


class _Bound(_Stored):
    name: str
    steps: float
    where: str = ""
    mean_s: float | None = None


class _Attribution(_Stored):
    time_s: _Shares = _Shares()
    energy_j: _Shares = _Shares()
    critical_share_of_steps: dict[str, float] = {}
    bounds: tuple[_Bound, ...] = ()


class _Placement(_Stored):
    cores: int
    tiles: int
    chips: int


class _OnHardware(_Stored):
    refusal: str = ""
    title: str = ""
    hypothetical: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    placement: _Placement | None = None
    latency_s: _Measure = _Measure()
    energy_j: _Measure = _Measure()
    attribution: _Attribution = _Attribution()


class _Edges(_Stored):
    value: float | None = None
    low: float | None = None
    high: float | None = None


class _Payoff(_Stored):
    saved: _Edges
    cost: _Edges
    verdict: str


class _Monitor(_Stored):
    latency: _Payoff
    energy: _Payoff
    steps: float
    delay_steps: float | None = None
    messages_per_step: float | None = None


class _Savings(_Stored):
    monitors: dict[str, dict[str, _Monitor]] = {}
    notes: tuple[str, ...] = ()


def _figure(value: float | None, low: float | None, high: float | None) -> Figure:
    return Figure(*(UNKNOWN if edge is None else edge for edge in (value, low, high)))


def _sum(cells: Mapping[str, float | None]) -> float:
    return sum(UNKNOWN if cell is None else cell for cell in cells.values()) if cells else UNKNOWN


def stored_costs(
    hardware: Mapping[str, Mapping[str, Any]],
) -> tuple[tuple[HardwareCost, ...], dict[str, dict[str, Figure]], dict[str, dict[str, Figure]]]:
    """The costs on every hardware of a summary; and layer → hardware → its time, and its energy.

    Raises InputError, naming the key, where a summary holds something else.
    """
    costs: list[HardwareCost] = []
    times: dict[str, dict[str, Figure]] = {}
    energies: dict[str, dict[str, Figure]] = {}
    for name, entry in hardware.items():
        try:
            found = _OnHardware.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, (name, *first["loc"])))
            raise InputError(f"summary.json: hardware.{key}: {first['msg']}; run again") from error
        costs.append(_cost(name, found))
        for shares, per_layer in ((found.attribution.time_s, times), (found.attribution.energy_j, energies)):
            for layer, figure in shares.layers.items():
                per_layer.setdefault(layer, {})[name] = figure
    return tuple(costs), times, energies


def stored_monitors(savings: Mapping[str, Any] | None) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Whether the cutoff pays for its monitor, a row for each hardware and place, and what else was said of monitors.

    Raises InputError, naming the key, where a summary holds something else.
    """
    try:
        found = _Savings.model_validate(savings or {})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"summary.json: savings.{'.'.join(map(str, first['loc']))}: {first['msg']}; run again"
        ) from error
    notes = tuple(note for note in found.notes if note.startswith("monitor "))
    return tuple(monitor_rows(found.model_dump())), notes


def _cost(name: str, found: _OnHardware) -> HardwareCost:
    cores = found.placement
    text = ""
    if cores is not None:
        text = f"{counted(cores.cores, 'core')} on {counted(cores.tiles, 'tile')} of {counted(cores.chips, 'chip')}"
    measures = {"latency": found.latency_s, "energy": found.energy_j}
    return HardwareCost(
        name=name,
        title=found.title,
        refusal=found.refusal,
        latency_s=found.latency_s.figure,
        energy_j=found.energy_j.figure,
        shared_time_s=found.attribution.time_s.beside,
        shared_energy_j=found.attribution.energy_j.beside,
        critical=found.attribution.critical_share_of_steps,
        bounds=tuple(
            (each.name, each.steps, UNKNOWN if each.mean_s is None else each.mean_s, each.where)
            for each in found.attribution.bounds
        ),
        unknown={key: measure.unknown_terms for key, measure in measures.items()},
        provenance={key: measure.provenance for key, measure in measures.items()},
        assumptions=found.assumptions,
        hypothetical=found.hypothetical,
        placement=text,
    )
