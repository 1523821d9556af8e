"""Which policy is meant: an object, its calibration, the name of a policy, or a class, spikecut's or the user's own."""

import inspect
from typing import Any, cast

from spikecut.deploy.cutoff.base import CutoffPolicy, policy_class
from spikecut.deploy.cutoff.calibration.calibrate import Calibration
from spikecut.errors import InputError

MEMBERS = ("name", "horizon", "check_horizon", "init", "step", "step_each", "to_dict")
"""What whatever runs a network asks of a policy."""

PolicyChoice = CutoffPolicy | Calibration | type[CutoffPolicy] | str
"""What stands for a policy; besides, an object that has MEMBERS."""


def chosen_policy(choice: object, calibrated: CutoffPolicy | None = None) -> CutoffPolicy | None:
    """The policy that is meant; None for None.

    choice: see PolicyChoice. A name, or a class, of the policy of this bundle means that one; any other is made without
    arguments.
    calibrated: the policy of the bundle that runs, if it has one.

    Raises InputError for an unknown name, a policy whose parameters must be found first, or what is no policy, with
    what it lacks.
    """
    if isinstance(choice, Calibration):
        return choice.policy
    if choice is None or isinstance(choice, CutoffPolicy):
        return choice
    if isinstance(choice, str | type):
        found = policy_class(choice, "policy") if isinstance(choice, str) else choice
        return calibrated if type(calibrated) is found else _made(found)
    _check_members(choice, f"policy of type {type(choice).__name__}")
    return cast(CutoffPolicy, choice)


def _made(kind: type[Any]) -> CutoffPolicy:
    """The policy of this class with the defaults of all its parameters."""
    _check_members(kind, f"policy class {kind.__name__}")
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise InputError(f"policy class {kind.__name__} lacks {', '.join(missing)}: see docs/extending.md")
    parameters = inspect.signature(kind).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in variable]
    if needed:
        remedy = f"policy=spikecut.calibrate(scores, labels, policy={kind.name!r}), or an object of {kind.__name__}"
        raise InputError(f"cutoff policy {kind.name} has no default for {', '.join(needed)}: {remedy}")
    return cast(CutoffPolicy, kind())


def _check_members(value: object, what: str) -> None:
    lacking = [member for member in MEMBERS if not hasattr(value, member)]
    if lacking:
        raise InputError(f"{what} lacks {', '.join(lacking)}: derive it from spikecut.CutoffPolicy (docs/extending.md)")
