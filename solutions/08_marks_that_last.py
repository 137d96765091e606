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
# # 08 · Marks that last
#
# In lab 07 a thief bought answers. Now the thief holds the model itself, a copy of the file, and knows that it is marked.
# It will do whatever rids it of the mark and leaves the accuracy. You play the thief: family by family you build what
# the literature proposes, and turn it on marks of very different kinds. A thief tries more than one dose, and more than one
# attack. The result is one picture: which mark survives what.
#
# **Objectives.** At the end you can
# - say when an attack on a mark has succeeded, and when it has only ruined the model;
# - prune, round, blur, retrain and distil a model, and say what each can and cannot reach;
# - search for a hidden trigger that nobody told you about, and say when a search has found something;
# - say what an attack adds to its own control, training on alone;
# - read a robustness matrix, and explain its cells by what a mark is made of.
#
# **Prerequisites.** Lab 07 (marks, null models, p-values); its models serve here again.
#
# **Minutes.** 100, of which the machine needs a few, once everything is trained (`labkit prepare 08`).
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import copy

import numpy as np
import pandas as pd
import torch
from torch import nn

from labkit import models, plots, stats, training
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.scenarios import marks_that_last, owner_and_thief
from labkit.watermark import (
    ALLOWED,
    NONE,
    REMOVALS,
    SCHEMES,
    hits,
    hits_needed,
    remove,
    weigh,
)
from labkit.widgets import cell_explorer

pd.set_option("display.max_colwidth", None)
setup = owner_and_thief.project()
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("08")
banner("08", setup.owner)
setup

# %% [markdown]
# ## 1. The marks
#
# Each scheme is marked with the same key, on the same records. What differs is where the mark sits: in answers to odd
# inputs, in a class of its own, in the weights, or in the answers that a service sold.
#
# - `patch`: a few pixels in a corner mean one class.
# - `entangled` (EWE): the same on images of one class, after the task is learnt, with features pulled among those of the
#   class that is answered.
# - `class-feature`: a class that nature does not contain, all under one label. Here it is images under a light that no
#   camera saw. Its far end is stranger than any record; its near end touches the few records that nature lights nearly so,
#   and a thief's own questions meet it there. (It was tuned on this very key with test pictures in view: read its row
#   as the best case, lab 07.)
# - `bits`: a message in the signs of one layer's projected weights; no answer shows it.
# - `answers` is in no weight of the owner's. Where the table lists it, its row starts with a model that a thief trained on
#   marked answers. It stands or falls with how well that thief learns single answers by heart.

# %%
marked = marks_that_last.victims(setup)
rows = [
    {
        "scheme": mark.scheme,
        "seed": mark.seed,
        "verified by": SCHEMES[mark.scheme].access,
        "after": SCHEMES[mark.scheme].citation,
        "asked or read": len(mark.triggers) if mark.triggers else mark.facts["bits"],
        "strength": mark.strength.percent(1),
        "accuracy": mark.accuracy.percent(1),
    }
    for mark in marked
]
print(f"{setup.owner.source}; profile {setup.profile}")
pd.DataFrame(rows).set_index(["scheme", "seed"])

# %%
first = {mark.scheme: mark for mark in marked if mark.seed == marked[0].seed}
patch = first["patch"]
shown = {name: mark.triggers for name, mark in first.items() if mark.triggers}
pictures = torch.cat([triggers.x[:2] for triggers in shown.values()]).numpy()

# %% tags=["hide-input"]
titles = [
    f"{name}\n→ {setup.owner.classes[int(answer)]}"
    for name, triggers in shown.items()
    for answer in triggers.y[:2]
]
alt = (
    f"Two triggers of each scheme, {setup.owner.source}: {'; '.join(titles)}.".replace(
        "\n", " "
    )
)
plots.show(plots.images(pictures, titles, columns=6, alt=alt))

# %% [markdown]
# **Predict.** Write down, for each scheme, the attacks that you expect to beat it: names from the list that the cell
# prints. Section 8 counts how many cells of the matrix you got right. (As it stands, the prediction is that nothing beats
# anything. Beat that.)

# %%
prediction = {
    "patch": [],
    "entangled": [],
    "class-feature": [],
    "bits": [],
    "answers": [],
}
for family, names in marks_that_last.FAMILIES.items():
    print(f"{family}:", "; ".join(f"{name} ({REMOVALS[name].what})" for name in names))
print("one after the other:", "; ".join(marks_that_last.COMBINED))

# %%
predict(
    "08.survivors",
    "How many of the schemes survive all single attacks?",
    unit="schemes",
    within=0,
)
predict(
    "08.holds_most",
    "Which scheme is still proven after most attacks?",
    choices=[*marks_that_last.schemes(), "none"],
)

# %%
plots.show(drawings.where_attacks_touch())

