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
# - weigh four lines of evidence against independent models, and say what each can and cannot show;
# - fix a plan before the first query, carry it out on suspects that you know by number only, and sign what you found;
# - answer "how would you prove that a model was stolen?" with your own figures.
#
# **Prerequisites.** Lab 07 (marks, null models, extraction); lab 08 helps to see why one line is not enough.
#
# **Minutes.** 110, of which the machine needs about 4 once the models are trained (`labkit prepare 09`).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from labkit import plots
from labkit.course import Solved, banner, check
from labkit.evidence import Evidence, Signer, TamperError
from labkit.scenarios import owner_and_thief, ownership_court
from labkit.watermark import (
    Key,
    Plan,
    TriggerSet,
    affidavit,
    answers,
    ask_all,
    hear,
    lucky_key,
    resolve,
    try_suspects,
    verify,
)
from labkit.watermark.fingerprints import agreement, dataset_inference, mistakes
from labkit.watermark.marks import triggers
from labkit.widgets import suspects_explorer

setup = owner_and_thief.project()
public = setup.owner  # its test records are the court's: no model was trained or tuned on them
solved = Solved("09")  # solved.NAME: your function once it has passed, labkit's until then
banner("09", public)

# %% [markdown]
# ## 1. Who may be heard?
#
# The court trains models of its own: innocent by construction, and the only witnesses to what innocence looks like.

# %%
judges = ownership_court.judges(setup)
arbor, brook = ownership_court.claim(setup), ownership_court.forged(setup)
line_up = ownership_court.line_up(setup, arbor, brook)
print(f"{len(judges)} null models; a verdict needs 20")
for claim in (arbor, brook):
    print(claim)
line_up

# %% [markdown]
# Both claimants deposited a commitment before the suspects came to market, Brook even earlier than Arbor. Brook's
# evidence: a list of pictures, and the answers that the accused model will give. The judge asks them.
#
# **Predict.** The accused is innocent, and Brook never asked it anything. Which share of Brook's answers will it give?

# %%
accused = next(one for one in line_up.accused if one.claim is brook)
strict = {"alpha": 1e-3, "minimum": setup.minimum}
heard = hear(brook, accused.model, judges, public, **strict)
naive = heard.naive["1 / classes"][1]
print(f"{accused.name} gives {heard.verdict.rate.percent(0)} of Brook's answers.")
print(
    f"A judge who compares with 1 / classes finds p = {naive:.2g}: "
    f"{'guilty' if naive < strict['alpha'] else 'not enough'} at alpha = {strict['alpha']:g}."
)

# %% [markdown]
# Brook's pictures are no mark. He trained models of his own and moved ordinary pictures, pixel by pixel, until *his*
# models answered wrong: **adversarial examples**. They transfer between models that never met. Liu et al. (arXiv
# 2304.06607) show that this forges claims against nearly every scheme that lets the claimant choose the pictures.
#
# So the claimant may not choose. A claim is heard if its triggers **follow from the key** that was committed to.
#
# ### Exercise 09.follows: do the triggers follow from the key?


