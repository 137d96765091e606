"""The gradient step of private training, behind one method, so that one loop serves every engine.

An engine's ``step`` takes one logical (Poisson) batch, cut into physical parts that fit in memory: it clips every
record's gradient, sums them, adds noise once, divides by the *expected* batch size and moves the weights. An empty
batch is a step like any other: noise alone (skipping it would tell that the batch was empty).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from labkit.dp.training import gradients, layers, linear
from labkit.dp.training.losses import PLAIN, Loss

# Records at a time on a CPU: what they leave behind then stays in the cache until it is summed. Measured on the MNIST network.
ENGINES = ("opacus", "vmap", "layers", "linear")
CPU_CHUNK = {"vmap": 128, "layers": 256}

Parts = Sequence[tuple[Tensor, Tensor]]
ClippedSum = Callable[[nn.Module, Tensor, Tensor, float], tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True)
class Mechanism:
    """What one private step does to the sum of gradients.

    Attributes
    ----------
    noise_multiplier : float
        Standard deviation of the noise on the sum, in units of ``max_grad_norm``.
    max_grad_norm : float
        Longest gradient that one record may contribute.
    sample_rate : float
        Probability with which each record joins a step.
    expected_batch_size : float
        ``sample_rate`` times the number of records, not rounded: the divisor of the noisy sum.
    """

    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    expected_batch_size: float


class Engine(Protocol):
    """A model with the means to take private steps on it."""

    optimizer: torch.optim.Optimizer

    def step(self, parts: Parts) -> Tensor:
        """Take one step on a logical batch given as parts ``(x, y)``; return the summed loss before the step."""

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs besides weights and generators."""

    def restore(self, state: dict[str, Any]) -> None:
        """Put a `state` back."""

    def release(self) -> nn.Module:
        """Return the bare model, free of hooks."""


