"""Checks of lab 05: the strongest attacks, built step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, getcontext, localcontext

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise, expect_close


def _expect(got: object, expected: object, given: object, causes: dict[str, object], otherwise: str) -> None:
    """Compare arrays; when they differ, name the cause whose values came instead."""

    def equals(value: object) -> bool:
        try:
            expect_close(got, value, given=given, because=otherwise, rtol=1e-6, atol=1e-9)
        except Wrong:
            return False
        return True

    if equals(expected):
        return
    cause = next((text for text, wrong in causes.items() if equals(wrong)), None)
    if cause is not None:
        raise Wrong(given=given, got=got, expected=expected, because=cause)
    expect_close(got, expected, given=given, because=otherwise, rtol=1e-6, atol=1e-9)


LOGITS = np.array(
    [[2.0, 1.0, 0.0], [60.0, 1.0, 3.0], [-5.0, 900.0, 2.0], [900.0, 0.0, -5.0], [0.0, 0.5, 0.5]]
)
LABELS = np.array([0, 0, 0, 0, 1])


def _by_definition(logits: np.ndarray, label: int) -> float:
    """Return log(p / (1 - p)) from the definition of the softmax, with 900 decimal digits."""
    with localcontext(getcontext()) as context:
        context.prec = 900
        powers = [Decimal(float(z)).exp() for z in logits]
        p = powers[label] / sum(powers)
        return float((p / (1 - p)).ln())


@exercise(
    "05.logit_confidence",
    title="a confidence that never rounds to 1",
    reference="labkit.membership.shadows.signals:logit_confidence",
    points=2,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_logit_confidence(attempt: Callable) -> None:
    """Against the definition, evaluated with 900 digits; ordinary logits first, then those that round."""
    expected = np.array([_by_definition(row, label) for row, label in zip(LOGITS, LABELS, strict=True)])
    with np.errstate(all="ignore"):
        got = np.asarray(attempt(LOGITS.copy(), LABELS.copy()), dtype=float)
        ordinary = np.asarray(attempt(LOGITS[[0, 4]], LABELS[[0, 4]]), dtype=float)
    rows = np.arange(len(LABELS))
    own = LOGITS[rows, LABELS]
    others = np.array([np.delete(row, label) for row, label in zip(LOGITS, LABELS, strict=True)])
    top = np.array([_by_definition(row, int(row.argmax())) for row in LOGITS])
    causes = {
        "the sign is turned: a confident right answer must score high": -expected,
        "that is log p: it flattens out at 0, where members sit; the log odds go on": -np.logaddexp(
            0, -expected
        ),
        "that is the margin to the best other class; the odds are against all others together: log-sum-exp, not max": (
            own - others.max(1)
        ),
        "that is the confidence in the top class: read off the label's, right or wrong": top,
        "that is the label's raw logit: what counts is its distance from the others'": own,
    }
    because = "the log odds of the label are wrong: what is left of the odds when the exponentials of the logits are put in?\nwrite p / (1 - p) with the exponentials of the logits: what is left below the fraction?"
    if ordinary.shape == (2,) and np.allclose(ordinary, expected[[0, 4]], rtol=1e-6) and got.shape == (5,):
        lost = ~np.isclose(got, expected, rtol=1e-6)
        if lost.any() and not np.isfinite(got).all():
            because = (
                "right as a formula, but p rounds to 1 (or exp overflows) and the logarithm is infinite: "
                "work with the logits, never with p"
            )
        elif lost.any():
            because = (
                "clipping p makes it finite and throws the signal away: beyond the clip all records look alike; "
                "work with the logits, never with p"
            )
    _expect(got, expected, {"logits": LOGITS, "labels": LABELS}, causes, because)


def _drawn(seed: int = 0, models: int = 6, records: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a target's values (n,), shadow values (K, n) and masks (K, n), each record in for half of the models."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((models, records), dtype=bool)
    for i in range(records):
        masks[rng.permutation(models)[: models // 2], i] = True
    hard, spread = rng.normal(0, 3, records), rng.uniform(0.5, 2, records)
    values = hard + spread * rng.normal(size=(models, records)) + 1.5 * masks
    return hard + rng.normal(0.7, 1, records), values, masks


Side = tuple[np.ndarray, np.ndarray, float, float]


def _side(values: np.ndarray, masks: np.ndarray) -> Side:
    """Return each record's mean and own variance, the pooled variance and the pooled variance without correction."""
    means, own, squares, terms = [], [], 0.0, 0
    for i in range(values.shape[1]):
        column = [float(v) for v, used in zip(values[:, i], masks[:, i], strict=True) if used]
        mean = sum(column) / len(column)
        deviations = sum((v - mean) ** 2 for v in column)
        means.append(mean)
        own.append(deviations / len(column))
        squares += deviations
        terms += len(column)
    return np.array(means), np.array(own), squares / (terms - values.shape[1]), squares / terms


