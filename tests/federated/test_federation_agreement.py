"""The agreement, and a federation as one party sees it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from labkit import models
from labkit.federated import Federation, FederationError, Noise, Training, load_hospitals
from labkit.federated.agreement import Agreement, round_digest, terms_digest, vectors
from labkit.federated.rounds import begin, contribute
from labkit.federated.secagg import Identity


@pytest.fixture(scope="module")
def whole() -> Federation:
    clinics = load_hospitals("breast_cancer", count=3, by="size", seed=0)
    noise = Noise("distributed", noise_multiplier=4.0, hospitals=3, threshold=3)
    return Federation(clinics, partial(models.logistic_regression, 30, 2), Training(rounds=2), noise)


@pytest.fixture(scope="module")
def agreement(whole: Federation) -> Agreement:
    return Agreement(
        roster={name: Identity.generate().public.hex() for name in whole.hospitals.names},
        sizes=whole.sizes,
        training=whole.training,
        noise=whole.noise,
        model="labkit.models:logistic_regression",
        arguments={"in_features": 30, "classes": 2},
        dimension=whole.dimension,
    )


def test_an_agreement_is_read_as_it_was_written(agreement: Agreement) -> None:
    assert Agreement.from_json(agreement.to_json()) == agreement


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"roster": {}}', '{"training": {"rounds": 1, "extra": 2}}']
)
def test_a_damaged_agreement_is_refused(text: str) -> None:
    with pytest.raises(FederationError, match="no agreement"):
        Agreement.from_json(text)


def test_roster_sizes_and_noise_must_speak_of_the_same_hospitals(agreement: Agreement) -> None:
    with pytest.raises(FederationError, match="same hospitals"):
        replace(agreement, sizes={**agreement.sizes, "Hospital Z": 4})


def test_a_seat_contributes_what_the_whole_federation_would(whole: Federation, agreement: Agreement) -> None:
    for hospital in whole.hospitals:
        seat = agreement.seat(lambda hospital=hospital: hospital)
        seat.check()
        there = contribute(seat, hospital.name, begin(seat), seed=5)
        assert np.array_equal(there, contribute(whole, hospital.name, begin(whole), seed=5))


def test_a_seat_holds_nobody_elses_records(whole: Federation, agreement: Agreement) -> None:
    first, second, _ = whole.hospitals
    with pytest.raises(FederationError, match="not here"):
        agreement.seat(lambda: first).dataset(second.name)
    with pytest.raises(FederationError, match="not here"):
        agreement.seat().dataset(first.name)


def test_a_seat_refuses_another_number_of_records_where_nothing_is_private(
    whole: Federation, agreement: Agreement
) -> None:
    first = whole.hospitals.hospitals[0]
    sizes = {**agreement.sizes, first.name: agreement.sizes[first.name] + 1}
    open_terms = replace(agreement, sizes=sizes, noise=Noise(hospitals=3, threshold=3))
    with pytest.raises(FederationError, match="declared"):
        open_terms.seat(lambda: first).check()


def test_a_private_seat_takes_part_with_one_patient_more_or_less(
    whole: Federation, agreement: Agreement
) -> None:
    first = whole.hospitals.hospitals[0]
    for declared in (agreement.sizes[first.name] - 1, agreement.sizes[first.name] + 1):
        sizes = {**agreement.sizes, first.name: declared}
        seat = replace(agreement, sizes=sizes).seat(lambda: first)
        seat.check()
        assert contribute(seat, first.name, begin(seat), seed=5).shape == (62,)


@pytest.mark.parametrize(("threshold", "colluders"), [(3, 0), (4, 2)])
def test_a_threshold_that_colluders_get_around_is_refused(
    agreement: Agreement, threshold: int, colluders: int
) -> None:
    names = [f"Hospital {number}" for number in range(7)]
    terms = {
        "roster": {name: Identity.generate().public.hex() for name in names},
        "sizes": dict.fromkeys(names, 50),
    }
    noise = Noise("distributed", noise_multiplier=4.0, hospitals=7, threshold=threshold, colluders=colluders)
    with pytest.raises(FederationError, match=f"threshold is {threshold} of 7"):
        replace(agreement, **terms, noise=noise)
    replace(agreement, **terms, noise=replace(noise, threshold=threshold + 1))


def test_the_promise_covers_every_vector_that_may_leave(agreement: Agreement) -> None:
    generous = replace(agreement, spare=3)
    assert generous.statement() == agreement.noise.statement(5, observer="the server")
    assert generous.statement().epsilon > agreement.statement().epsilon
    assert vectors(generous.seat()) == 5
    with pytest.raises(FederationError, match="spare is -1"):
        replace(agreement, spare=-1)


def test_both_sides_digest_the_same_terms_and_any_difference_shows(
    whole: Federation, agreement: Agreement
) -> None:
    roster = {name: bytes.fromhex(key) for name, key in agreement.roster.items()}
    same = terms_digest(whole, roster)
    assert terms_digest(agreement.seat(), roster) == same
    changed = [
        replace(agreement, training=replace(agreement.training, rounds=3)),
        replace(agreement, noise=replace(agreement.noise, noise_multiplier=3.9)),
        replace(agreement, sizes=dict.fromkeys(agreement.sizes, 100)),
        replace(agreement, spare=1),
    ]
    digests = {terms_digest(other.seat(), roster) for other in changed}
    others = {**roster, "Hospital A": bytes(32)}
    assert len(digests | {same, terms_digest(whole, others)}) == 6


def test_the_rounds_digest_binds_number_and_weights(whole: Federation) -> None:
    state = begin(whole)
    moved = replace(state, weights=state.weights + 1)
    later = replace(state, round=1)
    assert len({round_digest(b"terms", one) for one in (state, moved, later)}) == 3
