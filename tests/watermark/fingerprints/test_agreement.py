"""Agreement: uniform p-values for independent models although null models chose the records; more power where they split."""

import numpy as np
import pytest
from answer_tables import copied, table_data, tables, talk

from labkit.watermark.fingerprints import agreement


def test_dissent_by_hand():
    answers = np.array([[0, 1, 2], [0, 1, 0], [0, 2, 1], [0, 2, 1]])
    assert agreement.dissent(answers) == pytest.approx([0, 0.5, 0.5])


def test_contested_takes_most_dissent_first_and_breaks_ties_by_order():
    answers = np.array([[0, 1, 2], [0, 1, 0], [0, 2, 1], [0, 2, 1]])
    assert agreement.contested(answers, 2, np.array([2, 1, 0])).tolist() == [2, 1]
    assert agreement.contested(answers, 2, np.array([0, 1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize("on", ["contested", "all"])
def test_independent_models_get_uniform_p_values(on):
    """250 worlds of 22 independent models; null models judged on records that they chose would make this fail."""
    rng, p = np.random.default_rng(0), []
    for _ in range(250):
        data = table_data(300, rng)
        owner, suspect, *nulls = tables(data, 22, rng)
        asked = agreement.questions(talk(owner), data, np.stack(nulls), on=on, queries=100)
        p.append(asked.ask(talk(suspect)).p_value)
    p = np.array(p)
    # On a new seed a binomial count with these rates passes its bound less than once in 10,000 runs each.
    for level, most in ((0.5, 155), (0.1, 44), (0.01, 10)):
        assert (p < level).sum() <= most
    assert (p < 0.5).sum() >= 95


def test_null_models_judged_on_records_that_they_chose_would_mislead():
    """The mistake that `questions` avoids: without leaving each null model out, innocents look like copies."""
    rng, naive = np.random.default_rng(1), []
    for _ in range(200):
        data = table_data(500, rng)
        owner, suspect, *nulls = tables(data, 8, rng)
        nulls = np.stack(nulls)
        chosen = agreement.contested(nulls, 150, rng.permutation(500))
        rates = (nulls[:, chosen] == owner[chosen]).mean(1)
        naive.append((suspect[chosen] == owner[chosen]).mean() - rates.mean())
    # The mean of 200 differences lies five standard errors above zero.
    assert np.mean(naive) > 5 * np.std(naive) / np.sqrt(200)


def test_contested_records_tell_a_weak_copy_better_than_all_records():
    rng = np.random.default_rng(2)
    data = table_data(4000, rng)
    owner, *nulls = tables(data, 21, rng)
    weak = np.where(rng.random(4000) < 0.75, tables(data, 1, rng)[0], owner)
    settings = {"queries": 600}
    contested = agreement.agree(talk(weak), talk(owner), data, np.stack(nulls), on="contested", **settings)
    everywhere = agreement.agree(talk(weak), talk(owner), data, np.stack(nulls), on="all", **settings)
    assert contested.p_value < everywhere.p_value


def test_a_copy_is_decided_and_its_agreement_is_what_was_counted():
    rng = np.random.default_rng(3)
    data = table_data(1500, rng)
    owner, *nulls = tables(data, 21, rng)
    copy = copied(owner, 0.1, rng)
    asked = agreement.questions(talk(owner), data, np.stack(nulls), queries=300)
    line = asked.ask(talk(copy))
    assert line.decided
    assert line.value.estimate == pytest.approx((copy[asked.records] == owner[asked.records]).mean())
    assert line.queries == 300


def test_unknown_records_are_refused():
    rng = np.random.default_rng(4)
    data = table_data(100, rng)
    owner, *nulls = tables(data, 21, rng)
    with pytest.raises(ValueError, match="on is 'easy'"):
        agreement.questions(talk(owner), data, np.stack(nulls), on="easy")
