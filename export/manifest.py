"""manifest.json: what a bundle holds, how it was made, and the hashes that prove it.

Format 1 had no hash of the manifest itself.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spikecut.errors import BundleError, InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.names import check_texts
from spikecut.files import json_digest, read_json, write_json
from spikecut.folders import FolderKind

FORMAT = 2
FORMATS = (1, FORMAT)
MANIFEST = "manifest.json"
NETWORK = "network.net"
GOLDEN = "golden.h5"
CUTOFF = "cutoff.json"
SUMMARY = "summary.json"
BUNDLE = FolderKind(
    "bundle",
    MANIFEST,
    lambda data: isinstance(data, dict) and {"format", "files", "layers"} <= data.keys(),
    (MANIFEST, NETWORK, GOLDEN, CUTOFF, SUMMARY),
)
PACKAGES = ("spikecut", "numpy", "torch", "lava-nc", "lava-dl", "h5py")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LayerEntry(_Strict):
    """One layer and what quantisation did to it; see export.quantise.LayerReport."""

    name: str
    scale: float
    weight_bits: int
    weight_error_max: float
    weight_error_rms: float
    threshold_error: float
    bias_error_max: float
    decay_error_u: float = 0.0
    decay_error_v: float = 0.0
    gain_error_max: float = 0.0
    bias_exponent: int
    headroom_bits: float
    headroom: Literal["proven", "measured", "clipped"]
    skip_weight_error_max: float | None = None


class Agreement(_Strict):
    """How far the float module and its fake-quantised twin agree on the golden samples, at the full horizon."""

    samples: int
    same_prediction: int
    float_correct: int
    twin_correct: int


class Manifest(_Strict):
    """The content of manifest.json; sha256: of all other keys, from format 2 on."""

    format: int
    name: str
    loader: Literal["netx", "spikecut"]
    beyond_netx: list[str]
    input_message_bits: int
    readout: Literal["count", "membrane"]
    horizon: int = Field(ge=1)
    depth: int = Field(ge=1)
    input: dict[str, Any]
    layers: list[LayerEntry]
    agreement: Agreement
    files: dict[str, str]
    recipe: dict[str, Any]
    versions: dict[str, str]
    sha256: str | None = None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, those that are installed."""
    found = {"python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write manifest.json, with its hash, into a folder."""
    content = manifest.model_dump(exclude={"sha256"})
    write_json(folder / MANIFEST, {**content, "sha256": json_digest(content)})


def check_unchanged(manifest: Manifest, folder: Path) -> None:
    """BundleError for a manifest of format 2 that was changed since it was written."""
    content = manifest.model_dump(exclude={"sha256"}, exclude_unset=True)
    if manifest.sha256 != (None if manifest.format == 1 else json_digest(content)):
        raise BundleError(f"{folder / MANIFEST}: changed or damaged: its hash does not match; export again")


def read_part(folder: Path, name: str, remedy: str) -> Any:
    """The content of a JSON file of a bundle; BundleError if it is damaged, or holds what would steer a terminal."""
    path = own_file(folder, name)
    try:
        data = read_json(path, BundleError)
        check_texts(data)
    except BundleError as error:
        raise BundleError(f"{error}; {remedy}") from error
    except InputError as error:
        raise BundleError(f"{path}: {error}; {remedy}") from error
    return data


def own_file(folder: Path, name: str) -> Path:
    """A file in a bundle's folder; BundleError for a link, which may lead anywhere."""
    path = folder / name
    if path.is_symlink():
        raise BundleError(f"{path}: a link; a bundle holds its own files: copy the file there")
    return path


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json; BundleError naming the key if it is damaged."""
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        raise BundleError(f"{folder}: no {MANIFEST}; this is not a bundle")
    data = read_part(folder, MANIFEST, "export again")
    if isinstance(data, dict) and data.get("format") not in FORMATS:
        raise BundleError(f"{path}: format {data.get('format')}, this spikecut reads 1 and {FORMAT}; export again")
    try:
        found = Manifest.model_validate(data)
        InputSpec.of(found.input)
        return found
    except InputError as error:
        raise BundleError(f"{path}: {error}; export again") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {key}: {first['msg']}; export again") from error
