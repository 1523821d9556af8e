"""The sweep: each point is what the policy does when it runs, its costs those of the halted run."""

import json

import numpy as np
import pytest
from cutoff_scores import score_family
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.halted import halted
from spikecut.deploy.cost.savings import savings
from spikecut.deploy.cutoff import FixedTimestep, TopK, apply_policy, policy_from_dict
from spikecut.deploy.cutoff.base import LabelledScores
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.report.plots import save
from spikecut.deploy.report.sweep_plots import energy_figure, savings_figure, sweep_figures
from spikecut.deploy.sweep import costs as sweep_costs
from spikecut.deploy.sweep.conclusions import conclusions
from spikecut.deploy.sweep.costs import exit_costs, measure, stream_ratios
from spikecut.deploy.sweep.sweep import EPSILONS, POLICIES, ExitCosts, sweep
from spikecut.errors import InputError, Refusal


def both_splits(kind="membrane", horizon=8):
    scores, labels = score_family(kind, 1200, 0, horizon)
    return (scores[:, :600], labels[:600]), (scores[:, 600:], labels[600:])


def invented_costs(samples, horizon=8):
    steps = np.arange(1.0, horizon + 1)[:, None] * np.ones(samples)
    return ExitCosts(np.stack([steps, 0.5 * steps, 2 * steps]), np.stack([steps + 3, steps, steps + 9]))


@pytest.fixture(scope="module")
def swept():
    calibration, test = both_splits()
    costs = {"chip": invented_costs(600), "other": Refusal("other", "cannot run here: soft reset")}
    return sweep(LabelledScores.of(*calibration), LabelledScores.of(*test), 3, costs=costs)


def test_each_point_is_the_calibrated_policy_on_the_test_samples(swept):
    calibration, (scores, labels) = both_splits()
    assert len(swept.points) == 5 * 50 == len(POLICIES) * len(EPSILONS)
    assert swept.policies == POLICIES
    for point in swept.points[::7]:
        policy = calibrate(*calibration, policy=point.policy, epsilon=point.epsilon).policy
        exits = apply_policy(policy, scores)
        assert point.cutoff == policy
        assert point.accuracy == (exits.predictions == labels).mean()
        assert point.mean_timesteps == exits.timesteps.mean()
        assert point.naive == pytest.approx(exits.timesteps.mean() / 8)
        assert point.isolated == pytest.approx((exits.timesteps + 3).mean() / 11)
        assert point.streaming == pytest.approx(np.minimum(exits.timesteps + 3, 8).mean() / 8)
        right_at_end = scores.sum(axis=0).argmax(axis=1) == labels
        assert point.lost == (right_at_end & (exits.predictions != labels)).mean()
        low, high = point.interval
        assert low < point.accuracy < high
        value, low, high = point.costs["chip"]["latency_s"]
        mean = exits.timesteps.mean()
        assert (value, low, high) == pytest.approx((mean, 0.5 * mean, 2 * mean))
        assert point.costs["chip"]["energy_j"][0] == pytest.approx(mean + 3)


def test_the_bounds_are_the_full_horizon_and_the_optimum(swept):
    _, (scores, labels) = both_splits()
    right = scores.cumsum(axis=0).argmax(axis=2) == labels
    assert swept.accuracy_at.tolist() == right.mean(axis=1).tolist()
    assert swept.accuracy_full == right[-1].mean()
    assert swept.full_costs["chip"]["latency_s"][0] == 8.0
    assert swept.refusals == {"other": Refusal("other", "cannot run here: soft reset")}


def test_the_best_point_on_the_test_samples_loses_no_more_than_it_may(swept):
    for policy in POLICIES:
        best = swept.best(policy, on="test")
        kept = [p for p in swept.of(policy) if (swept.accuracy_full - p.accuracy) * 600 <= 0.003 * 600 + 1e-9]
        assert (best is None) == (not kept)
        if best is not None:
            assert best in kept
            assert best.mean_timesteps == min(point.mean_timesteps for point in kept)
    fewest = min(p.mean_timesteps for p in swept.of("topk"))
    assert swept.best("topk", accuracy_lost=1.0, on="test").mean_timesteps == fewest


