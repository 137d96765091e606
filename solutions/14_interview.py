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
# # 14 · Interview preparation
#
# You have computed the figures. Now say them: to an engineer, to a lawyer, to somebody who sells the product. An interview
# is won by framing the question, depth, evidence, and plain speech, and those four are what you score yourself by here.
#
# **Objectives.** At the end you can
# - say what an ε means to a person, and what a claim about ε leaves out;
# - choose ε in front of business people, by a procedure and not by a favourite number;
# - lay out a forensic plan for a suspected stolen model, with the levels that follow from it;
# - answer in the time that a question is worth, and know which of your areas is weak;
# - design the hospital system on a whiteboard, and say what it does not protect.
#
# **Prerequisites.** Labs 03, 05 and 09; each answer links to the section whose figure supports it.
#
# **Minutes.** 90, of which the machine needs one; then ten minutes a day.
#
# **Difficulty.** ●●●○○ (3 of 5)

# %%
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from labkit import plots, watermark
from labkit.course import Solved, banner, check, drawings, interview, predict, revealed
from labkit.course.interview import bank, mock, numbers, sheets, whiteboard
from labkit.evidence import Evidence
from labkit.federated import drawing

pd.set_option("display.max_colwidth", None)
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("14")
banner("14")

# %% [markdown]
# ## 1. The bank
#
# Questions in four levels: explain, apply, defend, design. No number in an answer is typed: each is computed when you look.

# %%
questions = interview.questions()
table = pd.crosstab(
    [one.area for one in questions],
    [f"{one.level} {bank.LEVELS[one.level]}" for one in questions],
)
table.index.name, table.columns.name = "area", "level"
print(f"{len(questions)} questions, {len(numbers.everything())} numbers")
table

# %% [markdown]
# ## 2. What ε means to a person
#
# "A factor of e^ε on probabilities of outputs" persuades nobody. Turn it around: somebody thinks with probability p that
# Ms Smith is in the data. What can they think after the release, at most? Draw p as odds, with one square for and the
# others against:

# %%
plots.show(drawings.odds_of_a_belief())

# %% [markdown]
# One release lets the square grow, never beyond e^ε times its area. The others stay, so how far a belief gets depends on how
# many there are.
#
# **Predict.** A prior of one in a hundred, and ε = 3: what can an attacker come to believe, at most?

# %%
predict(
    "14.belief",
    "Prior 1%, ε = 3: what can they come to believe, at most?",
    unit="%",
    within=4,
)

# %% [markdown]
# ### Exercise 14.posterior_bound: ε, said to a person


# %%
def posterior_bound(prior: float, epsilon: float) -> float:
    """Return the most that an attacker with this prior may believe after a pure ε-DP
    release, a probability.

    Odds are p / (1 - p). A release multiplies them by at most e^ε.
    """
    ### BEGIN SOLUTION
    odds = math.exp(epsilon) * prior / (1 - prior)
    return odds / (1 + odds)
    ### END SOLUTION


# %%
check("14.posterior_bound", posterior_bound)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three steps: from a probability to odds, what ε does to odds, and back.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A belief of one half has odds of 1. Check that your way back turns these into one half.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `odds = math.exp(epsilon) * prior / (1 - prior)`, and back by `odds / (1 + odds)`
#
# </details>

# %%
revealed(
    "14.belief",
    solved.posterior_bound(0.01, 3.0),
    times=100,
    source="no data: a formula",
)
epsilons = np.linspace(0, 8, 81)

# %% tags=["hide-input"]
fig, ax = plots.figure(6.4, 3.6)
for style, prior in zip(("-", "--", ":"), (0.001, 0.01, 0.5), strict=True):
    ax.plot(
        epsilons,
        [solved.posterior_bound(prior, e) for e in epsilons],
        style,
        label=f"before: {prior:.1%}",
    )
ax.set(
    xlabel="ε",
    ylabel="belief after, at most",
    title="What somebody may come to believe about you",
    ylim=(0, 1),
)
ax.legend()
plots.show(
    plots.describe(
        fig,
        "Highest belief after a release against ε from 0 to 8, for priors of 0.1%, 1% "
        "and 50%. Each curve begins at its prior and bends up; the smaller the prior, "
        "the later.",
    )
)

# %% [markdown]
# **Explain.** Say the middle curve aloud to somebody who does not know logarithms. Then say what it does *not* bound: what a
# study finds about people like you. And that it holds for one release.
#
# ## 3. Three of what?
#
# "Our ε is 3." A good candidate asks back, quickly and in order.
#
# ### Exercise 14.missing_facts: three of what?


