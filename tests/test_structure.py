"""The sizes and places that CONTRIBUTING.md names."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from order import LONGEST

CODE = ("deploy", "export", "models", "hardware_configs", "scripts", "benchmarks")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
MOST_MODULES = 14
# Folders of tests/ that mirror none of the code.
OWN = {"end_to_end", "support", "golden"}


@pytest.fixture(scope="module")
def modules(repository):
    return [path for folder in (*CODE, "tests") for path in (repository / folder).rglob("*.py")]


def test_modules_are_short(modules):
    lengths = {str(path): len(path.read_text().splitlines()) for path in modules}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_functions_are_short_or_say_why_not(modules):
    assert [found for path in modules for found in long_functions(path.read_text())] == []


def long_functions(source):
    """Functions over the limit without a comment right above them, or on the line of their def."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if not lines[first - 2].lstrip().startswith("#"):
                yield node.name


def test_a_long_function_is_found_unless_a_reason_stands_above():
    long = "def f():\n" + "    pass\n" * LONGEST_FUNCTION
    assert list(long_functions(long)) == ["f"] and list(long_functions("# A reason.\n" + long)) == []
    assert list(long_functions(long.removesuffix("    pass\n"))) == []


def test_folders_are_small(repository, modules):
    modules = [path for path in modules if not path.is_relative_to(repository / "tests") and path.stem != "__init__"]
    counts = Counter(path.parent for path in modules)
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_files_that_come_first_are_there(repository):
    assert [file for file in LONGEST if not (repository / "tests" / file).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_tests_lie_where_the_code_lies(repository):
    tests = repository / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - {Path()}
    assert [folder for folder in folders if folder.parts[0] not in OWN and not (repository / folder).is_dir()] == []
