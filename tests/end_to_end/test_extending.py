"""docs/extending.md: each of its files is at most 40 lines, and does what the text says when it is registered."""

import configparser
import re
import sys

import numpy as np
import pytest
import tomli

import spikecut as sc

LONGEST = 40


@pytest.fixture(scope="module")
def files(repository):
    """Name → content of each file that the text shows, and the registrations together, as TOML."""
    text = (repository / "docs" / "extending.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL | re.MULTILINE))
    assert len(shown) == len(re.findall(r"^```(?:python|yaml)$", text, re.MULTILINE))
    return shown, "".join(re.findall(r"^```toml\n(.*?)```", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def installed(files, tmp_path, monkeypatch):
    """All of them, installed as the package of somebody else; the folder where they lie."""
    shown, registered = files
    for name, content in shown.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    groups = tomli.loads(registered)["project"]["entry-points"]
    information = tmp_path / "example-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    points = configparser.ConfigParser()
    points.read_dict(groups)
    with (information / "entry_points.txt").open("w") as file:
        points.write(file)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in shown:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.fixture
def golden(repository):
    return repository / "tests" / "golden" / "format_1"


def test_each_is_short(files):
    shown, _ = files
    assert [name for name, content in shown.items() if len(content.splitlines()) > LONGEST] == []
    assert {name.rpartition(".")[2] for name in shown} == {"py", "yaml"}


def test_the_policy_calibrates_and_stops_a_run(installed, golden):
    bundle, samples = sc.open_bundle(golden / "bundle"), np.load(golden / "samples.npz")
    scores = sc.run(bundle.network, sc.encode(samples["x_calibration"], bundle)).scores
    found = sc.calibrate(scores, samples["y_calibration"], policy="patience", epsilon=0.5)
    assert str(found.policy) == "cutoff policy patience: steps 1; last 4"
    trace = sc.run(bundle.network, sc.encode(samples["x_test"], bundle), policy=found)
    assert trace.timesteps.min() < 4
    guaranteed = sc.calibrate(scores, samples["y_calibration"], policy="patience", epsilon=0.4, delta=0.1)
    assert guaranteed.guarantee is not None


def test_the_backend_gives_the_same_integers(installed, golden, command, tmp_path):
    bundle, samples = sc.open_bundle(golden / "bundle"), np.load(golden / "samples.npz")
    inputs = sc.encode(samples["x_test"], bundle)
    plain, batched = (
        sc.run(bundle.network, inputs, backend=name, policy=bundle.policy) for name in ("plain", "batched")
    )
    for name in ("scores", "valid", "timesteps", "hardware_steps"):
        assert np.array_equal(getattr(plain, name), getattr(batched, name))
    assert plain.reason == batched.reason
    assert sc.verify(bundle, backend="plain").passed
    code, out, _ = command("verify", golden / "bundle", "--backend", "plain")
    assert code == 0 and "plain" in out


def test_the_backend_refuses_what_it_cannot_run(installed, golden):
    qcfs = sc.load(golden / "bundle_qcfs")
    inputs = sc.encode(np.load(golden / "samples.npz")["x_test"], qcfs)
    with pytest.raises(sc.CapabilityError, match="layer hidden: not a dense layer with hard reset"):
        sc.run(qcfs, inputs, backend="plain")


def test_the_hardware_file_prices_a_run(installed, golden, command):
    bundle, samples = sc.open_bundle(golden / "bundle"), np.load(golden / "samples.npz")
    trace = sc.run(bundle.network, sc.encode(samples["x_test"], bundle), record="events")
    cost = sc.estimate(trace, installed / "my_chip.yaml")
    operations = np.stack([layer.synops for layer in trace.events]).sum(axis=(0, 2))
    assert np.allclose(cost.energy_j.value, 1.2e-12 * operations, rtol=1e-12)
    assert (cost.energy_j.low < cost.energy_j.high).all()
    assert command("hardware", installed / "my_chip.yaml")[0] == 0


def test_the_importer_makes_a_bundle(installed, command, tmp_path):
    random = np.random.default_rng(0)
    file, bundle = tmp_path / "net.weights.npz", tmp_path / "imported"
    hidden, output = random.normal(0, 0.5, (12, 64)), random.normal(0, 0.5, (10, 12))
    np.savez(file, shape=[1, 8, 8], weight0=hidden, weight1=output)
    wanted = ("export", file, "--out", bundle, "--dataset", "digits", "--horizon", 4)
    code, out, error = command(*wanted)
    assert code == 0 and "threshold 1" in " ".join(out.split()), error
    made = sc.open_bundle(bundle)
    assert made.manifest.recipe["weights"]["file"] == "net.weights.npz" and made.network.horizon == 4
    assert [layer.weight.shape for layer in made.network.layers] == [(12, 64), (10, 12)]
    assert sc.verify(made, samples=4, backend="batched").passed
    code, _, error = command(*wanted, "--overwrite", "--dt", 1.0)
    assert code == 2 and "leave out --dt" in error and error.count("\n") == 1
