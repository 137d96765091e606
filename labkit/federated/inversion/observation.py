"""What the server sees of a round: one update, a sum of hospitals, clipped and noisy or not.

Every attack of this package takes what `observe` returns, so all defences are attacked in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Gradient = Mapping[str, Tensor] | np.ndarray | Tensor
NoiseBy = Literal["shared", "each"]


@dataclass(frozen=True)
class Observation:
    """A gradient as the server sees it, with what the protocol tells the server about it.

    Attributes
    ----------
    gradient : dict of str to Tensor
        By parameter name: the sum over records of their (clipped) gradients, plus noise.
    records, hospitals : int
        How many are in the sum.
    max_grad_norm : float, optional
        Clipping norm of each record's gradient; None: not clipped.
    noise_std : float
        Standard deviation of the noise on each coordinate of the sum.
    """

    gradient: dict[str, Tensor]
    records: int
    hospitals: int = 1
    max_grad_norm: float | None = None
    noise_std: float = 0.0

    def describe(self) -> str:
        """Return a phrase such as ``sum of 5 hospitals (40 records), clipped at 1, noise std 2.4``."""
        records = "1 record" if self.records == 1 else f"{self.records} records"
        who = (
            f"update of one hospital ({records})"
            if self.hospitals == 1
            else f"sum of {self.hospitals} hospitals ({records})"
        )
        clipped = "" if self.max_grad_norm is None else f", clipped at {self.max_grad_norm:g}"
        noisy = f", noise std {self.noise_std:.3g}" if self.noise_std else ""
        return who + clipped + noisy


def per_record_gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, max_grad_norm: float | None = None
) -> dict[str, Tensor]:
    """Return each record's gradient of the cross-entropy, clipped as a whole where a norm is given.

    Parameters
    ----------
    x : Tensor, shape [n, ...]
    y : Tensor, int64, shape [n]
        Labels, or float ``[n, classes]`` for soft ones.
    max_grad_norm : float, optional
        C: a record's gradient is multiplied by min(1, C / its L2 norm).

    Returns
    -------
    dict of str to Tensor
        By parameter name, shape [n, \\*parameter.shape]. Differentiable in `x`.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    frozen = {name: value.detach() for name, value in model.named_parameters() if not value.requires_grad}
    buffers = dict(model.named_buffers())

    def loss(weights: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        state = {**weights, **frozen, **buffers}
        logits = torch.func.functional_call(model, state, (record.unsqueeze(0),))
        return F.cross_entropy(logits, label.unsqueeze(0))

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    if max_grad_norm is None:
        return gradients
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)
    factor = (max_grad_norm / squares.clamp_min(1e-30).sqrt()).clamp(max=1.0)
    return {name: g * factor.view(-1, *[1] * (g.dim() - 1)) for name, g in gradients.items()}


def observe(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    max_grad_norm: float | None = None,
    noise_multiplier: float = 0.0,
    hospitals: int = 1,
    noise_by: NoiseBy = "shared",
    rounds: int = 1,
    generator: torch.Generator | None = None,
) -> Observation:
    """Return what the server sees when the holders of these records answer one model.

    Parameters
    ----------
    model : nn.Module
        The model that the server sent.
    x, y : Tensor, shapes [n, ...] and [n]
        The records of all hospitals in the sum. A sum does not say who holds which.
    max_grad_norm : float, optional
        Clipping norm C of each record's gradient.
    noise_multiplier : float
        Noise standard deviation / C. 0: no noise (also what the server sees under *central* noise, which it
        adds itself after it has seen the sum).
    hospitals : int
        How many hospitals the sum is over; 1: one hospital's update in clear.
    noise_by : {"shared", "each"}
        ``shared``: the hospitals' shares add up to one noise of standard deviation noise_multiplier x C
        (distributed noise); ``each``: every hospital adds that much itself (local or record-level noise), so
        a sum of k carries sqrt(k) times as much.
    rounds : int
        The server repeats the same question in this many rounds, full batch each time, and averages. The
        records cost no more; the noise shrinks by sqrt(rounds): account for all of them.
    generator : torch.Generator, optional
        Draws the noise of the *simulation*; required where there is noise.

    Raises
    ------
    ValueError
        For empty or unequal x and y, noise without a clipping norm or generator, or a setting out of range.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(3, 2)
    >>> x, y = torch.eye(3), torch.tensor([0, 1, 1])
    >>> seen = observe(model, x, y, max_grad_norm=1.0, hospitals=3)
    >>> seen.describe(), tuple(seen.gradient["weight"].shape)
    ('sum of 3 hospitals (3 records), clipped at 1', (2, 3))
    """
    _check(x, y, max_grad_norm, noise_multiplier, hospitals, noise_by, rounds, generator)
    summed = {
        name: g.sum(0).detach()
        for name, g in per_record_gradients(model, x, y, max_grad_norm=max_grad_norm).items()
    }
    draws = hospitals if noise_by == "each" else 1
    std = noise_multiplier * (max_grad_norm or 0.0) * math.sqrt(draws / rounds)
    if std:  # independent Gaussians add up to one Gaussian: one draw stands for hospitals x rounds
        summed = {
            name: g + std * torch.randn(g.shape, generator=generator, dtype=g.dtype)
            for name, g in summed.items()
        }
    return Observation(summed, len(x), hospitals, max_grad_norm, std)


def as_gradient(model: nn.Module, gradient: Gradient | Observation) -> dict[str, Tensor]:
    """Return a gradient by parameter name, in float64, from an observation, a dict, or one flat vector.

    Raises
    ------
    ValueError
        If names or sizes are not the model's.
    """
    if isinstance(gradient, Observation):
        gradient = gradient.gradient
    shapes = {name: value.shape for name, value in model.named_parameters() if value.requires_grad}
    if not isinstance(gradient, Mapping):
        flat = torch.as_tensor(gradient, dtype=torch.float64).flatten()
        size = sum(shape.numel() for shape in shapes.values())
        if flat.numel() != size:
            raise ValueError(f"the vector has {flat.numel()} values; this model has {size} parameters")
        parts = flat.split([shape.numel() for shape in shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    found = {name: value.shape for name, value in gradient.items()}
    if found != shapes:
        raise ValueError(f"the gradient has {found}; expected this model's parameters, {shapes}")
    return {name: gradient[name].detach().to(torch.float64) for name in shapes}


def _check(x, y, max_grad_norm, noise_multiplier, hospitals, noise_by, rounds, generator) -> None:
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"got {len(x)} records and {len(y)} labels; expected as many, and at least one")
    if max_grad_norm is not None and not 0 < max_grad_norm < math.inf:
        raise ValueError(f"max_grad_norm={max_grad_norm}: expected a positive number, or None")
    if not 0 <= noise_multiplier < math.inf:
        raise ValueError(f"noise_multiplier={noise_multiplier}: expected a number >= 0")
    if noise_multiplier and max_grad_norm is None:
        raise ValueError("noise_multiplier counts in clipping norms: set max_grad_norm as well")
    if noise_multiplier and generator is None:
        raise ValueError("noise needs a generator: pass torch.Generator().manual_seed(seed)")
    if not 1 <= hospitals <= len(x):
        raise ValueError(f"hospitals={hospitals}: expected 1 to {len(x)}, the number of records")
    if noise_by not in ("shared", "each"):
        raise ValueError(f"noise_by={noise_by!r}: expected 'shared' or 'each'")
    if rounds < 1:
        raise ValueError(f"rounds={rounds}: expected at least 1")