class SumEngine:
    """DP-SGD around a function that returns the sum of clipped gradients, asked for ``chunk`` records at a time."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        mechanism: Mechanism,
        generator: torch.Generator,
        clipped_sum: ClippedSum,
        chunk: int | None = None,
    ) -> None:
        self.optimizer, self._model, self._mechanism = optimizer, model, mechanism
        self._generator, self._clipped_sum, self._chunk = generator, clipped_sum, chunk

    def step(self, parts: Parts) -> Tensor:
        moving = gradients.trainable(self._model)
        sums = {name: torch.zeros_like(p) for name, p in moving.items()}
        loss = torch.zeros((), device=next(iter(sums.values())).device)
        for x, y in self._chunks(parts):
            part, part_loss = self._clipped_sum(self._model, x, y, self._mechanism.max_grad_norm)
            loss += part_loss
            for name, total in sums.items():
                total += part[name]
        std = self._mechanism.noise_multiplier * self._mechanism.max_grad_norm
        for name, p in moving.items():
            noise = torch.normal(0.0, std, p.shape, generator=self._generator, device=p.device, dtype=p.dtype)
            p.grad = (sums[name] + noise) / self._mechanism.expected_batch_size
        self.optimizer.step()
        return loss

    def _chunks(self, parts: Parts) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in parts:
            if len(x):
                size = self._chunk or len(x)
                yield from zip(x.split(size), y.split(size), strict=True)

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])

    def release(self) -> nn.Module:
        self.optimizer.zero_grad(set_to_none=True)
        return self._model


def _contiguous(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in inputs)


class OpacusEngine:
    """DP-SGD by Opacus: its hooks compute per-sample gradients, its optimizer clips, adds noise and keeps account."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        mechanism: Mechanism,
        generator: torch.Generator,
        records: torch.utils.data.Dataset,
        loss: Loss = PLAIN,
    ) -> None:
        from opacus import PrivacyEngine

        with warnings.catch_warnings():
            # Its secure generator (torchcsprng) has no build for current Pythons.
            warnings.filterwarnings("ignore", message="Secure RNG turned off")
            self._privacy = PrivacyEngine(accountant="prv")
        batch = max(1, round(mechanism.expected_batch_size))
        self._module, self.optimizer, _ = self._privacy.make_private(
            module=model,
            optimizer=optimizer,
            data_loader=torch.utils.data.DataLoader(records, batch_size=batch),
            noise_multiplier=mechanism.noise_multiplier,
            max_grad_norm=mechanism.max_grad_norm,
            noise_generator=generator,
        )
        # make_private rounds: q to 1 / len(loader), the expected batch down to an integer. Put the exact ones back.
        self.optimizer.expected_batch_size = mechanism.expected_batch_size
        account = self._privacy.accountant.get_optimizer_hook_fn(sample_rate=mechanism.sample_rate)
        self.optimizer.attach_step_hook(account)
        # Opacus 1.6 unfolds a convolution's input by its strides as if it were contiguous: with a channels-last input
        # the per-sample gradients come out wrong, without a word. The rest of the network may stay channels-last.
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        self._own_hooks = [m.register_forward_pre_hook(_contiguous) for m in convolutions]
        self._checked, self._loss = False, loss

    def step(self, parts: Parts) -> Tensor:
        total = torch.zeros((), device=self.optimizer.params[0].device)
        for last, (x, y) in enumerate(parts, start=1 - len(parts)):
            self.optimizer.zero_grad(set_to_none=True)
            total += self._backward(x, y)
            # All parts but the last only clip and accumulate; the last also adds the noise and moves the weights.
            self.optimizer.signal_skip_step(do_skip=last < 0)
            self.optimizer.step()
        return total

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Leave per-sample gradients in ``grad_sample`` of each parameter; return the summed loss."""
        if len(x) == 0:
            for p in self.optimizer.params:
                p.grad_sample = p.new_zeros((0, *p.shape))
            return torch.zeros((), device=x.device)
        with warnings.catch_warnings():
            # The hooks sit on the first layer too, whose input needs no gradient: expected, and harmless.
            warnings.filterwarnings("ignore", message=".*[Bb]ackward hook.*")
            loss = self._loss.mean(self._module(x), y)  # a mean: Opacus multiplies the batch size back in
            loss.backward()
        for p in self.optimizer.params:
            if p.grad_sample is None:  # a weight that forward() leaves out has a gradient all the same: zero
                p.grad_sample, p.grad = p.new_zeros((len(x), *p.shape)), torch.zeros_like(p)
        if not self._checked:
            self._check_samples(len(x))
        return loss.detach() * len(x)

    def _check_samples(self, batch: int) -> None:
        """Compare the mean of the first per-sample gradients with autograd's own gradient, which comes for free."""
        for p in self.optimizer.params:
            mean = p.grad_sample.sum(0) / batch
            error, scale = float((mean - p.grad).abs().max()), float(p.grad.abs().max())
            if error > 1e-3 * scale + 1e-6:
                raise ValueError(
                    f"Opacus's per-sample gradients of a parameter of shape {tuple(p.shape)} miss the true gradient by "
                    f"{error:.2g} (largest entry {scale:.2g}): a layer it cannot differentiate per record; use "
                    "engine='vmap', or make the layer's input contiguous"
                )
        self._checked = True

    def state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "accountant": [list(row) for row in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self._privacy.accountant.history = [tuple(row) for row in state["accountant"]]

    @property
    def history(self) -> list[tuple[float, float, int]]:
        """What Opacus's accountant has booked: rows of (noise_multiplier, sample_rate, steps)."""
        return self._privacy.accountant.history

    def release(self) -> nn.Module:
        self.optimizer.zero_grad(set_to_none=True)
        for hook in self._own_hooks:
            hook.remove()
        return self._module.to_standard_module()


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the layout that a network for records ``x`` trains in: pooling of images is several times faster channels-last."""
    return torch.channels_last if x.ndim == 4 else torch.contiguous_format


def check_engine(name: str, model: nn.Module) -> None:
    """Raise ``ValueError`` if ``name`` is no engine, or ``model`` does not suit it."""
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is unknown; expected one of {', '.join(map(repr, ENGINES))}")
    if name == "layers":
        layers.check(model)
    if name == "linear":
        linear.linear_layer(model)


def make_engine(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    mechanism: Mechanism,
    generator: torch.Generator,
    records: torch.utils.data.Dataset,
    loss: Loss = PLAIN,
) -> Engine:
    """Return the engine called ``name``, one of `ENGINES`; raises as `check_engine` does."""
    check_engine(name, model)
    if name == "opacus":
        return OpacusEngine(model, optimizer, mechanism, generator, records, loss)
    clipped_sum = {"vmap": gradients, "layers": layers, "linear": linear}[name].clipped_sum
    if not loss.plain:
        clipped_sum = functools.partial(clipped_sum, loss_of_each=loss)
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    chunk = CPU_CHUNK.get(name) if on_cpu else None
    return SumEngine(model, optimizer, mechanism, generator, clipped_sum, chunk)
