"""The capstone's scene: one system for two labs, and a cache that knows all code that its studies run."""

import pytest
from tracing import uncovered

from labkit import cache
from labkit.scenarios import hospitals


@pytest.fixture(scope="module")
def scene():
    return hospitals.scene()


def test_the_system_promises_epsilon_three_for_a_patient_all_releases_counted(scene):
    found = scene.noise.statement(scene.training.rounds, observer="the server")
    assert 2.99 < found.epsilon <= 3.0
    assert len(found.events) == 2
    assert scene.noise.unit == "patient"
    assert set(scene.federation.marks) == set(scene.clinics.names)


def test_the_same_seed_gives_the_same_scene(scene):
    again = hospitals.scene()
    assert again.hospitals.digest == scene.hospitals.digest
    assert again.enrolment.keys == scene.enrolment.keys


def test_every_function_that_a_study_runs_is_in_the_cache_key(monkeypatch):
    found = {}

    def kept(kind, settings, compute, *, code):
        found[kind] = uncovered(compute, *code)
        return compute()

    monkeypatch.setattr(cache, "cached", kept)
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    hospitals.whole_hospitals()
    hospitals.contributions()
    assert set(found) >= {"placements", "contributions"}
    assert not {kind: gaps for kind, gaps in found.items() if gaps}
