"""The command train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from spikecut.deploy.cli.options import MOST_TIMESTEPS, OWN, Data, Json, verb
from spikecut.deploy.cli.output import Result, report, say, stderr, typed
from spikecut.deploy.cli.parameters.choices import named, one_of

CHANGES = (
    "arch",
    "epochs",
    "timesteps",
    "levels",
    "rcs_alpha",
    "reset",
    "surrogate",
    "train_samples",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "optimiser",
    "weight_bits",
    "augment",
    "cutout",
    "label_smoothing",
    "bias_samples",
)
"""Options that are fields of a preset."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `spikecut train`; what is None stays as the preset says."""

    out: Annotated[Path, typer.Option(help="The checkpoint to write, a .safetensors file.")]
    preset: Annotated[
        str | None,
        typer.Option(
            help="DATASET-METHOD …, such as digits-qcfs: `spikecut list presets`.", **named("presets", "PRESET")
        ),
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            help="Direct training, or qcfs, a conversion; tet without a preset.",
            **one_of("tet", "tebn", "ce", "slayer", "qcfs"),
        ),
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option(
            help=f"A name (`spikecut list datasets`), or {OWN}; digits without a preset.",
            **named("datasets", "NAME|PATH"),
        ),
    ] = None
    data: Data = None
    arch: Annotated[
        str | None,
        typer.Option(
            help="`spikecut list architectures`; by default one that fits method and data.",
            **named("architectures", "ARCHITECTURE"),
        ),
    ] = None
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the preset's.")] = None
    timesteps: Annotated[
        int | None, typer.Option(min=1, max=MOST_TIMESTEPS, help="Horizon T; by default the preset's.")
    ] = None
    levels: Annotated[int | None, typer.Option(min=1, help="qcfs: levels L; by default the preset's.")] = None
    rcs_alpha: Annotated[
        float | None, typer.Option(help="Weight of the regulariser RCS, 0 or more; by default the preset's.")
    ] = None
    reset: Annotated[str | None, typer.Option(help="Of LIF neurons.", **one_of("zero", "subtract"))] = None
    surrogate: Annotated[
        str | None, typer.Option(help="Gradient of a spike.", **one_of("triangle", "rectangle", "arctan"))
    ] = None
    train_samples: Annotated[int | None, typer.Option(min=1, help="Take only N training samples, always the same.")] = (
        None
    )
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a batch; by default the preset's.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Highest of the one-cycle schedule.")] = None
    weight_decay: Annotated[float | None, typer.Option(help="By default the preset's.")] = None
    optimiser: Annotated[
        str | None, typer.Option(help="Rate and decay stay the preset's.", **one_of("adamw", "sgd"))
    ] = None
    weight_bits: Annotated[
        int | None, typer.Option(help="Round weights to 5 to 8 bits while training; export takes no wider ones.")
    ] = None
    start: Annotated[
        Path | None, typer.Option("--from", help="Begin with the weights of this checkpoint, or of zoo:NAME.")
    ] = None
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Shift and mirror training images at random.")
    ] = None
    cutout: Annotated[int | None, typer.Option(help="Side of a square that augmentation hides; 0 for none.")] = None
    label_smoothing: Annotated[
        float | None, typer.Option(help="Of the cross entropy, 0 up to 1; by default the preset's.")
    ] = None
    bias_samples: Annotated[
        int | None,
        typer.Option(help="qcfs: after the conversion, correct biases on N training samples; 0 for none."),
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of weights, order, spikes and augmentation.")] = 0
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted training to --out, from its last epoch.")
    ] = False
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop when the training loss has not fallen for N epochs.")
    ] = None
    log: Annotated[
        list[str] | None,
        typer.Option(help="Beside --out; may be repeated; none without.", **one_of("csv", "tensorboard")),
    ] = None
    accelerator: Annotated[str, typer.Option(help="What trains.", **one_of("cpu", "gpu", "auto"))] = "cpu"
    precision: Annotated[str, typer.Option(help="Of the floats.", **one_of("32-true", "bf16-mixed", "16-mixed"))] = (
        "32-true"
    )
    devices: Annotated[int, typer.Option(min=1, help="Devices that share each batch; on the CPU, processes.")] = 1
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1
    as_json: Json = False


@verb
def train(options: TrainOptions) -> None:
    """Train a network and write its checkpoint."""
    from spikecut.deploy.pipeline.train import train
    from spikecut.deploy.report.network_tables import accuracy_table

    changes = {name: value for name in CHANGES if (value := getattr(options, name)) is not None}
    done = train(
        options.out,
        preset=options.preset,
        method=options.method,
        dataset=options.dataset,
        start=options.start,
        seed=options.seed,
        folder=options.data,
        resume=options.resume,
        patience=options.patience,
        logs=tuple(options.log or ()),
        accelerator=options.accelerator,
        precision=options.precision,
        devices=options.devices,
        threads=options.threads,
        bars=stderr().is_terminal,
        **changes,
    )
    for note in done.notes:
        say(note)
    name, note = done.dataset
    shown: list[RenderableType] = [
        accuracy_table(done.accuracy, str(done.file)),
        *([f"{name}: {note}"] if note else []),
    ]
    after = typed("export", done.file, "--out", "bundle")
    report(Result(shown, done.data(), next=after), options.as_json)
