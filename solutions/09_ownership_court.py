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
# # 09 · The ownership court
#
# **Arbor** sold the answers of a marked model (you trained it in lab 07). One day five models come to market. Arbor says
# that four of them were made from its own. **Brook** says that the fifth was made from his. And **Cove**, caught with a
# sixth, says that *Arbor* stole from Cove, and shows a mark to prove it. The court appoints you as its expert.
#
# **Objectives.** At the end you can
# - tell a claim that may be heard from one that proves nothing, however small its p-value;
# - settle who was first when two marks sit in one model;
# - weigh four lines of evidence, and say what each p-value rests on, which line has a direction, and which cannot convict;
# - fix a plan before the first query, carry it out on suspects that you know by number only, and sign what you found;
# - name what a hostile claimant and a hostile suspect try, and what stops them;
# - answer "how would you prove that a model was stolen?" with your own figures.
#
# **Prerequisites.** Lab 07 (marks, null models, extraction); lab 08 helps to see why one line is not enough.
#
# **Minutes.** 110, of which the machine needs about 3 once the models are trained (`labkit prepare 09`).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import hashlib
import json
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from labkit import plots, profiles, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.evidence import Evidence, Signer, TamperError
from labkit.scenarios import owner_and_thief, ownership_court
from labkit.watermark import (
    Examination,
    Key,
    Plan,
    TriggerSet,
    affidavit,
    answers,
    ask_all,
    hear,
    lucky_key,
    open_trial,
    resolve,
    simulate_trials,
)
from labkit.watermark.marks import triggers
from labkit.widgets import suspects_explorer

# %%
setup = owner_and_thief.project()
# Its test records are the court's: no model was trained on them.
public = setup.owner
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("09")
banner("09", public)

# %% [markdown]
# ## 1. Who may be heard?
#
# The court trains models of its own: innocent by construction, and the only witnesses to what innocence looks like.

# %%
judges = ownership_court.judges(setup)
arbor, brook = ownership_court.claim(setup), ownership_court.forged(setup)
line_up = ownership_court.line_up(setup, arbor, brook)
notary, secret = ownership_court.NOTARY.public, ownership_court.JUDGE
print(f"{len(judges)} null models; a verdict needs 20")
for claim in (arbor, brook):
    print(claim)
line_up

# %% [markdown]
# Both claimants deposited a commitment with a notary before the suspects came to market, Brook even earlier than Arbor.
# Brook's evidence: a list of pictures, and the answers that the accused model will give. No suspect may be asked before
# the court has a plan. So ask a bystander, whom nobody accuses and who never met Brook.
#
# **Predict.** Which share of Brook's answers will the bystander give?

# %%
predict(
    "09.bystander",
    "Which share of Brook's answers will the bystander give?",
    unit="%",
    within=10,
)

# %%
bystander = ownership_court.twin(setup)
strict = {"alpha": 1e-3, "minimum": setup.minimum}
heard = hear(brook, bystander, judges, public, **strict)
naive = heard.naive["1 / classes"][1]
written = "< 1e-12" if naive < 1e-12 else f"= {naive:.2g}"
print(f"The bystander gives {heard.verdict.rate.percent(0)} of Brook's answers.")
print(
    f"A judge who compares with 1 / classes finds p {written}: "
    f"{'guilty' if naive < strict['alpha'] else 'not enough'} at alpha = "
    f"{strict['alpha']:g}."
)

# %%
revealed("09.bystander", heard.verdict.rate, times=100, source=setup.owner.source)

# %% [markdown]
# Brook's pictures are no mark. He trained models of his own and moved ordinary pictures, pixel by pixel, until *his*
# models answered wrong: **adversarial examples**. They transfer between models that never met. Liu et al. (arXiv
# 2304.06607) show that this forges claims against nearly every scheme that lets the claimant choose the pictures.
#
# So the claimant may not choose, and not only pictures. Whatever a commitment leaves open, a forger fills in after a look
# at the suspect: options of the mark, the number of triggers, "training records" that the suspect happens to be sure of,
# his own name under somebody else's deposit. A commitment therefore binds the claimant, key, model, kind, options, number
# of triggers, a hash of all training records, and how many commitments the claimant makes in all.

# %%
arbor.commitment

# %% [markdown]
# And a claim is heard if its triggers **follow from the key** that was committed to.
#
# ### Exercise 09.follows: do the triggers follow from the key?


# %%
def follows(brought: TriggerSet, key: Key, draw) -> bool:
    """Say whether the triggers brought are those that the key gives.

    `draw(key, count)` gives the key's first `count` triggers. Triggers have pictures
    `.x` (n, C, H, W) and answers `.y` (n,). Machines round differently: a pixel may be
    off by 1e-5. Nothing else may differ.
    """
    ### BEGIN SOLUTION
    drawn = draw(key, len(brought))
    if drawn.x.shape != brought.x.shape or not torch.equal(drawn.y, brought.y):
        return False
    return bool((drawn.x - brought.x).abs().max() <= 1e-5)
    ### END SOLUTION


