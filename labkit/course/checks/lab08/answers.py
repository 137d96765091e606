"""Checks of lab 08 on changed inputs, on training anew, and on the search for a trigger: blur, soft loss, anomaly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.course.exercises.exercise import Wrong, exercise, expect_close


def reference_blur(x: Tensor, sigma: float) -> Tensor:
    """Return images (n, C, H, W), blurred by a 5 x 5 Gaussian that sums to one, borders repeated."""
    from labkit.watermark.attacks.removal import blurred

    return blurred(x, sigma)


@exercise(
    "08.blur",
    title="look through a blur",
    reference=reference_blur,
    points=3,
    difficulty=3,
    importance=3,
    minutes=12,
)
def check_blur(attempt: Callable) -> None:
    """Against scipy.ndimage, on images that are not square and whose colours differ."""
    x = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    x[:, 1] *= 0.2
    for sigma in (0.6, 1.5):
        given = f"images of shape (2, 3, 7, 9), sigma={sigma}"
        got = attempt(x.clone(), sigma)
        if not isinstance(got, Tensor) or got.shape != x.shape:
            raise Wrong(
                given=given,
                got=f"shape {tuple(getattr(got, 'shape', ()))}",
                expected=f"shape {tuple(x.shape)}",
                because="pad two pixels on every side before the convolution, so that the size stays; is there a return?",
            )
        because = _why_not_blurred(got, x, sigma)
        expect_close(got, _scipy(x, sigma), given=given, because=because, rtol=1e-4, atol=1e-5)


def _scipy(x: Tensor, sigma: float, mode: str = "nearest") -> Tensor:
    from scipy import ndimage

    seen = ndimage.gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode=mode, radius=(0, 0, 2, 2))
    return torch.from_numpy(seen)


def _why_not_blurred(got: Tensor, x: Tensor, sigma: float) -> str:
    """Return the likely cause of a wrong blur."""
    line = torch.exp(-(torch.arange(-2.0, 3) ** 2) / (2 * sigma**2))
    causes = {
        "nothing was blurred": x,
        "the kernel does not sum to one, so images grow brighter: divide by its sum": _scipy(x, sigma)
        * float(line.sum() ** 2),
        "the border grows dark: pad by repeating the edge (mode='replicate'), not with zeros": _scipy(
            x, sigma, "constant"
        ),
        "the kernel falls off too fast: its exponent is twice too large\na Gaussian has 2 * sigma**2 below, not sigma**2": _scipy(
            x, sigma / 2**0.5
        ),
        "colours were mixed: each channel is blurred alone (groups=C)": _scipy(x, sigma)
        .mean(1, keepdim=True)
        .expand_as(x),
        "the blur runs up and down alone: it has to run left and right, too": _one_way(x, sigma, 2),
        "the blur runs left and right alone: it has to run up and down, too": _one_way(x, sigma, 3),
    }
    for text, wrong in causes.items():
        if torch.allclose(got.double(), wrong.double(), rtol=1e-4, atol=1e-5):
            return text
    return "the weights of a blur fall off as a Gaussian of the distance does, sum to one, and go over each channel alone\nexp(-(i**2 + j**2) / (2 sigma**2)) for i, j from -2 to 2, divided by their sum"


def _one_way(x: Tensor, sigma: float, axis: int) -> Tensor:
    from scipy import ndimage

    return torch.from_numpy(
        ndimage.gaussian_filter1d(x.double().numpy(), sigma, axis, mode="nearest", radius=2)
    )


def reference_soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the distillation loss of Hinton et al. (arXiv 1503.02531, section 2), a cross-entropy times T²."""
    from torch.nn import functional as F  # noqa: N812 (the usual name)

    wanted = (teacher / temperature).softmax(1)
    return temperature**2 * F.cross_entropy(student / temperature, wanted)


@exercise(
    "08.soft_loss",
    title="learn from soft answers",
    reference=reference_soft_loss,
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
)
def check_soft_loss(attempt: Callable) -> None:
    """By its gradient, T (q - p) / n, which cross-entropy and Kullback-Leibler divergence share; then at T = 100.

    There the gradient is that of a squared error of centred logits (Hinton et al., eq. 4).
    """
    random = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(6, 4, generator=random) for _ in range(2))
    for temperature in (1.0, 3.0, 100.0):
        given = f"logits of student and teacher of shape (6, 4), temperature={temperature:g}"
        asked = student.clone().requires_grad_()
        loss = attempt(asked, teacher.clone(), temperature)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise Wrong(
                given=given,
                got=f"a {type(loss).__name__} of shape {tuple(getattr(loss, 'shape', ()))}",
                expected="one number that can be differentiated",
                because="return the mean over records as a tensor that still knows how it was made: nothing may cut it off from the student\nno .item(), no detach of the student",
            )
        (got,) = torch.autograd.grad(loss, asked)
        expected = _gradient(student, teacher, temperature)
        because = _why_not_soft(got, student, teacher, temperature)
        what = f"{given}; the loss's gradient in the student's logits"
        expect_close(got, expected, given=what, because=because, rtol=1e-3, atol=1e-6)


