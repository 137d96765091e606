"""Checks of lab 08 on an attack's success and on changed weights: outcome, pruning, int8, the last layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labkit.course.exercises.exercise import Wrong, exercise
from labkit.models import seeded

WORDS = ("holds", "beaten", "costly")


def reference_outcome(p_value: float, alpha: float, before: float, after: float) -> str:
    """Return "holds", "beaten" or "costly" by the rule of Lukas et al. (arXiv 2108.04974, section III)."""
    if p_value < alpha:
        return "holds"
    return "beaten" if before - after <= 0.05 else "costly"


@exercise(
    "08.outcome",
    title="when has an attack won?",
    reference=reference_outcome,
    points=2,
    difficulty=1,
    importance=5,
    minutes=6,
)
def check_outcome(attempt: Callable) -> None:
    """A table of cases, with the outcome written down; none lies on a threshold."""
    cases = [
        ((1e-9, 1e-3, 0.80, 0.79), "holds", ""),
        ((0.4, 1e-3, 0.80, 0.78), "beaten", ""),
        ((0.4, 1e-3, 0.80, 0.60), "costly", ""),
        ((0.4, 1e-3, 0.95, 0.91), "beaten", ""),
        ((1e-9, 1e-3, 0.80, 0.60), "holds", "the mark is still proven: the attack failed, whatever it cost"),
        (
            (0.4, 1e-3, 0.70, 0.80),
            "beaten",
            "an attack may make the model better, which is no loss: the sign of the difference counts\nbefore - after, without abs",
        ),
        (
            (0.4, 1e-3, 0.50, 0.46),
            "beaten",
            "points, not shares of what was there: from 50% to 46% four points are lost, which is allowed",
        ),
        (
            (0.02, 1e-3, 0.80, 0.79),
            "beaten",
            "the alpha that was fixed in advance decides, not the customary 0.05",
        ),
        ((0.02, 0.05, 0.80, 0.79), "holds", "a p-value below alpha proves the mark"),
    ]
    for values, expected, because in cases:
        given = dict(zip(("p_value", "alpha", "before", "after"), values, strict=True))
        got = attempt(*values)
        if got == expected:
            continue
        if got not in WORDS:
            because = f"return one of the words {', '.join(map(repr, WORDS))}"
        elif not because:
            because = (
                "the mark decides first: where it is no longer proven, the attack has won if at most five points (0.05) of "
                "accuracy are gone, and was too dear if more are"
            )
        raise Wrong(given=given, got=str(got), expected=expected, because=because)


def reference_prune(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    """Return copies of weight tensors with the smallest ``share`` of all weights, by magnitude, set to zero."""
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    cut = sizes.sort().values[int(share * len(sizes)) - 1]
    return [torch.where(weight.abs() > cut, weight, 0.0) for weight in weights]


@exercise(
    "08.prune",
    title="set the smallest weights to zero",
    reference=reference_prune,
    points=2,
    difficulty=2,
    importance=4,
    minutes=10,
)
def check_prune(attempt: Callable) -> None:
    """Against torch.nn.utils.prune, on two layers of different scale; no two weights are equal."""
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn(8, 5, generator=random), 0.3 * torch.randn(4, 5, 2, 2, generator=random) - 0.1]
    for share in (0.5, 0.25):
        given = f"weights of shapes (8, 5) and (4, 5, 2, 2), the second about a third as large; share={share}"
        expected = _pruned(weights, share)
        got = attempt([weight.clone() for weight in weights], share)
        _same_shapes(got, weights, given)
        if all(torch.allclose(a, b) for a, b in zip(got, expected, strict=True)):
            continue
        zeros = [int((part == 0).sum()) for part in got]
        raise Wrong(
            given=given,
            got=f"{zeros} zeros",
            expected=f"{[int((part == 0).sum()) for part in expected]} zeros, the rest as it was",
            because=_why_not_pruned(got, weights, expected, share),
        )


def _pruned(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    """Return what torch's own pruning makes of the weights."""
    from torch.nn.utils import prune

    holders = [nn.Module() for _ in weights]
    for holder, weight in zip(holders, weights, strict=True):
        holder.weight = nn.Parameter(weight.clone())
    prune.global_unstructured([(h, "weight") for h in holders], prune.L1Unstructured, amount=share)
    return [holder.weight.detach() for holder in holders]


