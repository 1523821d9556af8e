#!/usr/bin/env python3
"""Build virtual environments with the locked packages, or renew the lock; runs on any Python from 3.8.

    python3 scripts/bootstrap.py              build .venv on the newest Python, or leave it alone where it is up to date
    python3 scripts/bootstrap.py build 3.10   build .venvs/3.10 on that Python
    python3 scripts/bootstrap.py versions     the Pythons that are found, newest first
    python3 scripts/bootstrap.py lock [...]   resolve pyproject.toml anew (--upgrade: to the newest versions)

SPIKECUT_PYTHON names the interpreter of .venv, by its path or as 3.12; without it the usual places are searched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
OTHER_VENVS = ROOT / ".venvs"
PRIVATE_UV = ROOT / ".uv"
SUPPORTED = ("3.13", "3.12", "3.11", "3.10")
UV_VERSION = "0.13.9"
UV_OLDEST = (0, 5)
# What numpy, torch, torchvision and Lava's shared memory need of an interpreter and small builds lack.
MODULES = "bz2, ctypes, hashlib, lzma, multiprocessing.shared_memory, ssl, zlib"
# A virtual environment is traced back to its base: it may be the .venv that is about to go.
PROBE = f"""
import os, sys
version = "%d.%d" % sys.version_info[:2]
base = os.path.join(sys.base_prefix, "bin", "python" + version)
print(version, sys.executable if sys.prefix == sys.base_prefix else base)
import {MODULES}
"""
HOW_TO_GET_ONE = (
    "install one (apt install python3, brew install python, pyenv install 3.13, or conda), "
    "then run again, if need be with SPIKECUT_PYTHON=/path/to/python3"
)


class Failure(Exception):
    """One line for the user."""


def say(line: str) -> None:
    """Print a line of progress at once."""
    print("bootstrap: " + line, file=sys.stderr, flush=True)


def run(command: list[str], otherwise: str) -> None:
    """Run a command and let it print; Failure if it does not succeed."""
    try:
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    except OSError as error:
        raise Failure(f"{otherwise} ({error})") from error
    if status != 0:
        raise Failure(otherwise)


def output_of(command: list[str]) -> tuple[int, str, str]:
    """Exit status, standard output and one line of complaint of a command; status 127 if it cannot start."""
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
    complaint = said.splitlines()[-1] if said.startswith("Traceback") else " ".join(said.split("\n\n")[0].split())
    return done.returncode, done.stdout.strip(), complaint


def why_not(python: str, version: str = "") -> tuple[str, str, str]:
    """(path, its version, "") of a Python fit for use, of this version if given; or ("", its version, reason)."""
    status, output, complaint = output_of([python, "-c", PROBE])
    if not output:
        return "", "", complaint
    found, _, executable = output.partition(" ")
    if found not in ((version,) if version else SUPPORTED):
        return "", found, f"is Python {found}, not {version or ' or '.join(SUPPORTED)}"
    return (executable, found, "") if status == 0 else ("", found, complaint)


def candidates(version: str) -> Iterator[str]:
    """Every place where a Python of this version is likely to be."""
    name = f"python{version}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(folder or ".", name)
    if sys.version_info[:2] == tuple(int(number) for number in version.split(".")):
        yield sys.executable
    home = Path(os.path.expanduser("~"))
    shared = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    places = [
        (Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"), f"versions/{version}*/bin/{name}"),
        (Path("/usr/bin"), name),
        (Path("/usr/local"), f"bin/{name}"),
        (Path("/usr/local/opt"), f"python@{version}/bin/{name}"),
        (Path("/opt"), f"*/bin/{name}"),
        (Path("/opt/homebrew/opt"), f"python@{version}/bin/{name}"),
        (home, f".local/bin/{name}"),
        (
            Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or shared / "uv" / "python"),
            f"cpython-{version}[.-]*/bin/{name}",
        ),
    ]
    for root, pattern in places:
        for path in sorted(root.glob(pattern), key=by_version, reverse=True):
            yield str(path)


def by_version(path: Path) -> list[int]:
    """Sort key that puts 3.10.9 before 3.10.13."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def find_version(version: str) -> tuple[str, str]:
    """(path, "") of a Python of this version in the usual places, or ("", why the last one found is unfit)."""
    unfit = ""
    for candidate in dict.fromkeys(candidates(version)):
        if not os.access(candidate, os.X_OK):
            continue
        python, _, reason = why_not(candidate, version)
        if python:
            return python, ""
        unfit = f"{candidate} is unfit: {reason}"
    return "", unfit


def find_python(wanted: str) -> tuple[str, str]:
    """(path, version) of the Python that is named, or of the newest there is; Failure if uv cannot fetch one either."""
    if wanted and wanted not in SUPPORTED:
        python, version, reason = why_not(wanted)
        if not python:
            raise Failure(f"SPIKECUT_PYTHON={wanted} is no Python for spikecut: {reason}")
        return python, version
    versions = (wanted,) if wanted else SUPPORTED
    unfit = ""
    for version in versions:
        python, reason = find_version(version)
        if python:
            return python, version
        unfit = unfit or reason
    say(f"no Python {' or '.join(versions)} here{f' ({unfit})' if unfit else ''}, asking uv to fetch one")
    uv = find_uv()
    for version in versions:
        output_of([uv, "python", "install", version])
        python, _, _ = why_not(output_of([uv, "python", "find", "--system", version])[1] or f"python{version}", version)
        if python:
            return python, version
    raise Failure(f"no Python {' or '.join(versions)} found, and uv could not fetch one: {HOW_TO_GET_ONE}")


def works(uv: str) -> bool:
    """Whether this uv runs and is new enough."""
    status, output, _ = output_of([uv, "--version"])
    numbers = re.findall(r"\d+", output)
    return status == 0 and tuple(int(n) for n in numbers[:2]) >= UV_OLDEST


