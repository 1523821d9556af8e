"""The campaign of hostile files, small, and that it notices what it is there for; the large one: `make hostile`."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import campaign
from hostile.reader import Reader
from hostile.sandbox import Outcome
from hostile.sound import readers

MUTANTS = 200
READER = Reader("a", Path(), "a", "json", ("run",), protected=True)
KNOWN = Outcome(0, '{"a": 1, "wall_time_s": 1}', "spikecut: a remark\n", 1000, 0.1, (), ())
REFUSED = Outcome(2, "", "spikecut: a remark\nspikecut: a: damaged; write it again\n", 1000, 0.1, (), ())


def judged(outcome, reader=READER):
    return campaign.verdict_of(reader, outcome, KNOWN, most_kib=5000)


def test_what_may_happen():
    assert judged(REFUSED) == ("refused", "")
    assert judged(replace(KNOWN, said='{"a": 1, "wall_time_s": 2}')) == ("same", "")
    assert judged(replace(KNOWN, said='{"a": 2}'), replace(READER, protected=False)) == ("other", "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code": None}, "hangs"),
        ({"code": -11}, "signal 11"),
        ({"code": 1}, "exit code 1"),
        ({"cpu_s": 1000.0}, "processor"),
        ({"failed": "Traceback (most recent call last):\n"}, "traceback"),
        ({"failed": "spikecut: a\nspikecut: b\n"}, "not one line"),
        ({"failed": ""}, "not one line"),
        ({"failed": "a.py:3: UserWarning: b\nspikecut: a\n"}, "warning"),
        ({"failed": "spikecut: \x1b[2J\n"}, "control characters"),
        ({"failed": "spikecut: out of memory\n"}, "memory"),
        ({"kib": 5001}, "memory"),
        ({"said": "{}"}, "tells a result"),
        ({"left": ("out",)}, "leaves"),
        ({"strayed": ("open /etc/x",)}, "strays"),
    ],
)
def test_what_is_noticed(change, why):
    verdict, said = judged(replace(REFUSED, **change))
    assert verdict == "failed" and why in said


def test_other_results_of_what_a_hash_protects_are_noticed():
    assert judged(replace(KNOWN, said='{"a": 2}')) == ("failed", "other results without a word")
    assert judged(replace(KNOWN, left=("strayed",)))[0] == "failed"


def test_a_few_hundred_mutants(repository, tmp_path):
    command = [sys.executable, repository / "scripts" / "hostile.py", "--quick", "--mutants", str(MUTANTS)]
    done = subprocess.run([*command, "--out", tmp_path / "a.jsonl"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    verdicts, read = Counter(each["verdict"] for each in found), Counter(each["reader"] for each in found)
    assert len(found) == MUTANTS and verdicts["refused"] > MUTANTS / 2 and verdicts["same"] and verdicts["other"]
    assert set(read) == {reader.name for reader in readers(Path(), quick=True)} and min(read.values()) >= 5
