"""What `spikecut doctor` found as tables and lines, readable in 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from spikecut.deploy.report.wide_table import WideTable


def doctor_tables(found: Mapping[str, Any]) -> list[RenderableType]:
    """Packages, what works, lines of Lava that are repaired, and what is to be done, from a Diagnosis as a mapping."""
    repairs = [_repairs(found)] if found["repairs"] else []
    return [_packages(found), _checks(found), *repairs, *_advice(found)]


def _packages(found: Mapping[str, Any]) -> WideTable:
    table = WideTable("package", "version", "for", title=f"Python {found['python']} on {found['system']}")
    for package in found["packages"]:
        table.add_row(package["name"], package["version"] or "missing", package["purpose"])
    return table


def _checks(found: Mapping[str, Any]) -> WideTable:
    table = WideTable("part", "state", "found", title="tried here")
    for check in found["checks"]:
        table.add_row(check["name"], check["state"], check["said"])
    return table


def _repairs(found: Mapping[str, Any]) -> WideTable:
    table = WideTable("module", "line", "since", title="lines of Lava that are repaired as it is imported")
    for repair in found["repairs"]:
        major, minor = repair["since"]
        table.add_row(repair["module"], str(repair["line"]), f"{repair['package']} {major}.{minor}")
    return table


def _advice(found: Mapping[str, Any]) -> list[str]:
    """A line for each command that installs something, and for each fault."""
    remedies: dict[str, list[str]] = {}
    for check in found["checks"]:
        if check["state"] == "missing":
            remedies.setdefault(check["remedy"], []).append(check["name"])
    missing = [f"missing: {', '.join(names)}: {remedy}" for remedy, names in remedies.items()]
    faults = [f"does not work: {fault}" for fault in found["faults"]]
    return missing + (faults or ["what is installed works"])
