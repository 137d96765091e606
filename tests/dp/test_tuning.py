"""Curve, search and decision: on a toy pipeline whose accuracy is known, and once on real private training."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labkit import plots, stats
from labkit.data import Dataset
from labkit.dp.accounting.statement import SampledGaussian, TuningCost, privacy_statement
from labkit.dp.utility import search as tuning
from labkit.dp.utility.runs import Run, run_once
from labkit.dp.utility.search import NoDecision, Range, decide, pareto_front, search, tradeoff
from labkit.dp.utility.tradeoff import Tradeoff
from labkit.dp.utility.tradeoff_figures import compare


class Calls:
    """What pipelines were called with; behind a weak reference, as what a global object holds is part of a pipeline."""

    def __init__(self) -> None:
        self.made: list[tuple] = []


KEPT = Calls()
LOG = weakref.ref(KEPT)


@pytest.fixture(autouse=True)
def _fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    LOG().made.clear()


def toy(n: int = 600, n_test: int = 100) -> Dataset:
    """Two clouds of 5 numbers a record."""
    torch.manual_seed(0)
    y = torch.arange(n + n_test) % 2
    x = torch.randn(n + n_test, 5) + 2.0 * y[:, None]
    return Dataset("toy", "two clouds", False, x[:n], y[:n], x[n:], y[n:], ("a", "b"))


def formula(dataset, *, target_epsilon, delta=1e-5, seed=0, peak=1.0):
    """A pipeline whose accuracy is a formula, best at peak = 2."""
    LOG().made.append((target_epsilon, seed, tuple(dataset.test_x[:, 0].tolist())))
    accuracy = 0.99 - 0.05 / target_epsilon - 0.02 * (np.log(peak / 2)) ** 2 + 0.001 * (seed % 3 - 1)
    event = SampledGaussian(2 / target_epsilon, 10, sample_rate=0.1)
    statement = SimpleNamespace(epsilon=target_epsilon, events=(event,))
    interval = stats.Interval(float(accuracy), 0, 1)
    return SimpleNamespace(privacy=statement, accuracy=interval, seconds=0.1)


def best(dataset, *, seed):
    return SimpleNamespace(accuracy=stats.Interval(0.99, 0, 1))


def curve(
    accuracies: dict[float, list[float]],
    *,
    n_test: int = 100_000,
    ceiling: float = 0.99,
    prior: float = 0.5,
    others: tuple = (),
) -> Tradeoff:
    """A curve made by hand; ``others`` are what each run released besides."""
    runs = [
        Run(e, e, seed, a, 1.0, "", (SampledGaussian(4 / e, 50, sample_rate=0.05), *others))
        for e, row in accuracies.items()
        for seed, a in enumerate(row)
    ]
    tops, start = (ceiling, ceiling, ceiling), (prior, prior, prior)
    return Tradeoff(tuple(runs), tops, start, "strokes", "toy", "two clouds", "smoke", 1e-5, 6000, n_test)


BY_HAND = {0.5: [0.9398, 0.9402, 0.94], 1.0: [0.975, 0.9752, 0.9748], 4.0: [0.9852, 0.9854, 0.9853]}


def test_a_curve_has_every_epsilon_and_seed_and_is_made_once() -> None:
    made = tradeoff(toy(), [4, 1, 1.0], seeds=3, pipeline=formula, ceiling=best)
    assert made.epsilons == [1.0, 4.0]
    assert [(e, s) for e, s, _ in LOG().made] == [(e, s) for e in (1.0, 4.0) for s in range(3)]
    tradeoff(toy(), [1, 4, 8], seeds=3, pipeline=formula, ceiling=best)
    assert len(LOG().made) == 9  # three new runs, for ε = 8: the others were cached


def test_other_data_settings_or_delta_are_other_runs() -> None:
    for dataset, extra in [
        (toy(), {}),
        (toy(500), {}),
        (toy(), {"settings": {"peak": 3.0}}),
        (toy(), {"delta": 1e-6}),
    ]:
        tradeoff(dataset, [1], seeds=1, pipeline=formula, ceiling=best, **extra)
    assert len(LOG().made) == 4


def test_the_interval_is_of_the_mean_and_assured_is_for_one_deployed_model() -> None:
    rows = [0.97, 0.98, 0.99]
    made = curve({1.0: rows}, n_test=100)
    assert made.accuracy(1.0) == stats.mean_share(rows)
    assert made.assured(1.0) == pytest.approx(stats.prediction_bound(rows, 100))
    assert made.assured(1.0, among=5) == pytest.approx(stats.prediction_bound(rows, 100, 0.99))
    assert (
        made.assured(1.0, among=5)
        < made.assured(1.0)
        < curve({1.0: rows}).assured(1.0)
        < made.accuracy(1.0).low
    )
    with pytest.raises(KeyError, match="the curve has"):
        made.at(2.0)


def test_a_promise_by_the_lower_end_of_a_mean_breaks_often_and_by_the_prediction_bound_rarely() -> None:
    """Simulated deployments: the mean's lower end breaks its promise far oftener than 5%, the prediction bound does not.

    20,000 draws: a share of 5% strays by more than .7 points with probability below 1e-5 (fixed seed: never).
    """
    rng = np.random.default_rng(0)
    true, spread, n_test = 0.98, 0.0012, 10_000
    runs = rng.normal(true, spread, (20_000, 5))
    seen = runs + rng.normal(
        0, np.sqrt(true * (1 - true) / n_test), (20_000, 1)
    )  # all on the same test records
    deployed = rng.normal(true, spread, 20_000)
    lower = seen.mean(1) - 2.776 * seen.std(1, ddof=1) / np.sqrt(5)
    bound = np.array([stats.prediction_bound(row, n_test) for row in seen[:4000]])
    assert (deployed < lower).mean() > 0.2
    assert (deployed[:4000] < bound).mean() < 0.05


def test_at_epsilon_zero_stands_what_needs_no_private_record() -> None:
    made = tradeoff(toy(), [1], seeds=2, pipeline=formula, ceiling=best)
    assert made.known == "always the commonest class"
    assert made.prior == (0.5,)
    known = tradeoff(toy(), [1], seeds=2, pipeline=formula, ceiling=best, prior=best)
    assert known.prior == (0.99, 0.99)
    with pytest.raises(NoDecision, match="needs no private record"):
        decide(curve(BY_HAND, prior=0.975), required_accuracy=0.97)
    with pytest.raises(NoDecision, match="no more than ε = 0 gives"):
        decide(curve(BY_HAND, prior=0.99), max_epsilon=10)
    assert "ε = 0, strokes: 50.00%, below the axis" in legend(curve(BY_HAND))
    assert "ε = 0, strokes: 93.00%" in legend(curve(BY_HAND, prior=0.93))


def legend(made: Tradeoff) -> list[str]:
    """Return what a curve's legend says."""
    return [text.get_text() for text in made.plot().axes[0].get_legend().texts]


