"""What a private run leaves behind: the model, the statement about it, and how it got there."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, plots, stats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True)
class PrivateResult:
    """A privately trained model: see `labkit.dp.training.train_private.train_private`.

    Attributes
    ----------
    model : nn.Module
        The trained model. It, and anything computed from it, is covered by ``privacy``.
    privacy : PrivacyStatement
    accuracy : Interval
        On the data set's test records, measured once, at the end.
    history : list of dict
        One row per epoch: ``step``, ``epoch``, ``epsilon_rdp`` (spent so far) and ``train_loss``. The losses come from
        the private records without noise: for the trainer's eyes, **not** covered by the statement.
    settings : dict
    source, profile : str
        Where the data came from, and the profile that the run was made under.
    seed : int or None
        Whoever knows it can subtract the noise: a model that leaves the house is best trained without one (None).
    seconds : float
        Wall time of the training loop.
    """

    model: nn.Module
    privacy: PrivacyStatement
    accuracy: stats.Interval
    history: list[dict[str, float]] = field(repr=False)
    settings: dict[str, Any]
    source: str
    profile: str
    seed: int | None
    seconds: float

    @property
    def seed_text(self) -> str:
        """The seed for people."""
        return "drawn and not kept" if self.seed is None else str(self.seed)

    def __str__(self) -> str:
        return (
            f"test accuracy {self.accuracy.percent()} with {self.privacy} "
            f"({self.source}; profile {self.profile}; seed {self.seed_text}; {self.seconds:.0f} s)"
        )

    def table(self) -> pd.DataFrame:
        """Return what was done and what came of it, one fact a row."""
        import pandas as pd

        facts = {
            "test accuracy": self.accuracy.percent(),
            "privacy": str(self.privacy),
            "data": self.source,
            **{key.replace("_", " "): value for key, value in self.settings.items()},
            "profile": self.profile,
            "seed": self.seed_text,
            "seconds": round(self.seconds, 1),
        }
        return pd.DataFrame(
            {"value": facts.values()}, index=pd.Index(facts.keys(), name="fact"), dtype=object
        )

    def plot(self) -> Figure:
        """Draw training loss and the epsilon spent against the steps taken."""
        steps = [row["step"] for row in self.history]
        fig, (left, right) = plots.figure(8, 3.2, ncols=2)
        left.plot(steps, [row["train_loss"] for row in self.history])
        left.set(xlabel="step", ylabel="training loss (nats)", title="Loss (not for release)")
        right.plot(steps, [row["epsilon_rdp"] for row in self.history])
        right.set(
            xlabel="step", ylabel="ε spent (RDP bound)", title=f"Privacy spent, δ = {self.privacy.delta:g}"
        )
        first, last = self.history[0], self.history[-1]
        return plots.describe(
            fig,
            f"Two curves over {last['step']} steps on {self.source}. Training loss goes from {first['train_loss']:.3f} "
            f"to {last['train_loss']:.3f}; the privacy spent grows from {first['epsilon_rdp']:.2f} "
            f"to {last['epsilon_rdp']:.2f} (RDP).",
        )

    def save(self, path: str | Path) -> Path:
        """Write weights and facts to ``path``; ``torch.load(path, weights_only=True)`` reads them back anywhere.

        The training losses and the seed are left out: neither is covered by the privacy statement.
        """
        facts = {
            "privacy": str(self.privacy),
            "accuracy": asdict(self.accuracy),
            "settings": self.settings,
            "source": self.source,
            "profile": self.profile,
        }
        with cache.atomic_path(path) as temporary:
            cache.save({"weights": self.model.state_dict(), **facts}, temporary)
        return Path(path)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(str(fact))}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for fact, value in self.table()["value"].items()
        )
        return f"<table>{rows}</table>"
