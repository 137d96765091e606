# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · Threat analysis of the capstone
#
# In lab 11 five hospitals trained a cancer model together: secure aggregation, differential privacy, a mark in each
# hospital's share. Today you are paid to break it. A review board has to decide whether the system goes live, and it
# reads two pages: what was tried, by whom, what came of it, and what nobody tried.
#
# **Objectives.** At the end you can
# - say who the adversaries of a federation are, and what each of them knows;
# - find out who is in the training data from nothing but exact sums, and say what noise does to that attack;
# - compute what another hospital, or four that collude, can subtract;
# - cheat as a server and as a hospital, and say which control stops what, and what no control here stops;
# - judge a finding by its interval, and write a report that claims nothing that was not measured.
#
# **Prerequisites.** Labs 10 and 11; lab 05 for LiRA and RMIA.
#
# **Minutes.** 110, of which the machine needs about one once the system is prepared (`labkit prepare 12`, about ten minutes).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from labkit import plots, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.federated import Noise, federate, result, rounds
from labkit.federated.threats import (
    RULES,
    study_collusion,
    study_membership,
    study_server,
    verdict,
    watch,
)
from labkit.scenarios import hospitals

# A sentence that is cut off says something else.
pd.set_option("display.max_colwidth", None)
setting = hospitals.scene()
system, federation = setting.system, setting.federation
names, pooled = federation.hospitals.names, federation.hospitals.pooled()
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("12")
banner("12", pooled)
print(system.describe())

# %% [markdown]
# Before any attack, a list. **Predict.** Write down yours first, then compare.

# %%
predict(
    "12.adversaries",
    "Who could want something from this system, and what does each of them see?",
    words=True,
)

# %%
adversaries = {
    "whoever gets the model": ("the final model", "was this patient in?"),
    "the server, or whoever follows the training": (
        "the model after every round, so every sum",
        "the same; whole records",
    ),
    "another hospital": (
        "that, its own records and its own noise",
        "the neighbour's patients",
    ),
    "hospitals that collude": (
        "all of theirs",
        "the same; and to leave no trace in a leaked copy",
    ),
    "a malicious server": ("every message, and it may lie", "one hospital's vector"),
    "a malicious hospital": (
        "the model; it may send anything",
        "a backdoor, others' marks, a free ride",
    ),
}
pd.DataFrame.from_dict(
    adversaries, orient="index", columns=["sees", "wants"]
).rename_axis("adversary")

# %%
revealed(
    "12.adversaries",
    f"{len(adversaries)} adversaries: {'; '.join(adversaries)}",
    source="no data: a list",
)

# %%
plots.show(drawings.who_sees_what())

# %% [markdown]
# No honest party sees one hospital's update. But a sum *is* seen, and a new one comes every round. What does it
# tell, and to whom? Sections 1 to 3.
#
# ## 1. Sums are not anonymous
#
# "The server sees only the sum of five hospitals" sounds safe. Suppose it has 455 candidate patients, half of whom are
# in. It knows the model of each round, so it knows what each candidate's gradient *would be*. The sum is then a linear
# equation in 455 unknowns, each 0 or 1, and it comes once for each weight and each round.
#
# **Predict.** No noise, a few rounds: how many of the 455 patients can the server tell?

# %%
predict(
    "12.told",
    "Without noise, which share of the candidates does the server tell rightly?",
    unit="%",
    within=10,
)

# %% [markdown]
# ### Exercise 12.who_is_in: who is in, from the sums of all rounds


# %%
def who_is_in(
    gradients: Sequence[np.ndarray], sums: Sequence[np.ndarray]
) -> np.ndarray:
    """Return an estimate for each of n candidates: near 1 if its gradient is in the
    sums, near 0 if not.

    `gradients` has one array (n, d) for each round: what each candidate would add.
    `sums` has one array (d,) for each round: gradients.T @ coins, where coins (n,) are
    the same in all rounds.
    """
    ### BEGIN SOLUTION
    equations = np.concatenate([rows.T for rows in gradients])
    return np.linalg.lstsq(equations, np.concatenate(sums), rcond=None)[0]
    ### END SOLUTION


