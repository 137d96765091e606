"""The trigger designer: what a mark of each kind looks like, and how size, place, pattern and blend change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.patterns import PATTERNS, PLACES
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.data import Dataset

COUNT = 8


def trigger_pictures(
    dataset: Dataset, key: Key, kind: str = "patch", *, count: int = COUNT, **options: Any
) -> Figure:
    """Draw triggers of one kind below the images that they were made from, each with its class.

    Parameters
    ----------
    dataset : Dataset
        Of images; the base images are test records.
    key : Key
    kind : str
        A key of `labkit.watermark.marks.triggers.KINDS`.
    count : int
    **options
        As in `labkit.watermark.marks.triggers.draw`, such as ``size``, ``place``, ``pattern``, ``blend``, ``target``.

    Raises
    ------
    ValueError
        As `labkit.watermark.marks.triggers.draw`.
    """
    drawn = triggers.draw(kind, key, count, dataset=dataset, **options)
    pictures = drawn.x.numpy()
    titles = [f"→ {dataset.classes[int(answer)]}" for answer in drawn.y]
    said = ", ".join(f"{name} {value}" for name, value in options.items())
    alt = f"{count} {kind} triggers{' with ' + said if said else ''}, {dataset.source}; answers of the mark: {_counted(titles)}."
    if triggers.KINDS[kind].bases is not None:
        rows = triggers.bases(kind, key, count, dataset=dataset, **options).reshape(count, -1).T
        before = np.concatenate([dataset.test_x[part].numpy() for part in rows])
        names = [dataset.classes[int(dataset.test_y[row])] for row in rows.ravel()]
        pictures, titles = np.concatenate([before, pictures]), names + titles
        alt = f"{alt} Above, the images they were made from."
    return plots.images(pictures, titles, columns=count, alt=alt)


def _counted(titles: list[str]) -> str:
    names, times = np.unique([title.removeprefix("→ ") for title in titles], return_counts=True)
    return ", ".join(f"{name} ({n})" for name, n in zip(names, times, strict=True))


def trigger_designer(dataset: Dataset, key: Key) -> ipywidgets.Widget:
    """Return menus and sliders for a trigger's kind, answer, size, place, pattern and blend.

    Those that a kind has no use for are greyed out.
    """
    import ipywidgets

    look = {"style": {"description_width": "8em"}, "layout": {"width": "30em"}}
    patch = triggers.KINDS["patch"].options
    answers = [("drawn from the key", None), *((name, k) for k, name in enumerate(dataset.classes))]
    controls = {
        "kind": ipywidgets.Dropdown(options=list(triggers.KINDS), description="kind", **look),
        "target": ipywidgets.Dropdown(options=answers, index=0, description="answer", **look),
        "size": ipywidgets.IntSlider(
            value=patch["size"], min=1, max=12, description="size (pixels)", continuous_update=False, **look
        ),
        "place": ipywidgets.Dropdown(options=PLACES, description="place", **look),
        "pattern": ipywidgets.Dropdown(options=PATTERNS, description="pattern", **look),
        "blend": ipywidgets.FloatSlider(
            value=1.0, min=0, max=1, step=0.05, description="blend", continuous_update=False, **look
        ),
    }

    def reset(change: dict[str, Any]) -> None:  # what is little for a patch is far too much for noise
        known = triggers.KINDS[change["new"]].options
        controls["blend"].value = known.get("blend", controls["blend"].value)

    def redraw(kind: str, target: int | None, **settings: Any) -> None:
        known = triggers.KINDS[kind].options
        for name in settings:
            controls[name].disabled = name not in known
        options = {name: value for name, value in settings.items() if name in known}
        plots.show(trigger_pictures(dataset, key, kind, target=target, **options))

    controls["kind"].observe(reset, names="value")
    return ipywidgets.VBox([*controls.values(), live.follow(redraw, controls)])
