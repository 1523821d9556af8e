"""Cutoff policies, one a file, and their calibration."""

from spikecut.deploy.cutoff.base import CutoffPolicy, Exits, apply_policy, policy_from_dict, policy_names
from spikecut.deploy.cutoff.confidence import Confidence
from spikecut.deploy.cutoff.entropy import Entropy
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.cutoff.spikecp import SpikeCP
from spikecut.deploy.cutoff.topk import TopK

__all__ = [
    "Confidence",
    "CutoffPolicy",
    "Entropy",
    "Exits",
    "FixedTimestep",
    "SpikeCP",
    "TopK",
    "apply_policy",
    "policy_from_dict",
    "policy_names",
]
