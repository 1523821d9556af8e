"""Others' SLAYER networks: a module of lava-dl's blocks, or a state dict and a spec of the blocks → SlayerNetwork.

Everything that the chip does not compute as slayer does is refused by name. What is taken, is taken exactly: Dense,
Conv and Recurrent of cuba and of alif, Flatten and an Input without neurons; weight norm (the weights are those that
slayer's forward uses), masks, axonal delays of dense blocks, dropout (which does nothing once trained),
MeanOnlyBatchNorm as a bias.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.errors import InputError, UnsupportedError
from spikecut.fixed_point import DECAY_UNITY, THRESHOLD_MAXIMUM
from spikecut.models.slayer.network import SlayerNetwork, SlayerStage, slayer_library
from spikecut.models.slayer.spec import SlayerSpec, build_blocks

LAYERS = ("Dense", "Conv", "Recurrent")
DECAYS = ("current", "voltage", "threshold", "refractory")
SHARED = ("threshold", "refractory")
"""Decays of which a layer has one each."""
WITHOUT_LAYER = ("Flatten", "Input")
REFUSED_BLOCKS = {
    "Pool": "its sums go through neurons of their own: pool by a Conv with stride",
    "Unpool": "no Process grows a map: use a Conv",
    "ConvT": "no Process convolves transposed: use a Conv",
    "Average": "it averages spikes, which are no messages: leave it out, and add up its outputs' scores",
    "Affine": "it sends a voltage, not spikes: end in a Dense block",
    "TimeDecimation": "no Process changes the number of timesteps: leave it out",
    "KWTA": "no Process has its inhibition, and slayer's own export writes nothing: use a Dense block",
}
REFUSED_NEURONS = {
    "rf": "resonate-and-fire neurons",
    "rf_iz": "resonate-and-fire neurons",
    "adrf": "adaptive resonate-and-fire neurons, which netx loads as plain ones",
    "adrf_iz": "adaptive resonate-and-fire neurons, which netx loads as plain ones",
    "sigma_delta": "sigma-delta neurons, which send graded differences",
}


def load_slayer(
    source: nn.Module | Mapping[str, Tensor],
    input_shape: Sequence[int] | None = None,
    build: SlayerSpec | None = None,
) -> SlayerNetwork:
    """Somebody's SLAYER network, ready for export; the source is left as it is.

    Parameters
    ----------
    source: a module whose `blocks` are slayer's blocks in a chain, a Sequential or ModuleList of such blocks, or, with
        `build`, a state dict. A module's own forward, [N, *, T] → [N, classes, T], becomes the golden witness.
    input_shape: (C, H, W) or (F,) of one frame; a Dense block flattens the former in torch's order. None takes build's.
    build: the blocks that the state dict belongs to; see SlayerSpec.

    Raises
    ------
    UnsupportedError: a block, neuron, norm, delay or scale that no Process equals, by name.
    InputError: no blocks, or no input shape. CheckpointError: a state dict that does not fit the spec.
    """
    whole = _whole(source, build)
    if input_shape is None and build is not None:
        input_shape = build.input_shape
    if input_shape is None:
        raise InputError("a module does not tell the shape of its input: give input_shape")
    for part in whole.modules():
        _spread_decays(part)
    blocks = _blocks(_copy(whole))
    stages: list[SlayerStage] = []
    shift = 0
    for index, block in enumerate(blocks):
        name = f"block {index} ({type(block).__name__})"
        _check_kind(name, block)
        if type(block).__name__ in LAYERS:
            _check_neuron(name, block)
            _check_synapses(name, block)
            _check_delay_and_bias(name, block, shift)
            stages.append(SlayerStage(f"{type(block).__name__.lower()}{len(stages) + 1}", block))
        block.requires_grad_(False)
        shift += int(bool(getattr(block, "delay_shift", False)))
    if not stages:
        raise InputError("the network has no Dense, Conv or Recurrent block")
    if isinstance(whole, nn.ModuleList):
        whole = nn.Sequential(*whole)
    first = next(block for block in blocks if type(block).__name__ != "Input")
    flat = type(first).__name__ in ("Dense", "Recurrent") and math.prod(stages[0].synapse.weight.shape[2:]) == 1
    network = SlayerNetwork(stages, tuple(input_shape), whole, shift, flat)
    network.eval()
    return network


def _whole(source: nn.Module | Mapping[str, Tensor], build: SlayerSpec | None) -> nn.Module:
    """The module itself, copied, or the blocks of a state dict."""
    if isinstance(source, nn.Module):
        if build is not None:
            raise InputError("a module brings its own blocks: give it without build")
        return _copy(source)
    if build is None:
        raise InputError("a state dict does not tell its blocks: give build, a SlayerSpec")
    return build_blocks(build, source)


def _copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode, also of a module that has just computed gradients."""
    known: dict[int, Any] = {}
    for part in module.modules():
        for value in (*vars(part).values(), *part.buffers(recurse=False)):
            if isinstance(value, Tensor) and not value.is_leaf:  # a weight under weight norm, or a kept state
                known[id(value)] = value.detach().clone()
    return copy.deepcopy(module, known).cpu().eval()


