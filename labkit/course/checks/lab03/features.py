"""Checks of lab 03 on features and clipping: against definitions, eigenvectors and autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor


@exercise(
    "03.normalise",
    title="standardise each image by itself",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference="labkit.dp.utility.scattering:standardise",
)
def check_normalise(attempt: Callable) -> None:
    """Elementwise against the definition on images and on vectors, whoever else is in the batch; blanks become zeros."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 5, 5, generator=generator)
    # Channels differ in mean and spread, so that one channel at a time is another answer.
    images = images * torch.tensor([1.0, 5, 0.3, 2])[:, None, None, None] + torch.arange(3.0)[:, None, None]
    images[:, 2] *= 2
    _check_normalised(attempt, images)
    _check_blanks(attempt, images[:1])
    try:
        _check_normalised(attempt, 3 * torch.rand(3, 7, generator=generator) + 1)
    except (IndexError, ValueError, RuntimeError) as error:
        because = "that is written for pictures of four axes; `x` has any number of axes after the first\nflatten each record first, x.flatten(1)"
        raise Wrong(
            "3 records of shape (7,)", f"{type(error).__name__}: {error}", "shape (3, 7)", because
        ) from None


def _check_blanks(attempt: Callable, image: Tensor) -> None:
    """Records of equal numbers become zeros, and an image beside them stays what it is."""
    import torch

    blanks = torch.cat([torch.full((1, 3, 5, 5), 0.5), torch.zeros(1, 3, 5, 5), image])
    got = attempt(blanks.clone()).to(blanks.dtype)
    if not torch.isfinite(got).all():
        because = "a blank image has standard deviation 0: add a small constant before you divide"
        raise Wrong("a record of equal numbers", "NaN or infinity", "zeros", because)
    # A mean rounds in its last place, and a tiny constant in the denominator blows that up to a few hundredths.
    if (got[:2].abs() > 0.2).any() or not torch.allclose(got[2:], _normal_rows(image), atol=0.03):
        because = "a record of equal numbers becomes zeros: its mean is subtracted like any other's, and dividing must not blow up what rounding left\ndivide by deviation + constant"
        shown = f"numbers from {float(got[:2].min()):.3g} to {float(got[:2].max()):.3g}"
        raise Wrong(
            "two records of equal numbers (0.5 and 0), one image", shown, "zeros for the two", because
        )


def _normal_rows(x: Tensor, correction: int = 0) -> Tensor:
    """Standardise each record over all its numbers, in double precision."""
    dims = tuple(range(1, x.ndim))
    y = x.double()
    y = (y - y.mean(dims, keepdim=True)) / y.std(dims, correction=correction, keepdim=True)
    return y.to(x.dtype)


def _check_normalised(attempt: Callable, x: Tensor) -> None:
    """Compare one batch with the definition; n or n - 1 in the deviation are both a standard deviation."""
    import torch

    given = f"{len(x)} records of shape {tuple(x.shape[1:])}"
    got = attempt(x.clone())
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        shape = tuple(getattr(got, "shape", ()))
        raise Wrong(given, f"shape {shape}", f"shape {tuple(x.shape)}", "keep the shape of the input")
    got = got.to(x.dtype)  # working in doubles is no mistake
    alone = torch.cat([attempt(x[i : i + 1].clone()) for i in range(len(x))]).to(x.dtype)
    if not torch.allclose(got, alone, atol=1e-4, equal_nan=True):
        because = (
            "a record's result changes with the others in the batch: statistics over the batch are private"
        )
        raise Wrong(given, "a different result for a record alone", "the same result", because)
    if any(torch.allclose(got, _normal_rows(x, correction), atol=2e-3, rtol=2e-3) for correction in (0, 1)):
        return
    rows = got.flatten(1)
    mean, deviation = float(rows[0].mean()), float(rows[0].std(correction=0))
    shown = f"record 0: mean {mean:.3g}, deviation {deviation:.3g}"
    channels = x.ndim == 4 and torch.allclose(got.mean((2, 3)), torch.zeros(x.shape[:2]), atol=1e-3)
    if channels and torch.allclose(got.std((2, 3)), torch.ones(x.shape[:2]), atol=0.1):
        because = "each channel was standardised by itself; one mean and one deviation go over all of a record's numbers"
    elif not torch.allclose(rows.mean(1), torch.zeros(len(x)), atol=1e-3):
        because = "subtract each record's mean over all its numbers (channels too), not over one axis"
    elif not torch.allclose(rows.std(1, correction=0), torch.ones(len(x)), atol=0.03):
        because = "divide by the standard deviation (the root of the variance) of all of the record's numbers"
    else:
        because = "mean and deviation are right, the numbers are not: only subtract and divide, each record by one pair of numbers"
    raise Wrong(given, shown, "mean 0, deviation 1, over all numbers", because)


