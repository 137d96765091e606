"""Whole rounds: exact sums for every dropout pattern down to the threshold, and no sum below it."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from secagg_scenes import GRID, IDENTITIES, MODEL, NAMES, Scene

from labkit.federated.secagg import (
    Encoding,
    EncodingError,
    Identity,
    SecAggError,
    SecureSum,
    fresh_round_id,
    pause,
    resume,
    secure_sum,
    secure_sum_integers,
)
from labkit.federated.secagg.messages import MaskedInput
from labkit.federated.secagg.terms import STAGES

VALUES = {name: np.array([10**i, -(7**i), i]) % 997 - 400 for i, name in enumerate(NAMES)}
NOT_SUMMED = ("advertise", "share", "masked")  # who vanishes here is not in the sum


def run(drop: dict[str, str], **changes: object) -> SecureSum:
    settings = {"threshold": 3, "encoding": GRID, "identities": IDENTITIES, "model_digest": MODEL}
    return secure_sum_integers(VALUES, drop=drop, round_id=fresh_round_id(), **(settings | changes))


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_sums_are_exact_for_every_dropout_pattern_down_to_the_threshold(gone: int) -> None:
    """All 276 ways in which up to two of five vanish, each at any of the five stages."""
    for who in combinations(NAMES, gone):
        for stages in product(STAGES, repeat=gone):
            drop = dict(zip(who, stages, strict=True))
            found = run(drop)
            alive = tuple(name for name in NAMES if drop.get(name) not in NOT_SUMMED)
            assert found.survivors == alive, drop
            assert found.integers.tolist() == sum(VALUES[name] for name in alive).tolist(), drop
            assert found.dropped == drop


def test_one_hospital_below_the_threshold_there_is_no_sum() -> None:
    """Any three of five vanish, at every choice of stages; which of the three at which stage turns with the groups."""
    for turn, who in enumerate(combinations(NAMES, 3)):
        for stages in combinations_with_replacement(STAGES, 3):
            turned = stages[turn % 3 :] + stages[: turn % 3]
            with pytest.raises(SecAggError, match="expected at least the threshold"):
                run(dict(zip(who, turned, strict=True)))


@pytest.mark.parametrize("gone", [4, 5])
def test_further_below_the_threshold_there_is_no_sum(gone: int) -> None:
    """Every choice of stages for four or five of five that vanish; who they are turns with the stages."""
    groups = list(combinations(NAMES, gone))
    for i, stages in enumerate(combinations_with_replacement(STAGES, gone)):
        with pytest.raises(SecAggError, match="expected at least the threshold"):
            run(dict(zip(groups[i % len(groups)], stages, strict=True)))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([32, 64]),
    st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=3, max_size=6),
    st.sampled_from(STAGES),
)
def test_real_vectors_sum_to_within_half_a_step_each(bits: int, rows: list, stage: str) -> None:
    vectors = {f"h{i}": np.array(row) for i, row in enumerate(rows)}
    grid = Encoding.finest(3.0, len(rows), bits)
    threshold = max(3, len(rows) // 2 + 1)
    drop = {"h0": stage} if len(rows) > threshold else {}
    terms = {"round_id": fresh_round_id(), "model_digest": b"m"}
    found = secure_sum(vectors, threshold=threshold, encoding=grid, drop=drop, **terms)
    alive = [vectors[name] for name in found.survivors]
    on_grid = sum(grid.encode(vector) for vector in alive)
    assert found.integers.tolist() == on_grid.tolist()
    assert np.abs(found.total - np.sum(alive, axis=0)).max() <= len(alive) * 0.5 / grid.scale + 1e-12


def test_long_vectors_cross_the_chunks_of_the_keystream() -> None:
    rng = np.random.default_rng(0)
    vectors = {name: rng.integers(-1000, 1001, 70_001) for name in NAMES}
    terms = {"encoding": GRID, "round_id": fresh_round_id(), "model_digest": MODEL, "identities": IDENTITIES}
    found = secure_sum_integers(vectors, threshold=3, drop={"Cedar": "masked"}, trace_memory=True, **terms)
    assert (found.integers == sum(vectors[name] for name in found.survivors)).all()
    assert found.bytes_up["MaskedInput"] == pytest.approx(4 * 4 * 70_001, rel=0.01)
    assert 4 * 70_001 < found.peak_bytes < 40 * 70_001 * 4
    assert set(found.client_seconds) == set(NAMES)


def test_values_that_do_not_fit_stop_the_round() -> None:
    with pytest.raises(EncodingError, match="room for the noise"):
        secure_sum_integers(
            VALUES | {"Ash": np.array([1001, 0, 0])},
            threshold=3,
            encoding=GRID,
            round_id=fresh_round_id(),
            model_digest=MODEL,
        )
    with pytest.raises(SecAggError, match="secure_sum_integers takes integers"):
        secure_sum(VALUES, threshold=3, encoding=GRID, round_id=fresh_round_id(), model_digest=MODEL)
    six = {f"h{i}": np.zeros(2, int) for i in range(6)}
    with pytest.raises(SecAggError, match="room for 5 parties"):
        secure_sum_integers(six, threshold=4, encoding=GRID, round_id=b"6", model_digest=MODEL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": {"Ash": "lunch"}}, "expected a hospital"),
        ({"drop": {"Fir": "share"}}, "expected a hospital"),
        ({"threshold": 2}, "expected 3 to 5"),
        ({"threshold": 6}, "expected 3 to 5"),
        ({"model_digest": b""}, "model_digest"),
        ({"identities": {"Ash": IDENTITIES["Ash"]}}, "identities lack"),
        ({"identities": dict.fromkeys(NAMES, IDENTITIES["Ash"])}, "one public key"),
    ],
)
def test_a_round_that_cannot_be_run_is_refused_before_it_starts(change: dict, said: str) -> None:
    with pytest.raises(SecAggError, match=said):
        run(**({"drop": {}} | change))


def test_a_name_must_fit_into_a_message() -> None:
    named = {name: np.ones(2, int) for name in ("a", "b", "x" * 256)}
    with pytest.raises(SecAggError, match="has 256 bytes; expected 1 to 255"):
        secure_sum_integers(named, threshold=3, encoding=GRID, round_id=b"1", model_digest=b"m")


def test_two_hospitals_are_too_few() -> None:
    two = {"a": np.ones(2), "b": np.ones(2)}
    with pytest.raises(SecAggError, match="too small"):
        secure_sum(two, threshold=2, encoding=Encoding(1, 32, 2, 1), round_id=b"1", model_digest=b"m")


def test_an_identity_takes_part_in_a_round_once() -> None:
    identities = {name: Identity.generate() for name in NAMES}
    settings = {"threshold": 3, "encoding": GRID, "model_digest": MODEL, "identities": identities}
    secure_sum_integers(VALUES, round_id=b"round 1", **settings)
    with pytest.raises(SecAggError, match="already taken part in"):
        secure_sum_integers(VALUES, round_id=b"round 1", **settings)


def test_two_rounds_of_one_vector_share_no_masks() -> None:
    """The difference of two rounds' masked inputs is uniform (chi-squared on bytes, false failure 1e-6)."""
    values = {name: np.full(20_000, 7) for name in NAMES}
    one, other = (Scene(fresh_round_id(), values).masked()[0].vector for _ in range(2))
    counts = np.bincount((one - other).view(np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_all_but_one_masked_inputs_say_nothing() -> None:
    """One, four, even all five masked inputs sum to uniform words: self-masks hide the sum, too, until shares come.

    Chi-squared on bytes, three tests: false failure 3e-6.
    """
    values = {name: np.full(20_000, 7) for name in NAMES}
    vectors = [message.vector for message in Scene(fresh_round_id(), values).masked()]
    for count in (1, 4, 5):
        total = np.sum(vectors[:count], axis=0, dtype="<u4")
        counts = np.bincount(total.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


def test_a_client_survives_the_end_of_its_process_between_all_stages() -> None:
    scene = Scene(fresh_round_id())

    def restart() -> None:
        roster, threshold, grid, *_ = scene.terms()
        for name, client in scene.clients.items():
            scene.clients[name] = resume(pause(client), scene.identities[name], roster, threshold, grid)

    restart()
    keys = [client.advertise() for client in scene.clients.values()]
    restart()
    shown = scene.server.advertisements(keys)
    mail = scene.server.shares({name: client.share(shown) for name, client in scene.clients.items()})
    restart()
    for name, client in scene.clients.items():
        masked = client.masked(scene.values[name], mail[name])
        scene.server.add(MaskedInput.from_bytes(masked.to_bytes()))
    restart()
    announced = scene.server.survivors()
    signatures = scene.server.signatures([client.consistency(announced) for client in scene.clients.values()])
    restart()
    total = scene.server.unmask([client.unmask(signatures) for client in scene.clients.values()])
    assert total.tolist() == sum(scene.values.values()).tolist()


def test_a_paused_client_goes_on_under_its_own_terms_only() -> None:
    scene = Scene(fresh_round_id())
    roster, threshold, grid, *_ = scene.terms()
    raw = pause(scene.clients["Ash"])
    with pytest.raises(SecAggError, match="changed within a round"):
        resume(raw, scene.identities["Ash"], roster, threshold + 1, grid)
    with pytest.raises(SecAggError, match="another key"):
        resume(raw, Identity.generate(), roster, threshold, grid)
    with pytest.raises(SecAggError, match="no client"):
        resume(raw[:-1], scene.identities["Ash"], roster, threshold, grid)
