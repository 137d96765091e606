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
# # 01 · Differential privacy from the ground up
#
# **The promise that the rest of the course is about.** You publish statistics of real patients, see how an exact one
# gives a patient away, repair it with noise, and then attack the repair: as a statistician, and through the last bits
# of a floating-point number.
#
# **Objectives.** At the end you can
# - state what ε and δ promise, to whom, and against which attacker;
# - bound how far one record moves a sum or a mean, under both neighbouring relations;
# - write the Laplace mechanism and randomised response, and calibrate Gaussian noise exactly;
# - compose releases three ways and say how far apart the answers are;
# - say what a whole family is promised, which releases share one budget, and what may be done to an output for free;
# - draw the ceiling that (ε, δ) puts over every attacker's ROC curve, and measure an attacker against it;
# - break a textbook Laplace sampler from one released number, and fix it.
#
# **Prerequisites.** Lab 00; probability densities; NumPy.
#
# **Minutes.** 105, of which the machine needs about 2.
#
# **Difficulty.** ●●●○○ (3 of 5)

# %%
import math
import random

import numpy as np
import pandas as pd

from labkit import data, dp, plots, profiles, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.dp.mechanisms import floating_point

profile = profiles.current()
cancer = data.load("breast_cancer")
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("01")
banner("01", cancer)
table = data.breast_cancer_table()
radius = table["mean radius"].to_numpy()
malignant = (table["diagnosis"] == "malignant").to_numpy()
table[["mean radius", "mean texture", "mean area", "diagnosis"]].describe().round(2)

# %% [markdown]
# ## 1. Two harmless averages
#
# The table is real: the Wisconsin Diagnostic Breast Cancer data, one row for each patient, measured on the nuclei of
# cells taken by needle. The radius of a nucleus is in the unit of the microscope image.
#
# A hospital publishes the exact mean radius of its patients. The next day one patient withdraws, and it publishes the
# mean again. No name, no record, only two averages over hundreds of people.
#
# **Predict before you run.** The averages come as doubles: to how many decimal places can a reader compute that
# patient's radius?

# %%
predict(
    "01.digits",
    (
        "How many decimal places of the radius come out right, from the two exact "
        "averages?"
    ),
    within=2,
)

# %%
patient = int(radius.argmax())
n = len(radius)
before, after = radius.mean(), np.delete(radius, patient).mean()
recovered = n * before - (n - 1) * after
print(f"published: {before:.6f} (n = {n}), then {after:.6f} (n = {n - 1})")
print(f"recovered: {recovered:.6f}; in the table: {radius[patient]:.6f}")

# %%
# Two averages as doubles: what is still wrong is their rounding alone.
wrong = max(abs(recovered - radius[patient]), np.finfo(float).eps)
revealed("01.digits", math.floor(-math.log10(wrong)), source=cancer.source)

# %% [markdown]
# An average over hundreds is not private because it is an average. What goes wrong is that the two worlds, with this
# patient and without, lead to *different* publications for certain.
#
# **The promise.** A randomised algorithm $M$ is $(\varepsilon, \delta)$-differentially private if for every two
# neighbouring tables $D, D'$ and every set $S$ of outputs
#
# $$\Pr[M(D) \in S] \le e^{\varepsilon} \Pr[M(D') \in S] + \delta.$$
#
# Whatever an attacker knows already, and whatever they do with the output, the output is almost as likely in the world
# without you. *Neighbouring* means one record more or less (**add/remove**) or one record changed with their number
# public (**replace-one**). A statement of ε that does not say which is not finished.

# %%
plots.show(drawings.two_worlds())

# %% [markdown]
# From one answer nobody can tell for certain which world it came from: wherever it falls, the two curves differ by
# a factor of at most $e^{\varepsilon}$. ε is the **largest** gap over all answers, not the average one.
#
# ## 2. How far can one record move the answer?
#
# Noise has to cover the difference between the two worlds, so first bound it. The bounds of a record must not be read
# off the data: this table's own maximum *is* a patient. We take public ones.

# %%
low, high = data.public_ranges()["mean radius"]
print(
    f"public range of the radius: {low} to {high}; values in the table outside of it: "
    f"{(radius > high).sum()}"
)

# %% [markdown]
# ### Exercise 01.sum_sensitivity: how far can one record move a sum?
#
# Records lie in `[low, high]`. Return the largest difference between the sums of two neighbouring tables.


# %%
def sum_sensitivity(low: float, high: float, neighbouring: str) -> float:
    """Return the sensitivity of a sum; `neighbouring` is "add/remove" or "replace-one";
    `low` may be negative."""
    ### BEGIN SOLUTION
    if neighbouring == "add/remove":
        return max(abs(low), abs(high))
    return high - low
    ### END SOLUTION


# %%
check("01.sum_sensitivity", sum_sensitivity)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Take the two relations one at a time. What does the sum lose when a record leaves? What does it gain and lose when one
# record is swapped for another?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Try `low = -3, high = 1`. A record of -3 that leaves moves the sum by 3. A record that changes from -3 to 1 moves it by
# 4.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Add/remove: `max(abs(low), abs(high))`. Replace-one: `high - low`.
#
# </details>

# %%
relations = ["add/remove", "replace-one"]
rows = {
    "sum, records in [0, 40]": [solved.sum_sensitivity(0, 40, r) for r in relations],
    "sum, records in [-20, 20]": [
        solved.sum_sensitivity(-20, 20, r) for r in relations
    ],
    "sum, records in [30, 40]": [solved.sum_sensitivity(30, 40, r) for r in relations],
    "histogram (L1)": [dp.histogram_sensitivity(r) for r in relations],
    "histogram (L2)": [dp.histogram_sensitivity(r, norm=2) for r in relations],
    f"mean of {n} in [0, 40], n public": [
        "n is private here",
        dp.mean_sensitivity(0, 40, n),
    ],
}
pd.DataFrame(rows, index=relations).T

# %% [markdown]
# Neither relation is always the cheaper one, and shifting the same range changes the answer under one of them only.
#
# ## 3. Laplace noise
#
# Noise with density proportional to $e^{-|y| / b}$ changes by a factor of at most $e^{\Delta / b}$ when its centre moves
# by Δ. With $b = \Delta / \varepsilon$ that factor is the one promised, for **every** output at once, and δ is zero.
#
# ### Exercise 01.laplace_mechanism: the Laplace mechanism