def find_uv() -> str:
    """Path of uv: the one on PATH, or a private one under .uv, installed by pip if it is missing."""
    on_path = shutil.which("uv")
    if on_path and works(on_path):
        return on_path
    private = PRIVATE_UV / "bin" / "uv"
    if works(str(private)):
        return str(private)
    say(f"installing uv {UV_VERSION} into {PRIVATE_UV.name}/")
    status, _, complaint = output_of([sys.executable, "-m", "venv", "--clear", str(PRIVATE_UV)])
    python, into = str(PRIVATE_UV / "bin" / "python"), []
    if status != 0:  # Debian's python3 without python3-venv; its pip, if there is one, can still fill a folder
        shutil.rmtree(str(PRIVATE_UV), ignore_errors=True)  # pip leaves out the commands where there is a bin already
        python, into = sys.executable, ["--target", str(PRIVATE_UV)]
        if output_of([python, "-m", "pip", "--version"])[0] != 0:
            raise Failure(
                f"{sys.executable} has neither venv ({complaint}) nor pip: "
                "install one of them (apt install python3-venv) or put uv on PATH"
            )
    otherwise = "pip could not install uv, see its message above: check the network or put uv on PATH"
    run([python, "-m", "pip", "install", "-qq", *into, f"uv=={UV_VERSION}"], otherwise)
    if not works(str(private)):
        raise Failure(f"{private} does not run on this machine: put uv on PATH")
    return str(private)


def stamp_of_today() -> list[str]:
    """What an environment is built for: its place, which its scripts hold, and a digest of the files it depends on."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "deploy" / "_package" / "__init__.py"):
        digest.update(path.read_bytes())
    return [str(ROOT), digest.hexdigest()]


def build(venv: Path, wanted: str) -> None:
    """Bring an environment up to date, on the Python that is wanted or else the newest.

    The stamp is written last: without it the environment is incomplete and is built anew.
    """
    python, stamp_file = str(venv / "bin" / "python"), venv / "up-to-date"
    stamp = stamp_file.read_text().splitlines() if stamp_file.is_file() else []
    today = [*stamp_of_today(), wanted or "newest"]
    fit, version, _ = why_not(python) if stamp[:1] == today[:1] else ("", "", "")
    built_on = version if fit else ""
    if built_on and stamp == today:
        return
    base, version = find_python(wanted)
    uv = find_uv()
    if built_on != version or (wanted and os.path.realpath(fit) != os.path.realpath(base)):
        say(f"building {venv.relative_to(ROOT)} on {base}")
        if venv.exists():
            shutil.rmtree(venv)
        run([uv, "venv", "--quiet", "--python", base, str(venv)], f"could not create {venv.name}")
    stamp_file.unlink(missing_ok=True)
    cache = output_of([uv, "cache", "dir"])[1]
    if os.path.isdir(cache) and os.stat(cache).st_dev != os.stat(venv).st_dev:
        os.environ.setdefault("UV_LINK_MODE", "copy")
    say("installing requirements.lock (an empty cache means a download of about 3 GB)")
    install_locked(uv, python)
    stamp_file.write_text("\n".join(today))
    say(f"{venv.relative_to(ROOT)} is ready, on Python {version}")


def install_locked(uv: str, python: str) -> None:
    """Make the packages of an environment those of requirements.lock, and spikecut itself, editable."""
    to_it = ["--python", python] if sys.stderr.isatty() else ["--quiet", "--python", python]
    run(
        [uv, "pip", "sync", *to_it, "--require-hashes", str(LOCK)],
        f"could not install {LOCK.name}: see uv's message above",
    )
    run(
        [uv, "pip", "install", *to_it, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
        "could not install spikecut itself: see uv's message above",
    )


def versions() -> list[str]:
    """The supported Pythons that are found here, newest first; Failure if there are none."""
    found = [version for version in SUPPORTED if find_version(version)[0]]
    if not found:
        raise Failure(f"no Python {' or '.join(SUPPORTED)} found: {HOW_TO_GET_ONE}")
    return found


def lock(arguments: list[str]) -> None:
    """Resolve pyproject.toml with all its extras into requirements.lock, which names no index and no host."""
    uv = find_uv()
    command = [uv, "pip", "compile", "pyproject.toml", "--group", "lava", "--output-file", LOCK.name, "--quiet"]
    command += ["--all-extras", "--universal", "--python-version", "3.10", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    run([*command, *arguments], "could not resolve pyproject.toml: see uv's message above")


def do(arguments: list[str]) -> None:
    """What the arguments ask for; Failure where they are unknown or it cannot be done."""
    if not arguments:
        build(VENV, os.environ.get("SPIKECUT_PYTHON", ""))
    elif arguments[0] == "lock":
        lock(arguments[1:])
    elif arguments == ["versions"]:
        print(" ".join(versions()))
    elif arguments[0] == "build" and len(arguments) == 2 and arguments[1] in SUPPORTED:
        build(OTHER_VENVS / arguments[1], arguments[1])
    else:
        raise Failure(
            f"unknown arguments {' '.join(arguments)}: use none, lock, versions, or build and one of "
            f"{', '.join(SUPPORTED)}"
        )


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 failed with one line said, 130 interrupted."""
    try:
        with open(str(ROOT / ".bootstrap.lock"), "a") as guard:  # a file: NFS locks no folder
            fcntl.flock(guard, fcntl.LOCK_EX)  # a second make waits for the first
            do(arguments)
    except Failure as failure:
        say(str(failure))
        return 1
    except OSError as error:
        say(f"{error}: mend that, or remove {VENV.name} and run again")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run again to finish")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
