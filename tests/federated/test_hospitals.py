"""Hospitals: every record has one hospital, a seed decides which, and the way of the split shows in who holds what."""

import numpy as np
import pytest
import torch

from labkit import data
from labkit.data.formats import breast_cancer
from labkit.federated import Hospital, Hospitals, load_hospitals, sites, split


def rows(x):
    """Return the records as a sorted list of tuples: the same for the same records in any order."""
    return sorted(map(tuple, x.flatten(1).tolist()))


def images(n_train=60, n_test=30, channels=3):
    """Return a small set of random images in three classes."""
    random = torch.Generator().manual_seed(0)
    x = torch.rand(n_train + n_test, channels, 8, 8, generator=random)
    y = torch.arange(n_train + n_test) % 3
    return data.Dataset(
        "slides", "slides", False, x[:n_train], y[:n_train], x[n_train:], y[n_train:], ("a", "b", "c")
    )


@pytest.mark.parametrize("by", ["label", "size"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_record_has_exactly_one_hospital(by, seed):
    whole = breast_cancer.breast_cancer(seed=seed)
    pooled = load_hospitals("breast_cancer", by=by, seed=seed).pooled()
    for part in ("train", "test"):
        assert rows(getattr(pooled, f"{part}_x")) == rows(getattr(whole, f"{part}_x"))
        assert (
            getattr(pooled, f"{part}_y").bincount().tolist()
            == getattr(whole, f"{part}_y").bincount().tolist()
        )


@pytest.mark.parametrize("by", ["label", "size", "site"])
def test_a_seed_decides_everything(by):
    first, again, other = (load_hospitals("breast_cancer", by=by, seed=seed) for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest
    assert first.numbers() == again.numbers()


@pytest.mark.parametrize("by", ["label", "size"])
def test_no_hospital_is_left_without_records(by):
    for seed in range(20):
        held = load_hospitals("breast_cancer", count=8, by=by, alpha=0.3, seed=seed)
        assert held.counts("train").sum(1).min() >= 8
        assert held.counts("test").sum(1).min() >= 2


def test_a_draw_that_was_not_the_first_says_so():
    sources = [load_hospitals("breast_cancer", alpha=0.1, seed=seed).source for seed in range(10)]
    assert any("draw" in source for source in sources)


def test_by_label_classes_differ_and_by_size_they_do_not():
    def spread(by):
        held = [load_hospitals("breast_cancer", by=by, seed=seed).counts() for seed in range(10)]
        return np.mean([np.std(counts[:, 0] / counts.sum(1)) for counts in held])

    assert spread("label") > 5 * spread("size")
    sizes = load_hospitals("breast_cancer", by="size", seed=0).counts().sum(1)
    assert sizes.max() > 2 * sizes.min()


def test_a_hospital_is_tested_on_patients_like_its_own():
    held = split(images(3_000, 1_500), by="label", alpha=0.5, seed=0)
    train, test = (held.counts(part) for part in ("train", "test"))
    np.testing.assert_allclose(train / train.sum(), test / test.sum(), atol=0.002)


def test_a_site_measures_all_its_records_alike_and_within_the_range():
    whole = breast_cancer.breast_cancer(seed=0)
    held = load_hospitals("breast_cancer", by="site", seed=0)
    sizes = held.counts().sum(1)
    assert sizes.max() - sizes.min() <= 2
    assert rows(held.pooled().train_x) != rows(whole.train_x)
    for hospital in held:
        for x in (hospital.dataset.train_x, hospital.dataset.test_x):
            assert float(x.min()) >= 0
            assert float(x.max()) <= 1
    shift = sites.draw(whole, 5, np.random.default_rng(0))
    gains, offsets = (np.stack([getattr(each, part) for each in shift]) for part in ("gain", "offset"))
    # 150 draws each: their spread lies within 25% of the stated one but for 1 in 1e5 seeds; this seed is fixed.
    assert np.log(gains).std() == pytest.approx(sites.GAIN, rel=0.25)
    assert offsets.std() == pytest.approx(sites.OFFSET, rel=0.25)
    inside = 0.5 * torch.ones(2, 30)
    expected = (0.5 * gains[0] + offsets[0]).astype("float32")
    np.testing.assert_allclose(shift[0].apply(inside)[1], expected, rtol=1e-6)


def test_no_device_shifts_a_category():
    whole = breast_cancer.breast_cancer(seed=0)
    x = whole.train_x.clone()
    x[:, 4] = (x[:, 4] > x[:, 4].median()).float()
    flagged = data.Dataset("f", "f", True, x, whole.train_y, x[:50], whole.train_y[:50], whole.classes)
    for hospital in split(flagged, by="site"):
        assert set(hospital.dataset.train_x[:, 4].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("channels", [1, 3])
def test_stain_and_scanner_change_images_within_the_range(channels):
    held = split(images(channels=channels), count=3, by="site", seed=0)
    assert held.hospitals[0].dataset.shape == (channels, 8, 8)
    x = images().train_x[:4]
    same = sites.ScannerShift(np.eye(3), 1.0, 0.0).apply(x)
    torch.testing.assert_close(same, x.clamp(min=1 / 255))
    blurred = sites.ScannerShift(np.eye(3), 1.0, 0.8).apply(x)
    assert float(blurred.std()) < 0.8 * float(x.std())
    darker = sites.ScannerShift(np.eye(3), 0.5, 0.0).apply(x)
    torch.testing.assert_close(darker, 0.5 * x.clamp(min=1 / 255))


def test_values_without_a_public_range_cannot_shift_site():
    whole = images()
    wide = data.Dataset(
        "w", "w", False, 3 * whole.train_x, whole.train_y, whole.test_x, whole.test_y, whole.classes
    )
    with pytest.raises(ValueError, match=r"run from .* expects public ranges"):
        split(wide, by="site")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 1}, "count is 1; expected a whole number from 2 to 26"),
        ({"count": 2.0}, "count is 2.0"),
        ({"count": True}, "count is True"),
        ({"by": "age"}, "by is 'age'; expected one of 'label', 'size', 'site'"),
        ({"alpha": 0}, "alpha is 0; expected a number above 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"alpha": "wide"}, "alpha is 'wide'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_wrong_settings_are_refused_before_data_is_read(settings, message, monkeypatch):
    monkeypatch.setattr(breast_cancer, "breast_cancer", lambda **_: pytest.fail("read the data first"))
    with pytest.raises(ValueError, match=message):
        load_hospitals("breast_cancer", **settings)


def test_too_many_hospitals_for_the_records_are_refused_with_the_fix():
    with pytest.raises(ValueError, match="raise alpha, lower count, or take more records"):
        split(images(60, 30), count=20, alpha=0.1)


def test_unknown_data_is_named():
    with pytest.raises(data.DataError, match="no data set is called 'liver'"):
        load_hospitals("liver")


def test_a_federation_needs_two_hospitals_of_one_kind():
    held = split(images(), count=2, by="size")
    table = load_hospitals("breast_cancer").hospitals[0]
    for wrong, message in (
        (held.hospitals[:1], "at least 2"),
        ((held.hospitals[0], Hospital("Hospital A", held.hospitals[1].dataset)), "a name of its own"),
        ((held.hospitals[0], Hospital("Other", table.dataset)), "different kinds"),
    ):
        with pytest.raises(ValueError, match=message):
            Hospitals(wrong, "s")


def test_it_says_who_holds_what(tmp_path):
    held = load_hospitals("breast_cancer", seed=0)
    table, numbers = held.table(), held.numbers()
    assert list(table.index) == list(held.names) == list(numbers["hospitals"])
    assert table["train"].sum() == 455
    assert table["test"].sum() == 114
    shares = table[[column for column in table.columns if "share" in column]]
    np.testing.assert_allclose(shares.sum(1), 1, atol=0.002)
    assert "Wisconsin" in str(held)
    assert "Dirichlet(0.5), seed 0" in held.source
    fig = held.plot()
    assert "Hospital A" in fig.alt_text
    assert len(fig.axes[0].patches) == 10
    assert Hospitals.load(held.save(tmp_path / "held.pt")).digest == held.digest


def test_a_changed_label_changes_the_digest():
    whole, changed = images(), images()
    changed.train_y[0] = 2
    assert split(whole, count=2).digest != split(changed, count=2).digest
