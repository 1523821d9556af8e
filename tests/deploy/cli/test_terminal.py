"""What a terminal, a pipe or a file system may do to a command, and a file to them: one line, exit code 2."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest

from spikecut.deploy.cli import catalogue
from spikecut.deploy.cli.output import visible

LONG = "x" * 300
DEEP = "[" * 100_000
STEERING = set("\x1b\x07\x9b\u202e\udcff")
ESCAPES = "\x1b]0;owned\x07\x1b[2Jred\x9b31m\u202e"


SHOW = """
from spikecut.deploy.cli import main as cli
from spikecut.deploy.cli import output
from spikecut.errors import InputError

@cli.app.command()
def show(verb: str):
    if verb == "fail":
        raise InputError("≥ 5 µs, 中")
    output.report(output.Result(["energy ≥ 22 µJ … 中 " + "x" * 10_000], "x" * 10_000), verb == "json")

cli.main()
"""


def show(verb, shell="", encoding="utf-8"):
    """A command that fails or prints a result, as text or as JSON; in a process whose streams the shell redirects."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", SHOW, "show", verb]
    surroundings = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, capture_output=True, check=False, env=surroundings)


@pytest.mark.parametrize("verb", ["text", "json"])
def test_an_output_that_is_full_is_one_line(verb):
    done = show(verb, ">/dev/full")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "spikecut: standard output or a file: No space left on device (--debug shows where)"
    ]


def test_a_closed_output_is_one_line():
    done = show("text", ">&-")
    assert done.returncode == 2 and done.stderr.startswith(b"spikecut: standard output is closed")
    assert done.stderr.count(b"\n") == 1


def test_errors_that_nobody_reads_change_no_exit_code():
    for closed in ("2>&-", "2>/dev/full"):
        done = show("fail", closed)
        assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")
    done = show("text", "2>&-")
    assert done.returncode == 0 and "µJ" in done.stdout.decode()


@pytest.mark.parametrize("verb", ["text", "json"])
def test_a_reader_that_goes_away_is_not_a_difference_found(verb):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", SHOW, "show", verb]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.parametrize(("encoding", "micro"), [("latin-1", "µ"), ("ascii", "u")])
def test_what_an_encoding_lacks_is_written_in_its_characters(encoding, micro):
    done = show("text", encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert rf"energy >= 22 {micro}J ... \u4e2d" in done.stdout.decode(encoding)
    done = show("fail", encoding=encoding)
    assert done.returncode == 2 and rf"spikecut: >= 5 {micro}s, \u4e2d" in done.stderr.decode(encoding)


def test_texts_of_the_user_do_not_steer_the_terminal(command, tmp_path):
    text = (files("spikecut.hardware_configs") / "loihi2.yaml").read_text()
    path = tmp_path / f"{ESCAPES}.yaml"
    path.write_text(text)
    code, out, err = command("hardware", path)
    assert code == 0 and not STEERING & set(out), err
    for name, content in ((f"{ESCAPES}.yaml", "kind: \x1b"), ("not UTF-8 \udcff.yaml", text)):
        (tmp_path / name).write_text(content)
        code, out, err = command("hardware", tmp_path / name)
        assert code == 2 and not STEERING & set(err) and err.count("\n") == 1
    assert visible(f"µ ≥ {ESCAPES}\n") == "µ ≥ " + r"\x1b]0;owned\x07\x1b[2Jred\x9b31m\u202e" + "\n"


PLACES = {
    "the working folder": ".",
    "above it": "..",
    "the root": "/",
    "a long name": LONG,
    "below a long name": f"{LONG}/run",
    "a null byte": "a\0b",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", ["run", "export", "sweep", "train", "to nir", "resume"])
def test_impossible_places_are_one_line(command, workshop, monkeypatch, tmp_path, verb, place):
    out = PLACES[place]
    monkeypatch.chdir(tmp_path)
    bundle, dataset = workshop / "lif", ("--dataset", "digits")
    arguments = {
        "run": ("run", bundle, *dataset, "--samples", 2, "--out", out),
        "export": ("export", bundle.with_suffix(".safetensors"), "--out", out),
        "sweep": ("sweep", bundle, *dataset, "--out", out),
        "train": ("train", "--out", out),
        "to nir": ("export", bundle, "--to", "nir", "--out", out),
        "resume": ("run", "--resume", out),
    }
    code, _, err = command(*arguments[verb])
    assert code == 2 and err.startswith("spikecut: ") and err.count("\n") == 1 and "\0" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_room_for_the_journals_beside_it_is_one_line(command, workshop, tmp_path):
    code, _, err = command(
        "run", workshop / "lif", "--dataset", "digits", "--samples", 2, "--out", tmp_path / ("x" * 250)
    )
    assert code == 2 and "File name too long" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def enlarged(path):
    path.write_text("")
    os.truncate(path, 2**40)


FAULTS = {
    "a pipe": pipe,
    "a device": lambda path: (path.unlink(missing_ok=True), path.symlink_to("/dev/zero")),
    "nested deeply": lambda path: path.write_text(DEEP),
    "no UTF-8": lambda path: path.write_bytes(b"\xff"),
    "large": enlarged,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_file_that_is_read_hangs_or_fills_the_memory(command, own_copy, tmp_path, fault):
    bundle = own_copy()
    run = tmp_path / "run"
    (tmp_path / "run.partial").mkdir()
    run.mkdir()
    batched = ("run", bundle, "--dataset", "digits", "--backend", "batched", "--samples", 2)
    for path, arguments, said in (
        (tmp_path / "chip.yaml", ("hardware", tmp_path / "chip.yaml"), "chip.yaml: "),
        (bundle / "cutoff.json", batched, "cutoff.json: "),
        (tmp_path / "run.partial" / "request.json", ("run", "--resume", run), "request.json cannot be read"),
        (run / "summary.json", (*batched, "--no-cutoff", "--out", run, "--overwrite"), "holds no spikecut run"),
        (run / "summary.json", ("sweep", bundle, "--dataset", "digits", "--out", run), "holds no spikecut sweep"),
    ):
        FAULTS[fault](path)
        code, _, err = command(*arguments)
        assert code == 2 and said in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 2 GiB"), "out of memory (Unable to allocate 2 GiB)"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
        (PermissionError(13, "Permission denied", "/somewhere"), "/somewhere: Permission denied"),
    ],
)
def test_what_nobody_foresaw_is_one_line_but_a_defect_keeps_its_traceback(command, monkeypatch, error, said):
    def fail(_):
        raise error

    monkeypatch.setattr(catalogue, "describe_hardware", fail)
    code, _, err = command("hardware")
    assert code == 2 and said in err and err.count("\n") == 1
    with pytest.raises(type(error)):
        command("hardware", "--debug")
    error = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        command("hardware")


def test_json_is_ascii_whatever_it_holds(command, tmp_path):
    path = tmp_path / f"{ESCAPES}.yaml"
    path.write_text((files("spikecut.hardware_configs") / "loihi2.yaml").read_text())
    code, out, _ = command("hardware", path, "--json")
    assert code == 0 and out.isascii() and "\x1b" not in out and json.loads(out)