# %%
check("12.who_is_in", who_is_in)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One round gives d equations. Put the equations of all rounds on top of each other, and the sums likewise.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `rows.T` is (d, n): one equation a row. `np.concatenate` stacks them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `np.linalg.lstsq(np.concatenate([rows.T for rows in gradients]), np.concatenate(sums), rcond=None)[0]`
#
# </details>

# %%
bare = replace(federation, noise=Noise(threshold=federation.noise.threshold))
rows, told = [], {}
for name, target in (("no clipping, no noise", bare), ("as built", federation)):
    seen = watch(target, rounds=3)
    estimate = solved.who_is_in(seen.gradients, seen.sums)
    guessed = estimate > 0.5
    right = stats.clopper_pearson(int((guessed == seen.members).sum()), len(guessed))
    told[name] = right
    rows.append(
        {
            "system": name,
            "patients told rightly": right.percent(1),
            "AUC": stats.auc(estimate[seen.members], estimate[~seen.members]),
        }
    )
print(
    f"3 rounds, {len(seen.members)} candidates, a coin each; seed 0; interval over "
    "candidates of this one federation"
)
pd.DataFrame(rows).set_index("system").round(3)

# %%
on = f"{bare.hospitals.source}, 3 rounds, seed 0"
revealed("12.told", told["no clipping, no noise"], times=100, source=on)

# %% [markdown]
# Every patient or nearly so, from sums alone, and secure aggregation did its work faithfully. Least squares does not
# expect noise, so the second row proves little: **a weak attack that fails proves nothing.** The study below uses an
# attack that knows clipping and noise (the linear posterior mean), all rounds, and rehearses on shadow federations that
# were trained with the *same* defence. Beside it stand LiRA and RMIA (lab 05), which see the final model only, and the
# adversary of the definition of differential privacy, who knows everybody but one patient.
#
# **Predict.** Which of these comes closest to the ceiling that the promise draws?

# %%
predict(
    "12.closest",
    "Which attack on the system as built comes closest to its ceiling, and how close?",
    words=True,
)

# %%
membership = study_membership(system)
print(
    f"{membership.source}; profile {membership.profile}, seed {membership.seed}; "
    f"{membership.rounds} rounds"
)
print("intervals over", membership.numbers()["intervals over"])
membership.table()

# %%
tried = [
    row
    for row in membership.rows
    if (row.arm, row.victims) == ("as built", "all hospitals")
]
nearest, second = sorted(tried, key=lambda row: -row.tpr.estimate / row.ceiling)[:2]
revealed(
    "12.closest",
    f"by its estimate {nearest.attack}, {nearest.tpr.percent(1)} of "
    f"{100 * nearest.ceiling:.1f}% allowed; then {second.attack}, "
    f"{second.tpr.percent(1)} of {100 * second.ceiling:.1f}%",
    source=f"{membership.source}, seed {membership.seed}",
)

# %%
plots.show(membership.plot(), poster=True)

# %% [markdown]
# Without noise, the final model alone gives little away, and the rounds give away all. So "we publish only the final
# model" is worth something, but in a federation every participant sees every round. Clipping alone (not tried in profile
# smoke) is no defence. With noise no *estimate* at 1% false positives should exceed what is allowed; look whether one does,
# and where its interval ends. (Profile smoke plays six rounds of the same noise, so its ε is smaller, and few targets: its
# rows are a rehearsal.) **Explain** the row of *the tenth with the largest gradients*:
# compare its AUC with the one allowed. The promise is about an adversary who knows nearly everything and a record that
# moves the model much; is it slack for them, too?
#
# ## 2. The neighbour
#
# Under distributed noise every hospital adds a share, and the sum carries enough. But each hospital knows its own share.
#
# ### Exercise 12.left_over: what another hospital can subtract


