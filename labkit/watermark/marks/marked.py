"""What marking gives back: a model, the key that marked it, and the triggers that show the mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from labkit.stats import Interval
from labkit.watermark.marks.keys import GENERATOR, Key


@dataclass(frozen=True, eq=False, repr=False)
class TriggerSet:
    """Inputs and the answers that a marked model gives to them.

    Attributes
    ----------
    x : float Tensor of shape (n, C, H, W), in [0, 1]
    y : int64 Tensor of shape (n,)
        The mark's answers.
    kind : str
        The generator's name: a key of `labkit.watermark.marks.triggers.KINDS`.
    generator : str
        Version of the keyed generator that drew them.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or there is no trigger.
    """

    x: Tensor
    y: Tensor
    kind: str
    generator: str = GENERATOR

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or len(self.x) == 0 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"got trigger inputs {tuple(self.x.shape)} and answers {tuple(self.y.shape)}; "
                "expected (n, C, H, W) and (n,), n at least 1"
            )

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"TriggerSet({self.kind}: {len(self)} triggers, {self.generator})"

    def take(self, count: int) -> TriggerSet:
        """Return the first ``count`` triggers (all, if there are fewer)."""
        return TriggerSet(self.x[:count], self.y[:count], self.kind, self.generator)


@dataclass(frozen=True, eq=False, repr=False)
class MarkedModel:
    """A marked model with what its owner keeps: see `labkit.watermark.marks.embed`.

    Attributes
    ----------
    model : nn.Module
    scheme : str
        A key of `labkit.watermark.marks.embed.SCHEMES`.
    key : Key
    triggers : TriggerSet or None
        For verification; none of them was trained on, where the scheme can draw fresh ones. None for a white-box mark.
    strength : Interval
        Share of triggers (or of bits) that answer as marked, Clopper-Pearson.
    accuracy : Interval
        On the test records.
    facts : dict
        What else the scheme needs to verify (layer and projection of a white-box mark, for example).
    """

    model: nn.Module
    scheme: str
    key: Key
    triggers: TriggerSet | None
    strength: Interval
    accuracy: Interval
    source: str
    profile: str
    seed: int
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"MarkedModel({self.scheme}, {self.key}: strength {self.strength.percent(1)}, accuracy "
            f"{self.accuracy.percent(1)}; {self.source}; profile {self.profile}; seed {self.seed})"
        )
