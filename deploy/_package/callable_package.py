"""A package that is a function too: `spikecut.export(…)` beside `import spikecut.export.netx`.

The root package gives its subpackage `export` this class as soon as the import system has loaded it, so that both work
in any order. See docs/decisions/0017-export-is-a-package-and-a-function.md.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Generic, ParamSpec, TypeVar, cast

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result", covariant=True)


class CallablePackage(ModuleType, Generic[Parameters, Result]):
    """A package whose call is that of a function of the same name in the module `HOME`."""

    HOME = "spikecut.deploy.pipeline.public"

    def __init__(self, function: Callable[Parameters, Result]) -> None:
        super().__init__(f"spikecut.{function.__name__}", function.__doc__)

    def __call__(self, *arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        """What the function gives."""
        return self._function()(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's, for `help` and editors."""
        return inspect.signature(self._function())

    def _function(self) -> Callable[Parameters, Result]:
        name = self.__name__.rpartition(".")[2]
        return cast("Callable[Parameters, Result]", getattr(import_module(self.HOME), name))
