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
# # 05 · Red team: the strongest attacks, and what stops them
#
# A defence that was tested with weak attacks was not tested. In this lab you build the two attacks that the literature
# measures everything by, LiRA and RMIA, on the same models; you play the attacker who knows less; and then you put
# defences to the test, and say which of them you would sign for.
#
# **Objectives.** At the end you can
# - build LiRA (online and offline) and RMIA from their equations, and say what each buys with few shadow models;
# - report an attack so that a reviewer accepts it: true positives at few false ones, intervals, a refusal where due;
# - attack without knowing the architecture, without knowing the data, and without seeing a single confidence;
# - compare defences, and tell one that hides the leak from one that bounds it.
#
# **Prerequisites.** Lab 04 (shadow models, loss threshold). Lab 02 helps for the last section.
#
# **Minutes.** 115, of which the machine needs about one, once its shadow models exist (`labkit prepare 05`).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import numpy as np
import pandas as pd
import torch

from labkit import data, membership, plots, profiles, stats, training
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.membership.reports import curves, intervals
from labkit.membership.shadows import bank as banks
from labkit.membership.studies import leave_one_out
from labkit.scenarios import red_team
from labkit.widgets import ceiling_explorer

profile = profiles.current()
cifar = data.load("cifar10")
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("05")
banner("05", cifar)

# %% [markdown]
# ## 1. One confidence, many meanings
#
# The bank holds models that were trained alike, each on a random half of the same pool. One of them plays the target;
# the model trained on the *other* half is put away with it (together they would give the answer away), and the rest
# are the attacker's shadow models.
#
# A few records carry a wrong label that we put there: **canaries**. A network can only learn those by heart, so they are
# one group that is likely to be hit hard. They were drawn before any model was trained.

# %%
scene = red_team.scene(cifar)
bank, canaries = scene.bank, scene.canaries
# Each image shown as it is; the mirror image comes later.
plain = bank.select(queries=1)
target, shadows = plain.target(0), plain.without(0)
labels, members = bank.labels, target.members
right = target.logits[:, 0].argmax(1) == labels
print(bank)
for who, chosen in (("members", members), ("non-members", ~members)):
    hit = stats.clopper_pearson(int(right[chosen].sum()), int(chosen.sum()))
    print(f"target's accuracy on {who}: {hit.percent(1)}")
print(f"canaries: {canaries.sum():,} of {len(canaries):,} records")

# %% [markdown]
# Memorisation shows as confidence in the right label. But some images are easy for *every* model.
#
# ### Exercise 05.logit_confidence: a confidence that never rounds to 1
#
# Carlini et al. (arXiv 2112.03570, eq. 6) use the log odds log(p / (1 - p)) of the label's probability p: over models
# they look like a Gaussian, which p itself does not. Write p with logits, and the odds need no p at all.


