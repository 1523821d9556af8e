"""The public interface: exactly what docs/api.md lists, loaded when used, and `export` both package and function."""

import inspect
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import pytest

import spikecut


@pytest.fixture(scope="module")
def entries(repository):
    """Name → text of each entry of docs/api.md."""
    text = (repository / "docs" / "api.md").read_text(encoding="utf-8").replace("\\_", "_")
    parts = re.split(r"^###? (.*)\n", text, flags=re.MULTILINE)
    return {name: body for name, body in zip(parts[1::2], parts[2::2], strict=True) if body.strip() and name[1:] != ""}


def python(*lines):
    """Run lines in a fresh interpreter; what they print."""
    code = textwrap.dedent("\n".join(lines))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_documents_list_exactly_the_public_names(entries):
    listed = [name for name in entries if name not in ("Functions", "Commands", "Progress bars", "Types", "Errors")]
    assert sorted(listed) == sorted(spikecut.__all__)
    assert dir(spikecut) == sorted(spikecut.__all__)


@pytest.mark.parametrize("name", sorted(set(spikecut.__all__) - {"__version__"}))
def test_every_name_resolves_and_is_documented(name, entries):
    value = getattr(spikecut, name)
    assert callable(value)
    assert value.__name__.rpartition(".")[2] == name
    assert value.__doc__
    if inspect.isclass(value):
        return
    documented = re.match(rf"`{name}\((.*?)\)`", entries[name], re.DOTALL)
    written = [part.split("=")[0].strip(" *\n") for part in documented[1].split(",") if part.strip() not in ("", "*")]
    assert written == list(inspect.signature(value).parameters)


def test_the_types_at_the_root_are_those_of_the_code():
    from spikecut.deploy.bundle import Bundle
    from spikecut.errors import InputError, SpikecutError

    assert spikecut.Bundle is Bundle
    assert issubclass(spikecut.DataError, InputError) and issubclass(spikecut.Interrupted, SpikecutError)


def test_every_exception_of_the_tree_is_public():
    from spikecut import errors

    tree = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert tree <= set(spikecut.__all__)


def test_names_that_need_no_torch_load_none():
    light = set(spikecut.__all__) - {"convert", "Conversion", "train", "Checkpoint", "demo", "__version__"}
    heavy = python(
        "import sys, spikecut",
        f"for name in {light}: getattr(spikecut, name)",
        "heavy = {'torch', 'lava', 'lightning', 'matplotlib', 'rich', 'typer'}",
        "print(*heavy & set(sys.modules))",
    )
    assert heavy == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'spikecut' has no attribute 'lode'"):
        spikecut.lode  # noqa: B018


