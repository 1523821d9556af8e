"""Write tests/golden/nir anew: small networks that snnTorch, Norse and Sinabs trained, exported to NIR and ran.

Each framework writes FRAMEWORK.nir with its own exporter, and what it said itself goes into FRAMEWORK.npz: the inputs,
the spikes of every neuron layer, and the versions. The tests need none of the frameworks. Needs an environment of its
own, never the project's:

    uv venv -p 3.10 golden && uv pip install -p golden torch==2.3.1 'numpy<2' nir==1.0.8 scikit-learn \
        snntorch==1.0.0 norse==1.1.0 sinabs==2.0.3
    golden/bin/python scripts/golden/nir_files.py [NAME ...]
"""

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nir
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "nir"
TIMESTEPS, SAMPLES, EPOCHS = 8, 128, 6
PACKAGES = ("torch", "nir", "nirtorch", "numpy")

Run = Callable[[nn.Module, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Case:
    """A network, how the framework runs it, and how it exports it.

    run: frames [T, N, 1, 8, 8] → spikes of each neuron layer by its node's name in the graph, [T, N, ...].
    """

    framework: str
    network: Callable[[], nn.Module]
    run: Run
    export: Callable[[nn.Module], nir.NIRGraph]


def samples() -> tuple[Tensor, Tensor]:
    """Digits as spikes, float32 [T, N, 1, 8, 8], and their labels [N]; the last SAMPLES are never trained on."""
    images, labels = load_digits(return_X_y=True)
    probability = torch.tensor(images.reshape(1, -1, 1, 8, 8) / 16.0, dtype=torch.float32)
    frames = torch.rand(TIMESTEPS, *probability.shape[1:], generator=torch.Generator().manual_seed(0)) < probability
    return frames.float(), torch.tensor(labels)


def train(case: Case, network: nn.Module, frames: Tensor, labels: Tensor) -> None:
    """Cross entropy of the spike counts, by the framework's own surrogate gradient."""
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(labels) - SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(64):
            output = list(case.run(network, frames[:, batch]).values())[-1]
            loss = functional.cross_entropy(output.sum(0).flatten(1), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def completed(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with the shapes that nir.write cannot leave out and the exporters do."""
    order, edges, shape = ["input"], dict(graph.edges), graph.nodes["input"].input_type["input"]
    while order[-1] in edges:
        order.append(edges[order[-1]])
    shape = tuple(int(n) for n in shape)[-3:]
    for name in order[1:]:
        node = graph.nodes[name]
        if isinstance(node, nir.Conv2d):
            node.input_shape = shape[1:]
            sides = [
                (n + 2 * p - d * (k - 1) - 1) // s + 1
                for n, p, d, k, s in zip(
                    shape[1:], node.padding, node.dilation, node.weight.shape[2:], node.stride, strict=True
                )
            ]
            shape = (node.weight.shape[0], *sides)
        elif isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            shape = (shape[0], *(n // int(s) for n, s in zip(shape[1:], node.stride, strict=True)))
        elif isinstance(node, nir.Flatten):
            node.input_type = {"input": np.array(shape)}
            shape = (int(np.prod(shape)),)
        elif isinstance(node, nir.Affine | nir.Linear):
            shape = (node.weight.shape[0],)
    return graph


def snntorch_case(mechanism: str) -> Case:
    """Leaky with the given reset_mechanism; its exporter needs every parameter at the layer's full shape."""

    def network() -> nn.Module:
        import snntorch

        def leaky(beta: float, *shape: int) -> nn.Module:
            full = {"beta": torch.full(shape, beta), "threshold": torch.ones(shape)}
            return snntorch.Leaky(**full, init_hidden=True, reset_mechanism=mechanism)

        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            leaky(0.5, 4, 8, 8),
            nn.AvgPool2d((2, 2)),
            nn.Flatten(),
            nn.Linear(64, 10),
            leaky(0.9, 10),
        )

    def run(network: nn.Module, frames: Tensor) -> dict[str, Tensor]:
        for layer in (network[1], network[5]):
            layer.reset_mem()
        hidden, output = [], []
        for frame in frames:
            hidden.append(network[:2](frame))
            output.append(network[2:](hidden[-1]))
        return {"1": torch.stack(hidden), "5": torch.stack(output)}

    def export(network: nn.Module) -> nir.NIRGraph:
        from snntorch.export_nir import export_to_nir

        return export_to_nir(network, torch.zeros(1, 1, 8, 8), ignore_dims=[0])

    return Case("snntorch", network, run, export)


def norse_case() -> Case:
    """LIFBoxCell; Norse's exporter knows neither Flatten nor pooling, so the last map is 1 x 1."""

    def network() -> nn.Module:
        import norse.torch as norse

        slow = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(250.0), v_th=torch.tensor(0.25))
        fast = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(0.5))
        return norse.SequentialState(
            nn.Conv2d(1, 6, 3, stride=2), norse.LIFBoxCell(fast), nn.Conv2d(6, 10, 3), norse.LIFBoxCell(slow)
        )

    def run(network: nn.Module, frames: Tensor) -> dict[str, Tensor]:
        first, second = None, None
        hidden, output = [], []
        for frame in frames:
            spikes, first = network[1](network[0](frame), first)
            hidden.append(spikes)
            spikes, second = network[3](network[2](spikes), second)
            output.append(spikes)
        return {"1": torch.stack(hidden), "3": torch.stack(output)}

    def export(network: nn.Module) -> nir.NIRGraph:
        from norse.torch.utils.export_nir import to_nir

        return to_nir(network, torch.zeros(1, 1, 8, 8))

    return Case("norse", network, run, export)


def sinabs_case(leaky: bool) -> Case:
    """IAF, or LIF with tau_mem in timesteps; one spike a timestep at most."""

    def network() -> nn.Module:
        import sinabs.activation as activation
        import sinabs.layers as layers

        def neurons() -> nn.Module:
            single = {"spike_fn": activation.SingleSpike, "batch_size": 1}
            if leaky:
                return layers.LIFSqueeze(tau_mem=4.0, spike_threshold=torch.tensor(0.5), **single)
            return layers.IAFSqueeze(**single)

        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), neurons(), layers.SumPool2d(2), nn.Flatten(), nn.Linear(64, 10), neurons()
        )

    def run(network: nn.Module, frames: Tensor) -> dict[str, Tensor]:
        timesteps, count = frames.shape[:2]
        for layer in (network[1], network[5]):
            layer.batch_size = count
            layer.reset_states()
        merged = frames.transpose(0, 1).flatten(0, 1)
        hidden = network[:2](merged)
        output = network[2:](hidden)
        return {
            name: found.unflatten(0, (count, timesteps)).transpose(0, 1)
            for name, found in (("1", hidden), ("5", output))
        }

    def export(network: nn.Module) -> nir.NIRGraph:
        from sinabs.nir import to_nir

        for layer in (network[1], network[5]):
            layer.batch_size = 1
        return to_nir(network, torch.zeros(1, 1, 8, 8))

    return Case("sinabs", network, run, export)


