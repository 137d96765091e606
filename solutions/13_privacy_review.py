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
# # 13 · The privacy review board
#
# Three teams want to release a model that was trained on the same hospital notes. Each sends a letter with a number in it.
# Today you sit on the board: you compute what was claimed, look at what was done, attack what is released, and decide, by
# rule and in writing.
#
# **Objectives.** At the end you can
# - compute a stated ε anew, and say for which batches it holds;
# - tell from a log how batches were drawn;
# - choose the figure of leakage that answers the board's question, and show what an accuracy hides;
# - redact free text, measure what that misses, and say why it is no substitute for differential privacy;
# - decide by a rule that never approves by default, and connect findings to provisions without playing lawyer.
#
# **Prerequisites.** Labs 02 and 05. Lab 06 helps.
#
# **Minutes.** 95, of which the machine needs about one once it is prepared (`labkit prepare 13`, a minute).
#
# **Difficulty.** ●●●○○ (3 of 5)

# %%
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from labkit import audit, dp, governance, plots
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.governance import finders, notes, redaction
from labkit.membership.reports import curves, intervals
from labkit.scenarios import review_board

# A sentence that is cut off says something else.
pd.set_option("display.max_colwidth", None)
scene = review_board.scene()
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("13")
banner("13", scene.dataset)

# %% [markdown]
# ## 1. The board, and three letters
#
# A board needs a charter before it needs a meeting: what comes before it, who votes, what follows by rule, and who is
# called when somebody disagrees. This one is a template of labkit; what nobody filled in says so.

# %%
charter = governance.fill(
    "charter",
    organisation="Northern Hospitals",
    escalation="the medical director",
    incident="the privacy officer on call",
)
display(
    Markdown(charter.replace("\n## ", "\n#### ").replace("# Privacy", "### Privacy", 1))
)

# %% [markdown]
# Now the letters.

# %%
submissions = {name: scene.submission(name) for name in ("Atlas", "Borealis", "Cygnus")}
for name, one in submissions.items():
    print(textwrap.fill(f"{name}: {one.letter}", 110), "\n")

# %% [markdown]
# **Predict.** Decide now, on the letters alone: "approve", "approve with conditions" or "reject"? Write it into the next
# cell; section 6 comes back to it.

# %%
first_impression = {"Atlas": "", "Borealis": "", "Cygnus": ""}

# %%
predict(
    "13.rejected",
    "How many of the three will the board reject in the end?",
    unit="submissions",
    within=0,
)

# %% [markdown]
# ## 2. What is claimed

# %%
plots.show(drawings.claim_to_decision())

# %% [markdown]
# A claim is a sentence. Three kinds of evidence meet it: what follows from the stated facts (this section), what
# the logs say was done (section 3), what attacks find (section 4). The board's rule (section 6) reads them
# together.
#
# The privacy engineer's first ten minutes: compute ε anew from the stated facts. There are two ways to draw batches that
# look alike in code.
#
# - **Coin flips** (Poisson): at each step, each record joins with probability q.
# - **Epochs**: the records are put into an order, cut into batches of one size, and all batches are used in turn.
#   `DataLoader(shuffle=True)` does this. Whoever knows the order knows each record's batch: in each epoch a record meets
#   one plain Gaussian release, and nothing hides in which. No better bound is known that holds for all shuffles, so that
#   is what may be claimed. (For neighbours in which one record's place is left empty, so that no other record changes its
#   batch: lab 02. Coin flips hold for one record more or less.)
#
# **Predict.** The same noise, the same q, the same number of steps: by which factor do the two ε differ?

# %%
predict("13.factor", "How many times larger is ε for epochs than for coin flips?")

# %% [markdown]
# ### Exercise 13.recompute_epsilon: what may be claimed for these batches


