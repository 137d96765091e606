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
# - say what an audit proves, and what it never proves;
# - find planted bugs in training code that you may only run, with evidence.
#
# **Prerequisites.** Lab 02 (DP-SGD). Membership inference in one sentence: guess from the model whether a record trained it.
#
# **Minutes.** 90, of which the machine needs about 4.
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import math

import numpy as np
import pandas as pd

from labkit import audit, data, dp, models, plots, profiles, stats, training
from labkit.audit import canaries, planted_bugs, scores
from labkit.course import Solved, banner, check
from labkit.widgets.audit import audit_explorer

profile = profiles.current()
mnist = data.load("mnist").take(profile.pick(smoke=600, laptop=2000, full=10_000), 1000)
solved = Solved("06")  # solved.NAME: your function once it has passed, labkit's until then
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
def roc_to_epsilon(true_positives: int, positives: int, false_positives: int, negatives: int) -> float:
    """Return the ε certified at 95% confidence (δ = 0), from two-sided 95% Clopper-Pearson intervals of both rates.

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
# With δ = 0 the inequality reads ε ≥ log(TPR / FPR).
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take the smallest TPR and the largest FPR that the data allow.
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
rows = []
for n in (1000, 5000, 10_000, 25_000):
    weak, perfect = solved.roc_to_epsilon(n // 20, n, n // 1000, n), solved.roc_to_epsilon(n, n, 0, n)
    rows.append({"runs per side": n, "TPR 5% at FPR 0.1%": weak, "perfect attack": perfect})
pd.DataFrame(rows).set_index("runs per side").round(2)

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
#
# Our canaries are images with a wrong label: a model can know that label only by having seen it.

# %%
marked = canaries.insert(mnist, profile.pick(smoke=300, laptop=1000, full=1000), seed=0)
pictures = plots.images(
    marked.x[:10].numpy(),
    [str(int(label)) for label in marked.y[:10]],
    alt="Ten handwritten digits, each with a label above it that is wrong: the canaries.",
)
plots.show(pictures)
print(
    f"{len(marked.y)} canaries, {int(marked.included.sum())} of them in ({mnist.source}; seed {marked.seed})"
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
    """Return +1 ("in") for the `top` highest scores, -1 ("out") for the `bottom` lowest, and 0 for the rest."""
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
# `np.argsort(scores)` lists the canaries from the lowest score to the highest.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Start from zeros, then set the first `bottom` and the last `top` of that order.
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
    """Return the largest probability of `correct` or more right guesses under ε-DP (δ = 0)."""
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
    """Return the largest ε whose p-value is at most 1 - confidence; 0 if not even ε = 0 is refuted."""
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
# and half "out"; that was decided before looking.

# %%
tenth = len(marked.y) // 10
guesses = solved.guesses(loss_scores, tenth, tenth)
made = guesses != 0
right = int(((guesses > 0) == marked.included.numpy())[made].sum())
print(
    f"{right} of {made.sum()} guesses right: ε >= {solved.one_run_epsilon(right, int(made.sum())):.2f} (δ = 0, 95% confidence)"
)

# %% [markdown]
# `audit.audit_one_run` does the same for any training function. It tries several numbers of guesses and pays for the
# choice: with four tests each gets a quarter of the allowed 5%. Here it is again without privacy, and for training that
# claims ε = 1. **Predict** both lower bounds.

# %%
size = {"canary_count": len(marked.y), "seed": 0}


def without_privacy(dataset: data.Dataset) -> training.FitResult:
    """Return what was trained above: the same seed gives the same canaries and coins, hence the same records."""
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
plots.show(audit.compare(results, title=f"One run, {len(marked.y):,} mislabelled canaries ({mnist.source})"))
for name, result in results.items():
    print(f"{name}: {result.verdict}")

# %% [markdown]
# ## 3. How many canaries?
#
# The widget shows what an audit of a given size can certify. The second curve is the **f-DP** form (Mahloujifar et al.,
# arXiv 2410.22235): it tests the whole curve of a Gaussian mechanism at once, not one (ε, δ) of it. It certifies more,
# for a mechanism that *is* Gaussian.
#
# **Predict.** 500 canaries, all guessed, all right: what is certified without any assumption? And with 90% right, does
# more of the same help beyond all bounds?

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
pd.DataFrame(rows).astype(object).fillna("never").set_index("accuracy of a guess")

# %% [markdown]
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

    `updates` is (steps, parameters), `directions` is (canaries, parameters); the result is (canaries,).
    """
    ### BEGIN SOLUTION
    return (updates @ directions.T).sum(axis=0)
    ### END SOLUTION


# %%
check("06.white_box_score", white_box_score)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One matrix product gives all inner products at once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `updates @ directions.T` has one row per step.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Add up over the steps: axis 0.
#
# </details>

