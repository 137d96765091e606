"""What private training asks of a model, found out by trying it on a few records before the first step.

Clipping bounds what one record does only if the gradient of each record depends on that record alone, if nothing but
the trained weights keeps what was seen, and if the engine computes the gradients that it says. Types do not tell: a model
can standardise its batch by hand, and a layer that nobody has heard of can be harmless. So the model is watched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from labkit import adapt, models
from labkit.dp.training.engines import Mechanism, check_engine, make_engine, memory_format
from labkit.dp.training.gradients import clip_factors, norms_of, trainable
from labkit.dp.training.losses import PLAIN, Loss

if TYPE_CHECKING:
    from labkit.data import Dataset

PROBED = 4  # records of the joint and the separate passes: enough for a batch statistic to show


class HeldStill(TorchFunctionMode):
    """Dropout keeps everything and draws are constant, so that two passes over the same records can be compared."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if "dropout" in name:
            return args[0]
        result = func(*args, **(kwargs or {}))
        drawn = name.startswith(("rand", "normal", "bernoulli")) and isinstance(result, Tensor)
        drawn = drawn and not (kwargs or {}).get("generator")  # an engine's noise has a generator of its own
        return torch.full_like(result, 0.5) if drawn and result.is_floating_point() else result


def check_model(model: nn.Module, dataset: Dataset) -> None:
    """Raise ``ValueError`` unless per-record clipping can bound what one record does to what is released.

    Parameters
    ----------
    model : nn.Module
        Left as it is; a copy is tried.
    dataset : Dataset
        Its first train records are what the copy is tried on.

    Raises
    ------
    ValueError
        If nothing is trainable, a layer is one that Opacus's validator refuses, outputs have the wrong shape, one
        record's output depends on other records, or a buffer or any other tensor of the model changes in a pass.
    """
    from opacus.validators import ModuleValidator

    trainable(model)
    if mixing := [name for name, m in model.named_modules() if _is_batchnorm(m)]:
        raise ValueError(
            f"BatchNorm in {', '.join(mixing)}: its statistics, frozen weights or not, let one record change every other record's "
            "gradient and keep what they saw, so clipping each gradient bounds nothing. Fix: nn.GroupNorm(1, channels) "
            "in its place (labkit.dp.without_batchnorm(model) swaps all of them), or, for a pretrained backbone, compute "
            "its features once in evaluation mode and train on those. Not Opacus's ModuleValidator.fix where inputs are "
            "flat: its groups of a single feature turn every input into the same constant"
        )
    copied = _copy(model).train()
    if errors := ModuleValidator.validate(copied, strict=False):
        raise ValueError("this model cannot be trained privately: " + "; ".join(str(e) for e in errors))
    _check_outputs(copied, dataset)
    x = _probes(dataset.train_x[:PROBED].cpu())
    before = {name: t.clone() for name, t in _tensors(copied)}
    joint = _outputs(copied, x)
    changed = [name for name, t in _tensors(copied) if name not in before or not _same(t, before[name])]
    if changed:
        raise ValueError(
            f"{', '.join(changed)} changed in one forward pass: a buffer (running statistic, memory bank, last input) "
            "that keeps what it saw would be released without noise. Fix: compute it beforehand from public data, or "
            "leave it out"
        )
    separate = torch.cat([_outputs(copied, x[i : i + 1]) for i in range(len(x))])
    gap, scale = float((joint - separate).abs().max()), float(separate.abs().max())
    if gap > _tolerance(joint) * scale + 1e-7:  # NaN is the loop's to report, with the step
        raise ValueError(
            f"the model mixes records: together their outputs differ by {gap:.2g} (largest {scale:.2g}) from their outputs "
            "one by one. A batch statistic lets one record change every other record's gradient, so clipping bounds "
            "nothing. Fix: normalise each record on its own (nn.GroupNorm, nn.LayerNorm) or by public constants"
        )


def check_gradients(engine: str, model: nn.Module, x: Tensor, y: Tensor, loss: Loss = PLAIN) -> None:
    """Raise ``ValueError`` unless ``engine`` clips and sums as autograd does, one record at a time.

    A full noiseless step on a few records, at a bound that shortens some of them and not others, against plain
    backward passes. What this has caught in engines: shared weights, in-place activations, strided inputs, hooks.

    Parameters
    ----------
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64
        A few records: `PROBED` of them are used.
    """
    check_engine(engine, model)
    if engine == "linear" and loss.each is not None:
        raise ValueError(
            "engine='linear' knows the gradient of cross-entropy alone: use 'opacus' or 'vmap' for another loss"
        )
    x, y = _probes(x[:PROBED].cpu()), y[:PROBED].cpu()
    copied = _copy(model).to(memory_format=memory_format(x)).train()
    try:
        with HeldStill(), torch.enable_grad():
            rows = [_plain_gradient(copied, x[i : i + 1], y[i : i + 1], loss) for i in range(len(x))]
            each = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
            norms = norms_of(each)
            if not torch.isfinite(norms).all():
                return  # the loop stops at the first step, and says so
            bound = float(norms.median()) or 1.0
            factors = clip_factors(norms, bound)
            expected = {name: torch.tensordot(factors.to(g.dtype), g, dims=1) for name, g in each.items()}
            found = _one_step(engine, copied, x, y, bound, loss)
    except (RuntimeError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"engine={engine!r} cannot differentiate this model record by record ({type(error).__name__}: {error}): "
            "use another engine ('opacus', 'vmap')"
        ) from error
    largest = max(float(g.abs().max()) for g in expected.values())
    for name, right in expected.items():
        error, scale = float((found[name] - right).abs().max()), float(right.abs().max())
        if error > 10 * _tolerance(right) * scale + 1e-6 * largest + 1e-12:
            raise ValueError(
                f"engine={engine!r} misses the true gradient of {name!r} by {error:.2g} (largest entry {scale:.2g}): a weight "
                "used twice, an activation that works in place, or a layer it does not know. Use engine='vmap', or "
                "inplace=False and weights of their own"
            )