# %%
def recompute_epsilon(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, batches: str
) -> float:
    """Return ε by PLD; `batches` is "poisson" (coin flips) or "epochs" (1 / sample_rate
    steps make one epoch).

    `dp.SampledGaussian(noise_multiplier, steps, sample_rate, sampler)` describes the
    releases, its `sampler` is "poisson" or "fixed"; `dp.privacy_statement(event,
    delta=...)` accounts for them.
    """
    ### BEGIN SOLUTION
    sampler = {"poisson": "poisson", "epochs": "fixed"}[batches]
    event = dp.SampledGaussian(noise_multiplier, steps, sample_rate, sampler)
    return dp.privacy_statement(event, delta=delta).epsilon
    ### END SOLUTION


# %%
check("13.recompute_epsilon", recompute_epsilon)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The accountant does the arithmetic. Your part is to tell it the truth about the batches.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Epochs are batches of fixed membership: no amplification. The headline of a statement is its PLD figure.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `sampler = "fixed"` for epochs; then `dp.privacy_statement(dp.SampledGaussian(...), delta=delta).epsilon`
#
# </details>

# %%
chosen, delta = scene.settings, review_board.DELTA
facts = (chosen.noise_multiplier, chosen.sample_rate, chosen.steps, delta)
print("claimed by both:", scene.statement())
anew = {}
for batches in ("poisson", "epochs"):
    anew[batches] = solved.recompute_epsilon(*facts, batches)
    print(f"computed anew for {batches}: ε = {anew[batches]:.2f} at δ = {delta:g}")

# %%
on = f"computed, δ = {delta:g}, PLD"
revealed("13.factor", anew["epochs"] / anew["poisson"], source=on)

# %% [markdown]
# The figure in both letters is right *for coin flips*. The letters say "Poisson". Letters are patient.
#
# ## 3. What was done
#
# Both teams attached the log of their batches: which records were used at each step.
#
# **Predict.** What in such a log would tell coin flips from epochs? Name two things.

# %%
predict("13.log", "Which two things in a log tell coin flips from epochs?", words=True)

# %% [markdown]
# ### Exercise 13.sampler_of: which sampler wrote this log?


# %%
def sampler_of(batches: Sequence[np.ndarray], n: int) -> str:
    """Return "poisson", "epochs" or "fixed size" for a log: one array of record numbers
    (0 to n - 1) for each step.

    "epochs": no record comes again before all n had their turn; the last batch of an
    epoch may be short. "fixed size": fresh draws of one size. "poisson": coin flips, so
    the sizes differ.
    """
    ### BEGIN SOLUTION
    seen: set[int] = set()
    epochs = True
    for batch in batches:
        if seen & set(batch.tolist()):
            epochs = False
            break
        seen |= set(batch.tolist())
        if len(seen) == n:
            seen = set()
    if epochs:
        return "epochs"
    return "fixed size" if len({len(batch) for batch in batches}) == 1 else "poisson"
    ### END SOLUTION


# %%
check("13.sampler_of", sampler_of)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Sizes alone do not settle it: fresh draws of one size are not epochs, and an epoch may end with a short batch.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Walk through the log with a set of the records that had their turn. When does a record come again too early? When is the
# set to be emptied?
#
# </details>
# <details><summary>Hint 3</summary>
#
# `seen & set(batch.tolist())` must be empty for epochs; `seen` is emptied when `len(seen) == n`. If the log is not made of
# epochs, `len({len(batch) for batch in batches}) == 1` tells one size from many.
#
# </details>

# %%
n = int(scene.members.sum())
private = {name: submissions[name] for name in ("Atlas", "Cygnus")}
drawn = {name: solved.sampler_of(one.log, n) for name, one in private.items()}
for name, sampler in drawn.items():
    allowed = solved.recompute_epsilon(
        *facts, "poisson" if sampler == "poisson" else "epochs"
    )
    print(
        f"{name}: {sampler}; claimed ε = {private[name].project.claim.epsilon:.2f}, "
        f"what may be claimed: {allowed:.2f}"
    )

