"""A report's page: readable without JavaScript, whole without a network, and safe with names from strangers."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from html_page import Page

from spikecut.deploy.report.html.contents import Report
from spikecut.deploy.report.html.figures import paper_figures
from spikecut.deploy.report.html.page import MOST_BYTES, inlined, page
from spikecut.deploy.report.html.pareto import on_front
from spikecut.deploy.report.html.player import MIDDLE, packed
from spikecut.errors import InputError

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}\u202e"


@pytest.fixture(scope="module")
def shown(page_file):
    return Page(page_file.read_text(encoding="utf-8"))


def test_the_tables_hold_the_figures_without_any_script(shown, report):
    compare = shown.tables["Runs side by side"]
    assert [row[0] for row in compare.rows] == [run.name for run in report.runs]
    for run, row in zip(report.runs, compare.rows, strict=True):
        assert f"{100 * run.accuracy_cutoff.value:.1f}\u00a0% ({100 * run.accuracy_cutoff.low:.1f} to" in row[4]
        assert row[5].startswith(f"{run.timesteps.value:.2f} (")
        layers = shown.tables[f"Layers of {run.name}"]
        assert [line[0] for line in layers.rows] == [layer.name for layer in run.layers]
        exits = shown.tables[f"Exits of {run.name}"]
        assert sum(int(line[1]) for line in exits.rows) == run.samples
        assert len(shown.tables[f"Wrong samples of {run.name}"].rows) == len(run.wrong) == sum(run.exits.wrong)
        assert len(shown.tables[f"Ways to stop: {run.name}"].rows) == len(run.points)
        checked = shown.tables[f"Integers of {run.name} against the golden twin"]
        assert {line[-1] for line in checked.rows} == {"0"}
    terms = next(table for caption, table in shown.tables.items() if caption.startswith("loihi2: "))
    assert "costs.synop_dense.energy_pJ" in [row[0] for row in terms.rows]
    assert all(len(row) == len(table.head[0]) for table in shown.tables.values() for row in table.rows)
    text = " ".join(shown.text)
    assert "the slowest layer is conv2" in text and "integers are equal" in text


def test_whether_the_cutoff_pays_for_its_monitor_is_said_with_its_reason(shown, report):
    for run in report.runs:
        rows = shown.tables[f"Whether the cutoff of {run.name} pays for its monitor"].rows
        assert [row[:2] for row in rows if row[0] == "loihi2"] == [
            ["loihi2", "on chip"], ["loihi2", "embedded"], ["loihi2", "host"]
        ]  # fmt: skip
        for row in rows:
            assert all(
                re.match(r"(pays|does not pay|cannot be told) \(.* saved, .* spent a sample\)", row[n]) for n in (2, 3)
            )
            assert "steps after the decision" in row[4]
    without = Page(page(Report((replace(report.runs[0], monitors=()),), "0")).decode())
    assert not any("monitor" in caption for caption in without.tables)


def test_every_id_is_its_own_and_every_reference_leads_somewhere(shown):
    assert len(set(shown.ids)) == len(shown.ids)
    named = [value for _, name, value in shown.attributes if name in ("for", "aria-labelledby", "data-source")]
    named += [value[1:] for _, name, value in shown.attributes if name == "href" and value.startswith("#")]
    named += [found for _, _, value in shown.attributes for found in re.findall(r"url\(#([^)]*)\)", value)]
    assert set(named) <= set(shown.ids)


def test_screen_readers_find_headings_of_cells_and_names_of_charts(shown):
    assert all(table.caption and set(table.scopes) <= {"col", "row"} for table in shown.tables.values())
    figures = [value for tag, name, value in shown.attributes if tag == "figure" and name == "aria-label"]
    assert len(figures) == sum(tag == "figure" and name == "id" for tag, name, _ in shown.attributes) >= 10
    assert all(len(label) > 20 for label in figures)
    assert ("html", "lang", "en") in shown.attributes


def test_nothing_is_loaded_from_anywhere(shown, page_file):
    loading = [(tag, name, value) for tag, name, value in shown.attributes if not name.startswith("xmlns")]
    assert [each for each in loading if re.search(r"(https?:)?//|javascript:", each[2])] == []
    assert not any(name.startswith("on") for _, name, _ in loading)
    assert {value for _, name, value in loading if name in ("src", "href")} - {"data:,"} <= {f"#{i}" for i in shown.ids}
    (style,) = (text for _, text in shown.styles)
    assert "url(" not in style and "@import" not in style
    assert page_file.stat().st_size < MOST_BYTES / 2


def test_the_policy_allows_the_pages_own_script_and_style_alone(shown):
    policy = next(value for tag, name, value in shown.attributes if tag == "meta" and "default-src" in value)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    running = [text for given, text in shown.scripts if given.get("type") != "application/json"]
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in running]
    assert digests == [rules["script-src"]] and rules["default-src"] == rules["base-uri"] == "'none'"
    assert "connect-src" not in rules  # default-src holds: no connection at all
    assert not any(name == "style" for _, name, _ in shown.attributes)  # the policy would drop it


def test_names_from_strangers_stay_text(report):
    run = report.runs[0]
    costs = tuple(replace(cost, title=HOSTILE, assumptions=(HOSTILE,)) for cost in run.costs)
    layers = tuple(replace(layer, name=f"{HOSTILE}{n}", kind=HOSTILE) for n, layer in enumerate(run.layers))
    meshes = tuple(replace(mesh, layers=tuple(f"{HOSTILE}{n}" for n in range(3))) for mesh in run.meshes)
    bad = replace(
        run, name=HOSTILE, network=HOSTILE, dataset=HOSTILE, policy=HOSTILE, classes=(HOSTILE,) * len(run.classes),
        layers=layers, costs=costs, meshes=meshes, missing={"mesh": HOSTILE}, provenance={HOSTILE: HOSTILE},
    )  # fmt: skip
    text = page(Report((bad,), "0", report.hardware, (HOSTILE,))).decode()
    found = Page(text)
    assert len([given for given, _ in found.scripts if given.get("type") != "application/json"]) == 1
    assert not [each for each in found.attributes if each[0] == "img" or each[1].startswith("on")]
    assert "\u202e" not in text and "49" not in found.tables["Runs side by side"].rows[0][0]
    (data,) = (json.loads(content) for given, content in found.scripts if given.get("type") == "application/json")
    assert data["classes"][0] == HOSTILE
    assert "<" not in inlined({"a": HOSTILE}) and json.loads(inlined({"a": HOSTILE})) == {"a": HOSTILE}


def test_what_cannot_be_shown_is_said_in_its_place(report):
    empty = {section: f"why not {section}" for section in ("layers", "verification", "player", "mesh", "spikes")}
    run = replace(report.runs[0], played=None, verification=None, meshes=(), points=(), missing=empty)
    text = " ".join(Page(page(Report((run,), "0")).decode()).text)
    assert all(f"No {section}: why not {section}" in text for section in empty)


def test_a_report_that_would_be_too_large_is_refused(report):
    run = replace(report.runs[0], provenance={"versions": "x" * MOST_BYTES})
    with pytest.raises(InputError, match=r"the report would take [\d.]+ MB, more than 5: give fewer runs"):
        page(Report((run,), "0"))


def test_the_player_has_every_message_up_to_the_exit(report):
    played = report.runs[0].played
    data = packed(played, report.runs[0].classes, 10**7)
    assert len(data["samples"]) == 20
    for n, sample in enumerate(data["samples"]):
        steps = int(played.trace.hardware_steps[n])
        assert sample["steps"] == steps and len(sample["totals"]) == len(sample["margins"]) == sample["timesteps"]
        for layer, about, seen in zip(sample["layers"], data["layers"], played.trace.events, strict=True):
            raster = np.frombuffer(base64.b64decode(layer["raster"]), np.uint8).reshape(about["rows"], steps)
            assert layer["sent"] == seen.spikes[n, :steps].tolist()
            if about["rows"] == about["neurons"]:
                assert np.array_equal(raster != MIDDLE, seen.raster[n, :steps].T != 0)
            assert np.array_equal((raster != MIDDLE).any(axis=0), seen.raster[n, :steps].any(axis=1))
        leading = sample["shown"][int(np.argmax(sample["totals"][-1]))]
        assert leading == sample["said"]


def test_with_less_room_more_neurons_share_a_row(report):
    played = report.runs[0].played
    data = packed(played, report.runs[0].classes, 20_000)
    assert sum(len(layer["raster"]) for sample in data["samples"] for layer in sample["layers"]) < 40_000
    assert max(layer["rows"] for layer in data["layers"]) < 64


def test_the_front_holds_what_no_other_beats():
    points = [(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (4, 1)]
    assert on_front(points) == [True, True, False, False, True, True]


def test_long_names_are_short_in_charts_and_whole_in_tables(report):
    names = [f"net (/{'deep/' * 5000}{n}/run)" for n in range(2)]
    pair = tuple(replace(report.runs[0], name=name, meshes=(), played=None) for name in names)
    found = Page(page(Report(pair, "0")).decode())
    assert [row[0] for row in found.tables["Runs side by side"].rows] == names
    legend = [text for text in found.text if " … " in text and len(text) < 60]
    assert {text for text in legend if text.startswith("net (/deep")} and not any("…" in name for name in names)


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_figures_for_a_paper_are_whole_and_in_proportion(report, kind):
    drawn = paper_figures(Report(report.runs[:1], "0"), kind)
    names = {name.removesuffix(f".{kind}") for name in drawn}
    on_chips = {f"{chart}-loihi{n}" for chart in ("cost", "layers", "mesh") for n in "12"}
    assert names == {"accuracy", "exits", "raster"} | on_chips
    for name, content in drawn.items():
        if kind == "pdf":
            assert content.startswith(b"%PDF-")
            width, height = map(float, re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+)", content).groups())
        else:
            size = ElementTree.fromstring(content).attrib
            width, height = (float(size[key].removesuffix("pt")) for key in ("width", "height"))
        assert 0.9 < width / height < 5, name
