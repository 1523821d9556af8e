"""A folder of results is replaced whole, whenever the process is killed, and only if nothing else is in it."""

import json
import shutil
from itertools import count

import pytest
from kills import killed_before_step

from spikecut import folders
from spikecut.errors import InputError
from spikecut.files import write_json
from spikecut.folders import FolderKind, check_folder, earlier_of, replacing_folder

KIND = FolderKind("result", "mark.json", lambda data: "result" in data, ("mark.json", "parts", "parts/*.txt"))


def write(target, text, overwrite=True):
    with replacing_folder(target, KIND, overwrite) as folder:
        (folder / "mark.json").write_text(json.dumps({"result": text}))
        (folder / "parts").mkdir()
        for number in range(2):
            (folder / "parts" / f"{number}.txt").write_text(text)


def content(target):
    """What the folder holds, which must be a whole result."""
    found = {path.name: path.read_text() for path in target.rglob("*") if path.is_file()}
    text = json.loads(found.pop("mark.json"))["result"]
    assert found == {f"{number}.txt": text for number in range(2)}
    return text


@pytest.mark.slow
@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_process_killed_at_any_step_leaves_the_old_result_or_the_new_one(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:  # as on a file system that cannot exchange two names
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    for step in count(1):
        target = tmp_path / str(step) / "run"
        write(target, "old")
        killed = killed_before_step(step, lambda target=target: write(target, "new"))
        if not killed:
            break
        if not target.exists():
            assert not in_one_step and content(earlier_of(target)) == "old"
        elif earlier_of(target).exists():
            assert not in_one_step and (content(target), content(earlier_of(target))) == ("new", "old")
            with pytest.raises(InputError, match=r"run\.spikecut-earlier holds an earlier result"):
                check_folder(target, KIND, overwrite=True)
            shutil.rmtree(earlier_of(target))
        check_folder(target, KIND, overwrite=True)
        assert content(target) in ("old", "new")
        write(target, "third")
        assert content(target) == "third" and [path.name for path in target.parent.iterdir()] == ["run"]
    assert step > 10 and content(target) == "new"
    assert [path.name for path in target.parent.iterdir()] == ["run"]


def test_a_folder_that_is_removed_while_it_is_written_is_no_result(tmp_path):
    with (
        pytest.raises(InputError, match="was removed while the result was written there: run it again"),
        replacing_folder(tmp_path / "run", KIND, overwrite=False) as folder,
    ):
        (folder / "parts").mkdir()
        shutil.rmtree(folder)
        write_json(folder / "mark.json", {"result": "half"})
    assert list(tmp_path.iterdir()) == []


def test_a_result_set_aside_is_put_back_or_named_but_never_lost(tmp_path):
    target = tmp_path / "run"
    write(earlier_of(target), "old")
    with pytest.raises(InputError, match="holds an earlier result: choose"):
        check_folder(target, KIND, overwrite=False)
    assert content(target) == "old"
    write(earlier_of(target), "older")
    with pytest.raises(InputError, match=r"run\.spikecut-earlier holds an earlier result"):
        write(target, "new")
    assert content(target) == "old" and content(earlier_of(target)) == "older"


@pytest.mark.parametrize("foreign", ["notes.txt", "parts/notes.md", "parts/mine/0.txt", "mine", "parts.txt"])
def test_what_the_command_did_not_write_is_never_removed(tmp_path, foreign):
    target = tmp_path / "run"
    write(target, "old")
    (target / foreign).parent.mkdir(exist_ok=True)
    (target / foreign).write_text("mine")
    with pytest.raises(InputError, match=rf"also holds .*{foreign}, which no result wrote"):
        write(target, "new")
    assert (target / foreign).read_text() == "mine"


def test_what_came_while_it_was_written_is_not_removed_either(tmp_path):
    target = tmp_path / "run"
    write(target, "old")
    with pytest.raises(InputError, match=r"notes\.txt"), replacing_folder(target, KIND, overwrite=True):
        (target / "notes.txt").write_text("mine")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["0.txt", "1.txt", "mark.json", "notes.txt"]


def test_the_working_folder_and_those_above_it_are_refused(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for name in (".", "..", "", tmp_path):
        with pytest.raises(InputError, match="working folder"):
            write(tmp_path / "inner" / name, "new")
    write(tmp_path / "inner" / "run", "new")
    assert content(tmp_path / "inner" / "run") == "new"


def test_a_link_is_followed_and_stays(tmp_path):
    write(tmp_path / "disk" / "run", "old")
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "run")
    write(tmp_path / "run", "new")
    assert (tmp_path / "run").is_symlink() and content(tmp_path / "disk" / "run") == "new"
