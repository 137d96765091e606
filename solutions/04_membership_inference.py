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
# # 04 · Membership inference
#
# Someone hands you a model and a list of people. **Whose records was it trained on?** If you can tell, the model leaks:
# on a list of patients, membership alone may be the diagnosis. You will attack a model that was trained before this
# lab began, commit to your guesses, and only then learn who was in.
#
# **Objectives.** At the end you can
# - show that a network remembers its training records, and which of them it remembers best;
# - attack a model by its loss, and with shadow models that you train yourself;
# - say why accuracy and AUC are the wrong figures for an attack, and report the right ones with intervals;
# - run the controls without which no result on membership means anything.
#
# **Prerequisites.** A first PyTorch training loop; NumPy.
#
# **Minutes.** 105, of which the machine needs about one.
#
# **Difficulty.** ●●●○○ (3 of 5)

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from labkit import data, membership, plots, profiles, stats, training
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.membership.reports import intervals
from labkit.membership.shadows import signals
from labkit.scenarios import handed_over
from labkit.widgets import threshold_explorer

profile = profiles.current()
case = handed_over.case(data.load("mnist"))
cancer = data.load("breast_cancer")
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("04")
banner("04", case.dataset, cancer)

# %% [markdown]
# ## 1. What a network remembers
#
# The **pool** is the list of candidates. As in any set labelled by hand, some labels are wrong; here we made them so,
# and know which. A wrong label is something no network can *learn* from the other records. It can only remember it.

# %%
labels = case.y.numpy()
typical, odd = np.flatnonzero(~case.wrong)[:5], np.flatnonzero(case.wrong)[:5]

# %% tags=["hide-input"]
pictures = plots.images(
    case.x[np.concatenate([typical, odd])].numpy(),
    [f"{labels[i]}" for i in typical] + [f"{labels[i]} (wrong)" for i in odd],
    alt=(
        "Ten handwritten digits with their labels: five are right, and five, marked "
        "so, are wrong."
    ),
)
plots.show(pictures)

# %%
case

# %% [markdown]
# Train a model of your own on a random half of the pool. You know who is in, so you can see what membership looks like
# from outside.
#
# **Predict.** What share of its *own* mislabelled records will it answer as the wrong label says? And of those that it
# never saw?

# %%
predict(
    "04.wrong_in",
    "Which share of its own mislabelled records will it answer as labelled?",
    unit="%",
    within=10,
)
predict(
    "04.wrong_out", "And of mislabelled records that it never saw?", unit="%", within=5
)

# %%
in_mine = membership.balanced_masks(2, len(labels), seed=1)[0]
mine = case.train_on(in_mine, seed=1)
print(mine)

# %%
plots.show(drawings.loss_gap())

# %% [markdown]
# The model was trained on its members' labels, so their losses tend to be smaller. But the two groups overlap: a
# threshold that catches more members accuses more others, too. An attack is judged by how many it catches *at few
# false alarms* (section 4).
#
# ### Exercise 04.record_losses: the loss of each record
#
# The training loss is a mean. An attacker wants the loss of each record, and exactly where it is extreme: write it so
# that a probability of 1 or 0 does no harm.