# %% tags=["hide-input"]
fig, axes = plots.figure(8.0, 3.0, ncols=2, sharey=True)
spread = 1.96 * (n * chosen.sample_rate * (1 - chosen.sample_rate)) ** 0.5
for ax, (name, one) in zip(axes, private.items(), strict=True):
    sizes = [len(batch) for batch in one.log]
    ax.axhspan(
        n * chosen.sample_rate - spread, n * chosen.sample_rate + spread, color="0.9"
    )
    ax.plot(sizes, ".", color=plots.COLOURS[0], linestyle="none")
    ax.set(title=f"{name}: sizes of {len(sizes)} batches", xlabel="step")
axes[0].set_ylabel("records in the batch")
plots.show(
    plots.describe(
        fig,
        "Sizes of batches by step. Atlas: all on one line. Cygnus: scattered around "
        "the same mean, nearly all inside the grey band in which 95% of batches drawn "
        "by coin flips lie.",
    )
)

# %%
epoch = round(1 / chosen.sample_rate)  # steps that an epoch takes
traits = []
for name, one in private.items():
    lengths = [len(batch) for batch in one.log]
    used = len(np.unique(np.concatenate(one.log[:epoch]))) / n
    traits.append(
        f"{name} has batches of {min(lengths)} to {max(lengths)} records, and {epoch} "
        f"steps use {used:.0%} of all"
    )
revealed("13.log", "; ".join(traits), source=f"{scene.dataset.source}, both logs")

# %% [markdown]
# A log can be made up. The code cannot be: `audit.conformance` runs Atlas's training function on records of its own and
# looks at each step (lab 06).

# %%
conformed = audit.conformance(
    submissions["Atlas"].project.train_step,
    noise_multiplier=chosen.noise_multiplier,
    seed=review_board.SEED,
)
print(conformed.summary())
for failed in conformed.failed[:3]:
    print(f"- {failed.name}: {failed.found}")

# %% [markdown]
# **Explain.** Is Atlas's *true* ε the larger figure? Nobody knows it. It lies somewhere below what may be claimed for epochs,
# and audits have found it above the Poisson figure (arXiv 2411.10614). A board does not need the truth to see that this
# claim has no support. Note the cause, too: one word in a data loader.
#
# ## 4. What attacks show
#
# Borealis shows an accuracy: so many right guesses on a *balanced* set. Before you look at its scores, think about
# what a patient would ask: "Can somebody be *sure* that I was in?"
#
# ### Exercise 13.named_patients: how many patients can be named?


# %%
def named_patients(scores: np.ndarray, members: np.ndarray, allowed: int) -> int:
    """Return the largest number of members that an attacker can name while naming at
    most `allowed` non-members.

    The attacker picks a threshold and names every record whose score (m,) is at or
    above it; `members` (m,) is the truth.
    """
    ### BEGIN SOLUTION
    others = np.sort(scores[~members])[::-1]
    if allowed >= len(others):
        return int(members.sum())
    return int((scores[members] > others[allowed]).sum())
    ### END SOLUTION


# %%
check("13.named_patients", named_patients)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Only the highest scores of non-members matter: they say how low the threshold may go.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If `allowed` non-members may be named, the next one sets the threshold; and members with the *same* score cannot be named
# without that one.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `others = np.sort(scores[~members])[::-1]`, then count `scores[members] > others[allowed]`; think of `allowed` beyond the
# last.
#
# </details>

# %% [markdown]
# **Predict.** Borealis's attack is right a little more often than a coin. Of its members, how many can be named if one
# non-member in a hundred may be accused wrongly? A coin would name one in a hundred.

# %%
predict(
    "13.named",
    "Which share of Borealis's members can be named, at 1% of wrong accusations?",
    unit="%",
    factor=1.5,
)

