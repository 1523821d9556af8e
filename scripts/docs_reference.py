"""The pages of the site that are made from the code: a hook of mkdocs.yml.

reference/python.md has every public name with its docstring, reference/cli.md every command with its options, and
decisions/index.md the list of the decision records.
"""

import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import spikecut
from spikecut.deploy.cli.parameters.choices import KINDS

PYTHON = """# Python, from the docstrings

Every public name, as its docstring has it; [the overview](../api.md) is shorter.
"""
COMMANDS = """# Command line

Made by typer from the help of every command.

"""
NAMED = {"BACKEND": "backends", "POLICY": "policies"}
"""Metavars in whose place the commands' own --help shows the names."""
ANOTHER_HOME = {"export": "deploy.pipeline.public.export"}
"""`spikecut.export` is a package, too: where the function is."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files of docs/."""
    pages = {
        "reference/python.md": PYTHON
        + "".join(f"\n::: spikecut.{ANOTHER_HOME.get(name, name)}\n" for name in public_names()),
        "reference/cli.md": COMMANDS + commands(),
        "decisions/index.md": "# Decisions\n\nWhy things are as they are.\n\n" + decisions(Path(config.docs_dir)),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def public_names() -> list[str]:
    """`spikecut.__all__`: functions first, then types."""
    names = [name for name in spikecut.__all__ if not name.startswith("__")]
    return sorted(names, key=lambda name: (name[0].isupper(), name.lower()))


def commands() -> str:
    """The commands with their options, in Markdown."""
    made = [sys.executable, "-m", "typer", "spikecut.deploy.cli.main", "utils", "docs", "--name", "spikecut"]
    text = subprocess.run(made, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    for metavar, kind in NAMED.items():  # typer's own pages do not ask the command for its help
        text = re.sub(rf"\b{metavar}\b(?=`)", "|".join(KINDS[kind]()), text)
    return text.partition("\n")[2].replace("<", "&lt;")


def decisions(docs: Path) -> str:
    """A line for each record, with its title."""
    records = sorted((docs / "decisions").glob("[0-9]*.md"))
    titles = [record.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for record in records]
    return "".join(f"- [{title}]({record.name})\n" for title, record in zip(titles, records, strict=True))
