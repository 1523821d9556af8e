"""The commands that make and show networks: train, export, convert, inspect."""

from pathlib import Path
from typing import Annotated

import typer

from spikecut.deploy.cli.options import (
    MOST_TIMESTEPS,
    OWN,
    Data,
    Dataset,
    Dt,
    Framework,
    Hardware,
    Hypothetical,
    Json,
    Overwrite,
    Reset,
    ResetOrder,
    app,
    named_bundle,
)
from spikecut.deploy.cli.output import report
from spikecut.errors import InputError


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The checkpoint to write, a .safetensors file.")],
    preset: Annotated[
        str | None, typer.Option(help="DATASET-METHOD, DATASET-small-METHOD …, such as fashion-mnist-qcfs.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="tet, tebn, ce, slayer (direct training) or qcfs (conversion); tet without a preset."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10, cifar100, emulated-NAME of one of these, n-mnist, "
            f"dvs128-gesture, cifar10-dvs, shd, or {OWN}; digits without a preset."
        ),
    ] = None,
    data: Data = None,
    arch: Annotated[str | None, typer.Option(help="Architecture; by default one that fits method and data.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the preset's.")] = None,
    timesteps: Annotated[
        int | None, typer.Option(min=1, max=MOST_TIMESTEPS, help="Horizon T; by default the preset's.")
    ] = None,
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
    weight_decay: Annotated[float | None, typer.Option(help="By default the preset's.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="adamw or sgd; rate and decay stay the preset's.")] = None,
    weight_bits: Annotated[
        int | None, typer.Option(help="Round weights to 5 to 8 bits while training; export takes no wider ones.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Begin with the weights of this checkpoint, or of zoo:NAME.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Shift and mirror training images at random.")
    ] = None,
    cutout: Annotated[int | None, typer.Option(help="Side of a square that augmentation hides; 0 for none.")] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Of the cross entropy, 0 up to 1; by default the preset's.")
    ] = None,
    bias_samples: Annotated[
        int | None,
        typer.Option(help="qcfs: after the conversion, correct biases on N training samples; 0 for none."),
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
    devices: Annotated[int, typer.Option(min=1, help="Devices that share each batch; on the CPU, processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a network and write its checkpoint."""
    from spikecut.deploy.cli.commands import train_checkpoint

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
        "optimiser": optimiser,
        "weight_bits": weight_bits,
        "augment": augment,
        "cutout": cutout,
        "label_smoothing": label_smoothing,
        "bias_samples": bias_samples,
    }
    session = {
        "resume": resume,
        "patience": patience,
        "logs": tuple(log or ()),
        "accelerator": accelerator,
        "precision": precision,
        "devices": devices,
        "threads": threads,
    }
    report(train_checkpoint(out, dataset, method, preset, data, seed, changes, session, start), as_json)


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(help="A checkpoint of `spikecut train`, zoo:NAME, a .nir file, a state dict, or a bundle.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; with --to nir a .nir file.")],
    dataset: Annotated[str | None, typer.Option(help="Samples of the golden witness; by default the recipe's.")] = None,
    data: Data = None,
    to: Annotated[str | None, typer.Option(help="nir: write a bundle as a NIR file.")] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, max=MOST_TIMESTEPS, help="NIR, --slayer: timesteps per sample, T.")
    ] = None,
    dt: Dt = None,
    framework: Framework = None,
    reset: Reset = None,
    reset_order: ResetOrder = None,
    encoding: Annotated[str | None, typer.Option(help="NIR, --slayer: input direct, bernoulli, latency.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="NIR: refuse what would be approximated.")] = False,
    slayer: Annotated[
        Path | None, typer.Option(help="The blocks of lava-dl that a state dict belongs to, as YAML; docs/slayer.md.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fold and quantise a checkpoint, or another tool's NIR file, to Loihi's integers, and write the bundle."""
    if slayer is not None:
        if strict or any(value is not None for value in (to, dt, framework, reset, reset_order)):
            raise InputError("--slayer goes with --dataset, --horizon and --encoding; it is exact as it is")
        from spikecut.deploy.cli.commands import export_slayer

        report(export_slayer(source, slayer, out, dataset, horizon, encoding, overwrite), as_json)
        return
    of_nir = (horizon, dt, framework, reset, reset_order, encoding)
    if source.suffix != ".nir" and (strict or any(value is not None for value in of_nir)):
        raise InputError(
            "--horizon, --dt, --framework, --reset, --reset-order, --encoding and --strict are of .nir files, "
            "the first and --encoding also of --slayer"
        )
    if to is not None:
        if to != "nir":
            raise InputError(f"--to {to!r}: expected nir")
        from spikecut.deploy.cli.nir import write_bundle_as_nir

        report(write_bundle_as_nir(source, out, overwrite), as_json)
        return
    if source.suffix == ".nir":
        from spikecut.deploy.cli.nir import export_nir
        from spikecut.export.nir.discretisation import discretisation

        time = discretisation(framework, dt, reset, reset_order)
        report(export_nir(source, out, dataset, horizon, time, encoding, strict, overwrite), as_json)
        return
    from spikecut.deploy.cli.commands import export_checkpoint
    from spikecut.deploy.pipeline.pretrained import checkpoint_of

    report(export_checkpoint(checkpoint_of(source), out, dataset, overwrite), as_json)


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="State dict of a ReLU network: .safetensors, .pt or .pth.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    dataset: Dataset,
    data: Data = None,
    spec: Annotated[Path | None, typer.Option(help="Its layers, a JSON file; see docs/conversion.md.")] = None,
    timesteps: Annotated[int, typer.Option(min=1, max=MOST_TIMESTEPS, help="Horizon T.")] = 16,
    percentile: Annotated[
        float, typer.Option(help="Of positive activations, which becomes the threshold; 90 to 100.")
    ] = 99.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn a plain ReLU network into a spiking one by threshold balancing, and write its bundle."""
    from spikecut.deploy.pipeline.convert import convert_command

    report(convert_command(weights, spec, out, dataset, timesteps, percentile, overwrite), as_json)


@app.command()
def inspect(
    target: Annotated[
        Path,
        typer.Argument(
            help="A bundle, a .net file, a .nir file, a checkpoint, a state dict, or zoo:NAME.", callback=named_bundle
        ),
    ],
    data: Data = None,
    hardware: Hardware = None,
    hypothetical: Hypothetical = False,
    horizon: Annotated[
        int | None, typer.Option(min=1, max=MOST_TIMESTEPS, help="T of a .net file of lava-dl, or of a state dict.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Samples to export a checkpoint or state dict with.")] = None,
    slayer: Annotated[Path | None, typer.Option(help="The blocks of lava-dl that a state dict belongs to.")] = None,
    spec: Annotated[Path | None, typer.Option(help="The ReLU layers that a state dict belongs to.")] = None,
    dt: Dt = None,
    framework: Framework = None,
    reset: Reset = None,
    reset_order: ResetOrder = None,
    as_json: Json = False,
) -> None:
    """Show a network: layers, neurons, exactness, and where it can run; of a NIR file what becomes of every node.

    A checkpoint or a state dict is exported into a temporary folder for it: what export refuses is refused here.
    """
    if target.suffix == ".nir":
        from spikecut.export.nir.write import holds_integers

        if not holds_integers(target):
            if hypothetical or any(given is not None for given in (hardware, horizon, dataset, slayer, spec)):
                raise InputError(
                    "a .nir file of another tool is shown node by node: leave out --hardware, --hypothetical, "
                    "--horizon, --dataset, --slayer and --spec"
                )
            from spikecut.deploy.cli.nir import inspect_nir
            from spikecut.export.nir.discretisation import discretisation

            report(inspect_nir(target, discretisation(framework, dt, reset, reset_order)), as_json)
            return
    if any(given is not None for given in (dt, framework, reset, reset_order)):
        raise InputError("--dt, --framework, --reset and --reset-order are of .nir files that another tool wrote")
    from spikecut.deploy.cli.inspect import inspect_target

    report(inspect_target(target, hardware, hypothetical, horizon, dataset, slayer, spec), as_json)