# %%
mistakes = int((~scene.members).sum()) // 100
rows, tpr = [], {}
for name, one in submissions.items():
    scores, members = one.attacked.scores, one.attacked.members
    point = intervals.operating_point(scores, members, 0.01)
    tpr[name] = point.tpr
    # All non-members, and of the members those with a wrong label.
    hard = ~members | scene.wrong
    rows.append(
        {
            "submission": name,
            "balanced accuracy": intervals.balanced_accuracy(
                scores, members, seed=0
            ).percent(1),
            "AUC": str(intervals.auc(scores, members)),
            "TPR at 1% FPR": point.tpr.percent(1),
            f"named, {mistakes} wrongly": (
                f"{solved.named_patients(scores, members, mistakes)} of {members.sum()}"
            ),
            "of those with a wrong label": (
                f"{solved.named_patients(scores[hard], members[hard], mistakes)} of "
                f"{(members & scene.wrong).sum()}"
            ),
        }
    )
print(
    f"LiRA, {len(scene.bank)} shadow models trained as the target was; "
    f"{scene.dataset.source}; seed {review_board.SEED}; 95% intervals over records, "
    "for this one model"
)
pd.DataFrame(rows).set_index("submission")

# %%
on = f"{scene.dataset.source}, seed {review_board.SEED}, LiRA"
revealed("13.named", tpr["Borealis"], times=100, source=on)

# %%
curve_of = [
    curves.of_one(name, one.attacked.scores, one.attacked.members)
    for name, one in submissions.items()
]
statement = scene.statement()

# %% tags=["hide-input"]
plots.show(
    curves.figure(
        curve_of,
        title=f"Three submissions under LiRA, {len(scene.bank)} shadow models",
        source=f"notes made by code, seed {review_board.SEED}",
        ceilings={curves.ceiling_name(statement): statement},
    )
)

# %% [markdown]
# **Explain.** Two things are worth a line in your minutes.
#
# - Borealis's accuracy and its exposed patients are both true. The accuracy averages over everybody; those who are found are
#   above all notes whose label is wrong: subtract the last column from the one before it, and see whether the other members
#   are named more often than at random. Nobody promised *them* an average.
# - Atlas looks no worse than Cygnus under attack. An attack that finds nothing does not make a claim true: what separates
#   these two is the log and the conformance test, not the red team.
#
# ## 5. "But the notes are redacted"
#
# Borealis's other argument. Here is a note before and after. The finder is a handful of patterns; Presidio, where it is
# installed, brings more of them. Neither has a language model here, so neither looks for names.

# %%
sample = next(note.text for note in scene.notes if "church organs" in note.text.lower())
print(textwrap.fill(sample, 110), "\n")
print(textwrap.fill(redaction.redact(sample, finders.patterns()), 110))

# %% [markdown]
# A general tool does not know the hospital's own record numbers. They have eight digits, of which the last is a check digit
# (the Luhn test, as on bank cards); other things in a hospital have eight digits, too.
#
# ### Exercise 13.record_numbers: find the hospital's record numbers