# %%
def follows(brought: TriggerSet, key: Key, draw) -> bool:
    """Say whether the triggers brought are those that the key gives.

    `draw(key, count)` gives the key's first `count` triggers. Triggers have pictures `.x` (n, C, H, W) and answers `.y`
    (n,). Machines round differently: a pixel may be off by 1e-5. Nothing else may differ.
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
        f"{claim.claimant}: triggers follow from the key: {solved.follows(claim.triggers, claim.key, draw)}"
    )

# %%
again = triggers.draw(brook.triggers.kind, brook.key, 8, dataset=public)
shown = torch.cat([brook.triggers.x[:8], again.x])
labels = [public.classes[int(y)] for y in (*brook.triggers.y[:8], *again.y)]
alt = f"Above, eight pictures that Brook brought, with the answers he claims: {', '.join(labels[:8])}. Below, eight "
alt += f"triggers that his key gives, all to be answered with {labels[-1]}: other pictures."
plots.show(plots.images(shown.numpy(), labels, columns=8, alt=alt))

# %% [markdown]
# There is a second guard, and it would have been enough alone: the court's own models. **Predict.** They never met Brook
# either. Which share of his answers do *they* give?

# %%
plots.show(heard.plot())
heard

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
def first_to_commit(commitments: list[tuple[str, str, bool]], released: str) -> str | None:
    """Return the claimant whose commitment is the oldest of those that count, or None.

    Each commitment is (claimant, moment, opens): the moment as ISO 8601 text with its time zone, and whether the
    claimant's key and model open it. It counts if it opens and lies before `released` (ISO 8601, too). None if none
    counts, or if the two oldest that count are of the same instant.
    """
    ### BEGIN SOLUTION
    limit = datetime.fromisoformat(released)
    counts = [(datetime.fromisoformat(moment), name) for name, moment, opens in commitments if opens]
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
# Noon in Tokyo is before noon in London. `datetime.fromisoformat(moment)` reads the zone, and such times compare.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Drop what does not open, then what is not before the release; sort the rest by time.
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
    (claim.claimant, claim.commitment.moment, claim.commitment.verify(claim.key, claim.model))
    for claim in (cove, arbor)
]
print(pd.DataFrame(deposited, columns=["claimant", "committed", "opens"]).to_string(index=False))
print("first:", solved.first_to_commit(deposited, ownership_court.RELEASED.isoformat()))

# %% [markdown]
# A date can be forged by paying the notary. So ask the models, too: the thief's original was made *from* the owner's, so
# it may still carry the owner's mark; the owner's cannot carry a mark that did not exist yet. **Predict** the four bars
# on the right.

# %%
dispute = resolve(arbor, cove, cove.model, judges, public, released=ownership_court.RELEASED, **strict)
plots.show(dispute.plot())
dispute

# %%
print(f"the court: {dispute.winner or 'undecided'}: {dispute.reason}")

# %% [markdown]
# One more attack needs no training at all: invent keys until one of them *happens* to fit. **Predict.** How well does the
# best of thirty fit Cove's model? And models that nobody stole?

# %%
key, share = lucky_key(cove.model, "unrelated", public, tries=30, count=20)
lucky = triggers.draw("unrelated", key, 20, dataset=public)
fits = [float((answers(model, lucky.x) == lucky.y.numpy()).mean()) for model in judges]
print(
    f"the best of 30 keys fits {share:.0%} of 20 pictures; on the null models it fits up to {max(fits):.0%}"
)

# %% [markdown]
# Two things stop it: the key would have to be in a commitment from before the release, and null models say what a key
# that marks nothing can reach.
#
# ## 3. Lines of evidence, one at a time
#
# A mark can die: in extraction, by pruning, by training on (labs 07 and 08). An expert brings several lines, and tries
# each on **controls**, whose truth is known. The positive control is a thief who confessed (lab 07's, who saw labels
# alone); the negative one is Brook's own model, which nobody says was made from Arbor's.

# %%
controls = {"a thief who confessed": ownership_court.known_thief(setup), "an innocent": brook.model}
found = {name: {} for name in controls}
for name, model in controls.items():
    found[name]["mark"] = verify(model, arbor.triggers, judges, name=name, source=public.source, **strict)
    print(found[name]["mark"])

# %% [markdown]
# ### It repeats my mistakes
#
# Two models that learned alone are right in the same way; each is wrong in its own (Godinot et al., arXiv 2412.13021).
# So show the suspect records that the *owner's* model gets wrong. A thief trained on the owner's answers, the wrong ones
# included. No mark is needed, no training, and labels are enough.
#
# ### Exercise 09.repeated: does it repeat my mistakes?


# %%
def repeated(owner: np.ndarray, suspect: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the owner's mistakes that the suspect repeats: the same wrong label.

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
truth = public.test_y.numpy()
ours = answers(arbor.model, public.test_x)
known = ask_all(judges, public.test_x)
shares = np.array([solved.repeated(ours, own, truth) for own in known])
print(f"{len(shares)} innocent models of the court: {shares.min():.1%} to {shares.max():.1%}")
for name, model in controls.items():
    print(f"{name}: {solved.repeated(ours, answers(model, public.test_x), truth):.1%}")

# %% [markdown]
# Is the thief's share one that an innocent model could reach? The null models are a *sample* of innocents; the suspect
# would be one more draw. Both the spread and the mean are estimates, and the more null models, the better they are.
#
# ### Exercise 09.another_innocent: could one more innocent model score that?


# %%
def another_innocent(value: float, nulls: np.ndarray) -> float:
    """Return P[one more model like the k null models scores `value` or more].

    Predictive t test: t = (value - mean) / (s * sqrt(1 + 1/k)), s with k - 1 in the denominator; upper tail of
    Student's t with k - 1 degrees of freedom.
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
# One more model varies by s; the mean of k models is off by s / sqrt(k). Variances add.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nulls.std(ddof=1)`, and `scipy.stats.t.sf(statistic, degrees)` is the upper tail.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `t.sf((value - nulls.mean()) / (nulls.std(ddof=1) * np.sqrt(1 + 1 / k)), k - 1)`
#
# </details>