def _same_shapes(got: object, weights: Sequence[Tensor], given: str) -> None:
    shapes = [tuple(weight.shape) for weight in weights]
    seen = [tuple(getattr(part, "shape", ())) for part in got] if isinstance(got, list | tuple) else type(got)
    if seen != shapes:
        raise Wrong(
            given=given,
            got=str(seen),
            expected=str(shapes),
            because="return a list of as many tensors, of the same shapes: is there a return?",
        )


def _why_not_pruned(got: list, weights: list, expected: list, share: float) -> str:
    """Return the likely cause of a wrong pruning."""
    each = [part for weight in weights for part in _pruned([weight], share)]
    largest = [w - e for w, e in zip(weights, expected, strict=True)]
    signed = torch.cat([w.flatten() for w in weights]).sort().values
    lowest = signed[int(share * len(signed)) - 1]
    causes = {
        "each tensor lost its own share: sort the magnitudes of all tensors together, so that a layer of small weights "
        "gives more": each,
        "what is small was kept, and the rest set to zero": largest,
        "that drops the most negative weights: small means near zero, so sort abs()": [
            torch.where(w > lowest, w, 0.0) for w in weights
        ],
        "that many were kept, not dropped: share is what goes": _pruned(weights, 1 - share),
    }
    for text, wrong in causes.items():
        if all(torch.allclose(a, b) for a, b in zip(got, wrong, strict=True)):
            return text
    if any(bool(((g != 0) & (g != w)).any()) for g, w in zip(got, weights, strict=True)):
        return "what is kept stays as it was: only zeros are put in"
    return "the wrong weights, or too many or too few of them, became zero: the smallest magnitudes of all tensors together go\nint(share * number of all weights) of them become zero"


def reference_int8(weight: Tensor) -> Tensor:
    """Return a weight tensor (out, ...) as int8 would keep it, one scale for each output channel."""
    scale = weight.abs().flatten(1).amax(1).clamp_min(1e-12) / 127
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / scale).round() * scale


@exercise(
    "08.int8",
    title="round weights to int8",
    reference=reference_int8,
    points=2,
    difficulty=2,
    importance=3,
    minutes=10,
)
def check_int8(attempt: Callable) -> None:
    """Against torch.fake_quantize_per_channel_affine, for a linear layer and a convolution; then a channel of zeros."""
    random = torch.Generator().manual_seed(1)
    for shape in ((4, 30), (3, 2, 3, 3)):
        weight = torch.randn(shape, generator=random) * torch.logspace(-2, 0, shape[0]).reshape(
            -1, *[1] * (len(shape) - 1)
        )
        scale = weight.abs().flatten(1).amax(1) / 127
        expected = _fake(weight, scale)
        given = f"weights of shape {shape}, whose output channels differ in size by up to a hundred"
        got = attempt(weight.clone())
        _same_shapes([got], [weight], given)
        # A thousandth of a step is rounding of floats; a wrong integer is a whole step.
        steps = (got - expected) / scale.reshape(-1, *[1] * (len(shape) - 1))
        if steps.abs().max() < 1e-3:
            continue
        raise Wrong(given=given, got=got, expected=expected, because=_why_not_rounded(got, weight, scale))
    flat = torch.tensor([[1.0, -0.5], [0.0, 0.0]])
    got = attempt(flat.clone())
    if not torch.isfinite(got).all():
        because = "a channel of zeros has scale 0, and 0 / 0 is NaN: keep the scale above a tiny number"
        raise Wrong(given={"weight": flat}, got=got, expected="finite numbers", because=because)


