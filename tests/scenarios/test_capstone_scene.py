"""The capstone's scene: one system for two labs, and a cache that knows all code that its studies run."""

import sys

import pytest

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


def test_every_labkit_module_that_a_study_runs_is_in_the_cache_key():
    from labkit.federated.study import placement_curve

    ran: set[str] = set()

    def note(frame, event, _):
        if event == "call":
            name = frame.f_globals.get("__name__", "")
            if name.startswith("labkit."):
                ran.add(name)

    sys.setprofile(note)
    try:
        placement_curve(placements=("distributed", "record"), epsilons=(3.0,), seeds=(0,))
        hospitals.undefended(0)
    finally:
        sys.setprofile(None)
    # These say how a run is shown or kept, and change no number.
    shown = {"labkit", "labkit.cache", "labkit.profiles", "labkit.progress", "labkit.plots", "labkit.results"}
    shown |= {name for name in ran if name.startswith("labkit.scenarios")}
    missing = ran - shown - {module.__name__ for module in hospitals.code()}
    # A package's own file only hands names out.
    missing = {name for name in missing if not sys.modules[name].__file__.endswith("__init__.py")}
    assert not missing, f"a change in {sorted(missing)} would leave old results in the cache"