def test_the_calibration_samples_choose_the_best_point_and_the_test_samples_have_no_say(swept):
    (scores, labels), (_, test_labels) = both_splits()
    full = (scores.sum(axis=0).argmax(axis=1) == labels).sum()
    for policy in POLICIES:
        kept = []
        for point in swept.of(policy):
            exits = apply_policy(point.cutoff, scores)
            right = (exits.predictions == labels).sum()
            assert (point.calibration_accuracy, point.calibration_timesteps) == (right / 600, exits.timesteps.mean())
            if full - right <= 0.003 * 600:
                kept.append((exits.timesteps.mean(), point))
        assert swept.best(policy) is (min(kept, key=lambda pair: pair[0])[1] if kept else None)
    calibration, (test_scores, _) = both_splits()
    wrong = LabelledScores.of(test_scores, (test_labels + 1) % test_scores.shape[2])
    other = sweep(LabelledScores.of(*calibration), wrong, 3)
    assert [other.best(name).epsilon for name in POLICIES] == [swept.best(name).epsilon for name in POLICIES]
    said = conclusions(swept)[0]
    assert "Chosen on the 600 calibration samples" in said and "On the 600 test samples" in said


def test_it_is_json(swept):
    data = json.loads(json.dumps(swept.to_dict(), allow_nan=False))
    assert policy_from_dict(data["points"][60]["cutoff"]) == swept.points[60].cutoff


def test_words_for_a_pipeline_that_saves_no_throughput():
    calibration, test = (LabelledScores.of(*split) for split in both_splits(horizon=4))
    deep = " ".join(conclusions(sweep(calibration, test, depth=3, policies=["topk"], epsilons=[0.001, 0.01])))
    assert "Back to back the cutoff does not pay: with P = 3 and T = 4" in deep
    very = " ".join(conclusions(sweep(calibration, test, depth=200, policies=["topk"], epsilons=[0.001, 0.01])))
    assert "For single samples the cutoff does not pay" in very
    shallow = " ".join(conclusions(sweep(calibration, test, depth=1, policies=["topk"], epsilons=[0.001, 0.01])))
    assert "does not pay" not in shallow
    assert "% of the steps are saved" in shallow


def test_words_where_nothing_keeps_the_accuracy():
    calibration, test = (LabelledScores.of(*split) for split in both_splits())
    lossy = sweep(calibration, test, depth=1, policies=["topk"], epsilons=[0.9])
    assert conclusions(lossy) == (f"No policy keeps the accuracy within 0.3 points of the full horizon's "
        f"{100 * lossy.calibration_accuracy_full:.2f} % on the calibration samples: none pays here.",)  # fmt: skip
    with pytest.raises(InputError, match="nothing to compare"):
        savings_figure(lossy)
    assert set(sweep_figures(lossy)) == {"accuracy-timesteps"}


def test_splits_that_do_not_fit():
    calibration, test = (LabelledScores.of(*split) for split in both_splits())
    shorter = LabelledScores(test.totals[:5], test.labels)
    with pytest.raises(InputError, match="same network"):
        sweep(calibration, shorter, 1)
    with pytest.raises(InputError, match="other samples"):
        sweep(calibration, test, 1, costs={"chip": invented_costs(599)})


@pytest.mark.parametrize("case", [{}, {"soft": True, "graded": True, "membrane": True}])
def test_costs_at_the_exits_are_those_of_the_halted_run(case):
    """A table made from one full run against a run that the policy really halted."""
    network = random_network(4, **case)
    inputs = random_inputs(network, 30)
    full = run_batched(network, inputs, record="all")
    totals = full.scores.cumsum(axis=0)
    best = np.sort(totals, axis=2)
    policy = TopK(tuple(int(np.median(gap)) for gap in best[..., -1] - best[..., -2]))
    cut = run_batched(network, inputs, policy, record="all")
    assert len(np.unique(cut.timesteps)) > 2
    for name in ("loihi1", "loihi2"):
        hardware = load_hardware(name)
        table = exit_costs(full, hardware, hypothetical=True)
        expected = estimate(cut, hardware, hypothetical=True)
        rows = (cut.timesteps - 1, np.arange(30))
        for measured, band in ((table.latency_s, expected.latency_s), (table.energy_j, expected.energy_j)):
            for edge, name_of_edge in zip(measured, ("value", "low", "high"), strict=True):
                np.testing.assert_allclose(edge[rows], getattr(band, name_of_edge), rtol=1e-12)
        means = table.means(cut.timesteps)
        assert means["energy_j"][0] == pytest.approx(expected.energy_j.value.mean(), rel=1e-12)