# %%
def record_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each record's cross-entropy in nats, (n,), from `logits` (n, classes) and
    integer `labels` (n,)."""
    ### BEGIN SOLUTION
    top = logits.max(axis=1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return log_total - logits[np.arange(len(labels)), labels]
    ### END SOLUTION


# %%
check("04.record_losses", record_losses)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The loss of a record is −log of the probability that softmax gives to its label.
#
# </details>
# <details><summary>Hint 2</summary>
#
# −log softmax(z) at y is log(sum of exp(z)) − z at y. Subtract the largest logit before `exp`, and add it afterwards.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `logits[np.arange(len(labels)), labels]` picks the label's logit of each record.
#
# </details>


# %%
def outputs(model) -> np.ndarray:
    """Ask a model about all records of the pool: logits (n, classes), in float64."""
    return training.logits(model, case.x).numpy().astype(float)


my_losses = solved.record_losses(outputs(mine.model), labels)
rows = []
for name, group in (("right label", ~case.wrong), ("wrong label", case.wrong)):
    for part, who in (("members", in_mine), ("others", ~in_mine)):
        chosen = my_losses[group & who]
        agrees = int(
            (outputs(mine.model)[group & who].argmax(1) == labels[group & who]).sum()
        )
        rows.append(
            {
                "records": f"{part}, {name}",
                "count": len(chosen),
                "answers as labelled": stats.clopper_pearson(
                    agrees, len(chosen)
                ).percent(1),
                "median loss": f"{np.median(chosen):.2g}",
            }
        )
pd.DataFrame(rows).set_index("records")

# %%
as_labelled = outputs(mine.model).argmax(1) == labels
own, unseen = as_labelled[case.wrong & in_mine], as_labelled[case.wrong & ~in_mine]
share_in = stats.clopper_pearson(int(own.sum()), len(own))
share_out = stats.clopper_pearson(int(unseen.sum()), len(unseen))
revealed("04.wrong_in", share_in, times=100, source=mine.source)
revealed("04.wrong_out", share_out, times=100, source=mine.source)

# %% tags=["hide-input"]
fig, axes = plots.figure(8.4, 3.4, ncols=2, sharey=True)
edges = np.geomspace(1e-6, 40, 41)
for ax, title, group in zip(
    axes, ("Right labels", "Wrong labels"), (~case.wrong, case.wrong), strict=True
):
    for name, who, style in (("members", in_mine, "-"), ("others", ~in_mine, "--")):
        chosen = np.clip(my_losses[group & who], edges[0], edges[-1])
        weights = np.full(len(chosen), 100 / len(chosen))
        ax.hist(
            chosen,
            edges,
            weights=weights,
            histtype="step",
            linestyle=style,
            linewidth=1.8,
            label=name,
        )
    ax.set(
        xscale="log",
        xlabel="loss (nats), 10⁻⁶ or less at the left edge",
        title=f"{title} ({int(group.sum()):,} records)",
    )
axes[0].set_ylabel("share of the group (%)")
axes[0].legend(loc="upper left")
fig.suptitle(
    f"Loss of a model's own records and of others ({mine.source}, seed {mine.seed})",
    fontsize=11,
)
alt = (
    "Histograms of the loss of members and others: alike where labels are right, far "
    "apart where they are wrong."
)
plots.show(plots.describe(fig, alt))

# %% [markdown]
# That is **memorisation**. The network fits its own wrong labels as if they were right; of those it never saw it knows
# nothing. Where labels are right the two histograms overlap, but
# only others reach far to the right.
#
# ## 2. The model that you were handed
#
# Same architecture, same recipe, trained on *another* half of the same pool. Which half, you do not know.

# %%
given = case.handed_over()
given

# %% [markdown]
# Yeom et al. (arXiv 1709.01604) attack with one number: accuse a record of membership if its loss is at most a
# threshold. On your own model you know the answer, so that is where you set it.
#
# ### Exercise 04.best_threshold: set a threshold where you know the answer


# %%
def best_threshold(losses: np.ndarray, members: np.ndarray) -> float:
    """Return the threshold for which "loss <= threshold means member" has the best
    balanced accuracy.

    Balanced accuracy: the mean of the share of members who are accused and the share of
    others who are not.
    """
    ### BEGIN SOLUTION
    thresholds = np.sort(losses)
    caught = (
        np.searchsorted(np.sort(losses[members]), thresholds, side="right")
        / members.sum()
    )
    alarms = (
        np.searchsorted(np.sort(losses[~members]), thresholds, side="right")
        / (~members).sum()
    )
    return float(thresholds[np.argmax(caught - alarms)])
    ### END SOLUTION


# %%
check("04.best_threshold", best_threshold)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Only the losses themselves need to be tried: between two of them nothing changes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For one threshold t: `caught = (losses[members] <= t).mean()` and `alarms = (losses[~members] <= t).mean()`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Balanced accuracy is (caught + 1 − alarms) / 2: keep the t for which caught − alarms is largest.
#
# </details>

# %%
threshold = solved.best_threshold(my_losses, in_mine)
given_losses = solved.record_losses(outputs(given.model), labels)
accused = given_losses <= threshold
print(f"threshold {threshold:.2g}, set on your own model")
print(
    f"accused of having trained the model you were handed: {accused.sum():,} of "
    f"{len(accused):,} records"
)

# %% [markdown]
# Your accusations are made. What share of them do you believe to be right, and how sure would you be of any single
# one?

# %%
predict(
    "04.right",
    "Which share of the records that you accused are members?",
    unit="%",
    within=5,
)

# %% [markdown]
# ## 3. Shadow models
#
# Your own model was a *shadow* of the one you attack. One shadow shows what members look like on average. Many, each on
# its own half of the pool, show what each **record** looks like to models that know it and to models that do not
# (Shokri et al., arXiv 1610.05820).
#
# ### Exercise 04.balanced_masks: who trains which shadow model
#
# Every record should be in for exactly half of the models. Then no record has more evidence on one side than another,
# and the count itself tells nothing.


# %%
def balanced_masks(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    """Return who trains what, bool (models, records): by chance, each record in for
    exactly `models / 2` (even)."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    masks = np.zeros((models, records), dtype=bool)
    for first in range(0, models, 2):
        masks[first, rng.permutation(records)[: records // 2]] = True
        masks[first + 1] = ~masks[first]
    return masks
    ### END SOLUTION


# %%
check("04.balanced_masks", balanced_masks)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Coin flips do not do: some records would be in for nearly all models, others for hardly any.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Work in pairs of models: what the first does not get, the second gets.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `rng.permutation(records)[: records // 2]` is a random half; draw a new one for each pair.
#
# </details>

# %% [markdown]
# The bank below is made by this design, with labkit's own masks, and kept: it is trained once. Training it the first
# time takes a minute or two on the laptop profile.

# %%
bank = case.bank()
counts = bank.masks.sum(0)
print(bank)
print(f"each record is in for {counts.min()} to {counts.max()} of {len(bank)} models")

# %% [markdown]
# A loss near zero is squeezed against zero. So the score is taken on another scale, the log odds of the right answer,
# log(p / (1 − p)): large when the model is sure and right. It orders records as the loss does, in reverse.
#
# Some records are easy: every model is sure of them, trained on or not. High confidence there says nothing. So compare
# each record **with itself**: how much surer is this model than models that never saw the record? Watson et al.
# (arXiv 2111.08440) call it difficulty calibration.
#
# ### Exercise 04.calibrated: subtract how hard the record is


# %%
def calibrated(
    signal: np.ndarray, shadow_signals: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """Return the target's `signal` (n,) minus its mean over the shadow models that were
    not trained on the record.

    `shadow_signals` is (models, n); `masks` (models, n) is True where the model was
    trained on the record.
    """
    ### BEGIN SOLUTION
    out = ~masks
    return signal - (shadow_signals * out).sum(axis=0) / out.sum(axis=0)
    ### END SOLUTION


# %%
check("04.calibrated", calibrated)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# How confident are models on this record *without* having seen it? That much is its easiness, not a leak.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `~masks` marks the models that never saw a record. Multiplying by it sets the other entries to zero; then add up
# over the models, axis 0.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Divide by how many there are of each record: `(~masks).sum(axis=0)`.
#
# </details>

# %%
confidence = signals.signal("logit-confidence", outputs(given.model), labels)
scores = solved.calibrated(
    confidence, bank.signal("logit-confidence")[:, :, 0], bank.masks
)
surest = np.argsort(-scores)[:20]
print("the 20 records you are surest of:", surest.tolist())

# %% [markdown]
# ## 4. The reveal, and which figure to believe
#
# **Predict** before you run the next cell: which of your two attacks is better?

# %%
predict(
    "04.better",
    "Which attack has the larger AUC?",
    choices=["loss threshold", "shadow models, calibrated"],
)

# %%
members = given.reveal()
target = bank.query(given.model, members, name="the model you were handed")
right = stats.clopper_pearson(int((accused == members).sum()), len(members))
print(f"loss threshold: {right.percent(1)} of all guesses are right; {target}")
print(f"shadow models:  {members[surest].sum()} of your 20 surest are members")
by_attack = {"loss threshold": -given_losses, "shadow models, calibrated": scores}
pd.DataFrame(
    {
        name: {
            "balanced accuracy": intervals.balanced_accuracy(values, members).percent(
                1
            ),
            "AUC": str(intervals.auc(values, members)),
        }
        for name, values in by_attack.items()
    }
)

# %%
areas = {name: stats.auc(v[members], v[~members]) for name, v in by_attack.items()}
hits = stats.clopper_pearson(int(members[accused].sum()), int(accused.sum()))
revealed("04.right", hits, times=100, source=bank.source)
revealed("04.better", max(areas, key=areas.get), source=bank.source)

# %% [markdown]
# Accuracy and AUC need not agree on which is better, and both attacks look harmless. But nobody asks an attacker to rate
# *everyone*. An attacker who is certain about a few has done the harm. Carlini et al. (arXiv 2112.03570) therefore ask:
# **how many members are found while almost no one else is accused?**
#
# ### Exercise 04.tpr_at_fpr: members caught at few false alarms


# %%
def tpr_at_fpr(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    """Return the largest share of members with "score >= threshold" while at most `fpr`
    of the others have it.

    The threshold may lie above all scores. Records with equal scores stand or fall
    together.
    """
    ### BEGIN SOLUTION
    best = 0.0
    for threshold in np.unique(scores)[::-1]:
        if (scores[~members] >= threshold).mean() > fpr:
            break
        best = (scores[members] >= threshold).mean()
    return float(best)
    ### END SOLUTION


# %%
check("04.tpr_at_fpr", tpr_at_fpr)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lower the threshold step by step from the highest score; both rates can only grow.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.unique(scores)[::-1]` lists every threshold that makes a difference, highest first, ties once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Stop as soon as `(scores[~members] >= threshold).mean() > fpr`, and return what was caught one step before.
#
# </details>

# %%
rows = []
for name, values in by_attack.items():
    point = intervals.operating_point(values, members, 0.01)
    share = solved.tpr_at_fpr(values, members, 0.01)
    row = {"attack": name, "found at 1% false alarms": f"{100 * share:.2f}%"}
    if isinstance(point, membership.Refused):
        row["95% interval"] = str(point)
    else:
        row["95%, threshold taken as known"] = point.found.percent()
        row["95%, the attack at 1%"] = point.tpr.percent()
        row["false alarms at this threshold"] = point.fpr.percent()
    rows.append(row)
print(f"{bank.source}; profile {profile.name}; {(~members).sum():,} non-members")
pd.DataFrame(rows).set_index("attack")

# %% [markdown]
# Two intervals for one number? The first (Clopper–Pearson) counts the members above *this* threshold, as if the threshold
# were given. But it was read off the same few non-members: with others of them it would have been another one, and the
# last column says how far its false-alarm rate may lie from 1%. The second interval counts that, too. How much does it
# matter? Ask an experiment whose answer is known:

# %%
rng, trials, effect = (
    np.random.default_rng(0),
    profile.pick(smoke=100, laptop=400, full=2000),
    2.0,
)
# Members' scores lie two standard deviations higher.
truth = float(norm.sf(norm.isf(0.01) - effect))
is_member = np.arange(2000) < 1000
hold = {"threshold taken as known": 0, "threshold's own chance counted": 0}
for _ in range(trials):
    point = intervals.operating_point(
        rng.normal(size=2000) + effect * is_member, is_member, 0.01
    )
    hold["threshold taken as known"] += point.found.low <= truth <= point.found.high
    hold["threshold's own chance counted"] += point.tpr.low <= truth <= point.tpr.high
for name, count in hold.items():
    share = stats.clopper_pearson(int(count), trials)
    print(
        f"{name}: {share.percent(0)} of {trials} intervals hold the truth; 95% are "
        "promised"
    )

# %% [markdown]
# Guessing would find as many members as it raises false alarms. Now all attacks of this lab on one pair of axes. Both
# axes are logarithmic, since on ordinary ones everything that matters is crammed into the left edge.

# %%
attacks = {"loss": {}, "shokri": {}, "watson": {"signal": "logit-confidence"}}
reports = {
    name: membership.attack(name, target, bank, **options).report()
    for name, options in attacks.items()
}
# The same calibration as in your exercise, up to the rounding of a GPU.
assert np.corrcoef(reports["watson"].result.scores, scores)[0, 1] > 0.999
comparison = membership.compare(list(reports.values()))
plots.show(comparison.plot(), poster=True)

# %%
pd.set_option("display.max_colwidth", None)
comparison.table().drop(columns="from")

# %% [markdown]
# *loss* and *watson* are your two attacks. *shokri* is a classifier trained on the shadow models' outputs; you build it
# in section 7. Is the attack with the best AUC the one that finds most members at 1% false alarms? Some rates are
# **refused**: with too few non-members, a handful of false alarms decides, and the rate itself is unknown.
#
# **Which attack is better?** Do not look whether the intervals overlap. All attacks met the same records, and a record
# that is easy for one is easy for the other: the *difference* is known better than either number.
#
# ### Exercise 04.paired_differences: is one attack better, or does it look so?
#
# Redraw the records with replacement, many times, and measure both attacks on the same redrawn records. How much the
# difference varies is what its interval says (the bootstrap).


# %%
def paired_differences(
    first: np.ndarray,
    second: np.ndarray,
    members: np.ndarray,
    fpr: float,
    draws: list[np.ndarray],
) -> np.ndarray:
    """Return for each draw the share of members that `first` finds minus that of
    `second`, both at `fpr`; (draws,).

    `first` and `second` are the scores of two attacks on the same records, `members`
    says who is a member. A draw is an array of record numbers, some of them more than
    once: the records of one redrawn experiment.
    """
    ### BEGIN SOLUTION
    return np.array(
        [
            solved.tpr_at_fpr(first[draw], members[draw], fpr)
            - solved.tpr_at_fpr(second[draw], members[draw], fpr)
            for draw in draws
        ]
    )
    ### END SOLUTION


# %%
check("04.paired_differences", paired_differences)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A draw of records is the experiment done again, for both attacks at once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scores[draw]` and `members[draw]` are the redrawn experiment, and you have a function for its rate already. Both
# attacks need the same draw: what the records share cancels in the difference.
#
# </details>
# <details><summary>Hint 3</summary>
#
# For each draw: `solved.tpr_at_fpr(first[draw], members[draw], fpr) - solved.tpr_at_fpr(second[draw], members[draw],
# fpr)`. The threshold is chosen anew in each, inside that function.
#
# </details>

# %%
rng, groups = (
    np.random.default_rng(0),
    [np.flatnonzero(members), np.flatnonzero(~members)],
)
draws = [
    np.concatenate([rng.choice(group, len(group)) for group in groups])
    for _ in range(profile.pick(smoke=60, laptop=200, full=1000))
]
gaps = solved.paired_differences(scores, -given_losses, members, 0.01, draws)
low, high = np.quantile(gaps, [0.025, 0.975])
area = intervals.auc_difference(scores, -given_losses, members)
print(
    f"calibrated minus loss threshold, the same {len(members):,} records of "
    f"{bank.source}:"
)
print(
    f"  found at 1% false alarms: {100 * low:+.2f} to {100 * high:+.2f} points (95%, "
    f"{len(draws)} draws)"
)
print(
    f"  AUC: {area.estimate:+.3f} [{area.low:+.3f}, {area.high:+.3f}] (95%, DeLong's "
    "paired interval)"
)
comparison.differences()

# %% [markdown]
# The table has all three pairs. Whoever looks at three differences finds one by chance more often, so its intervals are
# wider, such that *all three* hold at once in 95 of 100 experiments.
#
# **Predict.** Half of all candidates were members so far, and you have seen what share of your accusations were right. What
# is left of it if one candidate in a hundred is a member, at the same two rates? Write it down, then move the threshold to
# where both rates are moderate, and the prior from 50% to 1%.

# %%
predict(
    "04.one_in_hundred",
    "If one candidate in a hundred is a member: which share of those accused by the "
    "loss, at your threshold, are members?",
    unit="%",
    within=2,
)

# %%
threshold_explorer(scores[members], scores[~members], source=bank.source)

# %% [markdown]
# ### Exercise 04.precision: how many of the accused are members?
#
# In an experiment half of the records are members. In the world, few of those on a list are.


# %%
def precision(tpr: float, fpr: float, prior: float) -> float:
    """Return the share of the accused who are members, when a share `prior` of all
    candidates are members."""
    ### BEGIN SOLUTION
    return prior * tpr / (prior * tpr + (1 - prior) * fpr)
    ### END SOLUTION


# %%
check("04.precision", precision)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count in a town of 10,000: how many members are accused, and how many others?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Accused members: `prior * tpr` of the town. Accused others: `(1 - prior) * fpr`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Divide the first by the sum of both (Bayes): `caught / (caught + alarms)`.
#
# </details>


# %%
def at_one_percent(scores: np.ndarray) -> np.ndarray:
    """Accuse the highest scores, with at most 1% of the others among them."""
    return scores > np.sort(scores[~members])[-1 - int(0.01 * (~members).sum())]


attempts = {"loss threshold, as committed": accused}
attempts |= {
    f"{name}, 1% false alarms": at_one_percent(values)
    for name, values in by_attack.items()
}
rows, precise = [], {}
for name, called in attempts.items():
    tpr = stats.clopper_pearson(int(called[members].sum()), int(members.sum()))
    fpr = stats.clopper_pearson(int(called[~members].sum()), int((~members).sum()))
    row = {"accusation": name, "TPR": tpr.percent(1), "FPR": fpr.percent(1)}
    for prior in (0.5, 0.1, 0.01):
        low, high = (
            solved.precision(tpr.low, fpr.high, prior),
            solved.precision(tpr.high, fpr.low, prior),
        )
        middle = solved.precision(tpr.estimate, fpr.estimate, prior)
        precise[name, prior] = middle, low, high
        row[f"precision, prior {prior:.0%}"] = f"{middle:.1%} [{low:.1%}, {high:.1%}]"
    rows.append(row)
pd.DataFrame(rows).set_index("accusation")

# %%
share_of_few, *ends = precise["loss threshold, as committed", 0.01]
revealed(
    "04.one_in_hundred",
    share_of_few,
    times=100,
    interval=tuple(ends),
    of="90% at least: both rates at 95%",
    source=bank.source,
)

# %% [markdown]
# Where members are rare, an accusation by the loss alone is nearly always false. The calibrated attack at the same number
# of false alarms is right far more often, and gets better still further to the left. (These rates are those of the very
# threshold, so Clopper–Pearson holds for each. Each interval of a precision takes two ends at once, so it covers with
# 90%.)
#
# ## 5. Would it have worked on nothing?
#
# Two controls belong beside every result. **Shuffle** who is a member: the AUC must fall to one half. And try a **blind**
# attack that never asks the model: if it beats one half, members and others differ in themselves, and the experiment
# measured that.

# %%
control = reports["watson"].control
print(f"AUC {reports['watson'].auc}; shuffled {control.auc}, p = {control.p_value:.3g}")
blind = membership.attack("blind", target, bank).report()
print(f"blind attack, members a random half: AUC {blind.auc}")
# "members" are small digits, "others" large ones.
by_digit = replace(target, members=labels < 5)
careless = membership.attack("blind", by_digit, bank).report()
print(f"blind attack, members the digits 0 to 4: AUC {careless.auc}")
reports["watson"]

# %% [markdown]
# The last line before the table is a perfect attack, and worthless: it tells digits apart, not members. Published results have fallen for
# subtler forms of it, such as members from before a date and non-members from after (Das et al., arXiv 2406.16201).
# The table is what a reviewer should find in a report.
#
# ## 6. Who is exposed?
#
# An average over all records hides those who pay.

# %%
found_out, rows = at_one_percent(scores), []
for name, group in (("right label", ~case.wrong), ("wrong label", case.wrong)):
    inside = group & members
    found = stats.clopper_pearson(int(found_out[inside].sum()), int(inside.sum()))
    area = intervals.auc(scores[group], members[group])
    rows.append(
        {
            "records": name,
            "members": inside.sum(),
            "found at 1% false alarms": found.percent(1),
            "AUC": area,
        }
    )
pd.DataFrame(rows).set_index("records")

# %%
exposed = np.flatnonzero(members)[np.argsort(-scores[members])]
honest = exposed[~case.wrong[exposed]][:10]

# %% tags=["hide-input"]
plots.show(
    plots.images(
        case.x[np.concatenate([exposed[:10], honest])].numpy(),
        [
            f"{labels[i]}{' (wrong)' if case.wrong[i] else ''}"
            for i in (*exposed[:10], *honest)
        ],
        alt="Digits in two rows. First: the ten most exposed members, "
        f"{case.wrong[exposed[:10]].sum()} of them with a wrong label. Second: the "
        "ten most exposed with a right label, many of them oddly drawn.",
    )
)

# %% [markdown]
# The first row are the most exposed members, the second the most exposed among those with a right label. They are the
# odd ones. Whoever is unlike the rest has to be remembered one by one: in hospital data, the rare disease.
#
# ## 7. Patients, and an attack that learns
#
# Shokri et al. leave the threshold to a classifier: train it on the outputs of shadow models, where membership is known.
# The records are now real patients (Wisconsin breast cancer). The models are small perceptrons, and three from
# scikit-learn.
#
# ### Exercise 04.shadow_rows: a training set for the attack itself


# %%
def shadow_rows(
    probabilities: np.ndarray, labels: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return one row for each model and record, (label, its probabilities...), and
    whether the record was a member.

    `probabilities` is (models, n, classes), `labels` (n,), `masks` (models, n): rows
    (models * n, 1 + classes) and a truth (models * n,).
    """
    ### BEGIN SOLUTION
    models, n, classes = probabilities.shape
    column = np.tile(labels, models)[:, None]
    rows = np.concatenate([column, probabilities.reshape(models * n, classes)], axis=1)
    return rows, masks.reshape(models * n)
    ### END SOLUTION


# %%
check("04.shadow_rows", shadow_rows)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Every model and every record makes one row. Rows, labels and truth must run through them in the same order.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `probabilities.reshape(models * n, classes)` puts the records of the first model first, then those of the second.
# Each model is asked about the same records, so the labels repeat: `np.tile(labels, models)`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `masks.ravel()` runs through models and records in the same order.
#
# </details>

# %%
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

clinic = membership.preset("breast_cancer").bank()
patients, diagnosis = clinic.x.numpy(), clinic.labels
halves = solved.balanced_masks(len(clinic), len(diagnosis), seed=2)


def shadows_of(model) -> np.ndarray:
    """Train a scikit-learn model on each half and ask each about all patients: (models,
    n, classes)."""
    return np.stack(
        [model.fit(patients[m], diagnosis[m]).predict_proba(patients) for m in halves]
    )


asked = {
    "logistic regression": (shadows_of(LogisticRegression(max_iter=500)), halves),
    "perceptron": (
        softmax([clinic.logits(k)[:, 0] for k in range(len(clinic))], axis=-1),
        clinic.masks,
    ),
    "decision tree": (shadows_of(DecisionTreeClassifier(random_state=0)), halves),
    "random forest": (shadows_of(RandomForestClassifier(50, random_state=0)), halves),
}

# %% [markdown]
# **Predict.** Which of the four gives away most about its patients? And does the leak go with the *gap*, the accuracy on
# members minus that on others? Each model takes its turn as the target; it and its partner on the other half stay out of
# the attack.

# %%
predict(
    "04.leaks_most",
    "On which target does Shokri's classifier reach the largest AUC?",
    choices=list(asked),
)


# %%
def shokri(probabilities: np.ndarray, masks: np.ndarray, k: int) -> float:
    """Attack model `k` with a classifier trained on the others' outputs; return the
    AUC."""
    others = [
        j
        for j in range(len(masks))
        if not (masks[j] == masks[k]).all() | (masks[j] != masks[k]).all()
    ]
    rows, truth = solved.shadow_rows(probabilities[others], diagnosis, masks[others])
    attacker = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(
        rows, truth
    )
    shown, inside = solved.shadow_rows(probabilities[[k]], diagnosis, masks[[k]])
    guesses = attacker.predict_proba(shown)[:, 1]
    return stats.auc(guesses[inside], guesses[~inside])


# %%
rows, leak = [], {}
for name, (probabilities, masks) in asked.items():
    found = {
        "accuracy on others": [],
        "gap": [],
        "loss threshold, AUC": [],
        "Shokri's classifier, AUC": [],
    }
    for k in range(0, min(20, len(masks)), 2):
        correct = probabilities[k].argmax(1) == diagnosis
        sure = probabilities[k][np.arange(len(diagnosis)), diagnosis]
        found["accuracy on others"].append(correct[~masks[k]].mean())
        found["gap"].append(correct[masks[k]].mean() - correct[~masks[k]].mean())
        found["loss threshold, AUC"].append(stats.auc(sure[masks[k]], sure[~masks[k]]))
        found["Shokri's classifier, AUC"].append(shokri(probabilities, masks, k))
    leak[name] = np.mean(found["Shokri's classifier, AUC"])
    rows.append(
        {"target": name}
        | {
            key: str(stats.mean_interval(values))
            if "AUC" in key
            else stats.mean_interval(values).percent(1)
            for key, values in found.items()
        }
    )
print(f"{clinic.source}; mean over {len(found['gap'])} targets with its 95% interval")
pd.DataFrame(rows).set_index("target")

# %%
revealed("04.leaks_most", max(leak, key=leak.get), source=clinic.source)

# %% [markdown]
# The line names the largest of four means over ten targets; the lead over the next was not tested. A gap is a leak: whoever
# accuses exactly where the model is right has a balanced accuracy of 1/2 + gap/2 (Yeom et al.). But the gap is not all of
# it: two models that know all their patients by heart can leak quite differently, as *how sure* they are tells what their
# answers do not. Compare accuracies, too. What does remembering buy here?
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("04")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Our model is 97% accurate on the test set. Does it leak?"* Ask about the members it answers *better* than others.
#   Test accuracy alone does not say.
# - *"The attack has an AUC of .6, so we are safe."* An average over everyone. You have seen an attack with such an AUC that
#   is nearly certain about the few it points at, and one that is certain about nobody.
# - *"Why shadow models?"* They say how hard each record is to models that never saw it. The same confidence is evidence on
#   a hard record and none on an easy one.
# - *"How many non-members do you need?"* Ten above the threshold at least: a thousand for a TPR at 1%, ten thousand at 0.1%.
#   And the interval must count that the threshold came from them: you measured how often one that does not holds.
# - *"Attack A finds more than B, but their intervals overlap."* They met the same records: pair them, and name how many
#   differences you looked at.
# - *"How do you know your experiment is sound?"* Random split, guesses before the reveal, shuffled labels, a blind baseline.
# - *"What helps?"* Not remembering: simpler models, regularisation, and differential privacy, the one with a proof. Lab 05
#   measures each, with stronger attacks.
