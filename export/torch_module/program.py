"""A module made by the user's own program, FILE.py:FUNCTION, and what it is told and tells as a process of its own."""

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from spikecut import errors
from spikecut.errors import InputError, SpikecutError
from spikecut.models.torch_files import read_tensors

SOURCE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Program:
    """A function of a file, which takes nothing and gives a module, or a module and a sample."""

    file: Path
    function: str

    @classmethod
    def named(cls, source: Path) -> "Program":
        """From FILE.py:FUNCTION; InputError for anything else."""
        found = SOURCE.fullmatch(str(source))
        if found is None:
            raise InputError(f"{source}: expected FILE.py:FUNCTION")
        return cls(Path(found["file"]), found["function"])

    def built(self, weights: Path | None) -> tuple[nn.Module, Any]:
        """Run the user's code here: the module, with these weights, and a sample, or None.

        InputError for a file or function that fails, or gives something else; CheckpointError for weights, see
        read_tensors.
        """
        made = self._called(self._loaded())
        module, sample = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(module, nn.Module):
            raise InputError(
                f"{self.file}:{self.function} gives {type(module).__name__}: return a torch module, or it and a sample"
            )
        if weights is not None:
            try:
                module.load_state_dict(read_tensors(weights))
            except RuntimeError as error:
                raise InputError(f"{weights} does not fit the module: {' '.join(str(error).split())[:300]}") from error
        return module, sample

    def _loaded(self) -> Callable[[], Any]:
        if not self.file.is_file():
            raise InputError(f"{self.file}: no such file")
        spec = importlib.util.spec_from_file_location(self.file.stem, self.file)
        if spec is None or spec.loader is None:
            raise InputError(f"{self.file}: not a Python file")
        sys.path.insert(0, str(self.file.resolve().parent))
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.file.stem] = module
        self._run(lambda: spec.loader.exec_module(module) if spec.loader is not None else None)
        function: Any = getattr(module, self.function, None)
        if not callable(function):
            raise InputError(f"{self.file} has no function {self.function}; give FILE.py:FUNCTION")
        return function  # type: ignore[no-any-return]

    def _called(self, function: Callable[[], Any]) -> Any:
        return self._run(function)

    def _run(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except SpikecutError:
            raise
        except Exception as error:  # the user's code may raise anything
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(f"{self.file}:{self.function} fails: {type(error).__name__}: {reason}") from error


def error_named(name: str, text: str) -> SpikecutError:
    """The error that the other process raised."""
    kind = getattr(errors, name, InputError)
    return kind(text) if isinstance(kind, type) and issubclass(kind, SpikecutError) else InputError(text)