# %% [markdown]
# Use it on correct DP-SGD (`bugs.correct`), with a canary in each of the parameters of a small linear model.

# %%
settings = audit.Settings()
claim = audit.claim_of(settings)
print(settings, "\nclaims", claim)
task = audit.blank_task(49)
directions = canaries.gradient_canaries(task.dimension, task.dimension, norm=1.0)
coins = canaries.flip_coins(task.dimension, seed=1)
run = planted_bugs.correct(audit.Task(task.x, task.y, 100 * directions[coins]), settings, seed=1)
found = solved.white_box_score(run.updates.numpy(), directions.numpy())
fpr, tpr = stats.roc(found[coins.numpy()], found[~coins.numpy()])

# %%
fig, ax = plots.figure(5.2, 4.2)
grid = np.linspace(0, 1, 201)
ax.plot(fpr, tpr, label="white-box score, one run")
ax.plot(grid, claim.tradeoff_curve(grid), label=f"ceiling of the claim, ε = {claim.epsilon:.2f}")
ax.plot(grid, grid, color="grey", linestyle=":", linewidth=1, label="guessing")
ax.set(
    xlabel="false positive rate",
    ylabel="true positive rate",
    title="Correct DP-SGD against the ceiling of its claim",
)
ax.legend()
area = stats.auc(found[coins.numpy()], found[~coins.numpy()])
plots.show(
    plots.describe(fig, f"ROC curve of the white-box score, area {area:.2f}, up to the ceiling of the claim.")
)

# %% [markdown]
# The ceiling is the f-DP curve of the claim: no attack on correct training lies above it, except by the luck of a finite
# sample. With this access the attack comes close to it. So a white-box audit has little slack: code that leaks
# noticeably more than it claims will show.
#
# ## 5. Five training functions
#
# `bugs.number(1)` to `bugs.number(5)` all look like DP-SGD and all claim the ε above. Some are broken. You may run
# them and see every update; you may not read them (yet).
#
# Five audits are five chances to accuse an innocent. `audit_gradients` corrects for the tests *within* an audit; the
# choice among five functions is yours to correct.
#
# ### Exercise 06.verdict: accuse several at once, and stay fair


# %%
def verdict(p_values: dict[int, float], confidence: float = 0.95) -> set[int]:
    """Return the numbers to accuse, so that any false accusation at all has probability at most 1 - confidence."""
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
    number: audit.audit_gradients(planted_bugs.number(number), settings, claimed=claim, seed=number)
    for number in range(1, 6)
}
plots.show(audit.compare({f"function {number}": result for number, result in audits.items()}))
accused = solved.verdict({number: result.p_value for number, result in audits.items()})
print("accused:", sorted(accused))

# %% [markdown]
# For each accused function, look at the evidence: *which* canaries gave it away, those in the weights or those in the
# bias? By which score? **Write down your diagnosis** before the next cell reveals the answers.

# %%
for number in sorted(accused):
    evidence = audits[number].table().sort_values("ε at least", ascending=False)
    print(f"function {number}\n{evidence.head(3).round(2).to_string()}\n")

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

# %% [markdown]
# One broken function was *not* accused. An audit that finds nothing proves nothing: shuffled batches leak more than the
# claim allows, but at this noise the difference drowns. At a noise level where single steps can be seen, many runs with
# one canary tell the two samplers apart: coin flips leave some records out of an epoch, shuffling leaves out none.

# %%
loud = audit.Settings(noise_multiplier=0.25, sample_rate=0.02, steps=50)
runs = {
    "runs": profile.pick(smoke=200, laptop=600, full=2000),
    "calibration": 100,
    "claimed": audit.claim_of(loud),
}
for train in (planted_bugs.shuffled, planted_bugs.correct):
    result = audit.audit_many_runs(audit.gradient_runs(train, loud), **runs)
    print(f"{train.__name__}: {result.verdict}")

# %% [markdown]
# The ε form alone could not have seen it: the claimed ε is far above what so few runs can certify. The claim was
# refuted as a *curve*: at a small false positive rate, more members were found than the curve allows.
#
# ## What you can now defend in an interview
#
# - *"Your training prints a small ε. How do I know that the code is right?"* Audit it. You have seen one audit pass
#   correct code and refute broken code that printed the same number.
# - *"The audit found a quarter of the claim, so is the true ε a quarter?"* No. It is at least that, with 95% confidence. The proof bounds it
#   from above, the audit from below.
# - *"How many runs do you need?"* One, with enough canaries; you know what 100, 500 and 1,000 guesses can certify.
# - *"You picked the best threshold on the ROC, right?"* No: it was fixed in advance, or paid for.
# - *"Which bugs would your audit miss?"* You can name one, and the size at which it shows.
