"""Layouts: layers, their order and their state-dict keys in published repositories, read from the YAML files here.

A file holds `networks`, each with values of its own, and the `layers` that they share. A layer is an object: a name,
its tensors' prefix, and a type; its texts may hold values, "{at}.conv1". An entry of `layers` may also stand for
blocks: {each: stages, use: plain, first: widening} takes, for each object in the network's list `stages`,
the block `plain`, n times with i counting; `widening` in its place where the object says `widens`, and i is 0; the
stride is the object's at i = 0, and 1 behind. A block is main, then a sum with its shortcut (none: no sum; empty: what
came in), then after.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from spikecut.errors import InputError

CLASSES = "classes"
Side = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Layer(_Strict):
    """name: prefix of its tensors."""

    name: str


class Convolution(_Layer):
    """torch.nn.Conv2d; its input channels are those that come in."""

    type: Literal["Conv2d"]
    out: Side
    kernel: Side
    stride: Side = 1
    padding: Annotated[int, Field(ge=0)] = 0
    bias: bool = True


class Dense(_Layer):
    """torch.nn.Linear; out "classes": as many as the file has."""

    type: Literal["Linear"]
    out: Side | Literal["classes"]


class Norm(_Layer):
    """torch.nn.BatchNorm2d."""

    type: Literal["BatchNorm2d"]


class Neurons(_Layer):
    """The network's neurons."""

    type: Literal["Neurons"]


class AveragePool(_Layer):
    """torch.nn.AvgPool2d."""

    type: Literal["AvgPool2d"]
    kernel: Side


class Simple(_Layer):
    """Mean of each channel; flattening."""

    type: Literal["GlobalAvgPool2d", "Flatten"]


class PaddedChannels(_Layer):
    """Every stride-th row and column, with out/4 channels of zeros before and behind (He et al.'s option A)."""

    type: Literal["PaddedChannels"]
    out: Side
    stride: Side


Layer = Annotated[
    Convolution | Dense | Norm | Neurons | AveragePool | Simple | PaddedChannels, Field(discriminator="type")
]
LAYER: TypeAdapter[Layer] = TypeAdapter(Layer)


class NeuronKind(_Strict):
    """What the neurons are.

    Attributes
    ----------
    kind: "relu": to be converted; "qcfs": integrate-and-fire, soft reset, v(0) = λ/2, spikes of value λ; "lif": leaky,
        v > threshold, hard reset, spikes of value 1.
    threshold: of "lif" the number, of "qcfs" the last part of λ's key. decay: what v loses, of "lif".
    """

    kind: Literal["relu", "qcfs", "lif"]
    threshold: float | str | None = None
    decay: float = 0.0


@dataclass(frozen=True)
class Step:
    """A layer and what it takes: names of earlier steps, "" for the input. layer: None for the sum of two."""

    name: str
    layer: Layer | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A network of a repository.

    Attributes
    ----------
    source: where names and shapes were read. samples: what the network takes, in words. input_shape: (C, H, W).
    spellings: for each way that its files name tensors, patterns and what takes their place.
    """

    name: str
    source: str
    samples: str
    input_shape: tuple[int, int, int]
    neurons: NeuronKind
    steps: tuple[Step, ...]
    spellings: tuple[Mapping[str, str], ...]

    def spelt(self, keys: list[str]) -> Iterator[dict[str, str]]:
        """For each spelling the name here of each key; torch.nn.DataParallel's prefix is left out."""
        prefix = "module." if keys and all(key.startswith("module.") for key in keys) else ""
        for spelling in self.spellings:
            found = {}
            for key in keys:
                name = key.removeprefix(prefix)
                for pattern, replacement in spelling.items():
                    name = re.sub(pattern, replacement, name)
                found[key] = name
            yield found


def layout_names() -> tuple[str, ...]:
    """All layouts, sorted."""
    return tuple(sorted(name for family in _families() for name in family["networks"]))


def layout(name: str) -> Layout:
    """A layout by its name; InputError for another one."""
    for family in _families():
        if name in family["networks"]:
            return _layout(name, family)
    raise InputError(f"--layout {name!r}: expected one of {', '.join(layout_names())}")


def _families() -> list[dict[str, Any]]:
    folder = files(__package__)
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return [yaml.safe_load(text) for text in texts]


def _layout(name: str, family: Mapping[str, Any]) -> Layout:
    values = family["networks"][name]
    return Layout(
        name=name,
        source=family["source"],
        samples=family["samples"],
        input_shape=tuple(family["input_shape"]),
        neurons=NeuronKind.model_validate(values.get("neurons") or family["neurons"]),
        steps=tuple(_Expansion(values, family.get("blocks", {})).steps(family["layers"])),
        spellings=tuple(family.get("spellings", [{}])),
    )


class _Expansion:
    """The entries of a file as steps; `last` is what the next one takes."""

    def __init__(self, values: Mapping[str, Any], blocks: Mapping[str, Any]) -> None:
        self.values, self.blocks = values, blocks
        self.last = ""

    def steps(self, entries: list[Mapping[str, Any]]) -> Iterator[Step]:
        for entry in entries:
            if "each" not in entry:
                yield from self._chain([entry], self.values)
                continue
            for item in self.values[entry["each"]]:
                for number in range(item.get("n", self.values.get("n", 1))):
                    block = entry["first"] if item.get("widens") and number == 0 else entry["use"]
                    stride = item.get("stride", 1) if number == 0 else 1
                    yield from self._block(self.blocks[block], {**item, "i": number, "stride": stride})

    def _block(self, block: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Step]:
        before = self.last
        yield from self._chain(block["main"], values)
        if "shortcut" in block:
            main, self.last = self.last, before
            yield from self._chain(block["shortcut"], values)
            name = f"{main}+"
            yield Step(name, None, (main, self.last))
            self.last = name
        yield from self._chain(block.get("after", []), values)

    def _chain(self, entries: list[Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[Step]:
        for entry in entries:
            layer = LAYER.validate_python({key: _filled(value, values) for key, value in entry.items()})
            yield Step(layer.name, layer, (self.last,))
            self.last = layer.name


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """A text with its values in their places; one that is nothing but a value's name becomes that value."""
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\{(\w+)\}", value)
    return values[whole[1]] if whole else value.format(**values)