def test_what_a_source_says_of_its_features_is_told_in_full_below_the_axes() -> None:
    clause = (
        "features (" + "+".join(["scattering"] * 12) + ") learned from synthetic strokes with their labels"
    )
    made = replace(curve(BY_HAND), source=f"clouds; {clause}")
    alone, (fig, ax) = made.plot(), plots.figure()
    assert alone.axes[0].get_legend().get_title().get_text() == "clouds"
    assert squeezed(alone.get_supxlabel()) == squeezed(clause)
    made.plot(ax)
    assert squeezed(clause) in squeezed(ax.get_xlabel())
    assert not fig.get_supxlabel()
    assert squeezed(clause) in squeezed(compare([made]).get_supxlabel())


def squeezed(text: str) -> str:
    """Return a text without spaces and line ends: where it is wrapped does not matter."""
    return "".join(text.split())


def test_runs_pair_record_by_record() -> None:
    labels = np.arange(10) % 2 == 0
    other = labels.copy()
    other[:3] = ~other[:3]
    found = stats.mcnemar(labels, other)
    assert (found.only_first, found.only_second) == (2, 1)
    assert found.difference.estimate == pytest.approx(0.1)
    assert found.p_value == 1.0


@pytest.mark.parametrize(
    ("epsilons", "seeds"), [([], 3), ([0.0, 1], 3), ([1], 0), ([1, np.nan], 3), ([np.inf], 3), ([1], 1.5)]
)
def test_a_curve_needs_epsilons_and_seeds(epsilons: list[float], seeds: int) -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        tradeoff(toy(), epsilons, seeds=seeds, pipeline=formula, ceiling=best)


def test_a_curve_shows_and_saves_itself(tmp_path) -> None:
    made = curve(BY_HAND)
    table = made.table()
    assert list(table.index) == [0.0, 0.5, 1.0, 4.0, np.inf]
    assert table.loc[1.0, "accuracy"].startswith("97.50%")
    assert "97.50% at ε = 1" in made.plot().alt_text
    saved = json.loads(made.save(tmp_path / "curve.json").read_text(encoding="utf-8"))
    assert [run["accuracy"] for run in saved["runs"]][:3] == BY_HAND[0.5]
    assert all("seed" not in run for run in saved["runs"])


