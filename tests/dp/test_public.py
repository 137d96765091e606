"""Public images: what they are, that they repeat, and what is said about them."""

from __future__ import annotations

import pytest
import torch

from labkit.dp.utility.public import photograph_crops, public_images


def test_crops_of_photographs_repeat_and_differ_with_the_seed() -> None:
    crops = photograph_crops(24, 1)
    assert crops.shape == (24, 3, 32, 32)
    assert 0 <= float(crops.min()) < 0.2
    assert 0.8 < float(crops.max()) <= 1
    assert torch.equal(photograph_crops(24, 1), crops)
    assert not torch.equal(photograph_crops(24, 2), crops)


def test_half_of_the_public_colour_images_are_photographs() -> None:
    public = public_images((3, 32, 32))
    images = public.unlabelled(20, 5)
    assert images.shape == (20, 3, 32, 32)
    crops = photograph_crops(10, 5)
    same = (images[:, None] == crops[None]).flatten(2).all(2)
    assert int(same.any(0).sum()) == 10


@pytest.mark.parametrize(("shape", "kind"), [((1, 28, 28), "strokes"), ((3, 32, 32), "objects")])
def test_words_tell_whether_labels_were_used(shape: tuple[int, ...], kind: str) -> None:
    public = public_images(shape)
    assert "labels" in public.words(with_labels=True)
    assert "labels" not in public.words(with_labels=False)
    assert kind in public.words(with_labels=False)
    assert "published" in public.caveat


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="resize yours"):
        public_images((1, 9, 9))
