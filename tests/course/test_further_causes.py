"""More mistakes, each told its own cause and no neighbour's: every cause here was stated by a check, and is now shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from proofs import prove_mistake
from scipy import stats
from scipy.stats import binom, chi2, norm, t

from labkit.course import find


def changed(id: str, change):
    """Return the right answer to an exercise, changed afterwards; ``change`` also gets the arguments."""
    right = find(id).answer
    return lambda *args: change(right(*args), *args)


def laplace(scale):
    return lambda value, sensitivity, epsilon, rng: value + rng.laplace(0, scale(sensitivity, epsilon))


def noisy_mean(noise):
    def attempt(clipped, *, max_grad_norm, noise_multiplier, expected_batch_size, generator):
        draw = torch.randn(clipped.shape[1], generator=generator, dtype=clipped.dtype)
        deviation = noise_multiplier * max_grad_norm * noise(expected_batch_size)
        return (clipped.sum(0) + deviation * draw) / expected_batch_size

    return attempt


def mean_with_largest(values, low, high, epsilon, rng):
    return np.clip(values, low, high).mean() + rng.laplace(0, high / (len(values) * epsilon))


def side(values, used):
    """Return each record's mean and the pooled variance, over the models that `used` marks."""
    mean = np.where(used, values, 0).sum(0) / used.sum(0)
    squares = np.where(used, (values - mean) ** 2, 0).sum()
    return mean, squares / (used.sum() - values.shape[1]), squares / used.sum()


def online(power):
    def attempt(shown, values, masks):
        (inside, one, _), (outside, two, _) = side(values, masks), side(values, ~masks)
        return norm.logpdf(shown, inside, one**power) - norm.logpdf(shown, outside, two**power)

    return attempt


def offline(finish):
    def attempt(shown, values, masks):
        mean, pooled, biased = side(values, ~masks)
        return finish(shown - mean, pooled, biased)

    return attempt


def fewest(guesses, epsilon):
    rate = 1 / (1 + math.exp(-epsilon))
    return next((c for c in range(guesses + 1) if binom.sf(c - 1, guesses, rate) <= 0.05), guesses + 1)


def exactly_fewest(guesses, epsilon, accuracy):
    return float(binom.pmf(fewest(guesses, epsilon), guesses, accuracy))


def claimed(change):
    return lambda correct, guesses, epsilon: float(change(correct, guesses, 1 / (1 + math.exp(-epsilon))))


def normal_shortcut(noise, sigma):
    root, reach = math.sqrt((noise**2).mean()) / sigma, 1.96 / math.sqrt(2 * len(noise))
    return root * (1 - reach), root * (1 + reach)


def variances_over_sigma(noise, sigma):
    total = float((noise**2).sum())
    return tuple(total / chi2.ppf(p, len(noise)) / sigma for p in (0.975, 0.025))


def single_pairs(marked, unmarked):
    gaps = marked - unmarked
    outer = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1)
    return gaps.mean(), gaps.mean() - outer, gaps.mean() + outer, 1.4 * outer


def too_many_degrees(value, nulls):
    k = len(nulls)
    return float(t.sf((value - nulls.mean()) / (nulls.std(ddof=1) * math.sqrt(1 + 1 / k)), k))


def deviations_apart(total, known, share_multiplier, survivors):
    rest, _ = find("12.left_over").answer(total, known, share_multiplier, survivors)
    return rest, share_multiplier * (math.sqrt(survivors) - math.sqrt(len(known)))


