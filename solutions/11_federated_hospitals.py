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
# # 11 · Federated hospitals
#
# Five hospitals want one model that tells malignant from benign tumours. No record may leave a hospital; the server must
# not see one hospital's update; no patient may be recognisable in what does come out; a hospital may vanish at any
# moment; and in the end each hospital wants to be able to show that it took part. In this lab you put all of it
# together, part by part, and measure what each part costs.
#
# **Objectives.** At the end you can
# - draw the system on a whiteboard and say what each party sees;
# - bound what one patient moves, and place noise so that a promise holds towards the server, towards other hospitals,
#   and towards whoever gets the model;
# - compare four places for the noise at the same ε, and say whom each protects;
# - say whether a patient or a hospital is hidden, and what a mark has to do with it;
# - run the same rounds in one process, on Flower, and as a deployment with TLS and keys.
#
# **Prerequisites.** Labs 02 (DP-SGD, accounting), 07 (marks), 10 (secure aggregation).
#
# **Minutes.** 120, of which the machine needs about one once the one-off work of about ten is done (`labkit prepare 11`).
#
# **Difficulty.** ●●●●● (5 of 5)

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from labkit import federated, models, plots, profiles, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.evidence import Signer
from labkit.federated import (
    begin,
    contribute,
    drawing,
    flatten,
    gradient_sum,
    grid_of,
    marks,
    measure,
    recipes,
    unflatten,
)
from labkit.federated.marks import Claim, Register, digest_of
from labkit.scenarios import hospitals as capstone
from labkit.widgets import placement_explorer

profile = profiles.current()
scene = capstone.scene()
clinics = scene.clinics
names = clinics.names
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("11")
banner("11", clinics.pooled())

# %% [markdown]
# ## 1. Who holds what?
#
# Wisconsin Diagnostic Breast Cancer, dealt to five hospitals so that they see different patients: for each class, shares
# of the hospitals are drawn from a Dirichlet distribution (Hsu et al., arXiv 1909.06335).

# %%
plots.show(clinics.plot())

# %% [markdown]
# **Predict.** Suppose that each hospital trained alone, and each model were tested on everybody's patients. Look at the
# picture and decide.

# %%
predict(
    "11.worst_alone",
    "Trained alone, whose model has the lowest accuracy on the test patients of all?",
    choices=list(names),
)

# %%
alone = {}
for hospital in scene.hospitals:
    own = replace(
        scene.hospitals.pooled(),
        train_x=hospital.dataset.train_x,
        train_y=hospital.dataset.train_y,
        digest="",
    )
    model = models.logistic_regression(30, 2)
    for _ in range(300):  # plain gradient descent on its own patients
        change = gradient_sum(model, own.train_x, own.train_y, None) / len(own.train_y)
        model = unflatten(
            models.logistic_regression(30, 2), flatten(model) - 0.3 * change
        )
    alone[hospital.name] = measure(model, own)
print(
    "trained alone, tested on everybody's test patients (interval over them; seed 0):"
)
print("\n".join(f"{name}: {found.percent(1)}" for name, found in alone.items()))

# %%
worst = min(alone, key=lambda name: alone[name].estimate)
revealed("11.worst_alone", worst, source=f"{clinics.source}, seed 0")

# %% [markdown]
# The line names the smallest of five estimates. The two lowest are a few of the same test patients apart: that is a rank in
# this test, not a hospital shown to be worse than the next.
#
# ## 2. The plan on one page
#
# Look at it for a minute, then cover it and draw it yourself: that is the first question of many an interview.

# %%
plots.show(drawing.architecture(names))

# %% [markdown]
# Read it from left to right. In every round each hospital takes the gradient of each of its patients, **clips** it, adds
# them up, adds its **mark**, **rounds** to a grid, adds its **share of the noise**, and **masks** the result. The server
# can open the sum only, and only if enough hospitals are left. It takes a step and sends the model back.
#
# ## 3. What one patient can move
#
# First the features. A scale that is computed from pooled records would be a release like any other. Here each hospital
# adds up bounded vectors of its patients, with noise, through secure aggregation: one more release, which the statement
# below counts.

