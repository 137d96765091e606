"""Attacks that fit a scikit-learn model: shadow classifier, quantile regression, and the blind baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from labkit.membership.attacks.thresholds import target_signal
from labkit.membership.shadows.bank import ShadowBank, Target

ROWS = 40_000  # most rows an attack classifier is fitted on: more moves its AUC by less than its interval


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def shadow_features(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (n, classes + 2): the label, its log probability, and all log probabilities, from (n, queries, classes)."""
    log_p = _log_softmax(logits[:, 0])
    own = np.take_along_axis(log_p, labels[:, None], axis=1)
    return np.concatenate([labels[:, None], own, log_p], axis=1)


def shadow_classifier(
    target: Target, bank: ShadowBank, *, classifier: Any = None, seed: int = 0
) -> np.ndarray:
    """Score by a classifier of members, trained on the shadow models' outputs (Shokri et al., arXiv 1610.05820, sec. V).

    Parameters
    ----------
    classifier : scikit-learn classifier, optional
        Default: gradient boosting that splits on the label like the paper's one classifier per class.
    """
    if classifier is None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        classifier = HistGradientBoostingClassifier(categorical_features=[0], max_iter=100, random_state=seed)
    share = min(len(bank.labels), max(2, ROWS // len(bank)))
    rng, rows, truth = np.random.default_rng(seed), [], []
    for k in range(len(bank)):
        chosen = np.sort(rng.permutation(len(bank.labels))[:share])
        rows.append(shadow_features(np.asarray(bank.logits(k)[chosen]), bank.labels[chosen]))
        truth.append(bank.masks[k, chosen])
    classifier.fit(np.concatenate(rows), np.concatenate(truth))
    shown = shadow_features(target.logits, bank.labels)
    if hasattr(classifier, "decision_function"):
        return classifier.decision_function(shown)
    return classifier.predict_proba(shown)[:, 1]


def quantile_features(logits: np.ndarray, labels: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return what tells how hard a record is without giving its signal away: label, other classes' shares, pixels.

    The log shares of the other classes among themselves (sorted), and the image averaged over a 4x4 grid, or the
    features themselves where there are at most 64.
    """
    log_p = _log_softmax(logits[:, 0])
    classes = log_p.shape[1]
    others = log_p[np.arange(classes) != labels[:, None]].reshape(len(labels), classes - 1)
    parts = [labels[:, None], np.sort(_log_softmax(others), axis=1), _coarse(x)]
    return np.concatenate(parts, axis=1)


def _coarse(x: np.ndarray) -> np.ndarray:
    """Return images averaged over a 4x4 grid, or up to 64 features as they are: (n, d)."""
    if x.ndim == 4:
        import torch

        return torch.nn.functional.adaptive_avg_pool2d(torch.as_tensor(x), 4).flatten(1).numpy()
    return np.asarray(x)[:, :64]


def quantile_regression(target: Target, bank: ShadowBank, *, level: float = 0.9, seed: int = 0) -> np.ndarray:
    """Score by the signal minus the quantile that a non-member like this would reach (Bertran et al., arXiv 2307.03694).

    The quantile of the logit-scaled confidence is regressed on the population, which the target never saw: one
    regression takes the place of all shadow models (the paper's eq. 1, with the pinball loss).

    Parameters
    ----------
    level : float
        1 - the false-positive rate that the threshold aims at.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1, such as 0.9")
    # Small trees and early stopping: a quantile fitted to the population's noise lies too low for new records.
    regressor = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        categorical_features=[0],
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=min(50, max(5, len(bank.population_labels) // 20)),
        early_stopping=True,
        random_state=seed,
    )
    known = quantile_features(target.population_logits, bank.population_labels, bank.population_x.numpy())
    regressor.fit(known, target_signal("logit-confidence", target, bank, part="population")[:, 0])
    asked = quantile_features(target.logits, bank.labels, bank.x.numpy())
    return target_signal("logit-confidence", target, bank)[:, 0] - regressor.predict(asked)


def blind(target: Target, bank: ShadowBank, *, seed: int = 0) -> np.ndarray:
    """Score without asking the model: a classifier of members from records and labels alone, on folds it has not seen.

    Above chance it says that members and non-members were drawn differently, and no attack's result on them means
    anything (Das et al., "Blind baselines beat membership inference attacks", arXiv 2406.16201).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([np.eye(len(bank.classes))[bank.labels], _coarse(bank.x.numpy())], axis=1)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    return cross_val_predict(model, features, target.members, cv=folds, method="decision_function")
