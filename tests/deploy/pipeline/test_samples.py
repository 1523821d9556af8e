"""Which data sets a network has seen, by the recipe of its training; and which samples of a split are run."""

import numpy as np
import pytest

from spikecut.deploy.pipeline.samples import first_samples, trained_on
from spikecut.errors import InputError
from spikecut.models.data import Split


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


def test_the_first_samples_are_at_least_one():
    split = Split(np.ones((3, 2), dtype=np.float32), np.arange(3), np.arange(3))
    assert first_samples(split, 2).index.tolist() == [0, 1] and first_samples(split, None) is split
    for few in (0, -1):
        with pytest.raises(InputError, match=f"samples {few}: expected at least 1"):
            first_samples(split, few)
