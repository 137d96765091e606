"""Features: right shapes, no influence of other records, whitening against eigenvectors, cache and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from labkit import cache, data
from labkit.data import Dataset
from labkit.dp.utility import features as module
from labkit.dp.utility import scattering
from labkit.dp.utility.features import features, public_records, statement, whitening


@pytest.fixture(autouse=True)
def _small_and_fresh(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    # One folder for the whole file: the public part is learned once.
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "features-cache"))


def digits(n: int = 60, seed: int = 3) -> Dataset:
    x, y = data.strokes(n + 20, seed)
    return Dataset("digits", "drawn digits", False, x[:n], y[:n], x[n:], y[n:], tuple("0123456789"))


def test_scattering_has_81_maps_and_sees_no_sign_of_its_neighbours() -> None:
    x = torch.rand(3, 1, 28, 28)
    maps = scattering.scattering(x)
    assert maps.shape == (3, 1, 81, 7, 7)
    assert sum(scattering.ORDERS) == 81
    torch.testing.assert_close(scattering.scattering(x[1:2]), maps[1:2], rtol=1e-4, atol=1e-5)
    assert scattering.scattering_features(torch.rand(2, 3, 32, 32)).shape == (2, 15_552)


def test_scattering_of_a_constant_image_has_no_detail() -> None:
    maps = scattering.scattering(torch.full((1, 1, 28, 28), 0.5))[0, 0]
    torch.testing.assert_close(maps[0], torch.full((7, 7), 0.5), rtol=1e-3, atol=1e-3)
    assert maps[1:].abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(28, 28), (2, 1, 4, 4)])
def test_scattering_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected images"):
        scattering.scattering(torch.zeros(shape))


def test_standardise_gives_mean_0_and_deviation_1_and_survives_a_blank_image() -> None:
    x = torch.cat([torch.rand(2, 3, 4) * 9 + 2, torch.ones(1, 3, 4)])
    rows = scattering.standardise(x).flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std(1, correction=0), torch.tensor([1.0, 1, 0]), atol=1e-3, rtol=0)


def test_whitening_without_damping_gives_the_identity_covariance() -> None:
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 8) + 5
    mean, projection = whitening(x, 8, damping=0.0)
    white = (x - mean) @ projection
    torch.testing.assert_close(torch.cov(white.T), torch.eye(8), atol=1e-3, rtol=1e-3)


def test_whitening_keeps_the_main_directions_and_leaves_the_global_random_state_alone() -> None:
    x = torch.randn(500, 50, generator=torch.Generator().manual_seed(0)) * 0.9 ** torch.arange(50)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    _, projection = whitening(x, 4)
    assert torch.equal(torch.rand(1), expected)
    vectors = torch.linalg.eigh(torch.cov(x.T))[1].flip(1)[:, :4]
    cosine = (vectors * projection).sum(0).abs() / projection.norm(dim=0)
    assert cosine.min() > 0.99


@pytest.mark.parametrize("dimension", [0, 9, 40])
def test_whitening_refuses_more_directions_than_there_are(dimension: int) -> None:
    with pytest.raises(ValueError, match="dimension is"):
        whitening(torch.randn(30, 8), dimension)


def test_features_have_one_length_and_say_what_they_are() -> None:
    dataset = digits()
    made = features(dataset, "scattering+network")
    assert made.train_x.shape == (60, 704)
    assert made.test_x.shape == (20, 704)
    norms = made.train_x.norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, module.FEATURE_NORM))
    assert "synthetic strokes with their labels" in made.source
    assert "flatters" in made.source  # the private digits come from the same pen as the public ones
    assert "flatters" not in features(replace(dataset, real=True), "scattering").source
    assert torch.equal(made.train_y, dataset.train_y)
    assert statement(dataset, "scattering+network") == made.statement


def test_the_statement_says_what_was_learned_from_what_with_labels_or_without() -> None:
    taught, untaught = (str(statement(digits(), kind)) for kind in ("scattering+network", "scattering"))
    assert "with their labels" in taught
    assert "labels" not in untaught
    for said in (taught, untaught):
        assert "published for MNIST" in said
        assert "no private record read" in said
    assert statement(digits()).events == ()


def test_subsets_keep_the_statement_and_the_digest_holds_the_norm(monkeypatch) -> None:
    made = features(digits(), "scattering")
    split = made.holdout(10)
    assert split.statement == made.statement
    assert split.take(20).shape_before == (1, 28, 28)
    assert features(digits(), "scattering").digest == made.digest
    monkeypatch.setattr(module, "FEATURE_NORM", 2.0)
    assert features(digits(), "scattering").digest != made.digest


def test_public_records_replace_the_train_records_alone() -> None:
    made = features(digits(), "scattering")
    public = public_records(made)
    assert len(public.train_y) == 1000
    assert public.test_x is made.test_x
    assert public.digest != made.digest
    assert "no private record" in public.source
    assert not torch.equal(public_records(made, seed=1).train_y, public.train_y)


def test_public_records_are_refused_where_nothing_is_known() -> None:
    made = features(digits(), "scattering")
    bare = Dataset(
        "bare", "bare vectors", False, made.train_x, made.train_y, made.test_x, made.test_y, made.classes
    )
    with pytest.raises(ValueError, match="do not say what they were learned from"):
        public_records(bare)
    keep = made.train_y < 2
    two = replace(
        made, train_x=made.train_x[keep], train_y=made.train_y[keep], test_x=made.train_x[keep],
        test_y=made.train_y[keep], classes=("0", "1"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="has 2 classes"):
        public_records(two)


def test_a_record_s_features_do_not_depend_on_the_other_records() -> None:
    """Exchange every record but the first: what add/remove neighbours need of a fixed map."""
    one, other = digits(seed=3), digits(seed=4)
    mixed = replace(
        one,
        train_x=torch.cat([one.train_x[:1], other.train_x[1:40]]),
        train_y=torch.cat([one.train_y[:1], other.train_y[1:40]]),
        digest="",
    )
    kind = "scattering+network"
    first, again = features(one, kind).train_x[0], features(mixed, kind).train_x[0]
    torch.testing.assert_close(first, again, atol=2e-3, rtol=0)  # half precision in the cache


def pieces() -> dict[str, int]:
    """Return the pieces of features in the cache, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (cache.directory() / "features").glob("*.pt")}


