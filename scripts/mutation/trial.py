"""One mutant in a process of its own: forked from one that has imported what does not change, it runs the tests."""

import ast
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Literal

import pytest
from core import ROOT, module_of

Verdict = Literal["killed", "survived", "endless"]
THIRD_PARTIES = (
    "numpy",
    "scipy.optimize",
    "torch",
    "numba",
    "hypothesis",
    "h5py",
    "pydantic",
    "typer",
    "rich",
    "safetensors.numpy",
)

NO_PYTEST = 70


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: killed by a failing test, not noticed, or stopped after more CPU time than is sound."""

    verdict: Verdict
    seconds: float
    said: str


def prepare() -> None:
    """Import what every trial needs and no mutant changes."""
    for name in THIRD_PARTIES:
        __import__(name)
    from spikecut import lava_repairs

    lava_repairs.install()
    import lava.lib.dl.netx.hdf5
    import lava.magma.core.run_configs
    import lava.magma.runtime.runtime  # noqa: F401


def trial(file: str, tree: ast.Module | None, tests: Sequence[str], limit_s: int) -> Outcome:
    """Run the tests with a module's file replaced by a tree, or as it is."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            code = NO_PYTEST
            try:
                code = _child(Path(folder), file, tree, tests, limit_s)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        try:
            _, status = os.waitpid(child, 0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        said = _last_words(Path(folder, "output"))
        seconds = time.monotonic() - began
        shutil.rmtree(Path(folder, "numba"), ignore_errors=True)
    if os.WIFSIGNALED(status):
        return Outcome(
            "endless" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM) else "killed", seconds, said
        )
    return Outcome("survived" if os.WEXITSTATUS(status) == 0 else "killed", seconds, said)


def _child(folder: Path, file: str, tree: ast.Module | None, tests: Sequence[str], limit_s: int) -> int:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(10 * limit_s)
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    if tree is not None:
        import numba

        vars(numba.config)["CACHE_DIR"] = str(folder / "numba")  # what is compiled elsewhere is of the file as it is
        sys.meta_path.insert(0, _Finder(file, tree))
    os.chdir(ROOT)
    os.environ["CI"] = "1"  # hypothesis draws the same each time
    rewritten = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis has been imported
    options = [*rewritten, "-x", "-q", "--no-header", "-p", "no:cacheprovider", "--basetemp", str(folder / "pytest")]
    return int(pytest.main([*options, *dict.fromkeys(tests)], [_InOrder(tests)]))


class _InOrder:
    """Runs the tests in the order in which they are named, not the longest first."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.tests = tests

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: next(n for n, test in enumerate(self.tests) if item.nodeid.startswith(test)))


def _last_words(output: Path) -> str:
    """The line of pytest's that names the test that failed."""
    if not output.exists():
        return ""
    lines = output.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.startswith(("FAILED", "ERROR"))), lines[-1] if lines else "")


class _Finder(MetaPathFinder, InspectLoader):
    """Gives the mutant where its module is imported."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = module_of(file), str(ROOT / file), tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = spec_from_loader(fullname, self, origin=self.path)
        if spec is not None:
            spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        return Path(self.path).read_text()

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, self.path, "exec")