# %%
def missing_facts(claim: Mapping[str, Any]) -> list[str]:
    """Return the facts that a claim leaves out (absent, or None), in this order.

    "unit", "neighbouring", "delta", "accountant", "sampler", "sample_rate", "steps",
    "tuning_runs". If the sampler is "full", every record is in every step, and no
    sample rate is needed.
    """
    ### BEGIN SOLUTION
    facts = [
        *("unit", "neighbouring", "delta", "accountant"),
        *("sampler", "sample_rate", "steps", "tuning_runs"),
    ]
    needed = [
        fact
        for fact in facts
        if fact != "sample_rate" or claim.get("sampler") != "full"
    ]
    return [fact for fact in needed if claim.get(fact) is None]
    ### END SOLUTION


# %%
check("14.missing_facts", missing_facts)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A fact that is 0 was said. A fact that is None was not.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `claim.get(fact)` is None for both, an absent fact and one that is None.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A list over the eight names with `if claim.get(name) is None`, and one exception for `"sample_rate"`
#
# </details>

# %%
letters = {
    "a blog post": {"epsilon": 3.0},
    "a paper": {
        "epsilon": 3.0,
        "delta": 1e-5,
        "accountant": "RDP",
        "sampler": "poisson",
        "steps": 4000,
    },
    "a census": {
        "epsilon": 3.0,
        "delta": 0.0,
        "unit": "household",
        "sampler": "full",
        "steps": 1,
        "accountant": "sum",
    },
}
for where, letter in letters.items():
    print(f"{where}: ask for {', '.join(solved.missing_facts(letter))}")

# %% [markdown]
# ## 4. The first question of the course: which ε?
#
# Answer aloud before you open it. You have five minutes; your listener sells the product.

# %%
display(HTML(sheets.card_html(bank.find("dp-tradeoff-business"))))

# %% [markdown]
# The procedure in that answer is short enough to write down. Development begins at a high ε; each step down was tried in an
# A/B test against a privacy audit.
#
# ### Exercise 14.choose_epsilon: which ε?


# %%
def choose_epsilon(
    steps: Sequence[Mapping[str, float | None]],
    threshold: float,
    cap: float,
    most_tpr: float,
) -> float | None:
    """Return the ε to release, or None for no release yet.

    `steps`, from the largest ε down, each have "epsilon", "assured" (the accuracy that
    one deployed model reaches with 95% confidence) and "tpr_high" (upper end of the
    audit's TPR at 1% FPR; None or nan if it was not run). Go down as long as "assured"
    is at least `threshold`, and stop at the first step below it. The last step before
    that is released if its ε is at most `cap` (regulation or contract) and its audit at
    most `most_tpr`.
    """
    ### BEGIN SOLUTION
    last = None
    for step in steps:
        if step["assured"] < threshold:
            break
        last = step
    if last is None or last["epsilon"] > cap:
        return None
    audited = last["tpr_high"] is not None and last["tpr_high"] <= most_tpr
    return last["epsilon"] if audited else None
    ### END SOLUTION


# %%
check("14.choose_epsilon", choose_epsilon)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two parts: walk down and remember the last step that was good enough; then ask whether that one may go out.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What must never happen: an audit that was not run, and a release. `nan <= anything` is False; None cannot be compared.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A loop with `break` at `step["assured"] < threshold`; afterwards `last["epsilon"] <= cap` and
# `last["tpr_high"] is not None and last["tpr_high"] <= most_tpr`
#
# </details>

# %%
# An invented product: what matters is how the answer moves when one condition does.
ladder = [
    {"epsilon": 8.0, "assured": 0.968, "tpr_high": 0.081},
    {"epsilon": 3.0, "assured": 0.957, "tpr_high": 0.037},
    {"epsilon": 1.0, "assured": 0.941, "tpr_high": 0.021},
]
rows = [
    {
        "business needs": need,
        "cap on ε": cap,
        "ε": solved.choose_epsilon(ladder, need, cap, 0.1) or "no release yet",
    }
    for need in (0.93, 0.95, 0.965)
    for cap in (3.0, 10.0)
]
pd.DataFrame(rows)

# %% [markdown]
# **Explain.** Which of these answers would a product owner dislike, and what do you offer instead of moving the cap?
#
# ## 5. The second question: was it stolen?
#
# Again aloud first; this one is worth a quarter of an hour.

# %%
display(HTML(sheets.card_html(bank.find("court-plan"))))

# %% [markdown]
# Nothing in that plan is a favourite number either. It is lab 09's kind of plan, at the kit's own sizes, and it answers back:
# what a careful opponent would hold against each variant, and what sharing alpha costs in keys.