# %%
check("09.follows", follows)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Draw as many as were brought, then compare pictures and answers, in order.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A mean hides one changed pixel among thousands; `.abs().max()` does not.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `torch.equal(drawn.y, brought.y) and bool((drawn.x - brought.x).abs().max() <= 1e-5)`, after a look at the shapes
#
# </details>

# %%
for claim in (arbor, brook):

    def draw(key: Key, count: int, kind: str = claim.triggers.kind) -> TriggerSet:
        return triggers.draw(kind, key, count, dataset=public)

    print(
        f"{claim.claimant}: triggers follow from the key: "
        f"{solved.follows(claim.triggers, claim.key, draw)}"
    )

# %%
again = triggers.draw(brook.triggers.kind, brook.key, 8, dataset=public)
shown = torch.cat([brook.triggers.x[:8], again.x])
labels = [public.classes[int(y)] for y in (*brook.triggers.y[:8], *again.y)]
alt = (
    "Above, eight pictures that Brook brought, with the answers he claims: "
    f"{', '.join(labels[:8])}. Below, eight "
)
alt += (
    f"triggers that his key gives, all to be answered with {labels[-1]}: other "
    "pictures."
)
plots.show(plots.images(shown.numpy(), labels, columns=8, alt=alt))

# %% [markdown]
# There is a second guard, and it would have been enough alone: the court's own models. **Predict.** They never met Brook
# either.

# %%
predict(
    "09.judges",
    "Which share of Brook's answers do the court's own models give, on average?",
    unit="%",
    within=10,
)

# %%
plots.show(heard.plot())
heard

# %%
revealed(
    "09.judges",
    heard.verdict.null_rates.mean(),
    interval=(heard.verdict.null_rates.min(), heard.verdict.null_rates.max()),
    times=100,
    of=f"from the smallest to the largest of {len(judges)} models",
    source=setup.owner.source,
)

# %% [markdown]
# The last row is what the kit calls a verdict, and the first is how claims were judged in many papers. Now the owner's
# claim, against the owner's own model: a claim that fails there needs no suspect.

# %%
hear(arbor, arbor.model, judges, public, **strict)

# %% [markdown]
# ## 2. Two marks in one model
#
# Cove's product carries Arbor's mark, or what is left of it. Cove says: no, Arbor copied *us*; here is our key, our
# commitment and our mark. Cove did train a mark of its own into what it stole, by a few gentle epochs; how well it took,
# the figure below shows. Each side now has a claim that follows from a key. What does a thief not have? A commitment that
# is older than the theft.
#
# ### Exercise 09.first_to_commit: who was first?


# %%
def first_to_commit(
    commitments: list[tuple[str, str, bool]], released: str
) -> str | None:
    """Return the claimant whose commitment is the oldest of those that count, or None.

    Each commitment is (claimant, moment, opens): the moment as ISO 8601 text with its
    time zone, and whether the claimant's key and model open it. It counts if it opens
    and lies before `released` (ISO 8601, too). None if none counts, or if the two
    oldest that count are of the same instant.
    """
    ### BEGIN SOLUTION
    limit = datetime.fromisoformat(released)
    counts = [
        (datetime.fromisoformat(moment), name)
        for name, moment, opens in commitments
        if opens
    ]
    counts = sorted(pair for pair in counts if pair[0] < limit)
    if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
        return None
    return counts[0][1]
    ### END SOLUTION


# %%
check("09.first_to_commit", first_to_commit)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Noon in Tokyo is before noon in London: compare moments, not texts. What does not open, and what came too late,
# counts for nothing.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `datetime.fromisoformat(moment)` reads the zone, and such times compare. Drop what does not open, then what is not
# before the release; sort the rest by time.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `counts = sorted((datetime.fromisoformat(m), name) for name, m, opens in commitments if opens)`, keep those below the
# limit, and look at the first two.
#
# </details>

# %%
cove = ownership_court.counter_claim(setup)
deposited = [
    (
        claim.claimant,
        claim.deposit.moment,
        claim.commitment.verify(claim.key, claim.model),
    )
    for claim in (cove, arbor)
]
print(
    pd.DataFrame(deposited, columns=["claimant", "deposited", "opens"]).to_string(
        index=False
    )
)
print("first:", solved.first_to_commit(deposited, ownership_court.RELEASED.isoformat()))

# %% [markdown]
# A date can be forged by paying the notary. So ask the models, too: the thief's original was made *from* the owner's, so
# it may still carry the owner's mark; the owner's cannot carry a mark that did not exist yet. **Predict** the four bars
# on the right. (The suspect is Cove's product, and it is all that Cove has for an original.)

# %%
predict(
    "09.bars",
    "How often is each mark hit in Cove's model, and how often is Cove's in Arbor's?",
    words=True,
)

