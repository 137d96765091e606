"""Attacks on updates from pictures: reconstruction by optimisation, measured in PSNR."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from labkit.federated.inversion.observation import Observation, observe
from labkit.federated.inversion.optimise import Reconstruction, dlg, invert, matched_psnr
from labkit.federated.inversion.result import PSNR, Leakage
from labkit.stats import mean_interval

Attack = Callable[..., Reconstruction]


def sigmoid_cnn(seed: int, width: int = 16) -> nn.Module:
    """Return two strided convolutions with sigmoids for 16x16 pictures in 10 classes, weights uniform in [-.5, .5].

    The network and the initial weights of arXiv 1906.08935 (section 4), narrower: DLG needs second derivatives.
    """
    model = nn.Sequential(
        nn.Conv2d(1, width, 5, stride=2, padding=2),
        nn.Sigmoid(),
        nn.Conv2d(width, width, 5, stride=2, padding=2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(16 * width, 10),
    ).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator)
    return model


def picture_line(
    x: Tensor,
    y: Tensor,
    *,
    name: str,
    attack: Attack,
    steps: int,
    records: int,
    hospitals: int = 1,
    relative_noise: float = 0.0,
    noise_multiplier: float = 0.0,
    rounds: int = 1,
    privacy: str = "no guarantee",
    facts: dict,
) -> Leakage:
    """Attack one batch a seed and return the mean PSNR.

    Parameters
    ----------
    x, y : Tensor, shapes [n, 1, 16, 16] and [n]
        Batches are drawn from these; their mean picture is the guess without an update.
    relative_noise : float
        Noise on each coordinate in units of the norm of the summed gradient, which is not clipped: no guarantee.
    noise_multiplier, rounds
        Noise in units of the clipping norm (1), as in `observe`.
    """
    values, guesses = [], []
    for seed in facts["seeds"]:
        generator = torch.Generator().manual_seed(seed)
        model = sigmoid_cnn(seed)
        picked = torch.randperm(len(x), generator=generator)[:records]
        seen = observe(
            model,
            x[picked],
            y[picked],
            max_grad_norm=1.0 if noise_multiplier else None,
            noise_multiplier=noise_multiplier,
            hospitals=hospitals,
            rounds=rounds,
            generator=generator,
        )
        if relative_noise:
            seen = _disturbed(seen, relative_noise, generator)
        found = attack(
            model, seen, shape=tuple(x.shape[1:]), labels=y[picked], steps=steps, generator=generator
        )
        values.append(float(matched_psnr(found.records, x[picked]).mean()))
        guesses.append(float(matched_psnr(x.mean(0, keepdim=True), x[picked]).mean()))
    extra = f", mean of {rounds} rounds" if rounds > 1 else ""
    extra += f", noise {relative_noise:g} of the gradient's norm on each value" if relative_noise else ""
    who = f"{hospitals} hospitals" if hospitals > 1 else "1 hospital"
    label = f"{who}, {records} record{'s' if records > 1 else ''}"
    label += f", noise {relative_noise:g}" if relative_noise else ""
    label += ", distributed noise" if noise_multiplier else ""
    return Leakage(
        attack=name,
        adversary="honest but curious server",
        knowledge="the model, labels, number of records, clipping norm",
        observed=seen.describe() + extra,
        label=label,
        unit=PSNR,
        measure="PSNR after matching",
        value=mean_interval(values),
        interval_of="batches, one a seed: other weights and pictures",
        control=sum(guesses) / len(guesses),
        control_is="the mean picture",
        privacy=privacy,
        **facts,
    )


def _disturbed(seen: Observation, share: float, generator: torch.Generator) -> Observation:
    """Return an observation with noise in units of its own norm."""
    norm = math.sqrt(sum(float(part.square().sum()) for part in seen.gradient.values()))
    noisy = {
        name: part + share * norm * torch.randn(part.shape, generator=generator, dtype=part.dtype)
        for name, part in seen.gradient.items()
    }
    return Observation(noisy, seen.records, seen.hospitals)


def picture_lines(
    x: Tensor,
    y: Tensor,
    *,
    hospitals: int,
    plan: tuple[tuple[int, int], ...],
    noises: tuple[float, ...],
    noise_multiplier: float,
    rounds: int,
    privacy: str,
    facts: dict,
) -> list[Leakage]:
    """Attack batches, sums of hospitals and noisy updates.

    Parameters
    ----------
    plan : tuple of (records, steps)
        Batches of one hospital to attack by DLG, and the iterations to spend.
    noises : tuple of float
        Relative noise on the update of one record.
    noise_multiplier, rounds, privacy
        The guarantee under which sums are attacked last.
    """
    steps = max(count for _, count in plan)
    common = {"x": x, "y": y, "facts": facts}
    lines = [
        picture_line(name="DLG", attack=dlg, steps=count, records=records, **common)
        for records, count in plan
    ]
    lines.append(
        picture_line(name="inverting gradients", attack=invert, steps=min(steps, 300), records=1, **common)
    )
    summed = {"records": hospitals, "hospitals": hospitals, **common}
    lines.append(picture_line(name="DLG", attack=dlg, steps=steps, **summed))
    for noise in noises:
        for name, attack in (("DLG", dlg), ("inverting gradients", invert)):
            lines.append(
                picture_line(
                    name=name, attack=attack, steps=min(steps, 200), records=1, relative_noise=noise, **common
                )
            )
    guarded = {"noise_multiplier": noise_multiplier, "rounds": rounds, "privacy": privacy, **summed}
    smooth = partial(invert, total_variation=1.0)  # the best that this attack does against so much noise
    lines.append(
        picture_line(name="inverting gradients, smoothed", attack=smooth, steps=min(steps, 100), **guarded)
    )
    return lines
