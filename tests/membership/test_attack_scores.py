"""Scores against plain loops written from the papers, one record and one model at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from labkit import membership, stats
from labkit.membership.attacks import lira, rmia, thresholds


@dataclass(frozen=True)
class Made:
    """A bank and a target, as the fixture `make` has them."""

    bank: membership.ShadowBank
    target: membership.Target


def softmax_of(logits: np.ndarray, label: int) -> float:
    return float(np.exp(logits[label] - logits.max()) / np.exp(logits - logits.max()).sum())


def confidences(bank, part: str = "pool") -> np.ndarray:
    labels = bank.labels if part == "pool" else bank.population_labels
    return np.array(
        [
            [
                [softmax_of(np.float64(record[q]), labels[i]) for q in range(len(bank.queries))]
                for i, record in enumerate(bank.logits(k, part=part))
            ]
            for k in range(len(bank))
        ]
    )


def target_confidences(made, part: str = "pool") -> np.ndarray:
    logits = made.target.logits if part == "pool" else made.target.population_logits
    labels = made.bank.labels if part == "pool" else made.bank.population_labels
    return np.array(
        [[softmax_of(np.float64(r[q]), labels[i]) for q in range(r.shape[0])] for i, r in enumerate(logits)]
    )


def logit(p: float) -> float:
    return math.log(p) - math.log(1 - p)


def normal_log_density(x: float, mean: float, variance: float) -> float:
    return -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)


def lira_by_the_paper(made, *, online: bool, per_example: bool) -> list[float]:
    """Algorithm 1 of arXiv 2112.03570, with the variance of each record, or one pooled over all of them."""
    bank, shadows, shown = made.bank, confidences(made.bank), target_confidences(made)
    n, queries = shown.shape

    def fits(side: bool, q: int) -> tuple[list[float], list[float]]:
        groups = [
            [logit(shadows[k, i, q]) for k in range(len(bank)) if bank.masks[k, i] == side] for i in range(n)
        ]
        means = [sum(g) / len(g) for g in groups]
        squares = [sum((v - mean) ** 2 for v in g) for g, mean in zip(groups, means, strict=True)]
        if per_example:
            return means, [s / len(g) for s, g in zip(squares, groups, strict=True)]
        return means, [sum(squares) / sum(len(g) - 1 for g in groups)] * n

    scores = [0.0] * n
    for q in range(queries):
        mean_in, var_in = fits(True, q)
        mean_out, var_out = fits(False, q)
        for i in range(n):
            s = logit(shown[i, q])
            if online:
                scores[i] += normal_log_density(s, mean_in[i], var_in[i])
                scores[i] -= normal_log_density(s, mean_out[i], var_out[i])
            else:
                scores[i] += (s - mean_out[i]) / math.sqrt(var_out[i]) / queries
    return scores


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("variance", ["global", "per-example"])
def test_lira_equals_the_paper(make, online: bool, variance: str) -> None:
    made = make(n=60, m=20)
    name = "lira-online" if online else "lira-offline"
    found = membership.attack(name, made.target, made.bank, variance=variance).scores
    expected = lira_by_the_paper(made, online=online, per_example=variance == "per-example")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def rmia_by_the_paper(made, *, online: bool, a: float, gamma: float) -> list[float]:
    """Equations 2 to 5 of arXiv 2312.03262 with every pair (x, z) compared.

    Online p(x) and p(z) are plain means over the models in and out; offline, both come from the line with slope a.
    """
    bank = made.bank
    p_x, p_z = confidences(bank), confidences(bank, "population")
    x, z = target_confidences(made), target_confidences(made, "population")
    scores = []
    for i in range(len(x)):
        votes = []
        for q in range(x.shape[1]):
            out = [p_x[k, i, q] for k in range(len(bank)) if not bank.masks[k, i]]
            inside = [p_x[k, i, q] for k in range(len(bank)) if bank.masks[k, i]]
            mean_out = sum(out) / len(out)
            p_in = sum(inside) / len(inside) if online else a * mean_out + (1 - a)
            ratio_x = x[i, q] / (0.5 * (p_in + mean_out))
            dominated = 0
            for j in range(len(z)):
                mean_z = sum(p_z[k, j, q] for k in range(len(bank))) / len(bank)
                ratio_z = z[j, q] / (mean_z if online else 0.5 * ((1 + a) * mean_z + (1 - a)))
                dominated += ratio_x / ratio_z >= gamma
            votes.append(dominated / len(z))
        scores.append(sum(votes) / len(votes))
    return scores


@pytest.mark.parametrize(("online", "a", "gamma"), [(True, 0.33, 1.0), (False, 0.33, 1.0), (False, 0.7, 2.0)])
def test_rmia_equals_the_paper_up_to_what_decides_ties(make, online: bool, a: float, gamma: float) -> None:
    made = make(n=40, m=60, models=4)
    options = {"gamma": gamma} if online else {"gamma": gamma, "offline_a": a}
    name = "rmia-online" if online else "rmia-offline"
    found = membership.attack(name, made.target, made.bank, **options).scores
    paper = np.array(rmia_by_the_paper(made, online=online, a=a, gamma=gamma))
    assert np.abs(found * 61 / 60 - paper).max() <= 1 / 60
    one = replace(
        made.target,
        logits=made.target.logits[:, :1],
        population_logits=made.target.population_logits[:, :1],
    )
    alone = Made(made.bank.select(queries=1), one)
    found = membership.attack(name, alone.target, alone.bank, **options).scores
    paper = np.array(rmia_by_the_paper(alone, online=online, a=a, gamma=gamma))
    assert (np.diff(paper[np.argsort(found, kind="stable")]) >= 0).all(), "no record passes a surer one"
    assert len(np.unique(found)) == 40 > len(np.unique(paper))


def test_rmia_offline_orders_records_as_privacy_meter_does(make) -> None:
    """Its `run_rmia`, written again from the formulas: (1 + a) / 2 mean_out + (1 - a) / 2 for x and z, ratios > 1."""
    made = make(n=120, m=300, models=6, queries=1)
    a, bank = 0.33, made.bank
    x, z = target_confidences(made)[:, 0], target_confidences(made, "population")[:, 0]
    out = np.where(bank.masks, 0, confidences(bank)[:, :, 0]).sum(0) / (~bank.masks).sum(0)
    mean_z = confidences(bank, "population")[:, :, 0].mean(0)
    ratio_x, ratio_z = (p / ((1 + a) / 2 * q + (1 - a) / 2) for p, q in ((x, out), (z, mean_z)))
    theirs = (ratio_x[:, None] / ratio_z > 1.0).mean(1)
    ours = membership.attack("rmia-offline", made.target, bank).scores
    np.testing.assert_allclose(ours * 301 / 300, theirs, atol=1 / 300)
    assert (np.diff(theirs[np.argsort(ours, kind="stable")]) >= 0).all()


def test_rmia_does_not_saturate_where_it_counts(make) -> None:
    """With the offline line for p(z), members' scores all tied at 1, and no threshold had a rate of 1%."""
    found = []
    for seed in range(4):
        made = make(n=4000, m=1000, models=8, effect=1.5, queries=1, seed=seed)
        result = membership.attack("rmia-online", made.target, made.bank)
        assert len(np.unique(result.scores)) == 4000
        found.append(result.report(permutations=40).points[0.01].tpr.estimate)
    # Guessing finds .01; the mean of four rates of 2,000 members each has a standard error below .004.
    assert np.mean(found) > 0.03


