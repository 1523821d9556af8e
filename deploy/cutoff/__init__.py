"""Cutoff policies, one a file, and their calibration."""

from spikecut.deploy.cutoff.base import CutoffPolicy, Exits, apply_policy, policy_from_dict
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.cutoff.topk import TopK

__all__ = ["CutoffPolicy", "Exits", "FixedTimestep", "TopK", "apply_policy", "policy_from_dict"]
