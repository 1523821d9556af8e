"""cutoff.json: a calibrated policy, what it was calibrated for and on, and the hash that proves it unchanged.

Format 1 had no hash. There the thresholds stand twice, in the policy and in the table of its timesteps, and must agree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from spikecut.deploy.cutoff.base import CutoffPolicy, policy_from_dict
from spikecut.errors import BundleError, InputError
from spikecut.files import json_digest

FORMAT = 2
FORMATS = (1, FORMAT)
AGAIN = "calibrate again"


class _Guarantee(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    delta: float


class _Step(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    threshold: int | None


class CutoffFile(BaseModel):
    """What cutoff.json holds, as far as it is read again; the rest is `Calibration.to_dict`.

    Attributes
    ----------
    format: FORMAT; files without the key are of format 1. sha256: of all other keys, from format 2 on.
    network: SHA-256 of network.net. bundle: the network's name, from format 2 on.
    policy, epsilon, samples, guarantee, steps: see Calibration. dataset: name or path of the samples.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = 1
    sha256: str | None = None
    network: str
    bundle: str | None = None
    policy: dict[str, Any]
    epsilon: float | None = None
    samples: int | None = None
    guarantee: _Guarantee | None = None
    steps: tuple[_Step, ...] | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class CalibratedCutoff:
    """A bundle's policy and where it comes from.

    Attributes
    ----------
    policy: the policy. file: the cutoff.json that holds it.
    epsilon: tolerated share; delta: probability that its guarantee fails, None without a guarantee.
    samples, dataset: how many samples of which data set it was calibrated on; None where the file does not say.
    """

    policy: CutoffPolicy
    file: Path
    epsilon: float | None
    delta: float | None
    samples: int | None
    dataset: str | None

    def to_dict(self) -> dict[str, Any]:
        """All but the policy, as JSON data."""
        told = {"epsilon": self.epsilon, "delta": self.delta, "samples": self.samples, "dataset": self.dataset}
        return {**told, "file": str(self.file)}


def sealed(calibration: Mapping[str, Any], network: str, bundle: str) -> dict[str, Any]:
    """The content of cutoff.json: a calibration as JSON data, with the network that it is for and their hash."""
    # As it will be read again: JSON's keys are text, and are sorted as such.
    content = json.loads(json.dumps({**calibration, "format": FORMAT, "network": network, "bundle": bundle}))
    return {**content, "sha256": json_digest(content)}


def read_record(data: Any, path: Path, network: str, horizon: int) -> CalibratedCutoff:
    """The calibrated policy in the content of a cutoff.json.

    Parameters
    ----------
    network: SHA-256 of the network that it must be for. horizon: that network's T.

    Raises BundleError, naming the file, if it is of another format, network or horizon, damaged, or was changed.
    """
    if not isinstance(data, dict) or data.get("network") != network:
        raise BundleError(f"{path}: calibrated for another network{_named(data)}; {AGAIN}")
    if data.get("format", 1) not in FORMATS:
        raise BundleError(f"{path}: format {data.get('format')}, this spikecut reads 1 and {FORMAT}; {AGAIN}")
    try:
        found = CutoffFile.model_validate(data)
        policy = policy_from_dict(found.policy)
        policy.check_horizon(horizon)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {key}: {first['msg']}; {AGAIN}") from error
    except InputError as error:
        raise BundleError(f"{path}: {error}") from error
    if not _is_unchanged(found, data, policy):
        raise BundleError(f"{path}: changed since it was calibrated, or damaged: its hash does not match; {AGAIN}")
    delta = None if found.guarantee is None else found.guarantee.delta
    return CalibratedCutoff(policy, path, found.epsilon, delta, found.samples, found.dataset)


def _named(data: Any) -> str:
    name = data.get("bundle") if isinstance(data, dict) else None
    return f", {name}" if isinstance(name, str) else ""


def _is_unchanged(found: CutoffFile, data: dict[str, Any], policy: CutoffPolicy) -> bool:
    if found.format > 1 or found.sha256 is not None:
        return found.sha256 == json_digest({key: value for key, value in data.items() if key != "sha256"})
    thresholds = getattr(policy, "thresholds", None)
    if found.steps is None or thresholds is None:
        return True
    return [step.threshold for step in found.steps] == list(thresholds)