# %%
def logit_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) for p = softmax(logits)[label], exact where p rounds to 0
    or 1.

    `logits` is (n, classes), `labels` is (n,); the result is (n,).
    """
    ### BEGIN SOLUTION
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    others = logits.astype(float)
    others[rows, labels] = -np.inf
    top = others.max(axis=1)
    return own - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
    ### END SOLUTION


# %%
check("05.logit_confidence", logit_confidence)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write the odds of the label as a fraction of sums of exponentials. Something cancels, and what is left needs no
# probability.
#
# </details>
# <details><summary>Hint 2</summary>
#
# p = e^z_y / Σ e^z_i, and 1 - p is the sum over the *other* classes over Σ: z_y - log of that sum is left. `exp`
# overflows: take the largest of the others out of the sum first.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Set the label's logit to `-np.inf` in a copy, let `top` be the largest of the rest, and return
# `own - top - np.log(np.exp(others - top[:, None]).sum(1))`.
#
# </details>

# %%
shown = solved.logit_confidence(target.logits[:, 0].astype(float), labels)
values = np.stack(
    [
        solved.logit_confidence(shadows.logits(k)[:, 0].astype(float), labels)
        for k in range(len(shadows))
    ]
)
masks = shadows.masks
print(f"target: {shown.shape}, shadow models: {values.shape}")

# %% [markdown]
# **Predict.** Two images get the same confidence from the target. One was trained on, the other was not. What could
# tell them apart? Think of what the shadow models say about each of them.

# %%
predict(
    "05.same_confidence",
    "Same confidence, one image trained on and one not: what could tell them apart?",
    words=True,
)

# %%
out_mean = np.where(masks, 0, values).sum(0) / (~masks).sum(0)
near = np.flatnonzero(np.abs(shown - np.quantile(shown, 0.6)) < 0.3)
by_difficulty = near[np.argsort(out_mean[near])]
picked = by_difficulty[(np.linspace(0.05, 0.95, 6) * (len(near) - 1)).astype(int)]

# %% tags=["hide-input"]
fig, ax = plots.figure(7.2, 3.8)
for row, i in enumerate(picked):
    for used, marker, colour, name in (
        (masks, "o", "#0072B2", "in"),
        (~masks, "s", "#D55E00", "out"),
    ):
        seen = values[used[:, i], i]
        label = f"shadow model, image {name}" if row == 0 else None
        ax.plot(
            seen,
            np.full(len(seen), row),
            marker,
            color=colour,
            alpha=0.6,
            linestyle="none",
            label=label,
        )
    ax.plot(
        shown[i],
        row,
        "*",
        color="black",
        markersize=13,
        linestyle="none",
        label="target" if row == 0 else None,
    )
kinds = [
    f"{bank.classes[labels[i]]}, {'member' if members[i] else 'non-member'}"
    for i in picked
]
ax.set(
    yticks=range(len(picked)),
    yticklabels=kinds,
    xlabel="logit-scaled confidence in the label",
)
ax.set(title=f"Same confidence of the target, six images\n{bank.source}")
ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=3)
plots.show(
    plots.describe(
        fig,
        "Six images with about the same confidence of the target (a star). For each, "
        "dots show what shadow models say that were trained with it and without it; "
        f"the images, from hardest to easiest: {', '.join(kinds)}.",
    )
)

# %%
without = {
    who: stats.mean_interval(out_mean[near[members[near] == inside]])
    for who, inside in (("members", True), ("others", False))
}
revealed(
    "05.same_confidence",
    f"{len(near):,} images have about this confidence; shadow models without the image "
    f"give members {without['members']} on average, others {without['others']}",
    source=bank.source,
)

# %% [markdown]
# The star hardly moves, the clouds do. A threshold on the loss looks at the star alone. The question that LiRA asks is
# which of an image's two clouds the star belongs to.
#
# ## 2. LiRA: which cloud?
#
# For each record fit one Gaussian to the models *with* it and one to the models *without* it, and score by
# log N(s; in) - log N(s; out). Each record keeps its own two means. Its variances can be its own, from
# the few models on each side, or pooled over all records: one number for "in", one for "out".

# %%
plots.show(drawings.in_and_out())

# %% [markdown]
# Each record is in for half of the shadow models, so every record gets two bells of its own. The question is no
# longer whether a confidence is high, but under which of *this record's* bells it is likelier.
#
# **Predict.** Will pooling help or hurt an attacker with four shadow models? Records do differ in their variance.

# %%
predict(
    "05.pooling",
    "Four shadow models, one variance a side instead of one for each record: "
    "what becomes of LiRA's AUC?",
    choices=["it rises", "it falls", "not decided"],
)

# %% [markdown]
# ### Exercise 05.lira_online: LiRA with models that saw the record and models that did not


# %%
def lira_online(shown: np.ndarray, values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return log N(shown; in) - log N(shown; out) for each record, with one variance
    for each side.

    `shown` (n,) is the target's signal, `values` (K, n) that of the shadow models;
    `masks` (K, n) says which of them were trained on the record. A side's variance is
    the sum of squared deviations from each record's own mean, over all records, divided
    by (number of terms - number of records).
    """

    ### BEGIN SOLUTION
    def log_density(used: np.ndarray) -> np.ndarray:
        count = used.sum(0)
        mean = np.where(used, values, 0).sum(0) / count
        squares = np.where(used, (values - mean) ** 2, 0).sum()
        variance = squares / (count.sum() - len(count))
        return -0.5 * (np.log(2 * np.pi * variance) + (shown - mean) ** 2 / variance)

    return log_density(masks) - log_density(~masks)
    ### END SOLUTION


