"""What a command may replace with --overwrite, and what is left where there is no room: its own files, whole."""

import shutil

import pytest
from full_disk import files_of_at_most

from spikecut.deploy.pipeline.demo import ENTRIES
from spikecut.folders import check_entries

BATCHED = ("--dataset", "digits", "--backend", "batched", "--samples", 20)


def files(folder):
    """Every file below a folder, with its content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def nir_file(workshop, tmp_path_factory):
    """A bundle as NIR."""
    from spikecut.deploy.pipeline.export import export_nir

    path = tmp_path_factory.mktemp("nir") / "ours.nir"
    export_nir(workshop / "lif", path, overwrite=False)
    return path


@pytest.fixture
def commands(workshop, tmp_path):
    """By name, a command that writes into tmp_path / "out"."""
    lif, out = workshop / "lif", tmp_path / "out"
    sweep = ("sweep", lif, "--dataset", "digits", "--samples", 20, "--policy", "topk", "--epsilon", 0.02, "--out", out)
    return {
        "export": ("export", workshop / "lif.safetensors", "--out", out),
        "run": ("run", lif, *BATCHED, "--also-full", "--hardware", "loihi2", "--out", out),
        "sweep": (*sweep, "--hardware", "loihi2"),
    }


@pytest.mark.parametrize("name", ["export", "run", "sweep"])
def test_overwrite_replaces_an_earlier_result_but_no_file_of_the_user(command, commands, tmp_path, name):
    out = tmp_path / "out"
    assert command(*commands[name])[0] == 0
    earlier = files(out)
    code, _, err = command(*commands[name])
    assert code == 2 and "--overwrite" in err
    assert command(*commands[name], "--overwrite")[0] == 0
    assert files(out).keys() == earlier.keys()
    (out / "notes.txt").write_text("mine")
    before = files(out)
    code, _, err = command(*commands[name], "--overwrite")
    assert code == 2 and "also holds notes.txt" in err and err.count("\n") == 1
    assert files(tmp_path) == before
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    code, _, err = command(*commands[name], "--overwrite")
    assert code == 2 and "not empty and holds no spikecut" in err
    assert files(tmp_path) == {out / "thesis.txt": b"mine"}


def test_an_export_says_that_the_calibration_of_the_earlier_bundle_is_gone(command, own_copy, workshop):
    bundle = own_copy()
    code, out, _ = command("export", workshop / "lif.safetensors", "--out", bundle, "--overwrite")
    assert code == 0 and "calibration (cutoff.json) went with it: calibrate again" in " ".join(out.split())
    assert sorted(path.name for path in bundle.iterdir()) == [
        "golden.h5",
        "manifest.json",
        "network.net",
        "summary.json",
    ]
    _, _, err = command("run", bundle, *BATCHED)
    assert "not calibrated" in err


def test_no_file_of_another_tool_is_replaced(command, workshop, nir_file, tmp_path):
    theirs = tmp_path / "theirs.nir"
    for content in (b"mine", nir_file.read_bytes().replace(b"spikecut", b"spikecat")):
        theirs.write_bytes(content)
        code, _, err = command("export", workshop / "lif", "--to", "nir", "--out", theirs, "--overwrite")
        assert code == 2 and "is no NIR file that spikecut wrote" in err and theirs.read_bytes() == content
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = command("train", "--epochs", 1, "--out", tmp_path / "notes.txt")
    assert code == 2 and "is no checkpoint that spikecut wrote" in err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_demo_removes_an_earlier_demo_and_nothing_else(command, commands, own_copy, tmp_path):
    from spikecut.deploy.pipeline.demo import prepare

    demo = tmp_path / "demo"
    prepare(demo)
    (demo / "lif").mkdir()
    shutil.move(own_copy(), demo / "lif" / "bundle")
    assert command(*commands["run"][:-1], demo / "lif" / "run")[0] == 0
    (demo / "lif" / "checkpoint.safetensors").write_bytes(b"")
    (demo / "lif" / "run.partial").mkdir()
    (demo / "lif" / "run.partial" / "cut-00000000.h5").write_bytes(b"")
    check_entries(demo / "lif", ENTRIES, "demo")
    (demo / "report.html").write_text("mine")
    code, _, err = command("demo", "--out", demo, "--backend", "batched")
    assert code == 2 and "report.html is no report that spikecut wrote" in err
    (demo / "report.html").write_text('<meta name="generator" content="spikecut report">')
    (demo / "lif" / "run" / "notes.txt").write_text("mine")
    before = files(demo)
    code, _, err = command("demo", "--out", demo, "--backend", "batched")
    assert code == 2 and "also holds run/notes.txt" in err and files(demo) == before
    (demo / "lif" / "run" / "notes.txt").unlink()
    prepare(demo)
    assert [path.name for path in demo.iterdir()] == ["demo.json"]


@pytest.mark.parametrize("name", ["export", "run", "sweep", "calibrate", "to nir"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(command, commands, own_copy, tmp_path, name):
    out, bundle = tmp_path / "out", own_copy()
    commands |= {
        "calibrate": ("calibrate", bundle, "--dataset", "digits"),
        "to nir": ("export", bundle, "--to", "nir", "--out", tmp_path / "out.nir"),
    }
    if name in ("run", "sweep"):  # compiles and caches the engine's kernels
        command(*commands[name][:-2] if name == "run" else commands[name])
        shutil.rmtree(out, ignore_errors=True)
    before = files(tmp_path)
    with files_of_at_most(512):
        code, _, err = command(*commands[name])
    assert code == 2 and "cannot write" in err and "File too large" in err and err.count("\n") == 1
    assert files(tmp_path) == before and sorted(path.name for path in tmp_path.iterdir()) == ["lif"]