# %%
sizes = ownership_court.queries(setup)
for name, model in controls.items():
    line = mistakes.repeats(model, arbor.model, public, known, queries=sizes["mistakes"], **strict)
    found[name]["mistakes"] = line
    print(
        f"{name}: your p = {solved.another_innocent(line.value.estimate, line.nulls):.2g}, the kit's {line.p_value:.2g}"
    )
thief, innocent = (found[name]["mistakes"].p_value for name in controls)
print(
    f"shared mistakes: p {'<' if thief < 1e-3 else 'is not below'} 1e-3 for the extracted model ({thief:.2g}), "
    f"{innocent:.2g} for the independent one; no mark was used"
)
plots.show(found["a thief who confessed"]["mistakes"].plot())

# %% [markdown]
# **Whom do you call as a witness?** Lab 05's shadow models are innocent, too, and there they are: smaller, trained on
# fewer records. **Predict.** If they alone were the null models, or both kinds together, what would become of the thief?
# And of a good innocent model, one of the court's own?

# %%
bank = owner_and_thief.bank_of(setup)
small = np.array([bank.logits(k, part="population")[:, 0].argmax(1) for k in range(len(bank))])
weak = np.array([solved.repeated(ours, own, truth) for own in small])
copied = solved.repeated(ours, answers(controls["a thief who confessed"], public.test_x), truth)
witnesses = {"the court's own": shares[1:], "shadow models": weak, "both": np.concatenate([shares[1:], weak])}
rows = [
    {
        "null models": name,
        "number": len(null),
        "mean share": f"{null.mean():.1%}",
        "sd": f"{null.std(ddof=1):.1%}",
    }
    | {"p, thief": f"{solved.another_innocent(copied, null):.2g}"}
    | {"p, an innocent of the court's": f"{solved.another_innocent(shares[0], null):.2g}"}
    for name, null in witnesses.items()
]
pd.DataFrame(rows).set_index("null models")

# %% [markdown]
# What a good model still gets wrong is hard for other good models, too. Beside weak ones alone, a good innocent can look
# guilty; mixed up as one sample, the gap between the kinds passes for spread, and hides a thief. A null model is what an
# honest competitor *would have trained*: as good as the suspect, on other records. The court calls only those.
#
# The p-value trusts a bell curve far out, where few null models have been. The **rank** p-value trusts nothing but that
# the suspect is like the null models, and cannot fall below 1 / (k + 1). The kit asks for both: p below alpha, *and* no
# null model at or above the suspect.
#
# ### It agrees where innocents do not
#
# Any two good models agree on easy records. So ask about **contested** ones, on which the null models split.
#
# ### It knows my records
#
# The last two lines ask who *resembles* whom: Cove could point them at Arbor. **Dataset inference** (Maini et al., arXiv
# 2104.10706) has a direction: is the suspect surer on Arbor's *training* records than on held-out ones, more than null
# models that saw neither?
#
# **Predict.** For which control, if any, does each line speak? A thief by labels never saw Arbor's training records.

# %%
seen = dataset_inference.records(arbor.records, judges, queries=sizes["inference"], minimum=setup.minimum)
for name, model in controls.items():
    found[name]["agreement"] = agreement.agree(
        model, arbor.model, public, known, queries=sizes["agreement"], **strict
    )
    found[name]["inference"] = seen.ask(model, alpha=strict["alpha"])
rows = [
    {"control": name, "line": line, "p": f"{one.p_value:.2g}", "rank p": f"{one.rank_p_value:.2g}"}
    | {"queries": one.queries, "power at this value": f"{one.power:.2f}"}
    for name, lines in found.items()
    for line, one in lines.items()
]
pd.DataFrame(rows).set_index(["control", "line"])

# %%
for name, lines in found.items():
    low = [line for line, one in lines.items() if one.p_value < strict["alpha"]]
    print(f"{name}: p < {strict['alpha']:g} in {len(low)} of {len(lines)} lines ({', '.join(low) or 'none'})")
found["a thief who confessed"]["inference"]

