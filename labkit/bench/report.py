"""What benchmarks share: lines with ratios, the machine's facts, and the plain loop that others write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Line:
    """One measurement: our seconds, a peer's, and the ratio peer / ours (above 1: ours is faster)."""

    what: str
    ours: float
    peer: float
    peer_is: str

    @property
    def ratio(self) -> float:
        """How many times the peer's time is of ours."""
        return self.peer / self.ours


@dataclass(frozen=True, repr=False)
class Bench(Result):
    """The benchmark's lines with the facts of the machine they were measured on: see `run`."""

    lines: tuple[Line, ...]
    machine: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    def table(self) -> pd.DataFrame:
        """Return one row a measurement."""
        import pandas as pd

        rows = [
            {
                "measured": line.what,
                "labkit (s)": round(line.ours, 4),
                "peer (s)": round(line.peer, 4),
                "peer": line.peer_is,
                "peer / labkit": round(line.ratio, 2),
            }
            for line in self.lines
        ]
        return pd.DataFrame(rows).set_index("measured")

    def numbers(self) -> dict[str, Any]:
        """Return lines, machine and notes."""
        lines = [asdict(line) | {"ratio": line.ratio} for line in self.lines]
        return {"machine": self.machine, "notes": self.notes, "lines": lines}

    def summary(self) -> str:
        """Return each ratio in one line."""
        return "; ".join(f"{line.what}: peer / labkit {line.ratio:.2f}" for line in self.lines)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each line's ratio on a log axis, with a line where both take as long.

        Raises
        ------
        NotImplementedError
            If nothing was compared.
        """
        if not self.lines:
            raise NotImplementedError("no peer was measured: there is no ratio to draw")
        names = [line.what for line in self.lines]
        ax = bars(ax, names, [line.ratio for line in self.lines], "time of the peer / time of labkit")
        ax.axvline(1, color="black", linewidth=1)
        return plots.describe(ax.figure, f"Bars of times over labkit's. {self.summary()}.")

    def __str__(self) -> str:
        parts = [json.dumps(self.machine), self.table().to_string(), *self.notes]
        return "\n".join(parts)


def bars(ax: Axes | None, names: Sequence[str], values: Sequence[float], label: str) -> Axes:
    """Draw a horizontal bar for each name on a log axis, the first on top: on ``ax``, or on new axes."""
    ax = plots.figure(8, 1.2 + 0.35 * len(names))[1] if ax is None else ax
    ax.barh(range(len(names)), values, color=plots.COLOURS[0])
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel=label)
    return ax


def machine() -> dict[str, Any]:
    """Return what a reader must know of this machine to compare."""
    import os
    import platform

    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(profiles.device()),
        "load at start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "profile": profiles.current().name,
    }


def plain_loop(
    make_model: Callable[[], torch.nn.Module],
    x: torch.Tensor,
    y: torch.Tensor,
    masks: np.ndarray,
    epochs: int,
) -> None:
    """Train one model after another the way tutorials do: DataLoader, one SGD step a batch."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    for mask in masks:
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        loader = DataLoader(TensorDataset(x[mask], y[mask]), batch_size=128, shuffle=True)
        for _ in range(epochs):
            for inputs, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
