"""Pictures out of gradients by optimisation: dummy records are moved until they give the gradient that was seen.

- `dlg`: Zhu, Liu & Han 2019 (arXiv 1906.08935): squared distance, L-BFGS.
- `invert`: Geiping, Bauermeister, Dröge & Moeller 2020 (arXiv 2003.14053, section 4): cosine similarity plus total
  variation, Adam on the signs of the gradient, records kept in [0, 1].
- `infer_labels`: Zhao, Mopuri & Bilen 2020 (iDLG, arXiv 2001.02610) for one record, counts for several.

**Adversary**: a server that is honest but curious. It knows the model, the gradient (a single update or a sum: both
are the gradient of a batch), how many records are in it, the clipping norm, and the labels or their counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit.federated.inversion.observation import Gradient, Observation, as_gradient, per_record_gradients

PEAK = 100.0  # dB: what a reconstruction without visible error counts as; float noise is no better picture


@dataclass(frozen=True)
class Reconstruction:
    """Records that an optimiser found.

    Attributes
    ----------
    records : Tensor, float64, shape [n, ...]
        In no particular order: compare by `matched_psnr`.
    labels : Tensor, int64, shape [n]
    mismatch : float
        What the optimiser was left with, the attacker's own sign of success: squared distance relative to the
        gradient's squared norm (`dlg`), or 1 - cosine (`invert`).
    """

    records: Tensor
    labels: Tensor
    mismatch: float


def infer_labels(model: nn.Module, gradient: Gradient | Observation, *, records: int) -> Tensor:
    """Return labels that explain the gradient of the last layer's bias: exact for one record, counts for several.

    For cross-entropy that gradient is ``sum of p - onehot(y)``: with one record its only negative entry is the label
    (iDLG, section 3). With several, the attacker fills in the average prediction of an untrained model, 1 / classes
    for each, and hands out labels to the classes that lack most.

    Returns
    -------
    Tensor, int64, shape [records]
        Ascending.

    Raises
    ------
    ValueError
        If the model does not end in a dense layer with a bias (for one: the bias is last among its parameters).
    """
    found = as_gradient(model, gradient)
    bias = found[list(found)[-1]]
    if bias.dim() != 1:
        raise ValueError(f"the last parameter, {list(found)[-1]!r}, is no bias: pass the labels instead")
    lacking = records / len(bias) - bias
    labels = []
    for _ in range(records):
        labels.append(int(lacking.argmax()))
        lacking[labels[-1]] -= 1
    return torch.tensor(sorted(labels))


def dlg(
    model: nn.Module,
    gradient: Gradient | Observation,
    *,
    shape: tuple[int, ...],
    labels: Tensor,
    max_grad_norm: float | None = None,
    steps: int = 200,
    restarts: int = 1,
    generator: torch.Generator,
) -> Reconstruction:
    """Return records whose gradient is nearest to the one seen, by L-BFGS from noise (arXiv 1906.08935).

    Parameters
    ----------
    model : nn.Module
        Twice differentiable: sigmoid or tanh, not ReLU.
    shape : tuple of int
        Of one record.
    labels : Tensor, int64, shape [n]
        Known, or from `infer_labels`; as many as there are records in the sum.
    max_grad_norm : float, optional
        Clipping norm that the hospitals used; read from an `Observation`.
    steps : int
        L-BFGS iterations of each restart.
    restarts : int
        The start with the least mismatch is kept.
    """
    distance = _squared_distance(*_seen(model, gradient, max_grad_norm), labels)
    best: Reconstruction | None = None
    for _ in range(restarts):
        x = torch.rand(len(labels), *shape, generator=generator, dtype=torch.float64).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [x],
            max_iter=steps,
            history_size=50,
            tolerance_grad=1e-14,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure(x=x, optimiser=optimiser) -> Tensor:
            optimiser.zero_grad()
            loss = distance(x)
            x.grad = torch.autograd.grad(loss, x)[0]
            return loss

        optimiser.step(closure)
        mismatch = float(distance(x).detach())
        if mismatch == mismatch and (best is None or mismatch < best.mismatch):
            best = Reconstruction(x.detach().clamp(0, 1), labels, mismatch)
    # Where every start diverged, the attacker is left with a blank guess.
    return best or Reconstruction(torch.full((len(labels), *shape), 0.5).double(), labels, float("inf"))


def invert(
    model: nn.Module,
    gradient: Gradient | Observation,
    *,
    shape: tuple[int, ...],
    labels: Tensor,
    max_grad_norm: float | None = None,
    steps: int = 500,
    learning_rate: float = 0.1,
    total_variation: float = 1e-3,
    generator: torch.Generator,
) -> Reconstruction:
    """Return records whose gradient points the same way and that are smooth (arXiv 2003.14053, equation 4).

    Parameters
    ----------
    shape : tuple of int
        Of one picture, (C, H, W).
    total_variation : float
        Weight of the smoothness prior: more of it helps against noise, and blurs without.

    Others as in `dlg`.
    """
    gradients, seen = _seen(model, gradient, max_grad_norm)
    x = torch.rand(len(labels), *shape, generator=generator, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [steps * 3 // 8, steps * 5 // 8, steps * 7 // 8], 0.1
    )
    for _ in range(steps):
        mismatch = 1 - F.cosine_similarity(gradients(x, labels), seen, dim=0)
        x.grad = torch.autograd.grad(mismatch + total_variation * variation(x), x)[0].sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return Reconstruction(x.detach(), labels, float(mismatch.detach()))


def variation(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels (anisotropic total variation)."""
    across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return across.abs().mean() + down.abs().mean()


