"""A bundle read back and checked: hashes, manifest against network, cutoff."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.calibration.record import CalibratedCutoff, read_record, sealed
from spikecut.errors import BundleError, InputError
from spikecut.export.golden import Golden, read_golden
from spikecut.export.hdf5 import MAXIMUM_BYTES
from spikecut.export.importers.base import read_network
from spikecut.export.manifest import (
    CUTOFF,
    GOLDEN,
    NETWORK,
    Manifest,
    check_unchanged,
    own_file,
    read_manifest,
    read_part,
)
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.netx.limits import beyond_netx
from spikecut.export.netx.read import read_netx
from spikecut.files import reason, sha256, write_json
from spikecut.folders import earlier_of
from spikecut.text import brief, told


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes
    ----------
    path: its folder. manifest: manifest.json. network: network.net as integers.
    notes: where it has just been exported, remarks for the user: what is approximated or was assumed, and how samples
        were split.
    """

    path: Path
    manifest: Manifest
    network: IntegerNetwork
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """What it holds, how it loads, and whether its cutoff is calibrated."""
        network, agreement = self.network, self.manifest.agreement
        loader = "lava-dl's netx" if self.manifest.loader == "netx" else "spikecut's own Processes"
        policy = self.policy
        return (
            f"bundle {self.path}: {network.name}, {len(network.layers)} layers, loaded by {loader}\n"
            f"{network.input}; {network.classes} classes, horizon T = {network.horizon}, readout {network.readout}\n"
            f"golden samples: {agreement.samples}, float and integers agree on {agreement.same_prediction}\n"
            f"{policy if policy is not None else 'not calibrated'}{told(self.notes)}"
        )

    @property
    def policy(self) -> CutoffPolicy | None:
        """The calibrated cutoff policy; None where the bundle is not calibrated.

        Raises
        ------
        BundleError: cutoff.json is damaged, or was calibrated for another network or horizon.
        """
        path = self.path / CUTOFF
        return self.cutoff() if path.exists() or path.is_symlink() else None

    @property
    def network_hash(self) -> str:
        """SHA-256 of network.net."""
        return self.manifest.files[NETWORK]

    @property
    def net_file(self) -> Path:
        """The netx HDF5 file."""
        return self.path / NETWORK

    def golden(self) -> Golden:
        """What torch said; BundleError if the file is damaged."""
        return read_golden(own_file(self.path, GOLDEN))

    def cutoff(self) -> CutoffPolicy:
        """The calibrated policy; BundleError as of `calibrated`."""
        return self.calibrated().policy

    def calibrated(self) -> CalibratedCutoff:
        """The calibrated policy, and what it was calibrated with.

        Raises
        ------
        BundleError: there is none, it is damaged or was changed, or it was calibrated for another network or horizon.
        """
        path = self.path / CUTOFF
        if not path.exists() and not path.is_symlink():
            raise BundleError(f"{self.path}: not calibrated; run `spikecut calibrate {self.path} --dataset …`")
        data = read_part(self.path, CUTOFF, "calibrate again")
        return read_record(data, path, self.network_hash, self.network.horizon)

    def write_cutoff(self, calibration: dict[str, Any]) -> None:
        """Write cutoff.json; `calibration`: the policy and how it was found. Network and hash are added."""
        try:
            write_json(self.path / CUTOFF, sealed(calibration, self.network_hash, self.manifest.name))
        except OSError as error:
            raise BundleError(f"cannot write {self.path / CUTOFF}: {reason(error)}") from error


def open_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises
    ------
    BundleError: missing or foreign, a hash that does not match, a manifest that contradicts its network.
    """
    folder = Path(path)
    if folder.is_file():
        raise BundleError(
            f"{folder}: a file, no bundle (a folder made by `spikecut export`); `spikecut inspect` shows a network in "
            "integers, such as lava-dl's .net, and spikecut.run(spikecut.load(file), inputs) runs it"
        )
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle (a folder made by `spikecut export`){_set_aside(folder)}")
    manifest = read_manifest(folder)
    for name in (NETWORK, GOLDEN):
        if name not in manifest.files:
            raise BundleError(f"{folder}: the manifest holds no hash of {name}; export again")
        file = own_file(folder, name)
        if not file.exists():
            raise BundleError(f"{folder}: {name} is missing; export again")
        if sha256(file, BundleError, MAXIMUM_BYTES) != manifest.files[name]:
            raise BundleError(f"{file}: its hash does not match the manifest: changed or damaged; export again")
    network = read_netx(folder / NETWORK)
    loader = "spikecut" if beyond_netx(network) else "netx"
    if (manifest.horizon, manifest.readout, manifest.depth, manifest.loader) != (
        network.horizon,
        network.readout,
        network.depth,
        loader,
    ):
        raise BundleError(f"{folder}: the manifest contradicts {NETWORK}; export again")
    check_unchanged(manifest, folder)
    return Bundle(folder, manifest, network)


def _set_aside(folder: Path) -> str:
    """Where the bundle is if its replacement was killed halfway, in words."""
    if not folder.name or not os.path.lexists(earlier_of(folder)):
        return ""
    return f"; the earlier one is whole in {earlier_of(folder)}: rename it, or export again"


def load(path: str | Path, horizon: int | None = None) -> IntegerNetwork:
    """The integer network of a bundle, of a `.net` file, or of a `.nir` file that spikecut wrote.

    horizon: T of a `.net` file of lava-dl, in the place of its own; see read_any_netx for what is assumed of its input.

    Raises
    ------
    BundleError, UnsupportedError: see open_bundle, read_netx, read_integers. InputError: a NIR file of another tool; a
        horizon that is missing, or too many.
    """
    target = Path(path)
    if not target.is_dir():
        return read_network(target, {} if horizon is None else {"horizon": horizon}).loaded()
    if horizon is not None:
        raise InputError(f"{target} holds its horizon itself: leave out --horizon")
    return open_bundle(target).network
