"""Without torch everything works but training, conversion and export, and these say at once what they lack."""

import json
import subprocess
import sys

import pytest

CODE = """
import sys

class Missing:  # not None in sys.modules, which scipy takes for a module
    def find_spec(name, path=None, target=None):
        if name in ("torch", "torchvision", "lightning", "torchmetrics"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing)
sys.argv[0] = "spikecut"
from spikecut.__main__ import main
main()
"""


@pytest.fixture
def spikecut(tmp_path):
    """Run the command where torch cannot be imported: what it did."""

    def run(*arguments):
        words = [sys.executable, "-c", CODE, *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


ALL = """
import json
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        print(json.dumps([words[0], ended.code]), file=sys.stderr)
"""


def test_it_works(own_copy, tmp_path):
    """In one process: each import costs more than the commands."""
    bundle = str(own_copy("qcfs"))
    commands = [
        ("run", bundle, "--dataset", "digits", "--backend", "batched", "--samples", "20"),
        ("calibrate", bundle, "--dataset", "digits", "--epsilon", "0.02"),
        ("sweep", bundle, "--dataset", "digits", "--out", "sweep"),
        ("inspect", bundle),
        ("verify", bundle, "--backend", "batched"),
        ("zoo",),
        ("hardware",),
    ]
    code = CODE.replace("main()\n", ALL)
    words = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    ended = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")]
    assert ended == [[command[0], 0] for command in commands], done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo",),
        ("export", "zoo:digits-qcfs", "--out", "bundle"),
        ("train", "--out", "net.safetensors"),
        ("convert", "net.safetensors", "--spec", "net.json", "--dataset", "digits", "--out", "bundle"),
        ("inspect", "zoo:digits-qcfs"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_it_says_what_it_lacks(spikecut, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = spikecut(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("spikecut: this needs ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("not installed: pip install 'spikecut[train]'\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


def test_the_python_api_says_so_too(tmp_path):
    code = (
        CODE.split("sys.argv")[0]
        + """
import spikecut
for call in (lambda: spikecut.export("zoo:digits-tet", "bundle"), lambda: spikecut.convert):
    try:
        call()
    except spikecut.InputError as error:
        print(error)
"""
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    said = "this needs torch, which is not installed: pip install 'spikecut[train]'\n"
    assert done.stdout == 2 * said


def test_results_are_those_with_torch(spikecut, own_copy, command, tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    bundle = own_copy("lif")
    options = ("--dataset", "digits", "--backend", "batched", "--samples", "40", "--out")
    assert spikecut("run", bundle, *options, tmp_path / "without").returncode == 0
    assert command("run", bundle, *options, tmp_path / "with")[0] == 0
    first, second = (pyarrow.read_table(tmp_path / name / "samples.parquet") for name in ("without", "with"))
    times = [name for name in first.column_names if "seconds" in name or "wall" in name]
    assert first.drop_columns(times).equals(second.drop_columns(times))
