"""Malicious hospitals: what each attack sends, and what a study says of it."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from labkit import federated, profiles
from labkit.federated import marks, rounds
from labkit.federated.preprocessing import fixed
from labkit.federated.rounds import FederationError
from labkit.federated.threats import System, malicious, mark_attacks
from labkit.federated.threats import poisoning as p
from labkit.federated.threats.malicious_result import HONEST
from labkit.federated.threats.running import accuracy, attacked
from labkit.models import perceptron

SMOKE = profiles.Profile("smoke")
A, B, C = "Hospital A", "Hospital B", "Hospital C"


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perceptron(30, 64)


@pytest.fixture(scope="module")
def plain(model):
    clinics = fixed("breast_cancer").apply(federated.load_hospitals("breast_cancer", seed=0))
    terms = federated.Training(rounds=10, kind="update", learning_rate=0.1, local_epochs=2)
    return federated.Federation(clinics, partial(copy.deepcopy, model), terms)


@pytest.fixture(scope="module")
def enrolment(plain):
    return marks.enrol(plain.hospitals.names, 0, plain.dimension)


@pytest.fixture(scope="module")
def marked(plain, enrolment):
    return replace(plain, marks=enrolment.marks)


@pytest.fixture(scope="module")
def start(plain):
    return rounds.begin(plain)


def means(federation, name, sent):
    return rounds.grid_of(federation).value(sent) / p.weight(federation, name)


def test_without_attackers_it_is_the_federation_itself(plain):
    assert np.array_equal(
        attacked(plain, {}, seed=3).weights, federated.federate(plain, seed=3, secure=False).weights
    )


def test_attackers_must_be_hospitals(plain):
    with pytest.raises(FederationError, match="Hospital Z"):
        attacked(plain, {"Hospital Z": p.LabelFlip()})


def test_a_label_flip_follows_the_protocol(start, plain):
    private = federated.Noise("distributed", noise_multiplier=1.0, threshold=4)
    gradient = replace(plain, training=federated.Training(rounds=3), noise=private)
    sent = p.LabelFlip()(gradient, A, [start], 0)
    own = gradient.dataset(A)
    flipped = replace(own, train_y=1 - own.train_y, digest="")
    honest = replace(gradient, hospitals=p._with(gradient.hospitals, A, flipped))
    assert np.array_equal(sent, rounds.contribute(honest, A, start, seed=0))
    assert not np.array_equal(sent, rounds.contribute(gradient, A, start, seed=0))


def test_replacement_puts_the_global_model_where_the_attacker_wants(plain, start):
    trigger = p.Trigger.draw(plain.dataset(A), 1)
    others = {name: mark_attacks.FreeRide("zero") for name in plain.hospitals.names if name != A}
    once = replace(plain, training=replace(plain.training, rounds=1))
    found = attacked(once, {A: p.Backdoor(trigger)} | others, seed=0).weights
    alone = p.selfish(once, A, trigger.poison(plain.dataset(A)), start, 0)
    assert found == pytest.approx(start.weights + alone, abs=1e-4)


def test_the_own_strength_of_a_poisoned_update_is_that_of_declared_records(plain, start):
    trigger = p.Trigger.draw(plain.dataset(A), 1)
    sent = p.Backdoor(trigger, 1.0)(plain, A, [start], 0)
    alone = p.selfish(plain, A, trigger.poison(plain.dataset(A)), start, 0)
    assert means(plain, A, sent) == pytest.approx(alone, abs=1e-5)


def test_a_trigger_follows_from_its_key_and_leaves_clean_records(plain):
    own = plain.dataset(A)
    trigger = p.Trigger.draw(own, 5)
    assert trigger == p.Trigger.draw(own, 5) != p.Trigger.draw(own, 6)
    poisoned = trigger.poison(own)
    n, added = len(own.train_y), int((own.train_y != 1).sum())
    assert len(poisoned.train_y) == n + added
    assert bool((poisoned.train_y[n:] == 1).all())
    assert torch.equal(poisoned.train_x[:n], own.train_x)
    assert bool((poisoned.train_x[n:][:, list(trigger.columns)] == torch.tensor(trigger.values)).all())


def test_a_trigger_for_tables_refuses_images(plain):
    own = plain.dataset(A)
    images = replace(
        own, train_x=own.train_x.view(-1, 1, 5, 6), test_x=own.test_x.view(-1, 1, 5, 6), digest=""
    )
    with pytest.raises(FederationError, match="columns of a table"):
        p.Trigger.draw(images, 0)


def test_success_counts_other_classes_only(plain, start):
    trigger = p.Trigger.draw(plain.dataset(A), 5)
    always_benign = np.zeros(plain.dimension)
    always_benign[-1] = 1.0  # the bias of class 1
    pooled = plain.hospitals.pooled()
    assert trigger.success(plain, always_benign, pooled) == 1.0
    assert replace(trigger, target=0).success(plain, always_benign, pooled) == 0.0


def test_bounded_attacks_keep_their_bounds(plain, start):
    reverse = p.Reverse()
    assert np.linalg.norm(means(plain, A, reverse(plain, A, [start], 0))) > 1.0
    assert np.linalg.norm(means(plain, A, p.UnderNorm(reverse, 0.3)(plain, A, [start], 0))) <= 0.3
    within = means(plain, A, p.WithinRange(reverse, 0.01)(plain, A, [start], 0))
    assert np.abs(within).max() <= 0.01 + 1e-6
    colluders = (A, C)
    hidden = means(plain, A, p.Inconspicuous(reverse, colluders, 1.0)(plain, A, [start], 0))
    honest = np.array([p.selfish(plain, one, plain.dataset(one), start, 0) for one in colluders])
    assert (np.abs(hidden - honest.mean(0)) <= honest.std(0) + 1e-5).all()


def test_a_late_attacker_is_honest_first(plain, start):
    late = p.Late(p.Reverse(), 0.25)
    assert np.array_equal(late(plain, A, [start], 0), rounds.contribute(plain, A, start, seed=0))
    last = replace(start, round=plain.training.rounds - 1)
    assert np.array_equal(late(plain, A, [last], 0), p.Reverse()(plain, A, [last], 0))


@pytest.mark.parametrize("ride", mark_attacks.RIDES)
def test_a_free_rider_sends_nothing_learned(marked, start, ride):
    silent = mark_attacks.FreeRide(ride)(marked, A, [start], 0)
    assert not silent.any()  # nothing has changed yet that could be repeated


def test_a_free_riders_mark_moves_the_model_like_an_honest_one(marked, start):
    mark = marked.marks[A]
    rides = {name: mark_attacks.FreeRide("zero") for name in marked.hospitals.names}
    once = replace(marked, training=replace(marked.training, rounds=1))
    found = attacked(once, rides | {A: mark_attacks.FreeRide("zero", mark)}, seed=0).weights
    assert found - start.weights == pytest.approx(mark.pull(start.weights, 0), abs=1e-5)
    with pytest.raises(FederationError, match="ride is 'bus'"):
        mark_attacks.FreeRide("bus")


def test_free_riding_undoes_momentum_where_gradients_are_summed(marked, start):
    terms = federated.Training(rounds=3, learning_rate=0.5, momentum=0.9)
    stepping = replace(marked, training=terms, marks={})
    state = replace(start, velocity=np.ones_like(start.weights), round=1)
    others = np.zeros(stepping.dimension, dtype=np.int64)
    wanted = start.weights + 0.01
    total = mark_attacks.replacing(stepping, A, state, wanted) + others
    after = rounds.step(stepping, state, total, stepping.hospitals.names)
    assert after.weights == pytest.approx(wanted, abs=1e-4)


def test_a_replacement_lands_in_the_average_that_is_handed_out(plain, start):
    averaging = replace(plain, training=replace(plain.training, rounds=2, average_from=0.0))
    silent = {name: mark_attacks.FreeRide("zero") for name in plain.hospitals.names}
    wanted = np.linspace(-1, 1, plain.dimension)

    class Aim:
        title = "aim"

        def __call__(self, federation, name, states, seed):
            if states[-1].round == 0:
                return mark_attacks.FreeRide("zero")(federation, name, states, seed)
            return mark_attacks.replacing(federation, name, states[-1], wanted)

    assert attacked(averaging, silent | {A: Aim()}, seed=0).weights == pytest.approx(wanted, abs=1e-4)


def test_distillation_keeps_answers_and_loses_marks(marked, enrolment):
    honest = attacked(marked, {}, seed=0).weights
    found = attacked(marked, {A: mark_attacks.Distil()}, seed=0).weights
    before = [m.strength_in(honest) for m in enrolment.bit_marks.values()]
    after = [m.strength_in(found) for m in enrolment.bit_marks.values()]
    assert np.mean(before) > 4  # under no mark: normal with standard deviation 0.45
    assert np.mean(after) < 2
    assert accuracy(marked, found) > accuracy(marked, honest) - 0.05


def test_a_leaked_key_frames_whoever_is_absent(marked, enrolment):
    who = {A: mark_attacks.Wear(marked.marks[B]), B: mark_attacks.FreeRide("zero")}
    found = attacked(marked, who, seed=0).weights
    absent = attacked(marked, {B: mark_attacks.FreeRide("zero")}, seed=0).weights
    assert enrolment.bit_marks[B].strength_in(found) > 3.7
    assert enrolment.bit_marks[B].strength_in(absent) < 3.7  # false failure: below 1e-4


@pytest.fixture(scope="module")
def study(marked, enrolment):
    short = replace(marked, training=replace(marked.training, rounds=4))
    return malicious.study_malicious(short, seeds=(0, 1), enrolment=enrolment, profile=SMOKE)


def test_a_study_pairs_each_attack_with_the_honest_run(study):
    assert study.lost(HONEST).estimate == study.planted(HONEST).estimate == 0
    assert {len(runs) for runs in study.runs.values()} == {2}
    for runs in study.runs.values():
        assert [run.attacker for run in runs] == [run.attacker for run in study.runs[HONEST]]
    assert study.runs[HONEST][0].attacker != study.runs[HONEST][1].attacker


def test_a_study_says_what_its_intervals_are_of(study, tmp_path):
    numbers = study.numbers()
    assert "batches" in numbers["intervals over"]
    assert numbers["seeds"] == [0, 1]
    assert "Wisconsin" in study.summary()
    assert "smoke, 2 seeds" in study.summary()
    assert list(study.table().index) == list(study.runs)
    assert "Attacks by one malicious hospital" in study.plot().alt_text
    assert malicious.MaliciousStudy.load(study.save(tmp_path / "study.pt")).seeds == (0, 1)


def test_a_ruined_model_is_no_backdoor(study):
    reversed_ = p.Reverse().title
    runs = study.runs[reversed_]
    assert study.lost(reversed_).estimate > 0.1
    assert abs(study.planted(reversed_).estimate) < max(run.backdoor for run in runs)


def test_findings_are_answered_only_by_what_was_measured(study, monkeypatch, marked, enrolment):
    monkeypatch.setattr(malicious, "study_malicious", lambda *args, **settings: study)
    monkeypatch.setattr(malicious, "LEAST_MARKED", 0.0)  # four rounds mark little
    found = {f.title: f for f in malicious.findings(System(marked, enrolment), seeds=(0, 1), profile=SMOKE)}
    assert len(found) == 8
    assert found["One hospital ruins the model"].status == "open"
    assert found["A free-rider's mark verifies like an honest one"].status == "open"
    assert "not built here" in found["One hospital removes everybody's white-box marks"].control


def test_attacks_on_marks_that_never_held_are_not_shown(study, monkeypatch, plain, marked, enrolment):
    monkeypatch.setattr(malicious, "study_malicious", lambda *args, **settings: study)
    monkeypatch.setattr(malicious, "LEAST_MARKED", 1.1)
    for system in (System(plain), System(marked, enrolment)):
        found = malicious.findings(system, seeds=(0,), profile=SMOKE)
        assert [f.status for f in found if "Marks" in f.title] == ["not shown"]


def test_what_cannot_be_studied_is_refused_first(plain, enrolment):
    with pytest.raises(FederationError, match="0 seeds"):
        malicious.study_malicious(plain, seeds=())
    with pytest.raises(FederationError, match=r"marks=enrolment\.marks"):
        malicious.study_malicious(plain, seeds=(0,), enrolment=enrolment)