# %% [markdown]
# A line that stays silent on the thief is not refuted, and one that speaks is not the whole truth: mistakes and agreement
# share most of what they rest on, so two of them are less than two witnesses. What makes them a proof *of origin* is the
# commitment: Arbor's model was there first.
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
def queries_for(rate: float, null_rate: float, alpha: float, power: float, most: int) -> int | None:
    """Return the smallest n at which a mark that shows at `rate` is proven with probability `power`, or None.

    With n queries, h is the smallest number of hits with P[Binomial(n, null_rate) >= h] < alpha. The mark is proven
    with probability P[Binomial(n, rate) >= h]. None if no n up to `most` will do.
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
share = Plan(queries=sizes, minimum=setup.minimum).threshold(len(line_up.accused))
marks = {
    "Arbor's own model": verify(arbor.model, arbor.triggers, judges, **strict),
    "the thief who confessed": found["a thief who confessed"]["mark"],
}
for name, verdict in marks.items():
    rate, null = verdict.rate.estimate, verdict.null_rate
    n = solved.queries_for(rate, null, share, 0.9, 1000)
    print(
        f"{name} answers {rate:.0%}, innocents up to {null:.0%}: {n or 'more than 1,000'} queries for power 90%"
    )
print(f"Arbor has {len(arbor.triggers)} triggers")

# %% [markdown]
# ### What convicts?
#
# Every suspect meets every line, and each meeting is a chance for a false alarm. Shared out over all of them
# (Bonferroni), alpha is the chance of *any*. And one line alone shall not convict: if its null models were badly
# chosen, everything built on it is wrong.
#
# ### Exercise 09.convict: what convicts


# %%
def convict(p: np.ndarray, heard: np.ndarray, alpha: float, needed: int) -> np.ndarray:
    """Return which suspects count as derived, bool (suspects,).

    `p` (suspects, lines) holds p-values, nan where a line could not be asked. A line speaks against a suspect if p is
    below alpha / (suspects * lines). A suspect counts as derived if at least `needed` lines speak against it and the
    claim against it may be heard (`heard`, bool (suspects,)).
    """
    ### BEGIN SOLUTION
    speaks = p < alpha / p.size
    return heard & (speaks.sum(axis=1) >= needed)
    ### END SOLUTION


# %%
check("09.convict", convict)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `p.size` is the number of suspects times the number of lines; lines that could not be asked were planned, so they count.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nan < anything` is False: such a line does not speak.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `heard & ((p < alpha / p.size).sum(axis=1) >= needed)`
#
# </details>

# %% [markdown]
# **Write your plan** into the next cell: lines, queries, alpha, how many lines convict. `faults()` says what a careful
# opponent would hold against it. Then it is hashed, and the hash goes into the court's file: from here on, nothing may be
# changed.

# %%
plan = Plan(queries=sizes, alpha=1e-3, needed=2, minimum=setup.minimum, seed=0)
print("faults:", "; ".join(plan.faults()) or "none")
file = Evidence("Arbor and Brook against five models")
file = file.add("Arbor", "commits", asdict(arbor.commitment), moment=ownership_court.COMMITTED["Arbor"])
file = file.add("the court", "fixes the plan", {"plan": plan.digest, "queries": sizes, "alpha": plan.alpha})
print(f"each of {len(sizes)} lines against each of 5 suspects: p < {plan.threshold(5):.2g}")
file.table()

# %% [markdown]
# ## 5. The trial
#
# You know the suspects by number only. Arbor's and Brook's own models are tried with them, as positive controls.
#
# **Predict.** Of the five, how many were stolen?

# %%
verdicts = try_suspects(plan, line_up.accused, judges, public)
verdicts

# %% [markdown]
# How soon would fewer queries have told? Move the slider, but for another trial's plan: this one's number is fixed.

# %%
suspects_explorer(verdicts.by_line())

# %% [markdown]
# **Your verdicts.** The next cell applies your rule. If you judge a suspect otherwise, change it below (`mine["suspect
# 2"] = True`) and write down why: the answer key will tell who was right.

# %%
names = [case.name for case in verdicts.cases]
heard_claims = np.array([not case.problems for case in verdicts.cases])
rule = solved.convict(verdicts.p_values(), heard_claims, plan.alpha, plan.needed)
mine = dict(zip(names, rule.tolist(), strict=True))
for case in verdicts.cases:
    print(f"{case.name}: you {'convict' if mine[case.name] else 'do not convict'}; the court: {case.verdict}")
different = [case.name for case in verdicts.cases if case.derived != mine[case.name]]
print("you and the court differ on:", ", ".join(different) or "nobody")

# %% [markdown]
# The court asks for one thing more than your rule: at least 20 null models, and none of them at or above the suspect.
# With fewer (profile smoke) it rehearses, and convicts nobody.
#
# ## 6. Sign
#
# A finding that can be edited later is no evidence. Two tools: a **chain**, in which each entry's hash covers the one
# before it, and a **signature** over the last one.
#
# ### Exercise 09.chain: a chain that shows where it was touched


# %%
def chain(entries: list[str]) -> list[str]:
    """Return one SHA-256 digest for each entry, as 64 hexadecimal digits.

    A change to entry k changes digests k, k + 1, ..., and none before it. Start from a fixed text.
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
file = file.add("the court", "tries five suspects", verdicts.numbers())
file = file.add("the expert", "gives verdicts", {"derived": mine})
texts = [json.dumps([entry.moment, entry.actor, entry.action, entry.content]) for entry in file.entries]
before = solved.chain(texts)
after = solved.chain([text.replace("0.001", "0.05") for text in texts])
touched = [number for number, pair in enumerate(zip(before, after, strict=True), 1) if pair[0] != pair[1]]
print(f"alpha changed after the fact, from 0.001 to 0.05: digests {touched} of {len(texts)} no longer fit")

