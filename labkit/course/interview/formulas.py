"""The formulas of the cheat sheet: each as it is printed, as it is computed from that print, and as labkit has it.

A test evaluates both on the cases of each formula: what is printed is what labkit computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import comb, exp, expm1, log, sqrt
from typing import Any

import numpy as np
from scipy.stats import beta, binom, norm, t

from labkit import audit, dp, federated, stats, watermark
from labkit.federated.secagg.terms import least_threshold
from labkit.membership.reports import intervals, operating
from labkit.watermark.verification import binomial, redrawn_keys


@dataclass(frozen=True)
class Formula:
    """One line of the cheat sheet.

    Attributes
    ----------
    name, area : str
    formula : str
        HTML.
    says : str
        When it holds, and what to beware of.
    written : callable
        The formula as printed.
    computed : callable
        What labkit computes, from the same arguments.
    cases : tuple of tuple
        Arguments to try both on.
    """

    name: str
    area: str
    formula: str
    says: str
    written: Callable[..., float] = field(repr=False)
    computed: Callable[..., float] = field(repr=False)
    cases: tuple[tuple[Any, ...], ...] = field(repr=False)


def _mcnemar(b: int, c: int) -> float:
    both = 50
    first = np.repeat([True, True, False], (both, b, c))
    second = np.repeat([True, False, True], (both, b, c))
    return stats.mcnemar(first, second).p_value


def _precision(prior: float, tpr: float, fpr: float) -> float:
    n = 10_000
    point = operating.Operating(
        0.0, stats.clopper_pearson(round(tpr * n), n), stats.clopper_pearson(round(fpr * n), n)
    )
    return intervals.precision(point, prior).estimate


def _deployed(runs: tuple[float, ...]) -> float:
    k, s = len(runs), float(np.std(runs, ddof=1))
    spread = sqrt(s**2 * (1 + 1 / k) + np.mean(runs) * (1 - np.mean(runs)) / 1e12)
    return float(np.mean(runs) - t.ppf(0.95, k - 1) * spread)


def _noise(quorum: int, honest: int) -> float:
    plan = federated.Noise("distributed", noise_multiplier=1.0, hospitals=9, threshold=quorum)
    return plan.against("the server", survivors=honest)


DP, UTILITY, ATTACK, MARK, FEDERATED = (
    "Differential privacy",
    "Utility and comparisons",
    "Membership and audits",
    "Ownership",
    "Federations",
)
FORMULAS = (
    Formula("Laplace mechanism", DP, "b = Δ<sub>1</sub> / ε", "Pure ε. Δ: the most that one record moves the answer.",
            lambda eps, d: d / eps, lambda eps, d: dp.Laplace(eps, d).scale, ((1.0, 1.0), (0.3, 2.0))),
    Formula("Sensitivity of a mean", DP, "Δ = (high − low) / n", "n public, values clipped to a range fixed before, replace-one.",
            lambda lo, hi, n: (hi - lo) / n, dp.mean_sensitivity, ((0.0, 100.0, 50), (-1.0, 1.0, 7))),
    Formula("Gaussian mechanism", DP, "δ = Φ(Δ/2σ − εσ/Δ) − e<sup>ε</sup> Φ(−Δ/2σ − εσ/Δ)", "Exact for every ε; the textbook's root of 2 ln(1.25/δ) is not tight.",
            lambda e, s: norm.cdf(1 / (2 * s) - e * s) - exp(e) * norm.cdf(-1 / (2 * s) - e * s), lambda e, s: float(dp.gaussian_delta(e, s)), ((1.0, 1.0), (0.5, 3.0), (4.0, 0.7))),
    Formula("Randomised response", DP, "keep = e<sup>ε</sup> / (e<sup>ε</sup> + k − 1)", "Local: no curator. Error of a share falls with √n only.",
            lambda e, k: exp(e) / (exp(e) + k - 1), lambda e, k: dp.RandomisedResponse(e, k).keep_probability, ((1.0, 2), (0.5, 5))),
    Formula("Basic composition", DP, "ε<sub>total</sub> = k ε", "Always. Disjoint records: the largest instead of the sum.",
            lambda e, k: k * e, dp.basic_composition, ((0.1, 100), (1.0, 12))),
    Formula("Advanced composition", DP, "√(2 k ln(1/δ)) ε + k ε (e<sup>ε</sup> − 1)", "Gives up δ; take the smaller of both.",
            lambda e, k, d: sqrt(2 * k * log(1 / d)) * e + k * e * expm1(e), dp.advanced_composition, ((0.1, 100, 1e-5), (0.01, 1000, 1e-6))),
    Formula("Group privacy", DP, "(g ε, δ (e<sup>gε</sup> − 1)/(e<sup>ε</sup> − 1))", "g people together; δ is what is checked here.",
            lambda e, g, d: d * (exp(g * e) - 1) / (exp(e) - 1), lambda e, g, d: dp.group_privacy(e, g, d)[1], ((1.0, 5, 1e-6), (0.2, 3, 1e-5))),
    Formula("Gaussian steps on all records", DP, "T steps of σ = one of σ/√T", "Full batches. With coin flips use an accountant; shuffled epochs earn no amplification.",
            lambda e, s, steps: float(dp.gaussian_delta(e, s / sqrt(steps))),
            lambda e, s, steps: float(dp.privacy_statement(dp.SampledGaussian(s, steps, 1.0, "full"), delta=1e-5).delta_at(e)), ((1.0, 5.0, 4),)),
    Formula("Belief after a release", DP, "odds after ≤ e<sup>ε</sup> odds before: p to e<sup>ε</sup>p / (1 − p + e<sup>ε</sup>p)", "Pure ε. Checked as a TPR over FPR.",
            lambda e, f: exp(e) * f, lambda e, f: float(dp.roc_ceiling(np.array([f]), e)[0]), ((1.0, 0.01), (2.0, 0.001))),
    Formula("Ceiling on every attack", ATTACK, "TPR ≤ min(e<sup>ε</sup> FPR + δ, 1 − e<sup>−ε</sup>(1 − δ − FPR))", "For all tests; a whole curve δ(ε) gives a lower one.",
            lambda e, d, f: min(exp(e) * f + d, 1 - exp(-e) * (1 - d - f)), lambda e, d, f: float(dp.roc_ceiling(np.array([f]), e, d)[0]), ((1.0, 1e-5, 0.01), (3.0, 0.01, 0.3))),
    Formula("Precision of an accusation", ATTACK, "π TPR / (π TPR + (1 − π) FPR)", "π: share of members among all who could be accused.",
            lambda p, tp, fp: p * tp / (p * tp + (1 - p) * fp), _precision, ((0.01, 0.1, 0.01), (0.5, 0.3, 0.05))),
    Formula("AUC", ATTACK, "P[member > other] + ½ P[equal]", "An average; report TPR at a low FPR beside it.",
            lambda m, o: sum((a > b) + 0.5 * (a == b) for a in m for b in o) / (len(m) * len(o)), stats.auc, (((1.0, 2.0, 3.0), (0.0, 2.0, 5.0)),)),
    Formula("ε from one point", ATTACK, "ε ≥ ln((TPR<sub>low</sub> − δ) / FPR<sub>high</sub>)", "Independent runs, threshold fixed before, Clopper–Pearson ends.",
            lambda a, m, b, n: log(beta.ppf(0.025, a, m - a + 1) / beta.ppf(0.975, b + 1, n - b)), audit.many_run_epsilon, ((50, 1000, 1, 1000),)),
    Formula("Guesses in one run", ATTACK, "P ≤ P[Bin(r, 1/(1 + e<sup>−ε</sup>)) ≥ v]", "v right of r guesses about coins, pure ε (arXiv 2305.08846).",
            lambda v, r, e: binom.sf(v - 1, r, 1 / (1 + exp(-e))), audit.one_run_p_value, ((70, 100, 0.5), (100, 100, 3.0))),
    Formula("All guesses right", ATTACK, "ε ≥ −ln(0.05<sup>−1/r</sup> − 1)", "What r guesses can certify at best, at 95%.",
            lambda r: -log(0.05 ** (-1 / r) - 1), audit.certifiable, ((100,), (1000,))),
    Formula("One further run", UTILITY, "mean − t s √(1 + 1/k)", "A deployed model, not a mean; t one-sided, k − 1 degrees of freedom; add test noise.",
            _deployed, lambda runs: stats.prediction_bound(runs, 10**12), (((0.98, 0.983, 0.979, 0.985, 0.981),),)),
    Formula("Mean of runs", UTILITY, "mean ± t s / √k", "Of the mean only; it shrinks with k while a run strays as before.",
            lambda runs: float(np.mean(runs) - t.ppf(0.975, len(runs) - 1) * np.std(runs, ddof=1) / sqrt(len(runs))), lambda runs: stats.mean_interval(runs).low, (((0.98, 0.983, 0.979, 0.985, 0.981),),)),
    Formula("Two models, shared records", UTILITY, "p = 2 P[Bin(b + c, ½) ≤ min(b, c)]", "McNemar, exact; b and c: records that one alone gets right.",
            lambda b, c: min(1.0, 2 * binom.cdf(min(b, c), b + c, 0.5)), _mcnemar, ((10, 40), (3, 7))),
    Formula("None seen", UTILITY, "rate ≤ 1 − 0.025<sup>1/n</sup>", "Clopper–Pearson, 95% two-sided; about 3.7/n.",
            lambda n: 1 - 0.025 ** (1 / n), lambda n: stats.clopper_pearson(0, n).high, ((20,), (300,), (1000,))),
    Formula("Mark against innocents", MARK, "p = P[Bin(n, r<sub>0</sub>) ≥ hits]", "r₀: the likeliest innocent model, never 1/classes.",
            lambda h, n, r: sum(comb(n, k) * r**k * (1 - r) ** (n - k) for k in range(h, n + 1)), binomial.tail, ((30, 100, 0.25), (9, 20, 0.1))),
    Formula("Hits that prove", MARK, "least h with P[Bin(n, r<sub>0</sub>) ≥ h] &lt; α", "Fix n and α before the first query.",
            lambda n, r, a: next(h for h in range(n + 2) if binom.sf(h - 1, n, r) < a), watermark.hits_needed, ((100, 0.25, 0.001), (50, 0.1, 0.01))),
    Formula("Rank among keys", MARK, "p = (1 + as high) / (1 + keys)", "Exact; no more digits than 1/(1 + keys).",
            lambda high, keys: (1 + high) / (1 + keys), lambda high, keys: redrawn_keys.redrawn_p(1.0, np.repeat([1.0, 0.0], (high, keys - high))), ((0, 999), (3, 99))),
    Formula("Shared alpha", MARK, "α / (suspects × lines with a direction)", "Of the whole trial; likeness has no direction and cannot convict.",
            lambda a, s: a / (s * 2), lambda a, s: watermark.Plan(alpha=a).threshold(s), ((0.01, 5), (0.001, 3))),
    Formula("Noise shares", FEDERATED, "σ<sub>each</sub> = σ / √t; h honest shares: σ √(h/t)", "t must survive; a hospital subtracts its own.",
            lambda quorum, honest: sqrt(honest / quorum), _noise, ((3, 3), (5, 9), (5, 4))),
    Formula("Threshold of secure aggregation", FEDERATED, "t ≥ ⌊(n + c)/2⌋ + 1, at least 3", "c of n work with the server: no two groups sign different survivors.",
            lambda n, c: max(3, (n + c) // 2 + 1), least_threshold, ((5, 0), (5, 1), (10, 2))),
)  # fmt: skip
