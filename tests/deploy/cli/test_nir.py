"""NIR on the command line: in, verified on Lava, calibrated, run, and out again; one clear line for what is wrong."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikecut.deploy.bundle import open_bundle
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.read import read_nir

SNNTORCH = ("--framework", "snntorch", "--reset", "zero")


@pytest.fixture
def files(repository):
    return repository / "tests" / "golden" / "nir"


def leaks_whole(files, folder):
    """A file of snnTorch's default neuron with β = 0 in its first layer."""
    copy = Path(shutil.copy(files / "snntorch_subtract.nir", folder))
    with h5py.File(copy, "r+") as file:
        file["node/nodes/1/tau"][...] = 1e-4
    return copy


def export(command, source, out, *more):
    wanted = ("--dataset", "digits", "--horizon", 8, "--encoding", "bernoulli")
    return command("export", source, "--out", out, *wanted, *more)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("snntorch", SNNTORCH),
        ("snntorch_subtract", SNNTORCH[:2]),
        ("norse", ("--framework", "norse")),
        ("sinabs", ("--framework", "sinabs", "--spikes", "single")),
        ("sinabs_lif", ("--framework", "sinabs", "--spikes", "single")),
    ],
)
def test_from_nir_to_lava(command, files, tmp_path, name, options):
    bundle, source = tmp_path / name, files / f"{name}.nir"
    code, out, _ = export(command, source, bundle, *options)
    assert code == 0 and "was assumed" in out and "input bernoulli" in out
    recipe = open_bundle(bundle).manifest.recipe["nir"]
    assert recipe["file"] == f"{name}.nir" and recipe["assumed"] and len(recipe["nodes"]) >= 6
    golden = open_bundle(bundle).golden()
    frames = np.array(golden.inputs, dtype=np.float64)
    given = {name.removeprefix("--"): value for name, value in zip(options[::2], options[1::2], strict=True)}
    witness = read_nir(source, discretisation(**given)).witness
    np.testing.assert_array_equal(
        golden.float_scores, witness.record(torch_of(frames))[last(recipe)].flatten(2).numpy()
    )
    code, out, _ = command("verify", bundle, "--samples", 4)
    assert code == 0 and "every integer is equal" in out
    agreement = open_bundle(bundle).manifest.agreement
    assert agreement.same_prediction >= agreement.samples - 2


def torch_of(frames):
    import torch

    return torch.tensor(frames)


def last(recipe):
    """Name of the last node before the Output."""
    return recipe["nodes"][-2]["node"]


@pytest.mark.slow
def test_calibrate_run_and_leave_again(command, files, tmp_path):
    bundle, out_again = tmp_path / "bundle", tmp_path / "again.nir"
    assert export(command, files / "snntorch.nir", bundle, *SNNTORCH)[0] == 0
    assert command("calibrate", bundle, "--dataset", "digits", "--epsilon", 0.05)[0] == 0
    code, out, _ = command("run", bundle, "--dataset", "digits", "--samples", 50, "--backend", "batched", "--json")
    assert code == 0 and json.loads(out)["samples"] == 50
    code, out, _ = command("export", bundle, "--to", "nir", "--out", out_again)
    assert code == 0 and "metadata" in out
    from equality import equal

    from spikecut import load

    assert equal(load(out_again), open_bundle(bundle).network)
    code, out, _ = command("inspect", out_again)
    assert code == 0 and "2048" in out and "410" in out
    assert command("export", bundle, "--to", "nir", "--out", out_again)[0] == 2
    assert command("export", bundle, "--to", "nir", "--out", out_again, "--overwrite")[0] == 0
    code, _, err = export(command, out_again, tmp_path / "other", "--dt", 1.0)
    assert code == 2 and "spikecut.load" in err


