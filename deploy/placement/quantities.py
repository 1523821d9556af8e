"""One number of a hardware file: its value with its band, where it comes from, and how it was found."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

Provenance = Literal["simulated", "fitted", "scaled", "inherited", "bound"]
Edge = Literal["low", "value", "high"]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]

LEAF = "{value, low, high, source, provenance}"


class Strict(BaseModel):
    """Base of every part: immutable, no unknown keys, no conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quantity(Strict):
    """One number with its band, its source and its provenance: how it was found.

    Attributes
    ----------
    value: best figure, in the unit of the key; None is unknown.
    low, high: edges of the band; None is an unknown edge.
    source: where the number comes from and how its band was derived; for an unknown number, why it is unknown.
    provenance: simulated | fitted | scaled | inherited | bound; None exactly where the value is unknown.
    """

    value: NonNegative | None
    low: NonNegative | None
    high: NonNegative | None
    source: Text
    # Files of earlier versions say "evidence".
    provenance: Provenance | None = Field(validation_alias=AliasChoices("provenance", "evidence"))

    def at(self, edge: Edge) -> float:
        """The figure at this edge: NaN for an unknown edge of a known number, 0 for an unknown number.

        Whoever sums the 0 must name the number as unknown, see deploy/cost.
        """
        if self.value is None:
            return 0.0
        figure: float | None = getattr(self, edge)
        return float("nan") if figure is None else figure

    @model_validator(mode="after")
    def _ordered(self) -> "Quantity":
        if self.value is None:
            if self.low is not None or self.high is not None or self.provenance is not None:
                raise ValueError("the value is null: low, high and provenance must be null too")
            return self
        if self.provenance is None:
            raise ValueError("provenance is null: give simulated, fitted, scaled, inherited or bound")
        if self.low is not None and self.low > self.value:
            raise ValueError(f"low {self.low} exceeds the value {self.value}: swap or correct them")
        if self.high is not None and self.high < self.value:
            raise ValueError(f"high {self.high} is below the value {self.value}: swap or correct them")
        return self


class Count(Quantity):
    """A quantity that counts things: whole and at least 1, or unknown."""

    @property
    def limit(self) -> int | None:
        """The value as an int; None where it is unknown and so cannot be checked."""
        return None if self.value is None else int(self.value)

    @model_validator(mode="after")
    def _whole(self) -> "Count":
        if self.value is not None and (self.value < 1 or self.value != int(self.value)):
            raise ValueError(f"value {self.value}: expected a whole number of at least 1")
        return self


class Steps(Quantity):
    """A number of hardware steps: whole, or unknown, with its edges."""

    @property
    def edges(self) -> tuple[int, int, int] | None:
        """low, value and high; an unknown edge is the value. None where the value is unknown."""
        if self.value is None:
            return None
        found = [self.value if edge is None else edge for edge in (self.low, self.value, self.high)]
        return int(found[0]), int(found[1]), int(found[2])

    @model_validator(mode="after")
    def _whole(self) -> "Steps":
        given = [edge for edge in (self.low, self.value, self.high) if edge is not None]
        if any(edge < 0 or edge != int(edge) for edge in given):
            raise ValueError(f"{given}: expected whole numbers of steps")
        return self


def parameters(part: object, prefix: str = "") -> dict[str, Quantity]:
    """Every quantity of a hardware file, or of a part of one, by the keys that lead to it: "costs.spike.energy_pJ"."""
    if isinstance(part, Quantity):
        return {prefix: part}
    if not isinstance(part, BaseModel | dict):
        return {}
    # What a file leaves to its default is no parameter of it.
    entries = part.items() if isinstance(part, dict) else ((k, each) for k, each in part if k in part.model_fields_set)
    found: dict[str, Quantity] = {}
    for key, inner in entries:
        found |= parameters(inner, f"{prefix}.{key}" if prefix else str(key))
    return found