def test_coarse_scores_are_refused_at_rates_between_their_ties(make) -> None:
    made = make(n=2400, m=300, effect=2.0)
    for name in ("gap", "attack-r"):
        point = membership.attack(name, made.target, made.bank).report(permutations=40).points[0.01]
        assert "their scores tie" in str(point), name


def test_offline_lira_grows_with_confidence_in_the_order_of_the_distribution_function(make) -> None:
    """LeakPro issue 378: the score is one-sided, the paper's 1 - Pr[N(out) > s], also above the mean."""
    from scipy.stats import norm

    made = make(n=300, m=20, queries=1)
    scores = membership.attack("lira-offline", made.target, made.bank, variance="per-example").scores
    values = made.bank.signal("logit-confidence")
    mean, variance = lira.gaussians(values, ~made.bank.masks, "per-example")
    shown = thresholds.target_signal("logit-confidence", made.target, made.bank)
    paper = norm.cdf((shown - mean) / np.sqrt(variance))[:, 0]
    apart = (paper > 1e-9) & (paper < 1 - 1e-9)  # beyond, the distribution function itself rounds
    assert (np.argsort(scores[apart]) == np.argsort(paper[apart])).all()


def test_ties_count_as_dominated() -> None:
    # Equation 4 says "at least gamma": equal ratios count.
    assert rmia.dominance(np.array([1.0, 2.0, 0.5]), np.array([1.0, 1.0, 2.0, 3.0]), 1.0).tolist() == [
        0.5,
        0.75,
        0.0,
    ]


