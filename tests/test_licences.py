"""scripts/licences.py: what is given out with spikecut, and the lock as an SBOM."""

import importlib.util
import json
import re

import pytest


@pytest.fixture(scope="module")
def licences(repository):
    spec = importlib.util.spec_from_file_location("licences", repository / "scripts" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packages(licences):
    return licences.locked(licences.LOCK.read_text())


def test_every_licence_fits_and_nothing_imported_is_gpl(licences, packages):
    assert licences.problems(packages) == []
    assert set(licences.imported_copyleft()) <= {"tonic"}
    assert sum(each.installed for each in packages) > 100 and {"torch", "numpy", "rich"} <= licences.imported()


def test_a_licence_that_does_not_fit_is_noticed(licences):
    def of(name, licence):
        return licences.problems([licences.Package(name, "1", (), licence, True)])

    for licence in ("GPL-3.0-only", "GNU General Public License v3 (GPLv3)", "AGPL-3.0", "GPL-2.0-or-later OR X", ""):
        assert of("some", licence)
    for licence in ("MIT", "LGPL-2.1", "GNU Lesser General Public License v2 or later (LGPLv2+)", "BSD License"):
        assert not of("some", licence)
    assert not of("codespell", "GPL-2.0-only")


def test_the_sbom_names_every_pin_with_its_hashes(licences, packages):
    text = licences.LOCK.read_text()
    made = licences.sbom(packages, text.encode())
    assert made == licences.sbom(packages, text.encode()) and json.loads(json.dumps(made)) == made
    assert {(each["name"], each["version"]) for each in made["components"]} == {
        tuple(pin) for pin in re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)
    }
    held = [digest["content"] for each in made["components"] for digest in each["externalReferences"][0]["hashes"]]
    assert sorted(set(held)) == sorted(set(re.findall(r"sha256:([0-9a-f]{64})", text)))
    assert len({each["bom-ref"] for each in made["components"]}) == len(made["components"])
