"""Hardware files: what a chip can do, how much fits, and what one event costs. Every number carries its source.

A file describes either a chip (`kind: chip`, see Chip) or a bare list of arithmetic energies (`kind: operations`, see
OperationProfile). Units stand in the keys: energy_pJ, time_ns, static_mW_per_chip. null means unknown, never 0.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from spikecut.deploy.placement.monitor import Monitor, MonitorPlace
from spikecut.deploy.placement.quantities import LEAF, Count, Quantity, Strict, Text, parameters
from spikecut.errors import HardwareConfigError
from spikecut.files import read_bytes

SIZE_LIMIT = 256 * 1024
PACKAGE = "spikecut.hardware_configs"


class Capabilities(Strict):
    """What the chip's neurons and messages can do.

    refractory_period: whether neurons that are set to 0 can rest after a spike without being programmable.
    """

    graded_spikes: bool
    soft_reset: bool
    initial_state: bool
    programmable_neuron: bool
    refractory_period: bool = False


class Arithmetic(Strict):
    """What the chip's neurons and weights can count; all that a file does not say is as on Loihi.

    Attributes
    ----------
    exponential_leak: whether current and membrane may decay by a fraction a step.
    negative_membrane: whether a membrane may fall below 0.
    weight_bits: bits of a weight with its sign, up to a common power of two of a layer; None for 9.
    """

    exponential_leak: bool = True
    negative_membrane: bool = True
    weight_bits: Annotated[int, Field(ge=2)] | None = None


LARGEST_MESH = 2**16


class Limits(Strict):
    """What fits on a chip and on each of its cores. The first four must be known.

    memory_words_per_core: words of 64 bits of all memories of a core together, where the chip takes them from one pool.
    """

    cores_per_chip: Count
    cores_per_tile: Count
    mesh_columns: Count
    mesh_rows: Count
    neurons_per_core: Count
    input_axons_per_core: Count
    output_axons_per_core: Count
    synaptic_words_per_core: Count
    words_per_axon: Count
    memory_words_per_core: Count | None = None

    @model_validator(mode="after")
    def _mesh(self) -> "Limits":
        names = ("cores_per_chip", "cores_per_tile", "mesh_columns", "mesh_rows")
        unknown = [name for name in names if getattr(self, name).value is None]
        if unknown:
            which = f"{unknown[0]} is" if len(unknown) == 1 else f"{', '.join(unknown)} are"
            raise ValueError(f"{which} null: cores cannot be laid out without, give numbers")
        cores, per_tile, columns, rows = (int(getattr(self, name).value) for name in names)
        if columns * rows > LARGEST_MESH:
            raise ValueError(f"{columns} x {rows} tiles: at most {LARGEST_MESH} can be laid out")
        if cores > per_tile * columns * rows:
            raise ValueError(f"{cores} cores_per_chip do not fit {columns} x {rows} tiles of {per_tile} cores")
        return self


class EventCost(Strict):
    """Energy and time of one event on one core."""

    energy_pJ: Quantity
    time_ns: Quantity


class Costs(Strict):
    """Cost of each kind of event (COST_MODEL terms): access, update and spike of a neuron, axon, synapse, mesh hop."""

    neuron_access: EventCost
    neuron_update: EventCost
    spike: EventCost
    axon_out: EventCost
    axon_in: EventCost
    synop_dense: EventCost
    synop_sparse: EventCost
    synop_conv: EventCost
    hop_east_west: EventCost
    hop_north_south: EventCost


class Barrier(Strict):
    """The wait that ends a timestep, by the number of tiles in use.

    Attributes
    ----------
    between: "floor" takes the largest listed number of tiles that is not above the one in use; "linear" interpolates.
    """

    energy_pJ_per_step: Quantity
    between: Literal["floor", "linear"]
    time_ns_by_tiles: dict[Annotated[int, Field(ge=1)], Quantity]

    @field_validator("time_ns_by_tiles")
    @classmethod
    def _starts_at_one(cls, table: dict[int, Quantity]) -> dict[int, Quantity]:
        if 1 not in table:
            raise ValueError("the table must start at 1 tile: add the entry 1")
        if len({knot.value is None for knot in table.values()}) > 1:
            raise ValueError("some entries are null and some are not: give all of them or none")
        return dict(sorted(table.items()))


class Management(Strict):
    """Time per step that embedded management takes (t_mgmt)."""

    time_ns_per_step: Quantity


class SampleReset(Strict):
    """Energy of clearing the state between two samples (E_reset)."""

    energy_pJ_per_sample: Quantity


class Hardware(Strict):
    """Base of what load_hardware returns; `name` is the file's name without its suffix.

    by_default: whether it is estimated where no hardware was named.
    """

    name: Text
    title: Text
    by_default: bool = True

    def __repr__(self) -> str:
        """One line; `print` tells more."""
        return f"{type(self).__name__}(name={self.name!r}, {len(parameters(self))} numbers)"

    def __str__(self) -> str:
        """What it is, how its numbers were found, and which are unknown; a file has a source for each."""
        found = parameters(self)
        known = Counter(quantity.provenance for quantity in found.values() if quantity.provenance is not None)
        told = ", ".join(f"{count} {provenance}" for provenance, count in sorted(known.items())) or "none known"
        unknown = [name for name, quantity in found.items() if quantity.value is None]
        lines = [f"hardware {self.name}: {self.title}", *self._features(), f"{len(found)} numbers: {told}"]
        from spikecut.text import listed  # numpy, which the command line's help can do without

        return "\n".join([*lines, *([f"unknown, never counted as 0: {listed(unknown)}"] if unknown else [])])

    def _features(self) -> tuple[str, ...]:
        """What is special to a kind of file, for `__str__`."""
        return ()


class Chip(Hardware):
    """A many-core chip: capabilities, limits and the cost of every event.

    Attributes
    ----------
    partition: how layers are cut into cores, see docs/cost_model.md. "runs": neighbouring neurons, every synapse of its
        own; "patches": as Loihi 2's compiler, a convolution's weights stored once a core.
    layout: where the cores sit on the mesh. "order": that of the layers; "traffic": where messages have few hops.
    timing: how a step's time follows from the times of its events, see docs/cost_model.md. "sum": the slowest core's
        events one after the other, then the barrier. "maximum": everything at once, the slowest of its bounds.
    """

    kind: Literal["chip"]
    partition: Literal["runs", "patches"] = "runs"
    layout: Literal["order", "traffic"] = "order"
    timing: Literal["sum", "maximum"] = "sum"
    capabilities: Capabilities
    arithmetic: Arithmetic = Arithmetic()
    limits: Limits
    costs: Costs
    barrier: Barrier
    management: Management
    static_mW_per_chip: Quantity
    reset: SampleReset
    monitor: Monitor

    def watched(self, place: MonitorPlace) -> "Chip":
        """The same chip, charged for a monitor in this place; HardwareConfigError where its file has none there."""
        if place not in self.monitor.places:
            told = ", ".join(self.monitor.places) or "none"
            raise HardwareConfigError(f"{self.name}: no monitor {place} in its file, which has {told}; add it there")
        return self.model_copy(update={"monitor": self.monitor.at(place)})

    def _features(self) -> tuple[str, ...]:
        limits = self.limits
        can = [key.replace("_", " ") for key, has in self.capabilities if has] or ["hard reset, binary spikes"]
        tiles = f"{limits.mesh_columns.limit} × {limits.mesh_rows.limit} tiles"
        return (f"{limits.cores_per_chip.limit} cores on {tiles}; {', '.join(can)}; step: {self.timing} of its times",)


class OperationEnergy(Strict):
    """Energy of one arithmetic operation."""

    energy_pJ: Quantity


class OperationProfile(Hardware):
    """Arithmetic energies alone, as the early-exit literature counts them: no cores, no time, no static power."""

    kind: Literal["operations"]
    accumulate: OperationEnergy
    multiply_accumulate: OperationEnergy


class _Loader(yaml.SafeLoader):
    """safe_load that refuses what safe_load would swallow: a key given twice, and aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            text = str(key.value)
            if text in seen:
                raise yaml.YAMLError(f"key {text[:60]} is given twice: remove one")
            seen.add(text)
        return super().construct_mapping(node, deep=deep)