# %%
def left_over(
    total: np.ndarray,
    known: Sequence[np.ndarray],
    share_multiplier: float,
    survivors: int,
) -> tuple[np.ndarray, float]:
    """Return what is left of a round's sum for hospitals that pool what they know, and
    the noise multiplier in it.

    `total` (d,) is the sum over `survivors` hospitals; `known` are the colluders' own
    contributions (d,), noise share included. Each hospital's share has standard
    deviation `share_multiplier` clipping norms, drawn independently.
    """
    ### BEGIN SOLUTION
    rest = total - sum(known, np.zeros_like(total))
    return rest, share_multiplier * np.sqrt(survivors - len(known))
    ### END SOLUTION


# %%
check("12.left_over", left_over)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A contribution is gradients plus noise share. Who made it knows both, and takes off both.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Variances of independent shares add up, standard deviations do not.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `total - sum(known)`, and `share_multiplier * np.sqrt(survivors - len(known))`; mind an empty `known`.
#
# </details>

# %%
state, grid = rounds.begin(federation), rounds.grid_of(federation)
sent = {
    name: grid.value(rounds.contribute(federation, name, state, seed=0))
    for name in names
}
for colluders in range(len(names)):
    known = [sent[name] for name in names[:colluders]]
    _, multiplier = solved.left_over(
        sum(sent.values()), known, federation.noise.share_multiplier, len(names)
    )
    observer = "another hospital" if colluders else "everyone who gets the model"
    promise = federation.noise.statement(
        federation.training.rounds,
        observer=observer,
        colluders=colluders,
        survivors=len(names),
    )
    print(
        f"{colluders} colluding: noise multiplier {multiplier:.2f}; {promise}, unit "
        "patient"
    )

# %% [markdown]
# **Predict.** Four hospitals collude against the fifth, the largest. Its noise share is all that is left. How many more
# of its patients do they find? (Profile smoke has too few targets to try.)

# %%
predict(
    "12.gang",
    "How many more of its patients do four that collude find than the server alone?",
    words=True,
)

# %%
collusion = study_collusion(system)
print(collusion.summary())
if collusion.steps:  # in profile smoke there are too few targets
    plots.show(collusion.plot())
collusion.table() if collusion.steps else collusion.findings()[0].evidence

# %%
outcome = f"not tried: {collusion.why}"
if collusion.steps:
    server_alone, together = collusion.steps[0], collusion.steps[-1]
    outcome = (
        f"{together.colluders} find {together.tpr.percent(1)}, the server alone "
        f"{server_alone.tpr.percent(1)}; AUC {together.auc} and {server_alone.auc}"
    )
revealed("12.gang", outcome, source=f"{collusion.source}, seed {collusion.seed}")

# %% [markdown]
# The column *left after subtraction* (not in profile smoke) was measured on the rounds themselves. What is promised should
# lie in nearly every interval, and just beside one that misses it: of many 95% intervals one in twenty does, whereas a share
# left out would be missed by far. The growth of ε is certain; that of what an attack finds has to be shown.
# Compare the AUCs of none and of four: do their intervals lie apart? At 1% false alarms few counts decide, and intervals
# that overlap there decide nothing.
#
# ## 3. The server
#
# What does a server see if there is *no* secure aggregation? In the first layer, z = W x + b and a gradient δ arrives at
# each neuron: dW = δ xᵀ and db = δ.
#
# ### Exercise 12.dense_leak: records out of a dense layer


