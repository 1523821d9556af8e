"""Defaults of options from spikecut.toml, or [tool.spikecut] of pyproject.toml, in the working folder or one above it.

    [run]
    backend = "batched"
    hardware = ["loihi2"]

A table per command, a key per option, as on the command line without its dashes; the command line wins. Paths are
relative to the file. What names results, replaces them or names a program is given on the command line alone.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from typer.models import OptionInfo

from spikecut.errors import InputError
from spikecut.files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN, SHARED = "spikecut.toml", "pyproject.toml"
MAXIMUM_FILE = {OWN: 2**16, SHARED: 2**18}
"""Bytes; a key of as many dots keeps tomllib busy for seconds."""
PER_COMMAND_LINE = {"out", "overwrite", "resume", "weights", "start", "dry_run"}
"""Fields that no file sets: where results go, what is replaced, which program or checkpoint is run."""
FILES = (".npz", ".h5", ".hdf5", ".yaml", ".yml")
"""Endings of data sets and hardware files that are paths, not names."""


@dataclass(frozen=True)
class Defaults:
    """What a file says: command → field of its options → value. file: None where there is none."""

    file: Path | None = None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def find_defaults(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The nearest file with defaults, and its tables: in the folder, or above it up to the one that holds .git.

    InputError for a file that cannot be read, or is no TOML.
    """
    for place in (folder, *folder.parents):
        for name in (OWN, SHARED):
            path = place / name
            if not path.is_file():
                continue
            tables = _toml(path)
            if name == OWN:
                return path, tables
            mine = tables.get("tool", {}).get("spikecut") if isinstance(tables.get("tool"), dict) else None
            if mine is not None:
                if not isinstance(mine, dict):
                    raise InputError(f"{path}: tool.spikecut: expected a table per command, [tool.spikecut.run]")
                return path, mine
        if (place / ".git").exists():
            break
    return None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, InputError, MAXIMUM_FILE[path.name]))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: no TOML ({error}): correct it, or remove it") from error


def checked_defaults(path: Path, tables: Mapping[str, Any], models: Mapping[str, type]) -> Defaults:
    """The defaults of a file, once all of it is right.

    models: command → the dataclass of its options.

    InputError, naming file and key, for a command or an option that there is not, or a value that does not fit.
    """
    values = {}
    for command, table in tables.items():
        if command not in models:
            raise InputError(f"{path}: {command}: no command with options: expected one of {', '.join(models)}")
        if not isinstance(table, dict):
            raise InputError(f"{path}: {command}: expected a table, [{command}], of its options")
        values[command] = _checked(path, command, table, _options_of(models[command]))
    return Defaults(path, values)


@dataclass(frozen=True)
class _Option:
    """A field of a command's options, how it is written, and whether a file may set it."""

    field: str
    type: Any
    info: OptionInfo

    @property
    def written(self) -> str:
        """Its name on the command line, without dashes before it."""
        declared = (self.info.default, *(self.info.param_decls or ()))  # inside Annotated the first is called default
        long = [name for name in declared if isinstance(name, str) and name.startswith("--")]
        return (long[0].split("/")[0] if long else self.field).strip("-").replace("_", "-")

    @property
    def settable(self) -> bool:
        """Whether a file may set it."""
        return self.field not in PER_COMMAND_LINE


def _options_of(model: type) -> dict[str, _Option]:
    """By the name on the command line; arguments are none."""
    hints = get_type_hints(model, include_extras=True)
    found = {}
    for each in fields(model):
        kind, *told = get_args(hints[each.name]) or (None,)
        for info in told:
            if isinstance(info, OptionInfo):
                option = _Option(each.name, kind, info)
                found[option.written] = option
    return found


def _checked(path: Path, command: str, table: Mapping[str, Any], options: Mapping[str, _Option]) -> dict[str, Any]:
    named = {key.replace("_", "-"): value for key, value in table.items()}
    settable = {name: option for name, option in options.items() if option.settable}
    for key in named:
        if key not in settable:
            why = "only on the command line" if key in options else f"expected one of {', '.join(sorted(settable))}"
            raise InputError(f"{path}: [{command}] {key}: {why}; remove it")
    try:
        checked = _model(settable)(**{settable[key].field: value for key, value in named.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = next(name for name, option in settable.items() if option.field == first["loc"][0])
        raise InputError(f"{path}: [{command}] {key} = {first['input']!r}: {first['msg']}; correct it") from error
    given = checked.model_dump(exclude_unset=True)
    types = {option.field: option.type for option in settable.values()}
    return {name: _placed(path.parent, name, types[name], value) for name, value in given.items()}


def _model(options: Mapping[str, _Option]) -> type[BaseModel]:
    """The table of one command as pydantic checks it: the types and bounds of its options, nothing converted."""
    entries: dict[str, Any] = {}
    for option in options.values():
        kind = str if _is_path(option.type) else option.type
        entries[option.field] = (kind, Field(default=None, ge=option.info.min, le=option.info.max))
    return create_model("Table", __config__=ConfigDict(extra="forbid", strict=True, frozen=True), **entries)


def _is_path(kind: Any) -> bool:
    return kind is Path or Path in get_args(kind)


def _placed(folder: Path, name: str, kind: Any, value: Any) -> Any:
    """A value whose paths are relative to the file's folder."""
    if isinstance(value, list):
        return [_placed(folder, name, kind, each) for each in value]
    named = name in ("dataset", "hardware") and isinstance(value, str) and value.endswith(FILES)
    return str(folder / value) if named or _is_path(kind) else value
