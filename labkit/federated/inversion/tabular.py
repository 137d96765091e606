"""Attacks on updates from a table: honest models, malicious ones, and under differential privacy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.dp.accounting.statement import (
    PrivacyStatement,
    SampledGaussian,
    calibrate_noise,
    privacy_statement,
)
from labkit.federated.inversion import aggregate, bound, dense, malicious
from labkit.federated.inversion.observation import Observation, observe, per_record_gradients
from labkit.federated.inversion.peeling import peel
from labkit.federated.inversion.result import RATE, Leakage
from labkit.stats import Interval, bootstrap, clopper_pearson

TOLERANCE = 1e-2  # "exact": within a hundredth of a standard deviation in every feature
CLEAR = "no guarantee: nothing was added"
CURIOUS = "honest but curious server"
CHOOSES = "server that chooses the model"
STANDARD = "the model, and scale of the features"
DEFENCE = (
    "the defence, mean and covariance of the records, the target's label and norm, which cut isolates it"
)
NOTHING = "a guess without the update"


@dataclass(frozen=True)
class Scene:
    """Records, sizes and seeds that the attacks on a table share.

    Attributes
    ----------
    x, y : Tensor, shapes [n, d] and [n]
        Standardised records.
    make_model : callable
        From a seed to an untrained Linear, ReLU, Linear model, float64.
    hospitals, batches, seed : int
        How many hospitals add up, attacked batches per line, and the seed of everything.
    facts : dict
        Source, profile and seeds for every `Leakage`.
    """

    x: Tensor
    y: Tensor
    make_model: Callable[[int], nn.Module]
    hospitals: int
    batches: int
    seed: int
    facts: dict

    def draws(self, records: int, count: int | None = None) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """Yield (model, x, y) of fresh federations: other weights and other records each time."""
        generator = torch.Generator().manual_seed(self.seed)
        for number in range(count or self.batches):
            picked = torch.randperm(len(self.x), generator=generator)[:records]
            yield self.make_model(self.seed * 100_003 + number), self.x[picked], self.y[picked]

    def found(self, recovered: Tensor, x: Tensor) -> Tensor:
        return dense.exactly(recovered, x, TOLERANCE)


def in_clear(scene: Scene, sizes: tuple[int, ...]) -> list[Leakage]:
    """Attack single updates and sums without noise."""
    lines = []
    for records in sizes:
        lines += _honest(scene, records, 1)
    lines += _honest(scene, scene.hospitals, scene.hospitals)
    lines += _honest(scene, 8 * scene.hospitals, scene.hospitals)
    return [*lines, imprinted(scene), grouped(scene)]


def _honest(scene: Scene, records: int, hospitals: int) -> list[Leakage]:
    """Return dW / db and peeling on the same batches of an honest model."""
    one, whole, observed = 0, 0, ""
    for model, x, y in scene.draws(records):
        seen = observe(model, x, y, hospitals=hospitals)
        observed = seen.describe()
        one += bool(scene.found(dense.recover(model, seen).records, x).any())
        whole += bool(scene.found(peel(model, seen).records, x).all())
    label = f"{hospitals} hospital{'s' * (hospitals > 1)}, {records} record{'s' * (records > 1)}"
    shared = {"observed": observed, "label": label, "adversary": CURIOUS, "knowledge": "the model"}
    return [
        _line(scene, "dW/db", "batches with a record returned", one, scene.batches, **shared),
        _line(scene, "peeling", "batches returned whole", whole, scene.batches, **shared),
    ]


def imprinted(scene: Scene, rounds: int = 12) -> Leakage:
    """Attack sums with models made for it (`imprint`), a few rounds over the same records."""
    records, hits = 8 * scene.hospitals, 0
    covariance = scene.x.T.cov()
    generator = torch.Generator().manual_seed(scene.seed + 1)
    count = max(4, scene.batches // 4)
    for model, x, y in scene.draws(records, count):
        answers = []
        for _ in range(rounds):
            direction = torch.randn(x.shape[1], generator=generator, dtype=x.dtype)
            spread = (direction @ covariance @ direction).sqrt()
            shares = torch.linspace(0.01, 0.99, len(malicious.two_dense(model)[0].bias), dtype=x.dtype)
            sent = malicious.imprint(
                model, direction, spread * torch.distributions.Normal(0.0, 1.0).icdf(shares)
            )
            answers.append((sent, observe(sent, x, y, max_grad_norm=1.0, hospitals=scene.hospitals)))
        hits += bool(scene.found(malicious.harvest(model, answers).records, x).all())
    observed = f"{answers[0][1].describe()}, {rounds} rounds"
    return _line(
        scene,
        "imprint",
        "batches returned whole",
        hits,
        count,
        observed,
        label=f"{scene.hospitals} hospitals, {records} records",
        adversary=CHOOSES,
        knowledge=STANDARD,
    )


def grouped(scene: Scene, models: int = 10) -> Leakage:
    """Group records by hospital out of sums of several local steps (SRATTA), with sparse first layers."""
    each, hits, count = 8, 0, max(4, scene.batches // 10)
    generator = torch.Generator().manual_seed(scene.seed + 2)
    for number, (_, x, y) in enumerate(scene.draws(each * scene.hospitals, count)):
        holders = torch.arange(len(x)) % scene.hospitals
        holdings = [(x[holders == h], y[holders == h]) for h in range(scene.hospitals)]
        seen = []
        for turn in range(models):
            model = aggregate.sparse(scene.make_model(scene.seed + 1000 * number + turn), 0.05)
            seen += aggregate.fedavg_rounds(
                model, holdings, rounds=1, batch_size=2, learning_rate=0.5, generator=generator
            )
        groups = aggregate.regroup(seen)
        right, said, _ = groups.pairs(_owners(groups.records, x, holders))
        hits += said > 0 and right == said
    observed = f"sum of {scene.hospitals} hospitals ({len(x)} records), {models} models, 5 local steps each"
    measure = "federations with records put together rightly, none wrongly"
    return _line(
        scene,
        "SRATTA, sparse first layer",
        measure,
        hits,
        count,
        observed,
        label=f"{scene.hospitals} hospitals, {len(x)} records",
        adversary=CHOOSES,
        knowledge=STANDARD,
        interval_of="federations",
    )


def _owners(records: Tensor, x: Tensor, holders: Tensor) -> Tensor:
    """Return the hospital of each recovered row, -1 where it is no record."""
    if not len(records):
        return torch.empty(0, dtype=torch.long)
    distance = (records[:, None] - x[None]).abs().amax(2)
    return torch.where(distance.amin(1) < TOLERANCE, holders[distance.argmin(1)], -1)


def under_noise(
    scene: Scene, *, target_epsilon: float, delta: float, rounds: int, trials: int, namings: int
) -> list[Leakage]:
    """Attack every noise placement at one ε for a patient, all rounds together, with the strongest attacks here."""
    noise = calibrate_noise(target_epsilon, delta=delta, sample_rate=1.0, steps=rounds, sampler="full")
    shared = _patient(noise, rounds, delta)
    each = _patient(noise * math.sqrt(scene.hospitals), rounds, delta)
    many = 8 * scene.hospitals
    setting = {"max_grad_norm": 1.0, "rounds": rounds}
    local = setting | {"noise_multiplier": noise, "hospitals": 1}
    total = setting | {"noise_multiplier": noise, "hospitals": scene.hospitals}
    placements = [
        ("local noise", 8, local, shared),
        ("distributed noise", many, total, shared),
        ("record-level noise at each", many, total | {"noise_by": "each"}, each),
        ("central noise (seen before it is added)", many, total | {"noise_multiplier": 0.0}, None),
    ]
    lines = []
    for name, records, options, statement in placements:
        lines += trapped(scene, name, records, options, statement, trials)
        if statement is not None:
            lines.append(_honest_noisy(scene, name, records, options, statement))
            lines.append(named(scene, name, options, statement, namings))
    return lines


def _patient(noise: float, rounds: int, delta: float) -> PrivacyStatement:
    return privacy_statement(SampledGaussian(noise, rounds, 1.0, "full"), delta=delta)


def _observed(name: str, seen: Observation, rounds: int) -> str:
    return f"{seen.describe()}, mean of {rounds} rounds: {name}"


def trapped(
    scene: Scene, name: str, records: int, options: dict, statement: PrivacyStatement | None, trials: int
) -> list[Leakage]:
    """Isolate one record by a trap, ask in all rounds, read it by least squares; a record a federation."""
    mean, covariance = scene.x.mean(0), scene.x.T.cov()
    generator = torch.Generator().manual_seed(scene.seed + 3)
    hits, guesses, errors = 0, 0, []
    for model, x, y in scene.draws(records, trials):
        direction = torch.randn(x.shape[1], generator=generator, dtype=x.dtype)
        first, second = (x @ direction).topk(2)[0].tolist()
        target = int((x @ direction).argmax())
        sent = malicious.tail_trap(model, direction, (first + second) / 2)
        seen = observe(sent, x, y, **options, generator=generator)
        weight, bias = dense.dense_rows(sent, seen)
        sign = 1.0 if int(y[target]) else -1.0
        expected, spread = malicious.in_the_tail(mean, covariance, direction, first)
        guess = malicious.wiener(
            torch.cat([weight[0], bias[:1]]),
            signal=sign * options["max_grad_norm"] / math.sqrt(float(x[target] @ x[target]) + 1),
            noise_std=max(seen.noise_std, 1e-9),
            mean=expected,
            covariance=spread,
        )
        hits += bool(scene.found(guess[None], x[target : target + 1]))
        guesses += bool(scene.found(expected[None], x[target : target + 1]))
        errors.append(
            [float((guess - x[target]).square().sum()), float((expected - x[target]).square().sum())]
        )
    observed = _observed(name, seen, options["rounds"])
    known = {
        "label": name,
        "adversary": CHOOSES,
        "knowledge": DEFENCE,
        "interval_of": "federations, a target record each",
    }
    limit = (
        None
        if statement is None
        else bound.reconstruction_bound(statement, bound.exact_prior(covariance, TOLERANCE))
    )
    explained = bootstrap(errors, lambda pairs: 1 - pairs[:, 0].sum() / pairs[:, 1].sum(), seed=scene.seed)
    attack = "trap, all rounds, least squares"
    return [
        _line(
            scene,
            attack,
            "targets returned exactly",
            hits,
            trials,
            observed,
            statement=statement,
            bound=limit,
            control=guesses / trials,
            **known,
        ),
        _line(
            scene,
            attack,
            "variance of targets explained beyond the guess",
            explained,
            trials,
            observed,
            statement=statement,
            **known,
        ),
    ]


def _honest_noisy(
    scene: Scene, name: str, records: int, options: dict, statement: PrivacyStatement
) -> Leakage:
    """Return dW / db on an honest model that is sent in all rounds: the attack that noise is known to stop."""
    generator = torch.Generator().manual_seed(scene.seed + 4)
    hits = 0
    for model, x, y in scene.draws(records):
        seen = observe(model, x, y, **options, generator=generator)
        hits += bool(scene.found(dense.recover(model, seen).records, x).any())
    observed = _observed(name, seen, options["rounds"])
    return _line(
        scene,
        "dW/db",
        "batches with a record returned",
        hits,
        scene.batches,
        observed,
        label=name,
        adversary=CURIOUS,
        knowledge="the model",
        statement=statement,
    )


def named(scene: Scene, name: str, options: dict, statement: PrivacyStatement, namings: int) -> Leakage:
    """Let an attacker who knows all other records name the last one among all candidates."""
    generator = torch.Generator().manual_seed(scene.seed + 5)
    model = malicious.codebook(scene.make_model(scene.seed), scene.x.T.cov(), generator)
    # Told the label: candidates are compared under the same one.
    label = torch.zeros(len(scene.x), dtype=torch.long)
    gradients = per_record_gradients(model, scene.x, label, max_grad_norm=options["max_grad_norm"])
    signals = torch.cat([part.flatten(1) for part in gradients.values()], 1)
    targets = torch.randint(len(scene.x), (namings,), generator=generator)
    draws = options["hospitals"] if options.get("noise_by") == "each" else 1
    std = options["noise_multiplier"] * options["max_grad_norm"] * math.sqrt(draws / options["rounds"])
    hits = int((bound.identify(signals, targets, noise_std=std, generator=generator) == targets).sum())
    prior = 1 / len(scene.x)
    return _line(
        scene,
        "naming one of all candidates",
        "targets named",
        hits,
        namings,
        f"sum minus known records, noise std {std:.3g}, mean of {options['rounds']} rounds: {name}",
        label=name,
        adversary=f"{CHOOSES} and holds all other records",
        knowledge=f"all other records, {len(scene.x)} candidates, the defence, the label",
        statement=statement,
        bound=bound.reconstruction_bound(statement, prior),
        control=prior,
        interval_of="federations, a target record each",
    )


def _line(
    scene: Scene,
    attack: str,
    measure: str,
    value: int | Interval,
    trials: int,
    observed: str,
    *,
    label: str,
    adversary: str,
    knowledge: str,
    statement: PrivacyStatement | None = None,
    bound: float | None = None,
    control: float = 0.0,
    interval_of: str = "batches, each of other records and weights",
) -> Leakage:
    return Leakage(
        attack=attack,
        adversary=adversary,
        knowledge=knowledge,
        observed=observed,
        label=label,
        unit=RATE,
        measure=measure,
        value=value if isinstance(value, Interval) else clopper_pearson(value, trials),
        interval_of=interval_of,
        control=control,
        control_is=NOTHING,
        privacy=CLEAR if statement is None else f"unit patient: {statement}",
        bound=bound,
        **scene.facts,
    )
