"""Audits of real training functions, canaries and results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit import audit, dp, models, training
from labkit.audit import canaries, guessing, planted_bugs, scores
from labkit.data import Dataset


def overfit(dataset: Dataset) -> torch.nn.Module:
    net = torch.nn.Sequential(torch.nn.Linear(30, 200), torch.nn.ReLU(), torch.nn.Linear(200, 4))
    return training.fit(net, dataset, epochs=40, learning_rate=0.05, batch_size=64).model


def private(dataset: Dataset, engine: str = "linear") -> dp.PrivateResult:
    return dp.train_private(
        models.logistic_regression(30, 4),
        dataset,
        noise_multiplier=6.0,
        expected_batch_size=120,
        steps=60,
        engine=engine,
    )


def test_mislabelled_canaries_leave_the_base_and_half_of_them_train(clouds: Dataset) -> None:
    marked = canaries.insert(clouds, 400, seed=3)
    assert len(marked.base.train_y) == 1200
    truth = {tuple(x.tolist()): int(y) for x, y in zip(clouds.train_x, clouds.train_y, strict=True)}
    assert all(truth[tuple(x.tolist())] != int(y) for x, y in zip(marked.x, marked.y, strict=True))
    kept = {tuple(x.tolist()) for x in marked.base.train_x}
    assert not any(tuple(x.tolist()) in kept for x in marked.x)
    assert 150 < int(marked.included.sum()) < 250  # five standard deviations; the seed is fixed
    trained = marked.inserted()
    assert len(trained.train_y) == 1200 + int(marked.included.sum())
    assert torch.equal(trained.train_x[1200:], marked.x[marked.included])
    assert torch.equal(canaries.insert(clouds, 400, seed=3).included, marked.included)
    assert not torch.equal(canaries.insert(clouds, 400, seed=4).included, marked.included)


def test_out_of_distribution_canaries_keep_every_record(clouds: Dataset) -> None:
    marked = canaries.insert(clouds, 50, kind="out-of-distribution")
    assert marked.base is clouds
    assert marked.x.shape == (50, 30)
    assert (marked.x <= clouds.train_x.amax(0)).all()


def test_gradient_canaries_have_the_length_asked_for() -> None:
    dirac = canaries.gradient_canaries(20, 5, norm=3.0, start=2)
    assert torch.equal(dirac.argmax(1), torch.arange(2, 7))
    for rows in (dirac, canaries.gradient_canaries(20, 5, norm=3.0, kind="random")):
        assert torch.allclose(rows.norm(dim=1), torch.full((5,), 3.0))
    with pytest.raises(ValueError, match="do not fit in 20 coordinates"):
        canaries.gradient_canaries(20, 21, norm=1.0)


def test_guesses_go_to_the_ends_and_ties_do_not_help() -> None:
    share = guessing.Share(0.2, 0.1)
    marks = guessing.guess(np.arange(10.0), share)
    assert marks.tolist() == [-1, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    ties = np.mean([guessing.guess(np.zeros(10), share, seed=s) for s in range(2000)], axis=0)
    assert np.abs(ties - 0.1).max() < 0.08  # 0.1 is the mean of a mark, 0.012 its standard error
    with pytest.raises(ValueError, match="NaN"):
        guessing.guess(np.array([1.0, np.nan]), share)
    with pytest.raises(ValueError, match="add up to at most 1"):
        guessing.Share(0.7, 0.7)


def test_a_model_that_memorises_is_caught_in_one_run(clouds: Dataset) -> None:
    result = audit.audit_one_run(overfit, clouds, canary_count=400, claimed=1.0)
    assert result.refuted
    assert result.epsilon > 1.5
    calibrated = audit.audit_one_run(overfit, clouds, canary_count=400, reference=overfit(clouds.take(600)))
    assert calibrated.epsilon > 1.0


class Headed(torch.nn.Module):
    """A network that calls its backbone ``model``, as many do: the audit is of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Sequential(torch.nn.Linear(30, 200), torch.nn.ReLU())
        self.head = torch.nn.Linear(200, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.model(x))


def test_a_part_that_is_called_model_does_not_stand_for_the_whole(clouds: Dataset) -> None:
    def train(dataset: Dataset) -> torch.nn.Module:
        return training.fit(Headed(), dataset, epochs=40, learning_rate=0.05, batch_size=64).model

    assert audit.audit_one_run(train, clouds, canary_count=400, claimed=1.0).refuted


@pytest.mark.parametrize("engine", ["linear", "vmap", "opacus"])
def test_every_engine_survives_a_white_box_audit(clouds: Dataset, engine: str) -> None:
    """A correct run is refuted with probability at most 5%; the seed is fixed."""
    result = audit.audit_one_run(
        lambda data: private(data, engine),
        clouds,
        canary_count=300,
        access="white-box",
        architecture=models.logistic_regression(30, 4),
    )
    assert result.claimed is not None
    assert not result.refuted
    assert result.epsilon <= result.claimed_epsilon


def test_the_observer_computes_inner_products_with_the_noisy_gradient(clouds: Dataset) -> None:
    model = models.logistic_regression(30, 4)
    x, y = clouds.train_x[:7], clouds.train_y[:7]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = np.zeros(7)
    with scores.observe(model, x, y) as watcher:
        for _ in range(3):
            update = [torch.randn_like(p) for p in model.parameters()]
            for i in range(7):
                model.zero_grad()
                torch.nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
                expected[i] += sum(
                    float((p.grad * u).sum()) for p, u in zip(model.parameters(), update, strict=True)
                )
            for p, u in zip(model.parameters(), update, strict=True):
                p.grad = u
            optimizer.step()
    assert watcher.steps == 3
    assert np.allclose(watcher.scores, expected, atol=1e-4)