# %%
dispute = resolve(
    arbor,
    cove,
    cove.model,
    judges,
    public,
    notary=notary,
    released=ownership_court.RELEASED,
    **strict,
)
plots.show(dispute.plot())
dispute

# %%
print(f"the court: {dispute.winner or 'undecided'}: {dispute.reason}")
bars = [side.in_suspect.rate.percent(0) for side in dispute.sides]
bars += [dispute.sides[1].in_rival.rate.percent(0)]
revealed(
    "09.bars",
    f"in Cove's model Arbor's mark is hit {bars[0]} and Cove's {bars[1]}; in Arbor's "
    f"model Cove's is hit {bars[2]}",
    source=f"{setup.owner.source}, 95% intervals, Clopper-Pearson",
)

# %% [markdown]
# One more attack needs no training at all: invent keys until one of them *happens* to fit. **Predict.** How well does the
# best of thirty fit Cove's model? And models that nobody stole?

# %%
predict(
    "09.lucky",
    "To how many of 20 pictures does Cove's model give the luckiest key's answer?",
    unit="pictures",
    within=2,
)

# %%
key, share = lucky_key(cove.model, "unrelated", public, tries=30, count=20)
lucky = triggers.draw("unrelated", key, 20, dataset=public)
fits = [float((answers(model, lucky.x) == lucky.y.numpy()).mean()) for model in judges]
print(
    f"the best of 30 keys fits {share:.0%} of 20 pictures; on the null models it fits "
    f"up to {max(fits):.0%}"
)

# %%
revealed("09.lucky", share, times=20, source=f"{setup.owner.source}, best of 30 keys")

# %% [markdown]
# Two things stop it: the key would have to be in a commitment from before the release, and null models say what a key
# that marks nothing can reach.
#
# After a trial everybody has heard Arbor's key. **Predict.** Cove brings all that it has heard and seen there.

# %%
predict(
    "09.replay",
    "Can Cove bring Arbor's key, model and commitment as its own? Why, or why not?",
    words=True,
)

# %%
replayed = replace(arbor, claimant="Cove")
objections = replayed.problems(public, notary=notary, released=ownership_court.RELEASED)
for problem in objections:
    print(problem)
revealed(
    "09.replay",
    f"{'no' if objections else 'yes'}: {'; '.join(objections) or 'no objection'}",
    source="computed from the commitment and the notary's receipt",
)

# %% [markdown]
# Nor can Arbor use it twice: whoever heard a key opened can mark models with it. One trial **burns** it; for the next one
# Arbor commits anew. That also stops who tries suspects one at a time, each with a full alpha.
#
# ## 3. Lines of evidence, one at a time
#
# A mark can die: in extraction, by pruning, by training on (labs 07 and 08). An expert brings several lines, and tries
# each on **controls**, whose truth is known. The positive control is a thief who confessed (lab 07's, who saw labels
# alone); the negative one is Brook's own model, which nobody says was made from Arbor's.
#
# ### It knows my key
#
# How often would an innocent do as well? Null models are a sample of *models*. But here chance was in the **key**: it was
# drawn at random, and to an innocent suspect it is a stranger like any other. So draw new keys and ask the suspect itself.
# The rank of Arbor's key among them is an exact p-value, whatever the suspect's network is; it never falls below
# 1 / (keys + 1). **Predict.** A thief's network took *some* mark on: perhaps it answers to any key of the kind.

# %%
predict(
    "09.strangers",
    "Do keys drawn anew do as well as Arbor's on the thief who confessed? "
    "Why, or why not?",
    words=True,
)

# %%
plots.show(drawings.redrawn_keys())

# %% [markdown]
# The suspect stays the same and only the key changes, so nothing is assumed about other models. To an innocent, the
# owner's key is one stranger among many, and its hits lie among theirs.

# %%
sizes = ownership_court.queries(setup)
practice = Plan(queries=sizes, minimum=setup.minimum)
known = ask_all(judges, public.test_x)
asked = Examination(practice, arbor, judges, known, public, secret)
controls = {
    "a thief who confessed": ownership_court.known_thief(setup),
    "an innocent": brook.model,
}
cases = {
    name: asked.examine(model, practice.threshold(1), name=name)
    for name, model in controls.items()
}
found = {name: dict(case.lines) for name, case in cases.items()}
for name, lines in found.items():
    print(f"{name}: {lines['mark']}")
confessed = found["a thief who confessed"]["mark"]
plots.show(confessed.redrawn.plot())

# %%
as_well = int((confessed.redrawn.values >= confessed.redrawn.value).sum())
revealed(
    "09.strangers",
    f"{as_well} of {len(confessed.redrawn.values)} keys drawn anew did as well as "
    f"Arbor's: {stats.p_words(confessed.p_value)}, and the mark "
    f"{'speaks' if confessed.decided else 'shows nothing'}",
    source=f"{setup.owner.source}, {len(judges)} null models",
)

