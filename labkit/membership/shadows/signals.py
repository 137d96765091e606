"""Numbers read off a model's outputs that tell members from others: larger always means "more likely a member".

All are computed in float64 from logits, never from rounded probabilities: at a confidence of 1 - 1e-12 the difference
between 1e-12 and 1e-15 is the signal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Signal = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _split(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label's logit (...) and the logits of the other classes (..., classes - 1)."""
    classes = logits.shape[-1]
    at = np.broadcast_to(labels[(...,) + (None,) * (logits.ndim - 2)], logits.shape[:-1])[..., None]
    own = np.take_along_axis(logits, at, axis=-1)[..., 0]
    others = logits[np.arange(classes) != at].reshape(*logits.shape[:-1], classes - 1)
    return own, others


def _logsumexp(values: np.ndarray) -> np.ndarray:
    """Return log(sum(exp)) over the last axis without overflow."""
    top = values.max(axis=-1)
    return top + np.log(np.exp(values - top[..., None]).sum(axis=-1))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - _logsumexp(logits)[..., None]


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return minus the cross-entropy, log p_y (Yeom et al., arXiv 1709.01604, adversary 1)."""
    own, others = _split(logits, labels)
    return -np.logaddexp(0.0, _logsumexp(others) - own)


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return p_y, the probability of the label (Song & Mittal, arXiv 2003.10595, eq. 8)."""
    return np.exp(loss(logits, labels))


def entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return minus the entropy of the prediction, sum p log p (Song & Mittal, eq. 9); it ignores the label."""
    log_p = _log_softmax(logits)
    return (np.exp(log_p) * log_p).sum(axis=-1)


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return minus the modified entropy (Song & Mittal, eq. 10).

    Mentr = -(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i): small when the model is sure *and* right.
    """
    own, others = _split(logits, labels)
    rest = _logsumexp(others)
    log_p_y = -np.logaddexp(0.0, rest - own)
    not_y = np.exp(-np.logaddexp(0.0, own - rest))  # 1 - p_y without cancellation
    log_others = others - np.logaddexp(own, rest)[..., None]
    p_others = np.minimum(np.exp(log_others), 1.0)
    # log(1 - p_i): by log1p while p_i is small, else from the mass of all but i, which rounding would lose
    mass = np.concatenate([own[..., None], others], axis=-1)
    complement = (
        np.stack([_logsumexp(np.delete(mass, i + 1, axis=-1)) for i in range(others.shape[-1])], axis=-1)
        - np.logaddexp(own, rest)[..., None]
    )
    return not_y * log_p_y + (p_others * np.minimum(complement, 0.0)).sum(axis=-1)


def logit_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return log(p_y / (1 - p_y)), nearly Gaussian over models (Carlini et al., arXiv 2112.03570, eq. 6).

    Computed as z_y - logsumexp of the other logits: exact where p_y rounds to 1 or 0 (the paper's appendix).
    """
    own, others = _split(logits, labels)
    return own - _logsumexp(others)


def hinge(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return z_y - max of the other logits (Carlini et al., section VI-A; the margin of a hinge loss)."""
    own, others = _split(logits, labels)
    return own - others.max(axis=-1)


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1 where the label has the largest logit, else 0 (the gap attack of Yeom et al., section 3.1)."""
    return (hinge(logits, labels) > 0).astype(float)


def check_logits(answers: np.ndarray) -> None:
    """Refuse probabilities where logits are expected.

    A softmax of probabilities squeezes every confidence between 1 / (1 + (classes - 1) / e) and its like: each attack
    would still run, and find next to nothing. Log probabilities are logits.

    Raises
    ------
    ValueError
        If every row of ``answers`` (n, ..., classes) is non-negative and sums to one.
    """
    shown = np.asarray(answers[:1000], dtype=np.float64)  # one row that is no distribution tells
    if shown.size and shown.min() >= 0 and (np.abs(shown.sum(-1) - 1) < 1e-3).all():
        raise ValueError(
            "these answers are probabilities (none negative, each row sums to 1); expected logits: take the model's "
            "softmax off, or pass np.log(np.maximum(p, 1e-30))"
        )


SIGNALS: dict[str, Signal] = {
    "loss": loss,
    "confidence": confidence,
    "entropy": entropy,
    "modified-entropy": modified_entropy,
    "logit-confidence": logit_confidence,
    "hinge": hinge,
    "correct": correct,
}


def signal(name: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a named signal; larger means more likely a member.

    Parameters
    ----------
    name : str
        A key of `SIGNALS`.
    logits : array of shape (n, ..., classes)
    labels : int array of shape (n,)

    Returns
    -------
    array of shape (n, ...), float64

    Raises
    ------
    ValueError
        If the name is unknown, shapes or labels do not fit, a logit is NaN or infinite, or they are probabilities.
    """
    if name not in SIGNALS:
        raise ValueError(f"signal {name!r} is unknown; expected one of {', '.join(SIGNALS)}")
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim < 2 or logits.shape[-1] < 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"got logits {logits.shape} and labels {labels.shape}; expected (n, ..., classes) and (n,)"
        )
    check_logits(logits)
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).reshape(len(logits), -1).all(1))[0])
        raise ValueError(
            f"the logits of record {bad} hold NaN or infinity: the model diverged, or its file is broken"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= logits.shape[-1]):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}; expected 0 to {logits.shape[-1] - 1}"
        )
    return SIGNALS[name](logits, labels)