def _log_normal(x: np.ndarray, mean: np.ndarray, variance: np.ndarray | float) -> np.ndarray:
    from scipy.stats import norm

    return norm.logpdf(x, mean, np.sqrt(variance))


def reference_lira_online(shown: np.ndarray, values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return log N(shown; in) - log N(shown; out) with one variance a side, (n,): see `labkit.membership.attacks.lira`."""
    from labkit.membership.attacks import lira

    stacked = values[:, :, None]
    inside, outside = (
        lira.log_density(shown[:, None], *lira.gaussians(stacked, used, "global")) for used in (masks, ~masks)
    )
    return (inside - outside)[:, 0]


@exercise(
    "05.lira_online",
    title="LiRA with models that saw the record and models that did not",
    reference=reference_lira_online,
    points=3,
    difficulty=4,
    importance=5,
    minutes=20,
)
def check_lira_online(attempt: Callable) -> None:
    """Against the plain loop over records with SciPy's normal density."""
    shown, values, masks = _drawn()
    in_mean, in_own, in_pooled, in_biased = _side(values, masks)
    out_mean, out_own, out_pooled, out_biased = _side(values, ~masks)

    def ratio(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        return _log_normal(shown, in_mean, a) - _log_normal(shown, out_mean, b)

    expected = ratio(in_pooled, out_pooled)
    grand = ratio(values[masks].var(), values[~masks].var())
    bare = -0.5 * ((shown - in_mean) ** 2 / in_pooled - (shown - out_mean) ** 2 / out_pooled)
    causes = {
        "the ratio is upside down: in minus out, so that members score high": -expected,
        "each record got a variance of its own, from three values: with so few models pool them over all records": ratio(
            in_own, out_own
        ),
        "the deviations are to be taken from each record's own mean: around the mean of all, how hard the records are "
        "counts as noise": grand,
        "divided by all terms: each record's mean used up one of its values\ndivide by (terms - records)": ratio(
            in_biased, out_biased
        ),
        "the normalising terms are missing: the two sides have different variances, so these terms do not cancel\neach side has its own log(variance)": bare,
        "a variance was used where a standard deviation belongs": ratio(in_pooled**2, out_pooled**2),
        "a standard deviation was used where a variance belongs": ratio(in_pooled**0.5, out_pooled**0.5),
        "that is the ratio itself: return its logarithm, which neither overflows nor underflows": np.exp(
            expected
        ),
    }
    given = "9 records, 6 shadow models, each record in for 3 of them"
    because = "two Gaussians are to be compared at what the target shows: means of each record's own, variances pooled per side\nlog N(shown; mean in, variance in) - log N(shown; mean out, variance out)"
    _expect(attempt(shown.copy(), values.copy(), masks.copy()), expected, given, causes, because)


def reference_lira_offline(shown: np.ndarray, values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return how many pooled standard deviations ``shown`` lies above the models without the record, (n,)."""
    from labkit.membership.attacks import lira

    mean, variance = lira.gaussians(values[:, :, None], ~masks, "global")
    return (shown - mean[:, 0]) / np.sqrt(variance[:, 0])


@exercise(
    "05.lira_offline",
    title="LiRA when no shadow model saw the record",
    reference=reference_lira_offline,
    points=2,
    difficulty=3,
    importance=4,
    minutes=10,
)
def check_lira_offline(attempt: Callable) -> None:
    """Against the plain loop; one target value lies so far out that its tail probability rounds to 1."""
    from scipy.stats import norm

    shown, values, masks = _drawn(seed=1)
    shown[0] += 40
    mean, _, pooled, biased = _side(values, ~masks)
    in_mean, _, in_pooled, _ = _side(values, masks)
    all_mean, _, all_pooled, _ = _side(values, np.ones_like(masks))
    expected = (shown - mean) / math.sqrt(pooled)
    causes = {
        "the sign is turned: members lie above the models that never saw them": -expected,
        "that is the probability, which rounds to 1 for a record far above: return the number of standard "
        "deviations itself, where such records stay apart": norm.cdf(expected),
        "that is a p-value, small for members: return the number of standard deviations": norm.sf(expected),
        "models that were trained on the record are in there: use those where the mask is False": (
            (shown - in_mean) / math.sqrt(in_pooled)
        ),
        "all models were used: leave out those that were trained on the record": (
            (shown - all_mean) / math.sqrt(all_pooled)
        ),
        "divided by the variance: a distance is counted in standard deviations, the root": (shown - mean)
        / pooled,
        "the pooled variance was divided by all terms, though each record's mean used up one\ndivide by (terms - records)": (
            (shown - mean) / math.sqrt(biased)
        ),
        "that is the difference without its scale: divide by the pooled standard deviation": shown - mean,
    }
    given = "9 records, 6 shadow models, each record out for 3 of them"
    because = "how far does the target's confidence lie above the models that never saw the record, counted in pooled deviations?\n(shown - mean of the out models) / pooled standard deviation of the out models"
    _expect(attempt(shown.copy(), values.copy(), masks.copy()), expected, given, causes, because)


def reference_likelihood_ratio(shown: np.ndarray, out: np.ndarray, a: float = 0.33) -> np.ndarray:
    """Return p(x | target) / p(x), (n,), with p(x) from the line of `labkit.membership.attacks.rmia.marginal_offline`."""
    from labkit.membership.attacks import rmia

    return shown / rmia.marginal_offline(out, a)


@exercise(
    "05.likelihood_ratio",
    title="how surprising is this confidence?",
    reference=reference_likelihood_ratio,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_likelihood_ratio(attempt: Callable) -> None:
    """Against the two lines of the paper, number by number; and a = 1 is plain calibration."""
    shown, out = np.array([0.99, 0.4, 0.7, 0.05]), np.array([0.5, 0.4, 0.02, 0.9])
    for a in (0.33, 0.8, 1.0):
        inside = np.array([a * q + 1 - a for q in out])
        both = np.array([(p + q) / 2 for p, q in zip(inside, out, strict=True)])
        causes = {
            "the ratio is upside down: the target's confidence stands above the line": both / shown,
            "models without the record alone were used; below the fraction stands the average over models with and without it": shown
            / out,
            "models with the record alone were used; below the fraction stands the average over models with and without it": shown
            / inside,
            "p_in and p_out are added but not halved": shown / (inside + out),
            "that is what the target's confidence has to be compared with, not the comparison\ndivide the target's confidence by it": both,
            "the two parts of the line are exchanged: a confidence of 1 without the record stays 1 with it\np_in = a p_out + (1 - a)": shown
            / (((1 - a) * out + a + out) / 2),
        }
        given = {"shown": shown, "out": out, "a": a}
        because = "the target's confidence is to be compared with the average over models with and without the record; those with it follow from those without it and `a`\nshown / ((p_in + p_out) / 2), with p_in = a p_out + (1 - a)"
        _expect(attempt(shown.copy(), out.copy(), a), shown / both, given, causes, because)


@exercise(
    "05.dominance",
    title="whom does a record dominate?",
    reference="labkit.membership.attacks.rmia:dominance",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_dominance(attempt: Callable) -> None:
    """Against all pairs, one by one, with ties at the threshold."""
    ratio_x, ratio_z = np.array([2.0, 0.5, 1.0, 8.0, 0.0]), np.array([0.5, 1.0, 2.0, 4.0])
    for gamma in (1.0, 2.0):
        pairs = np.array([[x / z >= gamma for z in ratio_z] for x in ratio_x], dtype=float)
        strict = np.array([[x / z > gamma for z in ratio_z] for x in ratio_x], dtype=float)
        turned = np.array([[x / z >= 1 / gamma for z in ratio_z] for x in ratio_x], dtype=float)
        quotients = ratio_x[:, None] / ratio_z
        causes = {
            "that is the share of x that each z is dominated by: average over the population, one number per x": (
                pairs.mean(0)
            ),
            "one number per pair came back: average over the population": pairs,
            "those are counts: divide by the number of population records": pairs.sum(1),
            "dominated the other way round: x dominates where its own ratio is the larger one\nratio_x / ratio_z is large": 1
            - strict.mean(1),
            "at equality x counts as dominating\n>=, not >": strict.mean(1),
            "gamma makes it harder to dominate, not easier\nratio_x / gamma against ratio_z": turned.mean(1),
            "that is the mean quotient: one z with a tiny ratio decides it; count the dominated instead": (
                quotients.mean(1)
            ),
        }
        given = {"ratio_x": ratio_x, "ratio_z": ratio_z, "gamma": gamma}
        because = "for each x: how large a share of the population does it dominate, by a factor of gamma at least?\nthe share of z with ratio_x / ratio_z >= gamma"
        _expect(attempt(ratio_x.copy(), ratio_z.copy(), gamma), pairs.mean(1), given, causes, because)


def reference_tpr_at_fpr(scores: np.ndarray, members: np.ndarray, rate: float) -> float | None:
    """Return the largest TPR at an FPR of at most ``rate``, or None: see `labkit.membership.reports.intervals`."""
    from labkit.membership.reports.operating import Refused, Tied, operating_point

    point = operating_point(scores, members, rate)
    # Where ties leave no threshold near the rate, the exercise still asks for what the nearest below finds.
    return None if isinstance(point, Refused) and not isinstance(point, Tied) else point.tpr.estimate


@exercise(
    "05.tpr_at_fpr",
    title="true positives at few false ones, or a refusal",
    reference=reference_tpr_at_fpr,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_tpr_at_fpr(attempt: Callable) -> None:
    """Against every threshold there is, with many ties, with a limit that is no whole number; the refusal at its edge."""
    rng = np.random.default_rng(0)
    for rate, decimals in ((0.1, 4), (0.07, 4), (0.05, 1), (0.2, 0)):
        members = np.arange(500) < 260
        scores = np.round(rng.normal(size=500) + 1.2 * members, decimals)
        inside, outside = scores[members], scores[~members]
        points = [
            (float((outside >= t).mean()), float((inside >= t).mean())) for t in [*np.unique(scores), np.inf]
        ]
        expected = max(tpr for fpr, tpr in points if fpr <= rate)
        next_up = min(tpr for fpr, tpr in points if fpr > rate)
        causes = {
            "that threshold lets more than the allowed share of non-members pass: count who really passes, and let ties "
            "pass together or not at all": next_up,
            "a quantile lies between two scores, and more than the allowed share of non-members may stand above it: choose "
            "the threshold among the scores": float((inside >= np.quantile(outside, 1 - rate)).mean()),
            "that is the share of members below the threshold": 1 - expected,
            "the threshold is to be read off the non-members, not off all scores": float(
                (inside > np.quantile(scores, 1 - rate)).mean()
            ),
            "the threshold was read off the members: then it fixes the TPR, not the FPR": float(
                (outside > np.quantile(inside, 1 - rate)).mean()
            ),
        }
        got = attempt(scores.copy(), members.copy(), rate)
        if got is None and expected:
            raise Wrong(
                given=f"{len(outside)} non-members, rate = {rate}",
                got="None",
                expected=f"{expected:.4f}",
                because="this refuses where there are enough non-members for ten false positives (or is there no return?)\nrefuse only below 10 / rate non-members",
            )
        given = f"260 members, 240 non-members, scores rounded to {decimals} decimals, rate = {rate}"
        because = "the largest share of members above a threshold that at most rate x non-members pass"
        _expect(got, expected, given, {k: v for k, v in causes.items() if v != expected}, because)
    _check_refusal(attempt)


def _check_refusal(attempt: Callable) -> None:
    """Ten expected false positives are the least: one non-member fewer is refused, exactly ten are not."""
    rng = np.random.default_rng(1)
    for outsiders, rate, answers in (
        (999, 0.01, False),
        (1000, 0.01, True),
        (99, 0.1, False),
        (100, 0.1, True),
    ):
        members = np.arange(200 + outsiders) < 200
        got = attempt(rng.normal(size=len(members)), members, rate)
        if (got is not None) != answers:
            few = "from ten expected false positives on there is an answer\nthat is from 10 / rate non-members on"
            many = "with fewer than ten expected false positives the false-positive rate itself is unknown: refuse\nreturn None below 10 / rate non-members"
            raise Wrong(
                given=f"{outsiders} non-members, rate = {rate}",
                got="None" if got is None else got,
                expected="a rate" if answers else "None",
                because=few if answers else many,
            )


def reference_noise_score(
    predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray, noises: list[np.ndarray]
) -> np.ndarray:
    """Return the share of noisy copies, cut off to [0, 1], that ``predict`` classifies as ``y`` says: (n,)."""
    return np.mean([predict(np.clip(x + noise, 0, 1)) == y for noise in noises], axis=0)


@exercise(
    "05.noise_score",
    title="an attack that sees nothing but labels",
    reference=reference_noise_score,
    points=2,
    difficulty=2,
    importance=4,
    minutes=10,
)
def check_noise_score(attempt: Callable) -> None:
    """Against a loop over records and noises, with a rule for a model that looks at every pixel."""
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 3, 2, 2)), np.arange(12) % 3
    noises = [0.3 * rng.normal(size=x.shape) for _ in range(7)]

    def predict(images: np.ndarray) -> np.ndarray:
        return (np.asarray(images).reshape(len(images), -1) @ np.linspace(1, 2, 12) * 7).astype(int) % 3

    def share(cut: bool, truth: np.ndarray) -> np.ndarray:
        hits = np.zeros(len(x))
        for noise in noises:
            for i in range(len(x)):
                copy = (x + noise)[i : i + 1]
                hits[i] += predict(np.clip(copy, 0, 1) if cut else copy)[0] == truth[i]
        return hits / len(noises)

    expected = share(True, y)
    each = np.array(
        [[predict(np.clip(x + n, 0, 1))[i] == y[i] for i in range(len(x))] for n in noises], dtype=float
    )
    causes = {
        "a picture has no brightness below 0 or above 1: noise can push it there\ncut off x + noise to [0, 1] before asking": share(
            False, y
        ),
        "compared with the model's own answer on the clean record: compare with the true label, so that a misclassified "
        "record scores low": share(True, predict(x)),
        "that is the share of wrong answers: members are the robust ones": 1 - expected,
        "one number per noise came back: average over the noises, not over the records": each.mean(1),
        "those are counts: divide by the number of noisy copies": each.sum(0),
        "only the last noise was used": each[-1],
        "only the first noise was used: is the return inside of the loop?": each[0],
    }
    given = "12 images of 3 x 2 x 2, 7 noises of that shape"
    because = "the score of a record is the share of its noisy copies that are still answered rightly\npredict(clip(x + noise)) == y, averaged over the noises"
    got = attempt(predict, x.copy(), y.copy(), [noise.copy() for noise in noises])
    _expect(got, expected, given, causes, because)
