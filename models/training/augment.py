"""Augmentation of training images, by torchvision."""

from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms.v2 import Compose, RandomCrop, RandomErasing, RandomHorizontalFlip

SHIFT = 4


class AugmentedImages(Dataset[tuple[Tensor, ...]]):
    """Images, each shifted by up to 4 pixels and mirrored or not, anew at each reading.

    samples: images float32 [N, C, H, W], and their labels.
    cutout: side of a square that is painted in the images' mean colour, anywhere; 0 for none. After DeVries and Taylor,
        "Improved regularization of convolutional neural networks with cutout", 2017; here the square lies all inside.
    """

    def __init__(self, samples: TensorDataset, cutout: int) -> None:
        self.samples = samples
        images = samples.tensors[0]
        height, width = images.shape[2:]
        changes: list[nn.Module] = [RandomCrop([height, width], padding=SHIFT), RandomHorizontalFlip()]
        if cutout:
            share = cutout**2 / (height * width)
            colour = images.mean((0, 2, 3)).tolist()
            changes.append(RandomErasing(1.0, scale=(share, share), ratio=(1.0, 1.0), value=colour))
        self.change = Compose(changes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        x, label = self.samples[position]
        return self.change(x), label