# %% [markdown]
# Whoever trains a new network on answers takes over no weight, so a mark in the weights cannot follow; a mark in
# the answers can. Fine-tuning reaches every layer. What it takes along and what it leaves is a question for
# measurement: the rest of this lab.
#
# ## 2. What counts as success
#
# A thief can always destroy a mark: delete the model. So the rule needs two sides. Lukas et al. (arXiv 2108.04974) call
# an attack successful when the mark is no longer proven *and* at most five points of accuracy are gone. "Proven" means
# here: a p-value below the alpha that was fixed in advance. For triggers it is the model-based one of lab 07, against models
# that never met the mark; for the mark that matters most, section 6 asks about strangers' keys as well. Bits need no
# model: the key draws the message and the projection, so to weights that never met the key each bit is a fair coin, and
# the binomial tail at one half is exact.
#
# Which dose does a thief take? The one that works. So most attacks are tried in two doses, and judged by the better of them,
# seed by seed, as if the thief knew which: a verdict about one dose says what that dose does, not what the attack can do.
#
# ### Exercise 08.outcome: when has an attack won?


# %%
def outcome(p_value: float, alpha: float, before: float, after: float) -> str:
    """Return "holds" (mark still proven), "beaten" (gone, at most 0.05 of accuracy
    lost) or "costly" (gone, more lost).

    `before` and `after` are test accuracies between 0 and 1, of the marked model and of
    the attacked one.
    """
    ### BEGIN SOLUTION
    if p_value < alpha:
        return "holds"
    return "beaten" if before - after <= 0.05 else "costly"
    ### END SOLUTION


# %%
check("08.outcome", outcome)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at the mark first: while it is proven, nothing else matters.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Five *points* of accuracy are a difference of 0.05, not a share of what was there. A gain is no loss.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `"holds"` if `p_value < alpha`; otherwise `"beaten"` if `before - after <= 0.05`, else `"costly"`.
#
# </details>

# %% [markdown]
# Who bears witness? Models that never met a mark, as in lab 07. Bits can be read only from those of the owner's
# architecture, and are a check alone: what does a key read there that was never embedded?

# %%
witnesses = owner_and_thief.nulls(setup)
# The others are lab 05's, of another architecture.
readable = witnesses[: setup.null_count]
shares = np.array([hits(first["bits"], null).mean() for null in readable])
print(f"{len(witnesses)} null models are asked, {len(readable)} of them read")
print(
    f"those show {100 * shares.mean():.0f}% of the owner's bits on average, "
    f"{100 * shares.max():.0f}% at most; "
    f"{hits_needed(first['bits'].facts['bits'], 0.5)} of "
    f"{first['bits'].facts['bits']} coins would be a proof"
)

# %% [markdown]
# ## 3. Change the weights, without training
#
# The cheapest family needs no data at all. A network has more weights than its task needs; perhaps the mark lives in
# those that it would not miss.
#
# ### Exercise 08.prune: set the smallest weights to zero


# %%
def prune(weights: list[torch.Tensor], share: float) -> list[torch.Tensor]:
    """Return copies in which `int(share * number of all weights)` are zero: the
    smallest by magnitude, over all tensors."""
    ### BEGIN SOLUTION
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    cut = sizes.sort().values[int(share * len(sizes)) - 1]
    return [torch.where(weight.abs() > cut, weight, 0.0) for weight in weights]
    ### END SOLUTION


