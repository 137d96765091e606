"""Hospitals that work together: against a neighbour's patients, and against the marks in their copies.

Against patients, colluders pool what each knows of every round: its own gradients and its own share of the noise. What is
left of the sum is the others' noise and the others' patients. Two things are measured: how much noise is left, beside what
`Noise.against` says, and how many members of the largest hospital the posterior attack then finds, on the same records and
the same targets for every number of colluders.

Against marks, two recipients mix their copies of the model and hand out the mixture; and a hospital that took part takes
no copy at all, but the mean of what the rounds handed it.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from labkit import profiles
from labkit.federated.noise import promises
from labkit.federated.rounds import Federation, begin, contribute, gradient_sum, grid_of, step, unflatten
from labkit.federated.threats import scoring, shadows
from labkit.federated.threats.colluding_result import Collusion, Mixtures, Step
from labkit.federated.threats.membership import default_count, reduced, shortened
from labkit.federated.threats.membership_result import RATE
from labkit.federated.threats.system import System
from labkit.stats import Interval

DRAWS = 100  # of code words, for the model as rebuilt from the rounds


def study_collusion(system: System, *, seed: int = 0, count: int | None = None) -> Collusion:
    """Let hospitals collude against the largest one's patients, and two of them against their copies' marks.

    Parameters
    ----------
    seed : int
        Of the shadow federations, which `study_membership` shares, and of the mixtures.
    count : int, optional
        Shadow federations; by profile as in `study_membership`.
    """
    federation = shortened(system.federation)
    count = default_count() if count is None else count
    why = _unfit(federation, count)
    steps, bare = ((), None) if why else (_steps(federation, count, seed), _bare(federation, count, seed))
    private = federation.noise.placement != "none"
    return Collusion(
        steps=steps,
        victim=shadows.largest(federation),
        bare=bare,
        promises=promises(federation.noise, federation.training.rounds) if private else None,
        mixtures=None if system.enrolment is None else _mixtures(system, seed),
        targets=count,
        source=federation.hospitals.source,
        profile=profiles.current().name,
        seed=seed,
        why=why,
    )


def _unfit(federation: Federation, count: int) -> str:
    """Return why the attack on patients cannot be made, or nothing."""
    if federation.noise.placement not in ("distributed", "local") or federation.training.kind != "gradient":
        return (
            "the system sums no gradients with distributed or local noise, so there are no shares to subtract"
        )
    outside, needed = (
        reduced(count) * federation.sizes[shadows.largest(federation)] // 2,
        round(scoring.NEEDED / RATE),
    )
    # A coin decides who is out, so the number itself is only near this; a tenth of slack is ten standard deviations.
    if outside < 1.1 * needed:
        return f"{reduced(count)} shadow federations give about {outside} non-members of the victim; {needed} are needed"
    return ""


def noise_left(federation: Federation, *, seed: int) -> list[Interval]:
    """Return, for 0, 1, ... colluders, the noise left in the rounds' sums after they subtracted theirs.

    Standard deviation over clipping norm, pooled over rounds and weights, with its chi-square interval; one run of the
    federation itself, whose contributions are compared with the gradient sums that they were made from.
    """
    names, state = federation.hospitals.names, begin(federation)
    noises: dict[str, list[np.ndarray]] = {name: [] for name in names}
    grid = grid_of(federation)
    for _ in range(federation.training.rounds):
        model = unflatten(federation.make_model(), state.weights)
        vectors = {name: contribute(federation, name, state, seed=seed) for name in names}
        for name in names:
            held = federation.dataset(name)
            exact = gradient_sum(model, held.train_x, held.train_y, federation.noise.max_grad_norm)
            noises[name].append(
                grid.value(vectors[name]) - exact - shadows.pull_in_sum(federation, name, state)
            )
        state = step(federation, state, sum(vectors.values()), names, seed=seed)
    found = []
    for colluders in range(len(names)):
        known = shadows.gang(federation, colluders)
        left = sum(np.concatenate(noises[name]) for name in names if name not in known)
        found.append(_deviation(left / federation.noise.max_grad_norm))
    return found


def _deviation(values: np.ndarray) -> Interval:
    """Return the root mean square of independent Gaussians of mean 0, with its chi-square interval."""
    from scipy.stats import chi2

    n, total = len(values), float(np.square(values).sum())
    low, high = (math.sqrt(total / chi2.ppf(p, n)) for p in (0.975, 0.025))
    return Interval(math.sqrt(total / n), low, high, 0.95, f"chi-square, {n} noise values")


def _steps(federation: Federation, count: int, seed: int) -> tuple[Step, ...]:
    shown = shadows.shadow_federations(federation, count, shadows.views_of(federation), seed=seed)
    left, n = noise_left(federation, seed=seed), len(federation.hospitals)
    found = []
    for colluders in range(n):
        observer = "another hospital" if colluders else "everyone who gets the model"
        terms = {"observer": observer, "colluders": colluders, "survivors": n}
        statement = federation.noise.statement(federation.training.rounds, **terms)
        tpr, auc = _on_victim(federation, shown, colluders, seed)
        found.append(
            Step(
                colluders=colluders,
                promised=federation.noise.against(**terms),
                left=left[colluders],
                statement=str(statement),
                tpr=tpr,
                auc=auc,
                ceiling=float(statement.tradeoff_curve(np.array([RATE]))[0]),
            )
        )
    return tuple(found)


def _bare(federation: Federation, count: int, seed: int) -> Interval:
    """Return what all others together find without clipping and noise."""
    plain = shadows.without_noise(federation)
    shown = shadows.shadow_federations(plain, reduced(count), shadows.views_of(federation), seed=seed)
    return _on_victim(federation, shown, len(federation.hospitals) - 1, seed)[0]


def _on_victim(
    federation: Federation, shown: shadows.Shadows, colluders: int, seed: int
) -> tuple[Interval, Interval]:
    """Return TPR and AUC of the posterior attack on the victim's records alone."""
    view = shadows.gang(federation, colluders)
    of_victim = shown.owner == shown.names.index(shadows.largest(federation))
    masks = shown.masks[:, of_victim]
    scores = scoring.lira_scores(shown.seen[view][:, of_victim], masks)
    return scoring.tpr_interval(scores, masks, RATE, seed=seed), scoring.auc_interval(
        scores, masks, seed=seed
    )


