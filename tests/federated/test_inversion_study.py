"""The table of leakage: what it must show, and how it shows itself."""

from __future__ import annotations

import pytest

from labkit.federated.inversion import Study, study


@pytest.fixture(scope="module")
def found() -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_PROFILE", "smoke")
        return study(batches=5)


def test_updates_and_small_sums_leak_in_clear(found):
    lines = [
        each for each in found.leakages if each.attack == "peeling" and "40 records" not in each.observed
    ]
    assert len(lines) == 5
    assert any("sum of 5 hospitals" in each.observed for each in lines)
    assert all(each.value.estimate == 1.0 and each.bound is None for each in lines)


def test_under_differential_privacy_no_record_is_returned_and_the_bound_is_printed(found):
    lines = [each for each in found.select(measure="targets returned") if each.bound is not None]
    assert len(lines) == 3
    for each in lines:
        assert each.value.estimate == 0
        assert 0 < each.value.high < 0.2
        assert each.bound == pytest.approx(1e-5)
        assert "unit patient: ε = " in each.privacy
        assert "20 steps" in each.privacy


def test_the_same_trap_returns_every_target_where_the_server_sees_the_sum_without_noise(found):
    (line,) = found.select(observed="central", measure="targets returned")
    assert line.value.estimate == 1.0


def test_naming_beats_guessing_and_stays_under_the_bound(found):
    for each in found.select(attack="naming"):
        assert each.control < each.value.estimate
        assert each.value.low <= each.bound


def test_pictures_beat_the_mean_picture_in_clear_and_not_under_privacy(found):
    one, *_ = found.select(attack="DLG")
    assert one.value.estimate > one.control + 10
    (guarded,) = found.select(attack="smoothed")
    assert guarded.value.estimate < guarded.control + 3


def test_table_and_figure_carry_source_profile_seeds_and_what_the_interval_is_of(found):
    table = found.table()
    assert len(table) == len(found.leakages)
    assert {"interval of", "guess", "any attacker at most", "adversary", "source", "profile", "seeds"} <= {
        *table.columns
    }
    figure = found.plot()
    assert "Wisconsin" in figure.alt_text
    assert "profile smoke" in figure.axes[0].get_title()


def test_a_study_is_saved_and_loaded(found, tmp_path):
    assert Study.load(found.save(tmp_path / "study.pt")) == found
    assert found.save(tmp_path / "study.json").read_text().startswith("{")


@pytest.mark.parametrize("options", [{"hospitals_count": 1}, {"batches": 0}, {"seeds": [0]}, {"rounds": 0}])
def test_nonsense_is_refused_before_any_work(options):
    with pytest.raises(ValueError, match="expected at least"):
        study(**options)
