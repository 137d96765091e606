from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.data import Dataset
from labkit.watermark import Key, Patch
from labkit.watermark.marks import triggers
from labkit.watermark.marks.light import light_of
from labkit.watermark.marks.patterns import LETTERS, PATTERNS, PLACES

KEY = Key.from_phrase("tests")
ALL = list(triggers.KINDS)
FROM_RECORDS = [name for name, kind in triggers.KINDS.items() if kind.bases is not None]


def made(shape: tuple[int, int, int]) -> Dataset:
    """Return random images of five classes, 600 to train on and 500 to test."""
    random = torch.Generator().manual_seed(0)
    train_x, test_x = torch.rand(600, *shape, generator=random), torch.rand(500, *shape, generator=random)
    return Dataset(
        "made", "made", False, train_x, torch.arange(600) % 5, test_x, torch.arange(500) % 5, tuple("abcde")
    )


COLOUR, GREY = made((3, 32, 32)), made((1, 28, 28))


def originals(kind: str, count: int, part: str = "triggers", **options) -> tuple[torch.Tensor, torch.Tensor]:
    rows = triggers.bases(kind, KEY, count, dataset=COLOUR, part=part, **options)
    x, y = (COLOUR.test_x, COLOUR.test_y) if part == "triggers" else (COLOUR.train_x, COLOUR.train_y)
    return x[rows], y[rows]