CASES = {
    "snntorch": snntorch_case("zero"),
    "snntorch_subtract": snntorch_case("subtract"),
    "norse": norse_case(),
    "sinabs": sinabs_case(leaky=False),
    "sinabs_lif": sinabs_case(leaky=True),
}


def write(name: str, case: Case) -> None:
    """Train, export, run, record."""
    torch.manual_seed(0)
    frames, labels = samples()
    network = case.network()
    train(case, network, frames, labels)
    network.eval()
    test = frames[:, -SAMPLES:]
    with torch.no_grad():
        spikes = case.run(network, test)
        graph = completed(case.export(network))
    nir.write(OUT / f"{name}.nir", graph, compression=None)  # HDF5 compresses no scalar, which Norse gives
    packages = (*PACKAGES, case.framework)
    recorded = {f"spikes_{node}": np.packbits(found.numpy().astype(bool)) for node, found in spikes.items()}
    shapes = {f"shape_{node}": np.array(found.shape) for node, found in spikes.items()}
    versions = [f"python {platform.python_version()}", *(f"{package} {version(package)}" for package in packages)]
    np.savez_compressed(
        OUT / f"{name}.npz",
        inputs=np.packbits(test.numpy().astype(bool)),
        shape_inputs=np.array(test.shape),
        labels=labels[-SAMPLES:].numpy(),
        versions=np.array(versions),
        **recorded,
        **shapes,
    )
    output = list(spikes.values())[-1].sum(0).flatten(1)
    right = float((output.argmax(1) == labels[-SAMPLES:]).float().mean())
    rates = ", ".join(f"{node}: {float(found.mean()):.3f}" for node, found in spikes.items())
    print(f"{name}: {100 * right:.1f} % right, firing rates {rates}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or CASES:
        write(name, CASES[name])
