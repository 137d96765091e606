"""Preprocessing: constants or one accounted release; no record moves the sum by more than stated."""

import math

import numpy as np
import pytest
import torch

from labkit import data
from labkit.data.formats import heart
from labkit.dp import privacy_statement
from labkit.federated import Hospital, Hospitals, load_hospitals, preprocessing
from labkit.federated.feature_map import FeatureMap
from labkit.federated.noise import Grid
from labkit.federated.preprocessing import contribution, fixed, private_statistics
from labkit.federated.secagg import SecAggError


def clinic(name, x, labels=None):
    """Return a hospital with train records ``x`` and one test record per class."""
    y = torch.arange(len(x)) % 2 if labels is None else labels
    held = data.Dataset("table", "table", True, x, y, x[:2] * 0, torch.tensor([0, 1]), ("a", "b"))
    return Hospital(name, held)


def clinics(n=200, d=4, count=3, seed=0):
    """Return hospitals with a table whose column means differ, in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    centre = torch.linspace(0.2, 0.5, d)
    held = [
        clinic(name, (centre + 0.08 * torch.randn(n, d, generator=random)).clamp(0, 1))
        for name in "ABCDEFG"[:count]
    ]
    return Hospitals(tuple(held), "table")


BANDS = [(0.25, 0.45)] * 4


def test_fixed_maps_bands_to_one_whatever_the_records_are():
    made = fixed([(0.2, 0.4), (0.0, 1.0)])
    ends = torch.tensor([[0.2, 0.0], [0.4, 1.0], [0.3, 0.5]])
    np.testing.assert_allclose(made(ends), [[-1, -1], [1, 1], [0, 0]], atol=1e-6)
    assert made.events == ()
    log = fixed([(0.2, 0.4), (0.0, 1.0)], log_floor=0.1)
    np.testing.assert_allclose(log(ends[:2]), [[-1, -1], [1, 1]], atol=1e-6)
    assert float(log(ends)[2, 0]) > 0  # a logarithm lifts what is small


def test_a_map_treats_each_record_by_itself():
    held = load_hospitals("breast_cancer", seed=0)
    made, x = fixed("breast_cancer"), held.pooled().train_x
    torch.testing.assert_close(made(x)[17:18], made(x[17:18]))
    torch.testing.assert_close(made.apply(held).pooled().train_x, made(x))


def test_records_are_clipped_to_the_norm():
    x = load_hospitals("breast_cancer", seed=0).pooled().train_x
    free, clipped = fixed("breast_cancer")(x), fixed("breast_cancer", norm=8.0)(x)
    lengths = free.norm(dim=1)
    assert float(lengths.min()) < 8 < float(lengths.max())
    torch.testing.assert_close(clipped.norm(dim=1), lengths.clamp(max=8.0))


def test_missing_values_become_the_middle_of_the_map():
    held = load_hospitals("heart", seed=0)
    made = private_statistics(held, noise_multiplier=5.0, seed=0)
    before, after = held.pooled().train_x, made(held.pooled().train_x)
    assert after.shape[1] == heart.MEASURED
    column = heart.FEATURES.index("cholesterol")
    missing = before[:, heart.FEATURES.index("cholesterol missing")] > 0.5
    assert int(missing.sum()) > 80
    assert set(after[missing, column].tolist()) == {0.0}
    assert float(after[~missing, column].std()) > 0.3
    assert made.apply(held).hospitals[2].missing is None


def _neighbours(random):
    """Yield pairs of record tables that differ in one record, extreme ones among them."""
    extremes = [torch.zeros(1, 4), torch.ones(1, 4), torch.full((1, 4), 1e6), torch.full((1, 4), -1e6)]
    for more in [*extremes, *(torch.rand(1, 4, generator=random) for _ in range(50))]:
        base = torch.rand(12, 4, generator=random)
        yield base, torch.cat([base, more])


@pytest.mark.parametrize("norm", [0.5, 2.0, 50.0])
@pytest.mark.parametrize("log_floor", [None, 0.1])
def test_no_record_moves_the_sum_by_more_than_the_norm(norm, log_floor):
    made, largest = fixed(BANDS, log_floor=log_floor), 0.0
    for one, other in _neighbours(torch.Generator().manual_seed(0)):
        one, other = one.clamp(min=0), other.clamp(min=0) if log_floor else other
        gap = np.linalg.norm(contribution(other, made, norm) - contribution(one, made, norm))
        assert gap <= norm * (1 + 1e-9)
        largest = max(largest, gap / norm)
    assert largest > 0.999 or norm == 50.0, "the bound is met by a clipped record"


def test_the_bound_holds_with_missing_values():
    made, held = fixed("heart"), load_hospitals("heart", seed=0)
    for hospital in held:
        x = hospital.dataset.train_x
        whole = contribution(x, made, 3.0)
        for row in range(0, len(x), 7):
            without = contribution(torch.cat([x[:row], x[row + 1 :]]), made, 3.0)
            assert np.linalg.norm(whole - without) <= 3.0 * (1 + 1e-9)


@pytest.fixture
def sums(monkeypatch):
    """Return the sums that were opened, in the unit of the values, as `private_statistics` is called."""
    opened, whole = [], preprocessing._sum

    def keep(noisy, grid, *more):
        total, count = whole(noisy, grid, *more)
        opened.append(grid.value(total))
        return total, count

    monkeypatch.setattr(preprocessing, "_sum", keep)
    return opened


@pytest.mark.parametrize("threshold", [None, 2])
def test_the_noise_is_what_the_event_says(sums, threshold):
    held, settings = clinics(), {"noise_multiplier": 1.5, "norm": 2.0, "secure": False}
    gone = {} if threshold is None else {"C": "masked"}
    there = [each for each in held if each.name not in gone]
    for seed in range(400):
        made = private_statistics(held, fixed(BANDS), threshold=threshold, drop=gone, seed=seed, **settings)
    (event,) = made.events
    assert (event.noise_multiplier, event.steps, event.sampler) == (1.5, 1, "full")
    noise = np.array(sums) - sum(contribution(each.dataset.train_x, fixed(BANDS), 2.0) for each in there)
    # 3,600 normal draws: the relative error of their deviation is 1.2%, so 6% fails once in 2 million seeds.
    assert noise.std() == pytest.approx(1.5 * 2.0, rel=0.06)
    assert abs(noise.mean()) < 6 * 3.0 / math.sqrt(noise.size)
    assert abs(np.corrcoef(noise.T)[np.triu_indices(9, 1)]).max() < 0.25  # no coordinate repeats another


def test_the_noise_covers_what_rounding_adds():
    grid = Grid(2.0, 9, 1.5 / math.sqrt(3))
    assert grid.sensitivity * grid.step > 2.0
    assert math.sqrt(3 * grid.variance) >= 1.5 * grid.sensitivity
    made = fixed(BANDS)
    for one, other in _neighbours(torch.Generator().manual_seed(0)):
        gap = grid.round(contribution(other, made, 2.0)) - grid.round(contribution(one, made, 2.0))
        assert np.linalg.norm(gap) <= grid.sensitivity


@pytest.mark.parametrize("drop", [{}, {"B": "advertise"}, {"A": "masked", "D": "unmask"}])
@pytest.mark.parametrize("threshold", [1, 3])
def test_secure_or_in_clear_the_map_is_the_same_bit_for_bit(threshold, drop):
    terms = {"noise_multiplier": 2.0, "threshold": threshold, "drop": drop, "seed": 0}
    held = clinics(count=5)
    secure = private_statistics(held, fixed(BANDS), **terms)
    clear = private_statistics(held, fixed(BANDS), secure=False, **terms)
    assert secure.centre.tobytes() == clear.centre.tobytes()
    assert secure.width.tobytes() == clear.width.tobytes()
    assert secure.events == clear.events
    assert clear.how == secure.how + ", summed in clear"


def test_the_event_reaches_the_statement():
    made = private_statistics(clinics(), fixed(BANDS), noise_multiplier=4.0, seed=0)
    again = private_statistics(clinics(), made, noise_multiplier=4.0, seed=1)
    one, two = (privacy_statement(each.events).epsilon for each in (made, again))
    assert 0 < one < two
    assert "noise multiplier 4" in made.how
    assert "patients" in made.how


def test_with_little_noise_the_features_are_standardised():
    held = clinics(n=2_000)
    wide = fixed([(0.2, 0.5)] * 4)  # so that few values lie beyond the cut
    made = private_statistics(held, wide, noise_multiplier=1e-3, norm=100.0, seed=0)
    features = made.apply(held).pooled().train_x
    np.testing.assert_allclose(features.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(features.std(0), 1, atol=0.02)


def test_with_much_noise_the_prior_stays():
    prior = fixed(BANDS)
    made = private_statistics(clinics(n=20), prior, noise_multiplier=1e5, seed=0)
    np.testing.assert_allclose(made.centre, prior.centre, atol=0.01)
    np.testing.assert_allclose(made.width, prior.width, rtol=0.01)


def test_a_seed_repeats_the_noise_and_none_does_not():
    def centre(seed):
        return private_statistics(clinics(), fixed(BANDS), noise_multiplier=2.0, seed=seed).centre

    np.testing.assert_array_equal(centre(3), centre(3))
    assert not np.array_equal(centre(3), centre(4))
    assert not np.array_equal(centre(None), centre(None))


def test_only_train_records_are_used():
    held = clinics()
    first = private_statistics(held, fixed(BANDS), noise_multiplier=2.0, seed=0)
    for each in held:
        each.dataset.test_x.fill_(0.9)
    other = private_statistics(held, fixed(BANDS), noise_multiplier=2.0, seed=0)
    np.testing.assert_array_equal(first.centre, other.centre)


def test_hospitals_that_dropped_out_leave_a_usable_map():
    held, terms = clinics(count=5), {"noise_multiplier": 0.5, "threshold": 3, "seed": 0}
    made = private_statistics(held, fixed(BANDS), drop={"B": "share", "D": "masked"}, **terms)
    whole = private_statistics(held, fixed(BANDS), **terms)
    assert not np.array_equal(made.centre, whole.centre)
    np.testing.assert_allclose(made.centre, whole.centre, atol=0.02)


def test_two_hospitals_cannot_hide_from_each_other():
    with pytest.raises(SecAggError, match="no threshold protects 2 hospitals"):
        private_statistics(clinics(count=2), fixed(BANDS), noise_multiplier=2.0)
    assert private_statistics(clinics(count=2), fixed(BANDS), noise_multiplier=2.0, secure=False).events


def test_pooled_records_are_refused():
    pooled = load_hospitals("breast_cancer").pooled()
    for call in (
        lambda: private_statistics(pooled, noise_multiplier=1.0),
        lambda: fixed(BANDS).apply(pooled),
    ):
        with pytest.raises(TypeError, match="got a pooled Dataset"):
            call()
    with pytest.raises(TypeError, match="got a list; expected Hospitals"):
        private_statistics([1], noise_multiplier=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier is 0.0; expected a number above 0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier is nan"),
        ({"norm": -1.0}, "norm is -1.0"),
        ({"threshold": 0}, "threshold is 0; expected a whole number from 1 to 3"),
        ({"threshold": 4}, "threshold is 4"),
        ({"drop": {"E": "masked"}}, "drop is .* expected hospitals of"),
        ({"drop": {"A": "lunch"}}, "each with a stage of"),
        ({"drop": {"A": "masked"}}, "2 hospitals would be left; the threshold is 3"),
        ({"drop": {"A": "masked"}, "secure": False}, "2 hospitals would be left; the threshold is 3"),
        ({"drop": {"A": "masked"}, "threshold": 1}, "2 hospitals would be left; the threshold is 3"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        private_statistics(clinics(), fixed(BANDS), **({"noise_multiplier": 1.0, "seed": 0} | settings))


@pytest.mark.parametrize(
    ("ranges", "settings", "message"),
    [
        ("liver", {}, "no bands are stated for 'liver'"),
        ([(0.4, 0.2)], {}, "range 0 is .* expected low < high"),
        ([(0.0, math.inf)], {}, "finite"),
        ([0.1, 0.2], {}, "expected one"),
        (BANDS, {"norm": 0}, "norm is 0"),
        (BANDS, {"log_floor": 0}, "log_floor is 0"),
        ([(-0.5, 0.5)], {"log_floor": 0.1}, "begins at -0.5"),
    ],
)
def test_wrong_bands_are_refused(ranges, settings, message):
    with pytest.raises(ValueError, match=message):
        fixed(ranges, **settings)


def test_a_map_for_another_table_is_refused():
    with pytest.raises(ValueError, match="expected a table with at least 30 columns"):
        fixed("breast_cancer").apply(clinics())


def test_a_map_shows_and_saves_itself(tmp_path):
    made = private_statistics(load_hospitals("heart"), noise_multiplier=10.0, seed=0)
    assert len(made.table()) == 15
    assert made.numbers()["released"] == ["full batch, 1 step"]
    again = FeatureMap.load(made.save(tmp_path / "map.pt"))
    np.testing.assert_array_equal(again.centre, made.centre)
    assert again.events == made.events
