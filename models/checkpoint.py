"""Checkpoints: one safetensors file, its recipe as JSON in the metadata. Nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spikecut.errors import CheckpointError, InputError
from spikecut.files import check_regular, parse_json, write_bytes
from spikecut.models.architectures import build
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import SpikingNetwork
from spikecut.models.neurons.integrate_fire import IntegrateFire
from spikecut.models.torch_files import MAXIMUM_BYTES

FORMAT = "spikecut checkpoint 1"
Recipe = dict[str, Any]


def save_checkpoint(path: str | Path, network: SpikingNetwork, recipe: Recipe, half: bool = False) -> None:
    """Write the network's tensors and its recipe; the file appears whole or not at all.

    recipe: JSON-able; recipe["arch"] and recipe["arch_arguments"] must rebuild the network through architectures.build.
    half: store the synapses' weights as float16, which they must be already (see round_weights).
    CheckpointError if the recipe does not rebuild the network, half would change a weight, or the file cannot be
    written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    _check_tensors(path, _skeleton(path, recipe), tensors)
    if half:
        for name in _weights(network):
            narrow = tensors[name].half()
            if not torch.equal(narrow.float(), tensors[name]):
                raise CheckpointError(f"{path}: tensor {name} is not exact in float16; round the weights first")
            tensors[name] = narrow
    try:
        text = json.dumps(recipe, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise CheckpointError(f"{path}: the recipe is not plain JSON: {exc}") from exc
    try:
        write_bytes(path, save(tensors, metadata={"format": FORMAT, "recipe": text}))
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be written: {exc.strerror}") from exc


def round_weights(network: SpikingNetwork) -> None:
    """Round the synapses' weights to float16, in place; they stay float32."""
    state = network.state_dict()
    for name in _weights(network):
        state[name].copy_(state[name].half().float())


def _weights(network: SpikingNetwork) -> list[str]:
    return [f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def load_checkpoint(path: str | Path) -> tuple[SpikingNetwork, Recipe]:
    """The network, in evaluation mode and without gradients, and its recipe.

    CheckpointError for a file that is missing, truncated or foreign, a recipe that builds no network, or tensors
    that are missing, unexpected, of another shape or dtype, or not finite.
    """
    path = Path(path)
    check_regular(path, CheckpointError, MAXIMUM_BYTES)  # all of it is mapped into memory
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: a safetensors file, but not a spikecut checkpoint: name the layers of its tensors, by "
                    "--spec those of a ReLU network (of `convert` and `inspect`), by --slayer lava-dl's blocks"
                )
            tensors = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"{path}: truncated or not a spikecut checkpoint; fetch it, or write it, again") from exc
    recipe = _parse_recipe(path, metadata.get("recipe", ""))
    _check_tensors(path, _skeleton(path, recipe), tensors)
    network = _rebuild(recipe)
    network.load_state_dict(tensors)
    _check_values(path, network)
    return network.eval().requires_grad_(False), recipe


def _parse_recipe(path: Path, text: str) -> Recipe:
    recipe = parse_json(text, f"{path}: its recipe", CheckpointError)
    if not isinstance(recipe, dict):
        raise CheckpointError(f"{path}: its recipe is not a JSON object")
    return recipe


def _rebuild(recipe: Recipe) -> SpikingNetwork:
    arguments = dict(recipe["arch_arguments"])
    arguments["input_shape"] = tuple(arguments["input_shape"])
    for number in (*arguments["input_shape"], arguments.get("classes", 1)):
        if type(number) is not int:
            raise ValueError(f"{number!r} in input_shape or classes is no whole number")
    return build(recipe["arch"], **arguments)


def _skeleton(path: Path, recipe: Recipe) -> dict[str, Tensor]:
    """Tensors that the recipe's network has, without memory: an absurd recipe allocates nothing."""
    try:
        with torch.device("meta"):
            return dict(_rebuild(recipe).state_dict())
    except (InputError, KeyError, TypeError, ValueError, RuntimeError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise CheckpointError(f"{path}: the recipe builds no network: {reason}") from exc


def _check_tensors(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    for name in sorted(expected.keys() ^ found.keys()):
        problem = "is missing" if name in expected else "does not belong to this architecture"
        raise CheckpointError(f"{path}: tensor {name} {problem}")
    for name, tensor in found.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            found_as, wanted_as = (f"{one.dtype} {tuple(one.shape)}" for one in (tensor, want))
            raise CheckpointError(f"{path}: tensor {name} is {found_as}, expected {wanted_as}")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: tensor {name} holds a NaN or an infinity; train again")


def _check_values(path: Path, network: SpikingNetwork) -> None:
    for stage in network.every_stage():
        neuron = stage.neuron
        norm = stage.norm.norm if isinstance(stage.norm, TemporalEffectiveBatchNorm) else stage.norm
        if isinstance(neuron, QCFS | IntegrateFire) and not neuron.threshold.item() > 0:
            raise CheckpointError(
                f"{path}: stage {stage.name} has the threshold {neuron.threshold.item()}, not positive"
            )
        if isinstance(neuron, IntegrateFire) and not float(neuron.amplitude) > 0:
            raise CheckpointError(
                f"{path}: stage {stage.name} has the amplitude {float(neuron.amplitude)}, not positive"
            )
        if (
            isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
            and norm.running_var is not None
            and norm.running_var.min() < 0
        ):
            raise CheckpointError(f"{path}: stage {stage.name} has a negative variance")