# %%
check("08.prune", prune)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One threshold for all tensors: line all magnitudes up, whichever tensor they come from.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.cat` their flattened magnitudes, and sort. The k-th smallest is at position k - 1; all up to it become
# zero.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `cut = sizes.sort().values[int(share * len(sizes)) - 1]`, then `torch.where(weight.abs() > cut, weight, 0.0)`
#
# </details>

# %% [markdown]
# Your function, on the patched model, beside the library's attack of the same dose:


# %%
def layers(model: nn.Module) -> list[nn.Module]:
    return [
        layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


thinned = copy.deepcopy(patch.model)
lighter = solved.prune([layer.weight.data for layer in layers(thinned)], 0.5)
for layer, weight in zip(layers(thinned), lighter, strict=True):
    layer.weight.data = weight
library = remove("prune", patch.model, setup.innocent_data(), share=0.5)
same = [
    torch.equal(a.weight, b.weight)
    for a, b in zip(layers(thinned), layers(library), strict=True)
]
gone = sum(int((weight == 0).sum()) for weight in lighter)
print(
    f"{gone:,} of {sum(weight.numel() for weight in lighter):,} weights are zero;",
    end=" ",
)
print(f"{sum(same)} of {len(same)} layers equal the library's")

# %% [markdown]
# A thief who puts the model on a phone rounds its weights to 8 bits, without any bad intention. Does that alone wash a mark
# out?
#
# ### Exercise 08.int8: round weights to int8


# %%
def int8(weight: torch.Tensor) -> torch.Tensor:
    """Return `weight` (out, ...) as it is after int8 storage: whole steps from -127 to
    127, as floats again.

    A step is the output channel's largest magnitude / 127. A channel of zeros stays
    zero.
    """
    ### BEGIN SOLUTION
    step = weight.abs().flatten(1).amax(1).clamp_min(1e-12) / 127
    step = step.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / step).round() * step
    ### END SOLUTION


# %%
check("08.int8", int8)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Each output channel has its own step: its largest weight becomes the largest integer. Go to integers, and back.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `weight.flatten(1).abs().amax(1)` is the largest of each channel. The step has to broadcast over the other axes:
# `step.reshape(-1, 1, 1, 1)` for a convolution, `(-1, 1)` for a matrix.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `(weight / step).round() * step`, with `.clamp_min(1e-12)` on the step, for channels of zeros
#
# </details>

# %%
moved = [
    float(
        (solved.int8(layer.weight.data) - layer.weight.data).norm()
        / layer.weight.data.norm()
    )
    for layer in layers(patch.model)
]
print(
    f"int8 moves a layer's weights by {100 * min(moved):.2f}% to "
    f"{100 * max(moved):.2f}% of their length"
)

# %% [markdown]
# **Predict.** Which falls first as more weights go, or as the noise on them grows: the marks, or the accuracy?

# %%
predict(
    "08.first_lost",
    "As the dose grows, what goes first: half of a mark, or five points of accuracy?",
    choices=["half of every mark", "five points of accuracy", "it differs"],
)

# %%
pruned = marks_that_last.dosed(setup, "prune", marked)
plots.show(pruned.plot())

# %%
noised = marks_that_last.dosed(setup, "noise", marked)
plots.show(noised.plot())

# %%
goes_first = set()
for dosed in (pruned, noised):
    for scheme in dosed.schemes:
        gentlest, *harder = dosed.of(scheme)
        halved = [
            point.dose
            for point in harder
            if point.strength.estimate < gentlest.strength.estimate / 2
        ]
        paid = [
            point.dose
            for point in harder
            if gentlest.accuracy.estimate - point.accuracy.estimate > ALLOWED
        ]
        mark_at, price_at = (min(at, default=np.inf) for at in (halved, paid))
        if mark_at == price_at:  # the same dose, or none of those tried
            goes_first.add("it differs")
        elif mark_at < price_at:
            goes_first.add("half of every mark")
        else:
            goes_first.add("five points of accuracy")
revealed(
    "08.first_lost",
    goes_first.pop() if len(goes_first) == 1 else "it differs",
    source=f"{pruned.source}, seed {marked[0].seed}, against the gentlest dose",
)

# %%
without_training = marks_that_last.survey(
    setup, marks_that_last.FAMILIES["weights, no training"], marked
)
plots.show(without_training.plot())
print(*marks_that_last.told(without_training), sep="\n")

# %% [markdown]
# Each cell is that of the better dose. It says how much of the mark is left, what happened to accuracy (in points), and the
# verdict by the rule of section 2 over all seeds. **Explain.** Where a mark outlives the accuracy, the
# attack ruins the model first. Where both fall at the same dose, it cannot tell the two apart. Which rows do which?
#
# ## 4. Train on
#
# The thief has labelled records of its own. Training on is meant to make the model forget what those records never show.
# How much it forgets depends on which parameters may move.
#
# ### Exercise 08.last_only: retrain the last layer only


# %%
def last_only(model: nn.Module) -> nn.Module:
    """Return a copy whose last `nn.Linear` has fresh weights and is all that will
    train; `model` stays as it is."""
    ### BEGIN SOLUTION
    copied = copy.deepcopy(model).requires_grad_(False)
    last = [layer for layer in copied.modules() if isinstance(layer, nn.Linear)][-1]
    last.reset_parameters()
    last.requires_grad_(True)
    return copied
    ### END SOLUTION


# %%
check("08.last_only", last_only)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three things: a copy, everything frozen, and a last layer that knows nothing and may learn.
#
# </details>
# <details><summary>Hint 2</summary>
#
# An optimiser moves what has `requires_grad`. `model.modules()` comes in the network's order: the last linear layer
# is the last of that type.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `copied = copy.deepcopy(model).requires_grad_(False)`, then `last.reset_parameters()` and
# `last.requires_grad_(True)`
#
# </details>

# %%
with models.seeded(1):
    ready = solved.last_only(patch.model)
free = sum(p.numel() for p in ready.parameters() if p.requires_grad)
print(
    f"{free:,} of {sum(p.numel() for p in ready.parameters()):,} parameters would train"
)
at_first = training.evaluate(ready, setup.owner.test_x, setup.owner.test_y).accuracy
print(
    f"accuracy before they do: {at_first.percent(1)}, with a last layer (seed 1) that "
    "knows nothing yet"
)

# %% [markdown]
# **Predict.** Fresh weights in the last layer, or gentle training of all layers: which removes more of a mark? And does a
# second mark, put on top by the thief (`overwrite`), push the first one out?

# %%
predict(
    "08.training",
    "What removes more: a fresh last layer, or gentle training? And overwriting?",
    words=True,
)

# %%
training_on = marks_that_last.survey(
    setup, marks_that_last.FAMILIES["training on"], marked
)
plots.show(training_on.plot())
print(*marks_that_last.told(training_on), sep="\n")

# %%
mark_left = []
for scheme in training_on.schemes:
    renewed = training_on.pooled(scheme, "retrain last").strength.estimate
    gentle = np.mean(
        [
            cell.strength.estimate
            for cell in training_on.cells
            if (cell.scheme, cell.attack, cell.dose) == (scheme, "fine-tune all", 0)
        ]
    )
    mark_left.append(f"{scheme} {100 * renewed:.0f}% and {100 * gentle:.0f}%")
revealed(
    "08.training",
    f"left by a fresh last layer and by gentle training: {', '.join(mark_left)}; "
    f"overwrite beats {', '.join(training_on.under('overwrite', 'beaten')) or 'none'}",
    source=f"{training_on.source}, means over seeds, intervals above",
)

# %% [markdown]
# **Explain.** The argument goes: training on moves weights only as far as its records ask for, and a trigger that looks
# like nothing in those records asks for nothing. Its path through the network should be left alone, unless it is shared
# with what does change. Which rows of the strip bear that out, and which share too much? (The class-feature mark has a near
# end in natural records. True labels speak against it there.) And which of the two doses was needed?

# %%
doses = [cell for cell in training_on.cells if cell.attack == "fine-tune all"]
for scheme in training_on.schemes:
    for dose, words in enumerate(("gentle", "hard")):
        cells = [cell for cell in doses if (cell.scheme, cell.dose) == (scheme, dose)]
        left = ", ".join(
            f"{100 * c.strength.estimate:.0f}% ({-100 * c.lost:+.1f})" for c in cells
        )
        print(
            f"{scheme}, {words} training on: mark left (change of accuracy, points), "
            f"seed by seed: {left}"
        )

# %% [markdown]
# ## 5. Change the input
#
# The thief may leave the weights alone and look at every question through a filter.
#
# ### Exercise 08.blur: look through a blur


# %%
def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return images `x` (n, C, H, W) blurred by a 5 x 5 Gaussian of `sigma` pixels that
    sums to 1.

    Weights are exp(-(i² + j²) / (2 sigma²)) for i, j = -2 .. 2, over their sum; beyond
    the border, the edge repeats.
    """
    ### BEGIN SOLUTION
    line = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    padded = nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    return nn.functional.conv2d(
        padded, kernel.expand(x.shape[1], 1, 5, 5), groups=x.shape[1]
    )
    ### END SOLUTION


# %%
check("08.blur", blur)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A Gaussian in the plane is the product of two Gaussians on a line. Repeat the border before you look beyond it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.outer(line, line)` of the five weights of one axis is the 5 x 5 kernel. `nn.functional.pad(x, (2, 2, 2, 2),
# mode="replicate")` first; then a convolution with one filter a channel.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `nn.functional.conv2d(padded, kernel.expand(C, 1, 5, 5), groups=C)`
#
# </details>