def without_batchnorm(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` with ``nn.GroupNorm(1, channels)`` in the place of every BatchNorm layer.

    One group normalises each record on its own, over all its features; scale and shift start afresh. More groups than
    one need more than one value each, which flat inputs do not have.

    Examples
    --------
    >>> from torch import nn
    >>> fixed = without_batchnorm(nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8)))
    >>> fixed[1].num_groups, fixed[1].num_channels
    (1, 8)
    """
    if _is_batchnorm(model):
        return nn.GroupNorm(1, model.num_features)
    copied = copy.deepcopy(model)
    for name, part in list(copied.named_modules()):
        if _is_batchnorm(part):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, nn.GroupNorm(1, part.num_features))
    return copied


def _is_batchnorm(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.batchnorm._BatchNorm)


def _copy(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU to try things on."""
    try:
        return copy.deepcopy(model).cpu()
    except RuntimeError as error:
        raise ValueError(
            f"the model cannot be copied ({error}): it holds a tensor that is computed from its weights. Fix: "
            "torch.nn.utils.parametrizations instead of the older hooks"
        ) from error


def _check_outputs(model: nn.Module, dataset: Dataset) -> None:
    """Refuse a model that does not map records to one logit for each class, or labels that have none."""
    classes = len(dataset.classes)
    for size in (2, 1):  # a Poisson batch may hold a single record
        try:
            logits = _outputs(model, dataset.train_x[:size].cpu())
        except adapt.REFUSALS as error:
            alone = "" if size > 1 else "in a batch of one, as Poisson sampling draws it: "
            raise ValueError(f"{alone}{adapt.why_not(model, dataset.train_x[:size], error)}") from error
        if logits.ndim != 2 or logits.shape[1] < classes:
            raise ValueError(
                f"the model gives outputs of shape {tuple(logits.shape)} for {size} records; expected ({size}, {classes}): "
                "one logit for each class"
            )
    low, high = int(dataset.train_y.min()), int(dataset.train_y.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels run from {low} to {high}; expected 0 to {logits.shape[1] - 1}, one for each logit"
        )


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    with models.seeded(0), HeldStill(), torch.no_grad():
        return adapt.logits_of(model(x))


def _probes(x: Tensor) -> Tensor:
    """Return records to try: every second one twice as loud and shifted, so that equal records do not hide a mean."""
    if not x.is_floating_point():
        return x
    louder = torch.arange(len(x)) % 2 == 1
    return torch.where(louder.view(-1, *[1] * (x.ndim - 1)), 2 * x + 0.5, x)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor that the model holds, by name: parameters, buffers, and those kept as plain attributes."""
    for path, part in model.named_modules():
        held = {**part._parameters, **part._buffers, **{k: v for k, v in vars(part).items() if k[:1] != "_"}}
        for name, value in held.items():
            for key, tensor in _inside(value):
                yield ".".join(filter(None, (path, name, key))), tensor


def _inside(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in a tensor, or in a list, tuple or dictionary of them; a float counts as one."""
    if isinstance(value, (Tensor, float)):
        yield "", torch.as_tensor(value).detach()
    elif isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            if isinstance(inner, Tensor):
                yield str(key), inner.detach()


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _tolerance(values: Tensor) -> float:
    """Return a relative error that rounding stays below: matrix products sum in other orders for other batch sizes."""
    return min(0.05, 1000 * torch.finfo(values.dtype).eps)


def _plain_gradient(model: nn.Module, x: Tensor, y: Tensor, of_each: Loss) -> dict[str, Tensor]:
    """Return the gradient of one record's loss by an ordinary backward pass; zero where a weight plays no part."""
    moving = trainable(model)
    loss = of_each.total(model(x), y)
    grads = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(moving.items(), grads, strict=True)
    }


def _one_step(
    engine: str, model: nn.Module, x: Tensor, y: Tensor, bound: float, loss: Loss
) -> dict[str, Tensor]:
    """Return the sum of clipped gradients that ``engine`` steps with, without noise."""
    names = list(trainable(model))
    optimizer = torch.optim.SGD(list(trainable(model).values()), lr=0.0)
    records = torch.utils.data.TensorDataset(x, y)
    made = make_engine(
        engine, model, optimizer, Mechanism(0.0, bound, 1.0, 1.0), torch.Generator(), records, loss
    )
    made.step([(x, y)])
    moved = [p.grad.clone() for p in made.optimizer.param_groups[0]["params"]]
    made.release()
    return dict(zip(names, moved, strict=True))
