"""Every way a server could cheat is really tried: refused, or of no use; and the honest round passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threat_scenes import system

from labkit.federated.secagg import Identity, SecAggError, fresh_round_id
from labkit.federated.secagg.client import self_mask_key
from labkit.federated.secagg.masks import add_mask
from labkit.federated.threats import server, server_tries, study_server


@pytest.fixture(scope="module")
def study() -> server.ServerStudy:
    return study_server(system())


def test_the_honest_round_gives_the_exact_sum(study: server.ServerStudy) -> None:
    assert study.honest


def test_every_way_is_tried_on_every_hospital_and_gives_the_server_nothing(study: server.ServerStudy) -> None:
    assert len(study.tries) == 4 * len(server.WAYS)
    assert not any(one.read for one in study.tries)
    wanted = (
        "inconsistent models",
        "both secrets",
        "fake dropout",
        "substituted key",
        "replayed round",
        "a round of one",
    )
    for family in wanted:
        assert any(one.way.startswith(family) for one in study.tries)


def test_refusals_are_in_the_words_of_the_protocol(study: server.ServerStudy) -> None:
    said = {one.way: one.said for one in study.tries if one.refused}
    assert "the server sent different models" in said["inconsistent models"]
    assert "both alive and dropped" in said["both secrets at once"]
    assert "listed as dropped" in said["fake dropout, to the victim"]
    assert "key substituted" in said["substituted key for masks"]
    assert "already taken part in" in said["replayed round"]
    assert "expected at least the threshold" in said["a round of one, at the start"]


def test_a_roster_by_the_server_reads_everybody_and_one_fixed_in_advance_nobody(
    study: server.ServerStudy,
) -> None:
    made = [one for one in study.invented if one.way == "roster by the server"]
    agreed = [one for one in study.invented if one.way != "roster by the server"]
    assert all(one.read for one in made)
    assert all(one.refused and "not on the roster" in one.said for one in agreed)


def test_what_stays_after_a_fake_dropout_is_the_self_mask_and_nothing_else() -> None:
    """The attempt's own arithmetic, held to the truth: with the seed that nobody gave away, the vector appears."""
    names = ("a", "b", "c", "d")
    vectors = {name: np.arange(4) * (at + 1) for at, name in enumerate(names)}
    made = []

    def fresh(identities=None):
        from labkit.federated.secagg import Encoding

        grid = Encoding(scale=1.0, bits=64, parties=4, bound=1000.0)
        made.append(server_tries.Round(vectors, grid, 3, b"model", identities))
        return made[-1]

    said, read = server_tries._peers_told_dropped(fresh, "b")
    assert said.startswith("answered")
    assert not read
    seed = made[0].clients["b"]._seed
    stripped = server_tries.without_pair_masks(made[0], "b")
    add_mask(stripped, self_mask_key(seed, made[0].round_id, "b"), -1)
    assert made[0].encoding.from_ring(stripped).tolist() == vectors["b"].tolist()


def test_a_client_that_accepts_everything_would_be_reported(monkeypatch) -> None:
    """The attempts can fail: without its checks, the protocol is found wanting."""
    from labkit.federated.secagg import client

    monkeypatch.setattr(client.Client, "_check_advertisements", lambda self, shown: None)
    monkeypatch.setattr(Identity, "enter", lambda self, round_id: None)
    found = study_server(system())
    broken = {one.way for one in found.tries if one.read}
    assert {"inconsistent models", "substituted key for shares", "replayed round"} <= broken
    finding = found.findings()[0]
    assert (finding.severity, finding.status) == ("critical", "open")


def test_findings_follow_from_the_tries(study: server.ServerStudy) -> None:
    protocol, roster = study.findings()
    assert (protocol.severity, protocol.status) == ("critical", "answered")
    assert f"{len(study.tries)} tries in {len(server.WAYS)} ways" in protocol.evidence
    assert (roster.severity, roster.status) == ("critical", "answered")
    assert len(study.table()) == len(server.WAYS) + 3


def test_without_an_honest_round_no_refusal_counts(study: server.ServerStudy) -> None:
    with pytest.raises(SecAggError, match="proves nothing"):
        replace(study, honest=False).findings()


def test_round_ids_are_fresh() -> None:
    assert fresh_round_id() != fresh_round_id()
