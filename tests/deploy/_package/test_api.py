"""The public interface: exactly what docs/api.md lists, loaded when used, and `export` both package and function."""

import inspect
import re
import subprocess
import sys
import textwrap

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
    listed = [name for name in entries if name not in ("Functions", "Types", "Errors")]
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
    written = [part.split("=")[0].strip(" *") for part in documented[1].split(",") if part.strip() != "*"]
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
    light = set(spikecut.__all__) - {"convert", "Conversion", "__version__"}
    heavy = python(
        "import sys, spikecut",
        f"for name in {light}: getattr(spikecut, name)",
        "print(*[name for name in ('lava', 'lightning', 'matplotlib', 'rich', 'typer') if name in sys.modules])",
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
