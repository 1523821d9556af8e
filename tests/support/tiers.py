"""Which tests need Lava, start processes or train: read from the code that they and their fixtures run."""

import inspect
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import lava_layers
import lava_steps

LAVA = "lava", "spikecut.deploy.backends.lava", lava_layers.__name__, lava_steps.__name__
# What a test hands to the command line or to `run`, and the commands that run on Lava unless told otherwise.
LAVA_WORDS = {"lava", "loihi2"}
PROCESSES = {"subprocess", "multiprocessing", "held_run"}
TRAINING = "spikecut.models.training.train", "train"


def marks_of(item):
    """The marks "lava" and "slow", as far as the code shows; what it hides is marked beside the test.

    slow: what crosses folders, starts processes, or trains a network of its own.
    """
    found = {"slow"} if "end_to_end" in item.path.parts else set()
    seen = set()
    fixtures = [made[-1].func for made in item._fixtureinfo.name2fixturedefs.values()]
    for function in (item.function, *fixtures):
        if Path(inspect.unwrap(function).__code__.co_filename).name != "conftest.py":
            _walk(function, found, seen)
    if "server" in item.fixturenames:
        found.add("slow")
    if hasattr(item, "callspec") and _words(tuple(item.callspec.params.values())) & LAVA_WORDS:
        found.add("lava")
    return found


def _walk(thing, found, seen):
    """Add what a function does, and those of the tests' own functions that it names."""
    if hasattr(thing, "hypothesis"):
        thing = thing.hypothesis.inner_test
    thing = getattr(thing, "__wrapped__", thing)
    if not isinstance(thing, FunctionType) or thing in seen:
        return
    seen.add(thing)
    for code in _codes(thing.__code__):
        if _words(code.co_consts) & LAVA_WORDS:
            found.add("lava")
        for name in code.co_names:
            _judge(thing.__globals__.get(name, name), found, seen)


def _judge(named, found, seen):
    if (getattr(named, "__module__", None), getattr(named, "__qualname__", None)) == TRAINING:
        found.add("slow")
    home = named if isinstance(named, str) else getattr(named, "__module__", None) or ""
    if isinstance(named, ModuleType):
        home = named.__name__
    if any(home == module or home.startswith(module + ".") for module in LAVA):
        found.add("lava")
    if home.split(".")[0] in PROCESSES:
        found.add("slow")
    if home.split(".")[0] != "spikecut":
        _walk(named, found, seen)


def _codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _words(values):
    """The strings in nested tuples, lists and dictionaries."""
    found = set()
    for value in values:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, tuple | list | frozenset | set):
            found |= _words(value)
        elif isinstance(value, dict):
            found |= _words((*value, *value.values()))
    return found
