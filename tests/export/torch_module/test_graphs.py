"""Modules whose layers are no chain: concatenations, sums of several branches, branches of unequal depth."""

import numpy as np
import pytest
import torch
from equality import equal
from torch import nn
from torch_networks import TIMESTEPS, firing
from torch_neurons import Remembers

import spikecut
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.verify.compare import verify
from spikecut.export.nir.write import read_integers, write_nir
from spikecut.export.torch_module.importer import Sampled, import_module

FRAMES = np.broadcast_to(np.random.default_rng(3).random((1, 8, 2, 8, 8)).astype(np.float32), (TIMESTEPS, 8, 2, 8, 8))


def imported(module, frames=FRAMES):
    return import_module(firing(module), Sampled.of(frames, torch.zeros(2, *frames.shape[2:])))


def unit(channels, outputs, kernel=3, bias=False, **geometry):
    conv = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=bias, **geometry)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), Remembers())


class Head(nn.Module):
    """Ten outputs from maps."""

    def __init__(self, channels):
        super().__init__()
        self.pool, self.fc, self.lif = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 10), Remembers()

    def forward(self, x):
        return self.lif(self.fc(self.pool(x).flatten(1)))


class Inception(nn.Module):
    """Branches of unequal depth, joined in front of a batch norm and its neurons, and again in front of max pooling."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.three = unit(2, 4), unit(4, 3, 1), nn.Sequential(unit(4, 2, 1), unit(2, 4))
        self.raw, self.norm, self.lif = nn.Conv2d(4, 2, 3, padding=1, groups=2), nn.BatchNorm2d(13), Remembers()
        self.head = Head(17)

    def forward(self, x):
        x = self.stem(x)
        joined = torch.cat([self.one(x), self.raw(x), torch.cat((x, self.three(x)), dim=1)], dim=1)
        pooled = nn.functional.max_pool2d(torch.cat([self.lif(self.norm(joined)), torch.cat([x], 1)], 1), 2)
        return self.head(nn.functional.max_pool2d(pooled, 3, stride=1, padding=1))


class Dense(nn.Module):
    """Each block takes from all before it, a grouped one too; the input goes to the last."""

    def __init__(self):
        super().__init__()
        self.first, self.second = unit(2, 4, bias=True), unit(6, 4, groups=2)
        self.third, self.head = unit(10, 6, 1, bias=True), Head(16)

    def forward(self, x):
        x = torch.cat([x, self.first(x)], 1)
        x = torch.cat([x, self.second(x)], 1)
        return self.head(torch.concat([self.third(x), x[:, :]], 1))


class Sew(nn.Module):
    """Spikes of blocks are added to those that entered them; the sums go to later blocks, and meet biases there."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.c = unit(2, 4), unit(4, 4, bias=True), unit(4, 4), unit(4, 4)
        self.down, self.mix, self.lif = unit(4, 6, bias=True, stride=2), nn.Conv2d(4, 6, 3, 2, 1), Remembers()
        self.head = Head(6)

    def forward(self, x):
        x = self.stem(x)
        y = self.a(x) + x
        z = self.b(y) + y
        w = self.c(z) + z + x
        return self.head(self.lif(self.mix(w) + nn.functional.avg_pool2d(self.spread(w), 2)) + self.down(w))

    def spread(self, w):
        return torch.cat([w, torch.zeros(len(w), 2, 8, 8)], 1)


class Streams(nn.Module):
    """Two streams of other depths and sizes, flattened and joined; their scores are added."""

    def __init__(self):
        super().__init__()
        self.left, self.right = unit(2, 3), nn.Sequential(unit(2, 4, stride=2), unit(4, 4))
        self.fc, self.lif, self.side = nn.Linear(3 * 64 + 4 * 16, 12), Remembers(), nn.Linear(128, 12)
        self.out, self.last = nn.Linear(24, 10), Remembers()

    def forward(self, x):
        joined = torch.cat([self.left(x).flatten(1), self.right(x).flatten(1)], dim=-1)
        hidden = self.lif(self.fc(joined) + self.side(x.flatten(1)))
        return self.last(self.out(torch.cat((hidden, hidden), 1)))


class ComesBack(nn.Module):
    """What was sent in the timestep before is joined to what comes in, as recurrent cells are often written."""

    def __init__(self):
        super().__init__()
        self.first, self.one, self.cell, self.two = nn.Linear(128, 8), Remembers(), nn.Linear(20, 12), Remembers()
        self.out, self.last = nn.Linear(20, 10), Remembers()

    def forward(self, x):
        found, before = [], torch.zeros(len(x), 12)
        for _ in range(TIMESTEPS):
            given = self.one(self.first(x.flatten(1)))
            before = self.two(self.cell(torch.cat([given, before], 1)))
            found.append(self.last(self.out(torch.cat([before, given], 1))))
        return torch.stack(found)


