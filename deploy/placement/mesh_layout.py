"""Which core of a placement sits where on the mesh: where its messages have few hops to go.

A quadratic assignment, messages between cores times hops between places, which scipy relaxes (Vogelstein et al. 2015,
method "faq") from several starts. It does not find the best one for certain. The tiles in use are a block, as few as
the cores need; two blocks are tried, and the order of the layers too, which stays where nothing beats it.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from threadpoolctl import threadpool_limits

from spikecut.deploy.placement.cores import Core, LayerPlacement
from spikecut.deploy.placement.fan_out import fan_out_per_core, recurrent_fan_out_per_core
from spikecut.deploy.placement.hardware import Limits
from spikecut.deploy.placement.partition import FloatArray
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork

SEED = 0
"""Of the assignment's random choices: the same network always gets the same places."""
RANDOM_STARTS = 3


def traffic(
    network: IntegerNetwork, placed: Sequence[LayerPlacement], rates: Sequence[FloatArray] | None = None
) -> FloatArray:
    """Messages a step from each core to each, float64 [cores, cores], layer after layer.

    rates: messages per step of every neuron, the source's first; by default each sends one.
    """
    first = np.cumsum([0, *(len(layer.groups) for layer in placed)])
    flow = np.zeros((first[-1], first[-1]))
    ways = [path for paths in network.paths for path in paths if path.source]
    found = [(way.source - 1, way.target - 1, fan_out_per_core(way.synapse, placed[way.target - 1])) for way in ways]
    for index, layer in enumerate(network.layers):
        if layer.recurrent is not None:
            found.append((index, index, recurrent_fan_out_per_core(layer, placed[index])))
    for source, target, reached in found:
        sent = np.ones(len(reached)) if rates is None else rates[source + 1]
        for offset, group in enumerate(placed[source].groups):
            flow[first[source] + offset, first[target] : first[target + 1]] += sent[group] @ (reached[group] > 0)
    return flow


def hops(flow: FloatArray, cores: Sequence[Core]) -> float:
    """Hops a step of these messages, along x and y."""
    x, y = (np.array([getattr(core, axis) for core in cores]) for axis in ("x", "y"))
    away = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    return float((flow * away).sum())


def in_order(count: int, limits: Limits) -> list[Core]:
    """So many cores in their order: tile after tile along the rows of the mesh, chip after chip."""
    return [_core(index, limits) for index in range(count)]


def at_random(count: int, limits: Limits, seed: int) -> list[Core]:
    """So many cores in random places on as many tiles as they need, chip after chip: what a layout is measured by."""
    random, found = np.random.default_rng(seed), []
    per_chip, per_tile = int(limits.cores_per_chip.value or 1), int(limits.cores_per_tile.value or 1)
    for start in range(0, count, per_chip):
        here = min(per_chip, count - start)
        slots = random.permutation(min(per_chip, -(-here // per_tile) * per_tile))[:here]
        found += [_core(start + int(slot), limits) for slot in slots]
    return found


def laid_out(flow: FloatArray, limits: Limits) -> list[Core]:
    """Places for the cores of a placement, in its order, for these messages; chip after chip, each on its own."""
    per_chip, found = int(limits.cores_per_chip.value or 1), []
    for start in range(0, len(flow), per_chip):
        part = flow[start : start + per_chip, start : start + per_chip]
        both = np.ascontiguousarray(part + part.T)
        slots = _slots(both.tobytes(), len(part), *_mesh(limits))
        found += [_core(start + slot, limits) for slot in slots]
    return found


def _mesh(limits: Limits) -> tuple[int, int, int, int]:
    """Cores of a tile, columns and rows of the mesh, cores of a chip."""
    counts = (limits.cores_per_tile, limits.mesh_columns, limits.mesh_rows, limits.cores_per_chip)
    per_tile, columns, rows, per_chip = (int(count.value or 1) for count in counts)
    return per_tile, columns, rows, per_chip


@lru_cache(maxsize=64)
def _slots(flow: bytes, count: int, per_tile: int, columns: int, rows: int, per_chip: int) -> tuple[int, ...]:
    """The slot of each core on its chip: tile times cores a tile, and the place on the tile."""
    both = np.frombuffer(flow).reshape(count, count)
    tiles = -(-count // per_tile)
    best = tuple(range(count))
    least = _cost(both, np.arange(count) // per_tile, columns)
    for width in _widths(tiles, columns, rows):
        block = np.array([y * columns + x for y in range(rows) for x in range(width)][:tiles])
        slots = (block[:, None] * per_tile + np.arange(per_tile)).ravel()
        slots = slots[slots < per_chip]
        if len(slots) < count or not least:
            continue
        found = _assigned(both, slots, per_tile, columns)
        cost = _cost(both, found // per_tile, columns)
        if cost < least * (1 - 1e-9):
            best, least = tuple(int(slot) for slot in found), cost
    return best


def _widths(tiles: int, columns: int, rows: int) -> list[int]:
    """Widths of blocks of so many tiles: rows of the mesh, and as square as can be."""
    square = max(int(np.ceil(np.sqrt(tiles))), -(-tiles // rows))
    return sorted({min(columns, tiles), min(columns, square)})


def _cost(both: FloatArray, tile: IntArray, columns: int) -> float:
    y, x = np.divmod(tile, columns)
    return float((both * (np.abs(x[:, None] - x) + np.abs(y[:, None] - y))).sum())


def _assigned(both: FloatArray, slots: IntArray, per_tile: int, columns: int) -> IntArray:
    """A slot for each core, by scipy's quadratic assignment; slots that are left over send nothing."""
    y, x = np.divmod(slots // per_tile, columns)
    away = (np.abs(x[:, None] - x) + np.abs(y[:, None] - y)).astype(np.float64)
    flow = np.zeros_like(away)
    flow[: len(both), : len(both)] = both / max(float(both.max()), 1.0)
    from scipy.optimize import quadratic_assignment  # heavy, and few networks take several cores

    random, found = np.random.default_rng(SEED), []
    with threadpool_limits(1, user_api="blas"):  # its matrices are too small for several threads
        for start in ("barycenter", *("randomized",) * RANDOM_STARTS):
            found.append(quadratic_assignment(flow, away, method="faq", options={"rng": random, "P0": start}))
    chosen: IntArray = slots[min(found, key=lambda result: result.fun).col_ind[: len(both)]]
    return chosen


def _core(index: int, limits: Limits) -> Core:
    """The core in a place: chip times cores a chip, tile times cores a tile, slot; tiles along the rows of the mesh."""
    per_tile, columns, _, per_chip = _mesh(limits)
    chip, local = divmod(index, per_chip)
    tile = local // per_tile
    y, x = divmod(tile, columns)
    return Core(index, chip, tile, chip * columns + x, y)
