"""Which arithmetic trains faster on this machine: float32 or bfloat16, measured once and kept.

bfloat16 keeps float32's range and 8 bits of its precision; weights, sums and the optimizer stay in float32
(`torch.autocast`). On processors with AVX512-BF16 or AMX, and on GPUs, a convolution then takes about half the time; on
others it is emulated and slower. So it is measured, on the blocks that `labkit.models.fast_cnn` is made of.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import time

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import cache, profiles
from labkit.models import seeded

PRECISIONS = ("float32", "bfloat16")
VARIABLE = "LABKIT_PRECISION"
WORTH = 0.8  # bfloat16 has to take less than this share of float32's time, far enough from 1 to hold on a busy machine


def quickest(device: torch.device | None = None) -> str:
    """Return "bfloat16" where it trains convolutions in less than `WORTH` of float32's time, else "float32".

    Measured once, in about a second, and kept in the cache: models are cached by the precision they were trained in, and
    a second measurement on a busy machine must not make them all anew. ``LABKIT_PRECISION`` overrules it.

    Raises
    ------
    ValueError
        If the variable names no precision.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted:
        return check(wanted, VARIABLE)
    return "bfloat16" if share(str(device or profiles.device())) < WORTH else "float32"


def check(name: str, what: str = "precision") -> str:
    """Return ``name`` if it is a precision; raise ``ValueError`` otherwise."""
    if name not in PRECISIONS:
        raise ValueError(f"{what} is {name!r}; expected one of {', '.join(PRECISIONS)}")
    return name


def described(device: torch.device | None = None) -> str:
    """Return one line for banners: the precision that models are trained in here, and why."""
    name = quickest(device)
    if os.environ.get(VARIABLE):
        return f"{name} ({VARIABLE} says so)"
    taken = share(str(device or profiles.device()))
    return f"{name} (a bfloat16 training step takes {100 * taken:.0f}% of a float32 one here)"


@functools.cache
def share(device: str) -> float:
    """Return what part of a float32 step's time a bfloat16 step takes on ``device``; infinity where it cannot be run."""
    path = cache.directory() / "precision" / f"{cache.digest(_machine(device))[:32]}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["share"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        found = _step_seconds(torch.device(device), True) / _step_seconds(torch.device(device), False)
    except RuntimeError:  # this build has no such kernel
        found = float("inf")
    try:
        with cache.atomic_path(path) as part:
            part.write_text(json.dumps({"share": found, "machine": _machine(device)}), encoding="utf-8")
    except OSError:  # a cache that cannot be written is a fault elsewhere; here it costs a second
        pass
    return found


def _machine(device: str) -> list[str]:
    """Return what the measurement holds for: host, processor, build of torch, device."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor()
    ability = torch.backends.cpu.get_cpu_capability()
    return [platform.node(), platform.machine(), name, ability, torch.__version__, device]


def _step_seconds(device: torch.device, bfloat16: bool, *, steps: int = 9) -> float:
    """Return the median seconds of a training step of two convolutions with BatchNorm on 128 images of 16x16."""
    with seeded(0):
        model = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        ).to(device, memory_format=torch.channels_last)
        x = torch.rand(128, 16, 16, 16).to(device, memory_format=torch.channels_last)
    y = torch.arange(128, device=device) % 10
    taken = []
    for _ in range(steps):
        # Processor time does not see what other programs take; a GPU's work is on no processor's clock.
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        start = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            outputs = model(x)
        F.cross_entropy(outputs.float(), y).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(clock() - start)
    return sorted(taken)[len(taken) // 2]
