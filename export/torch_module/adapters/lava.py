"""lava-dl's neurons outside of its blocks. A module of slayer's blocks is read otherwise, see load_slayer."""

from torch import nn

from spikecut.export.torch_module.adapters.base import Neuron, refusal


def describe(module: nn.Module, where: str) -> Neuron | None:
    """None but for slayer's neurons, whose numbers are the chip's integers: UnsupportedError."""
    if any(each.__module__.startswith("lava.lib.dl.slayer.neuron.") for each in type(module).__mro__):
        raise refusal(
            where,
            module,
            "a neuron of slayer's without its block, whose synapse rounds the weights for it; make the chain of blocks "
            "of lava.lib.dl.slayer.block.cuba or alif",
        )
    return None
