"""The campaign of faults, small, and that it notices what it is there for; the large one: `make faults`."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from faults.campaign import Play, Undisturbed, chosen_for, table
from faults.fault import FAULTS
from faults.operation import operations

CASES = {28: "SIGKILL, any child", 42: "SIGKILL, the command", 43: "second writer", 56: "SIGINT"}
ROWS = [{"index": 0, "prediction": 1}, {"index": 1, "prediction": 2}]
KNOWN = Undisturbed({"rows": ROWS, "summary": {}}, {"rows": ROWS[:1], "summary": {}}, 9, 1.0, "", frozenset({"work/a"}))
ENDED = {"said": ("", "spikecut: interrupted\n")}


def seen(result, code=130, said=ENDED["said"], orphans=(), fault="SIGINT", overwrites=False):
    """What the campaign says of a command that ended so, and left this result."""
    stage = SimpleNamespace(result=lambda each: result)
    (hit,) = (each for each in FAULTS if each.name == fault)
    play = Play(stage, operations()[0], hit, KNOWN, overwrites)
    play.code = code
    return play._after(SimpleNamespace(said=said), list(orphans), None)


def test_what_may_happen():
    assert seen(None) == seen(KNOWN.result) == seen(KNOWN.result, 0, ("", "next: spikecut\n")) == ""
    assert seen(KNOWN.earlier, overwrites=True) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"result": {"rows": ROWS[:1], "summary": {}}}, "half written: 1 rows lost"),
        ({"result": {"rows": [*ROWS, ROWS[1]], "summary": {}}}, "0 rows lost, 1 doubled"),
        ({"result": {"rows": ROWS, "summary": {"samples": 3}}}, "half written: other summary"),
        ({"result": {"refused": "it is damaged"}}, "it is refused"),
        ({"result": KNOWN.earlier}, "half written"),
        ({"result": None, "overwrites": True}, "half written: no result"),
        ({"result": None, "code": 0, "said": ("", "")}, "exit code 0, and no result"),
        ({"result": None, "code": None}, "hangs"),
        ({"result": None, "code": 1}, "exit code 1"),
        ({"result": None, "code": -11}, "exit code -11"),
        ({"result": None, "orphans": [5]}, "1 processes are left"),
        ({"result": None, "said": ("", "Traceback (most recent call last):\n")}, "traceback"),
        ({"result": None, "said": ("", "spikecut: a\nspikecut: b\n")}, "2 lines"),
        ({"result": None, "said": ("", "")}, "0 lines"),
    ],
)
def test_what_is_noticed(change, why):
    assert why in seen(**change)


def test_five_of_six_cases_run_on_lava_and_every_command_has_its_share():
    names = [chosen_for(number, operations()).name for number in range(600)]
    counts = [names.count(each.name) for each in operations()]
    assert min(counts[:6]) >= 83 and sum(counts[:6]) == 500 and min(counts[6:]) >= 33
    judged = [{"fault": FAULTS[0].name, "command": name, "ending": "resumed"} for name in names]
    assert "| all | 600 | 0 | 600 | 0 | 0 |" in table(judged) and "| train | 34 |" in table(judged)


@pytest.mark.lava
def test_a_few_cases(repository, tmp_path):
    command = [sys.executable, repository / "scripts" / "faults.py", "--command", "isolated, fused", "--only"]
    command += [*map(str, CASES), "--out", tmp_path / "a.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert {each["number"]: each["fault"] for each in found} == CASES
    assert all(each["code"] != 0 and each["ending"] == "resumed" for each in found if each["fault"] != "second writer")