def test_the_front_is_what_nothing_beats() -> None:
    assert pareto_front([4, 1, 2, 2], [0.97, 0.9, 0.95, 0.94]) == [1, 2, 0]
    assert pareto_front([1, 2, 3], [0.9, 0.9, 0.8]) == [0]
    assert pareto_front([1, 1], [0.9, 0.9]) == [0, 1]
    assert pareto_front([], []) == []


def test_a_search_never_sees_the_test_records_and_uses_one_split() -> None:
    dataset = toy()
    found = search(dataset, trials=8, pipeline=formula, space={"peak": Range(0.2, 20)})
    splits = {records for _, _, records in LOG().made}
    assert len(splits) == 1
    train, test = set(dataset.train_x[:, 0].tolist()), set(dataset.test_x[:, 0].tolist())
    assert set(*splits) <= train
    assert not set(*splits) & test
    assert "validation split of 100" in found.source
    assert len(found.runs) == 8


def test_a_search_finds_the_peak_and_goes_on_where_it_stopped() -> None:
    space = {"peak": Range(0.2, 20)}
    found = search(toy(), trials=40, pipeline=formula, space=space)
    assert found.settings(max_epsilon=8)["peak"] == pytest.approx(2, rel=0.5)
    assert len(LOG().made) == 40
    again = search(toy(), trials=40, pipeline=formula, space=space)
    assert len(LOG().made) == 40
    assert again.runs == found.runs


def test_a_trial_that_fails_is_told_and_the_search_goes_on() -> None:
    """optuna/optuna 2727, himkt/allennlp-optuna 49: one trial that ends in NaN stopped the whole search."""

    def brittle(dataset, *, target_epsilon, delta=1e-5, seed=0, peak=1.0):
        if peak > 3:
            raise FloatingPointError(f"loss became NaN at peak={peak:.3g}")
        return formula(dataset, target_epsilon=target_epsilon, delta=delta, seed=seed, peak=peak)

    found = search(toy(), trials=12, pipeline=brittle, space={"peak": Range(0.2, 20)})
    assert found.failed
    assert len(found.runs) + len(found.failed) == 12
    assert all(settings["peak"] > 3 and "became NaN" in error for settings, error in found.failed)
    assert f"{len(found.failed)} failed" in str(found)
    assert "this search, all 12 trials released" in found.cost().index
    with pytest.raises(RuntimeError, match=r"all 3 trials failed.*became NaN"):
        search(toy(), trials=3, pipeline=brittle, space={"peak": Range(10, 20)})


def test_a_search_shows_its_front_and_refuses_a_budget_below_it(tmp_path) -> None:
    found = search(toy(), trials=10, pipeline=formula, space={"peak": Range(1, 4)})
    spent = [run.spent_epsilon for run in found.front]
    reached = [run.accuracy for run in found.front]
    assert spent == sorted(spent)
    assert reached == sorted(reached)
    assert found.table()["front"].sum() == len(spent)
    assert "Pareto front" in found.plot().alt_text
    assert len(json.loads(found.save(tmp_path / "s.json").read_text())["runs"]) == 10
    with pytest.raises(ValueError, match="no trial spent at most"):
        found.settings(max_epsilon=1e-3)
    with pytest.raises(ValueError, match="trials is 0"):
        search(toy(), trials=0, pipeline=formula, space={})
    with pytest.raises(ValueError, match="expected 0 < low"):
        Range(3, 2)


def test_the_cost_of_a_search_is_what_the_accountant_says() -> None:
    found = search(toy(), trials=3, pipeline=formula, space={"peak": Range(1, 4)}, epsilons=(1, 4))
    cost = found.cost()["ε"]
    dearest = max(found.runs, key=lambda run: run.target_epsilon)
    alone = privacy_statement(dearest.events).epsilon
    assert cost["tuned on other records"] == pytest.approx(alone)
    composed = privacy_statement([event for run in found.runs for event in run.events]).epsilon
    assert cost["this search, all 3 trials released"] == pytest.approx(composed)
    assert alone < cost["another search: random trials, 3 on average"]
    assert alone < composed < cost["another search: 3 trials like the chosen one"] < 3 * alone


def test_the_smallest_epsilon_that_is_accurate_enough() -> None:
    made = curve(BY_HAND)
    chosen = decide(made, required_accuracy=0.97)
    assert chosen.epsilon == 1.0
    assert chosen.assured >= 0.97
    assert "the next smaller ε, 0.5" in chosen.reason
    # Its mean is 97.50%, but that is not assured: the next ε has to do.
    assert decide(made, required_accuracy=0.975).epsilon == 4.0
    # Choosing among three ε is three chances of luck: the bound counts them.
    assert chosen.assured == pytest.approx(made.assured(1.0, among=3))