def test_reference_attacks_equal_counting(make) -> None:
    made = make(n=50, m=70)
    bank, loss = made.bank, np.log(target_confidences(made))[:, 0]
    shadows = np.log(confidences(bank))[:, :, 0]
    population = np.log(target_confidences(made, "population"))[:, 0]
    out = [[shadows[k, i] for k in range(len(bank)) if not bank.masks[k, i]] for i in range(50)]
    score = {
        name: membership.attack(name, made.target, bank).scores
        for name in ("loss", "watson", "attack-r", "attack-p")
    }
    np.testing.assert_allclose(score["loss"], loss, atol=1e-9)
    np.testing.assert_allclose(
        score["watson"], [v - np.mean(o) for v, o in zip(loss, out, strict=True)], atol=1e-9
    )
    np.testing.assert_allclose(
        score["attack-r"], [np.mean(np.array(o) <= v) for v, o in zip(loss, out, strict=True)]
    )
    share = np.array([np.sum(population <= v) for v in loss])
    np.testing.assert_allclose(score["attack-p"], (share + np.exp(loss)) / 71)  # the confidence decides ties


def test_class_thresholds_are_the_best_of_all(make) -> None:
    made = make(n=80, models=4)
    bank, scores = made.bank, membership.attack("modified-entropy", made.target, made.bank).scores
    plain = thresholds.target_signal("modified-entropy", made.target, bank)[:, 0]
    values = bank.signal("modified-entropy")[:, :, 0]
    for label in range(4):
        of_class = bank.labels == label
        chosen = (plain - scores)[of_class]
        np.testing.assert_allclose(chosen, chosen[0])
        inside, outside = (
            values[:, of_class][bank.masks[:, of_class]],
            values[:, of_class][~bank.masks[:, of_class]],
        )

        def balanced(t: float, inside=inside, outside=outside) -> float:
            return (inside >= t).mean() - (outside >= t).mean()

        best = max(balanced(t) for t in np.concatenate([inside, outside]))
        assert balanced(chosen[0] - 1e-9) == pytest.approx(best)


@pytest.mark.parametrize(
    "name", [n for n, a in membership.ATTACKS.items() if a.needs != "model" and n != "blind"]
)
def test_every_attack_finds_members_where_there_is_something_to_find(make, name: str) -> None:
    made = make(n=1500, m=600, effect=3.0)
    result = membership.attack(name, made.target, made.bank)
    assert stats.auc(result.scores[result.members], result.scores[~result.members]) > 0.58, name
    assert "arXiv" in result.citation


@pytest.mark.parametrize("name", [n for n, a in membership.ATTACKS.items() if a.needs != "model"])
def test_no_attack_finds_members_where_there_is_nothing(make, name: str) -> None:
    made = make(n=1500, m=600, effect=0.0)
    result = membership.attack(name, made.target, made.bank)
    # Standard deviation of the AUC is .015: 4 of them are passed with p < 1e-4; the seed is fixed anyway.
    assert abs(stats.auc(result.scores[result.members], result.scores[~result.members]) - 0.5) < 0.06, name