def hardware_names() -> tuple[str, ...]:
    """Names of the hardware files that come with spikecut, sorted."""
    names = (entry.name for entry in files(PACKAGE).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def default_hardware() -> dict[str, Hardware]:
    """The hardware files that come with spikecut and are estimated where none was named, by name."""
    loaded = {name: load_hardware(name) for name in hardware_names()}
    return {name: hardware for name, hardware in loaded.items() if hardware.by_default}


def file_stems(names: Sequence[str]) -> dict[str, str]:
    """For each hardware, by name or path, a word of its own that a file's name may hold."""
    found: dict[str, str] = {}
    for name in names:
        stem = Path(name).stem or "hardware"
        count = sum(Path(other).stem == Path(name).stem for other in found)
        found[name] = f"{stem}-{count + 1}" if count else stem
    return found


def load_hardware(name_or_path: str | Path) -> Hardware:
    """Read one hardware file: one of `hardware_names()`, or a path to a .yaml file.

    Raises
    ------
    HardwareConfigError: unknown name, unreadable file, or a key that is missing, unknown or holds no valid number;
        one line with the file, the key and the remedy.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        return _parse(path.stem, str(path), read_bytes(path, HardwareConfigError, SIZE_LIMIT))
    if text not in hardware_names():
        names = ", ".join(hardware_names())
        raise HardwareConfigError(f"hardware {text!r} is unknown: choose {names}, or give a path to a .yaml file")
    return _parse(text, f"{text}.yaml", (files(PACKAGE) / f"{text}.yaml").read_bytes())


def hardware_problems(path: str | Path) -> tuple[str, ...]:
    """Everything that keeps a hardware file from being read, a line each with key and remedy; empty where it can be.

    The lines do not name the file.
    """
    try:
        load_hardware(Path(path))
    except HardwareConfigError as error:
        if isinstance(error.__cause__, ValidationError):
            found = error.__cause__.errors(include_url=False, include_context=False, include_input=False)
            return tuple(dict.fromkeys(_said(problem) for problem in found))
        return (str(error).removeprefix(f"{Path(path)}: "),)
    return ()


@lru_cache(maxsize=32)  # the files that come with spikecut are read again and again
def _parse(name: str, file: str, raw: bytes) -> Hardware:
    try:
        data = yaml.load(raw.decode("utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        reason = " ".join(str(exc).split())[:300] or type(exc).__name__
        raise HardwareConfigError(f"{file}: not valid YAML: {reason}") from exc
    if not isinstance(data, dict):
        raise HardwareConfigError(f"{file}: expected a mapping of keys, found {type(data).__name__}")
    if "name" in data:
        raise HardwareConfigError(f"{file}: name: unknown key: remove it, the file's name is the name")
    kinds: dict[Any, type[Hardware]] = {"chip": Chip, "operations": OperationProfile}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise HardwareConfigError(f"{file}: kind: expected chip or operations, found {kind!r}"[:200])
    try:
        return kinds[kind].model_validate({"name": name, **data})
    except ValidationError as exc:
        raise HardwareConfigError(f"{file}: {_first_problem(exc)}") from exc


def _first_problem(error: ValidationError) -> str:
    """The first problem, unknown keys before all others: a misspelt key is also a missing one."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    problem = min(problems, key=lambda item: item["type"] != "extra_forbidden")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _said(problem) + more


def _said(problem: ErrorDetails) -> str:
    """One problem: its key and what to do."""
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    kind = problem["type"]
    if kind == "extra_forbidden":
        text = "unknown key: remove it or correct its spelling (the unit is part of a key: energy_pJ, time_ns)"
    elif kind == "missing":
        text = "missing key: add it (a number that nobody knows is null, with the reason as its source)"
    elif kind == "model_type":
        text = f"expected a mapping: write every number as {LEAF}"
    else:
        text = problem["msg"].removeprefix("Value error, ")
        if kind in ("float_type", "finite_number", "greater_than_equal", "literal_error", "bool_type"):
            text += ": correct it" + (", or null where it is unknown" if kind != "bool_type" else "")
    return f"{place}: {text}"