# %% [markdown]
# ### It repeats my mistakes
#
# Two models that learned alone are right in the same way, and wrong more often each in its own (Godinot et al., arXiv
# 2412.13021). So show the suspect records that the *owner's* model gets wrong. A thief trained on the owner's answers,
# the wrong ones included. No mark is needed, no training, and labels are enough.
#
# ### Exercise 09.repeated: does it repeat my mistakes?


# %%
def repeated(owner: np.ndarray, suspect: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the owner's mistakes that the suspect repeats: the same wrong
    label.

    All three are labels (n,).
    """
    ### BEGIN SOLUTION
    wrong = owner != truth
    return float((suspect == owner)[wrong].mean())
    ### END SOLUTION


# %%
check("09.repeated", repeated)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Where the owner is right, the record says nothing: leave it out.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Both wrong is not enough: a cat taken for a dog and for a frog are two different mistakes.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `wrong = owner != truth`, then the mean of `(suspect == owner)[wrong]`
#
# </details>

# %% [markdown]
# **Predict.** Which share of Arbor's mistakes does an innocent model repeat? Remember: some pictures are hard for
# everybody, and in the same way.

# %%
predict(
    "09.mistakes",
    "Which share of Arbor's mistakes does an innocent model repeat, on average?",
    unit="%",
    within=5,
)

# %%
truth = public.test_y.numpy()
ours = answers(arbor.model, public.test_x)
shares = np.array([solved.repeated(ours, own, truth) for own in known])
print(
    f"{len(shares)} innocent models of the court: {shares.min():.1%} to "
    f"{shares.max():.1%}"
)
for name, model in controls.items():
    print(f"{name}: {solved.repeated(ours, answers(model, public.test_x), truth):.1%}")

# %%
revealed(
    "09.mistakes",
    shares.mean(),
    interval=(shares.min(), shares.max()),
    times=100,
    of=f"from the smallest to the largest of {len(shares)} models",
    source=setup.owner.source,
)

# %% [markdown]
# Is the thief's share one that an innocent model could reach? The null models are a *sample* of innocents; the suspect
# would be one more draw. Both the spread and the mean are estimates, and the more null models, the better they are.
#
# ### Exercise 09.another_innocent: could one more innocent model score that?


# %%
def another_innocent(value: float, nulls: np.ndarray) -> float:
    """Return P[one more model like the k null models scores `value` or more].

    Predictive t test: t = (value - mean) / (s * sqrt(1 + 1/k)), s with k - 1 in the
    denominator; upper tail of Student's t with k - 1 degrees of freedom.
    """
    ### BEGIN SOLUTION
    from scipy.stats import t

    k = len(nulls)
    spread = nulls.std(ddof=1) * np.sqrt(1 + 1 / k)
    return float(t.sf((value - nulls.mean()) / spread, k - 1))
    ### END SOLUTION


# %%
check("09.another_innocent", another_innocent)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One more model varies as single models do, and the mean of few models is uncertain itself. Variances add.
#
# </details>
# <details><summary>Hint 2</summary>
#
# One more model varies by s; the mean of k is off by s / sqrt(k). `nulls.std(ddof=1)` is s, and
# `scipy.stats.t.sf(statistic, degrees)` is the upper tail.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `t.sf((value - nulls.mean()) / (nulls.std(ddof=1) * np.sqrt(1 + 1 / k)), k - 1)`
#
# </details>

# %%
for name, lines in found.items():
    line = lines["mistakes"]
    own = solved.another_innocent(line.value.estimate, line.nulls)
    print(
        f"{name}: your p = {own:.2g}, the kit's {line.model_p:.2g}, rank p = "
        f"{line.rank_p_value:.2g}"
    )
plots.show(found["a thief who confessed"]["mistakes"].plot())

# %% [markdown]
# **Whom do you call as a witness?** Lab 05's shadow models are innocent, too, and there they are: smaller, trained on
# fewer records. **Predict.** What if they alone were the null models, or both kinds together?

# %%
predict(
    "09.witnesses",
    "What becomes of the thief's p beside shadow models alone, and beside both kinds? "
    "And of the p of a good innocent, one of the court's own?",
    words=True,
)

# %%
bank = owner_and_thief.bank_of(setup)
small = np.array([answers(bank.model(k), public.test_x) for k in range(len(bank))])
weak = np.array([solved.repeated(ours, own, truth) for own in small])
copied = solved.repeated(
    ours, answers(controls["a thief who confessed"], public.test_x), truth
)
witnesses = {
    "the court's own": shares[1:],
    "shadow models": weak,
    "both": np.concatenate([shares[1:], weak]),
}
rows = [
    {
        "null models": name,
        "number": len(null),
        "mean share": f"{null.mean():.1%}",
        "sd": f"{null.std(ddof=1):.1%}",
    }
    | {
        f"p, {who}": f"{solved.another_innocent(share, null):.2g}"
        for who, share in (("thief", copied), ("an innocent of the court's", shares[0]))
    }
    for name, null in witnesses.items()
]
pd.DataFrame(rows).set_index("null models")

# %%
beside = {
    name: [
        stats.p_text(solved.another_innocent(value, null), stats.SUPPORTED, digits=1)
        for value in (copied, shares[0])
    ]
    for name, null in witnesses.items()
}
revealed(
    "09.witnesses",
    "p of the thief and of a good innocent: "
    + "; ".join(f"{' and '.join(p)} beside {name}" for name, p in beside.items()),
    source=f"{setup.owner.source}, model-based p",
)

# %% [markdown]
# What a good model still gets wrong is hard for other good models, too. Beside weak ones alone, a good innocent can look
# guilty; mixed up as one sample, the gap between the kinds passes for spread, and weakens the case against a thief by
# orders of magnitude: enough to hide one at a stricter alpha. A null model is what an honest competitor *would have
# trained*: as good as the suspect, on other records. The court calls only those.
#
# This p-value is **model-based**: it trusts a bell curve far out, where few null models have been. Twenty models carry a
# rank p-value of 1/21 and no smaller one, and in its verdicts the kit writes no model-based p below 1e-6 (the digits above
# are arithmetic, to compare your function with). It asks for both: p below alpha, *and* no null model at or above the
# suspect. And it lets no such line convict.
#
# ### It agrees where innocents do not
#
# Any two good models agree on easy records. So ask about **contested** ones, on which the null models split.
#
# ### It knows my records
#
# The last two lines ask who *resembles* whom: Cove could point them at Arbor. **Dataset inference** (Maini et al., arXiv
# 2104.10706) has a direction: is the suspect surer on Arbor's *training* records than on held-out ones, more than null
# models that saw neither? Chance is in the records here: permute which of them were Arbor's, and the p-value is exact.
#
# **Predict.** Each control meets all four lines. A thief by labels never saw Arbor's training records.

# %%
predict(
    "09.lines",
    "Which lines (mark, mistakes, agreement, inference) speak against the thief who "
    "confessed, and which against the innocent?",
    words=True,
)

# %%
rows = [
    {
        "control": name,
        "line": line,
        "p": f"{one.p_value:.2g}" if one.exact_p else "",
        "rests on": one.by,
    }
    | {
        "model-based p": "at most 1e-06"
        if one.model_p <= 1e-6
        else f"{one.model_p:.1g}",
        "rank p": f"{one.rank_p_value:.2g}",
    }
    | {"speaks": "yes" if one.decided else "no", "queries": f"{one.queries:,}"}
    for name, lines in found.items()
    for line, one in lines.items()
]
pd.DataFrame(rows).set_index(["control", "line"])

# %%
for name, lines in found.items():
    low = [line for line, one in lines.items() if one.decided]
    print(
        f"{name}: {len(low)} of {len(lines)} lines speak ({', '.join(low) or 'none'})"
    )
found["a thief who confessed"]["inference"]

# %%
loud = {
    name: ", ".join(line for line, one in lines.items() if one.decided) or "none"
    for name, lines in found.items()
}
revealed(
    "09.lines",
    "speaking against " + "; against ".join(f"{name}: {loud[name]}" for name in loud),
    source=f"{setup.owner.source}, {len(judges)} null models",
)

# %% [markdown]
# **Resemblance in data is not theft.** Suppose that Arbor's records had been public, and the bystander of section 1 had
# trained on them honestly. It did: it is lab 07's unmarked model, trained on Arbor's records. **Predict.** It stole
# nothing, and meets the same four lines.

# %%
predict(
    "09.twin",
    "Which of the four lines, if any, speak against the bystander?",
    words=True,
)

# %%
twin = asked.examine(bystander, practice.threshold(1), name="a twin in data")
for line in twin.lines.values():
    print(line)
named = Examination(
    practice, arbor, judges, known, public, secret, published=[arbor.records.train_x]
)
print("\nwith the records named as public:", "; ".join(named.unasked.values()))
against = [line for line, one in twin.lines.items() if one.decided]
revealed(
    "09.twin",
    f"speaking: {', '.join(against) or 'none'}; p by line: "
    + ", ".join(
        f"{line} {stats.p_text(one.p_value, stats.SUPPORTED)}"
        for line, one in twin.lines.items()
    ),
    source=f"{setup.owner.source}, {len(judges)} null models",
)

# %% [markdown]
# Dataset inference is right about the fact: that model knows the records. It cannot tell *whence*. So the accused may
# answer, and records that anybody could have had are left out of the questions.
#
# A line that stays silent on the thief is not refuted, and one that speaks is not the whole truth: mistakes and agreement
# share most of what they rest on, so two of them are one witness. And that witness has no direction: a thief who stole in
# May and committed in June could have the owner's product of September convicted by likeness. It takes a line with a
# direction, the mark or the records, to say who came from whom; without one the court finds two models **related**, and
# convicts nobody.
#
# ## 4. The plan, fixed in advance
#
# ### How many queries?
#
# Too few, and a thief walks free by luck of the draw. The number must be fixed before the first query: whoever asks
# until p is small enough will always get there.
#
# ### Exercise 09.queries_for: how many queries does the plan need?


# %%
def queries_for(
    rate: float, null_rate: float, alpha: float, power: float, most: int
) -> int | None:
    """Return the smallest n at which a mark that shows at `rate` is proven with
    probability `power`, or None.

    With n queries, h is the smallest number of hits with P[Binomial(n, null_rate) >= h]
    < alpha. The mark is proven with probability P[Binomial(n, rate) >= h]. None if no n
    up to `most` will do.
    """
    ### BEGIN SOLUTION
    from scipy.stats import binom

    for n in range(1, most + 1):
        hits = np.arange(n + 2)
        needed = hits[binom.sf(hits - 1, n, null_rate) < alpha][0]
        if binom.sf(needed - 1, n, rate) >= power:
            return n
    return None
    ### END SOLUTION


# %%
check("09.queries_for", queries_for)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A loop over n; inside, first the hits that are needed, then the probability to get them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scipy.stats.binom.sf(h - 1, n, p)` is P[at least h]. With n queries, n + 1 hits never come: then n is too small.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `needed = hits[binom.sf(hits - 1, n, null_rate) < alpha][0]` for `hits = np.arange(n + 2)`
#
# </details>

# %%
level = practice.threshold(len(line_up.accused))
own = asked.examine(arbor.model, practice.threshold(1), name="Arbor's own")
marks = {
    "Arbor's own model": own.lines["mark"],
    "the thief who confessed": found["a thief who confessed"]["mark"],
}
for name, line in marks.items():
    rate, null = line.value.estimate, max(float(line.nulls.max()), 0.01)
    n = solved.queries_for(rate, null, level, 0.9, 1000)
    print(
        f"{name} answers {rate:.0%}, innocents up to {null:.0%}: "
        f"{n or 'more than 1,000'} queries for power 90%"
    )
print(f"Arbor has {len(arbor.triggers)} triggers")

# %% [markdown]
# ### What convicts?
#
# Every suspect meets every line, and each meeting is a chance for a false alarm. Shared out over all of them
# (Bonferroni), alpha is the chance of *any* in the whole trial. Only lines with a direction can convict, so they alone
# share it. And one line alone shall not convict: if its assumptions fail, everything built on it is wrong.
#
# ### Exercise 09.convict: what convicts


# %%
def convict(
    p: np.ndarray, directional: np.ndarray, heard: np.ndarray, alpha: float, needed: int
) -> np.ndarray:
    """Return which suspects count as derived, bool (suspects,).

    `p` (suspects, lines) holds p-values, nan where a line could not be asked;
    `directional`, bool (lines,), says which lines tell who copied whom. A line speaks
    against a suspect if p is at most alpha / (suspects * directional lines). All lines
    without a direction together count as one. A suspect counts as derived if the claim
    against it may be heard (`heard`, bool (suspects,)), at least one line with a
    direction speaks, and at least `needed` lines speak.
    """
    ### BEGIN SOLUTION
    speaks = p <= alpha / (len(p) * directional.sum())
    directed = speaks[:, directional].sum(axis=1)
    alike = speaks[:, ~directional].any(axis=1)
    return heard & (directed > 0) & (directed + alike >= needed)
    ### END SOLUTION


# %%
check("09.convict", convict)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First: which lines speak, at their share of alpha? Then count, for each suspect, those with a direction, and
# likeness once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `len(p)` is the number of suspects; `nan <= anything` is False. `speaks[:, directional].sum(axis=1)` counts those
# with a direction, `speaks[:, ~directional].any(axis=1)` says whether any of the others speaks.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `heard & (directed > 0) & (directed + alike >= needed)`
#
# </details>

# %% [markdown]
# **Write your plan** into the next cell: lines, queries, alpha, how many lines convict. `faults()` says what a careful
# opponent would hold against it. Opening the trial then binds it to the suspects, claims, null models and questions; the
# hash of all that goes into the court's file, and the clerk signs that it was there before anybody was asked. From here
# on, nothing may be changed: a trial of another plan finds Arbor's key burnt.

# %%
plan = Plan(queries=sizes, alpha=0.01, needed=2, minimum=setup.minimum, seed=0)
print("faults:", "; ".join(plan.faults()) or "none")
trial = open_trial(
    plan, line_up.accused, judges, public, notary=notary, judge=secret, known=known
)
signers = {
    name: Signer.new() for name in ("Arbor", "the court", "the clerk", "the expert")
}
# Published before the trial.
roster = {name: signer.public for name, signer in signers.items()}
file = Evidence("09/2025", "Arbor and Brook against five models")
file = file.add(
    "Arbor",
    "commits",
    asdict(arbor.commitment),
    signers["Arbor"],
    moment=ownership_court.COMMITTED["Arbor"],
)
fixed = {"plan": trial.plan.digest, "queries": sizes, "alpha": plan.alpha}
file = file.add("the court", "fixes the plan", fixed, signers["the court"])
file = file.witness("the clerk", signers["the clerk"])
lines, directional = list(sizes), np.array([line in plan.directional for line in sizes])
print(f"{plan.redraws(len(line_up.accused)):,} keys are drawn anew where a mark shows")
print(
    f"{', '.join(plan.directional)} against each of {len(line_up.accused)} suspects: "
    f"p at most {trial.level:.2g}"
)
file.table()

# %% [markdown]
# ## 5. The trial
#
# You know the suspects by number only. Arbor's own model is tried with them as a positive control; Brook's own
# shows what his claim is worth. (Arbor's kind of mark was tuned with the court's test records in view: data/README.md.)
#
# **Predict.** Of the five, how many were stolen?

# %%
predict("09.stolen", "How many of the five were stolen?", unit="suspects", within=0)

# %%
verdicts = trial.run()
verdicts

# %% [markdown]
# All questions went out shuffled, mixed with ordinary records and some of them twice, so that no suspect could tell a
# trigger batch, and a suspect that refuses, answers NaN or swaps close answers would have left a *finding*, not an end of
# the trial.
#
# How soon would fewer queries have told? Move the slider, but for another trial's plan: this one's number is fixed.

# %%
suspects_explorer(verdicts.by_line())

# %% [markdown]
# **Your verdicts.** The next cell applies your rule. If you judge a suspect otherwise, change it below (`mine["suspect
# 2"] = True`) and write down why: the answer key will tell who was right.

# %%
names = [case.name for case in verdicts.cases]
heard_claims = np.array([not case.problems for case in verdicts.cases])
rule = solved.convict(
    verdicts.p_values(), directional, heard_claims, plan.alpha, plan.needed
)
mine = dict(zip(names, rule.tolist(), strict=True))
for case in verdicts.cases:
    print(
        f"{case.name}: you {'convict' if mine[case.name] else 'do not convict'}; the "
        f"court: {case.verdict}"
    )
different = [case.name for case in verdicts.cases if case.derived != mine[case.name]]
print("you and the court differ on:", ", ".join(different) or "nobody")

# %% [markdown]
# The court asks for more than your rule: at least 20 null models, none of them at or above the suspect, a model-based p
# that agrees, and the mark in the claimant's own original. Null models can only acquit. With fewer than 20 (profile
# smoke) it rehearses, and convicts nobody.
#
# **How often does the whole court convict an innocent?** Nobody need take its word. Here are trials of innocents alone,
# each with new parties, on small networks. Read the upper end: no smaller rate is shown by so few trials, and their
# alpha and networks are not this court's.

# %%
innocent_trials = profiles.current().pick(smoke=4, laptop=60, full=1000)
simulated = simulate_trials(innocent_trials)
print(simulated)
simulated

# %% [markdown]
# ## 6. Sign
#
# A finding that can be edited later is no evidence. Two tools: a **chain**, in which each entry's hash covers the one
# before it, and **signatures**, each entry by whoever wrote it.
#
# ### Exercise 09.chain: a chain that shows where it was touched


# %%
def chain(entries: list[str]) -> list[str]:
    """Return one SHA-256 digest for each entry, as 64 hexadecimal digits.

    A change to entry k changes digests k, k + 1, ..., and none before it. Start from a
    fixed text.
    """
    ### BEGIN SOLUTION
    digests, previous = [], "0" * 64
    for entry in entries:
        previous = hashlib.sha256((previous + entry).encode()).hexdigest()
        digests.append(previous)
    return digests
    ### END SOLUTION


# %%
check("09.chain", chain)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A loop that carries the last digest along.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `hashlib.sha256(text.encode()).hexdigest()`, where the text holds the digest before and the entry.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `previous = hashlib.sha256((previous + entry).encode()).hexdigest()`, starting from `"0" * 64`
#
# </details>

# %%
file = file.add("the court", "tries five suspects", verdicts, signers["the court"])
file = file.add(
    "the expert", "gives verdicts", {"derived": mine}, signers["the expert"]
)
texts = [
    json.dumps([entry.moment, entry.actor, entry.action, entry.content])
    for entry in file.entries
]
before = solved.chain(texts)
after = solved.chain([text.replace('"alpha": 0.01', '"alpha": 0.05') for text in texts])
touched = [
    number
    for number, pair in enumerate(zip(before, after, strict=True), 1)
    if pair[0] != pair[1]
]
print(
    f"alpha changed after the fact, from 0.01 to 0.05: digests {touched} of "
    f"{len(texts)} no longer fit"
)

# %%
closed = file.close("the court", signers["the court"])
sealed = {"case": "09/2025", "witnessed": ["fixes the plan"]}
saved = [
    closed.save(Path(".labkit") / f"evidence-09.{kind}") for kind in ("json", "html")
]
for path in saved:
    whole = Evidence.load(path).verify(roster, **sealed)
    print(
        f"{path.name}: {len(whole.entries)} entries, each signed by its actor, ended, "
        "the plan witnessed"
    )
closed.table()

# %% [markdown]
# The page is for people, the JSON for machines; each holds all of it. **Predict.** One digit of one p-value is changed in
# the file, and nothing else; the last two entries are cut off; the expert writes an entry in the court's name; the plan
# was written by the court alone, after the trial.

# %%
predict(
    "09.tampered",
    "Which of the four does the check find, and what does it say to each?",
    words=True,
)

# %%
text = saved[0].read_text(encoding="utf-8")
place = text.index('"p_value": ') + len('"p_value": ')
digit = "1" if text[place] != "1" else "2"
changed = saved[0].with_name("evidence-09-changed.json")
changed.write_text(text[:place] + digit + text[place + 1 :], encoding="utf-8")
cut = replace(closed, entries=closed.entries[:-2])
forged = file.add("the court", "acquits everybody", {}, signers["the expert"]).close(
    "the court", signers["the court"]
)
late = Evidence("09/2025", "written afterwards").add(
    "the court", "fixes the plan", fixed, signers["the court"]
)
late = late.add("the court", "tries five suspects", verdicts, signers["the court"])
late = late.close("the court", signers["the court"])
answered = {"one digit": ""}
try:
    Evidence.load(changed).verify(roster, **sealed)
except TamperError as error:
    answered["one digit"] = str(error)
for what, record in {
    "cut off": cut,
    "another's name": forged,
    "written after": late,
}.items():
    answered[what] = "; ".join(record.problems(roster, **sealed))
for what, said in answered.items():
    print(f"{what}: {said or 'nothing'}")
noticed = [what for what, said in answered.items() if said]
revealed(
    "09.tampered",
    f"the check finds {len(noticed)} of {len(answered)} ({', '.join(noticed)}), and "
    f"says to the digit: {answered['one digit'].split(': ')[-1] or 'nothing'}",
    source="computed on this court's file",
)

# %% [markdown]
# One thing no chain shows: who holds *all* keys can write anything at any time. The clerk's signature binds the court, and
# a time stamp by an authority (RFC 3161, `labkit.timestamps`) would bind both.
#
# ## 7. The answer key

# %%
score = line_up.score(mine)
print(f"you: {score}\nthe court: {line_up.score(verdicts)}")
score

# %%
stolen = sum(story.derived for story in score.truth.values())
revealed("09.stolen", stolen, source=f"{setup.owner.source}, the answer key")

# %%
truth_of = {name: story.truth.split(":")[0] for name, story in score.truth.items()}
plots.show(verdicts.plot(names=truth_of), poster=True)

# %%
for name, story in score.truth.items():
    print(
        f"{name}, {story.truth}\n    the court: {verdicts[name].verdict}; "
        f"{story.lesson}"
    )
print(
    "innocent models that the whole rule convicts: "
    f"{verdicts.false_claims.percent(1)} of the court's own"
)

# %% [markdown]
# Read the rows of the stolen models from left to right: which line held, and against which theft? Then the two innocent
# rows, and the null models: a rule is known by whom it does *not* convict. Where a line without direction
# speaks against an innocent, that is a false alarm of a model-based p, and the score does not count it: only that nobody was
# convicted. Brook's accused learnt from the very records
# that Brook calls his own. Look at its last cell, and say why Brook would still have proved no theft.
#
# ## 8. "How would you prove that a model was stolen?"
#
# Your answer, put together from what the cells above found:

# %%
print(
    affidavit(
        arbor,
        heard,
        found,
        verdicts,
        score,
        released=ownership_court.RELEASED,
        twins={"the twin in data": twin},
    )
)

# %% [markdown]
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("09")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"How would you prove that a model was stolen?"* With the page above: dates by a notary, a commitment that
#   leaves nothing to choose, a plan fixed in advance, a line with a direction and an exact p-value, controls, and errors
#   of both kinds.
# - *"The suspect answers my secret pictures as mine does. Isn't that proof?"* Not if you could choose the pictures. You
#   have seen what an innocent model answers to pictures that were optimised elsewhere.
# - *"And if I have a time stamp?"* The forger had one, too, and an earlier one. A date orders two honest claims; it does
#   not make a claim honest.
# - *"The thief retrained, so the mark is gone."* Mistakes, agreement and training records are lines that nobody embedded.
#   You can say which of them spoke, and that likeness alone finds two models related: it has no direction.
# - *"p = 1e-9: certain?"* Twenty models carry 1/21. You can say which p-values are exact, from keys drawn anew and from
#   permuted records, which are model-based, and how many innocents the whole rule convicted when it was tried on innocents.
# - *"The suspect trained on my records!"* If nobody else had them. Resemblance in data is not theft.
# - *"Who says that you did not edit the report?"* Each entry is signed by who wrote it, the plan was witnessed before
#   anybody was asked, and a changed, missing or added entry shows, and where.
