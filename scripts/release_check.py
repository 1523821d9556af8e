"""Build wheel and sdist into dist, and check both: `make release-check`.

The sdist must hold every file that git tracks, but for what only a checkout needs; the wheel, built from the sdist,
every module and data file of the package. The wheel is installed, with its dependencies, into a fresh environment
without torch and Lava, and its command must run there.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
ONLY_A_CHECKOUT = (".ci/", ".github/", ".typing/", ".gitignore")
FOLDERS = ("deploy", "export", "models", "hardware_configs")
WANTED = ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "Description-Content-Type")
HEAVY = ("torch", "lava")


def main() -> None:
    """Build, check, and name the two files."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    tracked = set(run("git", "-C", str(ROOT), "ls-files").split())
    check_sdist(sdist, tracked)
    version = check_wheel(wheel, tracked)
    check_installed(wheel, version)
    print(f"checked: {sdist.relative_to(ROOT)} and {wheel.relative_to(ROOT)}, version {version}")


def run(*command: str) -> str:
    """The output of a command; ends this one if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_sdist(sdist: Path, tracked: set[str]) -> None:
    """Every tracked file is there, and nothing but these and what setuptools adds."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    added = {name for name in names if name.startswith("spikecut.egg-info/") or name in ("PKG-INFO", "setup.cfg")}
    expect(f"{sdist.name}", names - added, {name for name in tracked if not name.startswith(ONLY_A_CHECKOUT)})


def check_wheel(wheel: Path, tracked: set[str]) -> str:
    """Every file of the package is there, and the metadata; the version."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(path).decode())
    package = {name for name in tracked if name.split("/")[0] in FOLDERS}
    expect(wheel.name, names, {re.sub("^(deploy/_package/|)", "spikecut/", name) for name in package})
    missing = [key for key in WANTED if not metadata[key]]
    if missing or not metadata.get_payload().strip():
        sys.exit(f"{wheel.name}: the metadata lacks {', '.join(missing) or 'the README'}")
    if any("@" in each for each in metadata.get_all("Requires-Dist", [])):
        sys.exit(f"{wheel.name}: a dependency is a link, which no registry takes")
    return str(metadata["Version"])


def expect(what: str, found: set[str], wanted: set[str]) -> None:
    """End with the difference, if there is any."""
    if found != wanted:
        sys.exit(f"{what}: missing {sorted(wanted - found)}, too much {sorted(found - wanted)}")


def check_installed(wheel: Path, version: str) -> None:
    """The wheel runs in an environment of its own, with its own dependencies and no others."""
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/bin/python"
        run(uv, "venv", "--quiet", "--python", sys.executable, folder)
        run(
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--constraint",
            str(ROOT / "requirements.lock"),
            str(wheel),
        )
        said = run(f"{folder}/bin/spikecut", "version").strip()
        if version not in said:
            sys.exit(f"spikecut version said {said!r}, expected {version}")
        run(f"{folder}/bin/spikecut", "--help")
        code = f"import spikecut, importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
        if (heavy := run(python, "-I", "-c", code).strip()) != "[]":
            sys.exit(f"the wheel's own dependencies bring {heavy}")


if __name__ == "__main__":
    main()
