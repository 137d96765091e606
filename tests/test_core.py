"""Profiles, progress, plots and models: the small modules everything else stands on."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch

import labkit
from labkit import models, plots, profiles, progress


def test_every_package_loads_from_the_top() -> None:
    folders = {path.parent.name for path in Path(labkit.__file__).parent.glob("*/__init__.py")}
    assert folders <= set(dir(labkit))
    assert labkit.watermark.__name__ == "labkit.watermark"


def test_profiles_pick_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_PROFILE", raising=False)
    assert profiles.current().pick(smoke=1, laptop=2, full=3) == 2
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    assert profiles.current().pick(smoke=1, laptop=2, full=3) == 1
    monkeypatch.setenv("LABKIT_PROFILE", "huge")
    with pytest.raises(ValueError, match="'huge' is unknown; expected one of smoke, laptop, full"):
        profiles.current()


def test_progress_yields_everything_and_can_be_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    assert list(progress.track(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("LABKIT_PROGRESS", "1")
    list(progress.track(iter("ab"), "letters", total=2))
    assert "letters" in capsys.readouterr().err
    kernel_stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr("sys.stdout", kernel_stream)
    list(progress.track(range(2), "in a notebook"))
    assert "in a notebook" in kernel_stream.getvalue()


def test_a_figure_is_shown_with_its_alt_text_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **kw: shown.append((data, kw)))
    fig, ax = plots.figure()
    ax.plot([1, 2])
    with pytest.raises(ValueError, match="no alt text"):
        plots.show(fig)
    with pytest.raises(ValueError, match="too short"):
        plots.describe(fig, "a plot")
    plots.show(plots.describe(fig, 'A line that rises from "one" to two.'))
    ((data, options),) = shown
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert options["metadata"]["image/png"]["alt"].startswith("A line")
    assert 'alt="A line that rises from &quot;one&quot; to two."' in data["text/html"]


def test_the_colour_cycle_changes_line_style_too() -> None:
    _, ax = plots.figure()
    lines = [ax.plot([0, 1])[0] for _ in range(5)]
    assert len({line.get_linestyle() for line in lines}) >= 4


def test_contact_sheet_takes_grey_and_colour() -> None:
    for channels in (1, 3):
        fig = plots.images(
            np.zeros((12, channels, 8, 8)), ["t"] * 12, columns=5, alt="Twelve black squares in a grid."
        )
        assert len(fig.axes) == 15


def test_models_have_the_documented_shapes_and_no_batch_statistics() -> None:
    assert models.parameter_count(models.small_cnn()) == 26_010
    for model, shape in [
        (models.small_cnn(seed=0), (3, 1, 28, 28)),
        (models.small_cnn("relu", seed=0), (3, 1, 28, 28)),
        (models.cifar_cnn(8, seed=0), (3, 3, 32, 32)),
        (models.logistic_regression(12), (3, 12)),
    ]:
        x = torch.rand(shape)
        torch.testing.assert_close(
            model(x)[:1], model(x[:1])
        )  # one record's output owes nothing to the others


def test_a_seeded_model_repeats_and_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = models.small_cnn(seed=3), models.small_cnn(seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.small_cnn("sigmoid"), "'sigmoid' is unknown; expected one of tanh, relu"),
        (lambda: models.cifar_cnn(20), "width is 20"),
        (lambda: models.logistic_regression(0), "got 0 inputs"),
    ],
)
def test_bad_model_settings_are_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
