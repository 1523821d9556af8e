"""From NIR's continuous equations to timesteps: what the file says, what the framework does, what the user states.

NIR says τ dv/dt = (v_leak - v) + R I and not how often. With d the part of v that one timestep loses,

    euler         d = dt / τ               exponential   d = 1 - exp(-dt / τ)
    v[t] = (1 - d) v[t-1] + d v_leak + g x[t],   g = d R, or R where the framework does not scale its input

and then s[t] = v[t] > v_threshold (or ≥), and the reset: hard, v ← v_reset, as NIR states it, or soft, v ← v -
v_threshold, which no NIR file can tell. A soft reset comes in the spike's own timestep ("same_step": what is left of v
then leaks) or with the next one ("next_step": v[t+1] = (1 - d) v[t] - v_threshold + ..., the whole of v leaks).
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from spikecut.errors import InputError
from spikecut.export.network.arrays import Array
from spikecut.export.network.parameters import FloatParameter, as_given

Integration = Literal["euler", "exponential"]
NirReset = Literal["zero", "subtract"]
NirResetOrder = Literal["same_step", "next_step"]
Start = Literal["zero", "leak", "reset"]
Spikes = Literal["single", "multi"]


@dataclass(frozen=True)
class Discretisation:
    """How the neurons of a file step through time.

    Attributes
    ----------
    name: the framework, or "NIR" for the equations as NIR's documentation gives them.
    dt: length of a timestep in the unit of the file's time constants; None: not known.
    integration: how a time constant becomes the part d that is lost per timestep.
    reset, reset_order: after a spike. fires_at_equality: v ≥ v_threshold instead of v > v_threshold.
    scales_input: LIF and CubaLIF take g = d R (else R). scales_leaky_readout: LI and CubaLI likewise.
    integrator_uses_dt: I and IF take g = dt R (else R). synapse_jumps: a spike adds w_in to the current of CubaLIF and
        CubaLI (else d w_in).
    starts_at: v before the first timestep: 0, v_leak or v_reset.
    drops_input: with a hard reset in the next timestep, CubaLIF, and a LIF that feeds itself, lose its input too.
    clamps_beta: a factor β above 1, which makes a time constant negative, is clamped to 1.
    spikes: at most one a timestep, or ⌊v / v_threshold⌋ of them, each of which a soft reset subtracts.
    assumed: one line for each thing that the file does not tell.
    """

    name: str
    dt: float | None
    integration: Integration = "euler"
    reset: NirReset = "zero"
    reset_order: NirResetOrder = "same_step"
    fires_at_equality: bool = False
    scales_input: bool = True
    scales_leaky_readout: bool = True
    integrator_uses_dt: bool = True
    synapse_jumps: bool = False
    starts_at: Start = "zero"
    drops_input: bool = False
    clamps_beta: bool = False
    spikes: Spikes = "single"
    assumed: tuple[str, ...] = ()

    def step(self, node: str) -> float:
        """dt; InputError if it is not known."""
        if self.dt is None:
            raise InputError(
                f"node {node}: the file holds time constants but not the length of a timestep: give --dt (in their "
                f"unit), or --framework {'|'.join(FRAMEWORKS)}"
            )
        return self.dt

    def lost(self, tau: float | Array, node: str) -> FloatParameter:
        """d of positive time constants; InputError if a timestep is longer than Euler's method allows."""
        ratio = self.step(node) / np.asarray(tau)
        if self.integration == "exponential":
            return as_given(-np.expm1(-ratio))
        if np.any(ratio > 1 + 1e-6):
            raise InputError(
                f"node {node}: a timestep of {self.dt:g} is longer than the time constant "
                f"{self.step(node) / ratio.max():g}; is --dt in the unit of the file's time constants?"
            )
        return as_given(np.minimum(ratio, 1.0))