def test_inspect_says_what_becomes_of_every_node(command, files, tmp_path):
    code, out, _ = command("inspect", files / "snntorch.nir", *SNNTORCH, "--json")
    found = json.loads(out)
    assert code == 0 and found["refused"] is None and found["input_shape"] == [1, 8, 8]
    kinds = [(node["kind"], node["exactness"]) for node in found["nodes"]]
    assert kinds[1:3] == [("Conv2d", "exact"), ("LIF", "exact")] and ("LIF", "approximate") in kinds
    whole = leaks_whole(files, tmp_path)
    code, out, error = command("inspect", whole, "--framework", "snntorch")
    assert code == 2 and "refused" in out and error.startswith("spikecut: node 1: v leaks whole")
    code, out, error = command("inspect", whole, "--framework", "snntorch", "--json")
    assert code == 2 and json.loads(out)["refused"] in error and error.count("\n") == 1
    code, _, error = command("inspect", files / "snntorch.nir", "--hardware", "loihi2")
    assert code == 2 and "leave out --hardware" in error
    code, out, error = command("inspect", files / "snntorch.nir")
    assert code == 2 and "not reached" in out and "--dt" in error


@pytest.mark.slow
def test_an_input_that_is_not_stated_is_said_aloud(command, files, tmp_path):
    arguments = ("--dataset", "digits", "--horizon", 4, *SNNTORCH)
    code, out, _ = command("export", files / "snntorch.nir", "--out", tmp_path / "bundle", *arguments)
    assert code == 0 and "input direct, 5 bits, unit 1: no --encoding given" in " ".join(out.split())


BAD = {
    "no horizon": (lambda f, t: ["export", f / "norse.nir", "--out", t / "b", "--dataset", "digits"], "--horizon"),
    "no dataset": (lambda f, t: ["export", f / "norse.nir", "--out", t / "b", "--horizon", 4], "--dataset"),
    "no timestep": (lambda f, t: arguments(f, t, "norse"), "--framework"),
    "refused": (
        lambda f, t: arguments(leaks_whole(f, t).parent, t, "snntorch_subtract", "--framework", "snntorch"),
        "node 1",
    ),
    "strict": (lambda f, t: arguments(f, t, "snntorch", *SNNTORCH, "--strict"), "--strict takes nothing inexact"),
    "unknown framework": (lambda f, t: arguments(f, t, "norse", "--framework", "brian"), "brian"),
    "unknown encoding": (
        lambda f, t: arguments(f, t, "norse", "--framework", "norse", "--encoding", "poisson"),
        "poisson",
    ),
    "another data set": (
        lambda f, t: [*arguments(f, t, "norse", "--framework", "norse"), "--dataset", wide(t)],
        "(1, 9, 9)",
    ),
    "no such file": (lambda f, t: arguments(t, t, "none", "--dt", 1.0), "no such file"),
    "options of others": (lambda f, t: ["export", t / "a.safetensors", "--out", t / "b", "--dt", 1.0], "of a NIR file"),
    "unknown target": (lambda f, t: ["export", t / "a", "--to", "onnx", "--out", t / "b"], "onnx"),
    "a target without suffix": (lambda f, t: ["export", t / "a", "--to", "nir", "--out", t / "b"], ".nir"),
    "no bundle": (lambda f, t: ["export", t / "a", "--to", "nir", "--out", t / "b.nir"], "no such bundle"),
    "inspect a damaged file": (lambda f, t: ["inspect", cut(f, t)], "truncated"),
}


def arguments(folder, out, name, *more):
    wanted = ["--out", out / "bundle", "--dataset", "digits", "--horizon", 4]
    return ["export", folder / f"{name}.nir", *wanted, *more]


def wide(folder):
    np.savez(folder / "wide.npz", x=np.random.default_rng(0).random((90, 1, 9, 9)), y=np.arange(90) % 10)
    return folder / "wide.npz"


def cut(files, folder):
    (folder / "cut.nir").write_bytes((files / "norse.nir").read_bytes()[:900])
    return folder / "cut.nir"


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_one_clear_line(command, files, tmp_path, case):
    make, message = BAD[case]
    code, out, err = command(*make(files, tmp_path))
    assert code == 2 and out == "" and message in err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert not (tmp_path / "bundle").exists()
