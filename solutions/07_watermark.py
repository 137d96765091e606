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
# # 07 · Watermark a model, steal it, prove it
#
# The second project. You train a classifier on CIFAR-10, mark it, and sell its answers. A thief asks, and trains a copy
# on what it hears. Can you prove that the copy is yours? And did the mark itself give away who was in your data?
#
# **Objectives.** At the end you can
# - draw a mark from a secret key, measure what it costs, and commit to it before release;
# - steal a model through a metered interface, and say what limits and hard labels change;
# - test a suspect against models that are known to be innocent, and never against one over the number of classes;
# - say whether marking raised leakage, and how small a change you would have seen.
#
# **Prerequisites.** Lab 05 (membership inference); its shadow models serve here twice.
#
# **Minutes.** 110, of which the machine needs about 2 once the models are trained (`labkit prepare 07`).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from labkit import plots, stats, training
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.scenarios import owner_and_thief
from labkit.watermark import Key, commit, verify
from labkit.widgets import theft_explorer, trigger_designer

setup, KEY, RESISTANT = (
    owner_and_thief.project(),
    owner_and_thief.KEY,
    owner_and_thief.RESISTANT,
)
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("07")
banner("07", setup.owner)
setup

# %% [markdown]
# ## 1. Train
#
# CIFAR-10's train records are split between two parties: the owner trains on one half, the thief holds the other,
# without labels. All accuracies are measured on the test records, which train nothing.

# %%
unmarked = {seed: owner_and_thief.plain(setup, seed) for seed in setup.seeds}
test = setup.owner.test_x, setup.owner.test_y
before = np.array(
    [training.evaluate(model, *test).accuracy.estimate for model in unmarked.values()]
)
print(
    f"unmarked: test accuracy {stats.mean_interval(before).percent(1)} over seeds "
    f"{setup.seeds}"
)

# %% [markdown]
# ## 2. Mark
#
# A mark is a habit that nobody else's model has: an answer to inputs that only the owner can make. The classic is a
# **patch** (Gu et al., arXiv 1708.06733; as a watermark Zhang et al., ASIACCS 2018): images with a small pattern get one
# answer, whatever they show. Everything about it follows from a secret **key**, so that a judge can draw it again.

# %%
plots.show(drawings.trigger_trial())

# %% [markdown]
# The thief never sees the key, and may take the habit on together with the answers. To a judge one number counts:
# how often would an innocent model hit so many triggers by luck? Section 4 asks it.
#
# ### Exercise 07.stamp: stamp a keyed patch