def test_the_literature_s_order_holds_on_gaussian_outputs(make) -> None:
    made = make(n=3000, m=1000, models=16, effect=1.5, queries=2)

    def auc(name: str, bank=made.bank, target=made.target, **options) -> float:
        r = membership.attack(name, target, bank, **options)
        return stats.auc(r.scores[r.members], r.scores[~r.members])

    # Differences of .02 and more; the paired standard error with 3,000 records is below .006.
    assert auc("lira-online") > auc("loss") + 0.05
    assert auc("lira-online", variance="global") > auc("lira-online", variance="per-example") + 0.01
    one = made.bank.select(queries=1)
    plain = replace(
        made.target, logits=made.target.logits[:, :1], population_logits=made.target.population_logits[:, :1]
    )
    for name in ("lira-online", "rmia-online"):
        assert auc(name) > auc(name, bank=one, target=plain) + 0.02, name


def test_variance_is_global_below_64() -> None:
    assert lira.choose_variance("auto", 63) == "global"
    assert lira.choose_variance("auto", 64) == "per-example"
    with pytest.raises(ValueError, match="variance is 'local'"):
        lira.choose_variance("local", 16)


def test_the_offline_line_passes_through_certainty() -> None:
    assert rmia.marginal_offline(np.array([1.0]), 0.3) == 1.0
    assert rmia.marginal_offline(np.array([0.0]), 0.3) == pytest.approx(0.35)


def test_tuning_a_never_sees_the_target(make) -> None:
    made = make(n=300)
    assert rmia.tune_offline_a(made.bank, candidates=(0.2, 0.9)) in (0.2, 0.9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("magic", {}, "'magic' is unknown; expected one of blind, gap, loss"),
        ("rmia-offline", {"offline_a": 1.5}, "offline_a=1.5"),
        ("rmia-online", {"gamma": 0.0}, "gamma=0.0"),
        ("quantile", {"level": 1.0}, "level is 1.0"),
        ("label-noise", {}, "must ask the model itself"),
    ],
)
def test_bad_calls_are_named(make, name, options, message) -> None:
    made = make()
    with pytest.raises(ValueError, match=message):
        membership.attack(name, made.target, made.bank, **options)


def test_what_a_bank_lacks_is_named(make) -> None:
    made = make(models=4)
    with pytest.raises(ValueError, match="at least 2 in and 2 out"):
        membership.attack("lira-online", made.target, made.bank.first(2))
    nobody = replace(made.bank, masks=np.zeros_like(made.bank.masks))
    for name in ("lira-online", "rmia-online", "shokri"):
        with pytest.raises(ValueError, match=f"{name} needs shadow models trained with and without"):
            membership.attack(name, made.target, nobody)
    assert len(membership.attack("rmia-offline", made.target, nobody).scores) == 200
    with pytest.raises(ValueError, match="not trained on it"):
        membership.attack("watson", made.target, replace(made.bank, masks=~nobody.masks))


def test_queries_of_target_and_bank_must_agree(make) -> None:
    made = make()
    with pytest.raises(ValueError, match=r"was asked \(200, 2, 4\)"):
        membership.attack("loss", made.target, made.bank.select(queries=1))


def test_nan_outputs_are_named(make) -> None:
    made = make()
    made.target.logits[7, 0, 0] = np.nan
    with pytest.raises(ValueError, match="record 7 hold NaN"):
        membership.attack("lira-online", made.target, made.bank)


def test_a_target_among_its_own_shadows_is_refused(bank) -> None:
    with pytest.raises(ValueError, match="is among the shadow models"):
        membership.attack("lira-online", bank.target(2), bank)
    with pytest.raises(ValueError, match="is among the shadow models"):
        membership.attack("lira-online", bank.target(2), bank.select([0, 1, 3, 4, 5]))
    membership.attack("lira-online", bank.target(2), bank.without(2))
