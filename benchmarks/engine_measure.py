"""Timing for the engine benchmark: alternating repetitions, medians with their spread, and the box's peaks."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

Task = Callable[[], Any]
GEMM = 2048


def alternate(tasks: Mapping[str, Task], repetitions: int) -> dict[str, list[float]]:
    """Seconds of every task in every repetition; each repetition runs all tasks once, after one run to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repetition in range(-1, repetitions):
        for name, task in tasks.items():
            began = time.perf_counter()
            counted = task()
            taken = time.perf_counter() - began
            if repetition >= 0:
                seconds[name].append(counted if isinstance(counted, float) else taken)
    return seconds


def summary(seconds: list[float], amount: float) -> dict[str, Any]:
    """Amount per second: median, least and most of the repetitions, and the seconds themselves."""
    return {**spread([amount / each for each in seconds]), "seconds": seconds}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def written(found: Mapping[str, Any], unit: str = "") -> str:
    """Median and spread as one text."""
    return f"{found['median']:,.4g}{unit} ({found['least']:,.4g} to {found['most']:,.4g})"


def peaks(repetitions: int) -> dict[str, dict[str, Any]]:
    """Multiply-accumulates a second of a large square product on all cores: float32, and int8 where oneDNN has it."""
    left = torch.rand(GEMM, GEMM)
    tasks: dict[str, Task] = {"float32": lambda: torch.mm(left, left)}
    operators = torch.ops.onednn
    try:
        packed = operators.qlinear_prepack(torch.ones(GEMM, GEMM, dtype=torch.int8), None)
        ones, zeros = torch.ones(GEMM), torch.zeros(GEMM, dtype=torch.int64)
        messages = torch.ones(GEMM, GEMM, dtype=torch.uint8)
        operators.qlinear_pointwise(messages, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    except (RuntimeError, AttributeError, NotImplementedError):
        pass
    else:
        tasks["int8"] = lambda: operators.qlinear_pointwise(
            messages, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
    return {name: summary(taken, GEMM**3) for name, taken in alternate(tasks, repetitions).items()}


def machine() -> dict[str, Any]:
    """What this was measured on, and how busy it was."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "avx512_vnni": "avx512_vnni" in flags,
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
