"""Which data sets a network has seen, by the recipe of its training."""

import pytest

from spikecut.deploy.pipeline.samples import trained_on


@pytest.mark.parametrize(
    "recipe, seen",
    [
        ({"dataset": "b.npz"}, ["b.npz"]),
        ({"dataset": "b.npz", "from": {"file": "a", "datasets": ["a.npz", "digits"]}}, ["b.npz", "a.npz", "digits"]),
        ({"dataset": "b.npz", "from": {"file": "a", "sha256": "0"}}, None),
        ({"dataset": "b.npz", "from": {"file": "a", "datasets": None}}, None),
        ({"dataset": "b.npz", "from": "a"}, None),
    ],
)
def test_a_training_has_seen_what_the_earlier_ones_have(recipe, seen):
    assert trained_on(recipe) == seen
