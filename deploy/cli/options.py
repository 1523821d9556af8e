"""What the commands share: the application, how a command takes its options as one model, and common options.

A command is a function of one frozen dataclass, whose fields are its arguments and options:

    @dataclass(frozen=True, kw_only=True)
    class CalibrateOptions:
        bundle: Bundle
        epsilon: Annotated[float, typer.Option(help="Tolerated share in [0, 1).")] = 0.01

    @verb
    def calibrate(options: CalibrateOptions) -> None:
        '''What --help says.'''
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from spikecut.deploy.cli.output import waiting
from spikecut.deploy.cli.parameters.choices import ChoosingCommand, named, one_of

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="spikecut",
    context_settings=HELP,
    help="From a trained spiking network to Loihi's integers, halted the moment the answer is safe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


Options = TypeVar("Options")

PANELS = {
    "Samples": ("dataset", "data", "samples", "train_samples", "frame_us", "merge", "sample", "bundle", "against"),
    "Backend": ("backend", "mode", "lava_models"),
    "Cutoff": (
        "cutoff",
        "also_full",
        "policy",
        "epsilon",
        "guarantee",
        "delta",
        "minimum_count",
        "window",
        "confirmations",
    ),
    "Hardware": ("hardware", "monitor", "hypothetical"),
    "Import": (
        *(
            "weights",
            "to",
            "horizon",
            "dt",
            "framework",
            "reset_order",
            "spikes",
            "encoding",
            "strict",
            "slayer",
            "layout",
            "layers",
        ),
        *("spec", "percentile"),
    ),
    "Network": ("preset", "method", "arch", "timesteps", "levels", "reset", "surrogate", "start", "weight_bits"),
    "Training": (
        *("epochs", "batch_size", "learning_rate", "weight_decay", "optimiser", "rcs_alpha", "augment", "cutout"),
        *("label_smoothing", "bias_samples", "seed", "patience"),
    ),
    "Machine": ("accelerator", "precision", "devices", "threads"),
    "Output": ("out", "figures", "overwrite", "resume", "detail", "log", "as_json"),
}
"""The groups in which --help shows the options, by the names of their fields."""
_PANEL = {name: panel for panel, names in PANELS.items() for name in names}

COMMAND_PANELS = {
    "From a network to a chip": ("train", "convert", "export", "inspect", "verify"),
    "With early exit": ("calibrate", "run", "sweep", "stream", "report"),
    "What there is": ("list", "hardware", "zoo"),
    "This installation": ("demo", "doctor", "install-lava", "version"),
}
"""The groups of the commands, in the order of --help: the way that a network takes, then what there is."""
_COMMAND_PANEL = {name: panel for panel, names in COMMAND_PANELS.items() for name in names}


def verb(function: Callable[[Options], None]) -> Callable[[Options], None]:
    """Add a command to the application: its name and help are the function's, its options the fields of its model."""
    hints = get_type_hints(function)
    model: Any = hints["options"]
    typed = get_type_hints(model, include_extras=True)
    defaults = {field.name: Parameter.empty if field.default is MISSING else field.default for field in fields(model)}
    keyword = Parameter.KEYWORD_ONLY
    parameters = [Parameter(key, keyword, default=value, annotation=typed[key]) for key, value in defaults.items()]
    for key in defaults:
        for told in get_args(typed[key])[1:]:
            if isinstance(told, OptionInfo):
                told.rich_help_panel = _PANEL.get(key)

    def command(context: typer.Context, **given: Any) -> None:
        _say_defaults(context, given)
        _typed_options.clear()
        _typed_options.extend(key for key in given if _from_command_line(context, key))
        with waiting(f"spikecut {name}: loading …") if name in SLOW_TO_LOAD else nullcontext():
            function(model(**given))

    parameters.insert(0, Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {"context": typer.Context} | {key: typed[key] for key in defaults}
    name = function.__name__.strip("_").replace("_", "-")
    MODELS[name] = model
    panel = _COMMAND_PANEL.get(name)
    app.command(name, cls=ChoosingCommand, help=function.__doc__, context_settings=HELP, rich_help_panel=panel)(command)
    return function


_typed_options: list[str] = []


def typed_options() -> tuple[str, ...]:
    """Names of the options and arguments that stand on the command line, whatever their values."""
    return tuple(_typed_options)


def _from_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


MODELS: dict[str, type] = {}
"""The options of every command."""
WITHOUT_DEFAULTS = ("doctor", "hardware", "install-lava", "list", "version", "zoo")
"""Commands that take nothing from a file."""
SLOW_TO_LOAD = (
    *("calibrate", "convert", "demo", "export", "inspect"),
    *("report", "run", "stream", "sweep", "train", "verify"),
)
"""Commands that load the engine, torch or Lava before they have anything to show."""


def take_defaults(context: typer.Context, words: Iterable[str]) -> None:
    """Give the command that is run the defaults of a file in the working folder or above; the command line wins.

    words: of the command line. A run that is resumed keeps its own options, and help is given whatever the file says.
    """
    command = str(context.invoked_subcommand)
    if command in WITHOUT_DEFAULTS or {"-h", "--help"} & set(words):
        return
    if command == "run" and any(word.startswith("--resume") for word in words):
        return
    from spikecut.deploy.cli.parameters.defaults import checked_defaults, find_defaults

    found = find_defaults(Path.cwd())
    if found is not None:
        known = {name: model for name, model in MODELS.items() if name not in WITHOUT_DEFAULTS}
        defaults = checked_defaults(*found, known)
        context.default_map = dict(defaults.values)
        context.obj = defaults.file


def _say_defaults(context: typer.Context, given: Mapping[str, Any]) -> None:
    """A line with what came from a file."""
    used = [
        f"{name.removeprefix('as_').replace('_', '-')} = {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in given.items()
        if (source := context.get_parameter_source(name)) is not None and source.name == "DEFAULT_MAP"
    ]
    if used:
        from spikecut.deploy.cli.output import say

        say(f"{context.obj}: {', '.join(used)}")


def _data_from(folder: Path | None) -> Path | None:
    """Where a command's data sets are."""
    if folder is not None:
        os.environ["SPIKECUT_DATA"] = str(folder)
    return folder


def _named(context: typer.Context, path: Path | None) -> Path | None:
    """Of an argument; a shell that completes the rest of the line makes nothing."""
    return path if context.resilient_parsing else named_bundle(path)


def named_bundle(path: Path | None) -> Path | None:
    """A bundle as it is named, or that of zoo:NAME, which is made at its first use."""
    if path is None or not str(path).startswith("zoo:"):
        return path
    from spikecut.deploy.cli.output import print_notes, progress_bar
    from spikecut.deploy.pipeline.pretrained import bundle_of

    found = bundle_of(path, progress_bar)
    print_notes(found.notes)
    _typed[found.path] = path
    return found.path


_typed: dict[Path, Path] = {}
"""Bundles in the cache, and the zoo:NAME that the user typed for them."""


def as_typed(path: Path) -> Path:
    """A bundle as the user named it."""
    return _typed.get(path, path)


def given(options: object, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that the user gave, by name; neither None nor a flag that is off."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None and value is not False}


MOST_TIMESTEPS = 2**14  # that export takes; a test holds the two together
OWN = "a PATH.npz or PATH.h5 with x_train, y_train, x_calibration, y_calibration, x_test, y_test, or x and y to split"
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of tables.")]
Dataset = Annotated[
    str,
    typer.Option(help=f"digits, another name (`spikecut list datasets`), or {OWN}.", **named("datasets", "NAME|PATH")),
]
Samples = Annotated[int | None, typer.Option(min=1, help="Take only the first N samples.")]
Hardware = Annotated[
    list[str] | None,
    typer.Option(help="`spikecut list hardware`; may be repeated; default: all.", **named("hardware", "HARDWARE|PATH")),
]
Monitor = Annotated[
    str | None,
    typer.Option(
        help="Where the monitor runs that is charged; default: none, and a break-even is given.",
        **one_of("on_chip", "embedded", "host"),
    ),
]
Hypothetical = Annotated[bool, typer.Option("--hypothetical", help="Estimate even for hardware that lacks a feature.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the data set's files; else the environment's SPIKECUT_DATA.",
        callback=_data_from,
        is_eager=True,
    ),
]
Bundle = Annotated[Path, typer.Argument(help="A bundle, or zoo:NAME.", callback=_named)]
RunBundle = Annotated[
    Path | None, typer.Argument(help="A bundle, calibrated unless --no-cutoff, or zoo:NAME.", callback=_named)
]
Target = Annotated[
    Path,
    typer.Argument(
        help="A bundle, a .net file, a .nir file, a checkpoint, a state dict, or zoo:NAME.", callback=_named
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in --out.")]
Dt = Annotated[float | None, typer.Option(help="NIR: a timestep, in the unit of the file's time constants.")]
Layers = Annotated[
    str | None,
    typer.Option(
        help=".net: only its blocks /layer/A to /layer/B-1, A:B; :B takes the first B. NIR: its first B nodes, :B.",
        metavar="A:B",
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(help="The published network that a state dict is of.", **named("layouts", "LAYOUT")),
]
Framework = Annotated[
    str | None,
    typer.Option(help="NIR: what wrote it.", **one_of("snntorch", "norse", "sinabs", "spikingjelly", "lava")),
]
Reset = Annotated[
    str | None, typer.Option(help="NIR: of a spike; by default the framework's.", **one_of("zero", "subtract"))
]
ResetOrder = Annotated[
    str | None,
    typer.Option(help="NIR: a spike's reset comes in its own timestep, or late.", **one_of("same_step", "next_step")),
]
Spikes = Annotated[
    str | None,
    typer.Option(
        help="NIR: at most one spike a timestep, or several, as Sinabs' default.", **one_of("single", "multi")
    ),
]
