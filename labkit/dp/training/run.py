"""The loop of private training: settings, sampling, checkpoints; the gradient step itself is an engine's."""

from __future__ import annotations

import hashlib
import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit import cache, models, progress
from labkit.dp.limits import check_count, check_noise_multiplier, is_finite
from labkit.dp.training import checkpoint as checkpoints
from labkit.dp.training.engines import Engine, Mechanism, make_engine, memory_format
from labkit.dp.training.losses import PLAIN, Loss
from labkit.dp.training.textbook import poisson_batch

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.accounting.events import Event

SCHEDULES = ("constant", "linear")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a private run goes, besides the model, the records and the seed."""

    engine: str
    noise_multiplier: float
    max_grad_norm: float
    expected_batch_size: float
    sample_rate: float
    steps: int
    learning_rate: float
    momentum: float
    schedule: str
    physical_batch_size: int
    delta: float
    optimizer: str = "sgd"
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check_noise_multiplier(self.noise_multiplier)
        check_count("steps", self.steps)
        check_count("physical_batch_size", self.physical_batch_size)
        for name in ("max_grad_norm", "learning_rate"):
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; expected a positive number")
        if not (is_finite(self.momentum) and 0 <= self.momentum < 1):
            raise ValueError(f"momentum is {self.momentum!r}; expected 0 <= momentum < 1")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer {self.optimizer!r} is unknown; expected one of {', '.join(OPTIMIZERS)}"
            )
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(
                f"momentum={self.momentum} is of optimizer='sgd'; {self.optimizer!r} has its own averages: leave it out"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r} is unknown; expected one of {', '.join(SCHEDULES)}")

    def optimizer_of(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer: whatever it makes of the noisy gradients is post-processing, and costs no privacy."""
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self.learning_rate)
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum)

    def described(self) -> dict[str, Any]:
        """Return the settings by name; those that few runs have only where they differ from what all others have."""
        usual = {"optimizer": "sgd", "class_weights": None}
        return {key: value for key, value in asdict(self).items() if key not in usual or value != usual[key]}

    @property
    def mechanism(self) -> Mechanism:
        return Mechanism(
            self.noise_multiplier, self.max_grad_norm, self.sample_rate, self.expected_batch_size
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which each record is expected to be used once, rounded."""
        return max(1, round(1 / self.sample_rate))

    def rate_at(self, step: int) -> float:
        """Return the learning rate of ``step`` (from 0)."""
        return self.learning_rate * (1 - step / self.steps if self.schedule == "linear" else 1)


def _generator(purpose: str, seed: int, device: torch.device) -> torch.Generator:
    """Return a generator of its own for each purpose, so that more draws of one never shift the other."""
    key = hashlib.sha256(f"labkit {purpose} {seed}".encode()).digest()[:8]
    return torch.Generator(device).manual_seed(int.from_bytes(key, "little") >> 1)


def running_epsilon(settings: Settings, others: Sequence[Event] = ()) -> Callable[[int], float]:
    """Return the ε spent after a number of steps, by Rényi DP: an upper bound that costs a millisecond a call.

    ``others`` is what else was released from the same records: it was spent before the first step.

    The statement at the end uses tighter accountants, so the last running value lies somewhat above it.
    """
    from labkit.dp.accounting.accountants import rdp_epsilon
    from labkit.dp.accounting.events import SampledGaussian

    def epsilon(steps: int) -> float:
        event = SampledGaussian(settings.noise_multiplier, steps, settings.sample_rate)
        return rdp_epsilon([*others, event], settings.delta)

    return epsilon


class Run:
    """One training run: model, engine, generators and records, and how to save and restore them."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        settings: Settings,
        seed: int | None,
        device: torch.device,
        others: Sequence[Event] = (),
        loss: Loss = PLAIN,
    ) -> None:
        model = model.to(memory_format=memory_format(dataset.train_x))
        self.identity = {
            **settings.described(),
            "seed": seed,
            "data": str(dataset.digest),
            "initial model": cache.digest(repr(model), list(model.state_dict().values())),
            "device": device.type,
            "other events": sorted(map(repr, others)),
        }
        if loss.each is not None:
            self.identity["loss"] = cache.digest(loss.each)
        self.epsilon = running_epsilon(settings, others)
        seed = secrets.randbits(63) if seed is None else seed
        self.model, self.settings, self.device, self.seed = model.to(device).train(), settings, device, seed
        self.x, self.y = dataset.train_x.to(device), dataset.train_y.to(device)
        moving = [p for p in model.parameters() if p.requires_grad]
        optimizer = settings.optimizer_of(moving)
        self.sampling = _generator("sampling", seed, torch.device("cpu"))
        self.noise = _generator("noise", seed, device)
        records = torch.utils.data.TensorDataset(self.x, self.y)
        self.engine: Engine = make_engine(
            settings.engine, self.model, optimizer, settings.mechanism, self.noise, records, loss
        )
        self.done, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.totals = [0.0, 0.0]  # loss and records since the last row of the history
        self.unsaved = ""  # why the last checkpoint could not be written

    def step(self) -> None:
        """Draw one Poisson batch and take one private step on it."""
        batch = poisson_batch(len(self.x), self.settings.sample_rate, self.sampling).to(self.device)
        parts = [(self.x[i], self.y[i]) for i in batch.split(self.settings.physical_batch_size)]
        for group in self.engine.optimizer.param_groups:
            group["lr"] = self.settings.rate_at(self.done)
        loss = self.engine.step(parts)
        gradient = sum(p.grad.sum() for p in self.model.parameters() if p.requires_grad)
        if not bool(torch.isfinite(loss + gradient)):
            raise FloatingPointError(
                f"loss or gradient became NaN or infinite at step {self.done + 1}: lower "
                f"learning_rate={self.settings.learning_rate}, and check that the model's output is finite. (Clipping "
                "cannot bound a NaN: such a step has no privacy, so the run stops.)"
            )
        self.done += 1
        self.totals[0] += float(loss)
        self.totals[1] += len(batch)

    def train(self, path: Path | None) -> tuple[list[dict[str, float]], float]:
        """Take all remaining steps; return the history and the seconds spent in all.

        Where a checkpoint cannot be written, the run warns once and goes on: its privacy is spent with each step, and what
        is trained would be lost. The first is written before the first step, so that the warning comes before that.
        """
        with models.seeded(self.seed):  # for layers that draw, such as Dropout
            saved = checkpoints.load(path, self.identity) if path else None
            if saved:
                self.restore(saved)
            elif path:
                self._save(path)
            self._loop(path)
        return self.history, self.seconds

    def _loop(self, path: Path | None) -> None:
        settings = self.settings
        before, start = self.seconds, time.perf_counter()
        with (
            checkpoints.interrupts_deferred() as interrupted,
            progress.bar(settings.steps, f"private training ({settings.engine})", initial=self.done) as shown,
        ):
            while self.done < settings.steps:
                self.step()
                self.seconds = before + time.perf_counter() - start
                shown.update()
                if self.done % settings.steps_per_epoch == 0 or self.done == settings.steps:
                    self._note(self.epsilon(self.done))
                    row = self.history[-1]
                    shown.set_postfix_str(f"ε ≤ {row['epsilon_rdp']:.2f} (RDP), loss {row['train_loss']:.3f}")
                    if path:
                        self._save(path)
                if interrupted():
                    raise KeyboardInterrupt(self._stopped(path))

    def _note(self, epsilon: float) -> None:
        loss, count = self.totals
        self.totals = [0.0, 0.0]
        epoch = self.done * self.settings.sample_rate
        row = {"step": self.done, "epoch": epoch, "epsilon_rdp": epsilon, "train_loss": loss / max(count, 1)}
        self.history.append(row)

    def _stopped(self, path: Path | None) -> str:
        where = f"stopped after step {self.done} of {self.settings.steps}"
        if path is None:
            return f"{where}; nothing was saved: pass checkpoint=<file> to be able to go on next time"
        self._save(path)
        if self.unsaved:
            return f"{where}; the steps since the last checkpoint are lost: {self.unsaved}"
        return f"{where} and saved to {path}: run the same call again to go on from there"

    def _save(self, path: Path) -> None:
        """Write a checkpoint; where that fails, note why, and warn the first time in a row."""
        before, self.unsaved = self.unsaved, ""
        try:
            checkpoints.save(path, self.identity, self.state())
        except OSError as error:
            self.unsaved = str(error)
            if not before:
                warnings.warn(
                    f"the run goes on, but its checkpoint {path} is not kept: {error}",
                    cache.CacheWarning,
                    stacklevel=2,
                )

    def state(self) -> dict[str, Any]:
        """Return all that the remaining steps depend on."""
        return {
            "weights": self.model.state_dict(),
            "engine": self.engine.state(),
            "sampling": self.sampling.get_state(),
            "noise": self.noise.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "done": self.done,
            "seconds": self.seconds,
            "history": self.history,
            "totals": self.totals,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved `state`."""
        self.model.load_state_dict(state["weights"])
        self.engine.restore(state["engine"])
        self.sampling.set_state(state["sampling"])
        self.noise.set_state(state["noise"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.done, self.seconds = state["done"], state["seconds"]
        self.history, self.totals = state["history"], state["totals"]
