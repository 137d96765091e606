"""Clipped gradients layer by layer: one ordinary backward pass, then closed forms.

For a linear layer, a convolution or a GroupNorm, the gradient of record i in the layer's weights follows from what went
into the layer and from the loss's gradient in what came out. So one backward pass to the layers' *outputs* (weights
left out) is enough; no other engine for networks needs so little (compare "book-keeping", arXiv 2210.00038).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit.dp.training.gradients import clip_factors, trainable
from labkit.dp.training.losses import PLAIN, Loss

KNOWN = (nn.Linear, nn.Conv2d, nn.GroupNorm)


@dataclass
class Passage:
    """What one trainable layer saw of a batch: its inputs, and its outputs inside the autograd graph."""

    layer: nn.Module
    inputs: Tensor
    outputs: Tensor
    versions: tuple[
        int, int
    ]  # of both tensors when they passed: higher ones later mean that they were overwritten

    @property
    def overwritten(self) -> bool:
        return self.versions != (self.inputs._version, self.outputs._version)


def check(model: nn.Module) -> list[nn.Module]:
    """Return the trainable layers, in the model's order.

    Raises
    ------
    ValueError
        If one of them is of a kind without a closed form here, or two of them share a weight.
    """
    layers = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    for layer in layers:
        plain = not isinstance(layer, nn.Conv2d) or (
            layer.groups == 1
            and layer.dilation == (1, 1)
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        )
        if type(layer) not in KNOWN or not plain:
            raise ValueError(
                f"engine='layers' has no closed form for {layer}; it knows Linear, GroupNorm, and Conv2d without groups, "
                "dilation or padding by name: use engine='vmap' or 'opacus'"
            )
    owned = [p for layer in layers for p in layer.parameters(recurse=False)]
    if len({id(p) for p in owned}) < len(owned):
        raise ValueError(
            "engine='layers' has no closed form for a weight that two layers share: use engine='vmap' or 'opacus'"
        )
    return layers


def _run(model: nn.Module, layers: list[nn.Module], x: Tensor) -> tuple[Tensor, list[Passage]]:
    """Return the logits for ``x`` (b, ...) and each layer's passage."""
    seen: list[Passage] = []
    hooks = [
        layer.register_forward_hook(
            lambda m, a, out: seen.append(Passage(m, a[0].detach(), out, (a[0]._version, out._version)))
        )
        for layer in layers
    ]
    try:
        with torch.enable_grad():
            logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if inplace := [p.layer for p in seen if p.overwritten]:
        raise ValueError(
            f"what went into or came out of {inplace[0]} is overwritten later in forward(): engine='layers' needs it. "
            "Fix: inplace=False in the activation after it, or engine='vmap' or 'opacus'"
        )
    once = len(seen) == len(layers) == len({id(p.layer) for p in seen})
    flat = all(p.inputs.ndim == 2 for p in seen if isinstance(p.layer, nn.Linear))
    if not once or not flat:
        raise ValueError(
            "engine='layers' needs every trainable layer to be used exactly once, and linear layers to see inputs of "
            "shape (b, d): use engine='vmap' or 'opacus'"
        )
    return logits, seen


def _patches(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Cut ``x`` (b, C, H, W) into the patches a convolution sees: (b, positions, kernel height * width * C)."""
    vertical, horizontal = layer.padding
    if vertical or horizontal:
        x = F.pad(x, (horizontal, horizontal, vertical, vertical))
    windows = x.permute(0, 2, 3, 1).unfold(1, layer.kernel_size[0], layer.stride[0])
    windows = windows.unfold(2, layer.kernel_size[1], layer.stride[1])
    # Channels innermost: for channels-last activations this copies whole runs of memory.
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(len(x), -1, layer.weight[0].numel())


@dataclass
class Share:
    """One parameter's per-sample gradients, kept as cheaply as they can be.

    Attributes
    ----------
    squares : Tensor of shape (b,)
        Squared norm of each record's gradient.
    left, right : Tensor
        Gradient i is ``left[i]`` (b, m) when ``right`` is None, else the outer product of ``left[i]`` and ``right[i]``
        (b, k).
    shape : tuple of int
        Of the weighted sum, before ``order`` permutes it into the parameter's.
    """

    parameter: nn.Parameter
    squares: Tensor
    left: Tensor
    right: Tensor | None
    shape: tuple[int, ...]
    order: tuple[int, ...] | None = None

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Return the sum over records of ``weights[i]`` times gradient i."""
        if self.right is not None:
            return (weights[:, None] * self.left).T @ self.right
        total = (weights @ self.left).view(self.shape)
        return total.permute(self.order) if self.order else total


def _squares(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square()


def _shares(passage: Passage, g: Tensor) -> Iterator[Share]:
    """Yield a share for weight and bias of one layer; ``g`` is the loss's gradient in the layer's outputs."""
    layer, a = passage.layer, passage.inputs
    shape = tuple(layer.weight.shape)
    if isinstance(layer, nn.Linear):
        squares, bias = _squares(g), g
        yield Share(layer.weight, squares * _squares(a), g, a, shape)
    elif isinstance(layer, nn.Conv2d):
        rows = g.permute(0, 2, 3, 1).reshape(len(g), -1, g.shape[1])  # (b, positions, out)
        weight, bias = torch.bmm(rows.transpose(1, 2), _patches(a, layer)).flatten(1), rows.sum(1)
        out, into, height, width = shape
        yield Share(layer.weight, _squares(weight), weight, None, (out, height, width, into), (0, 3, 1, 2))
    else:
        spread = tuple(range(2, g.ndim))
        weight = g * F.group_norm(a, layer.num_groups, eps=layer.eps)
        weight, bias = (t.sum(spread) if spread else t for t in (weight, g))
        yield Share(layer.weight, _squares(weight), weight, None, shape)
    if layer.bias is not None:
        yield Share(layer.bias, _squares(bias), bias, None, tuple(layer.bias.shape))


def clipped_sum(
    model: nn.Module, x: Tensor, y: Tensor, max_grad_norm: float, loss_of_each: Loss = PLAIN
) -> tuple[dict[str, Tensor], Tensor]:
    """Return what `labkit.dp.training.gradients.clipped_sum` returns, at a fraction of its cost.

    Parameters
    ----------
    model : nn.Module
        Its trainable layers are Linear, Conv2d or GroupNorm, each used once; see `check`.
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64
    """
    logits, passages = _run(model, check(model), x)
    loss = loss_of_each.total(logits, y)
    slopes = torch.autograd.grad(loss, [p.outputs for p in passages])
    shares = [
        share
        for passage, g in zip(passages, slopes, strict=True)
        for share in _shares(passage, g)
        if share.parameter.requires_grad
    ]
    factors = clip_factors(sum(share.squares for share in shares).sqrt(), max_grad_norm)
    sums = {id(share.parameter): share.weighted_sum(factors) for share in shares}
    return {name: sums[id(p)] for name, p in trainable(model).items()}, loss.detach()