def test_features_come_from_the_cache_the_second_time() -> None:
    dataset = digits(seed=5)
    once, kept = features(dataset, "scattering"), pieces()
    assert torch.equal(features(dataset, "scattering").train_x, once.train_x)
    assert pieces() == kept


def test_an_interrupted_call_keeps_the_pieces_it_had(monkeypatch) -> None:
    class Bar:
        """Ctrl-C when the third piece is done."""

        done = 0

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self) -> None:
            self.done += 1
            if self.done == 3:
                raise KeyboardInterrupt

    dataset, before = digits(seed=6), pieces()
    monkeypatch.setattr(module, "CHUNK", 15)
    with monkeypatch.context() as patch:
        patch.setattr(module.progress, "bar", lambda *_: Bar())
        with pytest.raises(KeyboardInterrupt):
            features(dataset, "scattering")
    kept = pieces()
    assert len(kept) == len(before) + 3
    made = features(dataset, "scattering")
    assert made.train_x.shape == (60, 384)
    assert {name: pieces()[name] for name in kept} == kept
    assert len(pieces()) == len(before) + 4 + 2  # 60 train records in pieces of 15, and 20 test records


def test_colour_images_get_features_from_synthetic_objects() -> None:
    x, y = data.objects(30, 3)
    classes = tuple(str(label) for label in range(10))
    made = features(
        Dataset("objects", "objects", True, x[:20], y[:20], x[20:], y[20:], classes), "scattering"
    )
    assert made.train_x.shape == (20, 384)
    assert "synthetic objects and two public photographs" in made.source


def test_patches_of_colour_images_see_no_difference_to_the_mirror() -> None:
    x, y = data.objects(24, 3)
    classes = tuple(str(label) for label in range(10))
    both = Dataset("objects", "objects", True, x[:12], y[:12], x[:12].flip(-1), y[:12], classes)
    made = features(both, "patches")
    torch.testing.assert_close(made.train_x, made.test_x, atol=2e-3, rtol=0)


def test_what_drawn_objects_taught_weighs_half_of_what_photographs_taught() -> None:
    x, y = data.objects(24, 3)
    classes = tuple(str(label) for label in range(10))
    made = features(Dataset("objects", "objects", True, x[:12], y[:12], x[12:], y[12:], classes))
    assert made.statement.kind == "patches+network"
    assert "labels" in made.source
    parts = made.train_x.split([384, 192, 128], dim=1)
    lengths = [float(part.square().sum(1).mean().sqrt()) for part in parts]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.01)
    assert lengths[2] == pytest.approx(lengths[0] / 2, rel=0.01)


def test_unknown_kinds_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="are unknown; expected one of pixels"):
        features(digits(), "sift")
    odd = Dataset(
        "odd", "odd", False, torch.rand(2, 1, 9, 9), torch.tensor([0, 1]), torch.rand(1, 1, 9, 9), torch.tensor([0]), ("a", "b")
    )  # fmt: skip
    with pytest.raises(ValueError, match="resize yours"):
        features(odd)


def test_features_tell_digits_apart_better_than_pixels_do() -> None:
    """Nearest class mean among few records: the easiest reader there is. Seeds are fixed, so no chance is left."""
    dataset = digits(400, seed=8)
    accuracy = {}
    for kind in ("pixels", "scattering"):
        made = features(dataset, kind)
        means = torch.stack([made.train_x[made.train_y == c].mean(0) for c in range(10)])
        held = features(digits(150, seed=9), kind)
        guesses = torch.cdist(held.train_x, means).argmin(1)
        accuracy[kind] = float((guesses == held.train_y).float().mean())
    assert accuracy["scattering"] > accuracy["pixels"]
