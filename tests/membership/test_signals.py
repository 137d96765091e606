from __future__ import annotations

import numpy as np
import pytest

from labkit.membership.shadows import signals


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, size=(50, 2, 5)), rng.integers(0, 5, 50)


def by_definition(name: str, p: np.ndarray, y: int, z: np.ndarray) -> float:
    """Each signal straight from its formula; good for moderate logits only."""
    others = [i for i in range(len(p)) if i != y]
    return {
        "loss": np.log(p[y]),
        "confidence": p[y],
        "entropy": sum(p * np.log(p)),
        "modified-entropy": (1 - p[y]) * np.log(p[y]) + sum(p[i] * np.log(1 - p[i]) for i in others),
        "logit-confidence": np.log(p[y] / (1 - p[y])),
        "hinge": z[y] - max(z[i] for i in others),
        "correct": float(p.argmax() == y),
    }[name]


@pytest.mark.parametrize("name", list(signals.SIGNALS))
def test_signals_equal_their_definitions(name: str) -> None:
    logits, labels = drawn()
    found = signals.signal(name, logits, labels)
    assert found.shape == (50, 2)
    for i in range(50):
        for q in range(2):
            expected = by_definition(name, softmax(logits[i, q]), labels[i], logits[i, q])
            assert found[i, q] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", list(signals.SIGNALS))
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_signals_stay_finite_at_extreme_logits(name: str, scale: float) -> None:
    logits, labels = drawn(1)
    assert np.isfinite(signals.signal(name, scale * logits, labels)).all()


@pytest.mark.parametrize("name", ["loss", "logit-confidence", "hinge", "modified-entropy"])
def test_confidences_that_round_to_one_stay_apart(name: str) -> None:
    tops = np.array([40.0, 60.0, 100.0, 300.0])  # p_y rounds to 1 in float64 for all of them
    logits = np.zeros((4, 3))
    logits[:, 0] = tops
    found = signals.signal(name, logits, np.zeros(4, int))
    assert (np.diff(found) > 0).all()
    if name == "logit-confidence":
        np.testing.assert_allclose(found, tops - np.log(2))
    assert (signals.signal("confidence", logits, np.zeros(4, int)) == 1).all()


def test_a_confident_mistake_scores_lowest_where_the_label_counts() -> None:
    logits = np.array([[50.0, 0, 0], [0, 50.0, 0], [1.0, 0, 0]])
    for name in ("loss", "modified-entropy", "logit-confidence", "hinge"):
        assert signals.signal(name, logits, np.zeros(3, int)).argmin() == 1, name
    blind = signals.signal("entropy", logits, np.zeros(3, int))
    assert blind[0] == blind[1]  # plain entropy cannot tell: why Song & Mittal modified it


def test_two_classes_and_half_precision_work() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 0.5]], dtype=np.float16)
    np.testing.assert_allclose(signals.signal("logit-confidence", logits, np.array([0, 1])), [3.0, 0.0])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 1]), "record 1 hold NaN"),
        (np.zeros((2, 3)), np.array([0, 3]), "labels run from 0 to 3; expected 0 to 2"),
        (np.zeros((2, 3)), np.array([0]), "expected"),
        (np.zeros((2, 1)), np.array([0, 0]), "expected"),
    ],
)
def test_bad_outputs_are_named(logits, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        signals.signal("loss", logits, labels)


def test_an_unknown_signal_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'gini' is unknown; expected one of loss, confidence"):
        signals.signal("gini", np.zeros((1, 2)), np.zeros(1, int))
