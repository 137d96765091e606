"""The conformance audit: what it must flag, whom it must leave alone, what it must say that it did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from labkit import audit, dp
from labkit.audit import planted_bugs
from labkit.audit.conforming import check, probe
from labkit.audit.planted import clipping, noise, sampling
from labkit.audit.task import Settings, Task

OTHERS = "steps that other models of the same shape took"
MISSED = {"exempt_record"}  # by its nature: see its docstring


@pytest.mark.parametrize("name", sorted(set(planted_bugs.ALL) - MISSED - {"correct"}))
def test_a_planted_bug_is_flagged_in_five_runs(name: str) -> None:
    assert audit.conformance(planted_bugs.ALL[name].train, seed=1).deviates


def test_a_record_that_no_auditor_brings_is_missed_and_said_to_be() -> None:
    result = audit.conformance(clipping.exempt_record, seed=1)
    assert not result.deviates
    assert "records that are treated differently" in " ".join(result.numbers()["not checked"])
    assert "proves nothing" in result.summary()


def test_correct_training_is_accused_in_at_most_one_of_40_audits() -> None:
    """At a true rate of 1% more than one of 40 comes with probability 6%; the seeds are fixed."""
    assert sum(audit.conformance(planted_bugs.correct, seed=100 + s).deviates for s in range(40)) <= 1


@pytest.mark.parametrize("engine", ["opacus", "vmap", "layers", "linear"])
def test_every_engine_can_be_watched_and_conforms(engine: str) -> None:
    """Each is accused with probability 1% at most; the seeds are fixed."""

    def train(task: Task, settings: Settings, seed: int) -> dp.PrivateResult:
        return dp.train_private(
            task.model(),
            task.dataset(),
            noise_multiplier=settings.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=settings.sample_rate * task.n,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            engine=engine,
            seed=seed,
        )

    result = audit.conformance(train, runs=2, seed=3)
    assert not result.deviates
    assert set(result.not_checked) <= {OTHERS}  # the engine may try its model on a copy first
    assert len(result.checks) == 21


def by_hand(
    task: Task, settings: Settings, seed: int, *, nudge: float = 0.0, start: float = 0.0
) -> torch.nn.Module:
    """Write the loop anew, with Adam, record by record; ``nudge`` moves the bias behind the optimizer's back."""
    generator = torch.Generator().manual_seed(seed)
    model = task.model()
    torch.nn.init.constant_(model.weight, start)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    for _ in range(settings.steps):
        sums = [torch.zeros_like(p) for p in model.parameters()]
        for i in (torch.rand(task.n, generator=generator) < settings.sample_rate).nonzero().flatten():
            loss = F.cross_entropy(model(task.x[i : i + 1]), task.y[i : i + 1])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            norm = torch.sqrt(sum((g**2).sum() for g in grads))
            for total, g in zip(sums, grads, strict=True):
                total += g * min(1.0, settings.max_grad_norm / float(norm))
        std = settings.noise_multiplier * settings.max_grad_norm
        for p, total in zip(model.parameters(), sums, strict=True):
            p.grad = (total + std * torch.randn(p.shape, generator=generator)) / (
                settings.sample_rate * task.n
            )
        optimizer.step()
        with torch.no_grad():
            model.bias += nudge
    return model


def test_a_hand_written_torch_loop_conforms_whatever_its_optimizer() -> None:
    assert not audit.conformance(by_hand, runs=2, seed=5).deviates


def test_a_step_tried_on_a_copy_is_told_from_training() -> None:
    def rehearsed(task: Task, settings: Settings, seed: int) -> torch.nn.Module:
        by_hand(task, replace(settings, steps=1), seed)
        return by_hand(task, settings, seed)

    result = audit.conformance(rehearsed, runs=2, seed=5)
    assert not result.deviates
    assert result.not_checked == (OTHERS,)


def test_weights_from_elsewhere_are_said_not_to_be_checked() -> None:
    def warm(task: Task, settings: Settings, seed: int) -> torch.nn.Module:
        return by_hand(task, settings, seed, start=0.01)

    assert any("first weights" in text for text in audit.conformance(warm, runs=2, seed=5).not_checked)


def test_weights_that_move_outside_the_steps_are_seen() -> None:
    result = audit.conformance(lambda *given: by_hand(*given, nudge=1e-3), runs=2, seed=5)
    assert [found.name for found in result.failed] == ["weights between the steps"]


@pytest.mark.parametrize(
    ("train", "name", "text"),
    [
        (noise.noise_at_four_fifths, "strength of the noise", "0.8"),
        (noise.last_step_without_noise, "noise of each step", "oddest at step 60, 0.000"),
        (noise.one_weight_without_noise, "noise of each coordinate", "1 of 510 odd"),
        (noise.layer_without_noise, "noise of each layer", "bias 0.000"),
        (clipping.each_layer_by_itself, "push in each layer", "bias 2."),
        (clipping.clip_after_sum, "length of one record's push", " of 1 C"),
        (sampling.with_replacement, "a record twice in one batch", "parts"),
        (sampling.fixed_size, "sizes of batches", "variance 0.00"),
        (sampling.batch_for_two_steps, "batches in a row", "by chance"),
        (sampling.empty_batches_skipped, "number of steps", "of 60"),
    ],
)
def test_the_finding_names_what_is_wrong(train: object, name: str, text: str) -> None:
    result = audit.conformance(train, seed=1)
    found = {item.name: item.found for item in result.failed}
    assert text in found[name]
    assert (name == "a record twice in one batch") or "a record twice in one batch" not in found


