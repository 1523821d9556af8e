"""The command line: wiring only. Heavy modules are imported inside the commands, so that --help is quick."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spikecut.errors import InputError, SpikecutError

app = typer.Typer(
    name="spikecut",
    help="From a trained spiking network to Loihi's integers, halted the moment the answer is safe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of tables.")]
Dataset = Annotated[str, typer.Option(help="digits, or a PATH.npz or PATH.h5 with x and y.")]
Samples = Annotated[int | None, typer.Option(min=1, help="Take only the first N samples.")]
Hardware = Annotated[
    list[str] | None, typer.Option(help="A hardware file by name or path; may be repeated; all without.")
]
Hypothetical = Annotated[bool, typer.Option("--hypothetical", help="Estimate even for hardware that lacks a feature.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in --out.")]


Dt = Annotated[float | None, typer.Option(help="NIR: a timestep, in the unit of the file's time constants.")]
Framework = Annotated[
    str | None, typer.Option(help="NIR: what wrote it: snntorch, norse, sinabs, spikingjelly or lava.")
]
Reset = Annotated[str | None, typer.Option(help="NIR: zero or subtract; by default the framework's.")]
ResetOrder = Annotated[
    str | None, typer.Option(help="NIR: a spike's reset comes in its own timestep (same_step) or late (next_step).")
]


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
    from spikecut.deploy.demo import run_demo

    summaries = run_demo(out, seed, backend, quiet=as_json)
    if as_json:
        _print_json(summaries)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The checkpoint to write, a .safetensors file.")],
    preset: Annotated[
        str | None, typer.Option(help="DATASET-METHOD or DATASET-small-METHOD, such as fashion-mnist-qcfs.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="tet, tebn, ce (direct training) or qcfs (conversion); tet without a preset.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10, cifar100, emulated-NAME of one of these, n-mnist, "
            "dvs128-gesture, cifar10-dvs, shd, or a PATH.npz or PATH.h5 with x and y; digits without a preset."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data set's files; else the environment's SPIKECUT_DATA.")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture; by default one that fits method and data.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the preset's.")] = None,
    timesteps: Annotated[int | None, typer.Option(min=1, help="Horizon T; by default the preset's.")] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="qcfs: levels L; by default the preset's.")] = None,
    rcs_alpha: Annotated[
        float | None, typer.Option(help="Weight of the regulariser RCS, 0 or more; by default the preset's.")
    ] = None,
    reset: Annotated[str | None, typer.Option(help="Of LIF neurons: hard or soft.")] = None,
    surrogate: Annotated[str | None, typer.Option(help="Gradient of a spike: triangle, rectangle or arctan.")] = None,
    train_samples: Annotated[
        int | None, typer.Option(min=1, help="Take only N training samples, always the same.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a batch; by default the preset's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest of the one-cycle schedule.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of AdamW; by default the preset's.")] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Shift and mirror training images at random.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order, spikes and augmentation.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training to --out that broke off, from its last epoch.")
    ] = False,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop when the training loss has not fallen for N epochs.")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(help="csv or tensorboard, beside --out; may be repeated; none without.")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "cpu",
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a network and write its checkpoint."""
    from spikecut.deploy.commands import train_checkpoint

    changes = {
        "arch": arch,
        "epochs": epochs,
        "timesteps": timesteps,
        "levels": levels,
        "rcs_alpha": rcs_alpha,
        "reset": reset,
        "surrogate": surrogate,
        "train_samples": train_samples,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "augment": augment,
    }
    session = {
        "resume": resume,
        "patience": patience,
        "logs": tuple(log or ()),
        "accelerator": accelerator,
        "precision": precision,
        "threads": threads,
    }
    _report(train_checkpoint(out, dataset, method, preset, data, seed, changes, session), as_json)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A checkpoint of `spikecut train`, a .nir file, or a bundle.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; with --to nir a .nir file.")],
    dataset: Annotated[str | None, typer.Option(help="Samples of the golden witness; by default the recipe's.")] = None,
    to: Annotated[str | None, typer.Option(help="nir: write a bundle as a NIR file.")] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="NIR: timesteps per sample, T.")] = None,
    dt: Dt = None,
    framework: Framework = None,
    reset: Reset = None,
    reset_order: ResetOrder = None,
    encoding: Annotated[str | None, typer.Option(help="NIR: input direct, bernoulli or latency.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="NIR: refuse what would be approximated.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fold and quantise a checkpoint, or another tool's NIR file, to Loihi's integers, and write the bundle."""
    of_nir = (horizon, dt, framework, reset, reset_order, encoding)
    if source.suffix != ".nir" and (strict or any(value is not None for value in of_nir)):
        raise InputError(
            "--horizon, --dt, --framework, --reset, --reset-order, --encoding and --strict are of .nir files"
        )
    if to is not None:
        if to != "nir":
            raise InputError(f"--to {to!r}: expected nir")
        from spikecut.deploy.nir_commands import write_bundle_as_nir

        _report(write_bundle_as_nir(source, out, overwrite), as_json)
        return
    if source.suffix == ".nir":
        from spikecut.deploy.nir_commands import export_nir
        from spikecut.export.nir_time import discretisation

        time = discretisation(framework, dt, reset, reset_order)
        _report(export_nir(source, out, dataset, horizon, time, encoding, strict, overwrite), as_json)
        return
    from spikecut.deploy.commands import export_checkpoint

    _report(export_checkpoint(source, out, dataset, overwrite), as_json)


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="State dict of a ReLU network: .safetensors, .pt or .pth.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    dataset: Dataset,
    spec: Annotated[Path | None, typer.Option(help="Its layers, a JSON file; see docs/conversion.md.")] = None,
    timesteps: Annotated[int, typer.Option(min=1, help="Horizon T.")] = 16,
    percentile: Annotated[
        float, typer.Option(help="Of positive activations, which becomes the threshold; 90 to 100.")
    ] = 99.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn a plain ReLU network into a spiking one by threshold balancing, and write its bundle."""
    from spikecut.deploy.relu_commands import convert_command

    _report(convert_command(weights, spec, out, dataset, timesteps, percentile, overwrite), as_json)


@app.command()
def inspect(
    target: Annotated[Path, typer.Argument(help="A bundle, a .net file, or a .nir file.")],
    hardware: Hardware = None,
    hypothetical: Hypothetical = False,
    dt: Dt = None,
    framework: Framework = None,
    reset: Reset = None,
    reset_order: ResetOrder = None,
    as_json: Json = False,
) -> None:
    """Show a network: layers, neurons, exactness, and where it can run; of a NIR file what becomes of every node."""
    if target.suffix == ".nir":
        from spikecut.export.nir_write import holds_integers

        if not holds_integers(target):
            from spikecut.deploy.nir_commands import inspect_nir
            from spikecut.export.nir_time import discretisation

            _report(inspect_nir(target, discretisation(framework, dt, reset, reset_order)), as_json)
            return
    from spikecut.deploy.commands import Result, inspect_network
    from spikecut.deploy.cost_commands import inspect_cost

    network, cost = inspect_network(target), inspect_cost(target, hardware, hypothetical)
    _report(Result([*network.shown, *cost.shown], {**network.data, **cost.data}), as_json)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    samples: Samples = None,
    backend: Annotated[str, typer.Option(help="lava (all engines) or batched (without Lava).")] = "lava",
    as_json: Json = False,
) -> None:
    """Compare the golden twin, the batched engine and Lava, integer by integer; exit 1 where they part."""
    from spikecut.deploy.commands import verify_bundle

    result, passed = verify_bundle(bundle, samples, backend)
    _report(result, as_json)
    if not passed:
        raise typer.Exit(1)


@app.command()
def calibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    dataset: Dataset,
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
    from spikecut.deploy.cutoff_commands import calibrate_policy

    result = calibrate_policy(bundle, dataset, policy, epsilon, guarantee, delta, minimum_count, seed)
    _report(result, as_json)


@app.command()
def run(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle, calibrated unless --no-cutoff.")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, or a PATH.npz or PATH.h5 with x and y.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    backend: Annotated[str, typer.Option(help="lava, batched, or loihi2 (refused, with the reason).")] = "lava",
    mode: Annotated[str, typer.Option(help="On Lava: isolated (each sample alone) or streaming.")] = "isolated",
    lava_models: Annotated[str, typer.Option(help="On Lava: stock, fast or fused; the same integers.")] = "fast",
    hardware: Hardware = None,
    cutoff: Annotated[bool, typer.Option("--cutoff/--no-cutoff", help="Halt early, or run all T timesteps.")] = True,
    also_full: Annotated[bool, typer.Option("--also-full", help="Run the full horizon too, and compare.")] = False,
    hypothetical: Hypothetical = False,
    samples: Samples = None,
    detail: Annotated[bool, typer.Option("--detail", help="Show time and energy by layer and sort of event.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run of this folder that broke off.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run the test split, halted by the cutoff; estimate latency and energy per sample."""
    from spikecut.deploy.commands import resume_command, run_command
    from spikecut.deploy.workflow import RunOptions

    if resume is not None:
        if bundle is not None or dataset is not None or out is not None:
            raise InputError("--resume RUN goes on as the run began: give neither a bundle nor --dataset nor --out")
        _report(resume_command(resume, detail), as_json)
        return
    if bundle is None or dataset is None:
        raise InputError("run needs a BUNDLE and --dataset, or --resume RUN")
    chosen = None if hardware is None else tuple(hardware)
    options = RunOptions(backend, mode, lava_models, chosen, also_full, hypothetical)  # type: ignore[arg-type]
    _report(run_command(bundle, dataset, out, options, cutoff, samples, overwrite, detail), as_json)


@app.command()
def sweep(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    dataset: Dataset,
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
    from spikecut.deploy.cutoff_commands import sweep_bundle

    result = sweep_bundle(bundle, dataset, out, policy, epsilon, hardware, hypothetical, samples, overwrite)
    _report(result, as_json)


@app.command()
def hardware(
    name: Annotated[str | None, typer.Argument(help="A hardware file by name or path; all names without.")] = None,
    as_json: Json = False,
) -> None:
    """List the hardware files, or explain one: every number with its source."""
    from spikecut.deploy.cost_commands import describe_hardware

    _report(describe_hardware(name), as_json)


def _report(result: Any, as_json: bool) -> None:
    """Print a command's result: its tables, or its data as JSON."""
    if as_json:
        _print_json(result.data)
        return
    from spikecut.deploy.console import stdout

    console = stdout()
    for part in result.shown:
        console.print(part)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, sort_keys=True, allow_nan=False))


def main() -> None:
    """Entry point: one line for an expected error, exit codes 0, 1, 2, and 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]  # wherever it stands
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C inside a command into this code
            raise KeyboardInterrupt
        sys.exit(code)
    except SpikecutError as error:
        if debug:
            raise
        _fail(" ".join(str(error).split()), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-written was left", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(INTERRUPTED)
    except Exception as error:
        _usage_or_crash(error, debug)


def _terminate(*_: Any) -> None:
    """SIGTERM ends a command as Ctrl-C does: cleanly."""
    raise KeyboardInterrupt


def _usage_or_crash(error: Exception, debug: bool) -> None:
    """Click's own errors as one line; anything else is a defect and keeps its traceback."""
    format_message = getattr(error, "format_message", None)
    if debug or format_message is None:
        raise error
    _fail(f"{format_message()} (see `spikecut --help`)", 2)


def _fail(message: str, code: int) -> None:
    typer.echo(f"spikecut: {message}", err=True)
    sys.exit(code)
