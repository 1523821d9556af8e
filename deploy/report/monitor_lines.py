"""Whether a cutoff pays for its monitor, a line for each hardware and place, from a run's summary."""

from collections.abc import Iterator, Mapping
from typing import Any

from spikecut.deploy.report.tables import UNKNOWN, quantity

UNITS = {"latency": "s", "energy": "J"}


def monitor_lines(savings: Mapping[str, Any] | None) -> Iterator[str]:
    """What is saved, what the monitor costs there, and what follows; nothing of a run without a full one."""
    for hardware, place, latency, energy, how in monitor_rows(savings):
        yield f"{hardware}, monitor {place}: latency {latency}; energy {energy}; {how}"


def monitor_rows(savings: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str, str, str]]:
    """Hardware, place, whether the cutoff pays in latency and in energy, and what the monitor's cost is made of."""
    for hardware, places in ((savings or {}).get("monitors") or {}).items():
        for place, payoff in places.items():
            latency, energy = (_payoff(payoff[name], unit) for name, unit in UNITS.items())
            yield hardware, place, latency, energy, _how(payoff)


def monitors_in_short(savings: Mapping[str, Any] | None) -> str:
    """The verdicts of every hardware and place; "" where there are none."""
    found = []
    for hardware, places in ((savings or {}).get("monitors") or {}).items():
        told = [f"{place} {_verdict(payoff)}" for place, payoff in places.items()]
        found += [f"{hardware}: {', '.join(told)}"] if told else []
    return "; ".join(found)


def _verdict(payoff: Mapping[str, Any]) -> str:
    verdicts = {name: payoff[name]["verdict"] for name in UNITS}
    if len(set(verdicts.values())) == 1:
        return str(verdicts["latency"])
    return " and ".join(f"{verdict} in {name}" for name, verdict in verdicts.items())


def _payoff(entry: Mapping[str, Any], unit: str) -> str:
    saved, cost = (_figure(entry[name], unit) for name in ("saved", "cost"))
    return f"{entry['verdict']} ({saved} saved, {cost} spent a sample)"


def _figure(entry: Mapping[str, float | None], unit: str) -> str:
    """A figure with its edges; an edge without bound is left open."""
    low, high = (None if entry[edge] is None else quantity(entry[edge], unit) for edge in ("low", "high"))
    value = UNKNOWN if entry["value"] is None else quantity(entry["value"], unit)
    if (low is None and high is None) or low == value == high:
        return value
    return f"{value}, {low or UNKNOWN} to {high or 'any'},"


def _how(payoff: Mapping[str, Any]) -> str:
    """Steps, messages and delay that the cost is made of."""
    messages, delay = (payoff[name] for name in ("messages_per_step", "delay_steps"))
    sent = "unknown" if messages is None else f"{messages:g} to it in each"
    late = "delay unknown" if delay is None else f"halted {delay:g} steps after the decision"
    return f"{payoff['steps']:.3g} steps, messages {sent}, {late}"