def test_noise_too_loud_to_read_is_said_to_leave_clipping_unchecked() -> None:
    result = audit.conformance(noise.sqrt_of_sigma, seed=1)
    assert any("clipping and sampling" in text for text in result.not_checked)
    assert "Not checked: " in result.summary()


def test_what_cannot_be_seen_is_refused() -> None:
    def hidden(task: Task, settings: Settings, seed: int) -> torch.Tensor:
        return torch.zeros(3)

    def other_model(task: Task, settings: Settings, seed: int) -> None:
        weight = torch.nn.Parameter(torch.zeros(3))
        weight.grad = torch.zeros(3)
        torch.optim.SGD([weight], lr=0.1).step()

    def misshapen(task: Task, settings: Settings, seed: int) -> audit.Transcript:
        return audit.Transcript(torch.zeros(4, 7), torch.zeros(7))

    def broken(task: Task, settings: Settings, seed: int) -> audit.Transcript:
        return audit.Transcript(torch.full((4, task.dimension), torch.nan), torch.zeros(task.dimension))

    with pytest.raises(
        audit.UnobservableError, match="no step of the training function could be seen: either"
    ):
        audit.conformance(hidden)
    with pytest.raises(audit.UnobservableError, match="1 steps on something else were"):
        audit.conformance(other_model)
    with pytest.raises(ValueError, match=r"updates have shape \(4, 7\)"):
        audit.conformance(misshapen)
    with pytest.raises(ValueError, match="NaN or infinite"):
        audit.conformance(broken)


def test_numbers_out_of_range_are_refused_before_any_run() -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained")

    for wrong in ({"runs": 1}, {"runs": 2.5}, {"noise_multiplier": 0.0}, {"false_alarms": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            audit.conformance(never, **wrong)
    with pytest.raises(ValueError, match="no data set can hold them"):
        Task(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), torch.ones(1, 6), classes=2).dataset()


def test_a_result_shows_saves_and_loads_itself(tmp_path) -> None:
    result = audit.conformance(noise.noise_at_seven_tenths, runs=2, seed=2)
    assert "DEVIATES" in str(result)
    assert result.table().iloc[0].failed
    assert "strength of the noise" in result.plot().alt_text
    assert result.numbers()["deviates"] is True
    assert audit.ConformanceResult.load(result.save(tmp_path / "found.pt")) == result
    assert "family" not in result.save(tmp_path / "found.json").read_text(encoding="utf-8")


def test_more_runs_see_smaller_deviations() -> None:
    few, many = (audit.conformance(planted_bugs.correct, runs=runs, seed=7).smallest for runs in (2, 8))
    assert all(many[name] < few[name] for name in few)
    assert few["noise"] < 0.03


def test_the_records_push_further_than_the_bound_unless_clipped_and_some_coordinates_are_free() -> None:
    task = probe.probe_task()
    rows = task.gradients(torch.zeros(task.dimension), torch.arange(task.n))
    assert (rows.norm(dim=1) > 5 * probe.loud(1.0).max_grad_norm).all()
    reading = probe.read(
        task, probe.QUIET, torch.zeros(2, task.dimension), torch.zeros(2, task.dimension), None
    )
    assert reading.unused.sum() == probe.UNUSED * probe.CLASSES
    assert np.allclose(np.linalg.norm(reading.pushes, axis=2), 1)


def test_the_law_of_spread_counts_is_exact() -> None:
    """Against all outcomes of three counts of Binomial(4, 0.3)."""
    from itertools import product

    from scipy.stats import binom

    law = binom(4, 0.3)
    squares = {
        counts: (sum((k - 1) ** 2 for k in counts), float(np.prod(law.pmf(counts))))
        for counts in product(range(5), repeat=3)
    }
    for counts in ((1, 1, 1), (0, 4, 2), (3, 1, 0)):
        seen = squares[counts][0]
        below = sum(p for s, p in squares.values() if s <= seen)
        above = sum(p for s, p in squares.values() if s >= seen)
        assert check.spread_p_value(np.array(counts), 4, 0.3) == pytest.approx(
            min(1.0, 2 * min(below, above)), abs=1e-9
        )


def test_correlations_of_noise_have_the_p_values_they_say() -> None:
    """4,000 pairs: a share of 5% is missed by more than 1.2 points with probability 0.05%; the seed is fixed."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000, 30))
    r = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert abs(np.mean(check.correlation_p_values(r, 30) <= 0.05) - 0.05) < 0.012
    assert check.correlation_p_values(np.array([1.0]), 30)[0] < 1e-100
