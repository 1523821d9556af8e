"""Folders with one folder of images per class. The files are distrusted: sizes are checked before memory is taken."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from spikecut.errors import DataError
from spikecut.files import open_regular
from spikecut.models.data.dataset import IntArray
from spikecut.models.data.memory import check_memory

FORMATS = ("BMP", "JPEG", "PNG", "PPM")
LOSSY = (".jpg", ".jpeg")
Bytes = npt.NDArray[np.uint8]


def read_class_folders(folder: Path, size: tuple[int, int]) -> tuple[Bytes, IntArray, tuple[str, ...], bool]:
    """Images uint8 [N, 3, H, W], labels int64 [N], the classes' names in alphabetical order, whether a file is lossy.

    size: (H, W) that every image must have. DataError for an empty class, or a file that is no such image.
    """
    from torchvision.datasets import ImageFolder  # torch: events are read without it

    try:
        listing = ImageFolder(str(folder))
    except (FileNotFoundError, OSError) as exc:
        raise DataError(f"{folder}: expected one folder of images per class ({exc})") from exc
    check_memory(folder, len(listing.samples) * 3 * size[0] * size[1])
    images = np.empty((len(listing.samples), 3, *size), dtype=np.uint8)
    for place, (path, _) in enumerate(listing.samples):
        images[place] = _read_image(path, size)
    labels = np.array([label for _, label in listing.samples], dtype=np.int64)
    lossy = any(path.lower().endswith(LOSSY) for path, _ in listing.samples)
    return images, labels, tuple(listing.classes), lossy


def _read_image(path: str, size: tuple[int, int]) -> Bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of sizes that are refused here
            with open_regular(Path(path), DataError) as file, Image.open(file, formats=FORMATS) as image:
                if (image.height, image.width) != size:
                    raise DataError(f"{path}: {image.height} × {image.width}, expected {size[0]} × {size[1]}")
                pixels = np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as exc:
        raise DataError(f"{path}: truncated or not an image ({type(exc).__name__})") from exc
    return pixels.transpose(2, 0, 1)
