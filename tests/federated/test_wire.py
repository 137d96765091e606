"""Both sides of a round as bytes, with nothing but a hospital's folder between two messages."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from labkit import models
from labkit.federated import Federation, FederationError, Training, federate, load_hospitals
from labkit.federated.member import Member, write_secret
from labkit.federated.noise import Noise
from labkit.federated.rounds import begin, step
from labkit.federated.secagg import Identity, SecAggError
from labkit.federated.secagg.messages import MaskedInput
from labkit.federated.secagg.terms import STAGES
from labkit.federated.wire import Opening, secure_round


@pytest.fixture(scope="module")
def federation() -> Federation:
    clinics = load_hospitals("breast_cancer", count=4, by="size", seed=0)
    noise = Noise("distributed", noise_multiplier=4.0, hospitals=4, threshold=3)
    return Federation(clinics, partial(models.logistic_regression, 30, 2), Training(rounds=2), noise)


class Table:
    """Four hospitals whose every message is answered by a `Member` made anew, as by a fresh process."""

    def __init__(self, federation: Federation, folder: Path, seed: int | None = None) -> None:
        identities = {name: Identity.generate() for name in federation.hospitals.names}
        self.roster = {name: identity.public for name, identity in identities.items()}
        self.federation, self.folder, self.seed = federation, folder, seed
        self.said: list[tuple[str, dict]] = []
        for name, identity in identities.items():
            write_secret(folder / name / "identity", identity.to_bytes())

    def member(self, name: str) -> Member:
        return Member(name, self.federation, self.roster, self.folder / name, self.seed)

    def exchange(self, stage, sent):
        self.said.append((stage, {name: list(parts) for name, parts in sent.items()}))
        return {name: self.member(name).answer(stage, parts) for name, parts in sent.items()}

    def sum(self, state, exchange=None):
        return secure_round(exchange or self.exchange, self.federation, self.roster, state, list(self.roster))


@pytest.fixture
def table(federation: Federation, tmp_path: Path) -> Table:
    return Table(federation, tmp_path, seed=1)


def test_fresh_processes_give_the_loops_model(federation: Federation, table: Table) -> None:
    state = begin(federation)
    for _ in range(2):
        opened = table.sum(state)
        state = step(federation, state, opened.total, opened.survivors, seed=1)
    assert np.array_equal(state.model, federate(federation, seed=1).weights)


@pytest.mark.parametrize("stage", STAGES)
def test_a_hospital_missed_at_any_stage_is_named_and_survived(table: Table, stage: str) -> None:
    gone = STAGES[STAGES.index(stage) :]

    def exchange(asked, sent):
        present = {name: parts for name, parts in sent.items() if asked not in gone or name != "Hospital B"}
        return table.exchange(asked, present)

    opened = table.sum(begin(table.federation), exchange)
    assert opened.dropped == {"Hospital B": stage}
    assert ("Hospital B" in opened.survivors) == (stage in ("consistency", "unmask"))


def test_no_message_is_answered_twice(table: Table) -> None:
    table.sum(begin(table.federation))
    for stage, sent in table.said:
        with pytest.raises(SecAggError, match=r"already taken part in|is in no round"):
            table.member("Hospital A").answer(stage, sent["Hospital A"])


def test_a_stage_that_failed_cannot_be_asked_again(table: Table) -> None:
    def exchange(stage, sent):
        if stage == "consistency":
            raise SecAggError("stop here")
        return table.exchange(stage, sent)

    with pytest.raises(SecAggError, match="stop here"):
        table.sum(begin(table.federation), exchange)
    stage, sent = table.said[-1]
    assert stage == "masked"
    for _ in range(2):
        with pytest.raises(SecAggError):
            table.member("Hospital A").answer("unmask", sent["Hospital A"])
    assert not (table.folder / "Hospital A" / "round").exists()


def test_more_vectors_than_agreed_are_refused(table: Table) -> None:
    state = begin(table.federation)
    for _ in range(2):  # the server claims that it is still in round 1
        table.sum(state)
    with pytest.raises(FederationError, match="as many as were agreed on"):
        table.sum(state)
    assert [table.member(name).spent for name in table.roster] == [2] * 4


@pytest.mark.parametrize("stage", ["masked", "consistency", "unmask"])
def test_a_server_that_rotates_whom_it_skips_sees_no_vector_more_than_agreed(
    table: Table, stage: str
) -> None:
    # Three rounds of four hospitals: were helpers alone to count, rotation would open a fourth sum.
    table.federation = replace(table.federation, training=Training(rounds=3))
    state, seen = begin(table.federation), dict.fromkeys(table.roster, 0)

    def skipping(victim):
        def exchange(asked, sent):
            late = STAGES.index(asked) >= STAGES.index(stage)
            answers = {}
            for name in sent:
                with suppress(FederationError):  # who refuses is missed
                    if not (late and name == victim):
                        answers |= table.exchange(asked, {name: sent[name]})
            if asked == "masked":
                for name in answers:
                    seen[name] += 1
            return answers

        return exchange

    for victim in 2 * list(table.roster):
        with suppress(SecAggError):  # too few are left
            table.sum(state, skipping(victim))
    assert max(seen.values()) == table.federation.training.rounds


def test_a_vector_is_counted_before_it_leaves_and_again_checked_there(table: Table) -> None:
    def exchange(stage, sent):
        if stage == "masked":  # its budget ran out between two stages, as by another process
            path = table.folder / "Hospital A" / "spent"
            path.write_text(f"{table.member('Hospital A').terms.hex()}\n" * 2)
        return table.exchange(stage, sent)

    with pytest.raises(FederationError, match="Hospital A let 2 vectors go"):
        table.sum(begin(table.federation), exchange)
    assert table.said[-1][0] == "masked"


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_a_round_that_was_not_agreed_on_is_refused(table: Table, number: int) -> None:
    opening = Opening(number, b"fresh", np.zeros(62))
    with pytest.raises(FederationError, match="were agreed on"):
        table.member("Hospital A").answer("advertise", [opening.to_bytes()])


@pytest.mark.parametrize("weights", [np.zeros(61), np.full(62, np.nan)])
def test_weights_that_are_no_model_are_refused(table: Table, weights: np.ndarray) -> None:
    with pytest.raises(FederationError, match="finite numbers"):
        table.member("Hospital A").answer("advertise", [Opening(1, b"fresh", weights).to_bytes()])


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 damaged", np.zeros(3).tobytes()])
def test_bytes_that_open_no_round_are_refused(raw: bytes) -> None:
    with pytest.raises(SecAggError, match="open no round"):
        Opening.from_bytes(raw)


def test_an_unknown_stage_is_refused(table: Table) -> None:
    with pytest.raises(SecAggError, match="expected one of advertise"):
        table.member("Hospital A").answer("everything", [])


def test_a_hospital_with_other_terms_is_missed(table: Table, federation: Federation) -> None:
    other = replace(federation, noise=replace(federation.noise, noise_multiplier=0.1))

    def exchange(stage, sent):
        answers = table.exchange(stage, {name: sent[name] for name in sent if name != "Hospital D"})
        if "Hospital D" in sent:
            tricked = replace(table.member("Hospital D"), federation=other)
            answers["Hospital D"] = tricked.answer(stage, sent["Hospital D"])
        return answers

    assert table.sum(begin(federation), exchange).dropped == {"Hospital D": "advertise"}


def flipped(parts):
    """Return an answer with its last bit changed: a share, a signature, a box, or a masked value."""
    return [part[:-1] + bytes([part[-1] ^ 1]) for part in parts]


WRONG = {
    "numbers": lambda own, others: [1, 2, 3],
    "junk": lambda own, others: [b"junk"],
    "nothing": lambda own, others: [],
    "no list": lambda own, others: b"junk",
    "cut short": lambda own, others: [part[:-1] for part in own],
    "another's": lambda own, others: others,
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_costs_its_hospital_the_round_and_nobody_else(
    table: Table, stage: str, wrong: str
) -> None:
    said = []

    def exchange(asked, sent):
        answers = table.exchange(asked, sent)
        if asked == stage:
            answers["Hospital B"] = WRONG[wrong](answers["Hospital B"], answers["Hospital C"])
        return answers

    federation = table.federation
    opened = secure_round(
        exchange, federation, table.roster, begin(federation), list(table.roster), say=said.append
    )
    assert opened.dropped == {"Hospital B": stage}
    assert [line for line in said if line.startswith(f"Hospital B is missed from stage {stage} on")] == said
    assert len(said) == 1


@pytest.mark.parametrize("stage", ["advertise", "consistency", "unmask"])
def test_a_signature_or_share_that_is_wrong_costs_its_hospital_the_round(table: Table, stage: str) -> None:
    def exchange(asked, sent):
        answers = table.exchange(asked, sent)
        if asked == stage:
            answers["Hospital B"] = flipped(answers["Hospital B"])
        return answers

    assert table.sum(begin(table.federation), exchange).dropped == {"Hospital B": stage}


def test_a_vector_of_another_length_does_not_decide_everybodys(table: Table) -> None:
    def exchange(asked, sent):
        answers = table.exchange(asked, sent)
        if asked == "masked":  # the first that the server adds
            own = MaskedInput.from_bytes(answers["Hospital A"][0])
            answers["Hospital A"] = [replace(own, vector=own.vector[:-1]).to_bytes()]
        return answers

    assert table.sum(begin(table.federation), exchange).dropped == {"Hospital A": "masked"}


def test_too_many_wrong_answers_end_the_round(table: Table) -> None:
    def exchange(asked, sent):
        answers = table.exchange(asked, sent)
        if asked == "masked":
            answers |= {"Hospital A": [b"junk"], "Hospital B": [b"junk"]}
        return answers

    with pytest.raises(SecAggError, match="expected at least the threshold"):
        table.sum(begin(table.federation), exchange)


def test_an_opening_is_read_as_written_or_refused() -> None:
    raw = Opening(3, b"an id", np.arange(4.0)).to_bytes()
    again = Opening.from_bytes(raw)
    assert (again.number, again.round_id, again.weights.tolist()) == (3, b"an id", [0.0, 1.0, 2.0, 3.0])
    random = np.random.default_rng(0)
    for _ in range(2000):
        bent = bytearray(raw)
        for place in random.integers(len(raw), size=3):
            bent[place] = random.integers(256)
        with suppress(SecAggError):
            assert Opening.from_bytes(bytes(bent)).to_bytes() == bytes(bent)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_secrets_are_readable_by_their_owner_only(table: Table) -> None:
    table.member("Hospital A").answer("advertise", [Opening(1, b"fresh", np.zeros(62)).to_bytes()])
    for name in ("identity", "round"):
        mode = (table.folder / "Hospital A" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def test_the_final_model_is_kept_and_the_last_rounds_secrets_are_gone(table: Table) -> None:
    member = table.member("Hospital A")
    member.answer("advertise", [Opening(1, b"fresh", np.zeros(62)).to_bytes()])
    member.finish(np.arange(62.0).tobytes())
    assert np.array_equal(np.load(member.folder / "model.npy"), np.arange(62.0))
    assert not (member.folder / "round").exists()
    with pytest.raises(FederationError, match="shape"):
        member.finish(np.arange(61.0).tobytes())