class MapsComeBack(nn.Module):
    """The same of maps: one convolution of what comes in and of what was sent, and one with holes beside it."""

    def __init__(self):
        super().__init__()
        self.cell, self.one, self.around = nn.Conv2d(6, 4, 3, padding=1), Remembers(), nn.Conv2d(4, 4, 3, 1, 2, 2, 2)
        self.two, self.head = Remembers(), Head(4)

    def forward(self, x):
        found, before = [], torch.zeros(len(x), 4, 8, 8)
        again = before
        for _ in range(TIMESTEPS):
            before = self.one(self.cell(torch.cat([x, before], 1)))
            again = self.two(before + self.around(again))
            found.append(self.head(again))
        return torch.stack(found)


GRAPHS = {"inception": Inception, "dense": Dense, "sew": Sew, "streams": Streams, "comes back": ComesBack}
GRAPHS["maps come back"] = MapsComeBack
DEPTHS = {"inception": 7, "dense": 4, "sew": 6, "streams": 4, "comes back": 3, "maps come back": 3}


@pytest.mark.parametrize("case", GRAPHS)
def test_graphs_are_read_as_they_are(case):
    torch.manual_seed(0)
    found = imported(GRAPHS[case]())
    assert found.refusal is None
    frames = torch.tensor(np.array(FRAMES))
    theirs, _ = found.witness.record(frames)
    last = found.witness.layers[-1].path
    scores = found.network(frames.double())
    assert torch.equal(scores, theirs[last]) and 0.02 < float(scores.mean()) < 0.95


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Data of two channels, as the modules here take them."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "data.npz"
    arrays = {}
    for part, count in (("train", 8), ("calibration", 32), ("test", 8)):
        arrays[f"x_{part}"] = rng.random((count, 2, 8, 8)).astype(np.float32)
        arrays[f"y_{part}"] = rng.integers(0, 10, count)
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("case", ["inception", "maps come back"])
def test_a_graph_goes_through_the_house(tmp_path, samples, case):
    torch.manual_seed(0)
    module = firing(GRAPHS[case]())
    bundle = spikecut.export(
        module, tmp_path / "bundle", sample=torch.zeros(2, 2, 8, 8), timesteps=TIMESTEPS, dataset=samples
    )
    assert bundle.network.depth == DEPTHS[case]
    found = verify(bundle, 3)
    assert found.passed, str(found.difference)
    assert found.engines == ("batched", "lava")
    written = tmp_path / "network.nir"
    write_nir(bundle.network, written)
    assert equal(read_integers(written), bundle.network) and equal(
        open_bundle(tmp_path / "bundle").network, bundle.network
    )


class Heads(nn.Module):
    """Two readouts, with neurons or without."""

    def __init__(self, fires):
        super().__init__()
        self.fc, self.lif, self.one, self.two = nn.Linear(128, 8), Remembers(), nn.Linear(8, 10), nn.Linear(8, 4)
        self.first, self.second = (Remembers(), Remembers()) if fires else (nn.Identity(), nn.Identity())

    def forward(self, x):
        x = self.lif(self.fc(x.flatten(1)))
        return self.first(self.one(x)), self.second(self.two(x))


@pytest.mark.parametrize(("fires", "name"), [(True, "second"), (False, "two")])
def test_several_readouts_are_refused_by_name(fires, name):
    torch.manual_seed(0)
    with pytest.raises(spikecut.ExportError, match=rf"net.{name}: the module has several readouts"):
        imported(Heads(fires))


class AddedBehind(nn.Module):
    """A bias behind signals that stand at each other's channels in part."""

    def __init__(self):
        super().__init__()
        self.one, self.two = unit(2, 4), unit(2, 4)
        self.norm, self.lif, self.head = nn.BatchNorm2d(6), Remembers(), Head(6)

    def forward(self, x):
        zeros = torch.zeros(len(x), 2, 8, 8)
        return self.head(self.lif(self.norm(torch.cat([self.one(x), zeros], 1) + torch.cat([zeros, self.two(x)], 1))))


def test_what_is_added_to_overlapping_parts_is_refused():
    torch.manual_seed(0)
    with pytest.raises(spikecut.ExportError, match=r"net.norm: adds numbers to a sum of signals that torch.cat"):
        imported(AddedBehind())
