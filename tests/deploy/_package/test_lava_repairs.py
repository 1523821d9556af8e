"""Lava repaired at import: exactly the named lines of the released files, only where they fail, or not at all."""

import importlib
import multiprocessing
import sys
from pathlib import Path

import pytest

from spikecut import lava_repairs
from spikecut.errors import BackendError
from spikecut.lava_repairs import DEFERRALS, REPAIRS, SOURCES, Repair, call_later, import_later

DOCUMENT = Path(__file__).parents[3] / "docs" / "lava.md"


@pytest.mark.parametrize("repair", REPAIRS + DEFERRALS, ids=lambda repair: f"{repair.module}:{repair.line}")
def test_each_repair_is_of_one_line_of_the_released_file(repair):
    source = repair.file.read_bytes()
    assert lava_repairs._sha256(source) == SOURCES[repair.module]
    text = source.decode()
    assert text.count(repair.upstream) == 1
    assert text[: text.index(repair.upstream)].count("\n") + 1 == repair.line
    assert repair.upstream.count("\n") == repair.repaired.count("\n")
    compile(text.replace(repair.upstream, repair.repaired), repair.module, "exec")


def test_the_table_in_the_documentation_is_that_of_the_code():
    text = DOCUMENT.read_text(encoding="utf-8")
    for repair in REPAIRS:
        lines = zip(repair.upstream.splitlines(), repair.repaired.splitlines(), strict=True)
        old, new = next((old, new) for old, new in lines if old != new)
        since = f"{repair.package} {repair.since[0]}.{repair.since[1]}"
        assert f"| `{repair.module}`, line {repair.line} | `{old}` | `{new}` | {since} | {repair.fails} |\n" in text
    for deferral in DEFERRALS:
        row = f"| `{deferral.module}`, line {deferral.line} | `{deferral.upstream}` | `{deferral.repaired}` |\n"
        assert row in text


@pytest.mark.parametrize(
    ("python", "numpy", "count"),
    [((3, 10), "1.26.4", 0), ((3, 11), "1.26.4", 1), ((3, 10), "2.0.2", 4), ((3, 13), "2.5.5", 7)],
)
def test_only_what_fails_here_is_repaired(monkeypatch, python, numpy, count):
    monkeypatch.setattr(sys, "version_info", (*python, 0))
    monkeypatch.setattr(lava_repairs, "version", {"numpy": numpy}.get)
    assert len(lava_repairs.needed()) == count


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of which one line is repaired: a finder for it, and its file."""
    file = tmp_path / "repaired_in_a_test.py"
    file.write_text("VALUE = 'as released'\n")
    name, old, new = file.stem, "'as released'", "'repaired'"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, name, lava_repairs._sha256(file.read_bytes()))
    repair = Repair(name, 1, old, new, "it fails", "python", (3, 0))
    monkeypatch.setattr(sys, "meta_path", [lava_repairs._Finder([repair]), *sys.meta_path])
    yield file
    sys.modules.pop(name, None)


def test_a_module_is_repaired_in_memory(module):
    assert importlib.import_module(module.stem).VALUE == "repaired"
    assert module.read_text() == "VALUE = 'as released'\n"
    assert not list(module.parent.rglob("*.pyc"))


def _value(queue, name):
    queue.put(importlib.import_module(name).VALUE)


def test_a_forked_child_repairs_too(module):
    """As Lava's processes are started."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_value, args=(queue, module.stem))
    child.start()
    assert queue.get() == "repaired"
    child.join()
    assert module.stem not in sys.modules


@pytest.mark.parametrize("repairs", [(), REPAIRS[-1:]])
def test_one_finder_repairs_what_is_needed_and_puts_off_the_rest(monkeypatch, repairs):
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if type(each).__name__ != "_Finder"])
    before = list(sys.meta_path)
    monkeypatch.setattr(lava_repairs, "needed", lambda: repairs)
    monkeypatch.delitem(sys.modules, REPAIRS[-1].module, raising=False)
    lava_repairs.install()
    lava_repairs.install()
    assert sys.meta_path[1:] == before and vars(sys.meta_path[0])["repairs"] == (*repairs, *DEFERRALS)


def test_what_is_put_off_is_imported_when_it_is_asked_for():
    assert call_later("math", "hypot")(3, 4) == 5
    found = import_later("importlib", readers="resources")
    assert found("readers") is importlib.import_module("importlib.resources")
    with pytest.raises(AttributeError, match="module 'importlib' has no attribute 'other'"):
        found("other")


def test_a_file_that_nobody_released_is_found_without_importing_it(monkeypatch):
    monkeypatch.setattr(lava_repairs, "needed", lambda: REPAIRS)
    assert lava_repairs.unrepairable() == ()
    monkeypatch.setitem(SOURCES, REPAIRS[0].module, "0" * 64)
    assert lava_repairs.unrepairable() == (REPAIRS[0].file,)


def test_a_changed_file_is_refused(module):
    module.write_text("VALUE = 'as released'  # by somebody\n")
    with pytest.raises(BackendError, match="was changed since it was released"):
        importlib.import_module(module.stem)
    assert module.stem not in sys.modules


def test_a_changed_file_of_which_only_an_import_is_put_off_stays_as_it_is(module, monkeypatch):
    monkeypatch.setattr(lava_repairs, "DEFERRALS", vars(sys.meta_path[0])["repairs"])
    module.write_text("VALUE = 'as released'  # by somebody\n")
    assert importlib.import_module(module.stem).VALUE == "as released"


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setattr(lava_repairs, "needed", lambda: REPAIRS[:1])
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if type(each).__name__ != "_Finder"])
    monkeypatch.setattr(lava_repairs, "version", lambda package: "0.9.0")
    with pytest.raises(BackendError, match=r"lava-nc 0\.9\.0 is installed"):
        lava_repairs.install()
    monkeypatch.setattr(lava_repairs, "needed", lambda: ())
    lava_repairs.install()
    assert not any(type(each).__name__ == "_Finder" for each in sys.meta_path)


def test_lava_that_is_there_already_is_refused(monkeypatch):
    monkeypatch.setattr(lava_repairs, "needed", lambda: REPAIRS[:1])
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if type(each).__name__ != "_Finder"])
    monkeypatch.setitem(sys.modules, REPAIRS[0].module, sys)
    with pytest.raises(BackendError, match="was imported before spikecut could repair it"):
        lava_repairs.install()


def test_what_spikecut_does_not_run_may_have_been_imported_before(monkeypatch):
    """SpikingJelly imports slayer, if it is there, and with it the module of the last repair."""
    unused = [repair for repair in REPAIRS if not repair.used]
    monkeypatch.setattr(lava_repairs, "needed", lambda: REPAIRS)
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if type(each).__name__ != "_Finder"])
    for repair in REPAIRS:
        monkeypatch.delitem(sys.modules, repair.module, raising=False)
    for repair in unused:
        monkeypatch.setitem(sys.modules, repair.module, sys)
    lava_repairs.install()
    assert unused and type(sys.meta_path[0]).__name__ == "_Finder"