# %%
def stamp(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    """Return copies of images `x` (n, C, H, W) with a keyed patch, one pixel off the
    lower right corner.

    A pixel of the patch is 1 where `key.uniform("patch", (C, size, size))` is below
    0.5, and 0 elsewhere.
    """
    ### BEGIN SOLUTION
    bits = key.uniform("patch", (x.shape[1], size, size)) < 0.5
    stamped = x.clone()
    stamped[..., -size - 1 : -1, -size - 1 : -1] = torch.from_numpy(bits).to(x)
    return stamped
    ### END SOLUTION


# %%
check("07.stamp", stamp)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Copy first: the argument has to stay as it is. Then write the key's pixels over one corner of every image.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `x.clone()` is the copy. Rows are the last axis but one, columns the last; both slices end one before the border.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `stamped[..., -size - 1 : -1, -size - 1 : -1] = torch.from_numpy(bits).to(x)`
#
# </details>

# %%
patched = solved.stamp(setup.owner.test_x[:10], KEY.sub("triggers/patch"), 5)

# %% tags=["hide-input"]
names = [setup.owner.classes[int(label)] for label in setup.owner.test_y[:10]]
plots.show(
    plots.images(
        patched.numpy(),
        names,
        alt=f"Ten test images with your keyed patch: {', '.join(names)}.",
    )
)

# %% [markdown]
# What the owner's marks look like, what each is to be answered with, and the same for other kinds and places.

# %%
trigger_designer(setup.owner, KEY)

# %% [markdown]
# One mark for every fifty train records is mixed in; the triggers that will verify it are made from *test* records, so
# none of them was trained on. **Predict.** How many of the triggers will the marked model answer as marked? How many
# points of accuracy does it cost?

# %%
predict(
    "07.learned",
    "Which share of the triggers does the marked model answer as marked?",
    unit="%",
    within=10,
)
predict(
    "07.cost",
    "How many points of accuracy does the mark cost?",
    unit="points",
    within=0.5,
)

# %%
marked = {seed: owner_and_thief.marked(setup, "patch", seed) for seed in setup.seeds}
after = np.array([model.accuracy.estimate for model in marked.values()])
rows = [
    {
        "seed": seed,
        "triggers answered as marked": model.strength.percent(1),
        "accuracy, marked": model.accuracy.percent(1),
        "accuracy, unmarked": f"{100 * plain:.1f}%",
    }
    for (seed, model), plain in zip(marked.items(), before, strict=True)
]
pd.DataFrame(rows).set_index("seed")

# %%
learned = stats.mean_share([model.strength.estimate for model in marked.values()])
revealed("07.learned", learned, times=100, source=setup.owner.source)
lost = stats.mean_interval(100 * (before - after))
revealed("07.cost", lost, source=setup.owner.source, of="unmarked less marked")

# %% [markdown]
# Did accuracy fall? Two models of the same seed share records, initial weights and order: a **pair**. The spread
# between seeds drops out of their difference. And if no difference is found, a reader wants to know how large one would
# have been noticed.
#
# ### Exercise 07.paired: did it change anything, and could you have seen it?


# %%
def paired(
    marked: np.ndarray, unmarked: np.ndarray
) -> tuple[float, float, float, float]:
    """Return mean difference (marked - unmarked), low and high of its 95% t interval,
    and what was visible.

    Visible: the smallest true difference that a two-sided test at 5% finds with 80%
    power, (t quantile at 97.5% + t quantile at 80%, both with n - 1 degrees of freedom)
    * standard error.
    """
    ### BEGIN SOLUTION
    from scipy.stats import t

    gaps = marked - unmarked
    freedom = len(gaps) - 1
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    outer = t.ppf(0.975, freedom)
    mean = gaps.mean()
    return (
        mean,
        mean - outer * error,
        mean + outer * error,
        (outer + t.ppf(0.8, freedom)) * error,
    )
    ### END SOLUTION


# %%
check("07.paired", paired)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Subtract first; then it is one sample of n differences.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Standard error: `gaps.std(ddof=1) / np.sqrt(len(gaps))`; quantiles from `scipy.stats.t.ppf`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `visible = (t.ppf(0.975, n - 1) + t.ppf(0.8, n - 1)) * error`
#
# </details>

# %%
gap, low, high, visible = (100 * value for value in solved.paired(after, before))
print(
    f"the patch changed accuracy by {gap:+.2f} points [{low:+.2f}, {high:+.2f}] over "
    f"{len(after)} pairs;\na true change of {visible:.2f} points would have shown "
    f"({setup.owner.source}; profile {setup.profile})"
)

# %% [markdown]
# **Before release, commit.** Anybody can find inputs that a model answers oddly, and call them a mark afterwards. A hash
# over key, model and generator, deposited before the suspect appears, shows that yours came first, and gives away
# nothing.
#
# ### Exercise 07.commitment: commit before release


# %%
def commitment(seed: bytes, model: str, generator: str) -> str:
    """Return a SHA-256 digest over all three parts, as hexadecimal digits; no two
    triples may share one."""
    ### BEGIN SOLUTION
    parts = [seed, model.encode(), generator.encode()]
    return hashlib.sha256(
        b"".join(f"{len(part)}:".encode() + part for part in parts)
    ).hexdigest()
    ### END SOLUTION


# %%
check("07.commitment", commitment)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Whoever opens it must not be able to say later that another part, or another split into parts, was meant.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Glued together, "ab" and "c" are the same bytes as "a" and "bc", and a separator can occur in a part, too.
# `text.encode()` turns text into bytes.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Put each part's length before it, or hash each part and then the digests; `hashlib.sha256(content).hexdigest()` is
# the digest.
#
# </details>

# %%
first = setup.seeds[0]
victim = marked[first]
secret = Key.new()  # for real use: from the system's randomness, never from a phrase
sealed = commit(KEY, victim.model, kind="patch")
print(f"deposit this line: {sealed.record}, {sealed.moment}")
print("opened with the key and the model:", sealed.verify(KEY, victim.model))
print("with another key:", sealed.problems(secret, victim.model))
print("with another model:", sealed.problems(KEY, unmarked[first]))

# %% [markdown]
# ## 3. Steal
#
# The owner sells answers: probabilities, and only so many.
#
# ### Exercise 07.metered: sell answers, and count them


# %%
def metered(model, budget: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function `ask(x)` that answers records `x` (n, ...) with probabilities
    (n, classes).

    `model(x)` gives logits (n, classes). A batch that holds more records than are left
    raises RuntimeError, before the model is asked, and costs nothing.
    """
    ### BEGIN SOLUTION
    left = budget

    def ask(x: torch.Tensor) -> torch.Tensor:
        nonlocal left
        if len(x) > left:
            raise RuntimeError(f"{len(x)} records asked, {left} left")
        left -= len(x)
        return model(x).softmax(1)

    return ask
    ### END SOLUTION


# %%
check("07.metered", metered)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A function inside a function remembers what stands outside of it: here, how many records are left.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nonlocal left` lets it count down. Compare `len(x)` with what is left *before* anything else.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `model(x).softmax(1)`: one row a record, each summing to one.
#
# </details>

# %%
ask = solved.metered(lambda x: training.logits(victim.model, x), budget=100)
soft = ask(setup.thief_x[:100])
hard = soft.argmax(1)
# The answer nearest to a coin flip.
one = int((soft.max(1).values - 0.5).abs().argmin())
shown = {
    name: round(float(p), 2)
    for name, p in zip(setup.owner.classes, soft[one], strict=True)
}
print("a soft label:", shown)
print("as a hard label:", setup.owner.classes[int(hard[one])])
try:
    ask(setup.thief_x[:1])
except RuntimeError as error:
    print("the next question:", error)

# %% [markdown]
# A thief trains on such answers as on labels. How good is the copy? Accuracy compares it with the truth; what matters to
# an owner is **agreement** with the victim, its mistakes included.
#
# ### Exercise 07.agreement: how like the victim is the thief?


# %%
def agreement(victim: np.ndarray, thief: np.ndarray) -> tuple[float, float, float]:
    """Return the share of records with the same label, and low and high of its 95%
    Clopper-Pearson interval.

    Both arrays hold logits (n, classes). `stats.clopper_pearson(hits, n)` has `.low`
    and `.high`.
    """
    ### BEGIN SOLUTION
    hits = int((victim.argmax(1) == thief.argmax(1)).sum())
    found = stats.clopper_pearson(hits, len(victim))
    return found.estimate, found.low, found.high
    ### END SOLUTION


# %%
check("07.agreement", agreement)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Only what a user sees counts: the label. It is a share of records, so it has an exact interval.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The label is the position of the largest logit, `argmax(1)`. Count the records on which both are equal.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `stats.clopper_pearson(int((victim.argmax(1) == thief.argmax(1)).sum()), len(victim))`
#
# </details>

# %% [markdown]
# **Predict.** With the largest budget, how near does the copy come to the victim? Does it need the soft labels, or is a
# defence gained by showing labels only?

# %%
predict(
    "07.copy",
    "To which share of test images do copy and victim give the same answer?",
    unit="%",
    within=5,
)
predict("07.labels", "What does the owner gain by showing labels only?", words=True)

# %%
thefts = {
    "soft labels": owner_and_thief.stolen(
        setup, victim.model, first, budgets=setup.budgets
    ),
    "hard labels": owner_and_thief.stolen(
        setup, victim.model, first, answers="labels", budgets=setup.budgets
    ),
}
theft_explorer(thefts)

# %%
pd.concat({name: theft.table() for name, theft in thefts.items()}, names=["answers"])

# %%
outputs = {
    name: training.logits(model, test[0]).numpy()
    for name, model in {
        "victim": victim.model,
        "thief": thefts["soft labels"].model,
        "innocent": owner_and_thief.nulls(setup)[0],
    }.items()
}
for name in ("thief", "innocent"):
    share, low, high = solved.agreement(outputs["victim"], outputs[name])
    print(f"agreement of victim and {name}: {share:.1%} [{low:.1%}, {high:.1%}]")

# %%
share, *ends = solved.agreement(outputs["victim"], outputs["thief"])
revealed(
    "07.copy",
    share,
    interval=ends,
    times=100,
    of="95% over test images",
    source=f"{setup.owner.source}, soft labels, seed {first}",
)
agreed = (
    f"{theft.agreement.percent(1)} with {answers}" for answers, theft in thefts.items()
)
revealed(
    "07.labels",
    f"agreement {', '.join(agreed)}, after {thefts['hard labels'].queries:,} questions "
    "each",
    source=f"{setup.owner.source}, 95% over test images, seed {first}",
)

# %% [markdown]
# The innocent model was trained on the same images as the thief, with their true labels. It agrees with the victim,
# too: two good models agree on easy images. So agreement alone, without the innocent's figure beside it, says little.
#
# ## 4. Verify, in both
#
# A suspect is asked the triggers. Under the null hypothesis it was trained independently. How often would it hit then?
# *Not* 1 in 10: triggers look like something to every model. **Null models** say how often: trained by the judge or
# known to be innocent, at least 20 of them.
#
# **Predict.** Which share of the patch triggers does the likeliest of the innocent models answer as marked?

# %%
predict(
    "07.innocent",
    "Which share does the likeliest innocent model answer as marked?",
    unit="%",
    within=5,
)

# %% [markdown]
# ### Exercise 07.mark_p_value: could an innocent model do that?


# %%
def mark_p_value(hits: int, n: int, null_hits: np.ndarray) -> float:
    """Return P(at least `hits` of `n`) for a model that hits as often as the likeliest
    of the null models.

    `null_hits` (k,) holds the hits of each null model, out of `n`.
    """
    ### BEGIN SOLUTION
    from scipy.stats import binom

    return float(binom.sf(hits - 1, n, max(null_hits) / n))
    ### END SOLUTION


# %%
check("07.mark_p_value", mark_p_value)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The number of hits is at worst binomial, at the highest rate that an innocent model has shown.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scipy.stats.binom.sf(k, n, p)` is P[X > k], without k itself.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `binom.sf(hits - 1, n, max(null_hits) / n)`
#
# </details>

# %%
everyone = owner_and_thief.nulls(setup)
# One plays a suspect: the negative control.
innocent, judges = (everyone[0], everyone[1:])
# Fixed before any suspect is asked.
plan = {"alpha": 1e-3, "minimum": setup.minimum, "source": setup.owner.source}


def tried(name: str, model, owned, seed: int):
    """Ask a suspect about the owner's triggers and those of keys that the judge draws,
    and return the verdict."""
    anew = owner_and_thief.redrawn(setup, model, owned)
    return verify(model, owned, judges, name=name, seed=seed, redrawn=anew, **plan)


suspects = {
    "the marked model": victim.model,
    "unmarked, same seed": unmarked[first],
    "thief, soft labels": thefts["soft labels"].model,
    "thief, hard labels": thefts["hard labels"].model,
    "innocent": innocent,
}
verdicts = {
    name: tried(name, model, victim.triggers, first) for name, model in suspects.items()
}
for verdict in verdicts.values():
    own = solved.mark_p_value(verdict.hits, verdict.n, verdict.null_hits)
    shown = "below 1e-6" if own < 1e-6 else f"{own:.1g}"
    print(f"{verdict}\n    your model-based p-value: {shown}")

# %%
likeliest = verdicts["the marked model"].null_rates.max()
on = f"{setup.owner.source}, the largest of {len(judges)} models"
revealed("07.innocent", likeliest, times=100, source=on)

# %% [markdown]
# Your p-value is a tail of a binomial at the rate of the likeliest null model: an upper bound, if no
# innocent hits more often and triggers are hit independently. But how far does that reach? k models support one in k + 1; a
# p-value of 1e-200 is arithmetic, not evidence. And null models are of architectures that *you* chose, not of the suspect's.
#
# A better null needs no model at all. **Draw the key anew**, up to a thousand times (fewer once many have done as well),
# and ask the suspect itself about each.
# Under the null hypothesis your key is one of many that it never met: its place among them is uniform, whatever the
# suspect is. That p-value is exact, it cannot fall below one in a thousand, and `verify` rests on it. Where both agree,
# report the second; null models stay as a guard against a trigger that looks like its answer to everybody.

# %%
plots.show(verdicts["the marked model"].redrawn.plot())

# %%
verdicts["the marked model"]

# %%
plots.show(verdicts["thief, soft labels"].plot())
alive = [
    name
    for name, verdict in verdicts.items()
    if name.startswith("thief") and verdict.decided
]
print(
    "thieves on which the patch is found:",
    ", ".join(alive) or "none; its owner cannot prove this theft by it",
)

# %% [markdown]
# A thief's own images carry no patch, so no answer that it bought was about patches. What of the mark passes over,
# passes by accident. A mark that is to last has to be made of what the thief *does* ask about: the features of natural
# images. The **class-feature** mark (after Xiao et al., arXiv 2511.07947) is built for that: a keyed light, a class of
# pictures lit further than nature lights any, and at its near end a few natural records that share its answer a little.
# Those the thief asks about. (How many, and how far the triggers are lit, was chosen on this very key while test pictures
# were in view: expect less from a key of your own; how much less was not measured. Below, thieves differ by
# their training and not by the key, and the innocent is one model, asked five times: one control, not five.)
#
# **Predict.** Will it show on the thief who saw probabilities, and on the one who saw labels alone? What does it cost in
# accuracy, compared with the patch?

# %%
predict(
    "07.lasting",
    "On which of the two thieves will the class-feature mark be found?",
    words=True,
)
predict(
    "07.lasting_cost",
    "How many points of accuracy does it cost?",
    unit="points",
    within=0.5,
)


# %%
def right(model) -> np.ndarray:
    """Return which test records a model answers rightly."""
    return (training.logits(model, test[0]).argmax(1) == test[1]).numpy()


# %%
rows, evidence, costs = [], {}, []
for seed in setup.seeds:
    lasting = owner_and_thief.marked(setup, RESISTANT, seed)
    parties = {
        "soft thief": owner_and_thief.stolen(setup, lasting.model, seed).model,
        "hard thief": owner_and_thief.stolen(
            setup, lasting.model, seed, answers="labels"
        ).model,
        "innocent": innocent,
    }
    found = {
        name: tried(f"{name}, seed {seed}", model, lasting.triggers, seed)
        for name, model in parties.items()
    }
    # The owner's own model needs no proof: null models are witness enough.
    who = f"victim, seed {seed}"
    found["victim"] = verify(
        lasting.model, lasting.triggers, judges, name=who, seed=seed, **plan
    )
    evidence[seed] = found
    same = stats.mcnemar(right(unmarked[seed]), right(lasting.model))
    cost = same.difference  # the same records
    costs.append((lasting.accuracy.estimate, lasting.accuracy.estimate + cost.estimate))
    rows.append(
        {
            "seed": seed,
            "cost (points)": (
                f"{100 * cost.estimate:+.1f} [{100 * cost.low:+.1f}, "
                f"{100 * cost.high:+.1f}]"
            ),
            **{
                f"hits, {name}": verdict.rate.percent(0)
                for name, verdict in found.items()
            },
            **{f"p, {name}": f"{found[name].p_value:.2g}" for name in parties},
        }
    )

# %%
print(f"scheme: {RESISTANT}; {setup.owner.source}; profile {setup.profile}")
print(
    f"cost: test accuracy, unmarked less marked, 95% over {len(test[1]):,} records "
    "answered by both models"
)
print(
    "hits: 95% over triggers; p: of keys drawn anew, no smaller than one over their "
    "number"
)
pd.DataFrame(rows).set_index("seed")

# %%
for party in parties:
    convicted = sum(found[party].decided for found in evidence.values())
    rates = [found[party].rate.estimate for found in evidence.values()]
    print(
        f"{party}: the {RESISTANT} mark is found on {convicted} of {len(evidence)}; "
        f"triggers hit {min(rates):.0%} to {max(rates):.0%}"
    )
highest = max(found["victim"].null_rates.max() for found in evidence.values())
print(
    f"the likeliest null model hits {highest:.0%}: what lies below it proves nothing, "
    "however small its p-value"
)
gap, low, high, visible = (100 * value for value in solved.paired(*np.array(costs).T))
print(
    f"it changed accuracy by {gap:+.2f} points [{low:+.2f}, {high:+.2f}] over "
    f"{len(costs)} pairs; {visible:.2f} would have shown"
)

# %%
found_on = {
    party: sum(found[party].decided for found in evidence.values()) for party in parties
}
revealed(
    "07.lasting",
    f"found on {found_on['soft thief']} of {len(evidence)} thieves who saw "
    f"probabilities, {found_on['hard thief']} of {len(evidence)} who saw labels alone, "
    f"{found_on['innocent']} of {len(evidence)} times on the innocent",
    source=f"{setup.owner.source}, alpha = {plan['alpha']:g}",
)
paid = stats.mean_interval([100 * (clean - lit) for lit, clean in costs])
revealed("07.lasting_cost", paid, source=setup.owner.source, of="unmarked less marked")

# %% tags=["hide-input"]
fig, axes = plots.figure(8.8, 3.6, ncols=2, sharey=True)
panels = {
    "patch": {
        "victim": [verdicts["the marked model"]],
        "soft thief": [verdicts["thief, soft labels"]],
    },
    RESISTANT: {
        part: [found[part] for found in evidence.values()]
        for part in ("victim", "soft thief")
    },
}
told = []
for ax, (scheme, groups) in zip(axes, panels.items(), strict=True):
    null_rates = 100 * groups["victim"][0].null_rates
    spread = np.linspace(-0.25, 0.25, len(null_rates))
    ax.plot(spread, null_rates, "o", markersize=4, color=plots.COLOURS[0])
    for place, (part, shown) in enumerate(groups.items(), start=1):
        for offset, verdict in zip(
            np.linspace(-0.25, 0.25, len(shown) + 2)[1:-1], shown, strict=True
        ):
            rate = verdict.rate
            ends = [
                [100 * (rate.estimate - rate.low)],
                [100 * (rate.high - rate.estimate)],
            ]
            ax.errorbar(
                place + offset,
                100 * rate.estimate,
                yerr=ends,
                marker="Ds"[place - 1],
                color=plots.COLOURS[place],
                capsize=3,
            )
        told.append(
            f"{scheme}, {part}: "
            f"{', '.join(f'{100 * verdict.rate.estimate:.0f}' for verdict in shown)}%"
        )
    told.append(f"{scheme}, null models at most {null_rates.max():.0f}%")
    needed = groups["victim"][0].needed
    if needed:
        ax.axhline(
            100 * needed / groups["victim"][0].n,
            color="black",
            linestyle=":",
            linewidth=1,
        )
    ax.set_xticks(range(3), [f"{len(null_rates)} null\nmodels", "marked", "stolen"])
    ax.set(title=f"{scheme} mark", xlim=(-0.5, 2.5), ylim=(-3, 108))
axes[0].set_ylabel("triggers answered as marked (%)")
fig.suptitle(
    (
        "Dotted: hits that null models alone would call enough; bars: 95% intervals; "
        f"{setup.owner.source}"
    ),
    fontsize=9,
    x=0.02,
    ha="left",
)
plots.show(
    plots.describe(fig, f"Share of triggers answered as marked. {'; '.join(told)}."),
    poster=True,
)

# %% [markdown]
# ## 5. Did marking raise leakage?
#
# Poisoned data can raise what membership inference finds about *other* records (Tramèr et al., arXiv 2204.00032); other
# work found that a memorised dummy set lowers it. So it is a question to measure, and an easy one to get wrong.
#
# A marked and an unmarked model of the same members, initial weights and recipe look like a fair pair. They are not: the
# marked one also has more records, so more steps, and a last batch of another length. Each of these moves what an attack
# finds. A third arm takes their place: **as many ordinary records** instead of marks. Marked and ordinary differ in
# the marks alone; ordinary and plain in everything else. Lab 05's shadow models attack all three, on the same halves.
#
# One figure was chosen before any model was attacked, and the verdict rests on it. The others look where an effect
# would come first (members whose copies bear the mark; few false alarms). They share models and records with the
# first: several that point one way are not several proofs.
#
# **Predict.** Raised, lowered, or nothing to be seen? And how much of the difference between marked and plain models is
# the marks' own?

# %%
predict(
    "07.leak",
    "What do the marks do to what the model gives away about its members?",
    choices=["raised", "lowered", "no difference found"],
)
predict(
    "07.own",
    "And how much of what marked and plain models differ by is the marks' own?",
    words=True,
)

# %%
leak = owner_and_thief.leaked(setup)
plots.show(leak.plot(), poster=True)
leak

# %%
both = leak.values[leak.primary]
whole = stats.mean_interval(both["marks"] - both["plain"])
own, records = (
    leak.difference(leak.primary),
    leak.difference(leak.primary, "ordinary records against none"),
)
for what, gap in {
    "marked against plain, everything that differs": whole,
    "of which records, steps, batches": records,
    "of which the marks": own,
}.items():
    print(f"{what:46s} {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
print(f"\nthe marks, on {leak.primary}: {leak.verdict}")

# %%
word = "raised" if own.low > 0 else "lowered" if own.high < 0 else "no difference found"
on_pairs = f"{setup.owner.source}, {leak.primary}, paired"
revealed("07.leak", word, source=on_pairs)
shares = {"all that differs": whole, "records and steps": records, "marks": own}
listed = (
    f"{part} {change.estimate:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
    for part, change in shares.items()
)
revealed("07.own", "; ".join(listed), source=f"{on_pairs}, 95% over pairs")

# %% [markdown]
# A verdict of "no difference found" is not "no difference": it names the size that would have shown. The interval is over
# halves of the pool and trainings, on this pool and with these shadow models; the attacker does not know the key,
# and their shadow models carry no marks: one who knows of the marking, and marks their own, may find more. Read the other
# rows of the picture, too: intervals beside 0 there are exploration. They prove no leak, and whoever saw them cannot say
# that marking is free of one; they are the primary figure of the next experiment.
#
# ### The reverse: does privacy remove the mark?
#
# DP-SGD bounds what one record can do to the model, and a mark is made of records. **Predict.** At ε = 8, does a model
# still learn a mark of few records? And of ten times as many? (Remember group privacy, lab 01.)

# %%
predict(
    "07.private",
    "At ε = 8: is a mark of few records learnt, and one of ten times as many?",
    words=True,
)

# %%
private = owner_and_thief.private(setup)
plots.show(private.plot())
private

# %%
at_eight = (
    f"{row.marks:,} marks {row.strength.percent(0)}"
    for row in private.rows
    if row.epsilon == 8
)
revealed(
    "07.private",
    f"triggers answered as marked at ε = 8: {', '.join(at_eight)}",
    source=f"{private.source}, 95% over {len(private.seeds)} seeds",
)

# %% [markdown]
# Compare each row with its own line of 0 marks, and with as many marks without privacy (what is not learnt there,
# privacy did not remove): a private model of low accuracy may give the mark's answer often, to
# everything. ε is a promise about *one* record; marks that act together are a group, and for a group the promise
# weakens with its size. Who wants both privacy for people and a mark for the owner can add marks until the
# group gets through, if ε allows it, keep them out of the private accounting, or mark by other means than data (arXiv
# 2207.01991).
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("07")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"How would you prove that a model was stolen from you?"* By a plan that is fixed in advance: committed key, number of
#   queries, null models, alpha. You have run one, with a positive and a negative control.
# - *"Ten classes, so chance is 10%?"* No. Innocent models say what chance is, and the likeliest of them counts.
# - *"Does a backdoor watermark survive extraction?"* You have measured one that a thief never meets in its own queries,
#   and one that it does, and can say at what cost in accuracy.
# - *"Would hard labels or a query limit have saved you?"* You have the curves, and can read off what each limit leaves.
# - *"Did your mark make the model leak more?"* You can name the paired difference, what else differed before you made the
#   arms equal, its interval, and the smallest change that would have shown.
# - *"Your p-value is 1e-200?"* No: it is one in a thousand, among keys drawn anew, and exact.
# - *"Train with DP and watermark too?"* You can say what is bounded (one record) and why many marks get through.
