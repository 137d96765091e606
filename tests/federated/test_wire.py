"""Both sides of a round as bytes, with nothing but a hospital's folder between two messages."""

from __future__ import annotations

import os
import stat
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


def test_more_rounds_than_agreed_are_refused(table: Table) -> None:
    state = begin(table.federation)
    for _ in range(2):  # the server claims that it is still in round 1
        table.sum(state)
    with pytest.raises(FederationError, match="as many as were agreed on"):
        table.sum(state)
    assert [table.member(name).spent for name in table.roster] == [2] * 4


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


def test_hospitals_with_other_terms_stop(table: Table, federation: Federation) -> None:
    other = replace(federation, noise=replace(federation.noise, noise_multiplier=0.1))

    def exchange(stage, sent):
        answers = table.exchange(stage, {name: sent[name] for name in sent if name != "Hospital D"})
        if "Hospital D" in sent:
            tricked = replace(table.member("Hospital D"), federation=other)
            answers["Hospital D"] = tricked.answer(stage, sent["Hospital D"])
        return answers

    with pytest.raises(SecAggError, match="sent different models"):
        table.sum(begin(federation), exchange)


def test_a_message_in_anothers_name_is_refused(table: Table) -> None:
    def exchange(stage, sent):
        answers = table.exchange(stage, sent)
        if stage == "masked":
            answers["Hospital A"] = answers["Hospital B"]
        return answers

    with pytest.raises(SecAggError, match="in its own name"):
        table.sum(begin(table.federation), exchange)


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