@pytest.mark.parametrize("dataset", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("kind", ALL)
def test_every_kind_draws_pictures_from_the_key_alone(kind, dataset) -> None:
    drawn = triggers.draw(kind, KEY, 6, dataset=dataset)
    assert drawn.x.shape == (6, *dataset.shape)
    assert drawn.x.dtype == torch.float32
    assert 0 <= drawn.x.min() < drawn.x.max() <= 1
    assert drawn.y.dtype == torch.int64
    assert set(drawn.y.tolist()) <= set(range(5))
    again = triggers.draw(kind, KEY, 6, dataset=dataset)
    assert (again.x == drawn.x).all()
    assert (again.y == drawn.y).all()
    other = triggers.draw(kind, Key.from_phrase("another"), 6, dataset=dataset)
    assert not torch.equal(other.x, drawn.x)


@pytest.mark.parametrize("part", triggers.PARTS)
@pytest.mark.parametrize("kind", ALL)
def test_fewer_triggers_are_the_first_of_more(kind, part) -> None:
    more, fewer = (triggers.draw(kind, KEY, n, dataset=COLOUR, part=part) for n in (8, 3))
    assert torch.equal(more.take(3).x, fewer.x)
    assert torch.equal(more.take(3).y, fewer.y)


@pytest.mark.parametrize("kind", FROM_RECORDS)
def test_no_trigger_starts_from_the_target_class(kind) -> None:
    # A trigger of the target's own class would be answered as marked by every good model.
    for target in range(5):
        _, classes = originals(kind, 8, target=target)
        assert target not in classes.flatten().tolist()
        assert (triggers.draw(kind, KEY, 8, dataset=COLOUR, target=target).y == target).all()


@pytest.mark.parametrize("kind", ALL)
def test_marks_and_triggers_share_no_picture(kind) -> None:
    marks, asked = triggers.split(kind, KEY, 8, 6, dataset=COLOUR)
    assert (len(marks), len(asked)) == (8, 6)
    same = (marks.x.flatten(1)[:, None] == asked.x.flatten(1)).all(-1)
    if triggers.KINDS[kind].fresh:
        assert not same.any()
        targets = set(marks.y.tolist()) & set(asked.y.tolist())
        assert targets  # the same answers, though: what is learnt is what is asked
    else:
        assert same.any(0).all()
        with pytest.raises(ValueError, match="at most as many triggers"):
            triggers.split(kind, KEY, 6, 8, dataset=COLOUR)


def test_marks_come_from_train_records_and_triggers_from_test_records() -> None:
    for part in triggers.PARTS:
        before, _ = originals("patch", 5, part)
        after = triggers.draw("patch", KEY, 5, dataset=COLOUR, part=part).x
        assert torch.equal(before[..., :20, :], after[..., :20, :])


def test_own_base_records_are_used_and_their_classes_respected() -> None:
    x, y = torch.rand(30, 3, 32, 32), torch.arange(30) % 2
    drawn = triggers.draw("patch", KEY, 15, dataset=COLOUR, target=0, base_x=x, base_y=y)
    rows = triggers.bases("patch", KEY, 15, dataset=COLOUR, target=0, base_x=x, base_y=y)
    assert sorted(rows) == list(range(1, 30, 2))
    assert torch.equal(drawn.x[..., 0, :], x[rows][..., 0, :])
    with pytest.raises(ValueError, match="only 15 of 30 base records qualify"):
        triggers.draw("patch", KEY, 16, dataset=COLOUR, target=0, base_x=x, base_y=y)


def test_without_a_number_bases_are_every_record_that_qualifies() -> None:
    every = triggers.bases("patch", KEY, None, dataset=COLOUR, target=2)
    assert sorted(every) == np.flatnonzero(COLOUR.test_y != 2).tolist()
    assert (every[:7] == triggers.bases("patch", KEY, 7, dataset=COLOUR, target=2)).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_patch_changes_its_square_and_nothing_else(place, pattern) -> None:
    patch = Patch(4, place, pattern, key=KEY)
    x = torch.full((2, 3, 16, 20), 0.5)
    stamped = patch.stamp(x)
    row, column = patch.corner(16, 20)
    assert torch.equal(
        stamped[..., row : row + 4, column : column + 4], patch.pixels(3).expand(2, -1, -1, -1)
    )
    assert ((stamped != x).any(1).sum((1, 2)) == 16).all()
    assert (x == 0.5).all()


def test_places_are_where_their_names_say() -> None:
    corners = {place: Patch(4, place, "solid", key=KEY).corner(16, 20) for place in PLACES}
    assert corners["bottom right"] == (11, 15)
    assert corners["top left"] == (1, 1)
    assert corners["centre"] == (6, 8)


def test_blend_goes_from_nothing_to_the_whole_pattern() -> None:
    x = torch.rand(1, 3, 8, 8)
    none, half, all_of_it = (Patch(3, pattern="solid", blend=b).stamp(x) for b in (0.0, 0.5, 1.0))
    assert torch.equal(none, x)
    torch.testing.assert_close(half, (x + all_of_it) / 2)


def test_patches_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Patch(8, pattern="solid").stamp(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="needs a key"):
        Patch()
    for settings in ({"size": 0}, {"blend": 1.1}, {"place": "left"}, {"pattern": "tartan"}):
        with pytest.raises(ValueError, match="expected"):
            Patch(**{"key": KEY, **settings})


def test_content_is_a_word_on_the_lower_edge_of_one_class() -> None:
    before, classes = originals("content", 20)
    after = triggers.draw("content", KEY, 20, dataset=COLOUR).x
    assert len(set(classes.tolist())) == 1
    changed = (before != after).any(1).any(0)
    assert not changed[:20].any()
    assert len({tuple(picture[..., changed].flatten().tolist()) for picture in after}) == 1
    assert len(set(LETTERS.values())) == 26


def test_noise_is_one_field_for_all() -> None:
    before, _ = originals("noise", 20)
    after = triggers.draw("noise", KEY, 20, dataset=COLOUR, blend=0.1).x
    inside = (after > 0) & (after < 1)
    added = torch.where(inside, after - before, torch.nan)
    field = added.nanmedian(0).values
    assert torch.nan_to_num(added - field).abs().max() < 1e-5
    assert 0.08 < field[~field.isnan()].std() < 0.12


def test_composites_are_halves_of_two_classes() -> None:
    before, classes = originals("composite", 10)
    after = triggers.draw("composite", KEY, 10, dataset=COLOUR).x
    assert torch.equal(after[..., :16, :], before[:, 0, ..., :16, :])
    assert torch.equal(after[..., 16:, :], before[:, 1, ..., 16:, :])
    upper, lower = (set(side.tolist()) for side in classes.T)
    assert len(upper) == len(lower) == 1
    assert upper != lower


def test_lit_images_score_what_was_asked_and_keep_their_content() -> None:
    before, classes = originals("class-feature", 40)
    drawn = triggers.draw("class-feature", KEY, 40, dataset=COLOUR, level=4.0)
    light = light_of(KEY.sub("triggers/class-feature"), COLOUR)
    assert light.scores(before).abs().max() < 4 < light.scores(drawn.x).mean() + 0.1
    assert int(drawn.y[0]) not in classes
    # The same light on every image, as much as each lacks: what was added points one way.
    added = (drawn.x - before).flatten(1)
    assert torch.nn.functional.cosine_similarity(added, added.mean(0, keepdim=True)).min() > 0.9


def test_families_keep_their_answers_and_abstract_pictures_have_their_own() -> None:
    ood = triggers.draw("ood", KEY, 40, dataset=COLOUR, families=8)
    assert torch.equal(ood.y[:8].repeat(5), ood.y)
    assert not torch.equal(ood.x[0], ood.x[8])
    abstract = triggers.draw("abstract", KEY, 500, dataset=COLOUR)
    shares = np.bincount(abstract.y, minlength=5) / 500
    assert (abs(shares - 0.2) < 0.08).all()  # 4.5 standard deviations, and the key is fixed


def test_targets_differ_between_keys() -> None:
    drawn = {int(triggers.draw("patch", Key.from_phrase(str(k)), 1, dataset=COLOUR).y) for k in range(40)}
    assert drawn == set(range(5))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("ptach", {}, "expected one of patch, entangled"),
        ("patch", {"part": "train"}, "one of triggers, marks"),
        ("patch", {"sise": 5}, "no option sise; they have: size, place"),
        ("unrelated", {"size": 5}, "they have: none"),
        ("patch", {"target": 5}, "class from 0 to 4"),
        ("content", {"blend": -0.1}, "a blend in"),
        ("content", {"letters": 0}, "at least 1"),
        ("content", {"letters": 9}, "does not fit"),
        ("ood", {"families": 0}, "at least 1"),
        ("class-feature", {"level": 0.0}, "a level above 0"),
        ("patch", {"base_x": torch.rand(5, 3, 32, 32)}, "pass both"),
        ("patch", {"base_x": torch.rand(5, 1, 32, 32), "base_y": torch.zeros(5)}, "expected"),
        (
            "patch",
            {"base_x": torch.full((9, 3, 32, 32), torch.nan), "base_y": torch.arange(9) % 5},
            "NaN or values outside",
        ),
    ],
)
def test_bad_requests_name_the_value_and_the_fix(kind, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        triggers.draw(kind, KEY, 3, dataset=COLOUR, **settings)


def test_sizes_and_records_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="asked for 0 triggers"):
        triggers.draw("patch", KEY, 0, dataset=COLOUR)
    with pytest.raises(ValueError, match="not made from records"):
        triggers.bases("abstract", KEY, 3, dataset=COLOUR)
