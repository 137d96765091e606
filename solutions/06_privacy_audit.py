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
# # 06 · The privacy audit: ε from below
#
# A proof bounds ε from above. A bug in the code voids the proof, and the printed ε stays the same. An audit attacks the
# training itself and computes, with a stated confidence, an ε that it *cannot be below*. When that number passes the
# claimed one, something is broken.
#
# **Objectives.** At the end you can
# - turn a point of a ROC curve into a lower bound on ε, and say how many runs it takes;
# - audit a training function in a single run, with canaries and coin flips;
# - say what an audit proves, what it never proves, and what one of its size would have missed;
# - check a training function step by step, where a bound on ε sees nothing;
# - find planted bugs in training code that you may only run, with evidence.
#
# **Prerequisites.** Lab 02 (DP-SGD). Membership inference in one sentence: guess from the model whether a record trained it.
#
# **Minutes.** 110, of which the machine needs about 4.
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from labkit import audit, data, dp, models, plots, profiles, stats, training
from labkit.audit import canaries, planted_bugs, scores
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.widgets import audit_explorer

profile = profiles.current()
mnist = data.load("mnist").take(profile.pick(smoke=600, laptop=2000, full=10_000), 1000)
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("06")
banner("06", mnist)

# %% [markdown]
# ## 1. From a point of the ROC curve to ε
#
# Differential privacy says that no test can tell "the record was in" from "it was out" too well:
# TPR ≤ e^ε · FPR + δ. Turned around, each attack that works certifies an ε. The rates are measured on finitely many
# runs, so each needs an interval; a bound from *below* takes the end that is worst for us of each.
#
# ### Exercise 06.roc_to_epsilon: from a point of the ROC curve to ε


# %%
def roc_to_epsilon(
    true_positives: int, positives: int, false_positives: int, negatives: int
) -> float:
    """Return the ε certified at 95% confidence (δ = 0), from two-sided 95%
    Clopper-Pearson intervals of both rates.

    `stats.clopper_pearson(hits, trials)` has the ends `.low` and `.high`.
    """
    ### BEGIN SOLUTION
    caught = stats.clopper_pearson(true_positives, positives)
    alarms = stats.clopper_pearson(false_positives, negatives)
    if caught.low == 0:
        return 0.0
    return max(0.0, math.log(caught.low / alarms.high))
    ### END SOLUTION


# %%
check("06.roc_to_epsilon", roc_to_epsilon)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A test bounds ε from below by how much more often it says "in" to members than to others. With few counts, which
# rates may you rely on?
#
# </details>
# <details><summary>Hint 2</summary>
#
# With δ = 0 the inequality reads ε ≥ log(TPR / FPR). Take the smallest TPR and the largest FPR that the data allow.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `math.log(caught.low / alarms.high)`, but never below 0; `caught.low` can be 0.
#
# </details>

# %% [markdown]
# **Predict.** An attack never errs: all members found, no false alarm. How large an ε does it certify with 1,000 runs
# on each side? And an attack with a TPR of 5% at an FPR of 0.1%?

# %%
predict(
    "06.perfect",
    "Which ε does a perfect attack certify with 1,000 runs on each side?",
    within=1,
)
predict("06.weak", "And an attack with a TPR of 5% at an FPR of 0.1%?", within=0.5)

