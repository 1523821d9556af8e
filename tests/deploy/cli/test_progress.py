"""What a terminal shows before there is a result: what is loaded, what comes before the first sample, the time left."""

import io

import pytest
from rich.console import Console

from spikecut.deploy.cli import output
from spikecut.deploy.cli.options import MODELS, SLOW_TO_LOAD
from spikecut.deploy.cli.output import progress_bar, say, waiting


@pytest.fixture
def terminal(monkeypatch):
    """What the terminal of stderr receives."""
    shown = io.StringIO()

    def console(markup=False, stderr=False, width=None):
        return Console(file=shown, force_terminal=True, width=80, markup=markup)

    monkeypatch.setattr(output, "_Console", console)
    return shown


def test_what_is_loaded_is_shown_at_once_and_until_something_else_is(terminal):
    with waiting("spikecut run: loading …"):
        say("a remark")
        assert output._waiting is None
        before, after = terminal.getvalue().split("spikecut: a remark\n")
        assert "spikecut run: loading …" in before and not after
    assert terminal.getvalue() == before + "spikecut: a remark\n" and set(SLOW_TO_LOAD) <= set(MODELS)


def test_a_bar_says_what_comes_before_the_first_sample_and_how_long_the_rest_will_take(terminal):
    with waiting("loading"), progress_bar("lif on lava", 4, "Lava compiles") as advance:
        advance(0)
        assert "lif on lava: Lava compiles …" in terminal.getvalue()
        advance(1)
    last = terminal.getvalue().split("compiles …")[-1]
    assert "1/4" in last and "left" in last


def test_what_is_no_terminal_gets_nothing(capsys):
    with waiting("loading"), progress_bar("lif on lava", 4, "Lava compiles") as advance:
        advance(4)
    assert capsys.readouterr() == ("", "")