def _mixtures(system: System, seed: int) -> Mixtures:
    """Mix every pair's copies in three ways and trace the mixtures."""
    from labkit.federated.loop import federate
    from labkit.federated.marks import fingerprint, trace

    found = federate(system.federation, seed=seed, secure=False, keep_states=True)
    weights = found.weights
    copies = fingerprint(weights, system.enrolment)
    random = np.random.default_rng([seed, 77])
    both = one = innocent = 0
    per_way: dict[str, list[int]] = {}
    for pair in itertools.combinations(copies, 2):
        first, second = (copies[name] for name in pair)
        for way, mixture in _mixed(first, second, random).items():
            accused = set(trace(mixture, system.enrolment, weights).accused)
            guilty = len(accused & set(pair))
            both, one, innocent = (
                both + (guilty == 2),
                one + (guilty == 1),
                innocent + bool(accused - set(pair)),
            )
            counts = per_way.setdefault(way, [0, 0])
            counts[0] += guilty > 0
            counts[1] += 1
    tried = sum(total for _, total in per_way.values())
    ways = {way: (named, total) for way, (named, total) in per_way.items()}
    opened = np.stack([state.weights for state in found.states[:-1]])
    return Mixtures(tried, both, one, innocent, ways, *_rebuilt(system, weights, opened, random))


def _rebuilt(
    system: System, weights: np.ndarray, opened: np.ndarray, random: np.random.Generator
) -> tuple[tuple[int, int], float]:
    """Let a hospital rebuild the model from the rounds; return draws of words, how often it was named, and its error."""
    from labkit.federated.marks import trace
    from labkit.federated.marks.innocents import redrawn
    from labkit.federated.marks.leaks import rebuilt
    from labkit.federated.marks.tracing import step_of

    estimate, named = rebuilt(opened, system.federation, (), random), 0
    for draw in range(DRAWS):
        fresh = redrawn(system.enrolment, f"rebuilt {draw}")
        accused = trace(estimate, fresh, weights, make_model=system.federation.make_model).accused
        named += str(random.choice(fresh.names)) in accused
    missed = float(np.sqrt(np.mean((estimate - weights) ** 2)))
    return (DRAWS, named), missed / step_of(weights, system.enrolment)


def _mixed(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return mixtures of two copies: what two hospitals would try first."""
    return {
        "mean": (first + second) / 2,
        "a coin for each weight": np.where(random.random(len(first)) < 0.5, first, second),
        "the smaller of each weight": np.minimum(first, second),
    }