def test_a_prefix_is_the_run_of_a_fixed_timestep():
    network = random_network(3)
    inputs = random_inputs(network, 5)
    full, cut = run_batched(network, inputs, record="all"), run_batched(network, inputs, FixedTimestep(2), record="all")
    short = halted(full, np.full(full.samples, 2))
    assert short.reason == cut.reason
    np.testing.assert_array_equal(short.scores, cut.scores)
    np.testing.assert_array_equal(short.hardware_steps, cut.hardware_steps)
    for one, other in zip(short.events, cut.events, strict=True):
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.synops, other.synops)
    with pytest.raises(InputError, match="full run"):
        exit_costs(cut, load_hardware("loihi1"))


def test_measure_joins_its_batches(monkeypatch):
    network = random_network(4)
    inputs = random_inputs(network, 7)
    hardware = {"loihi1": load_hardware("loihi1")}
    whole = measure(network, inputs, hardware)
    monkeypatch.setattr(sweep_costs, "samples_at_once", lambda network: 3)
    pieces = measure(network, inputs, hardware)
    np.testing.assert_array_equal(whole.scores, pieces.scores)
    np.testing.assert_allclose(whole.costs["loihi1"].energy_j, pieces.costs["loihi1"].energy_j, rtol=1e-12)
    soft = random_network(4, soft=True)
    refused = measure(soft, random_inputs(soft, 4), hardware)
    assert "cannot run here" in refused.costs["loihi1"].feature


def test_streams_of_the_sweep_are_those_of_the_savings(monkeypatch):
    """Against savings(), which puts the stream of a run that the policy really halted together in one piece."""
    network = random_network(4)
    inputs = random_inputs(network, 12)
    hardware = {"loihi1": load_hardware("loihi1"), "horowitz45nm": load_hardware("horowitz45nm")}
    full, cut = (run_batched(network, inputs, policy, record="all") for policy in (None, FixedTimestep(2)))
    pair = {"loihi1": tuple(estimate(run, hardware["loihi1"]) for run in (full, cut))}
    expected = savings(full, cut, pair).streaming["loihi1"]
    found = stream_ratios(network, inputs, hardware, {"fixed": cut.timesteps})
    assert set(found["fixed"]) == {"loihi1"}
    assert found["fixed"]["loihi1"]["latency_s"] == pytest.approx(expected["latency"].value, rel=1e-12)
    assert found["fixed"]["loihi1"]["energy_j"] == pytest.approx(expected["energy"].value, rel=1e-12)
    assert found["fixed"]["loihi1"]["energy_j"] < 1
    monkeypatch.setattr(sweep_costs, "samples_at_once", lambda network: 5)
    pieces = stream_ratios(network, inputs, hardware, {"fixed": cut.timesteps})
    assert pieces["fixed"]["loihi1"]["latency_s"] == pytest.approx(expected["latency"].value, rel=1e-12)


def test_figures_are_drawn_and_equal_again(swept, tmp_path):
    figures = sweep_figures(swept)
    assert set(figures) == {"accuracy-timesteps", "savings", "energy-accuracy-chip"}
    for name, figure in figures.items():
        one = save(figure, tmp_path / f"{name}.png").read_bytes()
        assert one == save(sweep_figures(swept)[name], tmp_path / "again.png").read_bytes()
    axes = figures["accuracy-timesteps"].axes[0]
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert {"fixed timestep", "topk", "confidence", "entropy", "spikecp", "full horizon"} <= set(drawn)
    best = sorted((p.mean_timesteps, p.accuracy) for p in swept.of("topk"))
    assert sorted(zip(*drawn["topk"].get_data(), strict=True)) == best
    steps, chip = figures["savings"].axes
    kept = [swept.best(name) for name in POLICIES if swept.best(name)]
    assert [bar.get_height() for bar in steps.patches[:3]] == [kept[0].naive, kept[0].isolated, kept[0].streaming]
    assert len(steps.patches) == 3 * len(kept)
    assert len(chip.patches) == 2 * len(kept)
    with pytest.raises(InputError, match="no energy"):
        energy_figure(swept, "other")
