"""print() and repr() of everything public: a few lines, never the numbers of an array."""

import inspect
import re
import typing
from types import SimpleNamespace

import numpy as np
import pytest

import spikecut as sc

MOST_CHARACTERS, MOST_LINES, LONGEST_REPR = 1200, 12, 700
PROTOCOLS = {"Backend", "Progress"}
TYPES = sorted(
    name
    for name in sc.__all__
    if inspect.isclass(getattr(sc, name)) and not issubclass(getattr(sc, name), Exception) and name not in PROTOCOLS
)


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory):
    """An instance of every public type, by its name; of Hardware all files, and of Bundle one with many remarks."""
    from spikecut.deploy.pipeline.convert import ConversionLoss
    from spikecut.deploy.pipeline.installation.doctor import PARTS, Check, Package
    from spikecut.deploy.sanafe.answers import SanafeTotals
    from spikecut.export.importers.base import PartReport

    folder = repository / "tests" / "golden" / "format_1"
    samples, out = str(folder / "samples.npz"), tmp_path_factory.mktemp("print")
    bundle, labels = sc.open_bundle(folder / "bundle"), np.load(samples)["y_test"]
    full = sc.run(bundle, sc.encode(samples, bundle), record="all")
    run = sc.run_dataset(folder / "bundle", samples, backend="batched", hardware=("loihi1",), also_full=True)
    noted = sc.Bundle(bundle.path, bundle.manifest, bundle.network, tuple(500 * "a" for _ in range(40)))
    part = PartReport("layer", "Linear", (10,), "approximate", "rounded", "layer", (1.0,))
    loss = ConversionLoss(60, 0.9, 0.9, tuple(np.linspace(0, 1, 64)))
    checks = tuple(Check(each.purpose, "missing", "needs it", each.remedy) for each in PARTS.values())
    packages = tuple(Package(str(number), "1.0", "something", "pip install it") for number in range(20))
    calibrated = sc.calibrate_bundle(bundle.path, samples, out / "bundle", epsilon=0.1, minimum_count=5)
    totals = SanafeTotals(1, 2, 3, 4, 5e-6, 6e-6)
    every = [
        *(bundle, noted, bundle.network, bundle.network.layers[0], bundle.network.layers[0].neuron),
        *(bundle.network.input, full, run, bundle.policy, calibrated, calibrated.calibration),
        *(sc.load_hardware(name) for name in sc.hardware_names()),
        *(sc.check_hardware(path) for path in (samples, *hardware_files(repository, out))),
        *(sc.load_dataset("digits"), sc.load_dataset("emulated-digits"), sc.LabelledScores.of(full, labels)),
        *(sc.optimal_cutoff_timestep(full.scores, labels), estimate := sc.estimate(full, "loihi2"), estimate.latency_s),
        *(sc.verify(bundle, samples=3, backend="batched"), sc.Refusal("layer", "soft reset", "take another")),
        sc.sweep(bundle, samples, policies=("topk",), hardware=["loihi1"]),
        sc.Conversion(bundle, loss, 40 * (part,), 40 * ("a note",)),
        sc.Checkpoint(out / "net.safetensors", {"method": "tet"}, 64 * (0.5,), ("digits", "a note"), ("one more",)),
        sc.Verdict(1, 2, 3, 4, 5, "five", 6, 7, True, None),
        sc.Diagnosis("3.13.0", "Linux", packages, checks, (), ("it fails",)),
        sc.LavaInstallation(("torch",), ("lava-nc",), {"requirements.txt": "lava-nc"}, (("pip", "install", "it"),)),
        sc.SanafeExport(out, "loihi1", 60, 40 * (totals,), 9 * ("a line",)),
        *(sc.SanafeComparison(1, gone, totals, totals) for gone in (None, "differ first in step 3")),
        sc.Reported(out / "report.html", SimpleNamespace(runs=[SimpleNamespace(name="lif")]), 40 * ("figure.svg",)),
    ]
    return {name: [each for each in every if isinstance(each, getattr(sc, name))] for name in TYPES}


def hardware_files(repository, folder):
    """The template, which cannot be used, and one of ours without numbers, which can."""
    template, emptied = folder / "open.yaml", folder / "emptied.yaml"
    template.write_text(sc.hardware_template("open"))
    text = (repository / "hardware_configs" / "loihi1.yaml").read_text()
    emptied.write_text(re.sub(r"(energy_pJ|time_ns): \{[^}]*\}", r'\1: {value: null, source: "not known"}', text))
    return template, emptied


@pytest.mark.parametrize("name", TYPES)
def test_every_public_type_prints_in_a_few_lines(made, name):
    assert made[name], f"no {name} to print: add one above"
    for each in made[name]:
        printed, shown = str(each), repr(each)
        assert len(printed) <= MOST_CHARACTERS and 1 <= len(printed.splitlines()) <= MOST_LINES, printed
        assert len(shown) <= LONGEST_REPR and "\n" not in shown, shown
        assert "array(" not in printed + shown and " object at 0x" not in printed + shown


def test_what_public_functions_return_is_public():
    returned = []
    for name in sc.__all__:
        value = getattr(sc, name)
        if not (callable(value) and not inspect.isclass(value)):
            continue
        given = inspect.signature(value).return_annotation
        returned += [each for each in (given, *typing.get_args(given)) if inspect.isclass(each)]
    own = {each.__name__ for each in returned if each.__module__.startswith("spikecut.")}
    assert own <= set(sc.__all__) and {sc.Bundle, sc.Run, sc.Dataset} <= set(returned)
