"""Shadow federations: the same terms, code and noise as the system, on random halves of every hospital's records.

An attacker who knows the system rehearses on federations of its own. Each is trained by the system's own pure functions
(`labkit.federated.rounds`), clipping, noise and marks included, so that every attack here knows the defence. Federations
come in pairs that share the records between them by one coin a record: a record is in for exactly half of them, and
whether it is in says nothing about the others, as add/remove neighbours demand. All declare the same number of records.

What a party sees besides the final model is every round's sum. `posterior` turns all sums of a federation into one number
a record: the linear estimate of who is in, given clipping, noise and the gradients of all candidates. Without noise it
solves for the members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from labkit import cache, progress
from labkit.federated.noise import Noise
from labkit.federated.rounds import (
    Federation,
    State,
    begin,
    contribute,
    grid_of,
    per_change,
    step,
    unflatten,
)

if TYPE_CHECKING:
    from torch import Tensor

View = tuple[str, ...]  # hospitals whose own contributions a party knows and subtracts; () is an outsider


@dataclass(frozen=True, eq=False)
class ShadowFederation(Federation):
    """A federation whose hospitals declare a fixed number of records, whatever they hold."""

    declared: Mapping[str, int] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        return dict(self.declared)


@dataclass(frozen=True, eq=False)
class Shadows:
    """What K federations show of n records.

    Attributes
    ----------
    masks : ndarray of bool, shape [K, n]
        Who is in; federations 2j and 2j + 1 share the records between them.
    owner : ndarray of int, shape [n]
        Position of each record's hospital.
    labels, population_labels : ndarray of int, shapes [n] and [m]
    final, population : ndarray, shapes [K, n, classes] and [K, m, classes]
        Logits of the final models on the records, and on test records that nobody trained on.
    seen : dict of View to ndarray of shape [K, n]
        `posterior` of each view; NaN for records that the view's hospitals hold. Empty unless sums of gradients travel.
    informed : ndarray of shape [K, n]
        `likelihood` for a party that knows who else is in; NaN unless sums of gradients travel.
    weight : ndarray of shape [n]
        Sum over rounds of the squared norm of each record's gradient, mean over federations: how much it can move.
    names : tuple of str
        The hospitals.
    """

    masks: np.ndarray
    owner: np.ndarray
    labels: np.ndarray
    population_labels: np.ndarray
    final: np.ndarray
    population: np.ndarray
    seen: dict[View, np.ndarray]
    informed: np.ndarray
    weight: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.masks)


def pair_masks(owner: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return who is in each of ``count`` federations, bool [count, n]: a coin for each record, its reverse for the partner.

    A pair is drawn again if it would leave a hospital without records.

    Raises
    ------
    ValueError
        If ``count`` is odd or below 8: LiRA needs models with and without a record, once the target and its partner are
        taken out.
    """
    if count < 8 or count % 2:
        raise ValueError(f"count is {count}; expected an even number of at least 8 shadow federations")
    random = np.random.default_rng([seed, 12])
    masks: list[np.ndarray] = []
    while len(masks) < count:
        coins = random.random(len(owner)) < 0.5
        held = np.bincount(owner[coins], minlength=owner.max() + 1)
        if (held > 0).all() and (held < np.bincount(owner)).all():
            masks += [coins, ~coins]
    return np.array(masks)


def owners(federation: Federation) -> np.ndarray:
    """Return the position of each train record's hospital, hospital after hospital, shape [n]."""
    sizes = [len(hospital.dataset.train_y) for hospital in federation.hospitals]
    return np.repeat(np.arange(len(sizes)), sizes)


def largest(federation: Federation) -> str:
    """Return the hospital with the most records."""
    return max(federation.sizes, key=federation.sizes.__getitem__)


def gang(federation: Federation, count: int) -> View:
    """Return the first ``count`` hospitals other than the largest, whose patients they are after."""
    return tuple(name for name in federation.hospitals.names if name != largest(federation))[:count]


def views_of(federation: Federation) -> tuple[View, ...]:
    """Return whose eyes all studies look through: an outsider, each hospital, and gangs of two and more."""
    names = federation.hospitals.names
    singles = [(name,) for name in names]
    return ((), *singles, *(gang(federation, count) for count in range(2, len(names))))


def without_noise(federation: Federation) -> Federation:
    """Return the same federation without clipping and noise."""
    noise = Noise(hospitals=federation.noise.hospitals, threshold=federation.noise.threshold)
    return replace(federation, noise=noise)