FURTHER = [
    ("00.first_check", lambda predicted, labels: 0.123, "a share is wanted"),
    ("00.seeded_noise", lambda shape, scale, seed: [0.0], "return the tensor"),
    (
        "00.seeded_noise",
        lambda shape, scale, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
        "scale is a standard deviation",
    ),
    ("00.per_sample_norms", lambda batch: batch.flatten(1).abs().amax(1), "each record has its own norm"),
    ("01.sum_sensitivity", lambda low, high, relation: abs(low) + abs(high) if relation != "add/remove" else max(abs(low), abs(high)), "sizes were added up"),
    ("01.laplace_mechanism", laplace(lambda sensitivity, epsilon: (sensitivity / epsilon) ** 2), "the scale was squared"),
    ("01.private_mean", lambda values, low, high, epsilon, rng: np.clip(values, low, high).mean() + rng.normal(0, (high - low) / (len(values) * epsilon)), "the shape is not Laplace"),
    ("01.private_mean", mean_with_largest, "the lower bound matters as well"),
    ("01.group_privacy", lambda epsilon, size, delta: (size * epsilon, 1.7 * delta), "chain the promise"),
    ("01.group_privacy", lambda epsilon, size, delta: (size * epsilon, math.exp(size * epsilon - epsilon) * delta), "a single power"),
    ("01.group_privacy", lambda epsilon, size, delta: (size * epsilon, math.exp(size * epsilon) * delta if size > 1 else delta), "a single power"),
    ("01.composed_delta", changed("01.composed_delta", lambda right, *_: 0.9 * right + 0.01), "an outcome's probabilities in the two worlds"),
    ("01.estimate_share", lambda responses, epsilon: float(np.median(responses)), "which share of the responses says 1"),
    ("01.group_privacy", lambda epsilon, size, delta: (size * epsilon, size * math.exp(size * epsilon) * delta), "chain the promise"),
    ("01.estimate_share", lambda responses, epsilon: 0.123, "which share of the responses says 1"),
    ("01.roc_ceiling", lambda fpr, epsilon, delta: 0.5 * fpr, "there are two lines"),
    ("02.clip_per_sample", lambda grads, max_grad_norm: grads[:1], "one clipped row for each record"),
    ("02.clip_per_sample", lambda grads, max_grad_norm: grads, "keeps its direction"),
    ("02.noisy_mean", noisy_mean(lambda batch: 1 / math.sqrt(batch)), "the noise shrank with the batch"),
    ("02.noisy_mean", noisy_mean(lambda batch: 1.5), "the noise on the sum has the wrong strength"),
    ("02.coupled_rate", lambda rate, old, new: rate * math.sqrt(old / new), "not with its square root"),
    ("02.coupled_rate", lambda rate, old, new: rate + 1.0, "how far does one clipped record move the model"),
    ("03.paired", lambda one, two: binom.cdf((one & ~two).sum(), (one ^ two).sum(), 0.5), "tests the other side only"),
    ("03.paired", lambda one, two: 0.123, "how surprising that split is for a fair coin"),
    ("03.share_bought", lambda accuracy, prior: accuracy, "what the prior knew as bought"),
    ("03.share_bought", lambda accuracy, prior: 0.123, "how many of the mistakes"),
    ("04.record_losses", changed("04.record_losses", lambda right, *_: right / math.log(2)), "that is in bits"),
    ("04.record_losses", changed("04.record_losses", lambda right, *_: right + 1.0), "minus the log of the probability"),
    (
        "04.calibrated",
        lambda signal, shadows, masks: signal - (shadows * ~masks).sum(0),
        "that subtracts a sum",
    ),
    (
        "04.calibrated",
        lambda signal, shadows, masks: signal / ((shadows * ~masks).sum(0) / (~masks).sum(0)),
        "that is a ratio",
    ),
    ("04.precision", changed("04.precision", lambda right, *_: 1 - right), "the accused who are NOT members"),
    ("05.lira_online", online(1.0), "a variance was used where a standard deviation belongs"),
    ("05.lira_online", online(0.25), "a standard deviation was used where a variance belongs"),
    ("05.lira_offline", offline(lambda gap, pooled, biased: norm.sf(gap / np.sqrt(pooled))), "that is a p-value"),
    ("05.lira_offline", offline(lambda gap, pooled, biased: gap / np.sqrt(biased)), "the pooled variance"),
    (
        "05.likelihood_ratio",
        lambda shown, out, a=0.33: (out + a * out + (1 - a)) / 2,
        "has to be compared with, not the comparison",
    ),
    ("05.dominance", changed("05.dominance", lambda right, x, z, gamma: right * len(z)), "those are counts: divide by the number of population"),
    ("06.p_value", claimed(binom.pmf), "exactly so many"),
    ("06.p_value", claimed(lambda k, n, rate: binom.cdf(k - 1, n, rate)), "that is the other tail"),
    ("06.p_value", claimed(lambda k, n, rate: binom.sf(k - 1, n, rate) + binom.pmf(k, n, rate)), "one term is counted twice"),
    ("06.power", exactly_fewest, "the chance of exactly that number"),
    ("06.noise_strength", normal_shortcut, "the normal shortcut"),
    ("06.noise_strength", variances_over_sigma, "variances over sigma"),
    ("06.noise_strength", lambda noise, sigma: (0.1, 0.2), "at both ends of the law"),
    (
        "07.agreement",
        changed("07.agreement", lambda right, victim, thief: [len(victim) * end for end in right]),
        "numbers of records, not shares",
    ),
    ("07.agreement", changed("07.agreement", lambda right, *_: (right[1], right[0], right[2])), "the order is share, low, high"),
    ("07.paired", single_pairs, "the spread of single pairs"),
    (
        "08.anomaly",
        lambda norms: (norms.mean() - norms) / stats.median_abs_deviation(norms, scale="normal"),
        "the mean is moved by the outlier",
    ),
    ("09.another_innocent", too_many_degrees, "the degrees of freedom are wrong"),
    (
        "11.rank_p",
        lambda strength, redrawn: (redrawn >= strength).sum() / (1 + len(redrawn)),
        "the hospital's own key is one of the draws",
    ),
    ("12.left_over", deviations_apart, "take variances off each other"),
    (
        "12.left_over",
        changed("12.left_over", lambda right, total, known, share, n: (right[0], share**2 * (n - len(known)))),
        "that is a variance",
    ),
    (
        "12.dense_leak",
        lambda weight, bias: weight[bias != 0] / np.linalg.norm(weight[bias != 0], axis=1, keepdims=True),
        "scaled to unit length",
    ),
    (
        "12.dense_leak",
        lambda weight, bias: weight[bias != 0] / weight[bias != 0].sum(1, keepdims=True),
        "scaled by the row's own sum",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "attempt", "cause"), FURTHER, ids=[f"{id}-{cause}" for id, _, cause in FURTHER]
)
def test_a_further_mistake_is_told_its_own_cause(id, attempt, cause):
    prove_mistake(id, attempt, cause)