# %%
def laplace_mechanism(
    value: float, sensitivity: float, epsilon: float, rng: np.random.Generator
) -> float:
    """Release `value` with Laplace noise drawn from `rng`, so that the release is
    epsilon-DP."""
    ### BEGIN SOLUTION
    return value + rng.laplace(0.0, sensitivity / epsilon)
    ### END SOLUTION


# %%
check("01.laplace_mechanism", laplace_mechanism)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A smaller ε promises more, so it must cost more noise; so must a larger sensitivity.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The scale is `sensitivity / epsilon`. It is the mean of |noise|, not the standard deviation.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `rng.laplace(loc, scale)` draws one number.
#
# </details>

# %% [markdown]
# ### Exercise 01.private_mean: a private mean
#
# The number of patients is public, one record may be replaced (replace-one), and a record may lie outside of the bounds.
# Draw the noise with `solved.laplace_mechanism`: your own once it has passed, labkit's until then.


# %%
def private_mean(
    values: np.ndarray,
    low: float,
    high: float,
    epsilon: float,
    rng: np.random.Generator,
) -> float:
    """Release the mean of `values`, each first moved into [low, high], with epsilon-DP
    under replace-one."""
    ### BEGIN SOLUTION
    clipped = np.clip(values, low, high)
    return solved.laplace_mechanism(
        clipped.mean(), (high - low) / len(values), epsilon, rng
    )
    ### END SOLUTION


# %%
check("01.private_mean", private_mean)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A sensitivity holds only for records that respect the bounds: `np.clip` makes them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Replacing `low` by `high` moves the sum by `high - low`, and the mean by n times less.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `solved.laplace_mechanism(np.clip(values, low, high).mean(), (high - low) / len(values), epsilon, rng)`.
#
# </details>

# %% [markdown]
# What does the reader of section 1 see now? Both worlds give the same kind of number, and one release cannot tell them
# apart by more than the promise allows. *That* somebody left stays public, since n is; what their radius was does not.
# Subtract two noisy means as in section 1, and the radius comes out give or take n times their noise:

# %%
epsilon = 1.0
mechanism = dp.Laplace(epsilon, dp.mean_sensitivity(low, high, n))
# Two independent draws, each of deviation √2 scale.
spread = n * math.sqrt(2) * math.sqrt(2) * mechanism.scale
print(
    f"subtracting two means at ε = {epsilon:g} each: the radius ± {spread:.0f}, of a "
    f"range of {high - low:g}"
)
outputs = np.linspace(before - 0.5, before + 0.5, 800)
swapped = radius.copy()
# The neighbour: the largest nucleus replaced by the smallest that the bounds allow.
swapped[patient] = low
centres = {"with the patient": before, "patient replaced": swapped.mean()}
density = {
    name: mechanism.log_density(outputs, centre) for name, centre in centres.items()
}

# %% tags=["hide-input"]
fig, (left, right) = plots.figure(9, 3.6, ncols=2)
for name, log_density in density.items():
    left.plot(outputs, np.exp(log_density), label=name)
left.set(
    xlabel="released mean radius (image units)",
    ylabel="density",
    title=f"Two worlds, ε = {epsilon:g}, {cancer.source}",
)
left.legend()
right.plot(
    outputs,
    density["with the patient"] - density["patient replaced"],
    color=plots.COLOURS[2],
)
for line in (-epsilon, epsilon):
    right.axhline(line, color="black", linestyle="--", linewidth=1)