def clipped_only(federation: Federation) -> Federation:
    """Return the same federation clipped as it is, with noise too small to hide anything."""
    return replace(federation, noise=replace(federation.noise, noise_multiplier=1e-9))


def subset(federation: Federation, mask: np.ndarray) -> ShadowFederation:
    """Return the federation on the records that ``mask`` [n] marks; everybody declares half of what the system holds."""
    hospitals, start = [], 0
    for hospital in federation.hospitals:
        size = len(hospital.dataset.train_y)
        rows = np.flatnonzero(mask[start : start + size])
        dataset = hospital.dataset
        held = replace(dataset, train_x=dataset.train_x[rows], train_y=dataset.train_y[rows], digest="")
        hospitals.append(replace(hospital, dataset=held))
        start += size
    settings = {f.name: getattr(federation, f.name) for f in fields(Federation) if f.name != "hospitals"}
    declared = {name: max(1, size // 2) for name, size in federation.sizes.items()}
    held = replace(federation.hospitals, hospitals=tuple(hospitals))
    return ShadowFederation(hospitals=held, declared=declared, **settings)


def shadow_federations(
    federation: Federation, count: int, views: tuple[View, ...] = ((),), *, seed: int = 0
) -> Shadows:
    """Train ``count`` shadow federations and return what they show; cached by settings, data and code.

    They train in this process, or wherever ``joblib.parallel_config`` says.

    Parameters
    ----------
    views : tuple of View
        Whose contributions are known; only used where sums of gradients travel (kind "gradient").
    """
    from labkit.federated.threats import keys

    def compute() -> Shadows:
        return train(federation, count, views, seed=seed)

    identity = keys.identity(federation)
    if identity is None:
        return compute()
    settings = {"federation": identity, "count": count, "views": [list(view) for view in views], "seed": seed}
    return cache.cached("threats/shadows", settings, compute, code=[train])


def train(federation: Federation, count: int, views: tuple[View, ...], *, seed: int) -> Shadows:
    """Train the shadow federations, without looking into the cache."""
    import joblib

    owner, pooled = owners(federation), federation.hospitals.pooled()
    masks = pair_masks(owner, count, seed)
    task = joblib.delayed(observe)
    jobs = (
        task(
            federation, mask, views if federation.training.kind == "gradient" else (), 1_000_003 * seed + row
        )
        for row, mask in enumerate(masks)
    )
    rows = []
    with progress.bar(count, f"shadow federations, {federation.hospitals.source}") as shown:
        for row in joblib.Parallel(return_as="generator")(jobs):
            rows.append(row)
            shown.update()
    finals, populations, seen, informed, weights = zip(*rows, strict=True)
    return Shadows(
        masks=masks,
        owner=owner,
        labels=pooled.train_y.numpy(),
        population_labels=pooled.test_y.numpy(),
        final=np.stack(finals),
        population=np.stack(populations),
        seen={view: np.stack([one[view] for one in seen]) for view in seen[0]},
        informed=np.stack(informed),
        weight=np.mean(weights, axis=0),
        names=federation.hospitals.names,
    )


def observe(
    federation: Federation, mask: np.ndarray, views: tuple[View, ...], seed: int
) -> tuple[np.ndarray, np.ndarray, dict[View, np.ndarray], np.ndarray, np.ndarray]:
    """Train one shadow federation.

    Returns
    -------
    final, population : ndarray of shapes [n, classes] and [m, classes]
        The final model's logits.
    seen : dict of View to ndarray of shape [n]
        Each view's posterior.
    informed, weight : ndarray of shape [n]
        Likelihood ratios for a party that knows all other members (NaN without views); sums over rounds of the squared
        norms of the records' gradients.
    """
    import torch

    own, pooled, owner = subset(federation, mask), federation.hospitals.pooled(), owners(federation)
    names, n, grid = federation.hospitals.names, len(owner), grid_of(federation)
    state, gram = begin(own), np.zeros((n, n))
    moments = {view: np.zeros(n) for view in views}
    for _ in range(own.training.rounds):
        vectors = {name: contribute(own, name, state, seed=seed) for name in names}
        after = step(own, state, sum(vectors.values()), names, seed=seed)
        if views:
            rows = candidate_gradients(own, state, pooled.train_x, pooled.train_y)
            gram += rows @ rows.T
            marks = {name: pull_in_sum(own, name, state) for name in names}
            sent = {name: grid.value(vectors[name]) - marks[name] for name in names}
            public = opened_sum(own, state, after) - sum(marks.values())
            for view in views:
                moments[view] += rows @ (public - sum((sent[name] for name in view), np.zeros_like(public)))
        state = after
    model = unflatten(own.make_model(), state.model).eval()
    with torch.no_grad():
        final, population = (model(x).double().numpy() for x in (pooled.train_x, pooled.test_x))
    seen = {}
    for view in views:
        unknown = ~np.isin(owner, [names.index(name) for name in view])
        seen[view] = np.full(n, np.nan)
        seen[view][unknown] = posterior(
            gram[np.ix_(unknown, unknown)], moments[view][unknown], noise_variance(own, len(view))
        )
    informed = np.full(n, np.nan)
    if () in moments:
        informed = likelihood(gram, moments[()], mask, noise_variance(own, 0))
    return final, population, seen, informed, np.diag(gram).copy()


def candidate_gradients(federation: Federation, state: State, x: Tensor, y: Tensor) -> np.ndarray:
    """Return what each candidate record would add to the sum, clipped as the federation clips: shape [n, d], float64."""
    from labkit.federated.inversion.observation import per_record_gradients

    clip = federation.noise.max_grad_norm if federation.noise.placement != "none" else None
    model = unflatten(federation.make_model(), state.weights)
    found = per_record_gradients(model, x, y, max_grad_norm=clip)
    return np.hstack([part.flatten(1).double().numpy() for part in found.values()])


def pull_in_sum(federation: Federation, name: str, state: State) -> np.ndarray:
    """Return what a hospital's mark adds to a round's sum, shape [d]: it depends on no record, and attackers here know it."""
    mark = federation.marks.get(name)
    if mark is None:
        return np.zeros_like(state.weights)
    return mark.pull(state.weights, state.round) * per_change(federation, state.round)


def opened_sum(federation: Federation, before: State, after: State) -> np.ndarray:
    """Return the round's noisy sum of gradients, which whoever follows the models works out: shape [d]."""
    mean = after.velocity - federation.training.momentum * before.velocity
    return mean * federation.divisor(federation.hospitals.names)


def noise_variance(federation: Federation, known: int) -> float:
    """Return the variance of the noise on each coordinate of a sum, for a party that knows ``known`` hospitals' shares."""
    grid, noise = grid_of(federation), federation.noise
    rounding = len(federation.hospitals) / 12
    shares = (len(federation.hospitals) - known) * float(grid.variance) if grid.share_multiplier else 0.0
    central = (noise.noise_multiplier * grid.sensitivity) ** 2 if noise.placement == "central" else 0.0
    return (rounding + shares + central) * grid.step**2


def posterior(gram: np.ndarray, moment: np.ndarray, variance: float) -> np.ndarray:
    """Return the linear posterior mean of who is in: coins b with sums R_t = G_t^T b + noise.

    With a prior of mean 1/2 and variance 1/4 on each coin it is 1/2 + (A + 4 variance I)^-1 (m - A 1 / 2), where
    A = sum_t G_t G_t^T and m = sum_t G_t R_t.

    Parameters
    ----------
    gram : ndarray of shape [n, n]
        A.
    moment : ndarray of shape [n]
        m.
    variance : float
        Of the noise on one coordinate of one sum.

    Examples
    --------
    >>> rows = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> posterior(rows @ rows.T, rows @ (rows.T @ np.array([1.0, 0.0])), 1e-9).round(3)
    array([1., 0.])
    """
    ridge = gram + 4 * variance * np.eye(len(gram))
    return 0.5 + np.linalg.solve(ridge, moment - gram.sum(1) / 2)


def likelihood(gram: np.ndarray, moment: np.ndarray, mask: np.ndarray, variance: float) -> np.ndarray:
    """Return each record's log likelihood ratio, in against out, for a party that knows who else is in.

    The adversary of differential privacy's definition: with all others known, what is left of the sums is the record's own
    gradients or nothing, plus noise; no test is more powerful (Neyman & Pearson 1933).

    Parameters
    ----------
    gram, moment, variance
        As in `posterior`.
    mask : ndarray of bool, shape [n]
        Who is in.

    Examples
    --------
    >>> rows, coins = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([True, False])
    >>> likelihood(rows @ rows.T, rows @ (rows.T @ coins), coins, 1.0)
    array([ 0.5, -2.5])
    """
    own = np.diag(gram)
    left = moment - gram @ mask + own * mask
    return (left - own / 2) / variance