def _fake(weight: Tensor, scale: Tensor) -> Tensor:
    zero = torch.zeros(len(scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -128, 127)


def _why_not_rounded(got: Tensor, weight: Tensor, scale: Tensor) -> str:
    """Return the likely cause of wrong int8 weights."""
    shape = (-1, *[1] * (weight.ndim - 1))
    coarse = weight.abs().max() / 127
    causes = {
        "one scale for the whole tensor: small channels lose nearly all of their digits; take the largest magnitude of "
        "each output channel (axis 0)": (weight / coarse).round() * coarse,
        "those are the integers: multiply by the scale, so that the layer can use them": (
            weight / scale.reshape(shape)
        ).round(),
        "255 steps for the magnitude would need nine bits: int8 holds -127 to 127\nscale = largest / 127": _fake9(
            weight, scale * 127 / 255
        ),
        "that is rounded down: take the nearest integer": (weight / scale.reshape(shape)).floor()
        * scale.reshape(shape),
        "nothing was rounded": weight,
    }
    for text, wrong in causes.items():
        if torch.allclose(got, wrong, rtol=1e-4, atol=1e-7):
            return text
    return "each output channel has a scale of its own; weights become whole steps of it, and are scaled back\nscale = largest magnitude of the output channel / 127; then round(weight / scale) * scale"


def _fake9(weight: Tensor, scale: Tensor) -> Tensor:
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / scale).round() * scale


def reference_last_only(model: nn.Module) -> nn.Module:
    """Return a copy of a model whose last linear layer starts anew and is all that trains."""
    copied = copy.deepcopy(model).requires_grad_(False)
    last = [layer for layer in copied.modules() if isinstance(layer, nn.Linear)][-1]
    last.reset_parameters()
    last.requires_grad_(True)
    return copied


@exercise(
    "08.last_only",
    title="retrain the last layer only",
    reference=reference_last_only,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_last_only(attempt: Callable) -> None:
    """On a network with two linear layers: who trains, who is fresh, and that the victim stays as it was."""
    with seeded(0):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 5))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        made = attempt(model)
    given = "a model: Conv2d, Flatten, Linear(36, 8), ReLU, Linear(8, 5)"
    last = {"4.weight", "4.bias"}

    def refuse(got: str, expected: str, because: str) -> None:
        raise Wrong(given=given, got=got, expected=expected, because=because)

    if not isinstance(made, nn.Module):
        refuse(type(made).__name__, "a model", "return the changed copy")
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
    if frozen or any(not torch.equal(value, before[name]) for name, value in model.state_dict().items()):
        refuse(
            "the victim was changed",
            "a changed copy",
            "the victim itself was changed: it is attacked again later\nwork on copy.deepcopy(model)",
        )
    trains = {name for name, value in made.named_parameters() if value.requires_grad}
    if trains != last:
        because = "the last linear layer alone trains, weight and bias: all else is frozen\nrequires_grad_(False) on the whole copy, then True on the last linear layer"
        if trains == {"2.weight", "2.bias"}:
            because = "that is the first linear layer: collect them all, and take the last"
        elif len(trains) > len(last):
            because = "more than the last layer would train: freeze the rest"
        elif not trains:
            because = "nothing would train: unfreeze the last layer again"
        refuse(f"trains: {sorted(trains) or 'nothing'}", f"trains: {sorted(last)}", because)
    state = made.state_dict()
    moved = {name for name, value in state.items() if not torch.equal(value, before[name])}
    if moved != last:
        because = (
            "the last layer still has numbers of the victim's, weights or bias: all of it was to start anew\nlast.reset_parameters()"
            if moved < last
            else "layers other than the last were started anew: what they know is what the thief wants to keep"
        )
        refuse(f"fresh: {sorted(moved) or 'nothing'}", f"fresh: {sorted(last)}", because)
    if float(state["4.weight"].std()) < 1e-6:
        refuse(
            "a last layer of one number",
            "random weights",
            "a layer whose weights are all one number does not start as a new one does: its outputs cannot differ\nuse last.reset_parameters()",
        )