def _seen(
    model: nn.Module, gradient: Gradient | Observation, max_grad_norm: float | None
) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """Return (function from records and labels to their flat summed gradient, the flat gradient that was seen)."""
    if isinstance(gradient, Observation):
        max_grad_norm = gradient.max_grad_norm
    seen = torch.cat([part.flatten() for part in as_gradient(model, gradient).values()])
    model = copy.deepcopy(model).double()
    parameters = [value for value in model.parameters() if value.requires_grad]

    def gradients(x: Tensor, labels: Tensor) -> Tensor:
        if max_grad_norm is None:
            loss = F.cross_entropy(model(x), labels, reduction="sum")
            parts = torch.autograd.grad(loss, parameters, create_graph=True)
        else:
            each = per_record_gradients(model, x, labels, max_grad_norm=max_grad_norm)
            parts = tuple(part.sum(0) for part in each.values())
        return torch.cat([part.flatten() for part in parts])

    return gradients, seen


def _squared_distance(
    gradients: Callable[[Tensor, Tensor], Tensor], seen: Tensor, labels: Tensor
) -> Callable[[Tensor], Tensor]:
    size = seen.square().sum().clamp_min(1e-30)
    return lambda x: (gradients(x, labels) - seen).square().sum() / size


def matched_psnr(found: Tensor, records: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each true record with the recovered one that is matched to it.

    Parameters
    ----------
    found, records : Tensor, shape [n, ...]
        Values in [0, 1]. The matching has the least total squared error (Hungarian algorithm), one to one; one
        guess alone, shape [1, ...], is compared with all.

    Returns
    -------
    Tensor, float64, shape [n]
        dB, at most `PEAK`.

    Examples
    --------
    >>> import torch
    >>> x = torch.eye(4).view(2, 1, 2, 4)
    >>> matched_psnr(x.flip(0), x).tolist()
    [100.0, 100.0]
    """
    from scipy.optimize import linear_sum_assignment

    one, two = records.flatten(1).double(), found.flatten(1).double()
    if len(two) == 1:
        two = two.expand(len(one), -1)
    if one.shape != two.shape:
        raise ValueError(f"got {tuple(found.shape)} for {tuple(records.shape)}: expected one guess a record")
    error = (one[:, None] - two[None]).square().mean(2)
    rows, columns = linear_sum_assignment(error.numpy())
    return (-10 * error[rows, columns].clamp_min(1e-30).log10()).clamp(max=PEAK)
