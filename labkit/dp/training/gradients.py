"""Per-sample gradients and what clipping makes of them.

A private step needs, for each record, the gradient of its own loss over *all* trainable parameters (biases and norm
layers included) and the Euclidean norm of that one long vector (Abadi et al., arXiv 1607.00133, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F  # noqa: N812

from labkit.dp.training.losses import PLAIN, Loss

# Opacus adds the same constant, so that rounding never lifts a clipped gradient above the bound.
NORM_FLOOR = 1e-6


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training moves, by name, in the model's own order.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError("the model has no trainable parameter: set requires_grad on the layers to train")
    return found


def clip_factors(norms: Tensor, max_grad_norm: float) -> Tensor:
    """Return the factor, at most 1, that brings each gradient of norm ``norms`` (b,) within ``max_grad_norm``."""
    return (max_grad_norm / (norms + NORM_FLOOR)).clamp(max=1.0)


def per_sample_gradients(
    model: nn.Module, x: Tensor, y: Tensor, loss_of_each: Loss = PLAIN
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of each record's own loss (cross-entropy by default), by ``torch.func.vmap``.

    Parameters
    ----------
    model : nn.Module
        Must treat records independently (no BatchNorm).
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64

    Returns
    -------
    gradients : dict of Tensor
        For each trainable parameter a tensor of shape (b, *parameter.shape).
    losses : Tensor of shape (b,)
    """
    moving = {name: p.detach() for name, p in trainable(model).items()}
    fixed = {name: p.detach() for name, p in model.named_parameters() if name not in moving}

    def loss(parameters: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (parameters, fixed), (record[None],))
        if loss_of_each.plain:
            return F.cross_entropy(logits, label[None])
        return loss_of_each.total(logits, label[None])

    return vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")(moving, x, y)


def norms_of(gradients: dict[str, Tensor]) -> Tensor:
    """Return the norm of each record's gradient over all parameters, shape (b,)."""
    parts = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients.values()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def clipped_sum(
    model: nn.Module, x: Tensor, y: Tensor, max_grad_norm: float, loss_of_each: Loss = PLAIN
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the sum over records of their clipped gradients, and the summed loss.

    Parameters
    ----------
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64
    max_grad_norm : float
        No record contributes a vector longer than this.
    loss_of_each : Loss

    Returns
    -------
    sums : dict of Tensor
        One tensor of the parameter's shape for each trainable parameter.
    loss : Tensor, scalar
    """
    gradients, losses = per_sample_gradients(model, x, y, loss_of_each)
    factors = clip_factors(norms_of(gradients), max_grad_norm)
    # factors @ matrix reads each per-sample gradient once and writes no scaled copy of it.
    sums = {name: (factors @ g.flatten(1)).view(g.shape[1:]) for name, g in gradients.items()}
    return sums, losses.sum()


def per_sample_norms(model: nn.Module, x: Tensor, y: Tensor, *, physical_batch_size: int = 512) -> Tensor:
    """Return the norm of each record's gradient, shape (n,), computed ``physical_batch_size`` records at a time.

    Useful for choosing a clipping norm on data that is public or synthetic: on private records the norms themselves
    are private, and choosing by them is not covered by any epsilon.
    """
    parts = zip(x.split(physical_batch_size), y.split(physical_batch_size), strict=True)
    return torch.cat([norms_of(per_sample_gradients(model, a, b)[0]) for a, b in parts])
