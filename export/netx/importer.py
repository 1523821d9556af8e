"""netx HDF5 files, of spikecut and of lava-dl: the chip's integers."""

from contextlib import suppress
from pathlib import Path

from spikecut.errors import RangeError, UnsupportedError
from spikecut.export.importers.base import ImportedNetwork, Options, Recipe
from spikecut.export.netx.blocks import block_reports, refused_reports
from spikecut.export.netx.foreign import input_and_readout, read_any_netx
from spikecut.export.netx.read import ALL, Blocks

HDF5 = b"\x89HDF\r\n\x1a\n"
NIR = ".nir"


class NetxImporter:
    """A file of layers in integers; of one of lava-dl a given horizon counts before its own."""

    name = "netx"
    files = "a netx HDF5 file (.net)"
    options = ("horizon", "dataset", "encoding", "layers")

    def reads(self, path: Path, options: Options) -> bool:
        """A file named .net, or any other in HDF5 that is not named .nir."""
        if path.suffix == ".net" or not path.is_file() or path.suffix == NIR:
            return path.suffix == ".net" and not path.is_dir()
        with suppress(OSError), path.open("rb") as file:
            return file.read(len(HDF5)) == HDF5
        return False

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """The integers, or block by block what is refused; see read_any_netx for what is assumed of the input."""
        blocks = Blocks.named(options["layers"]) if "layers" in options else ALL
        foreign = input_and_readout(path) is not None
        details = {"file": path.name, "by": "lava-dl" if foreign else "spikecut"}
        details |= {"layers": options["layers"]} if "layers" in options else {}
        try:
            integers = read_any_netx(path, options.get("horizon"), blocks)
        except (UnsupportedError, RangeError) as error:
            recipe = Recipe("netx", "events", details)
            return ImportedNetwork(path, report=refused_reports(path, blocks, error), refusal=error, recipe=recipe)
        recipe = Recipe("netx", integers.input.encoding, details, encoding_known=not foreign)
        return ImportedNetwork(
            path, integers, input_shape=integers.input_shape, report=block_reports(path, blocks), recipe=recipe
        )
