"""The command line: wiring only. Heavy modules are imported inside the commands, so that --help is quick."""

import logging
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

import spikecut
import spikecut.deploy.cli.catalogue
import spikecut.deploy.cli.convert
import spikecut.deploy.cli.cutoff
import spikecut.deploy.cli.demo
import spikecut.deploy.cli.doctor
import spikecut.deploy.cli.export
import spikecut.deploy.cli.inspect
import spikecut.deploy.cli.run
import spikecut.deploy.cli.stream
import spikecut.deploy.cli.train
from spikecut.deploy.cli.options import COMMAND_PANELS, app, take_defaults
from spikecut.deploy.cli.output import finish_streams, prepare_streams, set_quiet, visible
from spikecut.errors import SpikecutError
from spikecut.extras import needs_training

INTERRUPTED = 130
ORDER = tuple(name for names in COMMAND_PANELS.values() for name in names)
app.registered_commands.sort(key=lambda command: ORDER.index(command.name or getattr(command.callback, "__name__", "")))


ANYWHERE = ("--debug", "--quiet")
"""Options that may stand anywhere in a command."""


def _version(asked: bool) -> None:
    if asked:
        print(spikecut.__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show results and errors alone: no progress and no remarks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command; `main` reads --debug and --quiet itself, wherever they stand."""
    take_defaults(context, sys.argv[1:])


def main() -> None:
    """Run the command: one line for an expected error, exit codes 0, 1, 2, and 130 after Ctrl-C."""
    _check_streams()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where no home can be written to
    arguments = [argument for argument in sys.argv[1:] if argument not in ANYWHERE]
    debug = "--debug" in sys.argv[1:]
    set_quiet("--quiet" in sys.argv[1:])
    try:
        with needs_training():
            code = app(arguments, prog_name="spikecut", standalone_mode=False) or 0
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
        named = isinstance(error.filename, str | bytes)  # else it is none, or the number of an open file
        what = os.fsdecode(error.filename) if named else "standard output or a file"
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
