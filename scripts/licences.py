"""Licences of everything in requirements.lock, and the lock as an SBOM.

    python scripts/licences.py                         a table in Markdown, from the metadata of what is installed
    python scripts/licences.py --sbom build/sbom.json  CycloneDX 1.6: names, versions, hashes of the files, licences

Ends with an error where a package has a licence that spikecut's own (BSD-3-Clause) cannot be given out with, or names
none, unless APART or KNOWN says why that is right. Packages for other systems are in the lock, too, and not installed:
of them the table has no licence. docs/reliability.md, "Supply chain".
"""

import argparse
import ast
import json
import re
import sys
import uuid
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
CODE = ("deploy", "export", "models", "hardware_configs")
COPYLEFT = re.compile(r"(?<!L)(?<!LESSER )(?<!Lesser )\b(AGPL|GPL|GNU GENERAL|GNU General|GNU Affero)", re.ASCII)
APART = {
    "codespell": "a program for developers, run in a process of its own",
    "sanafe": "an oracle of the tests, run in a process of its own",
    "tonic": "data sets of events that the user asks for by name, and installs; in no lock",
}
"""GPL, and never imported by spikecut but where the reason says so."""
KNOWN = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary"}
"""Named in no metadata: an empty package that stands for NVIDIA's libraries, which say so themselves."""
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A line of the lock; licence: empty where the package is not installed or names none."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    installed: bool

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def licence_of(name: str) -> str | None:
    """What an installed package's metadata say; None where it is not installed."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return None
    expression = told.get("License-Expression")
    classified = [each.split(" :: ")[-1] for each in told.get_all("Classifier") or () if each.startswith("License ::")]
    free = (told.get("License") or "").strip().splitlines()[:1]
    return expression or "; ".join(classified) or (free[0][:60] if free else "") or KNOWN.get(name, "")


def locked(text: str) -> list[Package]:
    """The packages of a lock in its order; one may have several versions, for several Pythons."""
    found: dict[tuple[str, str], Package] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        pin = PIN.match(block)
        if pin and pin.groups() not in found:
            licence = licence_of(pin[1])
            found[pin[1], pin[2]] = Package(
                pin[1], pin[2], tuple(HASH.findall(block)), licence or "", licence is not None
            )
    return list(found.values())


def problems(packages: list[Package]) -> list[str]:
    """What may not be given out with spikecut, and what names no licence."""
    found = []
    for each in packages:
        if each.installed and not each.licence:
            found.append(f"{each.name} names no licence: read it, and add it to KNOWN")
        elif COPYLEFT.search(each.licence) and each.name not in APART:
            found.append(f"{each.name} is {each.licence}: leave it out, or say in APART why it is never imported")
    return found


def imported() -> set[str]:
    """Names of the packages that spikecut's code imports anywhere, also inside functions."""
    found = set()
    for path in (file for folder in CODE for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.split(".")[0] for name in names if name}
    return found


def imported_copyleft() -> dict[str, str]:
    """GPL packages among what spikecut imports and is installed: name → licence."""
    owners = packages_distributions()
    found = {owner: licence_of(owner) or "" for name in imported() for owner in owners.get(name, ())}
    return {name: licence for name, licence in found.items() if COPYLEFT.search(licence)}


def sbom(packages: list[Package], lock: bytes) -> dict[str, Any]:
    """The lock as a CycloneDX 1.6 document; the same lock gives the same document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, lock.hex())}",
        "version": 1,
        "metadata": {"component": {"type": "library", "name": "spikecut", "bom-ref": "spikecut"}},
        "components": [
            {
                "type": "library",
                "name": each.name,
                "version": each.version,
                "purl": each.purl,
                "bom-ref": each.purl,
                **({"licenses": [{"license": {"name": each.licence}}]} if each.licence else {}),
                "externalReferences": [
                    {
                        "type": "distribution",
                        "url": each.purl,
                        "hashes": [{"alg": "SHA-256", "content": digest} for digest in each.hashes],
                    }
                ],
            }
            for each in packages
        ],
    }


def main() -> int:
    """Print the table, or write the SBOM; 1 where a licence is none that fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sbom", type=Path)
    given = parser.parse_args()
    packages = locked(LOCK.read_text(encoding="utf-8"))
    if given.sbom is None:
        print("| package | version | licence |\n|---|---|---|")
        for each in packages:
            licence = each.licence if each.installed else "not installed here"
            print(
                f"| {each.name} | {each.version} | {licence}{f' ({APART[each.name]})' if each.name in APART else ''} |"
            )
    else:
        given.sbom.parent.mkdir(parents=True, exist_ok=True)
        given.sbom.write_text(json.dumps(sbom(packages, LOCK.read_bytes()), indent=1) + "\n", encoding="utf-8")
        print(f"{len(packages)} packages written to {given.sbom}")
    found = problems(packages) + [
        f"spikecut imports {name}, {licence}" for name, licence in imported_copyleft().items()
    ]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