# %%
print(scene.hospitals.source)
print(scene.noise.statement(scene.training.rounds, observer="the server"))

# %% [markdown]
# ### Exercise 11.contribution: a hospital's bounded, rounded sum


# %%
def contribution(
    gradients: np.ndarray, max_grad_norm: float, step: float
) -> np.ndarray:
    """Return what a hospital sends before noise and masks: whole numbers (d,) of type
    int64.

    Scale each row of `gradients` (n, d) down to Euclidean norm `max_grad_norm` (shorter
    rows stay), add the rows up, divide by the grid's `step`, and round to the nearest
    whole number.
    """
    ### BEGIN SOLUTION
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1, max_grad_norm / np.maximum(norms, 1e-12))
    return np.rint(clipped.sum(0) / step).astype(np.int64)
    ### END SOLUTION


# %%
check("11.contribution", contribution)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which norm protects a patient: that of a row, or that of the sum?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.linalg.norm(gradients, axis=1, keepdims=True)` has one norm a row. A row of zeros must stay one.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `clipped = gradients * np.minimum(1, max_grad_norm / np.maximum(norms, 1e-12))`, then
# `np.rint(clipped.sum(0) / step).astype(np.int64)`
#
# </details>

# %% [markdown]
# **Predict.** One patient joins or leaves, and the hospital rounds its sum. It could have rounded each row instead, before
# it adds up.

# %%
predict(
    "11.one_patient",
    "How far does one patient move the sum at most?",
    unit="clipping norms",
    within=0.05,
)
predict(
    "11.each_row",
    "What would be different if the hospital had rounded each row instead of the sum?",
    words=True,
)

# %%
rng = np.random.default_rng(0)
rows = rng.normal(0, 1, (80, 62))
moved = [
    np.linalg.norm(
        (
            solved.contribution(rows, 1.0, 1e-3)
            - solved.contribution(np.delete(rows, i, 0), 1.0, 1e-3)
        )
        * 1e-3
    )
    for i in range(80)
]
by_row = np.stack([solved.contribution(rows[[i]], 1.0, 1e-3) for i in range(80)]) * 1e-3
grid = grid_of(scene.federation)
fine = solved.contribution(rows, 1.0, grid.step) * grid.step
off_once = np.linalg.norm(solved.contribution(rows, 1.0, 1e-3) * 1e-3 - fine)
off_often = np.linalg.norm(by_row.sum(0) - fine)
print(
    f"leaving one of 80 patients out moves the sum by {min(moved):.3f} to "
    f"{max(moved):.3f} clipping norms"
)
print(
    f"on this coarse grid of 0.001, rounding may add up to {np.sqrt(62) * 1e-3:.3f}; "
    "rounding each row, half of that"
)
print(
    f"but then the sum itself is off by {off_often:.4f} clipping norms, not by "
    f"{off_once:.4f}: {len(rows)} roundings instead of one"
)
print(
    f"the grid of this system: {1 / grid.step:,.0f} steps in a clipping norm of 1; "
    f"counted sensitivity {grid.sensitivity * grid.step / grid.max_grad_norm:.7f} "
    "clipping norms, rounding included"
)

# %%
drawn = f"no data: {len(by_row)} rows drawn at random, seed 0"
revealed("11.one_patient", max(moved), source=drawn)
revealed(
    "11.each_row",
    f"one patient moves it by at most {np.linalg.norm(by_row, axis=1).max():.4f}, not "
    f"{max(moved):.4f}, but it is off by {off_often:.4f}, not {off_once:.4f}",
    source=drawn,
)

# %% [markdown]
# ## 4. Whose noise, and how much?
#
# The server could add the noise. Then it has seen the exact sum first. Each hospital could add all of it. Then the model
# drowns. Under secure aggregation there is a third way: everybody adds a **share**, and only the sum is ever seen. But a
# share that vanished with its hospital is missing, and a hospital that colludes knows its own.

# %%
plots.show(drawings.where_noise_goes())

# %% [markdown]
# Squares are hospitals, circles are noise (σ is what the promise needs), broken arrows are masked. On the right
# nobody sees a single vector, and the sum carries no more noise than if the server had added it.
#
# ### Exercise 11.noise_share: enough noise, whoever is missing


# %%
def noise_share(noise_multiplier: float, threshold: int, colluders: int) -> float:
    """Return the standard deviation of one hospital's share, in clipping norms.

    A sum is opened only if at least `threshold` hospitals are in it, and up to
    `colluders` of those know (and subtract) their own shares. What is left must have
    standard deviation `noise_multiplier`. Raise ValueError if colluders could be all
    that is in a sum.
    """
    ### BEGIN SOLUTION
    if colluders >= threshold:
        raise ValueError(
            f"{colluders} colluders of {threshold}: no honest share need be in a sum"
        )
    return noise_multiplier / np.sqrt(threshold - colluders)
    ### END SOLUTION


# %%
check("11.noise_share", noise_share)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Independent noise: variances add up, deviations do not.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In the worst case a sum has exactly `threshold` hospitals, `colluders` of them not honest.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `noise_multiplier / np.sqrt(threshold - colluders)`, after a ValueError where `colluders >= threshold`
#
# </details>

# %% [markdown]
# **Predict.** The system's noise is planned for four survivors and nobody who colludes. All five are there. Is the promise
# towards the server better or worse than ε = 3? And towards a gang of three hospitals?

# %%
predict("11.gang", "Which ε is promised against a gang of three hospitals?", factor=1.3)

# %%
promises = federated.promises(scene.noise, scene.training.rounds)
promises

# %%
gang = ("another hospital", 3, 5)  # observer, colluders, survivors
against = next(found for *case, found in promises.rows if tuple(case) == gang)
revealed("11.gang", against.epsilon, source="computed, all five there, unit: a patient")

# %%
for colluders in (0, 1, 2):
    share_now = scene.noise.noise_multiplier / np.sqrt(
        scene.noise.threshold - colluders
    )
    print(
        f"planned for {colluders} who collude: a share of {share_now:.2f} clipping "
        f"norms at each hospital, {share_now * np.sqrt(5):.2f} in a full sum"
    )

# %% [markdown]
# The unit in every row is a **patient**, and a row counts the statistics as well as all rounds. Read the rows of the gang:
# collusion costs its victims privacy, whatever the protocol; `colluders=` in the plan buys it back with more noise (and
# a higher threshold: colluders next to the *server* can open two sums of one round where 2t - n does not exceed them).
#
# ## 5. One round, by hand
#
# The server gets one vector of whole numbers. What does it divide by? By the records of hospitals that are in the sum,
# as *declared in the plan*, before the first round and for good. A count taken in the round would move with a patient,
# and be a release without noise. What is declared is public: hospitals declare round numbers.
#
# ### Exercise 11.next_weights: the server's step


# %%
def next_weights(
    weights: np.ndarray,
    total: np.ndarray,
    sizes: dict[str, int],
    survivors: tuple[str, ...],
    rate: float,
) -> np.ndarray:
    """Return the weights (d,) after one step of gradient descent.

    `total` (d,) is the sum of the clipped gradients of all patients of the `survivors`;
    `sizes` has the records that each hospital declared, survivor or not.
    """
    ### BEGIN SOLUTION
    return weights - rate * total / sum(sizes[name] for name in survivors)
    ### END SOLUTION


# %%
check("11.next_weights", next_weights)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The mean gradient of those who are in the sum, and a step against it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Who is not in the sum must not be in the divisor.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `weights - rate * total / sum(sizes[name] for name in survivors)`
#
# </details>

# %%
plain = recipes.federation(
    scene.hospitals,
    federated.Training(1, learning_rate=0.5),
    federated.Noise(threshold=4),
)
state = begin(plain)
vectors = {
    name: contribute(plain, name, state, seed=0)
    for name in names
    if name != "Hospital B"
}
total = grid_of(plain).value(sum(vectors.values()))
by_hand = solved.next_weights(state.weights, total, plain.sizes, tuple(vectors), 0.5)
by_kit = federated.federate(plain, seed=0, drop={1: {"Hospital B": "masked"}}).weights
print(
    "largest difference from the kit's round through secure aggregation: "
    f"{np.abs(by_hand - by_kit).max():.1e}"
)

# %% [markdown]
# ## 6. What does privacy cost, and where is it cheapest?
#
# Four places for the noise; the same patients, splits and model; the target ε is the same number everywhere, **but not
# the same promise**: the central server sees everything. **Predict** the order of the four curves at ε = 1.

# %%
predict(
    "11.best_place",
    "Where is the noise of the most accurate model at ε = 1?",
    choices=["central", "distributed", "local", "record", "not decided"],
)

# %%
curve = capstone.placements()
plots.show(curve.plot(), poster=True)

# %%
curve

# %%
at = min((p.epsilon for p in curve.points if p.epsilon), key=lambda e: abs(e - 1))
there = [point for point in curve.points if point.epsilon == at]
best, second = sorted(there, key=lambda point: -point.mean.estimate)[:2]
lead = stats.mean_interval(
    100 * (np.array(best.accuracies) - np.array(second.accuracies)), 1 - 0.05 / 3
)
print(
    f"{best.placement} less {second.placement}: {lead} points, paired over seeds "
    "(level for the best beside three)"
)
on = f"{curve.source}, ε = {at:g}, {len(there)} places, {len(curve.seeds)} seeds"
came = best.placement if lead.low > 0 else "not decided"
revealed("11.best_place", came, source=on)

# %% [markdown]
# (Profile smoke measures two placements at ε = 3 on two seeds: two equal runs have an interval of no width, and prove
# nothing.) What differs between two points? The place of the noise, and all that was tuned for it: the last column has
# each one's rounds, rate, and the noise in the statistics that its features were made with. What does not: patients,
# splits, model. So this compares **placements as one would use them**, not the noise alone. The interval is one of the
# mean over splits of the *same* patients; it says nothing about other patients. And the tuning used validation records of
# other splits of these patients: a test record here may have been one there, so all noisy points are a little too good,
# and the runs of the tuning are in no ε.

# %%
for epsilon in sorted({point.epsilon for point in curve.points if point.epsilon}):
    shares, full = (
        np.array(curve.point(placement, epsilon).accuracies)
        for placement in ("distributed", "local")
    )
    gain = 100 * (shares - full)
    spread = gain.std(ddof=1) / np.sqrt(len(gain))
    print(
        f"ε = {epsilon:g}: shares instead of full noise at each hospital, each at its "
        f"own terms, gain {gain.mean():+.1f} points, paired over {len(gain)} seeds, "
        f"standard error {spread:.1f}"
    )

# %%
placement_explorer(curve, capstone.whole_hospitals())

# %% [markdown]
# ## 7. Hiding a whole hospital
#
# A patient is hidden. Is it a secret that *the hospital* took part? If it is, the unit is the hospital: its whole update is
# clipped. **Predict.** There are five of them. What is left of the accuracy at the same ε?

# %%
predict(
    "11.whole_hospital",
    "How accurate is the model at ε = 3 with a whole hospital as the unit?",
    unit="%",
    within=5,
)

# %%
whole = capstone.whole_hospitals()
plots.show(whole.plot(unit="hospital"))
whole

# %%
left = whole.point("distributed", 3.0, "hospital").mean
revealed("11.whole_hospital", left, times=100, source=whole.source)

# %% [markdown]
# Among five there is nowhere to hide: the noise that covers one contribution is as large as the sum of a few. Among ten
# thousand phones the same mechanism is cheap. So the patient is the unit here.
#
# There is a second reason. A hospital that wants to *prove* that it took part asks for the opposite of hospital-level
# privacy. Its mark is a membership test of the hospital, and (ε, δ) bounds the *rate* at which any such test can succeed;
# a rate measured on a few federations has an interval, which may reach above.
#
# ### Exercise 11.mark_ceiling: how well can any mark be found?


# %%
def mark_ceiling(epsilon: float, delta: float, fpr: float) -> float:
    """Return the most true positives that any test for a hospital's part in training
    can have at `fpr`.

    Under (epsilon, delta)-DP with the hospital as unit, both P[accept | in] <=
    e^epsilon P[accept | out] + delta and P[reject | out] <= e^epsilon P[reject | in] +
    delta hold. Never above 1.
    """
    ### BEGIN SOLUTION
    first = np.exp(epsilon) * fpr + delta
    second = 1 - np.exp(-epsilon) * (1 - fpr - delta)
    return float(min(1.0, first, second))
    ### END SOLUTION


# %%
check("11.mark_ceiling", mark_ceiling)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A judge who accepts is a test, and a promise bounds every test, in both directions: two upper bounds on the same
# chance.
#
# </details>
# <details><summary>Hint 2</summary>
#
# From the second, P[reject | out] = 1 - fpr and P[reject | in] = 1 - tpr. Solve it for tpr; the smaller of the two
# bounds counts.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `min(1, exp(ε) * fpr + δ, 1 - exp(-ε) * (1 - fpr - δ))`
#
# </details>

# %%
hidden = capstone.marks_under_noise("hospital")
plots.show(hidden.plot())
hidden

# %% [markdown]
# Patient-level noise is another matter. A mark depends on a key and on no patient, so it costs no patient any privacy, and
# no theorem limits it; the noise can only blur it. (Here rounds are fewer and marks fainter than in the system below, so that
# there is something to blur; profile smoke has ten rounds, too few for any mark.)

# %%
blurred = capstone.marks_under_noise("patient")
plots.show(blurred.plot())
blurred

# %% [markdown]
# ## 8. The whole system
#
# Secure aggregation, ε = 3 for every patient, a mark per hospital, and three hospitals that vanish, each at its own stage:
# before it advertised a key, before its masked vector, and after it (lab 10's stages). The model has more weights than a
# softmax regression, to have room for five marks. It is one run on one split: what the marks and the larger model cost
# beside section 6's means, it cannot say.

# %%
drops = {
    3: {"Hospital B": "masked"},
    8: {"Hospital D": "unmask"},
    15: {"Hospital E": "advertise"},
}
system = federated.federate(scene.federation, seed=0, drop=drops)
system

# %%
gone = [r for r in system.rounds if r.dropped]
rows = [
    {
        "round": r.number,
        "vanished at": r.dropped,
        "in the sum": ", ".join(n[-1] for n in r.survivors),
    }
    for r in gone
]
pd.DataFrame(rows).set_index("round")

# %% [markdown]
# Hospital D vanished after its vector was in: it counts. The statement above is the one for the fewest survivors that a
# round had, seen by everyone who gets the model.
#
# ## 9. Is my hospital's mark in it?
#
# The mark's strength is a number. Is it large? Ask the suspect itself: draw keys that nobody holds, and read *their* marks
# from the same model. The hospital's own key is one more draw, if it had no part in training.
#
# ### Exercise 11.rank_p: how rare is it?


# %%
def rank_p(strength: float, redrawn: np.ndarray) -> float:
    """Return the rank p-value of `strength` among the strengths of keys drawn anew
    (k,).

    The hospital's own key counts as one of the k + 1; those that read at least as
    strong speak against it.
    """
    ### BEGIN SOLUTION
    return float((1 + (redrawn >= strength).sum()) / (1 + len(redrawn)))
    ### END SOLUTION


# %%
check("11.rank_p", rank_p)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# With 999 keys nothing can be rarer than one in a thousand: the p-value is never 0.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ties count against the hospital: `>=`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `(1 + (redrawn >= strength).sum()) / (1 + len(redrawn))`
#
# </details>

# %%
null_models = capstone.nulls(scene)
report = marks.verify(
    system.weights, scene.enrolment, null_models, source=clinics.source
)
for name in names:
    line = report.lines[name][0]
    print(
        f"{name}: strength {line.statistic:.1f}, your p = "
        f"{solved.rank_p(line.statistic, report.redraws['bits']):.3g}"
    )
plots.show(report.plot())
report

# %% [markdown]
# Two p-values, and the verdict asks for both grounds: no redrawn key reads as strong (your rank, which k keys cannot bring
# below 1 / (k + 1)), *and* a bound on what any key could reach by chance lies below alpha. Both assume that the key
# was drawn before anybody saw the model, which is what the register below is for: a key that was searched for afterwards ranks
# high by selection. Beyond that the rank assumes nothing.
#
# What the mark shows: the key was part of training. What it does not show: how much the hospital *gave*. The report below
# has a free-rider that sends its mark and nothing else.

# %%
given = capstone.contributions()
plots.show(given.plot())
given

# %% [markdown]
# ## 10. Whose copy is this?
#
# Each hospital gets its own copy of the final model, different in secret places by its word of a collusion-secure code
# (Tardos 2003). **Predict.** Two hospitals average their copies before they sell one. Who is accused? And what if a
# hospital sells no copy at all, but what the rounds have shown it?

# %%
predict(
    "11.copies",
    "Who is accused when two average their copies, and who when one sells what the "
    "rounds have shown?",
    words=True,
)

# %%
traced = capstone.leaks(scene)
plots.show(traced.plot())
traced

# %%
pair = traced.traced["two averaged"]
revealed(
    "11.copies",
    f"two averaged: both accused in {pair.all.percent(0)} of draws, an innocent in "
    f"{pair.innocents.percent(0)}; {traced.follower.split(':')[0]}",
    source=f"{traced.source}, {traced.trials} draws",
)

# %% [markdown]
# Read the last line. Every round handed every hospital the weights, unmarked, and the model is a mean of those: who took
# part rebuilds it and is never named. No word for each hospital can be put into the rounds, since all must start from
# one model. **Tracing protects a copy only among recipients who did not follow the training.** That an innocent is
# accused with a chance of at most 0.1% a leak rests on a bound that holds whatever was done to the copy; the count of
# draws agrees with it.

# %% [markdown]
# ## 11. Two hospitals, one claim
#
# Hospital A and a newcomer both say that the model carries their mark. Promises were written into a signed register
# before round 1, and **every** hospital signed its closing line: the registrar and one hospital cannot backdate a promise,
# only the registrar and all hospitals together. The newcomer promised nothing.

# %%
parties = (*names, "registrar")
signers = {name: Signer.new() for name in parties}
roster = {name: signer.public for name, signer in signers.items()}
start = flatten(capstone.perceptron())
keys = scene.enrolment.keys
register = Register("the capstone")
for name in names:
    promise = marks.promise(
        name,
        keys[name],
        scene.enrolment.terms,
        case=register.case,
        start=digest_of(start),
        public=roster[name],
    )
    register = register.add(name, "commit", promise, signers[name])
register = register.close(digest_of(start), signers["registrar"])
for name in names:
    register = register.acknowledge(name, signers[name])
register = register.release(
    digest_of(system.weights), len(system.rounds), signers["registrar"]
)
heard = marks.dispute(
    register,
    [Claim("Hospital A", keys["Hospital A"]), Claim("Newcomer", keys["Hospital B"])],
    system.weights,
    roster=roster,
    start=start,
    nulls=null_models,
    source=clinics.source,
)
heard

# %% [markdown]
# The newcomer even holds Hospital B's key, and still shows nothing: he promised nothing before round 1, and a promise binds
# the name. Nor is he convicted of anything by it.
#
# ## 12. Four real hospitals
#
# The same code on UCI Heart Disease: Cleveland, Budapest, Zurich and Basel, Long Beach. Different patients, different
# devices, many values missing. **Predict.** Who gains most from federating, and does anybody lose?

# %%
predict(
    "11.gains",
    "Which hospital's AUC gains most, personalised beside alone, without noise?",
    choices=["Cleveland", "Budapest", "Zurich and Basel", "Long Beach"],
)

# %%
heart = capstone.heart()
plots.show(heart.plot())
heart

# %%
gain = {h: heart.difference("personalised", h).estimate for h in heart.hospitals}
on = f"{heart.source}, personalised - alone, {len(heart.seeds)} splits"
revealed("11.gains", max(gain, key=gain.get), source=on)

# %%
for epsilon in heart.epsilons:
    arm = "without noise" if epsilon is None else f"at ε = {epsilon:g}"
    worse = heart.worse_off(epsilon)
    print(
        f"shown to be worse off than alone, personalised, {arm}: "
        f"{', '.join(worse) or 'nobody'}"
    )
print(
    "Shown is not proven: what a hospital could lose at most, on average over splits, "
    "is"
)
for hospital in heart.hospitals:
    found = heart.difference("personalised", hospital)
    print(f"  {hospital}: personalised - alone {found} in AUC")
for name, statement in heart.statements.items():
    print(f"{name}: {statement}")

# %% [markdown]
# ## 13. The same rounds on Flower
#
# What hospitals would deploy is not this loop. The functions `contribute` and `step` are pure, so a Flower ClientApp and
# ServerApp run them unchanged; the messages of secure aggregation travel through Flower.

# %%
backend = profile.pick(smoke="memory", laptop="ray", full="ray")
short = replace(scene.federation, training=replace(scene.training, rounds=3))
on_flower = federated.simulate(
    short, seed=1, drop={2: {"Hospital C": "masked"}}, backend=backend
)
in_process = federated.federate(short, seed=1, drop={2: {"Hospital C": "masked"}})
print(f"Flower ({backend}): {on_flower.summary()}")
print(
    "largest difference between the two global models: "
    f"{np.abs(on_flower.weights - in_process.weights).max():.1e}"
)

# %% [markdown]
# And on real hosts? A server with one open port and TLS, hospitals that only connect out, a node key and a signing key
# each, a stranger turned away. `labkit federated deploy` does all of it on this machine and compares the model with the
# loop's; these are the commands for real hosts:

# %%
from labkit.federated.deployment import commands  # noqa: E402

print(commands(3, "federation.example.org", 8000))

# %% [markdown]
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("11")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Design it on a whiteboard: hospitals, one model, privacy, a server that nobody trusts."* Draw first, then run the
#   next cell. The marks of a good answer: where a patient's influence is bounded, where the noise is, what the server
#   opens and when, what each party sees.

# %%
plots.show(drawing.architecture(names, dropped=("Hospital D",)))

# %% [markdown]
# - *"ε of what?"* Of a patient, towards an observer, over all rounds and the preprocessing; you have a row for each.
# - *"Why not local noise?"* You have the two curves and the paired difference, and can say what local noise buys: no
#   trust in secure aggregation at all.
# - *"A hospital drops out: is the promise gone?"* Shares are sized for the threshold; below it nothing is opened.
# - *"And if three hospitals collude?"* You have the row, and the price of planning for it.
# - *"Why not hide the hospital?"* Five contributions: you have measured it, and drawn the ceiling for marks.
# - *"How do you know that it runs outside of a notebook?"* The same functions on Flower gave the same weights.
#
# Lab 12 attacks what you have just built.
