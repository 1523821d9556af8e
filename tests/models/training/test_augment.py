"""Augmentation of training images."""

import torch
from torch.utils.data import TensorDataset

from spikecut.models.training.augment import AugmentedImages


def test_cutout_hides_one_square_of_the_mean_colour_in_each_image():
    random = torch.Generator().manual_seed(0)
    x = 0.1 + torch.rand(40, 3, 16, 20, generator=random)
    images = TensorDataset(x, torch.arange(40))
    torch.manual_seed(1)
    places = set()
    for image, label in AugmentedImages(images, cutout=5):
        hidden = (image == x.mean((0, 2, 3))[:, None, None]).all(0)
        rows, columns = hidden.any(1).nonzero().flatten(), hidden.any(0).nonzero().flatten()
        assert int(hidden.sum()) == 25 and len(rows) == len(columns) == 5
        places.add((int(rows[0]), int(columns[0])))
        if label == 39:
            break
    assert len(places) > 20
    seen = [image for image, _ in (AugmentedImages(images, cutout=0)[position] for position in range(40))]
    assert not any((image == x.mean((0, 2, 3))[:, None, None]).all(0).any() for image in seen)
