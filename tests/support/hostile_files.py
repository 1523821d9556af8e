"""Files of torch that would run code or claim what they do not hold."""

import warnings
import zipfile
from pathlib import Path
from typing import Tuple  # noqa: UP035 (TorchScript knows no other)

import torch


class WritesOnLoading(torch.nn.Module):
    """TorchScript whose __setstate__ makes a file as soon as it is loaded."""

    target: str

    def __init__(self, target: str):
        super().__init__()
        self.target = target
        self.made = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> Tuple[str, bool]:  # noqa: UP006
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[str, bool]) -> None:  # noqa: UP006
        self.target = state[0]
        self.training = state[1]
        self.made = torch.from_file(state[0], True, 4, dtype=torch.uint8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def renamed(source: Path, target: Path, names) -> Path:
    """A copy of an archive in which each record has all the names that `names` gives for its own."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for record in archive.infolist():
            for name in names(record.filename):
                copy.writestr(name, archive.read(record))
    return target


LONG = "a" * (510 - len("constants.pkl"))


def _long(name: str) -> list[str]:
    record = name.split("/", 1)[1]
    if record == "constants.pkl":  # torch reads 511 characters of a name to list it, and ignores case to find it
        return [f"{LONG}/CONSTANTS.PKL", f"{LONG}/constants.pklX"]
    return [f"{LONG}/{record}"]


DISGUISES = {
    "none": lambda name: [name],
    "upper case": lambda name: [name.replace("constants.pkl", "CONSTANTS.PKL")],
    "a name of over 511 characters": _long,
}


def torchscript(folder: Path, disguise: str, name: str = "hostile.pt") -> tuple[Path, Path]:
    """A TorchScript file in disguise, and the file that it makes when it is loaded."""
    marker, plain = folder / "marker", folder / "plain.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is", FutureWarning)  # old files stay a threat
        torch.jit.script(WritesOnLoading(str(marker))).save(str(plain))
    return renamed(plain, folder / name, DISGUISES[disguise]), marker
