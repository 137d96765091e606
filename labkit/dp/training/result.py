"""What a private run leaves behind: the model, the statement about it, and how it got there."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, metrics, plots, stats
from labkit.results import Result, ResultError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True, repr=False)
class PrivateResult(Result):
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
    unsaved : str
        Why the last checkpoint was not kept; empty where it was, or where none was asked for.
    base_rate : float
        Accuracy of always answering the commonest class of the test records.
    measured : Measured or None
        Further metrics on the test records, where they were asked for; not in the file that `save` writes.
    """

    model: nn.Module
    privacy: PrivacyStatement
    accuracy: stats.Interval
    history: list[dict[str, float]]
    settings: dict[str, Any]
    source: str
    profile: str
    seed: int | None
    seconds: float
    unsaved: str = ""
    base_rate: float = math.nan
    measured: metrics.Measured | None = None

    @property
    def seed_text(self) -> str:
        """The seed for people."""
        return "drawn and not kept" if self.seed is None else str(self.seed)

    def numbers(self) -> dict[str, Any]:
        """Return what may be told of the run: without the seed and the losses, which the statement does not cover."""
        more = {} if self.measured is None else {"metrics": self.measured.numbers()}
        return more | {
            "accuracy": self.accuracy,
            "base_rate": self.base_rate,
            "epsilon": self.privacy.epsilon,
            "delta": self.privacy.delta,
            "privacy": str(self.privacy),
            "settings": self.settings,
            "source": self.source,
            "profile": self.profile,
            "seconds": self.seconds,
            "unsaved": self.unsaved,
        }

    def summary(self) -> str:
        """Return accuracy and privacy in one line, with what they depend on."""
        unsaved = f"; checkpoints were not kept: {self.unsaved}" if self.unsaved else ""
        return (
            f"test accuracy {self.accuracy.percent()} (always the commonest class: {100 * self.base_rate:.2f}%) with "
            f"{self.privacy} ({self.source}; profile {self.profile}; seed {self.seed_text}; {self.seconds:.0f} s{unsaved})"
        )

    def table(self) -> pd.DataFrame:
        """Return what was done and what came of it, one fact a row."""
        import pandas as pd

        facts = {
            "test accuracy": self.accuracy.percent(),
            "always the commonest class": f"{100 * self.base_rate:.2f}%",
            "privacy": str(self.privacy),
            "data": self.source,
            **{key.replace("_", " "): value for key, value in self.settings.items()},
            "profile": self.profile,
            "seed": self.seed_text,
            "seconds": round(self.seconds, 1),
            **({"checkpoints were not kept": self.unsaved} if self.unsaved else {}),
        }
        return pd.DataFrame(
            {"value": facts.values()}, index=pd.Index(facts.keys(), name="fact"), dtype=object
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw training loss and the epsilon spent against the steps taken; on a given ``ax``, the epsilon alone.

        Raises
        ------
        NotImplementedError
            If the result comes from a file, which holds no history.
        """
        if not self.history:
            raise NotImplementedError("a saved result keeps no history to draw: use table()")
        steps = [row["step"] for row in self.history]
        first, last = self.history[0], self.history[-1]
        told = (
            f"the privacy spent grows from {first['epsilon_rdp']:.2f} to {last['epsilon_rdp']:.2f} (RDP) over "
            f"{last['step']} steps on {self.source}."
        )
        if ax is None:
            _, (left, ax) = plots.figure(8, 3.2, ncols=2)
            left.plot(steps, [row["train_loss"] for row in self.history])
            left.set(xlabel="step", ylabel="training loss (nats)", title="Loss (not for release)")
            told = (
                f"training loss goes from {first['train_loss']:.3f} to {last['train_loss']:.3f}; while {told}"
            )
        ax.plot(steps, [row["epsilon_rdp"] for row in self.history])
        title = f"Privacy spent, δ = {self.privacy.delta:g}"
        ax.set(xlabel="step", ylabel="ε spent (RDP bound)", title=title)
        return plots.describe(ax.figure, told[0].upper() + told[1:])

    def save(self, path: str | Path) -> Path:
        """Write figures (``.json``), or weights and facts (any other ending); return the path.

        ``torch.load(path, weights_only=True)`` reads weights and facts back anywhere, without this kit. The training
        losses and the seed are left out: neither is covered by the privacy statement.

        Raises
        ------
        OSError
            If the file cannot be written; the message names the fix.
        """
        if Path(path).suffix == ".json":
            return super().save(path)
        facts = {
            "privacy": str(self.privacy),
            "statement": _plain(self.privacy),
            "accuracy": asdict(self.accuracy),
            "settings": self.settings,
            "source": self.source,
            "profile": self.profile,
            "seconds": self.seconds,
            "base_rate": self.base_rate,
        }
        with cache.atomic_path(path) as temporary:
            cache.save({"weights": self.model.state_dict(), **facts}, temporary)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | None = None) -> PrivateResult:
        """Return a result from what `save` wrote; its history is empty and its seed unknown. No code in it is run.

        Parameters
        ----------
        path : path
        model : nn.Module
            The network that was trained, with any weights; a copy takes the saved ones. The file holds no code.

        Raises
        ------
        ResultError
            If the file is missing, damaged, or no saved `PrivateResult`, the model is not given or does not take the
            weights, or the statement rests on events that this kit does not know.
        """
        found = _read(Path(path), cls.__name__)
        if model is None:
            raise ResultError(f"{path} holds weights, not code: pass model=<the network that was trained>")
        model = copy.deepcopy(model).cpu()
        try:
            model.load_state_dict(found["weights"])
        except RuntimeError as error:
            wrapped = all(name.startswith("model.") for name in found["weights"])
            hint = (
                "; weights saved after train_private(output=...) want model=labkit.adapt.as_module(network, output=...)"
                if wrapped
                else ""
            )
            raise ResultError(f"{path} holds the weights of another network ({error}){hint}") from error
        return cls(
            model=model.eval(),
            privacy=_statement(found["statement"], path),
            accuracy=stats.Interval(**found["accuracy"]),
            history=[],
            settings=found["settings"],
            source=found["source"],
            profile=found["profile"],
            seed=None,
            seconds=found["seconds"],
            base_rate=found.get("base_rate", math.nan),
        )


def _plain(privacy: PrivacyStatement) -> dict[str, Any]:
    """Return a statement as numbers and text, each of its events with its class's name."""
    events = [
        {"kind": type(event).__name__, **(asdict(event) if is_dataclass(event) else {})}
        for event in privacy.events
    ]
    tuning = None if privacy.tuning is None else asdict(privacy.tuning)
    return {**vars(privacy), "events": events, "tuning": tuning}


def _statement(plain: dict[str, Any], path: str | Path) -> PrivacyStatement:
    """Return the statement that `_plain` wrote down."""
    from labkit.dp.accounting.statement import (
        LaplaceEvent,
        PrivacyStatement,
        PureDP,
        SampledGaussian,
        TuningCost,
    )

    known = {kind.__name__: kind for kind in (SampledGaussian, LaplaceEvent, PureDP)}
    if strange := {event["kind"] for event in plain["events"]} - known.keys():
        raise ResultError(
            f"{path} rests on events of your own ({', '.join(sorted(strange))}): read it by torch.load(path, weights_only=True)"
        )
    events = tuple(known[e["kind"]](**{k: v for k, v in e.items() if k != "kind"}) for e in plain["events"])
    tuning = None if plain["tuning"] is None else TuningCost(**plain["tuning"])
    return PrivacyStatement(**{**plain, "events": events, "tuning": tuning})


def _read(path: Path, name: str) -> dict[str, Any]:
    """Return what `PrivateResult.save` wrote, or refuse the file."""
    import torch

    if path.suffix == ".json":
        raise ResultError(f"{path} holds figures only: save the result under another ending to load it again")
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise ResultError(f"{path} is not there: save a {name} to it first") from error
    except Exception as error:
        raise ResultError(f"{path} cannot be read ({error}): make the result again and save it") from error
    if not isinstance(found, dict) or not {"weights", "statement", "seconds"} <= found.keys():
        raise ResultError(f"{path} holds no whole {name}: save it again with this version of labkit")
    return found