def _gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T (softmax(student / T) - softmax(teacher / T)) / n."""
    q, p = (torch.exp(z / temperature) for z in (student, teacher))
    return temperature * (q / q.sum(1, keepdim=True) - p / p.sum(1, keepdim=True)) / len(student)


def _why_not_soft(got: Tensor, student: Tensor, teacher: Tensor, temperature: float) -> str:
    """Return the likely cause of a wrong gradient."""
    right = _gradient(student, teacher, temperature)
    q, p = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    log_ratio = (q / p).log()
    turned = temperature * q * (log_ratio - (q * log_ratio).sum(1, keepdim=True)) / len(student)
    hard = torch.nn.functional.one_hot(teacher.argmax(1), teacher.shape[1])
    causes: dict[str, Any] = {
        "a factor is missing: gradients of softened outputs shrink as the temperature grows, twice over\nthey shrink with 1 / T², so multiply by T²": right
        / temperature**2,
        "one factor T is missing: it is T², since both softmaxes are softened": right / temperature,
        "that is the sum over records: take the mean": right * len(student),
        "that is the mean over records and classes: sum over classes, then take the mean over records": right
        / student.shape[1],
        "the two are exchanged: the teacher's probabilities weigh, the student's logarithm is learned": turned,
        "only the teacher was softened: divide the student's logits by T, too": temperature**2
        * (student.softmax(1) - p)
        / len(student),
        "only the student was softened: divide the teacher's logits by T, too": temperature
        * (q - teacher.softmax(1))
        / len(student),
        "those are hard labels: the teacher's softmax says more than its argmax": temperature
        * (q - hard)
        / len(student),
        "the sign is turned: a loss falls as the student comes nearer": -right,
    }
    for text, wrong in causes.items():
        if torch.allclose(got, wrong.to(got), rtol=1e-3, atol=1e-6):
            return text
    return "the student is to give the teacher's probabilities, both softened by the same temperature, and gradients must not shrink with it\nT² times the mean over records of -sum(p * log q), p and q the softmax over classes (axis 1) of the logits / T"


def reference_anomaly(norms: np.ndarray) -> np.ndarray:
    """Return how far each mask's size lies below the median, in normalised median absolute deviations."""
    from labkit.watermark.attacks.neural_cleanse import anomaly_index

    return anomaly_index(norms)


@exercise(
    "08.anomaly",
    title="which class opens too easily?",
    reference=reference_anomaly,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_anomaly(attempt: Callable) -> None:
    """Against scipy's median absolute deviation, with one small value, and with an even number of values."""
    from scipy import stats

    for values in ((52.0, 61.0, 47.0, 55.0, 9.0, 58.0, 70.0), (30.0, 28.0, 3.0, 35.0, 31.0, 90.0)):
        norms = np.array(values)
        scale = stats.median_abs_deviation(norms, scale="normal")
        expected = (np.median(norms) - norms) / scale
        got = attempt(norms.copy())
        raw = stats.median_abs_deviation(norms)
        causes = {
            "the sign is turned: a small mask is the suspicious one, so small has to give a large index": -expected,
            "the constant 1.4826 is missing: with it the MAD of normal values is their standard deviation": expected
            * scale
            / raw,
            "the constant is on the wrong side: it turns the MAD into a standard deviation, so it makes the scale larger\ndivide by 1.4826 * MAD": (
                np.median(norms) - norms
            )
            / raw
            * 1.4826,
            "mean and standard deviation are moved by the very outlier that is looked for: take medians": (
                norms.mean() - norms
            )
            / norms.std(),
            "the mean is moved by the outlier: measure from the median": (norms.mean() - norms) / scale,
            "a large mask is no backdoor: keep the sign": np.abs(expected),
        }
        because = "how far does a size lie below the middle one, counted in a spread that an outlier cannot move?\n(median - norm) / (1.4826 * median of |norm - median|)"
        for text, wrong in causes.items():
            if np.shape(got) == wrong.shape and np.allclose(np.asarray(got, dtype=float), wrong, rtol=1e-3):
                because = text
        if np.shape(got) == norms.shape and np.allclose(got, (norms.mean() - norms) / norms.std(ddof=1)):
            because = (
                "mean and standard deviation are moved by the very outlier that is looked for: take medians"
            )
        given = f"mask sizes {list(values)}, in pixels"
        expect_close(got, expected, given=given, because=because, rtol=1e-4)