def test_a_decision_counts_all_that_a_run_released() -> None:
    noisy_mean = SampledGaussian(2.0, sampler="full")
    less, more = (decide(curve(BY_HAND, others=x), required_accuracy=0.97) for x in ((), (noisy_mean,)))
    assert more.privacy.epsilon > less.privacy.epsilon + 0.1
    assert "+" in str(more.privacy)


def test_a_default_that_changes_is_another_run(monkeypatch) -> None:
    before = run_once(formula, toy(), 1.0, 1e-5, 0, {})
    monkeypatch.setitem(formula.__kwdefaults__, "peak", 2.0)
    after = run_once(formula, toy(), 1.0, 1e-5, 0, {})
    assert after.accuracy > before.accuracy
    assert len(LOG().made) == 2


def test_another_pipeline_brings_its_own_ceiling_and_space() -> None:
    with pytest.raises(ValueError, match="needs its own ceiling"):
        tradeoff(toy(), [1], pipeline=formula)
    with pytest.raises(ValueError, match="needs its own space"):
        search(toy(), trials=1, pipeline=formula)


def test_the_best_accuracy_within_a_cap_that_includes_tuning() -> None:
    made = curve(BY_HAND)
    spent = {e: privacy_statement(made.at(e)[0].events, delta=1e-5, n=6000).epsilon for e in made.epsilons}
    assert decide(made, max_epsilon=spent[1.0] + 0.01).epsilon == 1.0
    tuned = decide(made, max_epsilon=spent[1.0] + 0.01, tuning=TuningCost(4))
    assert tuned.epsilon == 0.5
    assert tuned.privacy.epsilon > spent[0.5]
    assert "4 runs" in tuned.tuning
    both = decide(made, required_accuracy=0.9, max_epsilon=spent[4.0] + 0.01)
    assert both.epsilon == 0.5


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ({"required_accuracy": 0.995}, "Even without privacy"),
        ({"required_accuracy": 0.9853}, "more seeds, more test records"),
        ({"required_accuracy": 0.989}, "A larger ε"),
        ({"max_epsilon": 0.001}, "Measure smaller ε"),
        ({"required_accuracy": 0.97, "max_epsilon": 0.3}, "A cap of ε = 1 would allow it"),
        ({"max_epsilon": 0.001, "tuning": TuningCost(3)}, "tune on public records"),
    ],
)
def test_an_impossible_target_is_refused_with_what_would_help(asked: dict, advice: str) -> None:
    with pytest.raises(NoDecision, match=advice):
        decide(curve(BY_HAND), **asked)


@pytest.mark.parametrize("asked", [{}, {"required_accuracy": 98}, {"max_epsilon": -1.0}])
def test_a_target_that_makes_no_sense_is_an_error(asked: dict) -> None:
    with pytest.raises(ValueError, match=r"give required_accuracy|98% is 0.98|positive") as caught:
        decide(curve(BY_HAND), **asked)
    assert not isinstance(caught.value, NoDecision)


def test_the_record_names_all_that_it_rests_on(tmp_path) -> None:
    record = decide(curve(BY_HAND), required_accuracy=0.97, owner="the board")
    for form in (str(record), record.markdown(), record._repr_html_()):
        for needed in (
            "two clouds",
            "δ = 1e-5",
            "Poisson",
            "add/remove",
            "(PLD)",
            "97.50%",
            "3 seeds",
            "the board",
        ):
            assert needed in form
    for ending in (".md", ".html", ".txt"):
        assert record.save(tmp_path / f"record{ending}").read_text(encoding="utf-8")
    record.save(tmp_path / "record.pt")
    assert type(record).load(tmp_path / "record.pt").facts() == record.facts()


def test_the_default_pipeline_trains_privately_and_its_ceiling_does_not() -> None:
    """Real training on clouds two deviations apart: an optimal reader is right about 98.7% of the time."""
    made = tradeoff(
        toy(3000, 500), [2.0], seeds=2, settings={"learning_rate": 0.5, "max_grad_norm": 1.0, "steps": 30}
    )
    assert made.runs[0].spent_epsilon == pytest.approx(2.0, abs=2e-3)
    assert "Poisson q = " in made.runs[0].privacy
    assert made.accuracy(2.0).estimate > 0.9
    assert min(made.ceiling) > 0.95
    assert tuning.linear_pipeline.__doc__
