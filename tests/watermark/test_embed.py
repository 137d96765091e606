"""One interface to all schemes: each marks, from scratch and by fine-tuning, and reports what it did."""

from __future__ import annotations

import copy

import pytest
import torch

from labkit.training.recipe import Recipe
from labkit.watermark import Key, MarkedModel
from labkit.watermark.marks import embed, training
from labkit.watermark.marks.embed import SCHEMES

OPTIONS = {
    "content": {"letters": 3, "marks": 50},
    "abstract": {"marks": 20, "count": 20},
    "entangled": {"batch": 8, "every": 2, "marks": 40},
    "margin": {"marks": 8, "radius": 0.02, "ascent": 1, "batch": 8},
    "bits": {"bits": 32, "weight": 1.0},
    "answers": {"share": 0.1},
    "class-feature": {"marks": 100},
    "ood": {"families": 4},
}
SURE = (
    "patch",
    "content",
    "unrelated",
    "ood",
    "entangled",
    "composite",
    "class-feature",
    "margin",
    "bits",
    "answers",
)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_each_scheme_marks_through_the_one_interface(bars, small, short, key, scheme):
    model = small()
    before = copy.deepcopy(model.state_dict())
    done = embed.embed(scheme, model, bars, key, recipe=short, seed=2, **OPTIONS.get(scheme, {}))
    assert isinstance(done, MarkedModel)
    assert (done.scheme, done.key, done.seed, done.profile) == (scheme, key, 2, "smoke")
    assert done.source == "bars (made in the test)"
    assert done.accuracy.estimate > 0.7
    assert (done.triggers is None) == (SCHEMES[scheme].access == "white box")
    assert done.strength.estimate > (0.7 if scheme in SURE else 0.0)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_trained_model_is_marked_by_fine_tuning(bars, small, short, key):
    trained, _ = training.train(small(), bars.train_x, bars.train_y, short)
    gentle = Recipe(epochs=3, learning_rate=0.02, batch_size=20)
    done = embed.embed("patch", trained, bars, key, recipe=gentle)
    assert training.strength(trained, done.triggers).estimate < 0.5 < 0.8 < done.strength.estimate
    assert done.accuracy.estimate > 0.9


def test_triggers_were_not_trained_on_and_follow_from_the_key(bars, small, short, key):
    done = embed.embed("patch", small(), bars, key, recipe=short, seed=2)
    again = embed.embed("patch", small(), bars, key, recipe=short, seed=3)
    other = embed.embed("patch", small(), bars, Key.from_phrase("other"), recipe=short, seed=2)
    assert torch.equal(done.triggers.x, again.triggers.x)
    assert done.triggers.x.shape != other.triggers.x.shape or not torch.equal(
        done.triggers.x, other.triggers.x
    )
    rest = done.triggers.x.clone()
    rest[..., 8:, 8:] = 0  # the patch lies in this quarter
    tests = bars.test_x.clone()
    tests[..., 8:, 8:] = 0
    assert all((tests == image).flatten(1).all(1).any() for image in rest)


def test_unknown_schemes_options_and_records_are_refused(bars, small, short, key):
    with pytest.raises(ValueError, match="scheme 'ink' is unknown; expected one of patch"):
        embed.embed("ink", small(), bars, key, recipe=short)
    with pytest.raises(ValueError, match="no option colour"):
        embed.embed("patch", small(), bars, key, recipe=short, colour="red")
    with pytest.raises(TypeError, match=r"expected a torch module \(call it first: Linear"):
        embed.embed("bits", torch.nn.Linear, bars, key, recipe=short)
    with pytest.raises(TypeError, match="colour"):
        embed.embed("bits", small(), bars, key, recipe=short, colour="red")
    flat = type(bars)(
        "rows",
        "rows",
        False,
        bars.train_x.flatten(1),
        bars.train_y,
        bars.test_x.flatten(1),
        bars.test_y,
        bars.classes,
    )
    with pytest.raises(ValueError, match="marks need images"):
        embed.embed("patch", small(), flat, key, recipe=short)
