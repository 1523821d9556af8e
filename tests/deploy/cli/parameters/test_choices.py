"""What an option may be: shown by --help, completed by the shell, listed by `spikecut list`, named by the refusal."""

import json
from typing import get_args

import pytest
import typer.main

from spikecut.deploy.backends.base import BACKENDS, LavaModels
from spikecut.deploy.cli.main import app
from spikecut.deploy.cli.options import COMMAND_PANELS, PANELS
from spikecut.deploy.cli.parameters.choices import KINDS
from spikecut.deploy.cutoff.base import policy_names
from spikecut.deploy.placement.hardware import hardware_names
from spikecut.deploy.run_trace import Mode
from spikecut.export.network.input_spec import Encoding
from spikecut.export.nir.discretisation import NirReset, NirResetOrder, Spikes
from spikecut.models.bodies import ARCHITECTURES
from spikecut.models.neurons.surrogate import SURROGATES
from spikecut.models.training.presets import METHODS, PRESETS, Optimiser
from spikecut.models.training.trainer import Log

COMMANDS = vars(typer.main.get_command(app))["commands"]
FEW = {
    ("run", "mode"): get_args(Mode),
    ("run", "lava_models"): get_args(LavaModels),
    ("train", "method"): METHODS,
    ("train", "reset"): get_args(NirReset),
    ("train", "surrogate"): SURROGATES,
    ("train", "optimiser"): get_args(Optimiser),
    ("train", "log"): get_args(Log),
    ("export", "reset_order"): get_args(NirResetOrder),
    ("export", "spikes"): get_args(Spikes),
    ("export", "encoding"): set(get_args(Encoding)) - {"events"},  # which samples are, not an option
}


def parameter(command, name):
    (found,) = [each for each in COMMANDS[command].params if each.name == name]
    return found


@pytest.mark.parametrize(("command", "name"), FEW)
def test_the_help_shows_all_that_the_code_knows(command, name):
    assert set(parameter(command, name).metavar.split("|")) == set(FEW[command, name])


def test_every_option_and_command_stands_in_a_group():
    known = {name for names in PANELS.values() for name in names}
    for name, command in COMMANDS.items():
        options = {each.name for each in command.params if each.param_type_name == "option"} - {"help"}
        assert options <= known | {"dry_run"}, name
    assert {name for names in COMMAND_PANELS.values() for name in names} >= set(COMMANDS)


def test_the_help_names_the_backends_and_policies(command):
    for asked in (("run", "-h"), ("calibrate", "-h")):
        code, out, _ = command(*asked)
        assert code == 0 and "─ Samples ─" in out and "<str>" not in out
    assert "|".join(BACKENDS.names()) in command("run", "-h")[1]


def test_what_can_be_chosen_is_listed(command):
    code, out, err = command("list", "--json")
    found = json.loads(out)
    assert (code, err, set(found)) == (0, "", set(KINDS))
    assert found["policies"] == policy_names() and found["hardware"] == list(hardware_names())
    assert set(found["presets"]) == set(PRESETS) and tuple(found["architectures"]) == ARCHITECTURES
    assert command("list", "backends")[1].split() == BACKENDS.names()
    assert all(f"{kind}: " in command("list")[1] for kind in KINDS)
    code, _, err = command("list", "backend")
    assert code == 2 and "expected one of backends, policies" in err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("spikecut cal", {"calibrate"}),
        ("spikecut run --lava-models f", {"fast", "fused"}),
        ("spikecut calibrate --policy ", set(policy_names())),
        ("spikecut run zoo:nothing --hardware loihi1", {"loihi1", "loihi1_davies2018"}),
        ("spikecut list arch", {"architectures"}),
    ],
)
def test_a_shell_completes_names(command, monkeypatch, line, expected):
    monkeypatch.setenv("_SPIKECUT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    code, out, err = command()
    assert (code, err, set(out.split())) == (0, "", expected)


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("--backend", "batch", BACKENDS.names()),
        ("--mode", "alone", get_args(Mode)),
        ("--lava-models", "slow", get_args(LavaModels)),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(command, option, wrong, expected):
    code, _, err = command("run", "bundle", "--dataset", "digits", option, wrong)
    assert code == 2 and err.count("\n") == 1 and all(name in err for name in expected)