# %%
expert = Signer.new()  # publish the public key before the trial; keep the other
signed = file.sign(expert)
saved = [signed.save(Path(".labkit") / f"evidence-09.{kind}") for kind in ("json", "html")]
for path in saved:
    whole = Evidence.load(path).verify(signer=expert.public)
    print(f"{path.name}: {len(whole.entries)} entries, whole, signed by {whole.signer[:16]}…")
signed.table()

# %% [markdown]
# The page is for people, the JSON for machines; each holds all of it. **Predict.** One digit of one p-value is changed in
# the file, and nothing else. What does the check say? And if the forger signs the changed record anew?

# %%
text = saved[0].read_text(encoding="utf-8")
place = text.index('"p_value": ') + len('"p_value": ')
digit = "1" if text[place] != "1" else "2"
changed = saved[0].with_name("evidence-09-changed.json")
changed.write_text(text[:place] + digit + text[place + 1 :], encoding="utf-8")
try:
    Evidence.load(changed).verify(signer=expert.public)
except TamperError as error:
    print("one digit:", error)
again = Evidence(signed.title, signed.entries[:-1]).sign(Signer.new())
print("signed anew, by somebody else:", "; ".join(again.problems(signer=expert.public)))

# %% [markdown]
# ## 7. The answer key

# %%
score = line_up.score(mine)
print(f"you: {score}\nthe court: {line_up.score(verdicts)}")
score

# %%
truth_of = {name: story.truth.split(":")[0] for name, story in score.truth.items()}
plots.show(verdicts.plot(truth_of), poster=True)

# %%
for name, story in score.truth.items():
    lines = verdicts[name].lines
    low = [line for line, one in lines.items() if one.p_value < verdicts.threshold]
    print(
        f"{name}, {story.truth}\n    p < {verdicts.threshold:.2g}: {', '.join(low) or 'no line'}; {story.lesson}"
    )
print(f"innocent models that the whole rule convicts: {verdicts.false_claims.percent(1)}")

# %% [markdown]
# Read the rows of the stolen models from left to right: which line held, and against which theft? Then the two innocent
# rows, and the null models: a rule is known by whom it does *not* convict.
#
# ## 8. "How would you prove that a model was stolen?"
#
# Your answer, put together from what the cells above found:

# %%
print(affidavit(arbor, heard, found, verdicts, score, released=ownership_court.RELEASED))

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"How would you prove that a model was stolen?"* With the page above: dates, triggers that follow from a key, a plan
#   fixed in advance, several lines against independently trained models, controls, and errors of both kinds.
# - *"The suspect answers my secret pictures as mine does. Isn't that proof?"* Not if you could choose the pictures. You
#   have seen what an innocent model answers to pictures that were optimised elsewhere.
# - *"And if I have a time stamp?"* The forger had one, too, and an earlier one. A date orders two honest claims; it does
#   not make a claim honest.
# - *"The thief retrained, so the mark is gone."* Mistakes, agreement and training records are lines that nobody embedded.
#   You can say which of them spoke, at what p-value, and which have a direction.
# - *"p = 1e-9: certain?"* As certain as the null models are typical. You can name how many there were, the rank p-value,
#   and how many innocents the same rule convicts.
# - *"Who says that you did not edit the report?"* The chain and the signature: a changed digit shows, and where.