@exercise(
    "03.whiten",
    title="whiten with public images only",
    points=3,
    difficulty=3,
    importance=4,
    minutes=15,
    reference="labkit.dp.utility.features:whitening",
)
def check_whiten(attempt: Callable) -> None:
    """Against the eigenvectors of the covariance: centre, subspace and variances."""
    import torch

    from labkit.models import seeded

    scales = torch.tensor([5.0, 3, 2, 1, 0.5, 0.2])
    with seeded(0):
        x = (torch.randn(400, 6) * scales) @ torch.linalg.qr(torch.randn(6, 6))[0] + torch.arange(6.0)
    dimension, damping = 3, 0.1
    given = {"x": "400 vectors of length 6", "dimension": dimension, "damping": damping}
    result = attempt(x.clone(), dimension, damping=damping)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Wrong(given, result, "(mean, projection)", "return two tensors: the mean and the projection")
    mean, projection = result
    expect_close(
        mean, x.mean(0), given=given, because="the centre is the mean of the public vectors", rtol=1e-4
    )
    if tuple(projection.shape) != (6, dimension):
        because = "the projection has one column for each kept direction"
        raise Wrong(given, f"projection of shape {tuple(projection.shape)}", f"(6, {dimension})", because)
    values, vectors = torch.linalg.eigh(torch.cov(x.T).double())
    values, vectors = values.flip(0)[:dimension], vectors.flip(1)[:, :dimension]
    lengths = projection.double().norm(dim=0)
    along = (vectors.T @ projection.double()).abs() / lengths
    if not torch.allclose(along, torch.eye(dimension, dtype=torch.float64), atol=0.02):
        because = "the columns do not lie along the directions of largest variance, largest first\ntorch.linalg.eigh sorts them ascending"
        around_zero = torch.linalg.eigh((x.T @ x).double())[1].flip(1)[:, :dimension]
        if torch.allclose(
            (around_zero.T @ projection.double()).abs() / lengths, torch.eye(dimension).double(), atol=0.02
        ):
            because = "those are the main directions around 0, not around the mean: take the mean off before the variances are looked at"
        raise Wrong(given, f"columns along main directions: {along.diagonal()}", "1 each", because)
    wanted = (values + damping * values[0]).rsqrt()
    causes = {
        "damping is a share of the largest variance, and was added as it is\nadd damping * λ_1": (
            values + damping
        ).rsqrt(),
        "damping is missing: directions of tiny variance would be blown up\ndivide by the root of (variance + damping * largest variance)": values.rsqrt(),
        "divide by the root of the damped variance, not by the variance itself": wanted.square(),
        "the directions are there; their variances were not evened out": torch.ones_like(wanted),
    }
    if not torch.allclose(lengths, wanted, rtol=0.02):
        near = min(causes, key=lambda why: float((lengths / causes[why] - 1).abs().max()))
        fits = torch.allclose(lengths, causes[near], rtol=0.02)
        because = (
            near
            if fits
            else "the lengths of the columns are to even out the damped variances, and do not\ncolumn j has length 1 / sqrt(λ_j + damping * λ_1)"
        )
        raise Wrong(given, f"columns of length {lengths.tolist()}", f"{wanted.tolist()}", because)


def gradient_norms(x: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Return the norm of each record's gradient of softmax regression with a bias, shape [b]."""
    from labkit.dp.training.linear import residuals

    return residuals(logits, y).norm(dim=1) * (x.square().sum(1) + 1).sqrt()


@exercise(
    "03.closed_form_norm",
    title="per-record gradient norms without gradients",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    reference=gradient_norms,
)
def check_closed_form_norm(attempt: Callable) -> None:
    """Against autograd, one record at a time; no record of the last class, so that labels do not give their number away."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    from labkit.models import seeded

    with seeded(1):
        x, y, layer = torch.randn(5, 7), torch.tensor([0, 2, 1, 1, 0]), torch.nn.Linear(7, 4)
    logits = layer(x).detach()
    wanted = torch.zeros(5)
    for i in range(5):
        layer.zero_grad()
        F.cross_entropy(layer(x[i : i + 1]), y[i : i + 1]).backward()
        wanted[i] = (layer.weight.grad.square().sum() + layer.bias.grad.square().sum()).sqrt()
    given = {"x": "5 records of 7 features", "logits": "for 4 classes", "y": y}
    try:
        got = attempt(x.clone(), logits.clone(), y.clone())
    except RuntimeError as error:
        # NotImplementedError is a RuntimeError too, and says that the stub is still there.
        if isinstance(error, NotImplementedError) or not ("(3)" in str(error) and "(4)" in str(error)):
            raise
        because = "the number of classes is that of the logits' columns: the labels alone show only the largest that was seen\ngive one_hot the number of classes"
        raise Wrong(given, str(error), wanted, because) from None
    p = logits.softmax(1)
    r = p - F.one_hot(y, 4)
    mistakes = {
        "the bias is missing: it is a weight on a constant feature 1, so |x|² grows by 1": r.norm(dim=1)
        * x.norm(dim=1),
        "that is the squared norm: take the root": wanted.square(),
        "the gradient in the logits is softmax minus the one-hot label, not softmax alone": p.norm(dim=1)
        * (x.square().sum(1) + 1).sqrt(),
        "the bias adds 1 to |x|², under the root, not to |x|": r.norm(dim=1) * (x.norm(dim=1) + 1),
    }
    because = "write one record's gradient as a column times a row (the bias is a weight, too): what is the norm of such a matrix?"
    if isinstance(got, torch.Tensor) and got.shape == wanted.shape:
        because = next(
            (why for why, value in mistakes.items() if torch.allclose(got, value, rtol=1e-4)), because
        )
    expect_close(got, wanted, given=given, because=because, rtol=1e-4)