# %%
plans = {
    "lab 09's": watermark.Plan(alpha=0.01),
    "one line convicts": watermark.Plan(alpha=0.01, needed=1),
    "likeness alone": watermark.Plan(
        queries={"mistakes": 200, "agreement": 200}, alpha=0.01, needed=1
    ),
    "the mark alone": watermark.Plan(queries={"mark": 100}, alpha=0.01, needed=1),
}
pd.DataFrame(
    [
        {
            "plan": name,
            "level of one line, five suspects": f"{plan.threshold(5):.2g}",
            "keys drawn anew": f"{plan.redraws(5):,}",
            "held against it": "; ".join(plan.faults()) or "nothing",
        }
        for name, plan in plans.items()
    ]
).set_index("plan")

# %% [markdown]
# And your own trial, if you ran lab 09: the signed record says what was done, in which order, and by whom.

# %%
record = Path(".labkit") / "evidence-09.json"
if record.exists():
    display(Evidence.load(record).table())
else:
    print(
        "no record of lab 09 in this folder yet: run that lab, and this cell shows "
        "your own trial"
    )

# %% [markdown]
# ## 6. Drill
#
# Answer aloud, then show the answer, then score four signals: 0 missing, 1 partly, 2 as the rubric says. What you know comes
# back later, what you missed comes back tomorrow. Tab and space are enough. In a terminal: `labkit drill`.

# %%
panel = interview.start()

# %% [markdown]
# Where you stand, by area and signal. Areas without an answer show a dash: nothing is known of them.

# %%
standing = pd.DataFrame(interview.Study().weak_spots(questions)).set_index("area")
shares = [*bank.SIGNALS, "all"]
standing[shares] = standing[shares].map(
    lambda share: "-" if pd.isna(share) else f"{share:.0%}"
)
standing

# %% [markdown]
# Beliefs that sound right and are not: practise these until the correction comes without effort.

# %%
folk = {
    "dp-eps-universal": "some ε is safe",
    "dp-noise-per-parameter": "noise is paid per parameter",
    "dp-overlap": "overlapping intervals: no difference",
    "dp-deployed-bound": "more seeds make the deployed model surer",
    "mia-auc": "a low AUC is enough",
    "wm-null-classes": "a mark is tested against one over the classes",
    "fl-secagg-hides-sum": "secure aggregation hides the sum",
}
for id, belief in folk.items():
    display(HTML(f"<p><em>{belief}</em></p>{sheets.card_html(bank.find(id))}"))

# %% [markdown]
# ## 7. Whiteboard: the hospital system
#
# Take a sheet of paper or a wall. Half an hour. Then open the rubric and tick what is on your board.

# %%
display(HTML(whiteboard.as_html()))

# %%
# Change to True what you drew, in the order of the rubric.
on_my_board = [False] * len(whiteboard.RUBRIC)
pd.Series(whiteboard.score(on_my_board), name="share of the rubric").map(
    "{:.0%}".format
)

# %% [markdown]
# <details><summary>What is compared in the next cell</summary>
#
# The system of lab 11, as code drew it. Look for what has no counterpart on your board, and the other way round.
#
# </details>

# %%
plots.show(
    drawing.architecture(
        [f"Hospital {letter}" for letter in "ABCDE"], dropped=("Hospital D",)
    )
)

# %% [markdown]
# ## 8. A mock interview
#
# Forty-five minutes, easy before hard, one design question at the end. `labkit drill --mock 45` asks it by keyboard and ends
# in a score sheet; here is the plan for one evening. Another seed is another interview. Better still, give the paper to
# a friend (`labkit drill --mock 45 > interview.txt`) and let them score you.

# %%
tonight = mock.plan(45, seed=0)
print(sheets.listing(tonight))
print(mock.score_sheet([mock.Answered(one) for one in tonight], minutes=45, seed=0))

# %% [markdown]
# To take along: `labkit drill --cheat-sheet formulas.html` writes two pages to print, each formula tested against the function
# that computes it; `labkit drill --export anki --out labkit.tsv` writes notes for Anki, whose ids stay the same.
#
# And how near was your guess? It is kept for you alone, and counts as nothing.

# %%
from labkit.course import predictions

predictions("14")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Which ε should we take?"* Threshold, cap and decider first; high in development, lowered step by step, utility against
#   an audit; no release if nothing meets all three.
# - *"What does ε mean to a customer?"* A bound on belief about her, from where it was; you have the curve.
# - *"How would you prove that a model was stolen?"* Preserve, commit, plan, controls, a line with a direction, exact p-values,
#   and what it does not show.
# - *"What do you not know?"* The area at the top of your own table. Say it before you are asked.
