"""`spikecut hardware`: one file explained, a new one written, a file checked."""


def test_a_new_file_is_written_and_checked(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("hardware", "new", "my_chip")
    assert code == 0 and "my_chip.yaml" in out and (tmp_path / "my_chip.yaml").is_file()
    code, _, err = command("hardware", "new", "my_chip")
    assert code == 2 and "exists" in err
    code, _, err = command("hardware", "check", "my_chip.yaml")
    assert code == 2 and "cores_per_chip, cores_per_tile, mesh_columns, mesh_rows are null" in err
    assert err.count("my_chip.yaml") == 1
    code, _, err = command("hardware", "check", "none.yaml")
    assert (code, err) == (2, "spikecut: none.yaml: no such file\n")
    code, _, err = command("hardware", "new", "../elsewhere")
    assert code == 2 and "a name of letters" in err
    code, _, err = command("hardware", "new")
    assert code == 2 and "say its name" in err


def test_a_shipped_file_is_checked_and_still_explained_by_name(command, repository):
    code, out, _ = command("hardware", "check", repository / "hardware_configs" / "loihi2.yaml")
    assert code == 0 and "can be used" in out and "monitor.host.energy_pJ_per_step" in out
    code, out, _ = command("hardware", "loihi2")
    assert code == 0 and "costs.spike.energy_pJ" in out
    code, _, err = command("hardware", "loihi2", "more")
    assert code == 2 and "one hardware file" in err
