"""The command stream: events of a file through the streaming monitor, each verdict printed as it falls."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from spikecut.deploy.cli.options import Bundle, as_typed, verb
from spikecut.deploy.cli.output import print_notes, say_next, stdout, typed, visible
from spikecut.deploy.cli.parameters.choices import one_of

if TYPE_CHECKING:  # imported when the command runs
    from spikecut.deploy.backends.base import LavaModels
    from spikecut.deploy.pipeline.stream import EventStream, Verdict

COLUMNS = (("segment", 8), ("frame", 8), ("hw step", 9), ("ms", 11), ("class", 14), ("frames", 8), ("margin", 9))
"""Headings and widths of the lines, all but the last."""


@dataclass(frozen=True, kw_only=True)
class StreamCommandOptions:
    """Arguments and options of `spikecut stream`."""

    bundle: Bundle
    events: Annotated[
        Path,
        typer.Argument(help="Events: .npz with t, x, y, p or with uint8 x [N, T, …]; .bs2; .aedat of version 3.1."),
    ]
    backend: Annotated[str, typer.Option(help="What plays the stream.", **one_of("batched", "lava"))] = "batched"
    lava_models: Annotated[
        str, typer.Option(help="On Lava; the same integers.", **one_of("stock", "fast", "fused"))
    ] = "fast"
    window: Annotated[
        int | None, typer.Option(min=1, help="Frames after which a segment ends without the policy; default: T.")
    ] = None
    confirmations: Annotated[
        int, typer.Option(min=1, help="Safe verdicts in a row that change the announced class.")
    ] = 1
    frame_us: Annotated[
        int | None, typer.Option(min=1, help="Microseconds of a frame; default: the file is cut into T frames.")
    ] = None
    merge: Annotated[
        int | None, typer.Option(min=1, help="N × N pixels become one; default: as in training, else 1.")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each verdict.")] = False


@verb
def stream(options: StreamCommandOptions) -> None:
    """Play recorded events through the network without end: each verdict as it falls, then the next segment."""
    from spikecut.deploy.pipeline.stream import StreamOptions, stream_events

    chosen = StreamOptions(
        options.backend,
        cast("LavaModels", options.lava_models),  # checked there
        options.window,
        options.confirmations,
        options.frame_us,
        options.merge,
    )
    opened = stream_events(options.bundle, options.events, chosen)
    print_notes(opened.notes)
    seen: list[Verdict] = []
    console = stdout()
    for line in _lines(opened, seen, options.as_json):
        print(line, flush=True)
    if options.as_json:
        print(json.dumps(_summary(opened, seen), sort_keys=True))
        return
    console.print(_in_words(_summary(opened, seen)))
    again = options.confirmations == 1 and bool(seen)
    more = ("stream", as_typed(options.bundle), options.events, "--confirmations", 3)
    say_next(typed(*more) if again else typed("inspect", as_typed(options.bundle)))


def _lines(opened: "EventStream", seen: "list[Verdict]", as_json: bool) -> Iterator[str]:
    """A line for each verdict, as it falls; each is added to `seen`."""
    if not as_json:
        yield "".join(f"{name:>{width}}" for name, width in COLUMNS) + "  ended by"
    for verdict in opened.verdicts:
        seen.append(verdict)
        if as_json:
            yield json.dumps(asdict(verdict), sort_keys=True)
            continue
        time = "" if verdict.end_us is None else f"{verdict.end_us / 1000:.1f}"
        cells: tuple[object, ...] = (
            *(verdict.segment, verdict.frame, verdict.hardware_step, time),
            *(visible(verdict.label), verdict.timesteps, verdict.margin),
        )
        text = "".join(f"{cell!s:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))
        yield f"{text}  {'policy' if verdict.safe else 'window'}"


def _summary(opened: "EventStream", seen: "list[Verdict]") -> dict[str, Any]:
    announced = [verdict.announced for verdict in seen]
    changes = sum(a is not None and a != b for a, b in pairwise(announced))
    return {
        "frames": opened.frames,
        "verdicts": len(seen),
        "safe": sum(verdict.safe for verdict in seen),
        "mean_timesteps": sum(verdict.timesteps for verdict in seen) / len(seen) if seen else None,
        "classes": dict(Counter(verdict.label for verdict in seen).most_common()),
        "changes": changes,
    }


def _in_words(summary: dict[str, Any]) -> str:
    if not summary["verdicts"]:
        return f"no verdict in {summary['frames']} frames: the window is longer"
    classes = ", ".join(f"{visible(label)} ({count})" for label, count in summary["classes"].items())
    return (
        f"{summary['verdicts']} verdicts in {summary['frames']} frames, {summary['safe']} by the policy, after "
        f"{summary['mean_timesteps']:.2f} frames on average; the announced class changed {summary['changes']} times; "
        f"{classes}"
    )
