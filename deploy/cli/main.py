"""The command line: wiring only. Heavy modules are imported inside the commands, so that --help is quick."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import spikecut.deploy.cli.networks
import spikecut.deploy.cli.run  # noqa: F401 (adds its commands)
from spikecut.deploy.cli.options import (
    Bundle,
    Data,
    Dataset,
    Hardware,
    Hypothetical,
    Json,
    Overwrite,
    Samples,
    app,
)
from spikecut.deploy.cli.output import finish_streams, prepare_streams, print_json, report, visible
from spikecut.errors import SpikecutError

INTERRUPTED = 130


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """Options of every command; `main` reads --debug itself."""


@app.command()
def version() -> None:
    """Print the version."""
    import spikecut

    typer.echo(spikecut.__version__)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of training and spikes.")] = 0,
    backend: Annotated[str, typer.Option(help="lava or batched.")] = "lava",
    as_json: Json = False,
) -> None:
    """Train, export, verify, calibrate and run two networks on handwritten digits, on Lava's simulator."""
    from spikecut.deploy.cli.demo import run_demo

    summaries = run_demo(out, seed, backend, quiet=as_json)
    if as_json:
        print_json(summaries)


@app.command()
def calibrate(
    bundle: Bundle,
    dataset: Dataset,
    data: Data = None,
    policy: Annotated[str, typer.Option(help="topk, confidence, entropy, spikecp, fixed, or your own.")] = "topk",
    epsilon: Annotated[float, typer.Option(help="Tolerated share in [0, 1); each policy says of what.")] = 0.01,
    guarantee: Annotated[bool, typer.Option("--guarantee", help="Bound what the cutoff loses on new samples.")] = False,
    delta: Annotated[
        float | None, typer.Option(help="With --guarantee: probability that the bound fails; 0.05 without.")
    ] = None,
    minimum_count: Annotated[int, typer.Option(min=1, help="Samples that a threshold must rest on.")] = 20,
    seed: Annotated[int, typer.Option(help="With --guarantee: divides the calibration split.")] = 0,
    as_json: Json = False,
) -> None:
    """Find the cutoff's thresholds on the calibration split, and write cutoff.json into the bundle."""
    from spikecut.deploy.cli.cutoff import calibrate_policy

    result = calibrate_policy(bundle, dataset, policy, epsilon, guarantee, delta, minimum_count, seed)
    report(result, as_json)


@app.command()
def sweep(
    bundle: Bundle,
    dataset: Dataset,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder of tables and figures.")] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy; may be repeated; all that come with spikecut without.")
    ] = None,
    epsilon: Annotated[list[float] | None, typer.Option(help="An ε; may be repeated; 50 values without.")] = None,
    hardware: Hardware = None,
    hypothetical: Hypothetical = False,
    samples: Samples = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Every cutoff policy over ε: fitted on the calibration split, measured on the test split."""
    from spikecut.deploy.cli.cutoff import sweep_bundle

    result = sweep_bundle(bundle, dataset, out, policy, epsilon, hardware, hypothetical, samples, overwrite)
    report(result, as_json)


@app.command()
def zoo(name: Annotated[str | None, typer.Argument(help="One of the names; all without.")] = None) -> None:
    """List the ready checkpoints, or show the card of one."""
    from spikecut.models.pretrained import ready_card, ready_names

    typer.echo(
        "\n".join(f"zoo:{each}" for each in ready_names()) if name is None else ready_card(name.removeprefix("zoo:"))
    )


@app.command()
def hardware(
    name: Annotated[str | None, typer.Argument(help="A hardware file by name or path; all names without.")] = None,
    as_json: Json = False,
) -> None:
    """List the hardware files, or explain one: every number with its source."""
    from spikecut.deploy.cli.cost import describe_hardware

    report(describe_hardware(name), as_json)


def main() -> None:
    """Run the command: one line for an expected error, exit codes 0, 1, 2, and 130 after Ctrl-C."""
    _check_streams()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]  # wherever it stands
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C inside a command into this code
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code)
    except SystemExit as stop:
        # Typer and rich end a command whose reader has gone with 1, which here means that a check found a difference.
        sys.exit(INTERRUPTED if isinstance(stop.__context__, BrokenPipeError) else stop.code)
    except SpikecutError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-written was left", INTERRUPTED)
    except (MemoryError, OSError, RecursionError, UnicodeEncodeError) as error:
        if debug:
            raise
        _fail(_unforeseen(error), 2)
    except Exception as error:
        _usage_or_crash(error, debug)


def _check_streams() -> None:
    """Refuse a closed standard output; where standard error is closed, no file may take its number."""
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (until the process ends)
    if sys.stdout is None:
        _fail("standard output is closed: send it to a file or to /dev/null", 2)
    prepare_streams()


def _unforeseen(error: Exception) -> str:
    """What the machine could not do, where no command has put it in better words."""
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}: take fewer --samples, or a machine with more"
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read (--debug shows where)"
    if isinstance(error, OSError):
        what = "standard output or a file" if error.filename is None else os.fsdecode(error.filename)
        return f"{what}: {error.strerror or error} (--debug shows where)"
    return f"{error} (--debug shows where)"


def _usage_or_crash(error: Exception, debug: bool) -> None:
    """Click's own errors as one line; anything else is a defect and keeps its traceback."""
    format_message = getattr(error, "format_message", None)
    if debug or format_message is None:
        raise error
    _fail(f"{format_message()} (see `spikecut --help`)", 2)


def _fail(message: str, code: int) -> None:
    with suppress(OSError):
        print(f"spikecut: {visible(' '.join(message.split()))}", file=sys.stderr, flush=True)
    finish_streams()
    sys.exit(code)
