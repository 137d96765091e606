from __future__ import annotations

import copy
import json
from itertools import pairwise
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from labkit.stats import clopper_pearson
from labkit.watermark import MarkedModel, TriggerSet
from labkit.watermark.attacks.interface import Api
from labkit.watermark.marks.keys import Key
from labkit.watermark.verification import binomial, verify
from labkit.watermark.verification.redrawn_keys import RedrawnKeys

CLASSES = 5


class Fixed(nn.Module):
    """Answers image i, which holds the number i / 1000 in its first pixel, with the i-th label."""

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__()
        self.labels = nn.Parameter(torch.as_tensor(labels, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = (1000 * x[:, 0, 0, 0]).round().long()
        return 4.0 * nn.functional.one_hot(self.labels.detach()[rows].long(), CLASSES).float()


def triggers(n: int = 100) -> TriggerSet:
    x = torch.zeros(n, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(n) / 1000
    return TriggerSet(x, torch.full((n,), 3), "patch")


def model(rate: float, seed: int, n: int = 100) -> Fixed:
    """Return a model that gives the mark's answer to a share of the triggers, exactly."""
    labels = np.where(np.random.default_rng(seed).permutation(n) < round(rate * n), 3, 1)
    return Fixed(labels)


NULLS = [model(0.1, seed) for seed in range(20)]


def hits(rate: float, shape: int | tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < rate


def test_hits_needed_are_those_of_the_literature() -> None:
    assert [verify.hits_needed(n, 0.1, 1e-6) for n in (50, 100, 200)] == [18, 28, 44]


@pytest.mark.parametrize("n", [1, 2, 7, 50, 333])
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 0.05])
def test_hits_needed_by_brute_force(n, rate, alpha) -> None:
    enough = [h for h in range(n + 1) if verify.tail(h, n, rate) < alpha]
    assert verify.hits_needed(n, rate, alpha) == (enough[0] if enough else None)


def test_the_p_value_is_the_exact_tail() -> None:
    for n, h, q in [(10, 3, 0.2), (30, 30, 0.5), (25, 0, 0.3)]:
        exact = sum(comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(h, n + 1))
        assert verify.tail(h, n, q) == pytest.approx(exact, rel=1e-12)


def test_triggers_of_unequal_chances_only_help_the_suspect() -> None:
    # Hoeffding 1956: at equal mean, unequal chances have the smaller tail beyond the mean. By exact convolution.
    chances = np.random.default_rng(0).beta(0.3, 2.7, 60)
    mass = np.array([1.0])
    for chance in chances:
        mass = np.convolve(mass, [1 - chance, chance])
    exact = mass[::-1].cumsum()[::-1]
    for h in range(int(chances.sum()) + 2, 61):
        assert exact[h] <= verify.tail(h, 60, chances.mean()) * (1 + 1e-9)


def test_more_hits_lower_the_p_value_and_a_likelier_null_raises_it() -> None:
    null = hits(0.1, (20, 100))
    values = [verify.judge(np.arange(100) < h, null).p_value for h in range(101)]
    assert all(after < before for before, after in pairwise(values) if before > 1e-300)
    rising = [verify.judge(np.arange(100) < 30, hits(q, (20, 100))).p_value for q in (0.05, 0.1, 0.2, 0.3)]
    assert all(a < b for a, b in pairwise(rising))


def test_the_null_is_the_likeliest_null_model_never_the_number_of_classes() -> None:
    null = hits(0.02, (20, 100))
    null[7] = np.arange(100) < 60  # one innocent model that happens to see the target everywhere
    verdict = verify.judge(np.arange(100) < 55, null)
    assert verdict.null_rate == 0.6
    assert verdict.p_value > 0.5
    assert not verdict.decided


def test_no_hit_among_null_models_does_not_make_one_hit_a_proof() -> None:
    verdict = verify.judge(np.arange(100) < 1, np.zeros((20, 100), bool))
    assert verdict.null_rate == clopper_pearson(0, 2000).high > 0
    assert verdict.p_value > 0.1
    assert verify.judge(np.arange(100) < 10, np.zeros((20, 100), bool)).decided


def simulate(null_rates: np.ndarray, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-value and the rank p-value of one model in each row, judged against the others in it."""
    counts = np.random.default_rng(1).binomial(n, null_rates)
    values = [verify.tail(int(row[0]), n, binomial.null_rate_of(row[1:], n)) for row in counts]
    rank = (1 + (counts[:, 1:] >= counts[:, :1]).sum(1)) / counts.shape[1]
    return np.array(values), rank


def test_innocent_models_with_one_rate_are_accused_less_often_than_alpha() -> None:
    values, _ = simulate(np.full((2000, 21), 0.1))
    # The highest of 20 null models stands above their common rate, so the test is conservative by far.
    for alpha in (0.05, 0.01, 1e-3):
        assert (values < alpha).mean() <= alpha
    assert (values < 0.05).mean() < 0.01


@pytest.mark.parametrize("spread", [(1, 3), (0.3, 1.5), (5, 20)])
def test_however_innocent_models_differ_claims_stay_below_one_in_k_plus_one(spread) -> None:
    rates = np.random.default_rng(2).beta(*spread, size=(2000, 21))
    values, rank = simulate(rates)
    # At most 1/21 = 4.8% in truth; the seed is fixed, and 3 standard errors are 1.5%.
    assert (values < 1e-3).mean() <= 1 / 21 + 0.015
    assert ((values >= 1e-3) | (rank <= 1 / 21 + 1e-12)).all()  # who is accused exceeds every null model
    for level in (1 / 21, 0.1, 0.5):
        assert (rank <= level + 1e-12).mean() <= level + 0.035


def test_false_claims_are_counted_by_the_same_rule() -> None:
    null = hits(0.1, (20, 100))
    assert verify.judge(null[0], null).false_claim_rate.estimate == 0
    assert verify.judge(null[0], null).false_claim_rate.high == clopper_pearson(0, 20).high
    null[4] = True  # a marked model that slipped among the null models
    verdict = verify.judge(null[0], null)
    assert verdict.false_claim_rate.estimate == 1 / 20
    assert not verify.judge(np.ones(100, bool), null).decided


def test_power_is_how_often_fresh_triggers_prove_it() -> None:
    null = hits(0.1, (20, 100))
    verdict = verify.judge(np.arange(100) < 36, null)
    again = np.random.default_rng(0).binomial(100, 0.36, 4000)
    assert 0.3 < verdict.power < 0.95
    # Standard error 0.008 at most; the seed is fixed.
    assert (again >= verdict.needed).mean() == pytest.approx(verdict.power, abs=0.03)


def test_queries_needed_is_the_smallest_number_with_the_power() -> None:
    for rate, null, alpha in [(0.98, 0.1, 1e-6), (0.3, 0.1, 1e-6), (0.2, 0.1, 1e-3)]:
        n = verify.queries_needed(rate, null, alpha)
        assert verify.power(rate, n, null, alpha) >= 0.9
        assert all(verify.power(rate, m, null, alpha) < 0.9 for m in range(1, n))
    assert verify.queries_needed(1.0, 0.1, 1e-6) == 7  # 0.1**6 is not below 1e-6
    assert verify.queries_needed(0.3, 0.1, 1e-6) > verify.queries_needed(0.9, 0.1, 1e-6)
    with pytest.raises(ValueError, match="only above the null's rate"):
        verify.queries_needed(0.1, 0.1)
    with pytest.raises(ValueError, match="too close"):
        verify.queries_needed(0.1001, 0.1, most=1000)


def test_a_marked_model_is_found_and_innocent_ones_are_not() -> None:
    found = verify.verify(model(0.95, 99), triggers(), NULLS, alpha=1e-6, name="stolen", source="made")
    assert found.decided
    assert found.p_value < 1e-6
    assert found.rank_p_value == 1 / 21
    assert found.hits == 95
    assert found.rate == clopper_pearson(95, 100)
    for k, innocent in enumerate(NULLS):
        verdict = verify.verify(innocent, triggers(), NULLS[:k] + NULLS[k + 1 :], minimum=19)
        assert verdict.p_value > 0.1


def test_one_null_model_many_times_is_one_witness() -> None:
    with pytest.raises(ValueError, match="passed twice"):
        verify.verify(model(1.0, 99), triggers(), NULLS[:1] * 20)
    with pytest.raises(ValueError, match="passed twice"):
        verify.verify(model(1.0, 99), triggers(), [copy.deepcopy(NULLS[0]) for _ in range(20)])


def test_forests_are_told_apart_whatever_wraps_them() -> None:
    forests = [
        SimpleNamespace(predict_proba=lambda x: x, predict=lambda x: x, classes_=[0, 1]) for _ in range(30)
    ]
    assert len(set(map(verify._identity, forests))) == len(forests)


def test_fewer_than_20_null_models_are_refused_or_at_least_prove_nothing() -> None:
    with pytest.raises(ValueError, match="got 19 null models; 20 are needed"):
        verify.verify(model(1.0, 99), triggers(), NULLS[:19])
    rehearsal = verify.verify(model(1.0, 99), triggers(), NULLS[:3], minimum=3)
    assert rehearsal.p_value < 1e-6
    assert not rehearsal.decided
    assert "too few null models for a claim" in str(rehearsal)
    with pytest.raises(ValueError, match="got 1 null models; 2 are needed"):
        verify.verify(model(1.0, 99), triggers(), NULLS[:1], minimum=0)


def test_a_refusal_costs_no_query() -> None:
    api = Api(model(1.0, 99))
    with pytest.raises(ValueError, match="null models"):
        verify.verify(api, triggers(), NULLS[:5])
    assert api.queries == 0


@pytest.mark.parametrize(
    "options", [{"answers": "labels"}, {"answers": "top-k", "k": 1}, {"decimals": 1}, {}]
)
def test_labels_are_enough(options) -> None:
    suspect = model(0.6, 99)
    open_, shut = (verify.verify(s, triggers(), NULLS) for s in (suspect, Api(suspect, **options)))
    assert (open_.hit == shut.hit).all()
    assert open_.p_value == shut.p_value


def test_budgets_are_respected() -> None:
    api = Api(model(0.9, 99), answers="labels", budget=40)
    with pytest.raises(ValueError, match="100 queries planned, the suspect answers only 40 more"):
        verify.verify(api, triggers(), NULLS)
    assert api.queries == 0
    verdict = verify.verify(api, triggers(), NULLS, queries=40)
    assert verdict.queries == api.queries == 40
    assert verdict.decided
    with pytest.raises(ValueError, match="answers only 0 more"):
        verify.verify(api, triggers(), NULLS, queries=1)


def test_fewer_queries_give_the_verdict_on_the_first_triggers() -> None:
    whole = verify.verify(model(0.5, 99), triggers(), NULLS)
    part = verify.verify(model(0.5, 99), triggers(), NULLS, queries=30)
    assert part.p_value == whole.after(30).p_value > whole.p_value
    assert whole.after(100).p_value == whole.p_value
    for wrong in (0, 101):
        with pytest.raises(ValueError, match="expected 1 to 100"):
            whole.after(wrong)
        with pytest.raises(ValueError, match="expected 1 to 100"):
            verify.verify(model(0.5, 99), triggers(), NULLS, queries=wrong)


def test_every_kind_of_suspect_answers_with_labels() -> None:
    suspect, x = model(0.4, 99), triggers().x
    marked = MarkedModel(
        suspect,
        "patch",
        Key.new(),
        triggers(),
        clopper_pearson(4, 10),
        clopper_pearson(4, 10),
        "",
        "smoke",
        0,
        0.0,
    )
    expected = suspect.labels.detach().numpy().astype(np.int64)
    for each in (suspect, marked, Api(suspect, answers="labels"), lambda part: suspect(part).argmax(1).int()):
        found = verify.answers(each, x)
        assert found.dtype == np.int64
        assert (found == expected).all()
    many = x.repeat(25, 1, 1, 1)  # more than one batch
    assert (verify.answers(Api(suspect), many) == np.tile(expected, 25)).all()


def test_probabilities_or_a_reason_why_not() -> None:
    suspect, x = model(0.4, 99), triggers().x
    expected = suspect(x).softmax(1).double().numpy()
    assert verify.probabilities(suspect, x) == pytest.approx(expected, abs=1e-6)
    assert verify.probabilities(Api(suspect), x) == pytest.approx(expected, abs=1e-6)
    assert verify.probabilities(Api(suspect, decimals=2), x) == pytest.approx(expected.round(2), abs=1e-6)
    with pytest.raises(ValueError, match="labels only"):
        verify.probabilities(Api(suspect, answers="labels"), x)
    with pytest.raises(ValueError, match="apply softmax"):
        verify.probabilities(lambda part: suspect(part), x)


@pytest.mark.parametrize(
    ("suspect", "error", "message"),
    [
        ("a name", TypeError, "the suspect is a str"),
        (lambda x: torch.full((len(x), 5), torch.nan), ValueError, "NaN or infinity"),
        (lambda x: torch.zeros(len(x), 5, 2), ValueError, "expected"),
        (lambda x: torch.zeros(3), ValueError, "answered 100 inputs"),
        (lambda x: torch.zeros(len(x)), ValueError, "integer labels"),
    ],
)
def test_suspects_that_cannot_be_judged(suspect, error, message) -> None:
    with pytest.raises(error, match=message):
        verify.answers(suspect, triggers().x)


def test_bits_are_tested_against_bits_of_null_models() -> None:
    rng = np.random.default_rng(0)
    owned, null = rng.integers(0, 2, 64), rng.integers(0, 2, (20, 64))
    verdict = verify.verify_bits(owned, owned, null, alpha=1e-6, suspect="marked")
    assert verdict.decided
    assert verdict.hits == 64
    assert verdict.null_rate == 0.5
    assert verdict.p_value == 0.5**64
    assert "exact" in verdict.p_text
    assert verdict.numbers()["p_value_rests_on"] == "the key's own chance, binomial"
    lucky = np.repeat(owned[None], 20, 0)  # no luck of null models moves what a fair coin does
    assert verify.verify_bits(owned, owned, lucky).decided
    assert "bits in weights" in str(verdict)
    assert not verify.verify_bits(rng.integers(0, 2, 64), owned, null).decided
    with pytest.raises(ValueError, match="bits_read holds values other than 0 and 1"):
        verify.verify_bits(owned - 0.5, owned, null)
    with pytest.raises(ValueError, match="chance is 1"):
        verify.verify_bits(owned, owned, null, chance=1)
    with pytest.raises(ValueError, match="63"):
        verify.verify_bits(owned[:63], owned, null)


def test_judge_refuses_what_is_no_count() -> None:
    null = hits(0.1, (20, 10))
    for hit, against in [
        (np.zeros(10), null),
        (hits(0.1, 9), null),
        (hits(0.1, 0), null[:, :0]),
        (hits(0.1, 10), null[0]),
    ]:
        with pytest.raises(ValueError, match="expected boolean"):
            verify.judge(hit, against)
    for alpha in (0, 1, -1e-3):
        with pytest.raises(ValueError, match="fixed in advance"):
            verify.judge(hits(0.1, 10), null, alpha=alpha)


def test_a_verdict_shows_itself(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "full")
    verdict = verify.verify(model(0.9, 99), triggers(), NULLS, name="stolen", source="made here", seed=7)
    text = verdict.table()["stolen"]
    assert text["source"] == "made here; profile full; seed 7"
    assert text["hits"].startswith("90 of 100")
    assert "made here" in str(verdict)
    assert "stolen" in verdict._repr_html_()
    assert "90.0%" in verdict.plot().alt_text
    saved = json.loads(verdict.save(tmp_path / "verdict.json").read_text())
    assert saved["decided"] is True
    assert saved["p_value"] == verdict.p_value
    assert saved["null_hits"] == [10] * 20
    assert saved["rate"]["low"] == verdict.rate.low
    weak = verify.verify(model(0.12, 99), triggers(), NULLS)
    assert f"{weak.needed} hits would prove it" in weak.verdict


def redrawn(p: float) -> RedrawnKeys:
    """Redrawn keys of which so many did as well as the owner's that their p-value is ``p``, of 999."""
    as_high = round(p * 1000) - 1
    rows = np.repeat(np.r_[np.ones(as_high), np.zeros(999 - as_high)][:, None], 20, axis=1)
    return RedrawnKeys(np.full(20, 0.5), rows, "hits", 999, enough=1000)


@pytest.mark.parametrize(("p", "found"), [(0.001, True), (0.002, False)])
def test_with_keys_drawn_anew_the_verdict_rests_on_them(p: float, found: bool) -> None:
    hit, null_hit = np.ones(100, bool), np.zeros((20, 100), bool)
    verdict = verify.judge(hit, null_hit, redrawn=redrawn(p))
    assert verdict.p_value == pytest.approx(p)
    assert verdict.decided is found
    assert "999 keys drawn anew" in verdict.verdict


def test_a_suspect_that_no_key_explains_but_a_null_model_equals_is_not_convicted() -> None:
    hit, null_hit = np.ones(100, bool), np.zeros((20, 100), bool)
    null_hit[3] = True
    assert not verify.judge(hit, null_hit, redrawn=redrawn(0.001)).decided


def test_a_model_based_p_value_is_called_so_and_shows_no_digits_that_nulls_do_not_support() -> None:
    verdict = verify.judge(np.ones(200, bool), np.zeros((20, 200), bool))
    assert verdict.model_based_p_value < 1e-100
    assert "model-based p < 1e-06, rank p = 0.048" in verdict.verdict
    assert "e-1" not in verdict.verdict
