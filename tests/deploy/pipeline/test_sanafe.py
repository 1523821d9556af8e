"""`spikecut export --to sanafe`: a bundle, samples and a chip as SANA-FE's files, whole or not at all."""

import json
import re

import pytest
import yaml

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.sanafe import compare_sanafe, export_sanafe
from spikecut.errors import CapabilityError, InputError


@pytest.fixture(scope="module")
def folder(workshop, tmp_path_factory):
    out = tmp_path_factory.mktemp("sanafe") / "out"
    export_sanafe(workshop / "qcfs", "digits", out, hardware="loihi2", samples=2)
    return out


def test_the_folder_is_complete(folder, workshop):
    names = {"architecture.yaml", "expected.json", *(f"{kind}_{n}" for n in (0, 1) for kind in ("network", "spikes"))}
    assert {path.name.removesuffix(".csv") for path in folder.iterdir()} == {
        name if "." in name else name + ".yaml" * name.startswith("network") for name in names
    }
    network = open_bundle(workshop / "qcfs").network
    text = (folder / "network_1.yaml").read_text()
    neurons = set(re.findall(r"^    - {name: (\w+),", text, re.MULTILINE))
    expected = json.loads((folder / "expected.json").read_text())
    assert list(expected["groups"]) == [layer.name for layer in network.layers]
    assert neurons == {*expected["groups"].values(), *expected["inputs"]}
    assert expected["steps"] == network.horizon + network.depth and len(expected["samples"]) == 2
    assert any("bits are a spike for each bit" in line for line in expected["differs"])
    planes = network.input.bits * (2 if network.input.minimum < 0 else 1)
    edges = re.findall(r"^    - (\w+) -> (\w+): {type: sparse, source_target_pairs: \[\[", text, re.MULTILINE)
    assert len(edges) == planes * len(expected["inputs"]) + len(network.layers) - 1
    assert len(yaml.safe_load((folder / "architecture.yaml").read_text())["architecture"]["tile"]) >= 1


def test_its_own_spikes_compare_equal(folder, tmp_path):
    for sample in (0, 1):
        (tmp_path / "spikes.csv").write_bytes((folder / f"spikes_{sample}.csv").read_bytes())
        assert compare_sanafe(folder, tmp_path, sample).equal
    with pytest.raises(InputError, match="no totals of sample 7"):
        compare_sanafe(folder, tmp_path, 7)


def test_the_command(workshop, command, tmp_path):
    bundle, out = workshop / "qcfs", tmp_path / "out"
    told = ("export", bundle, "--to", "sanafe", "--dataset", "digits", "--out", out)
    code, _, error = command(*told)
    assert code == 2 and "soft reset" in error and "(loihi1)" in error and not out.exists()
    code, said, _ = command(*told, "--hardware", "loihi2")
    assert code == 0 and "run: sim -s -p -m -t simple" in said.replace("\n", " ")
    code, _, error = command(*told, "--hardware", "loihi2")
    assert code == 2 and "holds an earlier SANA-FE export" in error
    code, said, _ = command(*told, "--hardware", "loihi2", "--overwrite", "--json")
    assert code == 0 and json.loads(said)["totals"][0]["spikes"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "sanafe"), "give --dataset"),
        (("--to", "sanafe", "--dataset", "digits", "--horizon", 8), "--horizon: --to sanafe writes a bundle as it is"),
        (("--to", "spice"), "--to 'spice': expected nir or sanafe"),
        (("--hardware", "loihi2"), "--hardware: of --to sanafe alone"),
    ],
)
def test_refuses_options(workshop, command, tmp_path, options, said):
    code, _, error = command("export", workshop / "qcfs", "--out", tmp_path / "out", *options)
    assert code == 2 and said in error and not (tmp_path / "out").exists()


def test_refuses_hardware_without_cores(workshop, tmp_path):
    with pytest.raises((InputError, CapabilityError), match="horowitz45nm"):
        export_sanafe(workshop / "qcfs", "digits", tmp_path / "out", hardware="horowitz45nm")
