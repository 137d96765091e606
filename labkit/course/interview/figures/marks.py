"""Numbers about watermarks and the court: null rates, ranks, plans, and what grinding keys finds."""

from __future__ import annotations

from labkit import stats, watermark
from labkit.course.interview.numbers import given, number
from labkit.watermark.verification import binomial, redrawn_keys

CLASSES = given("classes", 10, "{:d}", "classes of the marked model")
TRIGGERS = given("triggers", 100, "{:d}", "triggers that a suspect is shown")
HITS = given("hits", 30, "{:d}", "triggers that hit")
INNOCENT = given("innocent_rate", 0.25, "{:.0%}", "hits of the likeliest innocent model")
ALPHA = given("alpha", 0.001, "{:g}", "level at which a mark is proven")
STRONG = given("strong_rate", 0.9, "{:.0%}", "hits of a strong mark on the thief")
WEAK = given("weak_rate", 0.4, "{:.0%}", "hits of a mark that suffered")
NULLS = given("nulls", 20, "{:d}", "independently trained models")
KEYS = given("keys_asked", 999, "{:,d}", "keys drawn anew and put to the suspect")
SUSPECTS = given("suspects", 5, "{:d}", "suspects of a trial")
COURT = given("court_alpha", 0.01, "{:g}", "probability to convict any innocent in the whole trial")
SIMULATED = given("trials_simulated", 1000, "{:,d}", "simulated trials of innocents")
GROUND = given("keys_ground", 10_000, "{:,d}", "keys that a forger tries in private")


@number("{:.1e}")
def p_by_chance() -> float:
    """p-value of the hits against 1 / classes: the wrong null (binomial.tail)"""
    return binomial.tail(HITS, TRIGGERS, 1 / CLASSES)


@number("{:.2f}")
def p_by_innocents() -> float:
    """p-value of the same hits against the likeliest innocent model (binomial.tail)"""
    return binomial.tail(HITS, TRIGGERS, INNOCENT)


@number("{:d}")
def hits_by_chance() -> int:
    """hits that prove a mark against 1 / classes: watermark.hits_needed"""
    return watermark.hits_needed(TRIGGERS, 1 / CLASSES, ALPHA)


@number("{:d}")
def hits_by_innocents() -> int:
    """hits that prove a mark against innocents: watermark.hits_needed"""
    return watermark.hits_needed(TRIGGERS, INNOCENT, ALPHA)


@number("{:d}")
def queries_strong() -> int:
    """queries that prove a strong mark against those innocents with power 90%: binomial.queries_needed"""
    return binomial.queries_needed(STRONG, INNOCENT, ALPHA)


@number("{:d}")
def queries_weak() -> int:
    """queries that prove a weak mark against those innocents with power 90%: binomial.queries_needed"""
    return binomial.queries_needed(WEAK, INNOCENT, ALPHA)


@number("{:.3f}")
def rank_nulls() -> float:
    """smallest p-value that so many null models carry: 1 over their number plus one"""
    return 1 / (NULLS + 1)


@number("{:g}")
def rank_keys() -> float:
    """smallest p-value that so many redrawn keys carry: redrawn_keys.redrawn_p"""
    return redrawn_keys.redrawn_p(1.0, [0.0] * KEYS)


@number("{:g}")
def level_each() -> float:
    """alpha of one line with a direction against one suspect: watermark.Plan.threshold"""
    return watermark.Plan(alpha=COURT).threshold(SUSPECTS)


@number("{:,d}")
def keys_for_level() -> int:
    """redrawn keys whose smallest p-value reaches that level: watermark.Plan.redraws"""
    return watermark.Plan(alpha=COURT).redraws(SUSPECTS)


@number("{:d}")
def lines_needed() -> int:
    """lines that must speak before the court convicts: watermark.Plan"""
    return watermark.Plan().needed


@number("{:d}")
def nulls_needed() -> int:
    """null models below which the court only rehearses: watermark.Plan"""
    return watermark.Plan().minimum


@number("{:.0%}")
def none_of_nulls() -> float:
    """upper 95% end of a false claim rate of none among the null models: stats.clopper_pearson"""
    return stats.clopper_pearson(0, NULLS).high


@number("{:.2%}")
def none_of_trials() -> float:
    """upper 95% end of a false conviction rate of none in the simulated trials: stats.clopper_pearson"""
    return stats.clopper_pearson(0, SIMULATED).high


@number("{:.3%}")
def grinding() -> float:
    """chance that at least one of the keys tried in private looks proven at alpha by luck"""
    return 1 - (1 - ALPHA) ** GROUND


@number("{:.0f}")
def lucky_keys() -> float:
    """keys expected to look proven by luck"""
    return ALPHA * GROUND


@number("{}")
def plan_lines() -> str:
    """the lines of evidence of the kit's default plan, with the records each suspect is shown: watermark.Plan.queries"""
    return ", ".join(f"{line} ({count:,})" for line, count in watermark.Plan(alpha=COURT).queries.items())


@number("{}")
def plan_directional() -> str:
    """the lines that tell who copied whom: watermark.Plan.directional"""
    return " and ".join(watermark.Plan(alpha=COURT).directional)


@number("{}")
def plan_faults() -> str:
    """what an opponent would hold against a plan in which one line convicts: watermark.Plan.faults"""
    return "; ".join(watermark.Plan(alpha=COURT, needed=1).faults())
