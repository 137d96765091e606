"""The fast path: softmax regression, where clipping needs no per-sample gradient at all.

For logits Wx + b the gradient of record i is the outer product of r_i = softmax(logits_i) - onehot(y_i) and (x_i, 1).
Its norm is |r_i| * sqrt(|x_i|^2 + 1), and a weighted sum of such products is one matrix product: the clipped sum costs
about what the plain gradient costs (Goodfellow, "Efficient per-example gradient computations", arXiv 1510.01799).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit.dp.training.gradients import clip_factors, trainable
from labkit.dp.training.losses import PLAIN, Loss


def linear_layer(model: nn.Module) -> nn.Linear:
    """Return the one trainable layer of a softmax regression model.

    Raises
    ------
    ValueError
        If anything but a single ``nn.Linear`` is trainable.
    """
    layers = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    if len(layers) != 1 or type(layers[0]) is not nn.Linear or not layers[0].weight.requires_grad:
        names = ", ".join(type(m).__name__ for m in layers) or "nothing"
        raise ValueError(
            f"engine='linear' trains exactly one nn.Linear layer; this model trains {names}: "
            "use engine='opacus' or 'vmap', or freeze the other layers"
        )
    return layers[0]


def _through(model: nn.Module, layer: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs that reach ``layer``, (b, d), and its outputs, (b, classes), for records ``x`` (b, ...)."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        with torch.no_grad():
            answer = model(x)
    finally:
        handle.remove()
    if len(seen) != 1 or answer is not seen[0][1] or answer.ndim != 2:
        raise ValueError(
            "engine='linear' needs the trainable layer to be used once, on inputs of shape (b, d), and to give the "
            "model's output: use engine='opacus' or 'vmap'"
        )
    return seen[0]


def residuals(logits: Tensor, y: Tensor) -> Tensor:
    """Return softmax(logits) - onehot(y), shape (b, classes): the gradient of cross-entropy in the logits."""
    return _minus_one(logits.softmax(1), y)


def _minus_one(p: Tensor, y: Tensor) -> Tensor:
    """Take 1 off the entry of each row of ``p`` (b, classes) that ``y`` (b,) names, in place."""
    return p.scatter_add_(1, y[:, None], p.new_full((1, 1), -1.0).expand(len(y), 1))


def clipped_sum(
    model: nn.Module, x: Tensor, y: Tensor, max_grad_norm: float, loss_of_each: Loss = PLAIN
) -> tuple[dict[str, Tensor], Tensor]:
    """Return what `labkit.dp.training.gradients.clipped_sum` returns, from closed-form norms.

    Parameters
    ----------
    model : nn.Module
        One trainable ``nn.Linear`` behind any fixed per-record map.
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64
    """
    layer = linear_layer(model)
    inputs, logits = _through(model, layer, x)
    log_p = logits.log_softmax(1)  # for loss and residuals alike: exponentials cost a tenth of the step
    r = _minus_one(log_p.exp(), y)
    weights = None if loss_of_each.class_weights is None else loss_of_each.weights(r)[y]
    if weights is not None:
        r *= weights[:, None]  # the residual is linear in the loss
    squares = torch.linalg.vector_norm(inputs, dim=1).square()
    if layer.bias is not None and layer.bias.requires_grad:
        squares = squares + 1  # the bias is a weight on a constant input of 1, and counts in the norm
    norms = torch.linalg.vector_norm(r, dim=1) * squares.sqrt()
    r *= clip_factors(norms, max_grad_norm)[:, None]
    by_parameter = {id(layer.weight): r.T @ inputs}
    if layer.bias is not None:
        by_parameter[id(layer.bias)] = r.sum(0)
    sums = {name: by_parameter[id(p)] for name, p in trainable(model).items()}
    if weights is not None:
        return sums, (weights * F.nll_loss(log_p, y, reduction="none")).sum()
    return sums, F.nll_loss(log_p, y, reduction="sum")
