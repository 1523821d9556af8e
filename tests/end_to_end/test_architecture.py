"""docs/architecture.md tells the truth: its paths exist, its tree is the tree, its journeys are those of the code."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

ROOTS = ("models", "export", "deploy", "hardware_configs")
PATH = re.compile(r"`((?:deploy|export|models|hardware_configs|tests|docs|scripts|benchmarks)(?:/[\w.*-]+)+)`")
TRACER = """
    import sys
    from pathlib import Path
    import spikecut.deploy.cli.main as command

    root, seen = sys.argv.pop(1), set()

    def note(code):
        if code.co_filename.startswith(root):
            seen.add(code.co_filename[len(root) + 1 :])

    if sys.version_info >= (3, 12):  # tells of each function once, where a profiler is called at every call

        def started(code, offset):
            note(code)
            return sys.monitoring.DISABLE

        sys.monitoring.use_tool_id(sys.monitoring.PROFILER_ID, "journey")
        sys.monitoring.register_callback(sys.monitoring.PROFILER_ID, sys.monitoring.events.PY_START, started)
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, sys.monitoring.events.PY_START)
    else:
        sys.setprofile(lambda frame, event, argument: event == "call" and note(frame.f_code))
    try:
        command.main()
    except SystemExit as stopped:
        assert not stopped.code, stopped.code
    finally:
        sys.setprofile(None)
        Path("seen.txt").write_text("\\n".join(sorted(seen)))
"""
JOURNEYS = {
    "export": "export lif.safetensors --out out",
    "run": "run bundle --dataset samples.npz --samples 2 --also-full --out out",
}


@pytest.fixture(scope="module")
def text(repository):
    return (repository / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_path_that_the_documents_name_exists(repository):
    documents = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    missing = {
        (document.name, path)
        for document in documents
        for path in PATH.findall(document.read_text(encoding="utf-8"))
        if not list(repository.glob(path))
    }
    assert missing == set()


def test_every_link_between_documents_leads_somewhere(repository):
    for document in [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_table_lists_every_folder_once(repository, text):
    listed = re.findall(r"^\| `([\w/]+)` \|", text, re.MULTILINE)
    packages = {
        path.parent.relative_to(repository).as_posix()
        for root in ROOTS
        for path in (repository / root).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(packages)


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_journey_names_each_file_once_and_the_code_takes_it(repository, text, tmp_path, journey):
    (section,) = re.findall(rf"^## `spikecut {journey} .*?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    named = [path for path in PATH.findall(section) if path.endswith(".py")]
    assert len(named) == len(set(named)) > 15
    shutil.copytree(repository / "tests" / "golden" / "format_1", tmp_path / "golden")
    command = [sys.executable, "-c", textwrap.dedent(TRACER), str(repository), *JOURNEYS[journey].split()]
    done = subprocess.run(
        command, cwd=tmp_path / "golden", capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = (tmp_path / "golden" / "seen.txt").read_text().split()
    assert sorted(set(named) - set(seen)) == []
