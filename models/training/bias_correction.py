"""Biases of a converted network, corrected for spikes that come at uneven times."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikecut.errors import InputError
from spikecut.models.network import SpikingNetwork, Stage

ROUNDS = 3
BATCH = 250


def correct_biases(spiking: SpikingNetwork, trained: SpikingNetwork, x: Tensor, timesteps: int) -> None:
    """Shift the biases of `spiking` until its channels send, on average, what those of `trained` do.

    A converted layer answers a constant current exactly as QCFS does, but below the first layer currents are not
    constant: the same sum comes early or late, and a spike too many is never taken back. What that adds to a channel's
    mean is measured and taken from its bias, layer after layer, input first:

        b_c ← b_c + mean(h_c) - mean(s_c)

    h_c: activations of the trained network, s_c: what the spiking one sends per timestep; the means are over samples,
    places and timesteps. Li, Deng, Dong, Gong, Gu, "A free lunch from ANN: towards efficient, accurate spiking neural
    networks calibration", ICML 2021 (bias correction). A bias shifts the mean by less than itself, so each layer is
    measured and corrected three times.

    spiking: what qcfs_to_spiking made of `trained`; changed in place. x: training samples [N, *shape], float32, without
    their labels. timesteps: the horizon T that it is corrected for.

    InputError for a layer without a bias.
    """
    wanted = _means(trained, x, 1)
    for name, bias in [(stage.name, _bias(stage)) for stage in spiking.layers()]:
        for _ in range(ROUNDS):
            with torch.no_grad():
                bias.add_(wanted[name] - _means(spiking, x, timesteps)[name])


def _bias(stage: Stage) -> Tensor:
    holder = stage.synapse if isinstance(stage.norm, nn.Identity) else stage.norm
    bias = holder.bias
    if not isinstance(bias, Tensor):
        raise InputError(f"stage {stage.name} has no bias that could be corrected")
    return bias


def _means(network: SpikingNetwork, x: Tensor, timesteps: int) -> dict[str, Tensor]:
    """Name of the stage → what each of its channels sends, mean over samples, places and timesteps, [C]."""
    sums: dict[str, Tensor] = {}
    with torch.no_grad(), _evaluation(network), _listening(network, sums):
        for part in torch.split(x, BATCH):
            network(part.expand(timesteps, *part.shape))
    return {name: total / (len(x) * timesteps) for name, total in sums.items()}


@contextmanager
def _listening(network: SpikingNetwork, sums: dict[str, Tensor]) -> Iterator[None]:
    def adder(name: str) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], sent: Tensor) -> None:
            by_channel = sent.flatten(3).mean(3) if sent.ndim > 3 else sent
            sums[name] = sums.get(name, 0) + by_channel.sum((0, 1))

        return add

    hooks = [stage.neuron.register_forward_hook(adder(stage.name)) for stage in network.layers()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)