IMPORTS = {
    "function first": "import spikecut; function = spikecut.export; import spikecut.export.netx.read",
    "package first": "import spikecut.export.netx.read; function = spikecut.export",
    "from the root": "from spikecut import export as function; import spikecut.export.netx.read",
    "package alone": "import spikecut.export as function; import spikecut.export.netx.read",
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
def test_export_is_a_function_and_a_package_in_whatever_order(imports):
    said = python(
        imports,
        "import inspect, sys",
        "from spikecut.export.netx.read import read_netx",
        "print(function is spikecut.export is sys.modules['spikecut.export'], callable(function))",
        "print(spikecut.export.netx.read.read_netx is read_netx, list(inspect.signature(function).parameters)[0])",
        "try:",
        "    spikecut.export('net.safetensors', sys.executable)",
        "except spikecut.InputError as error:",
        "    print('is a file' in str(error))",
    )
    assert said == ["True", "True", "True", "network", "True"]


def test_export_gives_a_bundle_that_verifies(repository, tmp_path):
    golden = repository / "tests" / "golden" / "format_1"
    bundle = spikecut.export(golden / "lif.safetensors", tmp_path / "out", dataset=str(golden / "samples.npz"))
    assert isinstance(bundle, spikecut.Bundle) and bundle.policy is None
    assert spikecut.verify(bundle, backend="batched").passed
    assert spikecut.verify(tmp_path / "out", samples=3, backend="batched").samples == 3
    with pytest.raises(spikecut.InputError, match="--overwrite"):
        spikecut.export(golden / "lif.safetensors", tmp_path / "out")


def test_export_reads_what_importers_read(repository, tmp_path, digits):
    source = repository / "tests" / "golden" / "nir" / "norse.nir"
    options = {"horizon": 8, "framework": "norse", "encoding": "bernoulli"}
    bundle = spikecut.export(source, tmp_path / "out", dataset="digits", **options)
    assert bundle.network.horizon == 8
    with pytest.raises(spikecut.InputError, match="expected"):
        spikecut.export(repository / "README.md", tmp_path / "other", dataset="digits")


def test_a_network_in_memory_needs_its_recipe(repository, tmp_path):
    from spikecut.models.checkpoint import load_checkpoint

    golden = repository / "tests" / "golden" / "format_1"
    network, recipe = load_checkpoint(golden / "lif.safetensors")
    with pytest.raises(spikecut.InputError, match="needs `recipe`"):
        spikecut.export(network, tmp_path / "out")
    with pytest.raises(spikecut.InputError, match="horizon: of files"):
        spikecut.export(network, tmp_path / "out", recipe=recipe, horizon=4)
    with pytest.raises(spikecut.InputError, match="--horizon"):
        spikecut.export(golden / "lif.safetensors", tmp_path / "out", horizon=4)
    with pytest.raises(spikecut.InputError, match="holds its recipe"):
        spikecut.export(golden / "lif.safetensors", tmp_path / "out", recipe=recipe)
    bundle = spikecut.export(network, tmp_path / "out", recipe=recipe, dataset=str(golden / "samples.npz"))
    assert bundle.network_hash == spikecut.open_bundle(golden / "bundle").network_hash


@pytest.fixture(scope="module")
def golden(repository):
    """A bundle, its samples' file, and its test split, encoded."""
    folder = repository / "tests" / "golden" / "format_1"
    bundle = spikecut.open_bundle(folder / "bundle")
    return bundle, folder / "samples.npz", spikecut.encode(folder / "samples.npz", bundle)


def test_encode_takes_a_split_of_a_file(golden):
    bundle, path, inputs = golden
    samples = np.load(path)
    np.testing.assert_array_equal(inputs, spikecut.encode(samples["x_test"], bundle))
    calibration = spikecut.encode(str(path), bundle, "calibration")
    np.testing.assert_array_equal(calibration, spikecut.encode(samples["x_calibration"], bundle))
    assert spikecut.load_dataset(str(path)).test.y.tolist() == samples["y_test"].tolist()
    with pytest.raises(spikecut.DataError, match="split 'tests': expected one of train, calibration, test"):
        spikecut.encode(path, bundle, "tests")


class Third(spikecut.CutoffPolicy):
    """Exits at the third timestep."""

    name = "third"
    horizon = 4

    def step(self, totals, t, state):
        return np.full(len(totals), t >= 3), state

    def to_dict(self):
        return {"policy": self.name}

    @classmethod
    def from_dict(cls, data):
        return cls()

    @classmethod
    def fit(cls, data, epsilons, minimum_count):
        return [cls() for _ in epsilons]


class Alike:
    """No subclass, but with all members."""

    name, horizon, to_dict = "alike", 4, Third.to_dict
    init, step = spikecut.CutoffPolicy.init, Third.step
    check_horizon, step_each = spikecut.CutoffPolicy.check_horizon, spikecut.CutoffPolicy.step_each


def test_run_takes_a_policy_by_name_class_object_or_calibration(golden):
    bundle, _, inputs = golden
    full = spikecut.run(bundle, inputs)
    calibrated = spikecut.run(bundle.network, inputs, policy=bundle.policy)
    for same in ("topk", type(bundle.policy)):
        np.testing.assert_array_equal(spikecut.run(bundle, inputs, policy=same).timesteps, calibrated.timesteps)
    labels = np.zeros(full.samples, dtype=int)
    for policy in (Third, Third(), Alike, Alike(), spikecut.calibrate(full, labels, policy=Third)):
        assert set(spikecut.run(bundle, inputs, policy=policy).timesteps.tolist()) == {3}
    for policy, message in (
        ("tokp", "'tokp'"),
        ("fixed", r"no default for timestep: policy=spikecut.calibrate\(scores, labels, policy='fixed'\)"),
        (spikecut.CutoffPolicy, "lacks name"),
        (3, "type int lacks name, horizon, check_horizon, init, step, step_each, to_dict: derive it from spikecut.Cut"),
    ):
        with pytest.raises(spikecut.InputError, match=message):
            spikecut.run(bundle, inputs, policy=policy)
    with pytest.raises(spikecut.InputError, match=r"expected a name, or a subclass of spikecut\.CutoffPolicy"):
        spikecut.calibrate(full, labels, policy=Alike)


def test_a_trace_as_a_table_and_as_a_picture(golden, monkeypatch):
    bundle, path, inputs = golden
    labels = np.load(path)["y_test"]
    trace = spikecut.run(bundle, inputs, policy=bundle.policy, record="all")
    found = trace.columns(labels)
    assert found["correct"].mean() == trace.accuracy(labels)
    assert (found["messages"] == sum(layer.spikes.sum(axis=1) for layer in trace.events)).all()
    assert [each for each in found if each.startswith("total")] == ["total_0", "total_1", "total_2"]
    assert {len(column) for column in found.values()} == {trace.samples}
    assert len(trace.plot_raster(2).axes) == 3
    with pytest.raises(spikecut.InputError, match="record='all'"):
        spikecut.run(bundle, inputs, record="events").plot_raster()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(spikecut.InputError, match="needs pandas, which is not installed: pip install pandas"):
        trace.to_dataframe()
    with pytest.raises(spikecut.InputError, match="record='events'"):
        spikecut.estimate(spikecut.run(bundle, inputs), "loihi2")


def test_what_advances_tells_it(golden, tmp_path, repository):
    bundle, path, inputs = golden
    told = {}

    @contextmanager
    def progress(what, total, before=""):
        done = told.setdefault(what, [0, total])

        def advance(samples):
            done[0] += samples

        yield advance

    spikecut.run(bundle, inputs, progress=progress)
    spikecut.verify(bundle, samples=3, backend="batched", progress=progress)
    chosen = {"policies": ("fixed",), "epsilons": (0.1,), "hardware": ["loihi1"]}
    spikecut.sweep(bundle, str(path), progress=progress, **chosen)
    checkpoint = repository / "tests" / "golden" / "format_1" / "lif.safetensors"
    spikecut.export(checkpoint, tmp_path / "out", dataset=str(path), progress=progress)
    done = spikecut.calibrate_bundle(tmp_path / "out", str(path), epsilon=0.1, minimum_count=5, progress=progress)
    run = spikecut.run_dataset(
        done.bundle.path, str(path), tmp_path / "run", backend="batched", hardware=("loihi1",), progress=progress
    )
    assert run.summary.samples == 24 and (tmp_path / "run" / "samples.parquet").is_file()
    assert len(told) >= 6 and all(done % total == 0 < done for done, total in told.values())
    for function in (spikecut.run_dataset, spikecut.calibrate_bundle):
        with pytest.raises(spikecut.InputError, match=f"colour: {function.__name__} takes"):
            function(done.bundle.path, str(path), colour=1)
    assert "digits-tet" in spikecut.pretrained_names()
    assert spikecut.load_hardware(spikecut.hardware_names()[0]).name == spikecut.hardware_names()[0]


def test_a_sweep_of_a_bundle_and_of_its_scores_are_the_same(repository):
    golden = repository / "tests" / "golden" / "format_1"
    bundle, samples = spikecut.open_bundle(golden / "bundle"), np.load(golden / "samples.npz")
    chosen = {"policies": ("topk", "fixed"), "epsilons": (0.01, 0.1)}
    swept = spikecut.sweep(bundle, str(golden / "samples.npz"), **chosen, hardware=["loihi2"])
    fitted, tested = (
        spikecut.LabelledScores.of(
            spikecut.run(bundle.network, spikecut.encode(samples[f"x_{split}"], bundle)).scores, samples[f"y_{split}"]
        )
        for split in ("calibration", "test")
    )
    of_scores = spikecut.sweep(fitted, tested, depth=bundle.network.depth, **chosen)
    assert [point.cutoff for point in swept.points] == [point.cutoff for point in of_scores.points]
    assert [point.accuracy for point in swept.points] == [point.accuracy for point in of_scores.points]
    assert list(swept.full_costs) == ["loihi2"] and not of_scores.full_costs
    with pytest.raises(spikecut.InputError, match="depth is for scores"):
        spikecut.sweep(bundle, "samples.npz", depth=2)
    with pytest.raises(spikecut.InputError, match="LabelledScores twice"):
        spikecut.sweep(fitted, tested)


def test_the_types_of_calls_reach_the_user(repository, tmp_path):
    (tmp_path / "use.py").write_text(
        textwrap.dedent(
            """
            import spikecut as sc
            import spikecut.export.netx.read
            from spikecut.export.netx.read import read_netx

            reveal_type(sc.export("net.safetensors", "out"))
            reveal_type(read_netx)
            reveal_type(sc.verify("out").passed)
            sc.export(3, "out")
            """
        )
    )
    # With the settings, and so from the cache, of `make types`: torch and numpy take mypy many seconds to read anew.
    found = subprocess.run(
        [sys.executable, "-m", "mypy", str(tmp_path / "use.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
    ).stdout
    assert 'Revealed type is "spikecut.deploy.bundle.Bundle"' in found
    assert 'Revealed type is "bool"' in found or 'Revealed type is "builtins.bool"' in found
    assert "def (path" in found
    assert found.count("error:") == 1 and 'has incompatible type "int"' in found


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (lambda bundle: spikecut.run(bundle, [[1]]), "inputs: a list; expected the array"),
        (lambda bundle: spikecut.run(3, np.zeros((1, 1))), "network: a int; expected a bundle"),
        (lambda bundle: spikecut.encode(np.zeros((1, 1, 4, 4)), str(bundle.path)), "target: a str; expected a bundle"),
        (lambda bundle: spikecut.estimate("run", "loihi2"), "trace: a str; expected what spikecut.run gives"),
    ],
)
def test_what_is_no_bundle_network_or_trace_is_named(repository, called, told):
    bundle = spikecut.open_bundle(repository / "tests" / "golden" / "format_1" / "bundle")
    with pytest.raises(spikecut.SpikecutError, match=told):
        called(bundle)


def test_a_bundle_is_run_by_its_folder(repository):
    golden = repository / "tests" / "golden" / "format_1"
    bundle = spikecut.open_bundle(golden / "bundle")
    inputs = spikecut.encode(np.load(golden / "samples.npz")["x_test"][:3], bundle)
    by_folder = spikecut.run(golden / "bundle", inputs, policy="topk")
    assert (by_folder.scores == spikecut.run(bundle, inputs, policy=bundle.policy).scores).all()
