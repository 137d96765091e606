"""Mistakes of labs 02 to 05 whose causes no lab's own file proves, and mistakes that must not get a neighbour's cause."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from proofs import prove_mistake
from test_checks_lab02 import accountant, coins, mean_with, noise_of, train_with
from test_checks_lab03 import exact, norms_with, smallest_by, t_bound, unpaired, whiten_with
from test_checks_lab04 import by_column, losses, rows, tpr
from test_further_causes import changed

from labkit.course.checks.lab05.attacks import reference_tpr_at_fpr


def coins_of(rates: Callable) -> Callable:
    """Return a batch of coins with a rate for each record, from (n, q)."""
    return lambda n, q, generator: (torch.rand(n, generator=generator) < rates(n, q)).nonzero().flatten()


def sized(round_to: Callable) -> Callable:
    """Return batches whose size is drawn first, from a normal law, and then filled."""

    def attempt(n, q, generator):
        size = n * q + math.sqrt(n * q * (1 - q)) * float(torch.randn((), generator=generator))
        return torch.randperm(n, generator=generator)[: max(0, round_to(size))]

    return attempt


def one_coin_for_all(n, q, generator, step):
    return torch.arange(n) if torch.rand((), generator=generator) < q else torch.arange(0)


def shared_noise(d, generator):
    return torch.randn(1, generator=generator).expand(d)


def undivided(clipped, *, max_grad_norm, noise_multiplier, expected_batch_size, generator):
    noise = torch.randn(clipped.shape[1], generator=generator)
    return clipped.sum(0) + noise_multiplier * max_grad_norm * noise


def times(factor: float) -> Callable:
    right = accountant()
    return lambda n, expected_batch_size, epochs, noise_multiplier, delta: (
        factor * right(n, expected_batch_size, epochs, noise_multiplier, delta)
    )


def composed(n, expected_batch_size, epochs, noise_multiplier, delta):
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    return PLDAccountant().compose(dp_event.GaussianDpEvent(noise_multiplier), epochs)


def doubled_tail(one, two):
    b, c = int((one & ~two).sum()), int((~one & two).sum())
    from scipy.stats import binom

    return 2 * binom.cdf(min(b, c), b + c, 0.5)


def around_zero(x, dimension, *, damping):
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    values, vectors = values.flip(0)[:dimension], vectors.flip(1)[:, :dimension]
    return x.mean(0), vectors * (values + damping * values[0]).rsqrt()


def whitened(change: Callable) -> Callable:
    right = whiten_with()

    def attempt(x, dimension, *, damping):
        mean, projection = right(x, dimension, damping=damping)
        return change(mean, projection)

    return attempt


def bias_outside_the_root(x, logits, y):
    return norms_with(bias=False)(x, logits, y) * (x.norm(dim=1) + 1) / x.norm(dim=1)


def first_model_sees_most(models, records, *, seed=0):
    masks = by_column(models, records, seed=seed)
    for column in masks.T[: int(0.9 * records)]:
        if not column[0]:
            taken = np.flatnonzero(column)[0]
            column[0], column[taken] = True, False
    return masks


def two_of_eight(models, records, *, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(models) < 2 for _ in range(records)], axis=1)


def label_last(p, y, m):
    return np.roll(rows(p, y), -1, axis=1), m.ravel()


def sorted_probabilities(p, y, m):
    return rows(np.sort(p, axis=2), y), m.ravel()


def at_zero(a, b, m, fpr, draws):
    return np.array([(a[d][m[d]] > 0).mean() - (b[d][m[d]] > 0).mean() for d in draws])


def beside(values, masks, k, lira):
    kept = [j for j in range(len(masks)) if j not in (k, k ^ 1)]
    return lira(values[k], values[kept], masks[kept])


def above_quantile(scores, members, rate):
    """Right where rate times non-members is a whole number."""
    if (~members).sum() < 10 / rate:
        return None
    return float((scores[members] > np.quantile(scores[~members], 1 - rate)).mean())


def one_threshold_too_far(scores, members, rate):
    if (~members).sum() < 10 / rate:
        return None
    return next(
        float((scores[members] >= t).mean())
        for t in np.unique(scores)[::-1]
        if (scores[~members] >= t).mean() > rate
    )


def threshold_of_all(scores, members, rate):
    return float((scores[members] > np.quantile(scores, 1 - rate)).mean())


def refuses_at_ten(scores, members, rate):
    return None if (~members).sum() * rate < 10.5 else reference_tpr_at_fpr(scores, members, rate)


def noisy(which: Callable) -> Callable:
    """Return a score of hits (noises, n), put together by ``which``."""

    def attempt(predict, x, y, noises):
        return which(np.array([predict(np.clip(x + noise, 0, 1)) == y for noise in noises], dtype=float))

    return attempt


FURTHER = [
    ("02.poisson_batch", lambda n, q, g: coins(n // 2, 2 * q, g, 0), "some records never join"),
    ("02.poisson_batch", sized(round), "here that happens too often or too seldom"),
    ("02.poisson_batch", sized(int), "here that happens too often or too seldom"),
    ("02.poisson_batch", coins_of(lambda n, q: q * (1 + 0.3 * (-1.0) ** torch.arange(n))), "join more often"),
    ("02.poisson_batch", coins_of(lambda n, q: q * torch.linspace(0.7, 1.3, n)), "join more often"),
    ("02.poisson_batch", lambda n, q, g: (torch.rand(n, generator=g) < q).nonzero(), "a column"),
    ("02.poisson_batch", lambda n, q, g: coins(n, q, g, 0).int(), "something else came back"),
    ("02.poisson_batch", lambda n, q, g: coins(n, q, g, 0) + 1, "the first has the number 0"),
    ("02.poisson_batch", lambda n, q, g: torch.arange(int(n * q)), "nothing is drawn from the generator"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: s * c / e, lambda c, s, e, b: e * b), "then divide once"),
    ("02.noisy_mean", lambda clipped, **given: clipped / 40, "sum over the records, and over nothing else"),
    ("02.noisy_mean", lambda clipped, **given: clipped.sum() / 40, "sum over the records, and over nothing else"),
    ("02.noisy_mean", noise_of(shared_noise), "all coordinates got the same noise"),
    ("02.noisy_mean", undivided, "it was not divided"),
    ("02.dp_sgd", lambda x, y, **given: train_with()(x, y, **{**given, "steps": given["steps"] - 1}), "clip each record, sum"),
    ("02.dp_sgd", lambda x, y, **given: torch.zeros(3), "return the weights"),
    ("02.dp_sgd", train_with(draw=lambda n, q, g, t: coins(n, q * q, g, t)), "joins a step with probability sample_rate"),
    ("02.dp_sgd", train_with(draw=one_coin_for_all), "scatter otherwise"),
    ("02.dp_sgd", train_with(divisor=lambda q, n, b: n), "the divisor is the number of all records"),
    ("02.dp_sgd", lambda x, y, **given: train_with()(x, y, **{**given, "noise_multiplier": given["noise_multiplier"] / 2}), "fresh noise of the right scale"),
    ("02.epsilon", composed, "an accountant came back"),
    ("02.epsilon", lambda *args, **given: float("nan"), "return one number, the ε at delta"),
    ("02.epsilon", times(1.5), "no slip that is known here"),
    ("02.epsilon", accountant(rate=lambda n, b: 1.0), "no credit for sampling"),
    ("03.epsilon_with_tuning", changed("03.epsilon_with_tuning", lambda right, *_: 1.5 * right), "compose the steps of all trials"),
    ("03.paired", lambda one, two: exact(one, two) if (one != two).any() else 0.0, "where the models never differ"),
    ("03.paired", doubled_tail, "the middle is in both tails"),
    ("03.paired", unpaired, "from different records"),
    ("03.smallest_epsilon", smallest_by(min), "return the smallest (they are not sorted)"),
    ("03.smallest_epsilon", smallest_by(t_bound, max), "given away for nothing"),
    ("03.whiten", lambda x, dimension, *, damping: x, "return two tensors"),
    ("03.whiten", whitened(lambda mean, projection: (mean, projection.T)), "one column for each kept direction"),
    ("03.whiten", whitened(lambda mean, projection: (mean, 2 * projection)), "to even out the damped variances"),
    ("03.whiten", around_zero, "around 0, not around the mean"),
    ("03.whiten", whitened(lambda mean, projection: (mean, projection.flip(1))), "do not lie along"),
    ("03.closed_form_norm", bias_outside_the_root, "under the root, not to |x|"),
    ("03.closed_form_norm", lambda x, logits, y: norms_with()(x, logits, y) + 1, "the norm of such a matrix"),
    ("04.balanced_masks", first_model_sees_most, "far more records than others"),
    ("04.balanced_masks", two_of_eight, "and that is not half of them"),
    ("04.calibrated", changed("04.calibrated", lambda right, *_: right + 1), "with masks False, by record"),
    ("04.tpr_at_fpr", lambda s, m, f: 0.9 * tpr(s, m, f), "the one that catches most members"),
    ("04.precision", lambda tpr, fpr, prior: 0.123, "take a million candidates"),
    ("04.shadow_rows", lambda p, y, m: (rows(p[:1], y), m[0]), "one row for each model and record"),
    ("04.shadow_rows", sorted_probabilities, "as they came"),
    ("04.shadow_rows", lambda p, y, m: (rows(np.log(p), y), m.ravel()), "as they came"),
    ("04.shadow_rows", label_last, "the label stands last"),
    ("04.shadow_rows", lambda p, y, m: (rows(p, y), ~m.ravel()), "the truth is turned"),
    ("04.paired_differences", at_zero, "no rate at the given false-positive rate"),
    ("04.paired_differences", lambda a, b, m, f, draws: np.zeros(len(draws)), "each draw of the records gives one difference"),
    ("04.record_losses", lambda z, y: losses(z, y) + 1, "minus the log of the probability that softmax"),
    ("05.tpr_at_fpr", lambda s, m, r: 1 - reference_tpr_at_fpr(s, m, r), "members below the threshold"),
    ("05.tpr_at_fpr", one_threshold_too_far, "count who really passes"),
    ("05.tpr_at_fpr", above_quantile, "a quantile lies between two scores"),
    ("05.tpr_at_fpr", threshold_of_all, "not off all scores"),
    ("05.tpr_at_fpr", refuses_at_ten, "from ten expected false positives on"),
    ("05.noise_score", noisy(lambda hits: hits.mean(1)), "one number per noise came back"),
    ("05.noise_score", noisy(lambda hits: hits[-1]), "only the last noise"),
    ("05.logit_confidence", changed("05.logit_confidence", lambda right, *_: right * 0.7 + 0.01), "what is left of the odds"),
    ("05.lira_online", changed("05.lira_online", lambda right, *_: right * 0.7 + 0.01), "two Gaussians are to be compared"),
    ("05.lira_offline", changed("05.lira_offline", lambda right, *_: right * 0.7 + 0.01), "above the models that never saw the record, counted"),
    ("05.likelihood_ratio", changed("05.likelihood_ratio", lambda right, *_: right * 0.7 + 0.01), "those with it follow from those without it"),
    ("05.dominance", changed("05.dominance", lambda right, *_: right * 0.7 + 0.01), "how large a share of the population"),
    ("05.knowing_attack", changed("05.knowing_attack", lambda right, *_: right * 0.7 + 0.01), "which of the models may serve"),
    ("05.tpr_at_fpr", lambda s, m, r: 0.9 * reference_tpr_at_fpr(s, m, r), "at most rate x non-members pass"),
    ("05.noise_score", noisy(lambda hits: hits.mean(0) / 2), "still answered rightly"),
    ("05.knowing_attack", beside, "the model beside k was left out"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "attempt", "cause"), FURTHER, ids=[f"{id}-{cause}" for id, _, cause in FURTHER]
)
def test_a_further_mistake_is_told_its_own_cause(id, attempt, cause):
    prove_mistake(id, attempt, cause)