right.set(
    xlabel="released mean radius (image units)",
    ylabel="log ratio of densities",
    title="The ratio never leaves ±ε",
)
alt = (
    "Left: two Laplace densities of the released mean, their peaks close together. "
    "Right: the log ratio of the two, flat at one end, falling between the peaks, "
    "flat at the other, always between the dashed lines at plus and minus ε."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# The ratio stays inside the lines: this patient is extreme, but not as far apart from the lower bound as a record may be.
#
# **Predict before you run.** The noise on the mean at ε = 1: is it larger or smaller than the uncertainty that the mean
# has anyway, because these are only so many patients? And at ε = 0.1?

# %%
predict(
    "01.cross",
    "From which ε on is the noise on the mean smaller than the mean's own uncertainty?",
    factor=2,
)

# %%
budgets = np.geomspace(0.03, 10, 9)
rng = np.random.default_rng(0)
repeats = profile.pick(smoke=200, laptop=1000, full=5000)
error = [
    stats.mean_interval(
        [
            abs(solved.private_mean(radius, low, high, e, rng) - before)
            for _ in range(repeats)
        ]
    )
    for e in budgets
]
# The mean |error| of a normal variable, as the noise's is measured too.
sampling = radius.std(ddof=1) / math.sqrt(n) * math.sqrt(2 / math.pi)
cross = dp.mean_sensitivity(low, high, n) / sampling
print(
    f"mean |error| of the sample mean {sampling:.3f}; the noise is smaller from about "
    f"ε = {cross:.2f} on"
)

# %%
revealed("01.cross", cross, source=cancer.source)

# %% tags=["hide-input"]
fig, ax = plots.figure()
ax.loglog(
    budgets,
    [e.estimate for e in error],
    marker="o",
    label=f"measured, {repeats} releases each",
)
plots.band(ax, budgets, [e.low for e in error], [e.high for e in error])
ax.loglog(
    budgets,
    dp.mean_sensitivity(low, high, n) / budgets,
    label="theory: (high - low) / (n ε)",
)
ax.axhline(
    sampling,
    color="black",
    linestyle=":",
    label="mean |error| of the sample mean itself",
)
ax.set(
    xlabel="ε",
    ylabel="mean |error| (image units)",
    title=f"What a private mean radius costs\n{cancer.source}",
)
ax.legend()
alt = (
    "Mean absolute error of the private mean against ε, both on log axes: the "
    "measured points lie on the straight line of the theory, falling as one over ε, "
    "and cross the horizontal line of the sampling error below ε = 1."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# Privacy of a statistic over many people is cheap: the noise falls like 1/n, the sampling error only like 1/√n.
#
# ## 4. Randomised response: no trusted curator
#
# So far somebody held the table. Suppose that patients do not trust the hospital either. Each one randomises their own
# answer to "is it malignant?": the truth with probability $e^\varepsilon / (1 + e^\varepsilon)$, the opposite otherwise.
# Nobody ever sees a true answer, yet the share can be estimated.
#
# ### Exercise 01.estimate_share: undo randomised response


# %%
def estimate_share(responses: np.ndarray, epsilon: float) -> float:
    """Return an unbiased estimate of the share of true ones, from randomised
    `responses` (0 or 1)."""
    ### BEGIN SOLUTION
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    return (np.mean(responses) - (1 - keep)) / (2 * keep - 1)
    ### END SOLUTION


# %%
check("01.estimate_share", estimate_share)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the share of responses that say 1, when a share s of the truths is 1.
#
# </details>
# <details><summary>Hint 2</summary>
#
# seen = s · keep + (1 - s) · (1 - keep). Solve for s.
#
# </details>
# <details><summary>Hint 3</summary>
#
# s = (seen - (1 - keep)) / (2 keep - 1). Do not cut the result to [0, 1]: that biases it.
#
# </details>

# %% [markdown]
# **Predict before you run.** At the same ε, how many times larger is the error without a curator than with one?

# %%
predict(
    "01.curator",
    "At ε = 1, how many times larger is the error without a curator?",
    unit="times",
    factor=2,
)


# %%
def share_errors(epsilon: float) -> dict[str, stats.Interval]:
    """Return the mean |error| of the malignant share, by who holds the data."""
    response, count = (
        dp.RandomisedResponse(epsilon),
        dp.Laplace(epsilon, dp.count_sensitivity()),
    )
    answers, share = malignant.astype(int), malignant.mean()
    local = [
        abs(solved.estimate_share(response.release(answers, rng), epsilon) - share)
        for _ in range(repeats)
    ]
    central = [
        abs(count.release(malignant.sum(), rng) / n - share) for _ in range(repeats)
    ]
    return {
        "randomised response": stats.mean_interval(local),
        "Laplace on the count": stats.mean_interval(central),
    }


# %%
measured = {e: share_errors(e) for e in (0.1, 0.3, 1.0, 3.0)}

# %% tags=["hide-input"]
fig, ax = plots.figure()
for name in ("randomised response", "Laplace on the count"):
    points = [m[name] for m in measured.values()]
    ax.loglog(list(measured), [p.estimate for p in points], marker="o", label=name)
    plots.band(ax, list(measured), [p.low for p in points], [p.high for p in points])
ax.set(
    xlabel="ε per patient",
    ylabel="mean |error| of the share",
    title=f"Share of malignant cases\n{cancer.source}, {n} patients",
)
ax.legend()
alt = (
    "Mean absolute error of the estimated malignant share against ε on log axes, with "
    "narrow 95% bands. Both fall as ε grows; randomised response lies far above "
    "Laplace noise on the count."
)
plots.show(plots.describe(fig, alt))

# %%
at_one = measured[1.0]
ratio = at_one["randomised response"].estimate / at_one["Laplace on the count"].estimate
print(
    f"at ε = 1: {at_one['randomised response']} without a curator, "
    f"{at_one['Laplace on the count']} with one, {ratio:.0f}x; √n = {math.sqrt(n):.0f}"
)

# %%
revealed("01.curator", ratio, source=cancer.source)

# %% [markdown]
# The price of trusting nobody is a factor of the order of √n: every patient adds noise, instead of one noise for all. Secure
# aggregation (lab 10) buys most of it back.
#
# One answer also comes with an interval that knows about the lies:

# %%
responses = dp.RandomisedResponse(1.0).release(
    malignant.astype(int), np.random.default_rng(7)
)
print("share that said malignant:", responses.mean().round(3))
print(
    "estimated share of malignant:", dp.RandomisedResponse(1.0).estimate(responses)[1]
)
print("true share:", malignant.mean().round(3))

# %% [markdown]
# ## 5. Gaussian noise, and what δ is
#
# Gaussian noise has thinner tails, adds up more kindly over many releases, and is what DP-SGD uses. But the ratio of two
# shifted normal densities has no bound, so some outputs must be excused. δ is how much: the largest excess
#
# $$\delta(\varepsilon) = \max_S\; \Pr[M(D) \in S] - e^{\varepsilon} \Pr[M(D') \in S].$$
#
# The worst set $S$ is where the first density exceeds $e^\varepsilon$ times the second: a half-line. So δ is a difference
# of two normal tail probabilities (Balle & Wang 2018, arXiv 1805.06530).
#
# ### Exercise 01.gaussian_delta: what δ does Gaussian noise buy?

# %%
from scipy.stats import norm


def gaussian_delta(epsilon: float, sigma: float, sensitivity: float) -> float:
    """Return the least δ for which noise of standard deviation `sigma` is (epsilon,
    δ)-DP at this sensitivity."""
    ### BEGIN SOLUTION
    half, shift = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    return norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)
    ### END SOLUTION


# %%
check("01.gaussian_delta", gaussian_delta)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Take the logarithm of the ratio of the two worlds' densities at an output: it grows or falls in a straight line.
# Where does it equal ε? Beyond that place, one world is too likely.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Let the two worlds be N(0, σ²) and N(Δ, σ²): the ratio exceeds $e^\varepsilon$ for y below Δ/2 - εσ²/Δ. Compute
# the probability of that half-line in each world with `norm.cdf`, after dividing by σ.
#
# </details>
# <details><summary>Hint 3</summary>
#
# δ = Φ(Δ/2σ - εσ/Δ) - e^ε Φ(-Δ/2σ - εσ/Δ).
#
# </details>

# %% [markdown]
# Textbooks give σ = Δ √(2 ln(1.25/δ)) / ε instead. **Predict before you run.** Is that too much noise, too little, or
# both, depending on ε?

# %%
predict(
    "01.textbook",
    "For ε from 0.1 to 10, what is the textbook's σ beside the exact one?",
    choices=["too much noise", "too little noise", "both, depending on ε"],
)

# %%
delta = 1e-5
rows, beside_exact = [], []
for e in (0.1, 0.5, 1.0, 3.0, 10.0):
    textbook = math.sqrt(2 * math.log(1.25 / delta)) / e
    exact = dp.gaussian_sigma(e, delta)
    beside_exact.append(textbook / exact)
    deltas = (
        solved.gaussian_delta(e, textbook, 1.0),
        solved.gaussian_delta(e, exact, 1.0),
    )
    rows.append(
        [f"{number:.3g}" for number in (e, textbook, deltas[0], exact, deltas[1])]
    )
columns = ["ε", "textbook σ", "δ of textbook σ", "exact σ", "δ of exact σ"]
pd.DataFrame(rows, columns=columns).set_index("ε")

# %%
wastes, lacks = max(beside_exact) > 1, min(beside_exact) < 1
textbook_gives = (
    "both, depending on ε"
    if wastes and lacks
    else "too much noise"
    if wastes
    else "too little noise"
)
revealed("01.textbook", textbook_gives, source=f"no data: formulas, δ = {delta:g}")

# %%
epsilons = np.geomspace(0.1, 10, 60)

# %% tags=["hide-input"]
fig, ax = plots.figure()
ax.loglog(
    epsilons,
    np.sqrt(2 * np.log(1.25 / delta)) / epsilons,
    label="Gaussian, textbook formula",
)
ax.loglog(
    epsilons, [dp.gaussian_sigma(e, delta) for e in epsilons], label="Gaussian, exact"
)
ax.loglog(epsilons, np.sqrt(2) / epsilons, label="Laplace (δ = 0)")
ax.set(
    xlabel="ε",
    ylabel="standard deviation / sensitivity",
    title=f"Noise for one release, δ = {delta:g}",
)
ax.legend()
alt = (
    "Standard deviation of the noise against ε on log axes: for one release Laplace "
    "needs the least everywhere shown; exact Gaussian lies below the textbook formula "
    "at small ε and crosses above it at the right end."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# **Both.** The textbook formula is proven for ε < 1 only. There it wastes noise; at the largest ε of the table its δ is
# above the one that was asked for: too little.
#
# For one number, Laplace is hard to beat. The Gaussian's turn comes with many numbers: its sensitivity is measured by the
# L2 norm, and many releases compose well. That is next.
#
# ## 6. Many releases
#
# Every release spends some of the same budget. Three theorems say how much, for k releases of ε each:
#
# - **basic**: kε, with δ = 0;
# - **advanced** (Dwork, Rothblum & Vadhan 2010): about √(2k ln(1/δ)) ε for small ε;
# - **optimal** (Kairouz, Oh & Viswanath 2015): the exact answer for the worst mechanisms that are ε-DP.
#
# The worst ε-DP mechanism is one you know: randomised response. So the exact answer is a sum over how many of k answers
# were lies.
#
# ### Exercise 01.composed_delta: compose exactly
#
# In world P, each of k answers is the truth with probability $p = e^\varepsilon / (1 + e^\varepsilon)$; in world Q the
# truth is the opposite. Return the δ of the k answers together, at a given total ε.


# %%
def composed_delta(epsilon: float, releases: int, total_epsilon: float) -> float:
    """Return δ for k-fold randomised response: the sum over all outcomes of max(0, P -
    e^total_epsilon Q)."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    ### BEGIN SOLUTION
    delta = 0.0
    for lies in range(releases + 1):
        p = keep ** (releases - lies) * (1 - keep) ** lies
        q = keep**lies * (1 - keep) ** (releases - lies)
        delta += math.comb(releases, lies) * max(0.0, p - math.exp(total_epsilon) * q)
    return delta
    ### END SOLUTION


# %%
check("01.composed_delta", composed_delta)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# All outcomes with the same number of lies have the same probability, in P and in Q.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With i lies in world P, `p = keep ** (k - i) * (1 - keep) ** i`. In world Q the lies are truths and the other way round.
#
# </details>
# <details><summary>Hint 3</summary>
#
# There are `math.comb(k, i)` such outcomes. Add `max(0.0, p - math.exp(total_epsilon) * q)` for each.
#
# </details>

# %% [markdown]
# Accountants go one step further: they compose the mechanism that was really used, not the worst one with its ε.

# %%
per_release = 0.1
releases = [1, 3, 10, 30, 100, 300]
# The same standard deviation as the Laplace noise.
gaussian = math.sqrt(2) / per_release
curves = {
    "basic": [dp.basic_composition(per_release, k) for k in releases],
    "advanced": [dp.advanced_composition(per_release, k, delta) for k in releases],
    "optimal for any ε-DP": [
        dp.optimal_composition(per_release, k, delta) for k in releases
    ],
}
for name, event in {
    "Laplace, accounted": lambda k: dp.LaplaceEvent(1 / per_release, count=k),
    "Gaussian of the same spread, accounted": lambda k: dp.SampledGaussian(
        gaussian, steps=k, sampler="full"
    ),
}.items():
    curves[name] = [
        dp.privacy_statement([event(k)], delta=delta).epsilon for k in releases
    ]
pd.DataFrame(curves, index=pd.Index(releases, name="k")).round(2)

# %% tags=["hide-input"]
fig, ax = plots.figure(height=4.4)
for name, values in curves.items():
    ax.loglog(releases, values, marker="o", markersize=4, label=name)
ax.set(
    xlabel="releases k",
    ylabel="total ε",
    title=f"k releases, Laplace ε = {per_release} each; δ = {delta:g} in all",
)
ax.legend()
alt = (
    "Total ε against the number of releases on log axes: the basic bound grows "
    "linearly; the advanced bound starts above it and ends below; the optimal bound "
    "is never above either, with accounted Laplace hardly lower; Gaussian noise of "
    "the same spread starts above these two, crosses them and ends lowest."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# Read the last row of the table: the same releases of the same data, and a total ε that depends on who did the sum. The
# first three columns hold for any ε-DP mechanism. The last is another mechanism with as much noise: worse than Laplace for
# one release, better for many, and that is why DP-SGD uses it.
#
# ### A whole family
#
# The promise speaks of one record. A family of four whose genes say the same, or a customer with many rows, is more than
# one. Swap their records in one at a time: each step is a pair of neighbours, so each costs a factor of $e^\varepsilon$,
# and a δ. This is **group privacy**; it is also why a mark made of many training records leaves a trace that one record
# could not (lab 07).
#
# ### Exercise 01.group_privacy: what a whole family is promised
#
# Return ε and δ of the promise to `size` people together.


# %%
def group_privacy(epsilon: float, size: int, delta: float) -> tuple[float, float]:
    """Return the (ε, δ) that hold for tables that differ in `size` records, when
    (epsilon, delta) hold for one."""
    ### BEGIN SOLUTION
    return size * epsilon, delta * sum(math.exp(step * epsilon) for step in range(size))
    ### END SOLUTION


# %%
check("01.group_privacy", group_privacy)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Walk from one table to the other, one record at a time. The promise holds for each step: put one into the next.
#
# </details>
# <details><summary>Hint 2</summary>
#
# P(S) ≤ e^ε Q(S) + δ, and Q(S) ≤ e^ε R(S) + δ, so P(S) ≤ e^2ε R(S) + (1 + e^ε) δ. And once more for a family of
# three.
#
# </details>
# <details><summary>Hint 3</summary>
#
# ε: `size * epsilon`. δ: `delta` times the sum of `math.exp(i * epsilon)` for i from 0 to `size - 1`.
#
# </details>

# %% [markdown]
# **Predict before you run.** A count is released with Laplace noise at ε = 0.5. An attacker who raises a false alarm once
# in a hundred finds one patient how often? And a family of eight?

# %%
predict(
    "01.family",
    "With one false alarm in a hundred: how often is one patient found, how often "
    "a family of eight?",
    words=True,
)

# %%
from scipy.stats import laplace

one, alarm = 0.5, 0.01
draws, group_rng = (
    profile.pick(smoke=20_000, laptop=100_000, full=1_000_000),
    np.random.default_rng(2),
)
cut = laplace.isf(alarm, 0, 1 / one)
rows, found_of = [], {}
for size in (1, 2, 4, 8):
    promised, _ = solved.group_privacy(one, size, 0.0)
    found = stats.clopper_pearson(
        int((size + group_rng.laplace(0, 1 / one, draws) > cut).sum()), draws
    )
    found_of[size] = found.percent()
    ceiling = float(dp.roc_ceiling(np.array([alarm]), promised)[0])
    rows.append([size, promised, f"{100 * ceiling:.1f}%", found.percent()])
columns = [
    "people",
    "ε of the group",
    "ceiling on TPR at 1% FPR",
    "measured (95% interval over releases)",
]
pd.DataFrame(rows, columns=columns).set_index("people")

# %%
revealed(
    "01.family",
    f"one patient is found in {found_of[1]} of the releases, a family of "
    f"{max(found_of)} in {found_of[max(found_of)]}",
    source=f"no data: Laplace noise at ε = {one:g}, {draws:,} releases",
)

# %% [markdown]
# What protects one hardly protects many who say the same: the ceiling itself rises with e^(size · ε), and this attacker
# follows it. Where one person has many rows, bound the rows of each person first, and count a person as one record.
#
# ### Parts of the table, and what is done to an output
#
# Two more rules make plans cheap. **Parallel composition**: releases on *disjoint* parts of the records do not add up, as
# long as which part a record falls in depends on that record alone; under add/remove a patient pays for their own part
# only. (Replacing a record can touch two parts: then it costs twice.) **Post-processing**: whatever is done to an output
# without another look at the records costs nothing.
#
# ### Exercise 01.plan_epsilon: what a plan of releases costs
#
# A hospital with several halls plans releases `(epsilon, reads)`, where `reads` is `"everyone"`, the name of a hall, or
# `"an earlier output"`. Each patient lies in one hall. Return the ε of the whole plan under add/remove, by basic composition.


# %%
def plan_epsilon(plan: list[tuple[float, str]]) -> float:
    """Return the total ε of a plan of (epsilon, reads); the ε of a step that reads only
    an output is what it asks for."""
    ### BEGIN SOLUTION
    private = [
        (epsilon, reads) for epsilon, reads in plan if reads != "an earlier output"
    ]
    shared = sum(epsilon for epsilon, reads in private if reads == "everyone")
    halls = {reads for _, reads in private if reads != "everyone"}
    return shared + max(
        (sum(e for e, reads in private if reads == hall) for hall in halls), default=0.0
    )
    ### END SOLUTION


# %%
check("01.plan_epsilon", plan_epsilon)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Follow one patient: which releases read that record at all?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Releases on everyone add up. Releases on one hall add up within it. Two halls never meet in one patient, so the dearest
# hall decides.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Leave out what reads an earlier output. Then `everyone + max(halls.values(), default=0)`, with one sum for
# "everyone" and one sum a hall.
#
# </details>

# %% [markdown]
# A histogram is the usual case: each patient is in one bin. **Predict before you run.** Twenty bins at a total of ε = 0.5:
# what does it cost in accuracy to pay for each bin as if all of them read the same patient?

# %%
predict(
    "01.bins",
    "How many times larger does the mean error of a bin become?",
    unit="times",
    factor=1.5,
)

# %%
budget, bins = 0.5, np.linspace(low, high, 21)
true, bin_rng = (
    np.histogram(np.clip(radius, low, high), bins)[0],
    np.random.default_rng(3),
)
plan = [(budget, f"bin {i}") for i in range(20)] + [(budget, "an earlier output")]
print(
    f"ε of the plan: {solved.plan_epsilon(plan):g}; if every step were added up: "
    f"{sum(e for e, _ in plan):g}"
)
shares = {"each bin pays": budget / 20, "disjoint bins": budget}
errors = {}
for name, each in shares.items():
    noisy = true + bin_rng.laplace(0, 1 / each, (repeats, 20))
    errors[name] = stats.mean_interval(np.abs(noisy - true).mean(1))
errors["disjoint bins, then rounded and cut at 0"] = stats.mean_interval(
    np.abs(np.clip(np.rint(noisy), 0, None) - true).mean(1)
)
pd.DataFrame(
    {
        "mean |error| of a bin (patients), 95% interval over releases": [
            str(e) for e in errors.values()
        ]
    },
    index=errors,
)

# %%
dearer = errors["each bin pays"].estimate / errors["disjoint bins"].estimate
revealed("01.bins", dearer, source=cancer.source)

# %% [markdown]
# The last row is free twice over: rounding and cutting never see a record, and negative counts of patients were wrong
# anyway. (Cutting biases small bins upwards: a sum over many cut bins is worse than a sum over raw ones.)
#
# ## 7. (ε, δ) as a limit on an attacker
#
# An attacker sees one output and asks: was the patient in the table? Any rule they use has a false positive rate (saying
# "in" when not) and a true positive rate. Apply the promise to the set of outputs on which they say "in": it bounds one
# rate by the other.
#
# ### Exercise 01.roc_ceiling: the ceiling on every attacker
#
# Return the largest true positive rate at each false positive rate. The promise holds in both directions, and for the
# set of outputs on which the attacker says "out" as well.


# %%
def roc_ceiling(fpr: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """Return the largest TPR that (epsilon, delta)-DP allows at each FPR in the array
    `fpr`."""
    ### BEGIN SOLUTION
    steep = math.exp(epsilon) * fpr + delta
    flat = 1 - math.exp(-epsilon) * (1 - delta - fpr)
    return np.clip(np.minimum(steep, flat), 0, 1)
    ### END SOLUTION


# %%
check("01.roc_ceiling", roc_ceiling)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A test is a set of outcomes at which the attacker says "in". The promise bounds the probability of every set, and
# so of the opposite set, too.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With S = "says in": TPR ≤ e^ε · FPR + δ. With S = "says out", and the worlds swapped: 1 - FPR ≤ e^ε (1 - TPR) + δ.
# Solve for the TPR.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Both hold, so take the smaller: `np.minimum(e**ε * fpr + δ, 1 - e**-ε * (1 - δ - fpr))`, cut to [0, 1].
#
# </details>

# %% [markdown]
# Now measure an attacker. The query counts the patients whose radius exceeds one fixed number. The attacker, who knows
# everyone else, chose the number so that only this patient does: the answer is 1 with the patient and 0 without. The best
# they can do then is a threshold on the released number.
# Thresholds come from the known noise, not from the outputs.

# %%
rare = np.sort(radius)[-2]
answers = {
    "with": int((radius > rare).sum()),
    "without": int((np.delete(radius, patient) > rare).sum()),
}
# ε and δ as above, 1 and 1e-5.
trials, game_rng = (
    profile.pick(smoke=20_000, laptop=100_000, full=1_000_000),
    np.random.default_rng(1),
)
sigma = dp.gaussian_sigma(epsilon, delta)
noises = {
    "Laplace": lambda: game_rng.laplace(0, 1 / epsilon, trials),
    "Gaussian": lambda: game_rng.normal(0, sigma, trials),
}
scores = {
    name: (answers["with"] + draw(), answers["without"] + draw())
    for name, draw in noises.items()
}
pooled = game_rng.permutation(np.concatenate(scores["Laplace"]))
scores["control: labels shuffled"] = (pooled[:trials], pooled[trials:])
print(
    f"true count with the patient: {answers['with']}, without: {answers['without']}; "
    f"{trials:,} releases of each"
)

# %%
fpr, fine = np.geomspace(1e-3, 1, 60), np.geomspace(1e-3, 1, 1000)
thresholds = {
    "Laplace": laplace.isf(fpr, 0, 1 / epsilon),
    "Gaussian": norm.isf(fpr, 0, sigma),
}

# %% tags=["hide-input"]
fig, axes = plots.figure(9, 4.2, ncols=2)
for ax in axes:
    ax.plot(
        fine,
        solved.roc_ceiling(fine, epsilon, 0.0),
        color="black",
        label=f"ceiling, ε = {epsilon:g}, δ = 0",
    )
    for name, cuts in thresholds.items():
        tpr = [
            stats.clopper_pearson(int((scores[name][0] > cut).sum()), trials)
            for cut in cuts
        ]
        (line,) = ax.plot(fpr, [t.estimate for t in tpr], label=f"attacker, {name}")
        plots.band(
            ax, fpr, [t.low for t in tpr], [t.high for t in tpr], color=line.get_color()
        )
    ax.plot(fpr, fpr, color="grey", linestyle=":", label="guessing")
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
axes[0].set_title("Best attacker against the promise, 95% bands")
axes[1].set(xscale="log", yscale="log", title="The same, log axes")
axes[0].legend()
alt = (
    "ROC curves of the best attacker, linear and log axes, 95% bands. Against Laplace "
    "noise the curve runs along the DP ceiling at low false positive rates; against "
    "Gaussian noise it stays clearly below; both lie above guessing."
)
plots.show(plots.describe(fig, alt))


# %%
def at_fpr(scores: tuple[np.ndarray, np.ndarray], cut: float) -> str:
    """Return the true positive rate at a threshold, with its 95% interval, as text."""
    return stats.clopper_pearson(int((scores[0] > cut).sum()), trials).percent()


rows = []
for name, pair in scores.items():
    source = "Gaussian" if name == "Gaussian" else "Laplace"
    if name.startswith("control"):
        cuts = np.quantile(pair[1], [0.99, 0.999])
    else:
        cuts = (
            laplace.isf([0.01, 0.001], 0, 1 / epsilon)
            if source == "Laplace"
            else norm.isf([0.01, 0.001], 0, sigma)
        )
    rows.append(
        [name, round(stats.auc(*pair), 3), *(at_fpr(pair, cut) for cut in cuts)]
    )
print(
    f"standard deviation of the noise: Laplace {math.sqrt(2) / epsilon:.2f}, Gaussian "
    f"{sigma:.2f}"
)
limits = solved.roc_ceiling(np.array([0.01, 0.001]), epsilon, 0.0)
rows.append(["ceiling", "", *(f"{100 * limit:.2f}%" for limit in limits)])
pd.DataFrame(
    rows, columns=["release", "AUC", "TPR at 1% FPR", "TPR at 0.1% FPR"]
).set_index("release")

# %% [markdown]
# The curve of the Laplace attacker runs along the ceiling at low false positive rates, so its measured points lie above
# it as often as below, and of twenty 95% intervals one misses. An attacker whose interval lies far above has not been
# lucky: the promise is broken. That is how audits work (lab 06), and what the next section does.
#
# The Gaussian attacker gets less. One (ε, δ) does not describe Gaussian noise fully: its worst outputs are excused by δ,
# and the rest are better protected than ε says. That is no gift: the Gaussian carries more noise.
#
# ## 8. A real number is not a double
#
# The proof of section 3 is about real numbers. Computers draw a uniform double $u$, a whole multiple of $2^{-53}$, and
# return $\pm b \ln u$. That reaches only some doubles, and adding the answer moves **which** ones (Mironov 2012).
#
# The attacker sees one released double and asks, for each possible answer: is there a $u$ that gives exactly this number?
#
# **Predict before you run.** The sampler passes any test of its shape. How often does one release still tell an answer of
# 0 from an answer of 1 *for certain*, at ε = 0.1?

# %%
predict(
    "01.certain",
    "In which share of releases at ε = 0.1 is the true answer certain?",
    unit="%",
    within=10,
)

# %% [markdown]
# ### Exercise 01.reachable: which answer can this double come from?
#
# The sampler is `value + sign * (-scale * np.log(u))`, with `u` in $\{1, …, 2^{53}\} \cdot 2^{-53}$ and sign ±1. Undo it
# to find the one `u` that could have been drawn. Rounding blurs that by a few steps, so run the sampler forwards on the
# neighbours too and look for an exact match.


# %%
def reachable(released: np.ndarray, value: float, scale: float) -> np.ndarray:
    """Return, for each released double (1-D), whether the sampler can produce it from
    `value`: an array of bool."""
    step = 2.0**-53
    ### BEGIN SOLUTION
    noise = released - value
    nearest = np.rint(np.exp(-np.abs(noise) / scale) / step)
    found = np.zeros(released.shape, dtype=bool)
    for offset in range(-8, 9):
        u = np.clip(nearest + offset, 1, 2.0**53) * step
        found |= value + np.sign(noise) * (-scale * np.log(u)) == released
    return found
    ### END SOLUTION


# %%
check("01.reachable", reachable)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Run the sampler backwards: which uniform number would have given this noise? Then forwards again: does it, and do
# its neighbours, give this very double?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `released - value` is ± the noise, and `u = exp(-|noise| / scale)`. For each offset from -8 to 8, take `u =
# (np.rint(u / step) + offset) * step`, kept within `step` and 1, and compute what the sampler would have released,
# with the sign of the noise.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Compare with `==`: exact equality is the whole point. Combine the offsets with `found |= ...`.
#
# </details>

# %% [markdown]
# The attacker guesses the answer that is reachable; if both are, the nearer one. `success` must not exceed
# $e^\varepsilon / (1 + e^\varepsilon)$ if the promise holds.


# %%
def attack(
    release, epsilon: float, trials: int, *, confidence: float = 0.95
) -> floating_point.Distinguished:
    """Try to tell the answers 0 and 1 apart from one release each, `trials` times."""

    def log_likelihood(released, answer):
        return np.where(
            solved.reachable(released, answer, 1 / epsilon),
            -epsilon * np.abs(released - answer),
            -np.inf,
        )

    return floating_point.distinguish(
        release, log_likelihood, epsilon=epsilon, trials=trials, confidence=confidence
    )


tries = profile.pick(smoke=2000, laptop=5000, full=50_000)
small = 0.1
broken = attack(
    lambda v, rng: floating_point.naive_laplace(v, 1 / small, rng), small, tries
)
print(broken)

# %%
revealed("01.certain", broken.certain, times=100, source="textbook sampler, ε = 0.1")

# %% [markdown]
# **The fix** is to leave doubles alone: round the answer to a public grid, count in grid steps, and add noise that is
# itself a whole number, drawn with integers only (Canonne, Kamath & Steinke 2020, arXiv 2004.00010). Every multiple of the
# step is then possible from every answer.

# %%
grid = dp.Grid(small, sensitivity=1.0)
print(
    (
        f"step {grid.step}, scale of the noise {float(grid.noise.scale):,.0f} steps, "
        "two releases of 1:"
    ),
    end=" ",
)
print(grid.release(1.0), grid.release(1.0))


def on_grid(epsilon: float, seed: int = 0):
    """Return a sampler of grid releases; its seed makes the run repeat, a real release
    leaves it out."""
    grid, source = dp.Grid(epsilon, sensitivity=1.0), random.Random(seed)
    return lambda values, rng: np.array(
        [grid.release(float(value), source) for value in values]
    )


print(attack(on_grid(small), small, tries))

# %%
promises = np.geomspace(0.01, 4, 8)
naive = [
    attack(
        lambda v, r, e=e: floating_point.naive_laplace(v, 1 / e, r), e, tries
    ).success
    for e in promises
]
fixed = [attack(on_grid(e), e, tries // 2).success for e in promises]

# %% tags=["hide-input"]
fig, ax = plots.figure()
smooth = np.geomspace(0.01, 4, 200)
ax.plot(
    smooth,
    [floating_point.success_ceiling(e) for e in smooth],
    color="black",
    label="ceiling of ε-DP",
)
for results, label, k in (
    (naive, "textbook sampler in doubles", 1),
    (fixed, "integers on a grid", 0),
):
    middle = np.array([r.estimate for r in results])
    bars = [middle - [r.low for r in results], [r.high for r in results] - middle]
    ax.errorbar(
        promises,
        middle,
        bars,
        fmt="os"[k],
        capsize=3,
        color=plots.COLOURS[k],
        label=label,
    )
ax.set(
    xscale="log",
    ylim=(0.45, 1.0),
    xlabel="promised ε",
    ylabel="right guesses (0 or 1?)",
)
ax.set_title("One released double against its promise")
ax.legend()
alt = (
    "Share of right guesses against the promised ε, 95% intervals. At small ε, where "
    "the ceiling is near one half, the textbook sampler is guessed right far more "
    "often than the ceiling allows; at the largest ε the ceiling is higher. Releases "
    "on a grid stay on or below the ceiling."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# The stronger the promise, the worse it is broken: the attack hardly depends on ε, the ceiling does. At the largest ε the
# ceiling is so high that counting right guesses no longer shows the break; being *certain and never wrong* still does. On
# the grid the same attacker is still "sure" of many releases, and about as often wrong as right.
#
# Gaussian noise does not escape. Even if the noise were perfect, `answer + noise` is rounded, and where the sum is smaller
# than the answer its last bits come from the answer (Haney et al. 2022, arXiv 2207.13793). There are fewer such outputs,
# but a promise with δ = 1e-5 leaves no room for them.

# %%
rows = []
for e in (0.1, 1.0):
    deviation = dp.gaussian_sigma(e, 1e-5)
    game = {"epsilon": e, "delta": 1e-5, "trials": 4 * tries}
    result = floating_point.distinguish(
        lambda v, r, s=deviation: floating_point.naive_gaussian(v, s, r),
        lambda y, a, s=deviation: floating_point.gaussian_log_likelihood(y, a, s),
        **game,
    )
    rows.append(
        [
            e,
            result.certain.percent(1),
            result.certain_and_wrong,
            round(result.epsilon_at_least, 2),
        ]
    )
columns = ["promised ε", "given away for certain", "certain and wrong", "ε is at least"]
pd.DataFrame(rows, columns=columns).set_index("promised ε")

# %% [markdown]
# Does a larger answer help? Where its own doubles are coarser than the noise's, most outputs are reachable from both sides.
# Fewer are given away, but pure DP allows none at all. Nobody should have to work out which case they are in.

# %%
truth = {
    "a rare condition": (0.0, 1.0),
    "malignant cases": (float(malignant.sum()), float(malignant.sum() - 1)),
}
for name, answers in truth.items():
    released = floating_point.naive_laplace(
        np.full(tries, answers[0]), 10.0, np.random.default_rng(3)
    )
    excluded = stats.clopper_pearson(
        int((~solved.reachable(released, answers[1], 10.0)).sum()), tries
    )
    print(
        f"{name}: {answers[0]:.0f} or {answers[1]:.0f}? the other answer is excluded "
        f"in {excluded.percent(1)} of releases"
    )

# %% [markdown]
# ## 9. The same query through two libraries
#
# Do not ship your own sampler. Google's C++ library (through PyDP) and OpenDP both draw noise on a grid. The query: the
# mean radius at ε = 1, records bounded as before.


# %%
by_library = {}
missing = (
    "{} is not installed, so its row is missing below: pip install 'labkit[bridges]' "
    "adds it."
)
try:
    from pydp.algorithms.laplacian import BoundedMean

    query = {"epsilon": 1.0, "lower_bound": low, "upper_bound": high, "dtype": "float"}
    by_library["PyDP"] = [
        BoundedMean(**query).quick_result(radius.tolist()) for _ in range(repeats)
    ]
except ImportError:
    print(missing.format("PyDP"))

# %%
try:
    import opendp.prelude as opendp

    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T=float, nan=False), size=n)
    query = (
        (domain, opendp.symmetric_distance())
        >> opendp.t.then_clamp((low, high))
        >> opendp.t.then_mean()
    )
    scale = opendp.binary_search(
        lambda scale: (query >> opendp.m.then_laplace(scale)).map(d_in=2) <= 1.0,
        bounds=(1e-6, 10.0),
    )
    private = query >> opendp.m.then_laplace(scale)
    print(
        f"OpenDP: scale {scale:.4f}, certified ε = {private.map(d_in=2):.4f} for one "
        "record replaced"
    )
    by_library["OpenDP"] = [private(radius.tolist()) for _ in range(repeats)]
except ImportError:
    print(missing.format("OpenDP"))

# %%
by_library["yours"] = [
    solved.private_mean(radius, low, high, 1.0, game_rng) for _ in range(repeats)
]
grid = dp.Grid(1.0, dp.mean_sensitivity(low, high, n))
by_library["labkit on a grid"] = [
    grid.release(before, random.Random(seed)) for seed in range(repeats)
]
rows = []
for name, values in by_library.items():
    off = stats.mean_interval(np.abs(np.array(values) - before))
    relation = "add/remove, n private" if name == "PyDP" else "replace-one, n public"
    rows.append([name, relation, str(stats.mean_interval(values)), str(off)])
pd.DataFrame(
    rows, columns=["library", "neighbours", "mean of releases", "mean |error|"]
).set_index("library")

# %% [markdown]
# All centre on the true mean. They do not promise the same: PyDP hides the number of patients as well, spends part of its
# budget on that, and centres the range first to lose little by it; OpenDP is told that n is public and works out the
# sensitivity from `d_in=2`, one record out and one in. The same ε in two libraries is the same promise only under the
# same neighbouring relation.
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("01")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Explain ε in one minute."* It bounds how much more likely any output is with one person's record than without, for
#   every attacker and every side knowledge; section 7 turns it into a ceiling on TPR at each FPR.
# - *"What is δ?"* The largest excess over the bound, not the chance that everything leaks. It has to be well below 1/n: publishing one record
#   at random in the clear is (0, 1/n)-DP.
# - *"Add/remove or replace-one?"* A swap is one removal and one addition, so replace-one needs at most twice the noise. It
#   can need far less (records far from zero in a narrow range), and a mean with a public n needs it.
# - *"Why clip?"* Without a bound on each record the sensitivity is infinite; and a bound read off the data leaks.
# - *"Our family of five is in it."* Five times the ε, and a δ that grows faster: group privacy, measured in section 6. Disjoint
#   parts share one budget, and what only reads an output is free.
# - *"We release it a hundred times."* Then the budget is spent a hundred times: basic composition always holds, exact accounting
#   shows how much less it really was.
# - *"Your library is proven private."* On real numbers. You have told two answers apart from the last bits of one double,
#   certified by an exact interval that lies above the ceiling, and you know the fix: integers on a grid.
# - *"Central or local?"* Same ε, an error of the order of √n times larger without a curator; section 4 has it measured.