def _blocks(module: nn.Module) -> list[Any]:
    found = module if isinstance(module, nn.ModuleList | nn.Sequential) else getattr(module, "blocks", None)
    if not isinstance(found, nn.ModuleList | nn.Sequential) or not len(found):
        raise InputError(
            f"{type(module).__name__} holds no `blocks`, the ModuleList of slayer's blocks: give nn.Sequential of them"
        )
    return list(found)


def _check_kind(name: str, block: Any) -> None:
    home, kind = type(block).__module__, type(block).__name__
    family = home.rsplit(".", 1)[-1]
    if home.startswith("lava.lib.dl.slayer.block."):
        if family in REFUSED_NEURONS and kind != "Flatten":
            raise UnsupportedError(
                f"{name} has {REFUSED_NEURONS[family]}; no Process of spikecut computes them: train with block.cuba"
            )
        if kind in REFUSED_BLOCKS:
            raise UnsupportedError(f"{name}: {REFUSED_BLOCKS[kind]}")
        if kind == "Input" and (block.neuron is not None or block.weight is not None or block.bias is not None):
            raise UnsupportedError(f"{name} has neurons, a weight or a bias: take the input as it is, or add a layer")
        if kind in (*LAYERS, *WITHOUT_LAYER):
            return
    raise UnsupportedError(f"{name} is no block of lava.lib.dl.slayer.block.cuba or alif: make the chain of those")


def _check_neuron(name: str, block: Any) -> None:
    neuron, library = block.neuron, slayer_library()
    for key, tensor in block.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise UnsupportedError(f"{name}: {key} holds a NaN or an infinity; train again")
    adapts = type(neuron) is library.neuron.alif.Neuron
    if not adapts and type(neuron) is not library.neuron.cuba.Neuron:
        raise UnsupportedError(f"{name}: neuron {type(neuron).__name__}; use slayer's cuba.Neuron or alif.Neuron")
    if neuron.graded_spike:
        raise UnsupportedError(f"{name}: graded spikes; train with graded_spike=False")
    if neuron.persistent_state and type(block).__name__ != "Recurrent":
        raise UnsupportedError(
            f"{name}: a state that outlives the sample; set persistent_state=False "
            "(a Recurrent sets it in the dictionary of parameters that it is given: give each block its own)"
        )
    scale = neuron.w_scale
    if scale < 1 or scale & (scale - 1) or neuron.s_scale != 64 * scale:
        raise UnsupportedError(f"{name}: scale {scale} is not a power of two, netx would cut its weights off: use 64")
    if neuron.requires_grad:
        neuron.clamp()  # as each forward does
    if not neuron.shared_param and neuron.shape is None:
        raise UnsupportedError(f"{name}: its decays per channel are drawn at the first forward; run one")
    for which in SHARED if adapts else ():
        decay = getattr(neuron, f"{which}_decay")
        if bool((torch.round(decay) != torch.round(decay.reshape(-1)[0])).any()):
            raise UnsupportedError(
                f"{name}: a {which} decay per channel; of thresholds that adapt a layer has one: train with "
                "shared_param=True"
            )
    level = float(neuron.threshold * neuron.s_scale)
    if adapts:
        _check_threshold(name, neuron)
    elif level < 0 or np.float32(level + 0.01) == np.float32(level):
        raise UnsupportedError(
            f"{name}: threshold {neuron.threshold:g}; from 4096 / scale on slayer's float32 fires at v = threshold, "
            "which the chip does not: choose a threshold from 0 to below that"
        )
    norm = neuron.norm
    if norm is not None and type(norm) is not library.neuron.norm.MeanOnlyBatchNorm:
        raise UnsupportedError(
            f"{name}: {type(norm).__name__} shifts the weights, which netx ignores: use MeanOnlyBatchNorm or none"
        )
    if norm is not None and not _hooked(norm.pre_hook_fx, neuron):
        raise UnsupportedError(f"{name}: a pre_hook_fx of its own in the norm; leave slayer's 8-bit rounding")
    if neuron.drop is not None and not isinstance(neuron.drop, nn.modules.dropout._DropoutNd):
        raise UnsupportedError(f"{name}: dropout by {type(neuron.drop).__name__}; use slayer's Dropout")


