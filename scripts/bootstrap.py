#!/usr/bin/env python3
"""Build .venv with Python 3.10 and the locked packages, or renew the lock; runs on any Python from 3.8.

    python3 scripts/bootstrap.py              build .venv, or leave it alone where it is up to date
    python3 scripts/bootstrap.py lock [...]   resolve pyproject.toml anew (--upgrade: to the newest versions)

PYTHON310 names the interpreter to build on; without it the usual places are searched.
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
STAMP = VENV / "up-to-date"
PRIVATE_UV = ROOT / ".uv"
UV_VERSION = "0.13.9"
UV_OLDEST = (0, 5)
# What numpy, torch, torchvision and Lava's shared memory need of an interpreter and small builds lack.
MODULES = "bz2, ctypes, hashlib, lzma, multiprocessing.shared_memory, ssl, zlib"
# A virtual environment is traced back to its base: it may be the .venv that is about to go.
PROBE = f"""
import os, sys
base = os.path.join(sys.base_prefix, "bin", "python3.10")
print(sys.version_info[:2] == (3, 10), sys.executable if sys.prefix == sys.base_prefix else base)
import {MODULES}
"""
HOW_TO_GET_ONE = (
    "install one (apt install python3.10, brew install python@3.10, pyenv install 3.10, or conda), "
    "then run again, if need be with PYTHON310=/path/to/python3.10"
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


def why_not(python: str) -> tuple[str, str]:
    """(path, "") of a Python 3.10 fit for use, or ("", reason)."""
    status, output, complaint = output_of([python, "-c", PROBE])
    if not output:
        return "", complaint
    is_310, _, executable = output.partition(" ")
    if is_310 != "True":
        return "", "is not Python 3.10"
    return (executable, "") if status == 0 else ("", complaint)


def candidates() -> Iterator[str]:
    """Every place where a Python 3.10 is likely to be."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(folder or ".", "python3.10")
    yield sys.executable
    home = Path.home()
    shared = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    places = [
        (Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"), "versions/3.10*/bin/python3.10"),
        (Path("/usr/bin"), "python3.10"),
        (Path("/usr/local"), "bin/python3.10"),
        (Path("/usr/local/opt"), "python@3.10/bin/python3.10"),
        (Path("/opt"), "*/bin/python3.10"),
        (Path("/opt/homebrew/opt"), "python@3.10/bin/python3.10"),
        (home, ".local/bin/python3.10"),
        (Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or shared / "uv" / "python"), "cpython-3.10*/bin/python3.10"),
    ]
    for root, pattern in places:
        for path in sorted(root.glob(pattern), key=by_version, reverse=True):
            yield str(path)


def by_version(path: Path) -> list[int]:
    """Sort key that puts 3.10.9 before 3.10.13."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def find_python(uv: str) -> str:
    """Path of a Python 3.10; Failure if there is none and uv cannot fetch one."""
    named = os.environ.get("PYTHON310")
    if named:
        python, reason = why_not(named)
        if not python:
            raise Failure(f"PYTHON310={named} is no working Python 3.10: {reason}")
        return python
    unfit = ""
    for candidate in dict.fromkeys(candidates()):
        if not os.access(candidate, os.X_OK):
            continue
        python, reason = why_not(candidate)
        if python:
            return python
        if os.path.basename(candidate) == "python3.10":
            unfit = f"; {candidate} is unfit: {reason}"
    ask_uv = [uv, "python", "find", "--system", "3.10"]
    python, _ = why_not(output_of(ask_uv)[1] or "python3.10")
    if python:
        return python
    say("no Python 3.10 here, asking uv to fetch one")
    output_of([uv, "python", "install", "3.10"])
    python, _ = why_not(output_of(ask_uv)[1] or "python3.10")
    if not python:
        raise Failure(f"no Python 3.10 found and uv could not fetch one{unfit}: {HOW_TO_GET_ONE}")
    return python


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
    if status != 0:
        raise Failure(
            f"{sys.executable} cannot make a virtual environment ({complaint}): "
            "install its venv module (apt install python3-venv) or put uv on PATH"
        )
    python = str(PRIVATE_UV / "bin" / "python")
    otherwise = "pip could not install uv, see its message above: check the network or put uv on PATH"
    run([python, "-m", "pip", "install", "-qq", f"uv=={UV_VERSION}"], otherwise)
    if not works(str(private)):
        raise Failure(f"{private} does not run on this machine: put uv on PATH")
    return str(private)


def stamp_of_today() -> list[str]:
    """What .venv was built for: its place, which its scripts hold, and a digest of the files that it depends on."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "deploy" / "_package" / "__init__.py"):
        digest.update(path.read_bytes())
    return [str(ROOT), digest.hexdigest()]


def build() -> None:
    """Bring .venv up to date. The stamp is written last: without it .venv is incomplete and is built anew."""
    python = str(VENV / "bin" / "python")
    stamp = STAMP.read_text().splitlines() if STAMP.is_file() else []
    wanted = stamp_of_today()
    usable = stamp[:1] == wanted[:1] and why_not(python)[0] != ""
    if usable and stamp == wanted:
        return
    uv = find_uv()
    if not usable:
        base = find_python(uv)
        say(f"building {VENV.name} on {base}")
        if VENV.exists():
            shutil.rmtree(VENV)
        run([uv, "venv", "--quiet", "--python", base, str(VENV)], f"could not create {VENV.name}")
    STAMP.unlink(missing_ok=True)
    cache = output_of([uv, "cache", "dir"])[1]
    if os.path.isdir(cache) and os.stat(cache).st_dev != os.stat(VENV).st_dev:
        os.environ.setdefault("UV_LINK_MODE", "copy")
    say("installing requirements.lock (an empty cache means a download of about 3 GB)")
    install_locked(uv, python)
    STAMP.write_text("\n".join(wanted))
    say(f"{VENV.name} is ready")


def install_locked(uv: str, python: str) -> None:
    """Make the packages of .venv those of requirements.lock, and spikecut itself, editable."""
    to_it = ["--python", python] if sys.stderr.isatty() else ["--quiet", "--python", python]
    run(
        [uv, "pip", "sync", *to_it, "--require-hashes", str(LOCK)],
        f"could not install {LOCK.name}: see uv's message above",
    )
    run(
        [uv, "pip", "install", *to_it, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
        "could not install spikecut itself: see uv's message above",
    )


def lock(arguments: list[str]) -> None:
    """Resolve pyproject.toml with all its extras into requirements.lock, which names no index and no host."""
    uv = find_uv()
    command = [uv, "pip", "compile", "pyproject.toml", "--output-file", LOCK.name, "--quiet"]
    command += ["--all-extras", "--universal", "--python-version", "3.10", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    run([*command, *arguments], "could not resolve pyproject.toml: see uv's message above")


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 failed with one line said, 130 interrupted."""
    guard = os.open(str(ROOT), os.O_RDONLY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # a second make waits for the first
        if arguments[:1] == ["lock"]:
            lock(arguments[1:])
        elif arguments:
            raise Failure(f"unknown argument {arguments[0]}: use no argument, or lock")
        else:
            build()
    except Failure as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("interrupted; run again to finish")
        return 130
    finally:
        os.close(guard)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
