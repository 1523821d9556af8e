"""How results print: short lines and plain columns, never arrays."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LONGEST_REPR = 60
"""Characters of a list in a `__repr__`; a longer one is counted."""
LONGEST_LINE = 160
"""Characters of a remark in a `__str__`; a longer one is cut."""
MOST_NOTES = 4
"""Remarks in a `__str__`; more are counted."""
LONGEST_LIST = 8
"""Values of a list that are shown; of a longer one the first four and the last."""


def brief(value: Any) -> str:
    """`Name(field=…)` in one line, for `__repr__`: arrays as dtype[shape], long lists as counts."""
    shown = ", ".join(f"{field.name}={_brief(getattr(value, field.name))}" for field in dataclasses.fields(value))
    return f"{type(value).__name__}({shown})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if _is_compound(value):
        return f"{type(value).__name__}(…)"
    if isinstance(value, Mapping):
        return f"{{{len(value)} entries}}" if value else "{}"
    shown = repr(value)
    if isinstance(value, tuple | list) and (any(map(_is_compound, value)) or len(shown) > LONGEST_REPR):
        return f"({len(value)} {_kind(value)})"
    return f"{type(value).__name__}(…)" if "\n" in shown else shown


def _is_compound(value: Any) -> bool:
    """Whether a value has fields of its own: a dataclass, or a model of pydantic."""
    return dataclasses.is_dataclass(value) or hasattr(type(value), "model_fields")


def _kind(values: Sequence[Any]) -> str:
    """What the values of a list are."""
    kinds = {type(value).__name__ for value in values}
    return kinds.pop() if len(kinds) == 1 else "entries"


def told(notes: Sequence[str]) -> str:
    """Remarks as the last lines of a `__str__`, each after a line break; "" for none."""
    shown = [note if len(note) <= LONGEST_LINE else f"{note[: LONGEST_LINE - 1]}…" for note in notes[:MOST_NOTES]]
    more = [f"{len(notes) - MOST_NOTES} more in .notes"] if len(notes) > MOST_NOTES else []
    return "".join(f"\nnote: {line}" for line in (*shown, *more))


def columns(rows: Iterable[Sequence[object]], right: frozenset[int] = frozenset()) -> str:
    """Rows of cells as aligned lines, two spaces between the columns; `right`: columns whose cells stand right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def sides(shape: Sequence[int]) -> str:
    """A shape in words: 1×8×8."""
    return "×".join(map(str, shape))


def listed(values: Sequence[object]) -> str:
    """Values in a row; of more than LONGEST_LIST the first four and the last."""
    if len(values) <= LONGEST_LIST:
        return ", ".join(map(str, values))
    return f"{', '.join(map(str, values[:4]))}, … {values[-1]} ({len(values)} in all)"


def percent(share: float) -> str:
    """A share as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def spread(values: Any) -> str:
    """Mean of numbers with the smallest and the largest: 4.06 (1 to 16)."""
    return f"{float(np.mean(values)):.2f} ({np.min(values):g} to {np.max(values):g})"