def _spread_decays(block: Any) -> None:
    """Give decays per channel the axes of maps, where slayer's forward on the CPU would take them along the width."""
    neuron, synapse = getattr(block, "neuron", None), getattr(block, "synapse", None)
    weight = getattr(synapse, "weight", None)
    if neuron is None or weight is None or weight.ndim != 5:
        return
    if type(block).__name__ != "Conv" and math.prod(weight.shape[2:]) == 1:
        return  # a Dense block's outputs have no axes of maps
    for which in DECAYS:
        decay = getattr(neuron, f"{which}_decay", None)
        if decay is not None and decay.numel() > 1:
            decay.data = decay.data.reshape(-1, 1, 1)


def _check_threshold(name: str, neuron: Any) -> None:
    """UnsupportedError for what the chip does otherwise than slayer's ALIF, which fires at v ≥ its threshold."""
    if neuron.norm is not None and bool((neuron.current_decay.round() != DECAY_UNITY).any()):
        raise UnsupportedError(
            f"{name}: a norm in front of slayer's ALIF takes its mean off the input of a current that lasts; a bias on "
            "the chip goes to the membrane: use current_decay=1, or no norm"
        )
    for key in ("threshold", "threshold_step"):
        if not 0 <= getattr(neuron, key) * neuron.w_scale <= THRESHOLD_MAXIMUM or neuron.threshold == 0:
            raise UnsupportedError(
                f"{name}: {key} {getattr(neuron, key):g}; choose a positive threshold, and both at most "
                f"{THRESHOLD_MAXIMUM / neuron.w_scale:g}"
            )


def _hooked(hook: Any, neuron: Any) -> bool:
    """Whether a hook is the neuron's own 8-bit rounding."""
    return getattr(hook, "__func__", None) is type(neuron).quantize_8bit and hook.__self__ is neuron


def _check_synapses(name: str, block: Any) -> None:
    for key in ("synapse", "input_synapse", "recurrent_synapse"):
        synapse = getattr(block, key, None)
        if synapse is None:
            continue
        if synapse.complex:
            raise UnsupportedError(f"{name}: complex weights; use slayer's Dense or Conv synapse")
        if not _hooked(synapse.pre_hook_fx, block.neuron):
            raise UnsupportedError(f"{name}: a pre_hook_fx of its own; leave slayer's 8-bit rounding of weights")
        mask = getattr(block, "mask", None)
        if hasattr(synapse, "weight_g"):
            if mask is not None:
                raise UnsupportedError(f"{name}: weight norm undoes its mask; train with one of the two")
            with torch.no_grad():
                nn.utils.remove_weight_norm(synapse, "weight")  # computes the weight as each forward does
        elif mask is not None:
            synapse.weight.data *= mask
    block.count_log = False


def _check_delay_and_bias(name: str, block: Any, shift: int) -> None:
    norm, delay = block.neuron.norm, block.delay
    biased = norm is not None and bool(norm.bias.any())
    if getattr(block, "bias", None) is not None:
        raise UnsupportedError(f"{name}: a bias of its own; slayer has none: leave it out")
    if biased and shift:
        raise UnsupportedError(
            f"{name}: MeanOnlyBatchNorm is a bias, which slayer integrates before the first spikes come, as the blocks "
            "before have delay_shift; a layer on the chip starts with them: build all blocks with delay_shift=False"
        )
    if biased and type(block).__name__ == "Recurrent" and bool((block.neuron.current_decay.round() != 4096).any()):
        raise UnsupportedError(
            f"{name}: MeanOnlyBatchNorm, whose mean slayer also takes off the current that a Recurrent keeps for the "
            "next step; a bias on the chip only goes to the membrane: use current_decay=1, or no norm"
        )
    if delay is None:
        return
    if not delay.init:
        raise UnsupportedError(f"{name}: its delays are drawn at the first forward; run one, or set delay.init = True")
    if delay.sampling_time != 1:
        raise UnsupportedError(f"{name}: delays in steps of {delay.sampling_time}; use sampling_time=1")
    limit = math.inf if delay.max_delay is None else delay.max_delay
    if not bool(delay.delay.clamp(0, limit).floor().any()):
        return
    if type(block).__name__ != "Dense":
        raise UnsupportedError(f"{name}: delays; no Process delays a convolution or a recurrent layer: use Dense")
    if biased:
        raise UnsupportedError(
            f"{name}: delays and MeanOnlyBatchNorm; a bias would come before them: use one of the two"
        )
