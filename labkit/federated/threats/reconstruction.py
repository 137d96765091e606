"""What a server reads out of updates, of sums, and of sums with noise: `labkit.federated.inversion` as findings.

Those attacks run on networks and batches of their own, as the attacker chooses the model; each finding says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit.federated.inversion import Leakage, Study
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown

READ = Scale(
    "share of tries after which the server holds a record", low=0.01, medium=0.05, high=0.2, critical=0.5
)
NAMED = Scale(
    "share of tries in which the right patient is named", low=0.01, medium=0.05, high=0.2, critical=0.5
)
UPDATE, SUM, NAMING = (
    "Records read from one hospital's update",
    "Records read from the sum of all hospitals",
    "A patient named by a server that knows all others",
)
NOISE = "noise for a patient, inside secure aggregation or at each hospital"


def findings(study: Study) -> list[Finding]:
    """Return what the server learns from one update, from a sum, and by naming a patient under noise."""
    shares = [one for one in study.leakages if one.unit == "share" and "variance" not in one.measure]
    guarded = [one for one in shares if one.bound is not None or "unit patient" in one.privacy]
    clear = [one for one in shares if one not in guarded]
    named = [one for one in guarded if "named" in one.measure]
    read = [one for one in guarded if one not in named]
    single = [one for one in clear if one.observed.startswith("update of one hospital")]
    summed = [one for one in clear if one.observed.startswith("sum of")]
    pictures = [one for one in study.leakages if one.unit != "share"]
    return [
        _read(UPDATE, single, read, f"secure aggregation, which hides single updates, and {NOISE}", pictures),
        _read(SUM, summed, read, NOISE, pictures),
        _named(named),
    ]


def _read(
    title: str, attacks: list[Leakage], noisy: list[Leakage], control: str, pictures: list[Leakage]
) -> Finding:
    if not attacks:
        why = "the study of inversion has no such attack."
        return not_shown(
            title, adversary="the server", knowledge="the model it sent", control=control, why=why
        )
    worst, left = _worst(attacks), _worst(noisy) if noisy else None
    severity, status = judge(READ, worst.value, None if left is None else left.value)
    evidence = f"{worst.attack} on {worst.observed}: {worst.shown()} ({worst.measure}; a blind guess {worst.control:.1%})."
    if left is not None:
        evidence += (
            f" Under noise, the most of {len(noisy)} attacks: {left.shown()} ({left.attack}; {left.privacy})."
        )
    seen = [one for one in pictures if one.observed.startswith(worst.observed.split(" ")[0])]
    if seen:
        best = _worst(seen)
        evidence += f" Pictures: {best.shown()} by {best.attack} on {best.observed} (the mean picture {best.control:.1f} dB)."
    return Finding(
        title=title,
        severity=severity,
        adversary=worst.adversary,
        knowledge=worst.knowledge,
        evidence=evidence,
        number=f"{worst.measure}, as a share, " + ("under noise" if left is not None else "without noise"),
        interval=worst.value if left is None else left.value,
        interval_of=worst.interval_of,
        differs=(
            "the network and the batches are the attack's own, not this system's; against the attacks under noise: clipping, "
            "noise, the attack, and the number of records"
        ),
        control=control,
        status=status,
    )


def _named(named: list[Leakage]) -> Finding:
    if not named:
        why = "the study of inversion has no such attack."
        about = {
            "adversary": "a server that holds all other records",
            "knowledge": "all records but one",
            "control": NOISE,
        }
        return not_shown(NAMING, **about, why=why)
    worst = _worst(named)
    severity, status = judge(NAMED, worst.value)
    allowed = "" if worst.bound is None else f", any attacker at most {worst.bound:.1%}"
    return Finding(
        title=NAMING,
        severity=severity,
        adversary=worst.adversary,
        knowledge=worst.knowledge,
        evidence=(
            f"{worst.attack} on {worst.observed}: {worst.shown()} are named, a blind guess {worst.control:.1%}{allowed} "
            f"({worst.privacy})."
        ),
        number=NAMED.what,
        interval=worst.value,
        interval_of=worst.interval_of,
        differs="nothing was compared; the network is the attack's own, not this system's",
        control="more noise, or fewer rounds",
        status=status,
    )


def _worst(lines: Iterable[Leakage]) -> Leakage:
    return max(lines, key=lambda one: (one.value.estimate, one.value.high))