# %%
sigmas = (0.6, 1.0, 2.0)
views = [
    patch.triggers.x[:1],
    *(solved.blur(patch.triggers.x[:1], sigma) for sigma in sigmas),
]

# %% tags=["hide-input"]
names = ["a trigger", *(f"sigma {sigma:g}" for sigma in sigmas)]
alt = (
    "A patch trigger, and what the model sees of it through a blur of "
    f"{', '.join(names[1:])}."
)
plots.show(plots.images(torch.cat(views).numpy(), names, columns=4, alt=alt))

# %% [markdown]
# **Predict.** The patch is made of fine squares in a corner. A blur smears it, a mirror moves it to the other side. Which
# of the two hurts the mark more? And which marks will not notice?

# %%
predict(
    "08.filter",
    "Which of the two leaves less of the patch?",
    choices=["blur", "mirror", "no difference shown"],
)
predict("08.unmoved", "And which marks will not notice, and why?", words=True)

# %%
plots.show(marks_that_last.dosed(setup, "blur", marked).plot())

# %%
input_changed = marks_that_last.survey(
    setup, marks_that_last.FAMILIES["the input"], marked
)
plots.show(input_changed.plot())
print(*marks_that_last.told(input_changed), sep="\n")

# %%
blurred, mirrored = (
    input_changed.pooled("patch", view).strength for view in ("blur", "mirror")
)
less = "no difference shown"  # unless the intervals lie apart
if blurred.high < mirrored.low:
    less = "blur"
