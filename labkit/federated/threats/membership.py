"""Who trained the model? LiRA, RMIA and the sums of all rounds, with and without noise, by outsiders and by hospitals.

Three arms train on the same halves of the same records with the same code: the system as built, the same without
clipping and noise, and the same clipped without noise, so that one can tell which of the two hides the patients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles
from labkit.federated.threats import scoring, shadows
from labkit.federated.threats.membership_result import (
    ALL,
    BARE,
    BUILT,
    CLIPPED,
    DRAWN,
    EXPOSED,
    FINAL,
    INFORMED,
    INSIDER,
    RATE,
    ROUNDS,
    MembershipStudy,
    Row,
)
from labkit.federated.threats.system import System

if TYPE_CHECKING:
    from labkit.federated.rounds import Federation


def study_membership(system: System, *, seed: int = 0, count: int | None = None) -> MembershipStudy:
    """Attack the system and its two reduced arms with membership inference.

    Parameters
    ----------
    seed : int
        Of halves, batches, noise and resamples.
    count : int, optional
        Shadow federations of the system, each a target once; half as many of the other arms (default: 8, 40 or 256 by profile).
    """
    federation, profile = shortened(system.federation), profiles.current()
    count = default_count() if count is None else count
    arms = {BUILT: federation}
    if federation.noise.placement != "none":
        arms[BARE] = shadows.without_noise(federation)
        if profile.name != "smoke":
            arms[CLIPPED] = shadows.clipped_only(federation)
    views = shadows.views_of(federation)
    rates = np.geomspace(1e-3, 1, 120)
    rows, curves = [], {}
    for arm, federated in arms.items():
        trained = count if arm == BUILT else reduced(count)
        shown = shadows.shadow_federations(federated, trained, views, seed=seed)
        found, drawn = _attack(arm, federated, shown, rates, seed)
        rows += found
        curves |= drawn
    if federation.noise.placement != "none":
        promise = _promise(federation, "everyone who gets the model")
        curves[f"ceiling; ceiling, ε = {promise.epsilon:.2f} (PLD)"] = promise.tradeoff_curve(rates)
    return MembershipStudy(
        rows=tuple(rows),
        curves=curves,
        rates=rates,
        targets=count,
        reduced=reduced(count),
        records=len(shadows.owners(federation)),
        rounds=federation.training.rounds,
        kind=federation.training.kind,
        source=federation.hospitals.source,
        profile=profile.name,
        seed=seed,
    )


def default_count() -> int:
    """Return how many shadow federations of the system itself there are in this profile."""
    return profiles.current().pick(smoke=8, laptop=40, full=256)


def reduced(count: int) -> int:
    """Return how many the arms without noise have: half, as what they leak is far from chance."""
    return max(8, count // 4 * 2)


def shortened(federation: Federation) -> Federation:
    """Return the federation as it is, or cut to a few rounds in profile smoke: a rehearsal."""
    if profiles.current().name != "smoke":
        return federation
    return replace(
        federation, training=replace(federation.training, rounds=min(6, federation.training.rounds))
    )


def _attack(
    arm: str, federation: Federation, shown: shadows.Shadows, rates: np.ndarray, seed: int
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Run every attack on one arm: rows, and the curves to draw."""
    masks, curves = shown.masks, {}
    scored = {
        FINAL[0]: (scoring.lira_scores(scoring.final_signal(shown), masks), masks),
        FINAL[1]: (scoring.rmia_scores(shown), masks),
    }
    if () in shown.seen:
        scored[ROUNDS] = (scoring.lira_scores(shown.seen[()], masks), masks)
        scored[INSIDER] = _insiders(shown)
        scored[INFORMED] = (shown.informed, masks)
    rows = []
    for attack, (scores, members) in scored.items():
        observer = "another hospital" if attack == INSIDER else "everyone who gets the model"
        about = _allowed(federation, observer) if arm == BUILT else _allowed(None, observer)
        tpr = scoring.tpr_interval(scores, members, RATE, seed=seed)
        rows.append(Row(arm, attack, ALL, tpr, scoring.auc_interval(scores, members, seed=seed), **about))
        for victims, chosen in _parts(attack, shown).items():
            part = scores[:, chosen], members[:, chosen]
            enough = victims == EXPOSED and int((~part[1]).sum()) >= scoring.NEEDED / RATE
            found = scoring.tpr_interval(*part, RATE, seed=seed) if enough else None
            rows.append(Row(arm, attack, victims, found, scoring.auc_interval(*part, seed=seed), **about))
        if attack in DRAWN.get(arm, ()):
            curves[f"{attack}; {arm}"] = scoring.roc(scores, members, rates)
    return rows, curves


def _allowed(federation: Federation | None, observer: str) -> dict[str, Any]:
    """Return what the promise against an observer allows, for a `Row`."""
    if federation is None or federation.noise.placement == "none":
        return {"ceiling": None, "area": None, "promise": "no promise"}
    statement = _promise(federation, observer)
    rates = np.linspace(0, 1, 2001)
    return {
        "ceiling": float(statement.tradeoff_curve(np.array([RATE]))[0]),
        "area": float(np.trapezoid(statement.tradeoff_curve(rates), rates)),
        "promise": str(statement),
    }


def _parts(attack: str, shown: shadows.Shadows) -> dict[str, np.ndarray]:
    """Return whose records an attack is also scored on by themselves, bool [n] each."""
    if attack == ROUNDS:
        return {name: shown.owner == at for at, name in enumerate(shown.names)}
    if attack != INFORMED:
        return {}
    heavy = np.zeros(len(shown.owner), dtype=bool)
    heavy[np.argsort(-shown.weight, kind="stable")[: max(2, len(heavy) // 10)]] = True
    return {EXPOSED: heavy}


def _insiders(shown: shadows.Shadows) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and truth of every hospital's attack on the records of the others, side by side: [K, pairs]."""
    scores, members = [], []
    for at, name in enumerate(shown.names):
        victims = shown.owner != at
        scores.append(scoring.lira_scores(shown.seen[(name,)][:, victims], shown.masks[:, victims]))
        members.append(shown.masks[:, victims])
    return np.hstack(scores), np.hstack(members)


def _promise(federation: Federation, observer: str) -> Any:
    """Return the promise in rounds where everybody survives, as in the shadow federations."""
    return federation.noise.statement(
        federation.training.rounds, observer=observer, survivors=len(federation.hospitals)
    )
