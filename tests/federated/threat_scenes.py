"""A small federation that threats are tried on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from labkit import models
from labkit.federated import Federation, Noise, Training, load_hospitals
from labkit.federated.threats import System


def small(placement: str = "distributed", *, rounds: int = 4, noise_multiplier: float = 3.0) -> Federation:
    """Return four hospitals of 20 records each that train logistic regression for a few rounds."""
    hospitals = load_hospitals("breast_cancer", count=4, by="size", alpha=50.0, seed=1)
    cut = []
    for hospital in hospitals:
        data = hospital.dataset
        held = replace(data, train_x=data.train_x[:20], train_y=data.train_y[:20], digest="")
        cut.append(replace(hospital, dataset=held))
    noise = Noise(hospitals=4, threshold=3)
    if placement != "none":
        noise = replace(noise, placement=placement, noise_multiplier=noise_multiplier)
    return Federation(
        replace(hospitals, hospitals=tuple(cut)),
        partial(models.logistic_regression, 30, 2),
        Training(rounds=rounds, learning_rate=1.0, momentum=0.5, average_from=0.5),
        noise,
    )


def system(placement: str = "distributed", **settings) -> System:
    return System(small(placement, **settings))