# %%
rows = []
for n in (1000, 5000, 10_000, 25_000):
    weak, perfect = (
        solved.roc_to_epsilon(n // 20, n, n // 1000, n),
        solved.roc_to_epsilon(n, n, 0, n),
    )
    rows.append(
        {"runs per side": n, "TPR 5% at FPR 0.1%": weak, "perfect attack": perfect}
    )
certified = pd.DataFrame(rows).set_index("runs per side").round(2)
certified

# %%
thousand = certified.loc[1000, "perfect attack"]
revealed("06.perfect", thousand, source="computed, 95% confidence, no data")
barely = certified.loc[1000, "TPR 5% at FPR 0.1%"]
revealed("06.weak", barely, source="computed, 95% confidence, no data")

# %% [markdown]
# Even a perfect attack certifies a finite ε, and each further unit costs about e times as many runs. A threshold that
# is picked *after* looking at the scores makes all of it void: the point must be fixed in advance.
#
# ## 2. One run is enough
#
# Thousands of training runs are out of reach for a large model. Steinke, Nasr and Jagielski (arXiv 2305.08846) flip
# many coins in *one* run: each of m **canaries** is trained on if its coin says so. Afterwards the auditor guesses the
# coins from the model. Under pure ε-DP a guess is right with probability at most 1 / (1 + e^-ε), and abstaining is
# allowed.

# %%
plots.show(drawings.coins_and_guesses())

# %% [markdown]
# Chance gets half of the guesses right, and under a small ε nobody does much better. So many right guesses prove
# that ε is at least that large. The auditor guesses at both ends only, where the scores are sure.
#
# Our canaries are images with a wrong label: a model can know that label only by having seen it.

# %%
marked = canaries.insert(mnist, profile.pick(smoke=300, laptop=1000, full=1000), seed=0)

# %% tags=["hide-input"]
pictures = plots.images(
    marked.x[:10].numpy(),
    [str(int(label)) for label in marked.y[:10]],
    alt=(
        "Ten handwritten digits, each with a label above it that is wrong: the "
        "canaries."
    ),
)
plots.show(pictures)

# %%
print(
    f"{len(marked.y)} canaries, {int(marked.included.sum())} of them in "
    f"({mnist.source}; seed {marked.seed})"
)

# %%
plain = training.fit(
    models.small_cnn("relu", seed=0),
    marked.inserted(),
    epochs=profile.pick(smoke=15, laptop=40, full=40),
    learning_rate=0.05,
    batch_size=64,
)
print(plain)
loss_scores = scores.loss_difference(plain.model, marked.x, marked.y)

# %% [markdown]
# ### Exercise 06.guesses: guess where you are sure, abstain elsewhere


# %%
def make_guesses(scores: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Return +1 ("in") for the `top` highest scores, -1 ("out") for the `bottom`
    lowest, and 0 for the rest."""
    ### BEGIN SOLUTION
    order = np.argsort(scores)
    guesses = np.zeros(len(scores), dtype=int)
    guesses[order[len(scores) - top :]] = 1
    guesses[order[:bottom]] = -1
    return guesses
    ### END SOLUTION


# %%
check("06.guesses", make_guesses)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Sort the canaries by score; guess at both ends of that order, and nowhere else.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.argsort(scores)` lists the canaries from the lowest score to the highest. Start from zeros, then set the first
# `bottom` and the last `top` of that order.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `order[-top:]` is everything when `top` is 0; `order[len(scores) - top:]` is not.
#
# </details>

# %% [markdown]
# ### Exercise 06.p_value: how lucky is that, under the claim?
#
# Suppose training is ε-DP. Then right guesses are no more frequent than heads of a coin with rate 1 / (1 + e^-ε). How
# probable are as many right ones as we saw, or more?


# %%
def p_value(correct: int, guesses: int, epsilon: float) -> float:
    """Return the largest probability of `correct` or more right guesses under ε-DP (δ =
    0)."""
    ### BEGIN SOLUTION
    from scipy.stats import binom

    return float(binom.sf(correct - 1, guesses, 1 / (1 + math.exp(-epsilon))))
    ### END SOLUTION


# %%
check("06.p_value", p_value)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The number of right guesses is at worst binomial.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scipy.stats.binom.sf(k, n, p)` is P[X > k], without k itself.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `binom.sf(correct - 1, guesses, 1 / (1 + math.exp(-epsilon)))`
#
# </details>

# %% [markdown]
# ### Exercise 06.one_run_epsilon: the largest ε that the guesses refute
#
# Use `solved.p_value`: your own function once it has passed, labkit's until then.


# %%
def one_run_epsilon(correct: int, guesses: int, confidence: float = 0.95) -> float:
    """Return the largest ε whose p-value is at most 1 - confidence; 0 if not even ε = 0
    is refuted."""
    ### BEGIN SOLUTION
    low, high = 0.0, 50.0
    if solved.p_value(correct, guesses, low) > 1 - confidence:
        return 0.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        refuted = solved.p_value(correct, guesses, middle) <= 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low
    ### END SOLUTION


# %%
check("06.one_run_epsilon", one_run_epsilon)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The p-value grows with ε, so halve an interval until it is short enough.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the end that is still refuted as `low`, and return it.
#
# </details>
# <details><summary>Hint 3</summary>
#
# If `solved.p_value(correct, guesses, 0.0)` is above 0.05, nothing is certified: return 0.
#
# </details>

# %% [markdown]
# Now your audit, on the model that was trained without privacy. A fifth of the canaries is guessed, half of them "in"
# and half "out"; that was decided before looking. **Predict** the lower bound first.

# %%
predict(
    "06.one_run",
    "Without privacy: which ε does the one run certify at least?",
    factor=1.5,
)

# %%
tenth = len(marked.y) // 10
guesses = solved.guesses(loss_scores, tenth, tenth)
made = guesses != 0
right = int(((guesses > 0) == marked.included.numpy())[made].sum())
print(
    f"{right} of {made.sum()} guesses right: ε >= "
    f"{solved.one_run_epsilon(right, int(made.sum())):.2f} (δ = 0, 95% confidence)"
)

# %% [markdown]
# `audit.audit_one_run` does the same for any training function. It tries several numbers of guesses and pays for the
# choice: with four tests each gets a quarter of the allowed 5%. Here it is again without privacy, and for training that
# claims ε = 1. **Predict** what it says of the second.

# %%
predict(
    "06.one_run_private",
    "Where ε = 1 is claimed: what does the run certify, and is the claim refuted?",
    words=True,
)

# %%
size = {"canary_count": len(marked.y), "seed": 0}


def without_privacy(dataset: data.Dataset) -> training.FitResult:
    """Return what was trained above: the same seed gives the same canaries and coins,
    hence the same records."""
    return plain


def with_privacy(dataset: data.Dataset) -> dp.PrivateResult:
    """Train with DP-SGD at ε = 1; the result carries its claim."""
    return dp.train_private(
        models.small_cnn("tanh", seed=0),
        dataset,
        target_epsilon=1.0,
        expected_batch_size=150,
        steps=profile.pick(smoke=20, laptop=100, full=300),
        engine="vmap",
        seed=0,
    )


results = {
    "no privacy": audit.audit_one_run(without_privacy, mnist, **size),
    "DP-SGD, ε = 1": audit.audit_one_run(with_privacy, mnist, **size),
}
plots.show(
    audit.compare(
        results,
        title=f"One run, {len(marked.y):,} mislabelled canaries ({mnist.source})",
    )
)
for name, result in results.items():
    print(
        f"{name} ({mnist.source}, profile {profile.name}, seed {result.seed}): "
        f"{result.verdict}\n"
    )

# %%
open_book = results["no privacy"].epsilon
revealed("06.one_run", open_book, source=f"{mnist.source}, 95% confidence")
guarded = results["DP-SGD, ε = 1"]
revealed(
    "06.one_run_private",
    f"ε of at least {guarded.epsilon:.2f} is certified, and the claim of "
    f"{guarded.claimed_epsilon:.2f} is {'' if guarded.refuted else 'not '}refuted",
    source=f"{mnist.source}, 95% confidence",
)

# %% [markdown]
# Each verdict ends with what an audit of this size would have caught *at best*. Read it before you are reassured by
# "not refuted": a leak below that figure would have passed.
#
# ## 3. How many canaries?
#
# The widget shows what an audit of a given size can certify. The second curve is the **f-DP** form (Mahloujifar et al.,
# arXiv 2410.22235): it tests the whole curve of a Gaussian mechanism at once, not one (ε, δ) of it. It certifies more,
# for a mechanism that *is* Gaussian.
#
# **Predict.** 500 canaries, all guessed, all right: what is certified without any assumption? And with 90% right, does
# more of the same help beyond all bounds?

# %%
predict(
    "06.more",
    "What do 500 right guesses of 500 certify? With 90% right, how far does more help?",
    words=True,
)

# %%
audit_explorer()

# %%
rows = [
    {
        "accuracy of a guess": p,
        "guesses for ε = 1": audit.guesses_needed(1.0, p),
        "guesses for ε = 3": audit.guesses_needed(3.0, p),
    }
    for p in (0.75, 0.9, 0.97, 1.0)
]
fewest = pd.DataFrame(rows).astype(object).fillna("never")
fewest = fewest.set_index("accuracy of a guess")
fewest

# %%
for_three = fewest.loc[0.9, "guesses for ε = 3"]
counted = "no number" if for_three == "never" else f"{for_three:,.0f}"
revealed(
    "06.more",
    f"all right certify ε = {solved.one_run_epsilon(500, 500):.2f}; with 90% right "
    f"{counted} of guesses certifies ε = 3, and log(0.9 / 0.1) is "
    f"{math.log(0.9 / 0.1):.2f}",
    source="computed, δ = 0, 95% confidence, no data",
)

# %% [markdown]
# ### Exercise 06.power: would this audit have seen it?
#
# The other side of the same arithmetic. Training claims ε and leaks more, so that a guess is right with a probability
# above 1 / (1 + e^-ε). How probably does an audit with so many guesses refute the claim? This is its **power**, and it is
# known *before* anything is trained. Use `solved.p_value`.


# %%
def power(guesses: int, epsilon: float, accuracy: float) -> float:
    """Return the probability that the claim ε is refuted at 95% confidence if each
    guess is right with `accuracy`."""
    ### BEGIN SOLUTION
    from scipy.stats import binom

    needed = next(
        (c for c in range(guesses + 1) if solved.p_value(c, guesses, epsilon) <= 0.05),
        guesses + 1,
    )
    return float(binom.sf(needed - 1, guesses, accuracy))
    ### END SOLUTION


# %%
check("06.power", power)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First find the smallest number of right guesses whose p-value under the claim is at most 0.05.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Then ask how probable that number or more is, when guesses are right with probability `accuracy`, not with the claim's.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `binom.sf(needed - 1, guesses, accuracy)`; if no number refutes, the power is 0.
#
# </details>

# %% [markdown]
# **Predict.** Training claims ε = 1 and really gives ε = 2. How many guesses make it probable that an audit notices, if
# each guess is as good as ε = 2 allows?

# %%
predict(
    "06.enough",
    "From how many guesses on does the audit notice more often than not?",
    unit="guesses",
    factor=2,
)

# %%
rows = []
for guesses_made in (20, 50, 100, 200, 500):
    powers = {
        f"true ε = {e}": solved.power(guesses_made, 1.0, 1 / (1 + math.exp(-e)))
        for e in (1.0, 1.5, 2.0, 3.0)
    }
    rows.append({"guesses": guesses_made, **powers})
powers = pd.DataFrame(rows).set_index("guesses").round(2)
powers

# %%
as_good = 1 / (1 + math.exp(-2.0))
enough = 1 + max(g for g in range(1, 101) if solved.power(g, 1.0, as_good) <= 0.5)
revealed(
    "06.enough", enough, source="computed, more often than not from there on, no data"
)

# %% [markdown]
# The first column is the audit's false alarm rate: the claim is true there. The others say what "nothing was found"
# is worth.
#
# ## 4. Look inside: white-box canaries
#
# The final model shows little of a noisy run. A **white-box** auditor sees each update, and may choose gradients, not
# just records: one canary for each parameter, so that no two of them touch. If a canary was in, every batch that it
# joined carries a push along its direction.
#
# ### Exercise 06.white_box_score: score a canary by every update


# %%
def white_box_score(updates: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return one score per canary: its inner products with all updates, added up.

    `updates` is (steps, parameters), `directions` is (canaries, parameters); the result
    is (canaries,).
    """
    ### BEGIN SOLUTION
    return (updates @ directions.T).sum(axis=0)
    ### END SOLUTION


# %%
check("06.white_box_score", white_box_score)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Each step and each canary give one number: how far the update went in the canary's direction. One product gives
# them all.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Inner products of all steps with all canaries are one matrix product, updates times the directions turned on their
# side: one row a step.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Add up over the steps: `(updates @ directions.T).sum(axis=0)`.
#
# </details>

# %% [markdown]
# Use it on correct DP-SGD (`planted_bugs.correct`), with a canary in each of the parameters of a small linear model.

# %%
settings = audit.Settings()
claim = audit.claim_of(settings)
print(settings, "\nclaims", claim)
task = audit.blank_task(49)
directions = canaries.gradient_canaries(task.dimension, task.dimension, norm=1.0)
coins = canaries.flip_coins(task.dimension, seed=1)
run = planted_bugs.correct(
    audit.Task(task.x, task.y, 100 * directions[coins]), settings, seed=1
)
found = solved.white_box_score(run.updates.numpy(), directions.numpy())
fpr, tpr = stats.roc(found[coins.numpy()], found[~coins.numpy()])

# %% tags=["hide-input"]
fig, ax = plots.figure(5.2, 4.2)
grid = np.linspace(0, 1, 201)
ax.plot(fpr, tpr, label="white-box score, one run")
ax.plot(
    grid,
    claim.tradeoff_curve(grid),
    label=f"ceiling of the claim, ε = {claim.epsilon:.2f}",
)
ax.plot(grid, grid, color="grey", linestyle=":", linewidth=1, label="guessing")
ax.set(
    xlabel="false positive rate",
    ylabel="true positive rate",
    title="Correct DP-SGD against the ceiling of its claim\n"
    "records made for the audit, seed 1",
)
ax.legend()
area = stats.auc(found[coins.numpy()], found[~coins.numpy()])
plots.show(
    plots.describe(
        fig,
        (
            f"ROC curve of the white-box score, area {area:.2f}, up to the ceiling of "
            "the claim."
        ),
    )
)

# %% [markdown]
# The ceiling is the f-DP curve of the claim: no attack on correct training lies above it, except by the luck of a finite
# sample. One run draws a rough curve: with this access it comes close to the ceiling in places, and
# where it stays below, one run does not say whether the attack or luck was short. The *audit* loses more: it must turn
# counts into certainty, and section 5 shows how much slips through.
#
# ## 5. Five training functions
#
# `planted_bugs.number(1)` to `planted_bugs.number(5)` all look like DP-SGD and all claim the ε above. Some are broken. You
# may run them and see every update; you may not read them (yet).
#
# Five audits are five chances to accuse an innocent. `audit_gradients` corrects for the tests *within* an audit; the
# choice among five functions is yours to correct.
#
# ### Exercise 06.verdict: accuse several at once, and stay fair


# %%
def verdict(p_values: dict[int, float], confidence: float = 0.95) -> set[int]:
    """Return the numbers to accuse, so that any false accusation at all has probability
    at most 1 - confidence."""
    ### BEGIN SOLUTION
    level = (1 - confidence) / len(p_values)
    return {number for number, p in p_values.items() if p <= level}
    ### END SOLUTION


# %%
check("06.verdict", verdict)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A p-value of 5% comes up once in twenty audits of correct code.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Bonferroni: with k tests, each gets 1/k of the allowed error.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Compare each p-value with `(1 - confidence) / len(p_values)`.
#
# </details>

# %%
audits = {
    number: audit.audit_gradients(
        planted_bugs.number(number), settings, claimed=claim, seed=number
    )
    for number in range(1, 6)
}
plots.show(
    audit.compare({f"function {number}": result for number, result in audits.items()})
)
print(audits[3].power)
accused = solved.verdict({number: result.p_value for number, result in audits.items()})
print("accused:", sorted(accused))

# %% [markdown]
# For each accused function, look at the evidence: *which* canaries gave it away, those in the weights or those in the
# bias? By which score? **Write down your diagnosis** in the box below the evidence, before the cell after it reveals the
# answers.

# %%
for number in sorted(accused):
    evidence = audits[number].table().sort_values("ε at least", ascending=False)
    print(f"function {number}\n{evidence.head(3).round(2).to_string()}\n")
predict(
    "06.diagnosis",
    "Your diagnosis: what is wrong with each function that you accuse?",
    words=True,
)

# %%
rows = []
for number in range(1, 6):
    planted = planted_bugs.reveal(number)
    rows.append(
        {
            "function": number,
            "accused": number in accused,
            "what is wrong": planted.wrong or "nothing",
            "how it comes about": planted.seen,
        }
    )
pd.set_option("display.max_colwidth", None)
pd.DataFrame(rows).set_index("function")

# %%
faults = [
    f"{number}: {planted_bugs.reveal(number).wrong or 'nothing'}"
    for number in sorted(accused)
]
revealed(
    "06.diagnosis",
    "; ".join(faults) or "no function was accused",
    source="the five functions, white-box canaries",
)

# %% [markdown]
# One broken function was *not* accused. Shuffled batches leak more than the claim allows, but at this noise the
# difference drowns. At a noise level where single steps can be seen, many runs with one canary tell the two samplers
# apart: coin flips leave some records out of an epoch, shuffling leaves out none.

# %%
loud = audit.Settings(noise_multiplier=0.25, sample_rate=0.02, steps=50)
runs = {
    "runs": profile.pick(smoke=200, laptop=600, full=2000),
    "calibration": 100,
    "claimed": audit.claim_of(loud),
}
for train in (planted_bugs.ALL["shuffled"].train, planted_bugs.correct):
    result = audit.audit_many_runs(audit.gradient_runs(train, loud), **runs)
    print(f"{train.__name__}: {result.verdict}\n")

# %% [markdown]
# Read that verdict closely. The claimed ε at δ = 1e-5 is *not* refuted, and it is even true: in shuffled epochs each
# record takes part exactly once, so its loss is that of a single step. What cannot be true is the claimed **curve**,
# δ(ε), at *small* ε: at a small false positive rate more members were found than the curve allows. A statement "ε = …"
# claims the whole curve.

# %%
once = dp.privacy_statement(dp.SampledGaussian(loud.noise_multiplier, 1))
print("one step, every record in it:", once)
pd.DataFrame(
    [
        {
            "ε": e,
            "δ claimed (coin flips)": runs["claimed"].delta_at(e),
            "δ when each record is in once": once.delta_at(e),
        }
        for e in (0.0, 1.0, 5.0, 20.0, 40.0)
    ]
).set_index("ε")

# %% [markdown]
# ## 6. Step by step
#
# A bound on ε adds a whole run up to a single number, and small faults drown in it. But DP-SGD is a *recipe*: flip a coin
# for each record, clip each gradient, add noise of this strength to each coordinate at each step. Whoever sees the
# steps can test the recipe itself. `audit.conformance` does: it trains on 40 records of its own, whose clipped
# gradients it can compute, and turns the noise *down* in most runs. Then each step tells who was in the batch.

# %%
task = audit.probe_task()

names = ("correct", "shuffled", "with_replacement", "batch_for_two_steps")
batches = {}
for name in names:
    seen = audit.watch(planted_bugs.ALL[name].train, task, audit.QUIET, 1)
    batches[name], _ = seen.estimated_parts()

# %% tags=["hide-input"]
fig, axes = plots.figure(8.6, 2.9, ncols=len(names))
for ax, (name, parts) in zip(axes, batches.items(), strict=True):
    ax.imshow(
        np.rint(parts[:30]),
        cmap="Greys",
        vmin=0,
        vmax=2,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set(
        title=name.replace("_", " "),
        xlabel="record",
        ylabel="step" if name == names[0] else "",
    )
    ax.grid(False)
fig.suptitle("Who was in which batch (records made for the audit, seed 1)")
plots.show(
    plots.describe(
        fig,
        "Four grids of 30 steps and 40 records, grey where a record was in the batch, "
        "black where it was in it twice. Correct: scattered, rows of changing size. "
        "Shuffled: every record once in each ten steps. With replacement: some black "
        "cells. Batch for two steps: rows come in equal pairs.",
    )
)

# %% [markdown]
# **Predict.** Which of the four would you recognise from the *sizes* of the batches alone?

# %%
predict(
    "06.sizes",
    "Which of the four do the sizes of their batches give away, and how?",
    words=True,
)

# %%
sizes = {
    name: np.rint(parts).sum(axis=1).astype(int) for name, parts in batches.items()
}
for sampler, in_order in sizes.items():
    print(f"{sampler}: batches of {', '.join(map(str, in_order[:16]))}, ...")
fixed = [name for name, sized in sizes.items() if len(set(sized)) == 1]
twice = [
    name
    for name, sized in sizes.items()
    if name not in fixed and np.array_equal(sized[::2], sized[1::2])
]
revealed(
    "06.sizes",
    f"always of one size: {', '.join(fixed) or 'none'}; every size twice in a row: "
    f"{', '.join(twice) or 'none'}; correct: {sizes['correct'].min()} to "
    f"{sizes['correct'].max()}",
    source=f"records made for the audit, {len(sizes['correct'])} steps, seed 1",
)

# %% [markdown]
# What is left when the known pushes are taken away is noise, thousands of numbers of it. That pins its strength down far
# better than any attack could.
#
# ### Exercise 06.noise_strength: how strong was the noise?


# %%
def noise_strength(noise: np.ndarray, sigma: float) -> tuple[float, float]:
    """Return a 95% interval (low, high) for the true standard deviation of `noise`,
    divided by `sigma`.

    The numbers are independent and Gaussian with a mean that is known to be 0: the sum
    of their squares, divided by the true variance, follows a χ² law with as many
    degrees of freedom as there are numbers.
    """
    ### BEGIN SOLUTION
    from scipy.stats import chi2

    total, count = float((noise**2).sum()), noise.size
    low, high = (
        math.sqrt(total / chi2.ppf(0.975, count)),
        math.sqrt(total / chi2.ppf(0.025, count)),
    )
    return low / sigma, high / sigma
    ### END SOLUTION


# %%
check("06.noise_strength", noise_strength)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A sum of squared noises over its true variance follows a known law. So the variance lies where that law makes the
# sum plausible.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With probability 95%, `total / variance` lies between the 2.5% and the 97.5% point of the χ² law. Solve for the
# variance: the *larger* point gives the *lower* end.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `math.sqrt(total / chi2.ppf(0.975, count)) / sigma` is the lower end.
#
# </details>

# %%
rows = []
for name in (
    "correct",
    "noise_at_four_fifths",
    "noise_at_seven_tenths",
    "sqrt_of_sigma",
):
    seen = audit.watch(planted_bugs.ALL[name].train, task, audit.QUIET, 1)
    low, high = solved.noise_strength(
        seen.sums[:, seen.unused], audit.QUIET.noise_multiplier
    )
    rows.append(
        {
            "function": name,
            "noise / σ, low": low,
            "high": high,
            "numbers": seen.sums[:, seen.unused].size,
        }
    )
pd.DataFrame(rows).set_index("function").round(3)

# %% [markdown]
# One run, and noise that is a little too weak is beyond doubt. The audit of section 5 said itself how weak noise must be
# before it notices. `audit.conformance` makes many such checks over a few runs: the noise's strength at each step, in
# each layer and coordinate, its repetition and distribution; how far a record pushes, in which layer, and whether
# anything else pushes; rate, sizes and repetition of batches. All p-values are corrected together.

# %%
conformed = {
    number: audit.conformance(planted_bugs.number(number), seed=number)
    for number in range(1, 6)
}
for number, result in conformed.items():
    worst = (
        f": {result.failed[0].name}, {result.failed[0].found}"
        if result.deviates
        else ""
    )
    print(
        f"function {number}: {'deviates' if result.deviates else 'no deviation found'}"
        f"{worst}"
    )
plots.show(conformed[4].plot())

# %% [markdown]
# **Predict.** Of all the planted bugs, how many does each audit flag: ten runs of guesses, and five runs looked at step
# by step?

# %%
predict(
    "06.by_guesses",
    "Which share of the planted bugs do guesses refute?",
    unit="%",
    within=10,
)
predict("06.by_steps", "And which share is flagged step by step?", unit="%", within=10)

# %%
everyone = [
    name for name, planted in planted_bugs.ALL.items() if not planted.is_correct
]
chosen = everyone[:: profile.pick(smoke=5, laptop=1, full=1)]
rows = []
for name in chosen:
    planted = planted_bugs.ALL[name]
    guessed = audit.audit_gradients(planted.train, settings, claimed=claim, seed=1)
    stepwise = audit.conformance(planted.train, seed=1)
    rows.append(
        {
            "what is wrong": planted.wrong,
            "guesses": "refuted" if guessed.refuted else "-",
            "step by step": f"{stepwise.failed[0].name}" if stepwise.deviates else "-",
        }
    )
table = pd.DataFrame(rows).set_index("what is wrong")
print(
    f"{len(table)} bugs: guesses refute {(table['guesses'] != '-').sum()}, step by "
    f"step {(table['step by step'] != '-').sum()} are flagged (seed 1, profile "
    f"{profile.name})"
)
table

# %%
flagged = (table != "-").mean()
on = f"{len(table)} bugs, seed 1"
revealed("06.by_guesses", flagged["guesses"], times=100, source=on)
revealed("06.by_steps", flagged["step by step"], times=100, source=on)

# %% [markdown]
# Some of these have no finite ε at all: a weight, or a step, that gets no noise shows its batch in clear. Guesses miss
# even those, because what leaks sits in few of the numbers that are guessed from. "Not refuted" says little about code.
#
# Read the second share with care: the checks were written with most of these bugs in view, so it says that they see what
# they were made to see. Of a bug that nobody thought of, it says nothing (section 7 has one).
#
# It works on your own loop, too: `train(task, settings, seed)` trains `task.model()` on `task.dataset()` with any torch
# optimizer, and hooks see the steps. Here is labkit's engine.


# %%
def ours(task: audit.Task, settings: audit.Settings, seed: int) -> dp.PrivateResult:
    """DP-SGD by labkit, as the audit's settings say."""
    return dp.train_private(
        task.model(),
        task.dataset(),
        noise_multiplier=settings.noise_multiplier,
        max_grad_norm=settings.max_grad_norm,
        expected_batch_size=settings.sample_rate * task.n,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        engine="vmap",
        seed=seed,
    )


result = audit.conformance(ours, seed=0)
print(result)

# %% [markdown]
# ## 7. What neither sees
#
# `exempt_record` clips everybody, but records of one odd kind. No record of the audit is of that kind.

# %%
exempt = planted_bugs.ALL["exempt_record"].train
print("conformance:", audit.conformance(exempt, seed=1).summary(), "\n")
print(
    "guesses:",
    audit.audit_gradients(exempt, settings, claimed=claim, seed=1).verdict,
    "\n",
)
blank = audit.blank_task(49)
odd = torch.zeros(1, blank.dimension)
odd[0, 100:] = 0.123456
for name, gradient in (("ordinary", 5 * odd), ("odd", odd)):
    alone = audit.Task(blank.x, blank.y, gradient, blank.classes)
    moved = exempt(
        alone,
        replace(settings, noise_multiplier=1e-3, sample_rate=1.0, max_grad_norm=0.1),
        0,
    ).updates
    print(f"{name} record: pushes {float(moved[0].norm() / 0.1):.1f} C")
pd.DataFrame({"what no look at steps can show": result.numbers()["not checked"]})

# %% [markdown]
# An audit is a test, and a test sees what it tries. Against the rest there are other means: reading the code, tests of
# each piece, few and simple pieces, and a proof that is checked against *this* code.
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("06")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Your training prints a small ε. How do I know that the code is right?"* Bound ε from below, and check the steps. You
#   have seen one audit pass correct code and refute broken code that printed the same number, and the other find what
#   the first missed.
# - *"The audit found a quarter of the claim, so is the true ε a quarter?"* No. It is at least that, with 95% confidence.
#   The proof bounds it from above, the audit from below.
# - *"It was not refuted. Good?"* Ask what an audit of that size would have caught: that figure is known beforehand.
# - *"The claim is refuted, but the measured ε is below it. A mistake?"* No: the claimed curve is refuted at small ε. The
#   printed ε may still be true.
# - *"How many runs do you need?"* One, with enough canaries; you know what 100, 500 and 1,000 guesses can certify.
# - *"You picked the best threshold on the ROC, right?"* No: it was fixed in advance, or paid for.
# - *"Which bugs would your audits miss?"* You can name one for guesses, with the size at which it shows, and one that no
#   look at steps shows.
