"""The app on Flower: the same model as the loop in one process, whatever carries the messages."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr")

from labkit import models
from labkit.federated import Federation, FederationError, Noise, Training, federate, load_hospitals
from labkit.federated.agreement import Agreement
from labkit.federated.app import _lost, hospital_app, simulate
from labkit.federated.app_memory import MemoryGrid
from labkit.federated.app_server import ATTEMPTS, Plan, server_app
from labkit.federated.member import Member, write_secret
from labkit.federated.quiet import QUIET
from labkit.federated.secagg import Identity, SecAggError
from labkit.federated.secagg.terms import STAGES


def federation_of(noise: Noise, *, rounds: int = 2, kind: str = "gradient") -> Federation:
    clinics = load_hospitals("breast_cancer", count=noise.hospitals, by="size", seed=0)
    training = Training(rounds=rounds, kind=kind, learning_rate=0.5, momentum=0.5)
    return Federation(clinics, partial(models.logistic_regression, 30, 2), training, noise)


@pytest.fixture(scope="module")
def federation() -> Federation:
    return federation_of(Noise("distributed", noise_multiplier=4.0, hospitals=4, threshold=3))


@pytest.mark.parametrize(
    ("noise", "kind"),
    [
        (Noise(hospitals=3), "gradient"),
        (Noise("central", noise_multiplier=2.0, hospitals=3), "gradient"),
        (Noise("local", "hospital", noise_multiplier=2.0, hospitals=3), "update"),
        (Noise("record", noise_multiplier=2.0, sample_rate=0.2, local_steps=2, hospitals=3), "update"),
    ],
    ids=lambda value: getattr(value, "placement", value),
)
def test_flowers_messages_give_the_loops_model(noise: Noise, kind: str) -> None:
    federation = federation_of(noise, kind=kind)
    apart = simulate(federation, seed=2, backend="memory").weights - federate(federation, seed=2).weights
    assert np.abs(apart).max() <= 1e-6


def test_dropouts_at_every_stage_give_the_loops_model() -> None:
    noise = Noise("distributed", noise_multiplier=4.0, hospitals=4, threshold=3)
    federation = federation_of(noise, rounds=len(STAGES))
    drop = {number: {"Hospital B": stage} for number, stage in enumerate(STAGES, start=1)}
    flower, loop = (
        simulate(federation, seed=3, drop=drop, backend="memory"),
        federate(federation, seed=3, drop=drop),
    )
    assert np.abs(flower.weights - loop.weights).max() <= 1e-6
    assert [one.survivors for one in flower.rounds] == [one.survivors for one in loop.rounds]
    assert [one.dropped for one in flower.rounds] == list(drop.values())


def test_a_simulation_on_ray_gives_the_loops_model() -> None:
    pytest.importorskip("ray")
    federation = federation_of(Noise("distributed", noise_multiplier=4.0, hospitals=3, threshold=3))
    apart = simulate(federation, seed=4, backend="ray").weights - federate(federation, seed=4).weights
    assert np.abs(apart).max() <= 1e-6


def test_terms_that_cannot_be_kept_are_refused_before_the_first_message(federation: Federation) -> None:
    with pytest.raises(FederationError, match="would be left with 2"):
        simulate(federation, drop={1: {"Hospital A": "share", "Hospital B": "share"}}, backend="memory")
    with pytest.raises(FederationError, match="drop names round 1"):
        simulate(federation, drop={1: {"Hospital Z": "share"}}, backend="memory")
    with pytest.raises(ValueError, match="backend is 'carrier pigeon'"):
        simulate(federation, backend="carrier pigeon")


class Hall:
    """Hospitals on a grid in memory, and a server whose plan a test can change."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        identities = [Identity.generate() for _ in federation.hospitals]
        names = federation.hospitals.names
        self.roster = {name: one.public for name, one in zip(names, identities, strict=True)}
        self.members = [Member(name, federation, self.roster, folder / name) for name in names]
        for member, identity in zip(self.members, identities, strict=True):
            write_secret(member.folder / "identity", identity.to_bytes())
        self.federation, self.kept, self.said = federation, [], []

    def agree(self, spare: int) -> None:
        """Seat everybody at an agreement with ``spare`` vectors."""
        federation = self.federation
        agreement = Agreement(
            {name: key.hex() for name, key in self.roster.items()},
            federation.sizes,
            federation.training,
            federation.noise,
            "labkit.models:logistic_regression",
            {"in_features": 30, "classes": 2},
            federation.dimension,
            spare,
        )
        records = dict(zip(federation.hospitals.names, federation.hospitals, strict=True))
        self.federation = agreement.seat()
        self.members = [
            replace(one, federation=agreement.seat(lambda name=one.name: records[name]))
            for one in self.members
        ]

    def run(self, **changes) -> None:
        kept = lambda state, rounds: self.kept.append((state, rounds))  # noqa: E731
        plan = Plan(self.federation, self.roster, kept, patience=0.1, timeout=5.0, say=self.said.append)
        app = hospital_app(lambda context: self.members[context.node_config["partition-id"]])
        grid = MemoryGrid(app, len(self.members))
        server_app(lambda context: replace(plan, **changes))(grid, grid.context)


@pytest.fixture
def hall(federation: Federation, tmp_path: Path) -> Hall:
    return Hall(federation, tmp_path)


def test_a_round_that_too_few_finish_is_tried_again(hall: Hall) -> None:
    asked = []

    def lost(number, stage, name):
        asked.append((number, stage))
        return number == 2 and name in ("Hospital A", "Hospital B") and asked.count((2, "advertise")) <= 4

    hall.run(lost=lost)
    assert len(hall.kept[-1][1]) == 2
    assert len([line for line in hall.said if "given up" in line]) == 1


