"""Shared mistakes: calibrated for independent models, decisive for copies, and the tests that it stands on."""

import numpy as np
import pytest
from answer_tables import copied, table_data, tables, talk
from scipy import stats

from labkit.watermark.fingerprints import evidence_line, mistakes, predictive
from labkit.watermark.fingerprints.evidence_line import weigh
from labkit.watermark.fingerprints.questions import ask_all


def test_predictive_p_is_the_two_sample_t_test_with_a_sample_of_one():
    nulls = np.random.default_rng(0).normal(0.4, 0.02, 20)
    expected = stats.ttest_ind([0.45], nulls, alternative="greater").pvalue
    assert predictive.predictive_p(0.45, nulls) == pytest.approx(expected, rel=1e-9)


def test_rank_p_counts_ties_for_the_suspect_and_never_falls_below_its_floor():
    assert predictive.rank_p(3, [1, 2, 3, 4]) == 3 / 5
    assert predictive.rank_p(9, [1, 2, 3, 4]) == 1 / 5


def test_p_values_are_uniform_for_exchangeable_normal_values():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(4000, 21))
    p = np.array([predictive.predictive_p(row[0], row[1:]) for row in draws])
    assert stats.kstest(p, "uniform").pvalue > 1e-3  # fixed seed; on a new one it fails once in 1,000


def test_independent_models_get_uniform_p_values():
    """400 worlds of 22 independent models: owner, suspect, 20 null models."""
    rng, p = np.random.default_rng(2), []
    for _ in range(400):
        data = table_data(400, rng)
        owner, suspect, *nulls = tables(data, 22, rng)
        p.append(mistakes.questions(talk(owner), data, np.stack(nulls)).ask(talk(suspect)).p_value)
    p = np.array(p)
    # On a new seed a binomial count with these rates passes its bound less than once in 10,000 runs each.
    for level, most in ((0.5, 237), (0.1, 64), (0.01, 13)):
        assert (p < level).sum() <= most
    assert (p < 0.5).sum() >= 163


def test_copies_are_found_even_if_they_guess_on_a_third_of_the_records():
    rng = np.random.default_rng(3)
    data = table_data(2000, rng)
    owner, *nulls = tables(data, 21, rng)
    line = mistakes.repeats(talk(copied(owner, 1 / 3, rng)), talk(owner), data, np.stack(nulls))
    assert line.decided
    assert line.rank_p_value == 1 / 21


def test_a_copy_is_decided_with_power_and_without_false_claims():
    rng = np.random.default_rng(4)
    data = table_data(2000, rng)
    owner, *nulls = tables(data, 21, rng)
    line = mistakes.repeats(talk(copied(owner, 0.2, rng)), talk(owner), data, np.stack(nulls))
    assert line.decided
    assert line.p_value < 1e-6
    assert line.power > 0.99
    assert line.false_claims.estimate <= 1 / 20
    assert "speaks against" in str(line)
    assert "numbers" in str(line)


def test_questions_are_the_owners_mistakes_and_do_not_depend_on_the_suspect():
    rng = np.random.default_rng(5)
    data = table_data(500, rng)
    owner, *nulls = tables(data, 21, rng)
    chosen = mistakes.questions(talk(owner), data, np.stack(nulls), queries=50, seed=7)
    assert len(chosen) == 50
    assert (chosen.expected != chosen.truth).all()
    again = mistakes.questions(talk(owner), data, np.stack(nulls), queries=50, seed=7)
    assert chosen.digest == again.digest
    assert chosen.digest != mistakes.questions(talk(owner), data, np.stack(nulls), queries=50, seed=8).digest


def test_known_answers_give_what_asking_gives():
    rng = np.random.default_rng(6)
    data = table_data(300, rng)
    owner, *nulls = tables(data, 21, rng)
    models = [talk(null) for null in nulls]
    known = ask_all(models, data.test_x)
    assert (known == np.stack(nulls)).all()
    asked = mistakes.repeats(talk(nulls[0]), talk(owner), data, models)
    assert asked.p_value == mistakes.repeats(talk(nulls[0]), talk(owner), data, known).p_value