# %%
def dense_leak(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return a candidate record (d,) for each neuron that saw one: an array (neurons
    with bias gradient != 0, d).

    `weight` (hidden, d) and `bias` (hidden,) are gradients of the first dense layer,
    summed over a batch.
    """
    ### BEGIN SOLUTION
    used = bias != 0
    return weight[used] / bias[used, None]
    ### END SOLUTION


# %%
check("12.dense_leak", dense_leak)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For one record, a neuron's weight gradient and its bias gradient hide the record behind the same unknown factor.
#
# </details>
# <details><summary>Hint 2</summary>
#
# dW = δ x and db = δ. A neuron that no record activates has db = 0 and dW = 0: leave its row out.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `used = bias != 0`, then `weight[used] / bias[used, None]`
#
# </details>


# %%
def first_layer(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first layer's part of a flat vector: (hidden, d) and (hidden,)."""
    d, hidden = pooled.train_x.shape[1], hospitals.HIDDEN
    return vector[: d * hidden].reshape(hidden, d), vector[
        d * hidden : d * hidden + hidden
    ]


def read_exactly(vector: np.ndarray, records: np.ndarray) -> int:
    """Return how many of the records are among the candidates, each value to 1e-3."""
    found = solved.dense_leak(*first_layer(vector))
    gaps = (
        np.abs(found[:, None] - records[None]).max(2).min(0)
        if len(found)
        else np.full(len(records), np.inf)
    )
    return int((gaps < 1e-3).sum())


# %%
rng, model, trials, rows = np.random.default_rng(0), federation.make_model(), 40, []
for who, size in (
    ("one hospital, 1 patient", 1),
    ("one hospital, 4 patients", 4),
    ("sum of 5 hospitals, 1 patient each", 5),
    ("sum of 5 hospitals, 8 patients each", 40),
):
    hits = noisy_hits = 0
    for _ in range(trials):
        chosen = rng.permutation(len(pooled.train_y))[:size]
        x, y = pooled.train_x[chosen], pooled.train_y[chosen]
        exact = rounds.gradient_sum(model, x, y, None)
        clipped = rounds.gradient_sum(model, x, y, federation.noise.max_grad_norm)
        noise = (
            federation.noise.noise_multiplier
            * federation.noise.max_grad_norm
            * rng.standard_normal(len(exact))
        )
        hits += read_exactly(exact, x.numpy()) > 0
        noisy_hits += read_exactly(clipped + noise, x.numpy()) > 0
    rows.append(
        {
            "the server sees": who,
            "in the clear": stats.clopper_pearson(hits, trials).percent(0),
            "clipped, with the system's noise": stats.clopper_pearson(
                noisy_hits, trials
            ).percent(0),
        }
    )
print(
    f"share of {trials} batches from which at least one record is read exactly; "
    "intervals over batches; seed 0"
)
pd.DataFrame(rows).set_index("the server sees")

# %% [markdown]
# A sum of five hospitals still hands out records: with one patient each, some neuron is activated by one of them alone.
# Adding up is not hiding. Under noise the division gives nonsense; stronger attacks (a trap in the model, all rounds,
# least squares) are in the findings below.
#
# ### A server that lies
#
# Secure aggregation has to stand against a server that does not follow the protocol. Each row was tried with real
# messages, on each hospital. The first row is the control: an honest round passes, so "refused" is not all it can say.
#
# The lies: another model to one hospital; both secrets at once, or by two lists; a dropout made up, told to the victim or to
# the others; survivors changed later; keys substituted or replayed; a replayed round; a round of one; a roster of the
# server's own; a stranger on the agreed one. **Predict.** One of these tries is *not* refused, and does no harm. And one
# thing works every time. Which?

# %%
predict(
    "12.lies",
    "Which lie is not refused and of no use to the server, and which works every time?",
    words=True,
)

# %%
server = study_server(system)
print(f"{len(server.tries)} tries; vectors of the system's own first round")
server.table()

# %%
by_way = {}
for one in (*server.tries, *server.invented):
    by_way.setdefault(one.way, []).append(one)
idle = [
    way for way, tries in by_way.items() if not any(t.refused or t.read for t in tries)
]
works = [way for way, tries in by_way.items() if all(t.read for t in tries)]
revealed(
    "12.lies",
    f"not refused and of no use: {', '.join(idle)}; works every time: "
    f"{', '.join(works)}",
    source=f"{server.source}, {len(by_way)} ways on each hospital",
)

# %% [markdown]
# Read the two rows on the roster together. Cryptography tells a hospital that it talks to the keys on its list; it
# cannot tell it that those are hospitals. Who keeps the list, and how a name gets onto it, belongs in the report.
#
# ## 4. A hospital that lies
#
# Secure aggregation hides *who* sent what, from the honest and for the malicious. A hospital may put any vector into the
# sum. In federated averaging the server takes the mean of updates, weighted by records.
#
# ### Exercise 12.boosted_update: one hospital writes the global model


# %%
def boosted_update(
    wanted: np.ndarray,
    others: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    attacker: str,
) -> np.ndarray:
    """Return the update (d,) that the attacker sends so that the global change becomes
    `wanted` (d,).

    The server computes sum(sizes[h] * update of h) / sum(sizes) over all hospitals, the
    attacker's included. `others` holds the updates that the attacker expects of the
    other hospitals.
    """
    ### BEGIN SOLUTION
    total = sum(sizes.values())
    honest = sum(sizes[name] * update for name, update in others.items())
    return (total * wanted - honest) / sizes[attacker]
    ### END SOLUTION


# %%
check("12.boosted_update", boosted_update)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write the server's mean with your update v as the unknown, set it equal to `wanted`, and solve for v.
#
# </details>
# <details><summary>Hint 2</summary>
#
# (own · v + Σ others) / total = wanted. Each of the others counts its own hospital's records.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `(total * wanted - sum(sizes[name] * update for name, update in others.items())) / sizes[attacker]`
#
# </details>

# %% [markdown]
# The smallest hospital wants the model to say the opposite of what it learned: wanted = -2 × the change so far. It does
# not know the others' updates and expects zeros. **Predict** the accuracy after one round, and then under a bound on the
# length of each update, set at the longest honest one.

# %%
predict(
    "12.boosted",
    "How accurate is the model after one round with the boosted update?",
    unit="%",
    within=10,
)
predict(
    "12.bounded", "And if the length of each update is bounded?", unit="%", within=5
)

# %%
averaging = hospitals.undefended(setting.seed)
sizes, start = averaging.sizes, rounds.begin(averaging)
attacker = min(sizes, key=sizes.get)
trained = federate(averaging, seed=0, secure=False, keep_states=True)
late = trained.states[-2]
honest = {
    n: rounds.grid_of(averaging).value(rounds.contribute(averaging, n, late, seed=0))
    / sizes[n]
    for n in names
}
wanted = -2 * (late.weights - start.weights)
expected = {name: np.zeros_like(wanted) for name in names if name != attacker}
lie = solved.boosted_update(wanted, expected, sizes, attacker)
bound = max(np.linalg.norm(update) for update in honest.values())


# %%
def after(updates: Mapping[str, np.ndarray]) -> stats.Interval:
    """Return the accuracy after the server added the weighted mean of these updates."""
    mean = sum(sizes[name] * update for name, update in updates.items()) / sum(
        sizes.values()
    )
    return result.measure(
        rounds.unflatten(averaging.make_model(), late.weights + mean), pooled
    )


def bounded(update: np.ndarray) -> np.ndarray:
    return update * min(1, bound / np.linalg.norm(update))


lied = honest | {attacker: lie}
cases = {
    "all honest": honest,
    f"{attacker} boosts": lied,
    "the same, each length bounded": {n: bounded(u) for n, u in lied.items()},
}
print(
    f"{attacker}: {sizes[attacker]} of {sum(sizes.values())} records; its update is "
    f"{np.linalg.norm(lie) / bound:.0f} times the longest honest one"
)
print(f"{averaging.hospitals.source}; seed 0, one split; intervals over test patients")
came = {name: after(updates) for name, updates in cases.items()}
pd.DataFrame(
    [{"updates": name, "accuracy": found.percent(1)} for name, found in came.items()]
).set_index("updates")

# %%
on = f"{averaging.hospitals.source}, seed 0"
revealed("12.boosted", came[f"{attacker} boosts"], times=100, source=on)
revealed("12.bounded", came["the same, each length bounded"], times=100, source=on)

# %% [markdown]
# Against this lie the bound works. Now the catch: *who enforces it?* Under secure aggregation the server sees no update, so it cannot
# measure one. A hospital that clips itself is trusted to; the encoding bounds each value, which is loose; proofs of a
# bound (zero-knowledge range proofs) exist and cost. And the rules that are praised against liars?
#
# ### Exercise 12.median_needs_clear: which rules need updates in clear
#
# A rule can run under secure aggregation if it is a function of the sum. Then two sets of updates with the same sum must
# give the same result. Find out by trying, for any rule.


# %%
def median_needs_clear(
    rule: Callable[[np.ndarray], np.ndarray], updates: np.ndarray
) -> bool:
    """Return whether `rule` needs more than the sum: True if two sets with the same sum
    give different results.

    `rule` takes updates (hospitals, d) and returns (d,). `updates` (hospitals, d) is
    one set to start from. Results that differ by rounding only are equal.
    """
    ### BEGIN SOLUTION
    random, before = np.random.default_rng(0), rule(updates)
    for _ in range(10):
        shift = random.normal(size=updates.shape) * np.abs(updates).max()
        if not np.allclose(rule(updates + shift - shift.mean(0)), before, atol=1e-6):
            return True
    return False
    ### END SOLUTION


# %%
check("12.median_needs_clear", median_needs_clear)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Make a second set with the same sum: whatever you add to one hospital's update, take off others'.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A random matrix less its mean over hospitals adds up to zero in each coordinate. Small moves may not change which update
# is the middle one: make them as large as the updates.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `shift - shift.mean(0)` has sum zero; compare `rule(updates + ...)` with `rule(updates)` by `np.allclose`, a few times.
#
# </details>

# %%
example = np.stack(list(honest.values()))
rules = {
    "mean": lambda u: u.mean(0),
    "sum, then clipped as a whole": lambda u: (
        u.sum(0) * min(1, bound / np.linalg.norm(u.sum(0)))
    ),
    "each clipped by the server": lambda u: np.stack([bounded(one) for one in u]).sum(
        0
    ),
    "median of each weight": lambda u: np.median(u, axis=0),
    "trimmed mean": lambda u: np.sort(u, axis=0)[1:-1].mean(0),
}
for name, rule in rules.items():
    needs = solved.median_needs_clear(rule, example)
    print(f"{name}: {'needs updates in clear' if needs else 'the sum is enough'}")

# %% [markdown]
# This is the tension of the whole design. Hiding updates protects patients, and hides liars; the rules that resist liars
# want to see. The findings price both sides.
#
# ## 5. Findings
#
# A finding is a number with an interval, and a judgement that follows from it by rule:
#
# - **answered** only if the upper end *with the control in place* stays below the lowest level; otherwise **open**;
# - severity of an answered threat: what the control averts, by the *lower* end of the attack without it;
# - severity of an open one: the worst that is not excluded, by the *upper* end of what is left.
#
# **Predict.** An attack was run once, and found nothing. (One run alone has an infinite interval.) Which severity, which
# status?

# %%
predict(
    "12.one_run",
    "One run that found nothing, and no control was tried: which severity and status?",
    choices=["none, answered", "none, open", "critical, answered", "critical, open"],
)

# %% [markdown]
# ### Exercise 12.severity: how severe, and is it answered?


# %%
def severity(
    attack: tuple[float, float],
    controlled: tuple[float, float] | None,
    levels: Mapping[str, float],
) -> tuple[str, str]:
    """Return (severity, status) by the rule above.

    `attack` is the interval (low, high) without the control, `controlled` the one with
    it, None if that was not tried: then what is left is the attack itself. `levels`
    maps "low", "medium", "high" and "critical" to where each begins; a value below all
    is "none". Status is "answered" or "open".
    """

    ### BEGIN SOLUTION
    def level(value: float) -> str:
        reached = [
            name
            for name in ("low", "medium", "high", "critical")
            if value >= levels[name]
        ]
        return reached[-1] if reached else "none"

    left = attack if controlled is None else controlled
    if left[1] < levels["low"]:
        return level(attack[0]), "answered"
    return level(left[1]), "open"
    ### END SOLUTION


# %%
check("12.severity", severity)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First: what is left? The controlled interval, or the attack where there is none.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `left[1] < levels["low"]` decides the status. Then severity is a level of *one* number: which end of which interval?
#
# </details>
# <details><summary>Hint 3</summary>
#
# answered: `level(attack[0])`; open: `level(left[1])`; a level is the highest name whose number is at most the value.
#
# </details>

# %%
LEVELS = {"low": 0.02, "medium": 0.05, "high": 0.1, "critical": 0.5}
arms = {
    arm: membership.row(arm, "all rounds, outsider")
    for arm in ("no clipping, no noise", "as built")
}
attack, left = ((row.tpr.low, row.tpr.high) for row in arms.values())
print(
    "members found in all rounds' sums at 1% false positives:",
    *(f"{arm} {row.tpr.percent(1)}" for arm, row in arms.items()),
    sep="\n  ",
)
print("your judgement:", solved.severity(attack, left, LEVELS))
one_run = solved.severity((0.0, float("inf")), None, LEVELS)
print("one run that found nothing:", one_run)
revealed("12.one_run", ", ".join(one_run), source="no data: the rule")

# %% [markdown]
# Now everything: what you tried above, what malicious hospitals do to accuracy and marks, robust rules, drift over the
# years. It is kept once it was run. In profile smoke the runs are so few that a line here is a rehearsal, no verdict.

# %%
found = hospitals.findings(setting)
print(found.summary())
found.table()[["severity", "status", "measured", "value [95% interval]"]]

# %%
plots.show(found.plot())

# %% [markdown]
# **Explain.** Take the first open line. What would you do: accept it, mend it, or measure more? The answer is in which
# end of the interval keeps it open.

# %%
worst = next(finding for finding in found.findings if finding.status == "open")
for name, text in worst.numbers().items():
    print(f"{name}: {text}")

# %% [markdown]
# ## 6. The report

# %%
written = found.report(Path(".labkit") / "threat-analysis-12")
for path in written:
    print(
        path.name,
        f"{path.stat().st_size / 1000:.0f} kB, figures inside, nothing is fetched",
    )

# %%
for sentence in f"{verdict(found)} {RULES}".split(". "):
    print(f"- {sentence.rstrip('.')}.")

# %% [markdown]
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("12")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Walk me through the threat model."* The table at the top: six adversaries, what each sees, and for each a number, its
#   interval, and what the interval is an interval of.
# - *"Secure aggregation hides the updates. Why noise, too?"* You solved for the members with least squares, from sums.
# - *"The model passes a membership test. Is it private?"* The final model gave little away without any noise; the rounds
#   gave all away. Say which adversary was tested, and whether the attack knew the defence.
# - *"Each hospital adds a share of the noise. What does a hospital see?"* The sum less its own share: sqrt(4/5) of the noise,
#   and you can say the ε. With k colluders sqrt((5 - k)/5).
# - *"Can the server be trusted?"* It need not be for the protocol: you tried twelve ways. It must not write the roster.
# - *"Why not take the median?"* Because a median needs updates in clear, and you can prove it with two sets of equal sum.
# - *"How severe is this finding?"* By rule, from the interval. And a missing experiment is not a pass.