def twice_lost(number: int, stage: str, name: str) -> bool:
    return number == 2 and stage == "masked" and name > "Hospital B"


def test_after_several_failures_the_run_stops_and_what_was_kept_goes_on(hall: Hall) -> None:
    hall.agree(spare=ATTEMPTS)
    with pytest.raises(SecAggError, match="expected at least the threshold"):
        hall.run(lost=twice_lost)
    assert len([line for line in hall.said if "given up" in line]) == ATTEMPTS
    state, rounds = hall.kept[-1]
    assert (state.round, len(rounds)) == (1, 1)
    hall.run(start=(state, rounds))
    assert [one.number for one in hall.kept[-1][1]] == [1, 2]
    # A vector that left in a round that was given up is spent.
    assert [member.spent for member in hall.members] == [2 + ATTEMPTS, 2 + ATTEMPTS, 2, 2]


def test_without_spare_vectors_a_round_that_failed_late_is_not_tried_again(hall: Hall) -> None:
    with pytest.raises(SecAggError, match="expected at least the threshold"):
        hall.run(lost=twice_lost)
    with pytest.raises(SecAggError, match="expected at least the threshold"):
        hall.run(start=hall.kept[-1])
    assert [member.spent for member in hall.members] == [2, 2, 1, 1]


def test_a_run_starts_only_with_the_threshold_of_the_agreement(hall: Hall) -> None:
    hall.members = hall.members[:2]
    with pytest.raises(FederationError, match=r"\['Hospital A', 'Hospital B'\] joined"):
        hall.run()


def test_strangers_and_hospitals_of_another_agreement_are_left_out(
    hall: Hall, federation: Federation
) -> None:
    other = replace(federation, training=replace(federation.training, learning_rate=0.6))
    hall.members[3] = replace(hall.members[3], federation=other)
    hall.members += [replace(hall.members[0], name="Mallory"), hall.members[0]]
    hall.run()
    assert len([line for line in hall.said if "left out" in line]) == 3
    assert hall.kept[-1][1][0].survivors == ("Hospital A", "Hospital B", "Hospital C")
    assert hall.kept[-1][1][0].dropped == {"Hospital D": "advertise"}


def test_a_node_with_a_name_but_not_its_key_stops_before_it_sends_anything(hall: Hall) -> None:
    write_secret(hall.members[3].folder / "identity", Identity.generate().to_bytes())
    hall.run()
    assert hall.kept[-1][1][0].dropped == {"Hospital D": "advertise"}


def test_the_server_never_reads_a_hospitals_error(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    class Ill(Member):
        def answer(self, stage, received):
            raise ValueError("the largest value is 1234.5")

    ill = hall.members[3]
    hall.members[3] = Ill(ill.name, ill.federation, ill.roster, ill.folder)
    hall.run()
    assert any("Hospital D stops at advertise: 'ValueError'" in line for line in hall.said)
    assert not any("1234.5" in line for line in hall.said)
    assert "1234.5" in capsys.readouterr().err  # its own log


class Posing(Member):
    """Says that it is another hospital, with its own signature or with what an earlier joining showed."""

    def join(self, challenge: bytes) -> list[bytes]:
        return replace(self, name="Hospital B").as_member().join(challenge)

    def as_member(self) -> Member:
        return Member(self.name, self.federation, self.roster, self.folder)


class Numbers(Member):
    def join(self, challenge):
        return [1, 2, 3]


class Replaying(Member):
    def join(self, challenge):
        return super().join(bytes(32))


@pytest.mark.parametrize("kind", [Posing, Numbers, Replaying])
def test_a_node_that_does_not_show_who_it_is_is_left_out_and_the_others_go_on(hall: Hall, kind: type) -> None:
    first = hall.members[0]
    hall.members[0] = kind(first.name, first.federation, first.roster, first.folder)
    hall.run()
    assert all(one.survivors == ("Hospital B", "Hospital C", "Hospital D") for one in hall.kept[-1][1])


class Junk(Member):
    def answer(self, stage, received):
        return [1, 2, 3] if stage == "masked" else super().answer(stage, received)


def test_a_hospital_that_answers_junk_is_named_and_survived(hall: Hall) -> None:
    third = hall.members[2]
    hall.members[2] = Junk(third.name, third.federation, third.roster, third.folder)
    hall.run()
    assert hall.kept[-1][1][0].dropped == {"Hospital C": "masked"}
    assert any("Hospital C stops at masked" in line for line in hall.said)


def test_every_hospital_gets_the_final_model(hall: Hall) -> None:
    hall.run()
    model = hall.kept[-1][0].model
    assert all(np.array_equal(np.load(member.folder / "model.npy"), model) for member in hall.members)


def test_a_message_lost_at_a_stage_stays_lost_for_the_round() -> None:
    drop = {2: {"A": "masked"}}
    assert [stage for stage in STAGES if _lost(drop, 2, stage, "A")] == ["masked", "consistency", "unmask"]
    assert not any(_lost(drop, 1, stage, "A") or _lost(drop, 2, stage, "B") for stage in STAGES)
    assert not _lost(drop, 2, "finish", "A")


def test_flower_is_told_to_be_quiet_before_it_is_imported() -> None:
    code = "import labkit.federated.app as a, sys; assert 'flwr' not in sys.modules; a.hospital_app(None)\n"
    code += "from flwr.supercore import telemetry; print(telemetry.FLWR_TELEMETRY_ENABLED)"
    env = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "0"