# What the frameworks' own exporters and neurons do, read in the sources of the versions named.
FRAMEWORKS: dict[str, Discretisation] = {
    "snntorch": Discretisation(
        name="snnTorch 1.0.0",
        dt=1e-4,
        reset="subtract",
        reset_order="next_step",
        drops_input=True,
        clamps_beta=True,
        assumed=(
            "dt 1e-4: snnTorch's exporter writes tau = 1e-4 / (1 - beta)",
            "reset subtract, in the next timestep: snnTorch's default (reset_mechanism, reset_delay); its files do not "
            'tell: for reset_mechanism="zero" give --reset zero',
        ),
    ),
    "norse": Discretisation(
        name="Norse 1.1.0",
        dt=1e-6,
        integrator_uses_dt=False,
        synapse_jumps=True,
        starts_at="leak",
        assumed=(
            "dt 1e-6: Norse's exporter writes dt · tau for tau, with dt = 1e-3 in both; for another dt give --dt dt²",
            "reset zero: Norse's default; its files leave out v_reset and reset_method",
            "v starts at v_leak, an IAF adds its input unscaled, an input spike adds 1 to the current of an LIF",
        ),
    ),
    "sinabs": Discretisation(
        name="Sinabs 2.0.3",
        dt=1.0,
        integration="exponential",
        reset="subtract",
        fires_at_equality=True,
        scales_leaky_readout=False,
        integrator_uses_dt=False,
        spikes="multi",
        assumed=(
            "dt 1: Sinabs counts tau_mem in timesteps; v keeps exp(-1 / tau_mem)",
            "reset subtract, at v ≥ spike_threshold: Sinabs' defaults; its files do not tell",
            "spikes multi, several in a timestep: Sinabs' default (spike_fn MultiSpike); its files do not tell: for "
            "SingleSpike give --spikes single",
            "norm_input True for LIF, False for ExpLeak, no min_v_mem, no tau_syn: Sinabs' files do not tell",
        ),
    ),
    "spikingjelly": Discretisation(
        name="SpikingJelly 0.0.0.1",
        dt=1e-4,
        fires_at_equality=True,
        starts_at="reset",
        assumed=(
            "dt 1e-4: the default of SpikingJelly's exporter",
            "reset zero: SpikingJelly's default; its files do not tell a soft reset (v_reset=None): for it give "
            "--reset subtract",
            "fires at v ≥ v_threshold, v starts at v_reset",
        ),
    ),
    "lava": Discretisation(
        name="Lava 0.10.0",
        dt=1e-4,
        assumed=(
            "dt 1e-4: that of the NIR paper's Lava code",
            "reset zero, at v > v_threshold: Lava's LIF",
        ),
    ),
}
PLAIN = Discretisation(
    name="NIR",
    dt=None,
    assumed=(
        "no --framework: NIR's own equations, by Euler's method; v starts at 0, fires at v > v_threshold",
        "reset zero (to v_reset): NIR states it for every file, whatever the framework did; for a soft reset give "
        "--reset subtract",
    ),
)


def discretisation(
    framework: str | None = None,
    dt: float | None = None,
    reset: str | None = None,
    reset_order: str | None = None,
    spikes: str | None = None,
) -> Discretisation:
    """The defaults of a framework, or NIR's own equations, with what the user states in their place.

    InputError for a value that is not one of those known, or a dt that is not a positive number.
    """
    if framework is not None and framework not in FRAMEWORKS:
        raise InputError(f"--framework {framework!r}: expected one of {', '.join(FRAMEWORKS)}")
    for option, value, known in (
        ("--reset", reset, get_args(NirReset)),
        ("--reset-order", reset_order, get_args(NirResetOrder)),
        ("--spikes", spikes, get_args(Spikes)),
    ):
        if value is not None and value not in known:
            raise InputError(f"{option} {value!r}: expected {' or '.join(known)}")
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise InputError(f"--dt {dt}: expected a positive number, in the unit of the file's time constants")
    base = PLAIN if framework is None else FRAMEWORKS[framework]
    stated = {"dt": dt, "reset": reset, "reset_order": reset_order, "spikes": spikes}
    given = {key: value for key, value in stated.items() if value is not None}
    lines = [line for line in base.assumed if line.split()[0] not in given]
    lines += [f"{key} {value}: as given" for key, value in given.items()]
    if "reset" in given and base.reset_order == "next_step" and "reset_order" not in given:
        lines.append("reset_order next_step: snnTorch's default (reset_delay=True)")
    return replace(base, **given, assumed=tuple(lines))  # type: ignore[arg-type]