def test_observing_nothing_is_an_error(clouds: Dataset) -> None:
    with (
        pytest.raises(RuntimeError, match="no optimizer step"),
        scores.observe(models.logistic_regression(30, 4), clouds.train_x[:2], clouds.train_y[:2]),
    ):
        overfit(clouds.take(50))


def test_contradicting_options_are_refused(clouds: Dataset) -> None:
    with pytest.raises(ValueError, match="access 'grey-box' is unknown"):
        audit.audit_one_run(overfit, clouds, access="grey-box")
    with pytest.raises(ValueError, match="white-box needs an architecture"):
        audit.audit_one_run(overfit, clouds, access="white-box")
    with pytest.raises(ValueError, match="expected fewer"):
        audit.audit_one_run(overfit, clouds, canary_count=5000)
    with pytest.raises(ValueError, match="unknown; expected one of mislabelled"):
        canaries.insert(clouds, 10, kind="odd")
    with pytest.raises(ValueError, match="above the threshold"):
        audit.audit_many_runs(lambda included, seed: {"s": 0.0}, calibration=10)


def test_what_makes_no_question_is_refused_before_training(clouds: Dataset) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained")

    for wrong in ({"confidence": 1.0}, {"delta": -0.1}, {"claimed": float("nan")}, {"shares": ()}):
        with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("ed")):
            audit.audit_one_run(never, clouds, canary_count=50, **wrong)
    with pytest.raises(ValueError, match="confidence"):
        audit.audit_many_runs(never, confidence=0.0)
    with pytest.raises(ValueError, match="score 'loss' is unknown"):
        audit.audit_gradients(never, audit.Settings(), scores=("loss",))


def test_a_bare_epsilon_can_be_claimed_of_gradients() -> None:
    result = audit.audit_gradients(planted_bugs.correct, audit.Settings(), runs=1, claimed=0.01)
    assert result.claimed_epsilon == 0.01
    assert result.delta == 1e-5


def test_coins_that_do_not_fit_the_scores_are_refused() -> None:
    values, coins = {"loss": np.arange(100.0)}, np.arange(100) % 2
    assert guessing.tallies(values, coins) == guessing.tallies(values, coins.astype(bool))
    for wrong in (coins[:60], np.arange(100), np.full(100, np.nan), coins[:, None]):
        with pytest.raises(ValueError, match="expected one coin for each score"):
            guessing.tallies(values, wrong)
    with pytest.raises(ValueError, match="shape \\(10, 10\\)"):
        guessing.tallies({"loss": np.zeros((10, 10))}, coins)
    with pytest.raises(ValueError, match="expected one coin for each score"):
        guessing.tallies({"a": np.zeros(100), "b": np.zeros(99)}, coins)
    for group in (coins.astype(bool), np.array([0, 0, 1]), np.array([-1, 3]), np.array([5, 100])):
        with pytest.raises(ValueError, match="group 'layer' must hold whole numbers"):
            guessing.tallies(values, coins, groups={"layer": group})


def test_scores_that_are_nan_or_change_names_do_not_pass_for_not_found() -> None:
    def broken(included: bool, seed: int) -> dict[str, float]:
        return {"s": float("nan") if included else 0.0}

    def renamed(included: bool, seed: int) -> dict[str, float]:
        return {"in" if included else "out": 0.0}

    with pytest.raises(ValueError, match="NaN"):
        audit.audit_many_runs(broken, runs=10, calibration=50)
    with pytest.raises(ValueError, match="as run 0 did"):
        audit.audit_many_runs(renamed, runs=10, calibration=50)


def test_a_data_set_with_canaries_is_known_by_its_records(clouds: Dataset) -> None:
    """Cached results must not outlive a change of how canaries are made."""
    marked = canaries.insert(clouds, 50, kind="out-of-distribution")
    other = replace(marked, x=marked.x + 0.1)
    assert (
        marked.inserted().digest == canaries.insert(clouds, 50, kind="out-of-distribution").inserted().digest
    )
    assert marked.inserted().digest != other.inserted().digest


def test_many_runs_count_only_what_comes_after_the_threshold() -> None:
    """A Gaussian release with μ = 3 and one canary: the bound lies below the truth, and not far."""

    def score(included: bool, seed: int) -> dict[str, float]:
        return {"release": 3.0 * included + float(np.random.default_rng(seed).normal())}

    result = audit.audit_many_runs(score, runs=1000, calibration=200, claimed=1.0)
    assert result.refuted
    truth = audit.fdp.gaussian_epsilon(3.0, 1e-5)
    assert (
        0.7 * truth < result.gaussian_epsilon < truth
    )  # exceeded with probability at most 5%; the seed is fixed
    (point,) = result.evidence
    assert point.positives == point.negatives == 500


def test_a_result_says_draws_and_saves_itself(clouds: Dataset, tmp_path) -> None:
    result = audit.audit_one_run(overfit, clouds, canary_count=200, claimed=0.5)
    assert "REFUTED" in str(result)
    assert list(result.table().columns) == ["guesses", "right", "share right", "ε at least"]
    figure = result.plot()
    assert "refuted" in figure.alt_text
    assert audit.AuditResult.load(result.save(tmp_path / "audit.pt")).verdict == result.verdict
    saved = json.loads(result.save(tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert saved["epsilon lower bound"] == result.epsilon
    assert len(saved["evidence"]) == len(guessing.SHARES)
    assert "nothing was claimed" in audit.audit_one_run(overfit, clouds, canary_count=200).verdict
    with pytest.raises(ValueError, match="no audits to draw"):
        audit.compare({})