# %%
def record_numbers(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each record number, end excluded, in the order of the
    text.

    Eight digits, with at most one blank or hyphen after the fourth, not touching a
    further digit; the last one is `notes.check_digit` of the first seven (as text), a
    number from 0 to 9.
    """
    ### BEGIN SOLUTION
    found = []
    for match in re.finditer(r"(?<!\d)\d{4}[ -]?\d{4}(?!\d)", text):
        digits = re.sub(r"\D", "", match[0])
        if notes.check_digit(digits[:-1]) == int(digits[-1]):
            found.append(match.span())
    return found
    ### END SOLUTION


# %%
check("13.record_numbers", record_numbers)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two steps: a pattern proposes, the check digit disposes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `re.finditer` gives matches with `.span()`. "Not touching a further digit" is a look to both sides: `(?<!\d)` before,
# `(?!\d)` after.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The pattern `(?<!\d)\d{4}[ -]?\d{4}(?!\d)`; then compare `notes.check_digit(digits[:-1])` with `int(digits[-1])`.
#
# </details>

# %% [markdown]
# **Predict.** A check digit: what does it do to precision, and which numbers does it lose?

# %%
predict(
    "13.check_digit",
    "What does the check digit do to precision, and which record numbers does it lose?",
    words=True,
)

# %% [markdown]
# Now measure. Each generated note holds exactly one item of each kind, so a share of notes has an exact interval. An item
# counts as removed only if all of it is.

# %%
some = notes.make_notes(len(scene.notes) // 10, seed=1)
tools = [finders.patterns()]
try:
    tools += [finders.presidio(), finders.presidio(threshold=0.4)]
except finders.NotInstalledError as missing:
    print(missing)
found = [redaction.measure(some, tool) for tool in tools]
for result in found:
    print(result.summary())
    display(result.table())

# %%
plots.show(found[-1].plot())

# %% [markdown]
# Look at the kinds by form, what is missed most first.

# %%
found[0].by_form()

# %% [markdown]
# And what did the check digit do? Eight digits alone, beside your function.

# %%
proposed = finders.Finder(
    "eight digits",
    ("record number",),
    lambda text: [
        finders.Span(*match.span(), "record number")
        for match in re.finditer(finders.RECORD_NUMBER, text)
    ],
)
checked = finders.Finder(
    "eight digits, the last one checked",
    ("record number",),
    lambda text: [
        finders.Span(*span, "record number") for span in solved.record_numbers(text)
    ],
)
plain, strict = (redaction.measure(some, tool) for tool in (proposed, checked))
precision = {
    report.finder: next(k.right for k in report.kinds if k.kind == "record number")
    for report in (plain, strict)
}
for finder, right in precision.items():
    print(f"{finder}: {right.percent(1)} of notes flagged rightly")
lost = [
    before.form
    for before, after in zip(plain.forms, strict.forms, strict=True)
    if before.kind == "record number" and after.removed.high < before.removed.low
]
revealed(
    "13.check_digit",
    f"precision {precision[strict.finder].percent(1)}, without it "
    f"{precision[plain.finder].percent(1)}; it loses: {', '.join(lost) or 'none'}",
    source=f"{strict.source}, {len(some)} notes",
)

# %% [markdown]
# **Explain.** Each form is all or nothing: a pattern either knows it or not. So the interval of a *kind* speaks of the mix of
# forms in these notes, and that mix was invented. Yours will be another; the rates by form carry over, their weights do
# not. And with names at zero, no note comes out clean.

# %%
left = {one.kind: one.removed for one in found[0].kinds}
pd.DataFrame(
    [
        {
            "kind": kind,
            "of 10,000 such notes still hold one": (
                f"{10_000 * (1 - r.high):,.0f} to {10_000 * (1 - r.low):,.0f}"
            ),
        }
        for kind, r in left.items()
    ]
).set_index("kind")

# %% [markdown]
# Does what the patterns removed protect Borealis's patients from the attack? Train the same kind of model twice, for the
# same members: on the notes as they were, and redacted.
#
# **Predict.** By how much does redaction lower the AUC of the attack?

# %%
predict(
    "13.redaction",
    "AUC of the attack: notes as they were minus redacted notes?",
    within=0.02,
)

# %%
before, after = review_board.unredacted(scene), submissions["Borealis"].attacked
change = intervals.auc_difference(before.scores, after.scores, before.members)
for name, result in (("not redacted", before), ("redacted", after)):
    at = intervals.operating_point(result.scores, result.members, 0.01)
    print(
        f"{name}: AUC {intervals.auc(result.scores, result.members)}, TPR at 1% FPR "
        f"{at.tpr.percent(1)}"
    )
print(f"not redacted minus redacted, paired over the same records: {change}")

# %%
revealed("13.redaction", change, source=on)

# %% [markdown]
# Does the model tell who is who by phone numbers? Redaction moved the attack by nothing that could be measured here; the
# ends of the interval say how large an effect is not excluded, and names were left in both. What a model can learn by heart
# is *this* complaint with *this* label, or that someone restores church organs; none of this is on a list of identifiers.
# Redaction protects those who read the notes' text. Differential privacy bounds what the model tells. They answer different
# questions, and a hospital needs both.
#
# ## 6. Decide
#
# The board's rule, in this order; the first that fits decides.
#
# 1. **Reject** if a finding is critical: a claim that measurement contradicts, or a promise that cannot hold.
# 2. **Reject** if an essential check could not be run.
# 3. **Approve with conditions** if a finding is high or medium, or any other check could not be run.
# 4. **Approve** if everything was run and nothing above low was found.
#
# ### Exercise 13.decide: what follows?


# %%
def decide(severities: Sequence[str], not_run: Sequence[bool]) -> str:
    """Return "approve", "approve with conditions" or "reject".

    `severities` has one word for each finding: "critical", "high", "medium", "low" or
    "note". `not_run` has one entry for each check that could not be run: True if it is
    essential.
    """
    ### BEGIN SOLUTION
    if "critical" in severities or any(not_run):
        return "reject"
    if {"high", "medium"} & set(severities) or len(not_run) > 0:
        return "approve with conditions"
    return "approve"
    ### END SOLUTION


# %%
check("13.decide", decide)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What must never happen: a check that nobody could run, and an "approve".
#
# </details>
# <details><summary>Hint 2</summary>
#
# `any(not_run)` asks for an essential one; `len(not_run)` for any at all.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `if "critical" in severities or any(not_run)`: reject; `if {"high", "medium"} & set(severities) or len(not_run) > 0`:
# conditions.
#
# </details>

# %% [markdown]
# `governance.review` (on the command line `labkit review my_project.yaml`) does what you did, and more: it goes through every
# check that fits, runs the automatic items of the checklist, asks people for the others, and decides. Here are the three.
#
# **Predict.** Which check will sink whom? And what can be wrong with the sound one?

# %%
predict(
    "13.sunk",
    "Which check sinks whom, and what is held against the sound one?",
    words=True,
)

# %%
reviews = {name: governance.review(one.project) for name, one in submissions.items()}
rows = []
for name, result in reviews.items():
    severities = [finding.severity for finding in result.findings]
    missing = [
        outcome.essential for outcome in result.outcomes if outcome.status == "not run"
    ]
    rows.append(
        {
            "submission": name,
            "your first impression": first_impression[name] or "-",
            "your function": solved.decide(severities, missing),
            "labkit's board": result.decision.verdict,
            "because": "; ".join(result.decision.reasons[:2]),
        }
    )
pd.DataFrame(rows).set_index("submission")

# %%
rejected = sum(r.decision.verdict == "reject" for r in reviews.values())
revealed("13.rejected", rejected, source=f"{scene.dataset.source}, the board's rule")
against = {name: r.decision.reasons[0].split(":")[0] for name, r in reviews.items()}
revealed(
    "13.sunk",
    "; ".join(f"{name}, {text[0].lower()}{text[1:]}" for name, text in against.items()),
    source=f"{scene.dataset.source}, the first reason of the board's decision",
)

# %%
for name, result in reviews.items():
    print(name)
    for finding in result.findings:
        if finding.severity in ("critical", "high") and not finding.title.startswith(
            "Unanswered"
        ):
            print(
                textwrap.fill(
                    (
                        f"{finding.severity}: {finding.title.rstrip('.')}. "
                        f"{finding.evidence}"
                    ),
                    110,
                    initial_indent="  ",
                    subsequent_indent="    ",
                )
            )
    print()

# %% [markdown]
# <details><summary>The key: why each came out as it did</summary>
#
# **Atlas, reject.** The stated ε is what an accountant makes of coin flips; the code shuffles epochs. The statement is
# complete, consistent and about another program. No condition mends a claim that was contradicted: draw Poisson batches and
# submit again, or claim what epochs allow. The attack found nothing, and that saved nobody.
#
# **Borealis, reject.** From "right a little more often than a coin" it concluded, and promised, that hardly anybody can be
# found. The promise is contradicted by its own scores, read at the end that matters. Without the promise the same leakage
# would have been a finding of severity high, above the board's own limit: conditions, not approval. Redaction changed
# nothing that could be measured here.
#
# **Cygnus, approve with conditions.** Claim, log, code and attack agree. The conditions are honest ones: the notes are made
# by code, so it has to be run again on real records; names are left in the text; the audit in one run was not made. Sound is
# not the same as finished. The approval has an owner and ends on a date.
#
# </details>
#
# **Explain.** In two sentences of yours: what would have had to be in Atlas's letter so that you could have seen it there?
#
# ## 7. The papers
#
# Engineers are asked "is it GDPR compliant?". The honest answer is a map: a provision, the control that *may support* an
# argument about it, the evidence, and what that evidence does not show. It is no legal advice, and it says so.

# %%
law = governance.regulation_map()
print(textwrap.fill(law.summary(), 110))
law.table().loc[
    [
        row
        for row in law.table().index.unique()
        if row.startswith(("Recital 26", "Article 17", "Article 15"))
    ]
]

# %% [markdown]
# After a review, the map counts evidence. It gives no verdict on the law. **Predict** which row has most that is not shown
# for Cygnus, which answered its checklist; for Borealis nobody did.

# %%
predict(
    "13.not_shown", "Which provision has most that is not shown for Cygnus?", words=True
)

# %%
evidence = law.state(reviews["Cygnus"].checklist)
display(evidence)
print(law.find("gdpr.recital_26").limits)
most = evidence["not shown"].max()
first_of_all = evidence.index[evidence["not shown"] == most]
revealed(
    "13.not_shown",
    f"{most} not shown in each of: {'; '.join(p.split(':')[0] for p in first_of_all)}",
    source=f"{len(evidence)} requirements, Cygnus's checklist",
)

# %% [markdown]
# A data protection impact assessment has parts that measurements fill, and parts that only people can write. The template
# keeps them apart: here are its sections on risk and measures for Borealis.

# %%
borealis = reviews["Borealis"]
assessment = governance.impact_assessment(
    borealis.outcomes,
    borealis.decision,
    system="Borealis, triage of notes",
    owner=borealis.owner,
)
section = assessment[assessment.index("## 3.") : assessment.index("## 5.")]
display(Markdown(section.replace("## ", "### ")))
print(f"left for people to write: {assessment.count('MISSING: to be')} places")

# %% [markdown]
# The meeting itself takes an hour. The script gives everybody their minutes, and keeps the vote to the end.

# %%
meeting = governance.fill(
    "meeting", system="Atlas", owner="team Atlas", claim=str(scene.statement())
)
display(Markdown(meeting.replace("# Meeting", "### Meeting", 1)))

# %% [markdown]
# And the report: one page for each submission, with everything that was claimed, measured, and not run; signed.

# %%
for name, result in reviews.items():
    written = result.report(
        Path(".labkit") / f"review-13-{name.lower()}", reviewer="you"
    )
    print(
        ", ".join(
            f"{path.name} ({path.stat().st_size / 1000:.0f} kB)" for path in written
        )
    )

# %% [markdown]
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("13")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Two teams state the same ε. How do you tell which one is true?"* From the facts I compute it anew, then I look at the log
#   and the code. You have seen two claims alike to the last digit, and one line between them.
# - *"Our attack accuracy is close to a coin. Can we release?"* Ask for the TPR at 1% false positives, with its interval, and
#   for those who are hit worst. You found patients behind such an accuracy.
# - *"We removed all identifiers."* Which kinds, in which forms, measured on what? And removing them moved the attack by
#   nothing you could measure: you have the paired difference, and its interval.
# - *"Is it anonymous under the GDPR?"* That is for counsel. I can say which evidence bears on recital 26, and what it does
#   not show.
# - *"You could not run one check. So?"* Then it is a condition, or a no. Silence is no pass.