# %%
check("05.lira_online", lira_online)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Both sides need the same: a mean per record, one variance, a log density. Write it once, for any mask.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.where(used, values, 0).sum(0) / used.sum(0)` is each record's mean over the models that `used` marks.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The log density of a Gaussian is `-0.5 * (np.log(2 * np.pi * variance) + (shown - mean) ** 2 / variance)`. Return the
# one for `masks` minus the one for `~masks`.
#
# </details>

# %% [markdown]
# ### Exercise 05.tpr_at_fpr: true positives at few false ones, or a refusal
#
# An attacker who accuses at random in doubt is harmless; one who is *sure* about a few is not. So count members found
# at a threshold that hardly any non-member passes. And know when to say nothing: at an FPR of 0.1%, a thousand
# non-members give one false positive, and one event measures no rate.


# %%
def tpr_at_fpr(scores: np.ndarray, members: np.ndarray, rate: float) -> float | None:
    """Return the largest share of members above a threshold that at most `rate` of the
    non-members pass.

    Tied scores pass together or not at all. Returns None when there are fewer than 10 /
    rate non-members.
    """
    ### BEGIN SOLUTION
    outside = np.sort(scores[~members])
    if len(outside) < round(10 / rate):
        return None
    allowed = int(rate * len(outside) + 1e-9)
    threshold = outside[len(outside) - allowed - 1]
    return float((scores[members] > threshold).mean())
    ### END SOLUTION


# %%
check("05.tpr_at_fpr", tpr_at_fpr)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The threshold follows from the non-members alone: sort their scores.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With `allowed = int(rate * n)` false positives, the threshold is the largest non-member score that must *not* pass.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `threshold = outside[n - allowed - 1]`; what is strictly above it passes. That handles ties, too.
#
# </details>


# %%
def measured(scores: np.ndarray) -> dict[str, str]:
    """Return an attack's figures on this one target: AUC with its DeLong interval, TPR
    at two rates."""
    found = {
        f"TPR at {100 * rate:g}% FPR": solved.tpr_at_fpr(scores, members, rate)
        for rate in (0.01, 0.001)
    }
    shown = {
        name: "refused" if value is None else f"{100 * value:.2f}%"
        for name, value in found.items()
    }
    return {"AUC": str(intervals.auc(scores, members))} | shown


mine = solved.lira_online(shown, values, masks)
kit = {
    kind: membership.attack("lira-online", target, shadows, variance=kind).scores
    for kind in ("global", "per-example")
}
print(
    "largest difference between your scores and labkit's: "
    f"{np.abs(mine - kit['global']).max():.1e}"
)
pd.DataFrame(
    {
        "loss threshold": measured(membership.attack("loss", target, shadows).scores),
        "LiRA, a variance for each record": measured(kit["per-example"]),
        "LiRA, one variance a side (yours)": measured(mine),
    }
).T.rename_axis(f"{len(shadows)} shadow models, {bank.source}")

# %% [markdown]
# AUC and the loss threshold's TPR tell different stories. The AUC of the loss threshold is well above a half, but at few
# false positives it finds hardly more members than guessing would: its surest accusations are easy images, members or
# not.
#
# ### Exercise 05.lira_offline: LiRA when no shadow model saw the record
#
# Online LiRA needs shadow models trained *with* each record under suspicion: new records, new models. The offline form
# makes do with the models that never saw it: how far above their cloud is the target?


# %%
def lira_offline(
    shown: np.ndarray, values: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """Return how many pooled standard deviations the target lies above the models
    without the record, (n,).

    Arguments and pooled variance are those of `lira_online`.
    """
    ### BEGIN SOLUTION
    out = ~masks
    mean = np.where(out, values, 0).sum(0) / out.sum(0)
    squares = np.where(out, (values - mean) ** 2, 0).sum()
    return (shown - mean) / np.sqrt(squares / (out.sum() - len(shown)))
    ### END SOLUTION


# %%
check("05.lira_offline", lira_offline)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# You have half of it already: the "out" side of `lira_online`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The paper's score is the probability that an out model scores below the target. For clear members it rounds to 1, and
# they tie. The number of standard deviations orders records alike and does not round.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `(shown - mean) / np.sqrt(variance)`, with mean and variance over `~masks`.
#
# </details>

# %% [markdown]
# ## 3. RMIA: dominate the population
#
# With very few shadow models even a mean per record is shaky. RMIA (Zarifzadeh, Liu and Shokri, arXiv 2312.03262) asks
# less of them and more of something that costs nothing: *other* records. It compares
#
# - how much likelier the record became: p(x | target) / p(x),
# - with the same quotient of population records z, which nobody trained on.
#
# ### Exercise 05.likelihood_ratio: how surprising is this confidence?
#
# p(x) is the average confidence over models, half of them with x and half without. Offline, those with x are missing.
# The paper puts them on a line: p_in = a p_out + (1 - a).


# %%
def likelihood_ratio(shown: np.ndarray, out: np.ndarray, a: float = 0.33) -> np.ndarray:
    """Return p(x | target) / p(x) with p(x) = (p_in + p_out) / 2 and p_in = a p_out +
    (1 - a).

    `shown` (n,) is the target's confidence in the label, `out` (n,) the mean confidence
    of the models without x.
    """
    ### BEGIN SOLUTION
    inside = a * out + (1 - a)
    return shown / ((inside + out) / 2)
    ### END SOLUTION


# %%
check("05.likelihood_ratio", likelihood_ratio)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First p_in from the line, then the average of p_in and p_out, then the quotient.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `inside = a * out + (1 - a)`
#
# </details>
# <details><summary>Hint 3</summary>
#
# `shown / ((inside + out) / 2)`
#
# </details>

# %% [markdown]
# ### Exercise 05.dominance: whom does a record dominate?
#
# x dominates z when its ratio is at least γ times that of z. The score of x is the share of the population that it
# dominates: a number between 0 and 1 whose meaning does not depend on the model.


# %%
def dominance(ratio_x: np.ndarray, ratio_z: np.ndarray, gamma: float) -> np.ndarray:
    """Return for each x the share of z with ratio_x / ratio_z >= gamma; (n,) and (m,)
    give (n,)."""
    ### BEGIN SOLUTION
    return np.searchsorted(np.sort(ratio_z), ratio_x / gamma, side="right") / len(
        ratio_z
    )
    ### END SOLUTION


# %%
check("05.dominance", dominance)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For one x, count the members of the population that it beats by a factor of gamma. Then do it for all x at once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `ratio_x[:, None] / ratio_z` has a row for each x. Compare with gamma and average each row.
#
# </details>
# <details><summary>Hint 3</summary>
#
# All pairs of large sets do not fit in memory. Sort `ratio_z` once; `np.searchsorted(..., side="right")` counts how many
# of them are at most `ratio_x / gamma`.
#
# </details>

# %% [markdown]
# **Predict.** Both offline attacks, on the same target, once with four shadow models and once with all of them. Which
# wins where?

# %%
predict(
    "05.offline",
    "LiRA or RMIA, both offline: which has the larger AUC on this target, with four "
    "shadow models and with all?",
    choices=[
        "LiRA both times",
        "RMIA both times",
        "LiRA with four, RMIA with all",
        "RMIA with four, LiRA with all",
        "not decided, once or both times",
    ],
)

# %%
few = shadows.first(4)
confidence = {
    part: few.signal("confidence", part=part)[:, :, 0]
    for part in ("pool", "population")
}
asked = {
    "pool": membership.signal("confidence", target.logits, labels)[:, 0],
    "population": membership.signal(
        "confidence", target.population_logits, bank.population_labels
    )[:, 0],
}
out = np.where(few.masks, 0, confidence["pool"]).sum(0) / (~few.masks).sum(0)
ratio_x = solved.likelihood_ratio(asked["pool"], out)
ratio_z = solved.likelihood_ratio(asked["population"], confidence["population"].mean(0))
# In slices, so that a version that forms all pairs fits in memory as well.
rmia = np.concatenate(
    [solved.dominance(part, ratio_z, 1.0) for part in np.array_split(ratio_x, 100)]
)
kit = membership.attack("rmia-offline", target, few).scores
print(
    "largest difference between your scores and labkit's: "
    f"{np.abs(rmia - kit).max():.1e}"
)
print(
    f"one population record is worth {1 / len(ratio_z):.1e}: labkit adds less than "
    "that, to tell ties apart"
)
print(
    f"your scores take {len(np.unique(rmia)):,} values for {len(rmia):,} records, "
    f"labkit's {len(np.unique(kit)):,}"
)

# %%
offline = {
    "LiRA offline, 4 shadow models (yours)": solved.lira_offline(
        shown, values[:4], masks[:4]
    ),
    "RMIA offline, 4 shadow models (yours)": rmia,
    f"LiRA offline, {len(shadows)} shadow models (yours)": solved.lira_offline(
        shown, values, masks
    ),
    f"RMIA offline, {len(shadows)} shadow models": membership.attack(
        "rmia-offline", target, shadows
    ).scores,
}
pd.DataFrame({name: measured(each) for name, each in offline.items()}).T.rename_axis(
    f"one target, {bank.source}"
)

# %%
lira_four, rmia_four, lira_all, rmia_all = offline.values()
ahead = {
    "four": intervals.auc_difference(rmia_four, lira_four, members, 1 - 0.05 / 2),
    "all": intervals.auc_difference(rmia_all, lira_all, members, 1 - 0.05 / 2),
}
for models_used, gap in ahead.items():
    print(
        f"AUC, RMIA minus LiRA with {models_used}: {gap} (same records, two "
        "differences jointly at 95%)"
    )
winners = [
    "RMIA" if gap.low > 0 else "LiRA" if gap.high < 0 else "" for gap in ahead.values()
]
if not all(winners):
    came = "not decided, once or both times"
elif len(set(winners)) == 1:
    came = f"{winners[0]} both times"
else:
    came = f"{winners[0]} with four, {winners[1]} with all"
revealed("05.offline", came, source=f"one target, {bank.source}")

# %% [markdown]
# ## 4. One target proves little
#
# Training is random: another target, another AUC. So each model of the bank takes the target's role once, its partner
# put away each time, and all attacks meet the same targets. Then a *paired* difference has an interval of its own, and a
# claim such as "RMIA beats LiRA with few shadow models" can be checked.
#
# **Predict.** Order these attacks by AUC before you run the cell. "Two queries" shows the target each image and its
# mirror image; everything above asked once.

# %%
predict(
    "05.best_attack",
    "Which of these has the largest AUC?",
    choices=[
        "loss threshold",
        "LiRA offline, 4 models",
        "RMIA offline, 4 models",
        "LiRA online, 4 models, own variances",
        "LiRA online, 4 models",
        "LiRA online, one query",
        "LiRA online",
        "RMIA online",
    ],
)

# %%
attacks = {
    "loss threshold": (bank, "loss", {}),
    "LiRA offline, 4 models": (bank, "lira-offline", {"shadow_models": 4}),
    "RMIA offline, 4 models": (bank, "rmia-offline", {"shadow_models": 4}),
    "LiRA online, 4 models, own variances": (
        bank,
        "lira-online",
        {"shadow_models": 4, "variance": "per-example"},
    ),
    "LiRA online, 4 models": (bank, "lira-online", {"shadow_models": 4}),
    "LiRA online, one query": (plain, "lira-online", {}),
    "LiRA online": (bank, "lira-online", {}),
    "RMIA online": (bank, "rmia-online", {}),
}
runs = {
    label: membership.leave_one_out(shown_to, name, label=label, **options)
    for label, (shown_to, name, options) in attacks.items()
}
comparison = membership.compare(list(runs.values()))
comparison

# %%
claims = {
    "4 models: RMIA offline above LiRA offline": (
        "RMIA offline, 4 models",
        "LiRA offline, 4 models",
    ),
    "4 models: one variance above own variances": (
        "LiRA online, 4 models",
        "LiRA online, 4 models, own variances",
    ),
    f"{len(bank.queries)} queries above one": ("LiRA online", "LiRA online, one query"),
    "RMIA online above LiRA online": ("RMIA online", "LiRA online"),
}
decided = {}
for claim, (better, worse) in claims.items():
    gain = leave_one_out.difference(
        runs[better], runs[worse], confidence=1 - 0.05 / len(claims)
    )
    verdict = (
        "holds" if gain.low > 0 else "reversed" if gain.high < 0 else "not decided"
    )
    decided[claim] = {
        f"difference in AUC [{len(claims)} jointly 95%]": str(gain),
        "here": verdict,
    }
pd.DataFrame(decided).T.rename_axis(f"paired over {len(bank)} targets, {bank.source}")

# %%
pooled = decided["4 models: one variance above own variances"]["here"]
words = {"holds": "it rises", "reversed": "it falls", "not decided": "not decided"}
on = f"{bank.source}, mean over {len(bank)} targets"
revealed("05.pooling", words[pooled], source=on)
best = max(runs, key=lambda name: runs[name].auc.estimate)
revealed("05.best_attack", best, source=on)

# %% [markdown]
# Four claims are looked at, so each interval is wider than 95% by itself: *all four* hold at once in 95 of 100
# experiments. They are intervals over models of **these records**. For other records they are too narrow, and no number of
# models mends that: what would another pool have given? The first three claims are the literature's (arXiv 2112.03570 and
# 2312.03262).

# %% tags=["hide-input"]
plots.show(
    curves.figure(
        [
            runs[name].curve()
            for name in (
                "loss threshold",
                "LiRA offline, 4 models",
                "RMIA offline, 4 models",
                "RMIA online",
            )
        ],
        title=f"Four attacks on the same {len(bank)} models",
        source=bank.source,
    )
)

# %% [markdown]
# On log-log axes the left side counts: there the attacker is nearly always right. Who is found there? The records
# whose scores rise most when they are trained on:

# %%
exposure = runs["RMIA online"].vulnerability()
surest = np.argsort(-exposure)[:100]
print(
    f"of the 100 most exposed records {canaries[surest].sum()} are canaries "
    f"({100 * canaries.mean():.1f}% of all)"
)
honest = surest[~canaries[surest]][:10]

# %% tags=["hide-input"]
if len(honest):
    plots.show(
        plots.images(
            bank.x[honest].numpy(),
            [bank.classes[labels[i]] for i in honest],
            alt=f"The {len(honest)} most exposed records with their own label: "
            f"{', '.join(bank.classes[labels[i]] for i in honest)}.",
        )
    )

# %% [markdown]
# Compare the two shares in the line above: canaries are one kind of exposed record, since what a network cannot learn it has
# to remember, if it fits it at all. How many of the most exposed are none? The pictures show such, with the label that the
# data set gives them.
#
# A reviewer wants more than one number. The report of one attack on one target has the control (who is a member,
# shuffled), and the precision that the attacker would have if members were rare:

# %%
membership.report(membership.attack("rmia-online", bank.target(0), bank.without(0)))

# %% [markdown]
# ## 5. The attacker who knows less
#
# So far the attacker trained shadow models of the target's own architecture, on the target's own kind of data. Now four
# shadow models each, of attackers who guess: another width, no convolutions at all, or no such photographs (objects
# drawn by code instead).
#
# **Predict.** Which ignorance costs the attacker most? Does any of them fall to the loss threshold, which needs no
# shadow model?

# %%
predict(
    "05.ignorance",
    "Which attacker has the smallest AUC?",
    choices=[
        "no shadow model: loss threshold",
        "same architecture, same data",
        "another width",
        "no convolutions",
        "same architecture, other data",
    ],
)


# %%
def brief(rate: stats.Interval | intervals.Refused) -> str:
    return (
        f"refused: {rate.short}"
        if isinstance(rate, intervals.Refused)
        else rate.percent()
    )


strangers = red_team.strangers(bank)
# The first models of the bank are the attacker's here.
others = range(red_team.KNOWN_LESS, len(bank))
knowing = {
    "no shadow model: loss threshold": [
        membership.attack("loss", bank.target(k), bank) for k in others
    ]
}
for name, theirs in strangers.items():
    knowing[name] = [
        membership.attack("rmia-offline", bank.target(k), theirs) for k in others
    ]
transferred = {
    name: leave_one_out.summarise(name, results) for name, results in knowing.items()
}
rows = {}
for name, result in transferred.items():
    rows[name] = {
        "AUC [95%]": str(result.auc),
        "TPR at 1% FPR": brief(result.tpr[0.01]),
    }
    if name in strangers:
        seen = [
            banks.accuracy(
                strangers[name].logits(k, part="population"), bank.population_labels
            ).estimate
            for k in range(4)
        ]
        rows[name]["shadow models' accuracy"] = f"{100 * np.mean(seen):.1f}%"
pd.DataFrame(rows).T.fillna("").rename_axis(
    f"RMIA offline on {len(others)} targets, {bank.source}"
)

# %%
weakest = min(transferred, key=lambda name: transferred[name].auc.estimate)
revealed("05.ignorance", weakest, source=f"{bank.source}, {len(others)} targets")

# %% tags=["hide-input"]
fig, ax = plots.figure(7.2, 3.2)
for row, result in enumerate(reversed(transferred.values())):
    ax.plot(
        [result.auc.low, result.auc.high],
        [row, row],
        color="#0072B2",
        linestyle="-",
        linewidth=3,
    )
    ax.plot(result.auc.estimate, row, "o", color="#0072B2", linestyle="none")
ax.axvline(0.5, color="#777777", linewidth=1, linestyle="-")
ax.set(
    yticks=range(len(transferred)),
    yticklabels=list(reversed(transferred)),
    xlabel="AUC, mean with 95% interval (0.5: guessing)",
)
ax.set(title=f"What the attacker knows: {len(others)} targets\n{bank.source}")
seen = "; ".join(
    f"{name}: {result.auc.estimate:.3f}" for name, result in transferred.items()
)
plots.show(
    plots.describe(
        fig, f"AUC of attackers who know more or less, with intervals: {seen}."
    )
)

# %% [markdown]
# What shadow models contribute is how hard each image is, and networks of several kinds agree on that: a secret
# architecture costs the attacker something, most of it at few false positives, and bounds nothing: who guesses better pays
# less. Models that never saw a photograph hardly know which photographs are hard; their accuracy (last column) says so
# before any attack does. An attacker with public images of the same kind should do better than that; none was tried here.
#
# ## 6. The attacker who sees labels only
#
# Suppose the service returns the class and nothing else. Members sit farther from the decision boundary; so disturb
# the image and see when the label gives way (Choquette-Choo et al., arXiv 2007.14321, section 3.3).
#
# ### Exercise 05.noise_score: an attack that sees nothing but labels


# %%
def noise_score(
    predict, x: np.ndarray, y: np.ndarray, noises: list[np.ndarray]
) -> np.ndarray:
    """Return for each record the share of noisy copies that are still classified right,
    (n,).

    `predict` maps images (n, C, H, W) in [0, 1] to classes (n,); each of `noises` is
    added to `x`, and the sum is cut off to [0, 1].
    """
    ### BEGIN SOLUTION
    hits = np.zeros(len(x))
    for noise in noises:
        hits += predict(np.clip(x + noise, 0, 1)) == y
    return hits / len(noises)
    ### END SOLUTION


# %%
check("05.noise_score", noise_score)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One pass over the noises, one question each, for all records together.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `predict(np.clip(x + noise, 0, 1)) == y` is what counts; add it up.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Divide by `len(noises)` at the end. The true label `y` is what to compare with, not the model's own answer.
#
# </details>

# %%
chosen = np.sort(
    np.random.default_rng(5).permutation(len(labels))[
        : profile.pick(smoke=100, laptop=1000, full=5000)
    ]
)
x, y = bank.x[chosen].numpy(), labels[chosen]
rng = np.random.default_rng(1)
noises = [np.zeros_like(x)]
noises += [
    level * rng.standard_normal(x.shape, dtype=np.float32)
    for level in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
    for _ in range(3)
]


def answers(images: np.ndarray) -> np.ndarray:
    return training.logits(target.model, torch.from_numpy(images)).argmax(1).numpy()


# %%
scores = {
    "right or wrong (gap attack)": membership.attack(
        "gap", target, shadows, records=chosen
    ).scores,
    "labels under noise (yours)": solved.noise_score(answers, x, y, noises),
    "loss threshold": membership.attack("loss", target, shadows, records=chosen).scores,
    "RMIA offline": membership.attack(
        "rmia-offline", target, shadows, records=chosen
    ).scores,
}
sees = [
    "the label",
    "the label, 19 times",
    "the confidence",
    "the confidence, and shadow models",
]
for other in ("labels under noise (yours)", "right or wrong (gap attack)"):
    lost = intervals.auc_difference(
        scores["loss threshold"], scores[other], members[chosen], 1 - 0.05 / 2
    )
    print(
        f"AUC, loss threshold minus {other}: {lost} (same records, two differences "
        "jointly at 95%)"
    )
pd.DataFrame(
    {
        "attacker sees": dict(zip(scores, sees, strict=True)),
        "AUC [95%]": {
            name: str(intervals.auc(found, members[chosen]))
            for name, found in scores.items()
        },
    }
).rename_axis(f"{len(chosen):,} records, one target")

# %% [markdown]
# All four saw the same records, so the differences say more than the single intervals. How much do confidences add to
# labels? Much of what is found lies in right or wrong: this model is right on far more members than non-members.
#
# ## 7. Defences, and the attacker who knows them
#
# "We smoothed the labels, ran the attack again, and it finds less." Which attack? If its shadow models were trained
# without the defence, they expect the confidences of undefended models. An attacker who knows the defence trains shadow
# models **under it**. A defence is as good as it is against that attacker.
#
# ### Exercise 05.knowing_attack: the attacker who knows the defence
#
# A defence's models stand on the same halves of the pool as the undefended ones. Let model `k` of them be the target. The
# others are shadow models, all but one: which would give the answer away?


# %%
def knowing_attack(values: np.ndarray, masks: np.ndarray, k: int, lira) -> np.ndarray:
    """Attack model `k` with the others of its kind; return a score for each record,
    (n,).

    `values` (K, n) is the signal of K models trained under the defence, `masks` (K, n)
    says who was trained on what; some pair of them shares the pool between its two
    models. `lira(shown, values, masks)` is `lira_online`.
    """
    ### BEGIN SOLUTION
    same = (masks == masks[k]).all(axis=1)
    partner = (masks != masks[k]).all(axis=1)
    others = ~same & ~partner
    return lira(values[k], values[others], masks[others])
    ### END SOLUTION


# %%
check("05.knowing_attack", knowing_attack)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Section 1 put two models away: the target, and the one trained on the other half of the pool.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The partner's mask differs from `masks[k]` everywhere: `(masks != masks[k]).all(axis=1)`. It need not stand beside `k`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# With `others` a boolean array over the models: `lira(values[k], values[others], masks[others])`.
#
# </details>

# %%
few = red_team.attacked(bank)
everyone = {defence.name: defence for defence in red_team.defended(scene)}
smooth = everyone["label smoothing"].models(few)
signal = {
    "none": few.signal("logit-confidence")[:, :, 0],
    "smooth": smooth.signal("logit-confidence")[:, :, 0],
}
found = {
    "shadow models without the defence": [],
    "shadow models under the defence (yours)": [],
}
for k in range(len(few)):
    rest = few.without(k)
    unaware = solved.lira_online(
        signal["smooth"][k], rest.signal("logit-confidence")[:, :, 0], rest.masks
    )
    aware = solved.knowing_attack(signal["smooth"], smooth.masks, k, solved.lira_online)
    for name, scores in zip(found, (unaware, aware), strict=True):
        found[name].append(stats.auc(scores[few.masks[k]], scores[~few.masks[k]]))
learned = stats.mean_interval(np.subtract(*reversed(found.values())))
for name, areas in found.items():
    print(f"label smoothing, {name}: AUC {stats.mean_interval(areas)}")
print(f"what it buys to know the defence: {learned} (paired over {len(few)} targets)")

# %% [markdown]
# Now all defences, each against both attackers (LiRA online). Each row has as many targets as the first, on the same halves
# of the pool, with as many shadow models, so rows compare pair by pair. **Canaries** have columns of their own: an average
# over all records hides those who pay (Aerni, Zhang and Tramèr, arXiv 2404.17399).
#
# - *early stopping*: a third of the epochs; *weight decay*: a strong one; *label smoothing*;
# - *confidence masking*: the top class, always at 90%. Its attacker masks the shadow models' answers as well;
# - *distillation*: a student learns the target's answers on other images. Its attacker distils every shadow model;
# - *linear* models on features that were learned from **public** images (lab 03): without noise, and with DP at two ε.
#   Their attacker trains the same linear pipeline, with the same noise. Which features to make was chosen by runs on
#   CIFAR-10's own train records (`dp.LINEAR_TRIALS` counts them); the ε here count one run (what looking costs: lab 03).
#
# **Predict** for each: accuracy, and the AUC for either attacker. Which, besides label smoothing, look better than they are?
# And the lab's **primary** comparison, fixed before any model was trained: linear at the larger ε beside no defence
# (section 8).

# %%
predict(
    "05.defences",
    "Which defence leaves least to the attacker who knows it, which leaves most, and "
    "which, besides label smoothing, look better than they are?",
    words=True,
)
predict(
    "05.leak",
    "AUC of who knows: linear model at the larger ε minus undefended network?",
    within=0.05,
)
predict(
    "05.price",
    "And their accuracies: linear model at the larger ε minus undefended network?",
    unit="points",
    within=5,
)

# %%
table = red_team.compare(scene)
table

# %% [markdown]
# What follows from it? The sentences on leaks and costs come from paired intervals that hold jointly at 95%. The last two
# lines compare single 95% intervals: who is missing there is not cleared.

# %%
none = table.row("none")
for row in table.rows[1:]:
    leaks, costs = row.change, row.accuracy_change
    verdict = (
        "leaks less"
        if leaks.high < 0
        else "leaks MORE"
        if leaks.low > 0
        else "leak not shown to differ"
    )
    price = (
        "costs accuracy"
        if costs.high < 0
        else "gains accuracy"
        if costs.low > 0
        else "accuracy not shown to differ"
    )
    print(
        f"{row.name}: {verdict} (AUC for who knows it {row.aware.estimate:.3f}, for "
        f"who does not {row.unaware.estimate:.3f}, undefended "
        f"{none.aware.estimate:.3f}); {price} ({100 * costs.estimate:+.1f} points)"
    )
apart = [row.name for row in table.rows[1:] if row.aware.low > row.unaware.high]
worst = [row.name for row in table.rows[1:] if row.canaries.low > none.aware.high]
print()
print(
    "looks better than it is to who does not know it: "
    f"{', '.join(apart) or 'none, as far as was shown'}"
)
print(
    "canaries under it are found more often than the average record without it: "
    f"{', '.join(worst) or 'none shown'}"
)

# %%
by_leak = sorted(table.rows[1:], key=lambda defence: defence.aware.estimate)
revealed(
    "05.defences",
    f"least under {by_leak[0].name!r}, most under {by_leak[-1].name!r}; look better "
    f"than they are: {' · '.join(apart) or 'none, as far as was shown'}",
    source=bank.source,
)

# %% [markdown]
# Read the *larger* of the two AUC columns, and the canaries, before you sign for anything: who knows a defence may still use
# the attack of who does not. A defence that changes confidences changes what confidence *means*, and shadow models trained
# alike often read it again. Masking hides confidences; what its
# attacker reads is who is right where models without the record are wrong: memorisation, seen through labels alone. And no
# row but those with DP has a ceiling: nothing says what the next attack will find.
#
# ## 8. Does DP defend?
#
# DP comes with a bound for *every* attack, also those not yet invented: the ceiling of its ε. Its price is said to be
# accuracy. So the private models here are not the network with noise, but linear models on public features, which need
# little from the private records. What public knowledge alone would give is the line of **ε = 0**: the same features, and
# a linear layer taught on synthetic records. Only what lies above it was learned from the records that DP protects.
#
# One comparison was fixed before any model was trained, the lab's **primary** one: the AUC of the attacker who knows, for
# the private linear model at the larger ε, minus that for the undefended network. All else in this lab is exploration.
#
# You guessed at it in section 7. Look, too, where the curves lie between guessing and their ceilings.

# %%
strongest = [
    "none",
    "linear, no noise",
    *(row.name for row in table.rows if row.ceiling is not None),
]
models = {name: everyone[name].models(few) for name in strongest}
attacked = {
    name: membership.leave_one_out(models[name], "lira-online", label=name)
    for name in strongest
}
statements = {
    name: models[name].privacy for name in strongest if models[name].privacy is not None
}
for name, privacy in statements.items():
    print(f"{name}: {privacy}")
primary = leave_one_out.difference(attacked[red_team.PRIMARY], attacked["none"])
verdict = (
    "less"
    if primary.high < 0
    else "more"
    if primary.low > 0
    else "neither more nor less, as far as was shown"
)
print(
    f"primary comparison, {red_team.PRIMARY} - none: AUC {primary} (95%, {len(few)} "
    f"pairs): it leaks {verdict}"
)

# %%
row = table.row(red_team.PRIMARY)
print(
    f"its accuracy: {row.accuracy.percent(1)}; the undefended network's: "
    f"{none.accuracy.percent(1)}; without any private record (ε = 0): "
    f"{100 * table.reference:.1f}%"
)
change = row.accuracy_change
beside = (
    "more accurate"
    if change.low > 0
    else "less accurate"
    if change.high < 0
    else "neither more nor less accurate, as far as was shown,"
)
low, middle, high = (
    100 * value for value in (change.low, change.estimate, change.high)
)
print(
    f"so it is {beside} than the undefended network: {middle:+.1f} points "
    f"[{low:+.1f}, {high:+.1f}] (paired over {len(few)} halves, jointly at 95% with "
    "the other defences)"
)
if not cifar.real:
    print(
        "on the stand-in the synthetic records come from the same code as the private "
        "ones: ε = 0 is flattered here"
    )

# %%
on = f"{red_team.PRIMARY}, {bank.source}"
revealed("05.leak", primary, source=on, of=f"paired over {len(few)} models")
revealed("05.price", change, times=100, source=on, of="jointly with the others")

# %%
rows = {
    name: {
        "accuracy [95%]": table.row(name).accuracy.percent(1),
        "above ε = 0": (
            f"{100 * (table.row(name).accuracy.estimate - table.reference):+.1f} points"
        ),
        "AUC, who knows [95%]": str(result.auc),
        "AUC allowed by (ε, δ)": "1"
        if name not in statements
        else f"{curves.ceiling_auc(statements[name]):.4f}",
        "TPR at 1% FPR": brief(result.tpr[0.01]),
    }
    for name, result in attacked.items()
}
pd.DataFrame(rows).T.rename_axis(
    f"{len(few.y) // 2:,} records each, {len(few)} targets, {bank.source}"
)

# %%
drawn = [result.curve() for result in attacked.values()]

# %% tags=["hide-input"]
fig = curves.figure(
    drawn, title=f"LiRA by who knows, {len(few) - 2} shadow models", source=bank.source
)
ax = fig.axes[0]
rates = drawn[0].fpr
tight = {name: privacy.tradeoff_curve(rates) for name, privacy in statements.items()}
for line, name in zip(ax.lines[: len(strongest)], strongest, strict=True):
    if name in tight:
        label = f"ceiling of {name}"
        ax.plot(
            rates,
            tight[name],
            color=line.get_color(),
            linestyle=":",
            linewidth=1.4,
            label=label,
        )
ax.legend(loc="lower right", fontsize=8)
at = {
    name: f"{100 * np.interp(0.01, rates, bound):.3g}%" for name, bound in tight.items()
}
told = "; ".join(
    f"{name} allows at most {bound} at 1% false positives" for name, bound in at.items()
)
plots.show(plots.describe(fig, f"{fig.alt_text} {told}."))

# %% [markdown]
# The dotted lines are the f-DP curves of the noise that was added: no attack on that training lies above, but by the
# luck of few records at the far left. A ceiling is what the *worst* record and the best-informed attacker could reach; ours
# saw only the final model. Lab 06 looks from the other side.
#
# Look at the linear model **without** noise, too. It differs from the private ones in the noise alone, from the network in
# everything. How much of the protection comes from having little to remember with, and how much from the noise? Only
# the noise comes with a promise.
#
# Last, everything in one picture: what each defence leaves to the attacker who knows it, at what accuracy.

# %%
plots.show(table.plot(), poster=True)

# %% [markdown]
# Which ε would have *forbidden* what you measured on the undefended models? Move the slider until the ceiling falls below
# the attack.

# %%
ceiling_explorer(
    [runs["RMIA online"].curve(), runs["loss threshold"].curve()], source=bank.source
)

# %% [markdown]
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("05")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Your attack has a high AUC. Is that bad?"* It depends on where the curve lies at few false positives. You have seen
#   a loss threshold with a fair AUC that finds next to nobody there, and LiRA, which does.
# - *"Only four shadow models: is it worth trying?"* By AUC you can say: RMIA offline beside LiRA offline, and one variance
#   beside own variances, all with four, paired. At the fewest false positives ties can undo RMIA: look at that column, too.
# - *"We keep the architecture secret."* You know what that costs an attacker, and that wrong *data* costs more.
# - *"We return labels only, no confidences: safe?"* You measured what masking leaves: labels, and shadow models to read
#   them by.
# - *"We tested the defence, the attack found less."* With shadow models trained under the defence? You measured both, and
#   know for which defences the two differ.
# - *"On average the AUC is near a half."* And for the worst-hit? Canaries show one group that was fixed before
#   training; the most exposed records show others.
# - *"DP costs too much accuracy."* It depends on what must be learned from private records. You have a private model's
#   accuracy beside the leaking network's, at equal numbers of records, and the line of ε = 0 under both.
# - *"The attack finds nothing at ε = 8, so is the true ε small?"* This attack found nothing. Lab 06 turns that into a number.
