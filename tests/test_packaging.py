"""The package is whole: nothing forgotten in the wheel, nothing heavy at import, nothing unpinned in the lock."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml
from packaging.requirements import Requirement

import spikecut
from spikecut import lava_repairs
from spikecut.deploy.pipeline.installation import lava

FOLDERS = ("deploy", "export", "models", "hardware_configs")
ROOT_PACKAGE = Path("deploy", "_package")
# Places that a text may point to: papers, licences, and names of XML vocabularies and of Git LFS's format. Nothing to
# download from.
CITABLE_HOSTS = {b"doi.org", b"arxiv.org", b"opensource.org", b"www.w3.org", b"git-lfs.github.com"}


def own_files(repository: Path) -> Iterator[Path]:
    """Files of the tree that .gitignore does not exclude, relative to the root."""
    ignored = [line.rstrip("/") for line in (repository / ".gitignore").read_text().split()] + [".git"]
    for folder, subfolders, names in os.walk(repository):
        subfolders[:] = [name for name in subfolders if not any(fnmatch.fnmatch(name, each) for each in ignored)]
        paths = [Path(folder, name) for name in names]
        yield from (path.relative_to(repository) for path in paths if path.is_file() and not path.is_symlink())


def name_in_package(path: Path) -> str:
    """Where a file of the tree lies in the wheel."""
    inside = path.relative_to(ROOT_PACKAGE) if path.is_relative_to(ROOT_PACKAGE) else path
    return Path("spikecut", inside).as_posix()


def package_files(repository: Path) -> set[str]:
    """Names in the wheel of every file of the four folders, notes apart, but with the cards of checkpoints."""
    inside = (path for path in own_files(repository) if path.parts[0] in FOLDERS)
    return {name_in_package(path) for path in inside if path.suffix != ".md" or path.parent.name == "pretrained"}


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomli.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def lock(repository: Path) -> str:
    return (repository / "requirements.lock").read_text()


PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def pins_of(lock: str, python: str) -> dict[str, tuple[str, int]]:
    """Name → (version, number of hashes) of each block of the lock that is for this Python, on Linux."""
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE))
    parsed: dict[str, tuple[str, int]] = {}
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux", "os_name": "posix"}
    for block in blocks:
        requirement = Requirement(block.splitlines()[0].rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.name not in parsed, f"{requirement.name} has two versions on Python {python}"
            parsed[requirement.name] = (str(requirement.specifier).removeprefix("=="), block.count("--hash=sha256:"))
    return parsed


def test_every_package_is_listed(repository: Path, project: dict[str, Any]) -> None:
    files = [path for path in own_files(repository) if path.parts[0] != "tests"]
    found = {name_in_package(path.parent) for path in files if path.name == "__init__.py"}
    found = {name.rstrip("/.").replace("/", ".") for name in found}
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_checkers_see_every_module_of_the_root_package(repository: Path) -> None:
    mirror = repository / ".typing" / "spikecut"
    links = {path.name: path.resolve() for path in mirror.iterdir() if path.is_symlink()}
    sources = [*(repository / ROOT_PACKAGE).glob("*.py"), repository / ROOT_PACKAGE / "py.typed"]
    assert links == {path.name: path for path in [*sources, *(repository / folder for folder in FOLDERS)]}


def test_wheel_holds_every_file(repository: Path, tmp_path: Path) -> None:
    for path in own_files(repository):
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / path, tmp_path / "tree" / path)
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(tmp_path / "tree")]
    built = run_python(*command)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("spikecut-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == package_files(repository)
    assert {"spikecut/py.typed", "spikecut/__main__.py", "spikecut/hardware_configs/loihi2.yaml"} <= names


def test_import_is_light() -> None:
    heavy = ("torch", "lava", "numpy", "scipy", "matplotlib", "spikecut.deploy", "spikecut.export", "spikecut.models")
    done = run_python("-c", f"import sys, spikecut; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_one_version_everywhere(repository: Path) -> None:
    assert version("spikecut") == spikecut.__version__
    citation = (repository / "CITATION.cff").read_text()
    assert f"\nversion: {spikecut.__version__}\n" in citation
    assert f"\n## [{spikecut.__version__}]" in (repository / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "command",
    [[str(Path(sys.executable).parent / "spikecut")], [sys.executable, "-m", "spikecut"]],
    ids=["script", "module"],
)
def test_help(command: list[str]) -> None:
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "spikecut" in done.stdout


def test_lock_holds_lava_and_what_it_was_made_for_on_python_3_10(lock: str) -> None:
    pins = pins_of(lock, "3.10")
    wanted = {"lava-nc": "0.10.0", "lava-dl": "0.6.0", "torch": "2.3.1", "torchvision": "0.18.1", "numpy": "1.26.4"}
    assert {name: pins[name][0] for name in wanted} == wanted


@pytest.mark.parametrize("python", PYTHONS[1:])
def test_lock_holds_lava_with_numpy_2_on_newer_pythons(lock: str, python: str) -> None:
    pins = pins_of(lock, python)
    assert (pins["lava-nc"][0], pins["lava-dl"][0], pins["numpy"][0][0]) == ("0.10.0", "0.6.0", "2")


def test_lavas_wheels_are_the_same_for_the_lock_and_install_lava(lock: str) -> None:
    for name, digest in lava.WHEELS.items():
        pinned = f"{name}=={lava_repairs.RELEASES[name]}"
        (block,) = re.findall(rf"^{re.escape(pinned)} .*(?:\n .*)+", lock, flags=re.MULTILINE)
        assert f"--hash=sha256:{digest}" in block


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_holds_every_dependency_with_hashes(lock: str, project: dict[str, Any], python: str) -> None:
    pins = pins_of(lock, python)
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    names = {re.split(r"[^A-Za-z0-9_.-]", text)[0].lower() for group in groups for text in group}
    assert names <= set(pins)
    assert [name for name, (_, hashes) in pins.items() if hashes == 0] == []


def test_bootstrap_builds_on_the_pythons_of_the_lock_and_the_classifiers(
    repository: Path, project: dict[str, Any]
) -> None:
    code = "import runpy; print(*runpy.run_path('scripts/bootstrap.py')['SUPPORTED'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == list(PYTHONS)
    classifiers = project["project"]["classifiers"]
    assert [each.split(" :: ")[-1] for each in classifiers if "Python :: 3." in each] == list(PYTHONS)


def test_bootstrap_refuses_in_one_line(repository: Path) -> None:
    for arguments, named in ((["build", "3.9"], "3.9"), (["lose"], "lose")):
        done = run_python(str(repository / "scripts" / "bootstrap.py"), *arguments)
        assert done.returncode == 1 and named in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["://", "git+", " @ ", "--index", "--extra-index", "--find-links", "--trusted-host"])
def test_lock_names_no_place(lock: str, place: str) -> None:
    assert place not in lock


def test_no_file_points_to_a_download(repository: Path) -> None:
    pattern = re.compile(rb"https?://([\w.-]+)")
    pointing = {}
    for path in own_files(repository):
        hosts = set(pattern.findall((repository / path).read_bytes())) - CITABLE_HOSTS
        if hosts:
            pointing[str(path)] = hosts
    assert pointing == {}


def test_what_the_hooks_call_is_in_the_environment(repository: Path) -> None:
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} == {"ruff", "ruff-format", "codespell", "yaml"}
    for hook in hooks:
        program = Path(shlex.split(hook["entry"])[0])
        assert program.parent == Path(".venv/bin") and (Path(sys.executable).parent / program.name).exists()


def test_templates_can_be_read(repository: Path) -> None:
    for path in (repository / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert path.name == "config.yml" or {"name", "description", "body"} == set(form)