def test_after_fewer_queries_is_the_line_on_fewer_records():
    rng = np.random.default_rng(7)
    data = table_data(1000, rng)
    owner, *nulls = tables(data, 21, rng)
    long = mistakes.questions(talk(owner), data, np.stack(nulls), queries=120).ask(talk(owner))
    short = mistakes.questions(talk(owner), data, np.stack(nulls), queries=30).ask(talk(owner))
    assert long.after(30).numbers() == short.numbers()
    with pytest.raises(ValueError, match="1 to 120"):
        long.after(121)


def test_a_suspect_of_another_accuracy_carries_a_note():
    rng = np.random.default_rng(8)
    data = table_data(2000, rng)
    owner, *nulls = tables(data, 21, rng)
    chosen = mistakes.questions(talk(owner), data, np.stack(nulls))
    assert not chosen.ask(talk(nulls[0])).notes
    perfect = chosen.ask(talk(data.test_y.numpy()))
    assert not perfect.decided
    assert "another architecture" in perfect.notes[0]


def test_few_null_models_rehearse_but_decide_nothing():
    rng = np.random.default_rng(9)
    data = table_data(2000, rng)
    owner, *nulls = tables(data, 9, rng)
    with pytest.raises(ValueError, match="got 8 null models; expected at least 20"):
        mistakes.repeats(talk(owner), talk(owner), data, np.stack(nulls))
    line = mistakes.repeats(talk(owner), talk(owner), data, np.stack(nulls), minimum=5)
    assert line.p_value < 1e-3
    assert not line.decided
    assert "too few null models for a claim" in line.notes[-1]


def test_refusals_name_the_value_and_the_fix():
    rng = np.random.default_rng(10)
    data = table_data(300, rng)
    owner, *nulls = tables(data, 21, rng)
    with pytest.raises(ValueError, match="gets 0 of 300 held-out records wrong"):
        mistakes.questions(talk(data.test_y.numpy()), data, np.stack(nulls))
    with pytest.raises(ValueError, match="queries is 0"):
        mistakes.questions(talk(owner), data, np.stack(nulls), queries=0)
    with pytest.raises(ValueError, match=r"expected \(models, 300\)"):
        mistakes.questions(talk(owner), data, np.stack(nulls)[:, :9])
    with pytest.raises(ValueError, match="copies of one model"):
        predictive.predictive_p(0.5, [0.4] * 20)
    with pytest.raises(ValueError, match="null model 1 has no finite value"):
        predictive.predictive_p(0.5, [0.4, np.nan, 0.3])
    with pytest.raises(ValueError, match="alpha is 1"):
        mistakes.questions(talk(owner), data, np.stack(nulls)).ask(talk(owner), alpha=1)


def test_copies_as_null_models_do_not_make_p_zero():
    """With identical null models the spread is the statistic's own step: no division by zero, no certainty."""
    line = weigh(
        evidence_line.clopper_pearson(6, 10),
        [0.5] * 20,
        alpha=1e-3,
        resolution=0.1,
        name="n",
        citation="c",
        measures="m",
        queries=10,
        assumption="a",
        source="s",
        seed=0,
    )
    assert 0.1 < line.p_value < 0.2


def test_results_show_and_save_themselves(tmp_path):
    rng = np.random.default_rng(11)
    data = table_data(800, rng)
    owner, *nulls = tables(data, 21, rng)
    line = mistakes.repeats(talk(owner), talk(owner), data, np.stack(nulls))
    table = line.table()
    assert "assumes" in table.index
    assert "null hypothesis" in table.index
    assert "numbers" in line.plot().alt_text
    assert '"rank_p_value"' in line.save(tmp_path / "line.json").read_text()
    assert "<table" in line._repr_html_()