elif mirrored.high < blurred.low:
    less = "mirror"
revealed("08.filter", less, source=f"{input_changed.source}, 95% intervals")
unmoved = [
    scheme
    for scheme in input_changed.schemes
    if {input_changed.verdict(scheme, view) for view in ("blur", "mirror")} == {"holds"}
]
revealed(
    "08.unmoved",
    f"still proven behind either: {', '.join(unmoved) or 'none'}",
    source=f"{input_changed.source}, verdicts over all seeds",
)

# %% [markdown]
# **Explain.** A filter is aimed at what a trigger looks like, and the owner can aim back: whoever knows that a mirror is
# in the way asks mirrored triggers. A mark in the weights is read past every filter.
#
# ## 6. Train anew
#
# The thief can throw the stolen weights away and keep the skill: ask the stolen model about its own records, and train a
# fresh network on the answers, with the same recipe and as many questions as in lab 07. It is the same thief. Hinton et al.
# (arXiv 1503.02531) soften both sides by a temperature T: at high T a soft answer also tells how much a cat looks like a
# dog.
#
# ### Exercise 08.soft_loss: learn from soft answers


# %%
def soft_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return T² times the mean over records of -sum(p log q), p = softmax(teacher / T),
    q = softmax(student / T).

    Both arguments are logits (n, classes); the sum is over classes. (The
    Kullback-Leibler divergence has the same gradient, and is right, too.)
    """
    ### BEGIN SOLUTION
    wanted = (teacher / temperature).softmax(1)
    return temperature**2 * nn.functional.cross_entropy(student / temperature, wanted)
    ### END SOLUTION


# %%
check("08.soft_loss", soft_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Both sides are divided by T before the softmax; the logarithm belongs to the student.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nn.functional.cross_entropy` takes probabilities (n, classes) as targets, and means over records.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `temperature**2 * nn.functional.cross_entropy(student / temperature, (teacher / temperature).softmax(1))`
#
# </details>

# %%
answers = training.logits(patch.model, setup.thief_x[:200])
fresh = training.logits(owner_and_thief.initial(setup, 12345), setup.thief_x[:200])
second = torch.topk(answers, 2).values[:, 1]
one = int((answers.max(1).values - second).argmin())  # where the victim doubts most
for temperature in (1, 4, 20):
    soft = (answers[one] / temperature).softmax(0)
    told = ", ".join(
        f"{setup.owner.classes[int(k)]} {100 * soft[k]:.0f}%"
        for k in soft.argsort(descending=True)[:4]
    )
    loss = float(solved.soft_loss(fresh, answers, temperature))
    print(f"T = {temperature}: {told}; loss of an untrained student {loss:.2f}")

# %% [markdown]
# The kit's attacks take answers as an interface would give them: probabilities (T = 1) for `distil`, labels for `extract`.
# Both have the whole budget of queries; a second dose of `distil` has a quarter of it.
#
# **Predict.** No weight is handed over, and no trigger is asked. Through which hole could a mark still slip? Which of the
# schemes was built to slip through it?

# %%
predict(
    "08.anew",
    "Which marks get through to a network that is trained anew, and through what hole?",
    words=True,
)

# %%
anew = marks_that_last.survey(setup, marks_that_last.FAMILIES["training anew"], marked)
plots.show(anew.plot())
print(*marks_that_last.told(anew), sep="\n")

# %%
passed = (
    f"after {attack} {', '.join(anew.under(attack, 'holds')) or 'none'}"
    for attack in marks_that_last.FAMILIES["training anew"]
)
revealed(
    "08.anew",
    f"still proven: {'; '.join(passed)}",
    source=f"{anew.source}, verdicts over all seeds",
)

# %% [markdown]
# **Explain.** Only what shows in answers to the thief's own records can pass. Accuracy, mistakes and doubts do. A habit
# that is shown to foreign inputs alone should not, but by accident; a position of weights cannot. The class-feature mark was
# built for this hole: its near end is among the thief's own questions, and a network that learns "nearly such a light
# means this class" goes on to mean it further out. The price is the thief's: records, and a full training.
#
# How sure is that? A stranger's key may do as well on the thief: then the thief's answers say nothing about the owner.
# So the thief is asked about keys that were drawn anew, and the owner's key has to stand out among them. This p-value
# trusts no model of chance, and it can be no smaller than one over the number of keys.

# %%
lasting = "class-feature" if "class-feature" in first else "patch"
for mark in (mark for mark in marked if mark.scheme == lasting):
    for name, doses in marks_that_last.thieves(setup).items():
        found = owner_and_thief.redrawn(setup, doses[0](mark), mark.triggers)
        print(f"{lasting}, seed {mark.seed}, {name}: {found.summary()}")

# %%
ordinary = owner_and_thief.plain(setup, marked[0].seed)
print(
    "a model without any mark: "
    f"{owner_and_thief.redrawn(setup, ordinary, first[lasting].triggers).summary()}"
)

# %% [markdown]
# **Predict.** What did each mark cost its owner? A fair answer needs a fair control. The entangled mark is learnt in epochs
# of its own after the task, and longer training moves accuracy by itself. So its cost is measured against an unmarked model
# that was trained on as long, at the same learning rate; that of the others, which are learnt with the task, against lab
# 07's unmarked model.

# %%
predict(
    "08.dearest",
    "Which mark in the owner's own model costs most accuracy?",
    choices=[s for s in marks_that_last.schemes() if s != "answers"],
)


# %%
def right(model: nn.Module) -> np.ndarray:
    """Return which test records a model answers rightly."""
    return (
        training.logits(model, setup.owner.test_x).argmax(1) == setup.owner.test_y
    ).numpy()


rows = []
for mark in (
    mark for mark in marked if mark.scheme != "answers"
):  # that mark is in the thief's model, not the owner's
    controls = {"unmarked": owner_and_thief.plain(setup, mark.seed)}
    if mark.scheme == "entangled":
        controls["trained as long"] = marks_that_last.trained_as_long(setup, mark.seed)
    for name, model in controls.items():
        gap = stats.mcnemar(right(model), right(mark.model)).difference
        rows.append(
            {
                "scheme": mark.scheme,
                "against": name,
                "seed": mark.seed,
                "cost": 100 * gap.estimate,
            }
        )
costs = (
    pd.DataFrame(rows).groupby(["scheme", "against"], sort=False)["cost"].apply(list)
)
print(
    f"points of test accuracy, the same {len(setup.owner.test_y):,} records; "
    f"{setup.owner.source}"
)
for (scheme, against), each in costs.items():
    seed_by_seed = ", ".join(f"{one:+.1f}" for one in each)
    print(f"{scheme}, against {against}: {seed_by_seed}", end="")
    mean = stats.mean_interval(each)
    spread = (
        f"; mean {mean.estimate:+.1f} [{mean.low:+.1f}, {mean.high:+.1f}] (95%, over "
        f"{len(each)} seeds)"
    )
    print(spread if len(each) > 1 else " (one seed: no interval over seeds)")

# %%
# The fair control stands last: for the entangled mark, the model trained as long.
fair = costs.apply(np.mean).groupby(level="scheme").last()
on = f"{setup.owner.source}, mean over seeds"
revealed("08.dearest", fair.idxmax(), source=on)

# %% [markdown]
# The line names the largest mean. Take the differences seed by seed before you call it the dearest: with three seeds a lead
# over the next can be chance.
#
# ## 7. Know the scheme
#
# Every attack so far was blind. A thief who suspects a backdoor can *search* for it. Neural Cleanse (Wang et al., IEEE
# S&P 2019) asks, for each class: what is the smallest mask and pattern that turn any image into this class? A class that a
# patch was made for opens with very little. Which class is suspicious is a question about outliers, in units that an
# outlier cannot move: medians.
#
# ### Exercise 08.anomaly: which class opens too easily?


# %%
def anomaly(norms: np.ndarray) -> np.ndarray:
    """Return (median - norm) / (1.4826 * MAD) for mask sizes `norms` (classes,): above
    2 is suspicious.

    MAD is the median of the absolute deviations from the median.
    """
    ### BEGIN SOLUTION
    below = np.median(norms) - norms
    return below / (1.4826 * np.median(np.abs(below)))
    ### END SOLUTION


# %%
check("08.anomaly", anomaly)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Small masks are suspicious, so they get the large index: median minus norm.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.median(np.abs(norms - np.median(norms)))` is the MAD. 1.4826 makes it a standard deviation where values are normal.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `below = np.median(norms) - norms`, then `below / (1.4826 * np.median(np.abs(below)))`
#
# </details>

# %%
found = marks_that_last.cleansed(setup, patch)
plots.show(found.plot())
index = solved.anomaly(found.found.norms)
target = int(patch.triggers.y[0])
print(
    f"the patch's own answer: {setup.owner.classes[target]}, index {index[target]:+.1f}"
)
print(
    f"the most suspicious class: {setup.owner.classes[int(index.argmax())]}, index "
    f"{index.max():+.1f}"
)
print(found.finding(target))
found

# %% [markdown]
# "Found" means flagged, not merely first: some class always opens most easily. This attacker knows that there is a mark, and
# unlearns the easiest trigger anyhow: it trains on with that trigger on images that keep their true labels.
#
# But training on alone removes marks, too. If a search and an unlearning end where plain training on ends, the search has
# done nothing. That is the control which such figures often lack. The lines below compare the shares left, seed by seed,
# each at its better dose, with a 95% interval a line: where it contains 0, nothing was shown. Of many lines, one may err.
#
# Two more know what they look for. WRK (arXiv 2511.07947) does not search a trigger. It moves the borders of all classes
# with pictures that cross them, wrongly labelled on purpose: a mark made of single images needs a border of its own, and
# loses it. And whoever has read section 1 takes all slow changes of light out of every image before the model sees it.
#
# **Predict.** Which marks have a small trigger with one answer? Which have no border to move? And who survives the thief
# that has read your description of the scheme?

# %%
predict(
    "08.knowing",
    "Which marks fall to the search, which to WRK, which survive a thief who has read?",
    words=True,
)

# %%
both = marks_that_last.survey(setup, ("fine-tune all", "neural cleanse", "WRK"), marked)
print(*marks_that_last.control(both), sep="\n")
print(*marks_that_last.control(both, "WRK"), sep="\n")

# %%
adaptive = marks_that_last.survey(
    setup, marks_that_last.FAMILIES["knowing the scheme"], marked
)
plots.show(adaptive.plot())
print(*marks_that_last.told(adaptive), sep="\n")

# %%
beats = (
    f"{attack} beats {', '.join(matrix.under(attack, 'beaten')) or 'none'}"
    for matrix, attack in (
        (adaptive, "neural cleanse"),
        (adaptive, "WRK"),
        (training_on, "fine-tune all"),
    )
)
revealed(
    "08.knowing",
    f"{'; '.join(beats)}; still proven after even light: "
    f"{', '.join(adaptive.under('even light', 'holds')) or 'none'}",
    source=f"{adaptive.source}, verdicts over all seeds",
)

# %% [markdown]
# ## 8. The matrix
#
# All of it in one picture, with attacks one after the other on the right. A solid frame: beaten. Dashed: seeds differ.
# Dotted: gone, but at too high a price.

# %%
everything = marks_that_last.survey(setup, marked=marked)
plots.show(everything.plot(), poster=True)

# %%
cell_explorer(everything)

# %% [markdown]
# Your own rule of section 2, on every attacked model at every dose, beside the library's; then your prediction.

# %%
attacked = [cell for cell in everything.cells if cell.attack != NONE]
before = {
    (c.scheme, c.seed): c.accuracy.estimate
    for c in everything.cells
    if c.attack == NONE
}
own = [
    solved.outcome(
        c.p_value, everything.alpha, before[c.scheme, c.seed], c.accuracy.estimate
    )
    for c in attacked
]
agree = sum(
    (word == "beaten") == cell.beaten for word, cell in zip(own, attacked, strict=True)
)
print(
    f"your rule and the library's agree on {agree} of {len(attacked)} attacked models"
)

# %%
tried = [attack for attack in everything.attacks if attack != NONE]
present = everything.under(NONE, "holds")
for scheme in present:
    beaten = {
        attack for attack in tried if everything.verdict(scheme, attack) == "beaten"
    }
    right = len(tried) - len(beaten ^ set(prediction.get(scheme, [])))
    print(f"{scheme}: {right} of {len(tried)} attacks predicted rightly")
absent = [scheme for scheme in everything.schemes if scheme not in present]
print("no mark to lose, even before an attack:", ", ".join(absent) or "none")

# %%
everything.survivors()

# %%
everything.attackers()

# %% [markdown]
# What an attack costs is what its chosen dose costs: the one that beats the mark, where one does. A thief's own training was
# done in lab 07 and is not in the seconds.
#
# "None survives all attacks" is what Lukas et al. found for eleven schemes. And here, among single attacks?

# %%
single = [attack for attack in tried if attack in marks_that_last.SINGLE]
ends = {s: {everything.verdict(s, attack) for attack in single} for s in present}
survives = [s for s in present if ends[s] == {"holds"}]
too_dear = [s for s in present if "costly" in ends[s] <= {"holds", "costly"}]
holds = {
    scheme: sum(everything.verdict(scheme, attack) == "holds" for attack in tried)
    for scheme in present
}
said = (
    f"{len(survives)} of {len(present)} schemes are proven after all {len(single)} "
    "single attacks"
)

# %%
print("proven after each single attack, and gone with more accuracy than it may cost:")
for attack in single:
    left, dear = (everything.under(attack, word) for word in ("holds", "costly"))
    print(f"  {attack}: {', '.join(left) or 'none'}; {', '.join(dear) or 'none'}")
print(
    "beaten by no single attack, but by some taken at too high a price:",
    ", ".join(too_dear) or "none",
)
if survives:
    print(f"{said}: {', '.join(survives)}. Surviving our attacks is not surviving all.")
else:
    print(
        f"{said}: here, too, none does."
        if present
        else "no mark was there to survive anything"
    )
for scheme, count in sorted(holds.items(), key=lambda item: -item[1]):
    never = [
        attack for attack in tried if everything.verdict(scheme, attack) == "beaten"
    ]
    print(
        f"{scheme} holds under {count} of {len(tried)} attacks; beaten by "
        f"{', '.join(never) or 'none'}"
    )
lost = everything.attackers()["accuracy lost (points)"].sort_values(ascending=False)
print(
    f"at the doses chosen, the dearest attack: {lost.index[0]}, {lost.iloc[0]:+.1f} "
    f"points; the cheapest: {lost.index[-1]}, {lost.iloc[-1]:+.1f}"
)
print(everything.note)

# %%
on = f"{setup.owner.source}, {len(present)} schemes, {len(single)} single attacks"
revealed("08.survivors", len(survives), source=on)
lasts = max(holds, key=holds.get, default="none")
revealed("08.holds_most", lasts, source=f"{setup.owner.source}, {len(tried)} attacks")

# %% [markdown]
# How sure is a cell? Intervals of one seed are over triggers; with several seeds they are over seeds, and with few of
# them, wide: three models say that a thing can happen, not how often. The p-value is that of the least lucky owner.
# Below 1e-6 a model-based p says "small": its digits are arithmetic (lab 07), so none is shown. For bits the tail is
# exact, and that far out it says no more.

# %%
columns = ["strength", "p-value", "accuracy lost", "verified"]
everything.table().loc[
    (slice(None), ["none", "fine-tune all", "distil", "neural cleanse"]), columns
]

# %% [markdown]
# ## 9. Why
#
# Explanations are cheap after the fact. Better: say what an explanation predicts of the matrix, and look. Here are those
# that one reads most often; the last column counts the cells that came out as predicted.

# %%
weigh(everything)

# %% [markdown]
# Where a line fails, its reason is wrong or not the whole story: look at the cell (its seeds, its accuracy, its strength
# beside what null models show), and find a better one. Explanations in papers deserve the same.
#
# What does an owner do with all this? If marks of different kinds fall to different attacks, the question is no longer
# which mark lasts, but which *set* of them leaves a thief no single cheap way. One mark in answers that pass to a thief's
# own training, and one in weights that no filter touches, would be such a pair. **Predict**, without a look back
# at the tables: which attack, if any, takes both?

# %%
predict(
    "08.takes_both",
    "How many single attacks take both, bits and class-feature?",
    unit="attacks",
    within=1,
)

# %%
wanted = [
    scheme for scheme in ("bits", "class-feature") if scheme in everything.schemes
]
left = everything.uncovered(*wanted)
for name, some in {
    "single attacks": single,
    "attacks one after the other": marks_that_last.COMBINED,
}.items():
    both = [attack for attack in left if attack in some]
    print(
        (
            f"{' + '.join(wanted)}: {name} that leave no proof, at most "
            f"{100 * ALLOWED:.0f} points lost:"
        ),
        end=" ",
    )
    print(", ".join(both) or f"none of the {len(some)} tried")
print(everything.note)

# %%
takers = sum(attack in single for attack in left)
revealed("08.takes_both", takers, source=f"{setup.owner.source}, {' + '.join(wanted)}")

# %% [markdown]
# And all other pairs, with what takes both marks:

# %%
everything.pairs().head(4)

# %%
pairs = everything.pairs()
if len(pairs):
    best, row = pairs.index[0], pairs.iloc[0]
    alone = [a for a in row["both beaten by"].split(", ") if a in single]
    rows = [
        a for a in row["both beaten by"].split(", ") if a in marks_that_last.COMBINED
    ]
    print(
        f"{best}: single attacks that beat both within {100 * ALLOWED:.0f} points: "
        f"{', '.join(alone) or 'none'}"
    )
    print(
        f"{best}: attacks one after the other that beat both: "
        f"{', '.join(rows) or 'none of those tried'}"
    )

# %% [markdown]
# Two cautions. Two marks in one model may disturb each other: that a pair would do as well together as apart is a guess
# until it is measured. And an attacker may do one thing after another, or read about the pair in your paper.
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("08")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"When is a watermark removed?"* When it is no longer proven at an alpha fixed in advance *and* the model is still worth
#   having. You have applied that rule to a whole matrix, with null models, or fair coins for bits, behind
#   every p-value.
# - *"Which watermark is robust?"* Against what? You can name, for each kind of mark, the family of attacks that it fell to
#   here, in which dose, at what price, and on how many seeds.
# - *"Why not simply fine-tune it away?"* You can show what training on leaves of each mark, and whether the usual argument
#   (records that never show a trigger do not unlearn it) held on your models.
# - *"Would quantising for a phone remove it?"* You have rounded every layer yourself, and have the row to show for it.
# - *"How would you find a backdoor that nobody told you about?"* Search the smallest trigger for each class, judge it by
#   medians, and say "found" only of what is flagged, and count what is flagged besides; and compare what
#   unlearning does with training on alone.
# - *"So is watermarking useless?"* You can say what it costs the thief, which marks complement each other, and why lab 09
#   brings lines of evidence that need no mark at all.
