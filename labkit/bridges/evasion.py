"""Adversarial examples of our models by CleverHans: fast gradient, projected gradient, and SPSA, which needs no gradient.

CleverHans has **no membership attack**: for those see `labkit.bridges.peers`. In the course it makes false claims of
ownership (lab 09, `labkit.watermark.court`).
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

import numpy as np

from labkit import data, models, profiles, training
from labkit.bridges.agreement import Agreement, Line, largest, versions

if TYPE_CHECKING:
    from torch import Tensor, nn

ATTACKS = ("fgm", "pgd", "spsa")


def adversarial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: str = "fgm",
    *,
    radius: float,
    steps: int = 10,
    seed: int = 0,
) -> Tensor:
    """Return records within ``radius`` of ``x`` (largest change of an entry) that ``model`` should get wrong.

    Parameters
    ----------
    model : nn.Module
        Gives logits.
    x : Tensor of shape (n, ...)
        Entries in [0, 1]; what comes back is, too.
    y : Tensor of shape (n,)
        Their labels.
    attack : {"fgm", "pgd", "spsa"}
        Fast gradient (arXiv 1412.6572), projected gradient from the record itself (1706.06083), or simultaneous
        perturbation, which asks the model for answers only (1802.05666).
    steps : int
        Of "pgd" and "spsa".
    seed : int
        Of SPSA's perturbations.

    Returns
    -------
    Tensor
        Of the shape of ``x``.

    Raises
    ------
    ValueError
        If the attack is unknown, the radius not positive, or an entry of ``x`` outside [0, 1].
    """
    if attack not in ATTACKS:
        raise ValueError(f"attack {attack!r} is unknown; CleverHans is asked for {', '.join(ATTACKS)}")
    if not radius > 0 or steps < 1 or bool((x < 0).any()) or bool((x > 1).any()):
        raise ValueError(
            f"got radius={radius}, steps={steps}, entries from {float(x.min()):g} to {float(x.max()):g}; expected a positive "
            "radius, at least one step, and records scaled to [0, 1]"
        )
    inside = {"clip_min": 0.0, "clip_max": 1.0, "y": y, "sanity_checks": False}
    if attack == "fgm":
        from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

        return fast_gradient_method(model, x, radius, np.inf, **inside).detach()
    if attack == "pgd":
        from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

        step = min(radius, 2.5 * radius / steps)
        return projected_gradient_descent(
            model, x, radius, step, steps, np.inf, rand_init=False, **inside
        ).detach()
    from cleverhans.torch.attacks.spsa import spsa

    with models.seeded(seed):
        return spsa(
            model, x, radius, steps, np.inf, **inside, spsa_samples=32, learning_rate=radius / 4
        ).detach()


def by_hand(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Return the fast gradient step written out: x + radius sign(gradient), kept in [0, 1]."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    moved = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
    return (x + radius * slope.sign()).clamp(0, 1)


def membership_modules() -> list[str]:
    """Return the files of CleverHans whose names speak of membership: none, in every release so far."""
    files = importlib.metadata.files("cleverhans") or []
    return [str(file) for file in files if "member" in str(file).lower()]


def trained(records: int, seed: int = 0) -> tuple[nn.Module, data.Dataset]:
    """Return the small MNIST network after a short training, and its data."""
    from labkit.training import fit

    dataset = data.load("mnist").take(records, 500, seed=seed)
    epochs = profiles.current().pick(smoke=2, laptop=4, full=12)
    return fit(
        models.small_cnn(seed=seed), dataset, epochs=epochs, learning_rate=0.1, seed=seed
    ).model, dataset


def cleverhans(seed: int = 0) -> Agreement:
    """Attack the small MNIST network with CleverHans, and compare its fast gradient step with one written out."""
    records, n = profiles.current().pick(smoke=(1000, 50), laptop=(4000, 100), full=(60_000, 1000))
    model, dataset = trained(records, seed)
    x, y, radius = dataset.test_x[:n], dataset.test_y[:n], 0.1
    found = {name: adversarial(model, x, y, name, radius=radius, steps=10, seed=seed) for name in ATTACKS}
    clean = training.evaluate(model, x, y).accuracy
    right = {name: training.evaluate(model, moved, y).accuracy for name, moved in found.items()}
    lines = [
        largest(
            f"fast gradient step, radius {radius}, pixels", by_hand(model, x, y, radius), found["fgm"], 1e-6
        ),
        *(
            Line(
                f"largest change of a pixel, {name}",
                radius,
                float((moved - x).abs().max()),
                max(0.0, float((moved - x).abs().max()) - radius),
                1e-6,
                "excess over the radius",
            )
            for name, moved in found.items()
        ),
        *(
            Line(
                f"accuracy on {n} records: untouched, then under {name}",
                clean.estimate,
                share.estimate,
                clean.estimate - share.estimate,
                measure=f"shown, not judged: 95% interval {share.percent(1)}",
            )
            for name, share in right.items()
        ),
        Line(
            "files of CleverHans about membership",
            0,
            len(membership_modules()),
            len(membership_modules()),
            0,
            "count",
        ),
    ]
    return Agreement(
        tool="CleverHans",
        lines=tuple(lines),
        versions=versions(["cleverhans"]),
        command="labkit bridge cleverhans",
        source=dataset.source,
        profile=profiles.current().name,
        seeds=(seed,),
        notes=("CleverHans has no membership attack. Lab 09 uses its projected gradient for false claims.",),
        details={"clean": str(clean), **{name: str(share) for name, share in right.items()}},
    )
