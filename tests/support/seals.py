"""Hashes of bundles, cutoffs, runs and journals made right again, as somebody would who changes them on purpose."""

import hashlib
import json

from spikecut.deploy.run.folder import SAMPLES, sealed
from spikecut.files import json_digest, sha256


def seal_manifest(bundle, *files):
    """The manifest's own hash, and those that it holds of these files."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] |= {name: sha256(bundle / name) for name in files}
    manifest.pop("sha256", None)
    path.write_text(json.dumps({**manifest, "sha256": json_digest(manifest)}))


def seal_cutoff(bundle):
    """The hash in cutoff.json."""
    path = bundle / "cutoff.json"
    cutoff = json.loads(path.read_text())
    cutoff.pop("sha256", None)
    path.write_text(json.dumps({**cutoff, "sha256": json_digest(cutoff)}))


def seal_run(folder):
    """The hashes in summary.json, of its own keys and of the samples."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    for key in ("sha256", "samples_sha256"):
        summary.pop(key, None)
    path.write_text(json.dumps(sealed(summary, folder / SAMPLES)))


def seal_part(path):
    """The digest behind a part of a journal, whose content was written without one."""
    content = path.read_bytes()
    digest = hashlib.sha256((path.parent / "request.json").read_bytes())
    digest.update(path.name.encode() + hashlib.sha256(content).digest())
    path.write_bytes(content + digest.digest())
