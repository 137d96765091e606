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
# # 10 · Secure aggregation from scratch
#
# Five hospitals train one model. Each sends an **update**, a server adds the updates up. The records stay at home, so what
# could leak? The first cells below look at one update. Then you build the protocol
# under which it learns the sum and nothing else, and break the versions that are almost right.
#
# **Objectives.** At the end you can
# - put real values on a grid where sums wrap around, and refuse what does not fit;
# - hide every vector under masks that cancel in the sum, and say why a mask serves once;
# - derive keys that fit one pair and one round;
# - let hospitals vanish in mid-round without giving the others away: shares, a second mask, and one rule;
# - draw the whole protocol on a whiteboard, and name what it does not protect.
#
# **Prerequisites.** Lab 00. Helpful: modular arithmetic (a clock with 2³² hours).
#
# **Minutes.** 90, of which the machine needs less than one.
#
# **Difficulty.** ●●●●○ (4 of 5)

# %%
import secrets
import time

import numpy as np
import pandas as pd

from labkit import federated, plots, profiles, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed
from labkit.federated import secagg
from labkit.federated.secagg import keys, masks, messages, shamir
from labkit.widgets import dropout_explorer, message_flow

profile = profiles.current()
clinics = federated.load_hospitals("breast_cancer", count=5, seed=0)
names = clinics.names
# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("10")
banner("10", clinics.pooled())

# %% [markdown]
# ## 1. What an update tells
#
# The model is logistic regression: 30 measurements of a tumour, one intercept. For one patient with measurements x and
# label y, the gradient is (p - y) · x for the weights and (p - y) for the intercept, where p is the model's answer.
#
# **Predict.** A hospital had a single new patient today, and sends that patient's gradient: 31 numbers. What does the
# server learn about the patient?

# %%
predict(
    "10.values",
    "How many of the patient's 30 values does the server read to six decimals?",
    unit="values",
    within=0,
)


# %%
def gradient(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean gradient (31,) of the logistic loss; the intercept comes last."""
    inputs = np.column_stack([x, np.ones(len(x))])
    return inputs.T @ (1 / (1 + np.exp(-inputs @ weights)) - y) / len(x)


records = {
    h.name: (
        h.dataset.train_x.numpy().astype(float),
        h.dataset.train_y.numpy().astype(float),
    )
    for h in clinics
}
start = np.zeros(31)
x, y = records["Hospital E"]
sent = gradient(x[:1], y[:1], start)
read = sent[:-1] / sent[-1]
print(f"{clinics.source}, train records, weights 0")
print(
    "largest error of the patient's 30 values as the server reads them: "
    f"{np.abs(read - x[0]).max():.1e}"
)
answers = [clinics.classes[label] for label in (int(sent[-1] < 0), int(y[0]))]
print(f"diagnosis: the server reads {answers[0]}, the truth is {answers[1]}")

# %%
revealed("10.values", (np.abs(read - x[0]) < 1e-6).sum(), source=clinics.source)

# %% [markdown]
# One division gives the record, exactly, and the sign of the last number gives the diagnosis. Lab 12 takes many records
# out of larger updates. So the server should never see one hospital's vector.
#
# ## 2. A grid on which sums are exact
#
# Masks need a place where every value is as likely as any other: whole numbers modulo 2³². Real values go there by
# **fixed point**: multiply by a scale, round. Negative numbers need nothing special: -1 is the word 2³² - 1.
#
# The danger is silent: a sum that passes 2³¹ comes back as a negative number, and a model is ruined without an error.
# **Predict.** Five values of 0.9 at scale 2²⁹: each fits. What sum comes back?

# %%
predict("10.wrapped", "What sum of five values of 0.9 comes back?", within=0.1)

# %%
five = np.full(5, 0.9)
words = np.rint(five * 2**29).astype(np.int64).astype(np.uint32)
wrapped = words.sum(dtype=np.uint32).view(np.int32) / 2**29
print(f"true sum {five.sum():.1f}, sum modulo 2^32 read back: {wrapped:.1f}")

# %%
revealed("10.wrapped", wrapped, source="computed, no data")

# %% [markdown]
# ### Exercise 10.encode: real values on a grid that refuses overflow


# %%
def encode(values: np.ndarray, scale: float, bound: float, parties: int) -> np.ndarray:
    """Return round(value * scale) modulo 2^32 as np.uint32, of the shape of `values`
    (d,).

    Raise ValueError if a value is NaN, infinite or beyond `bound` in absolute value.
    And, whatever the values are, if the sum of `parties` values at the bound could
    reach 2^31 (the largest integer of one value is round(scale * bound)).
    """
    ### BEGIN SOLUTION
    if parties * round(scale * bound) >= 2**31:
        raise ValueError(
            f"a sum of {parties} values up to {bound} could wrap: lower scale or bound"
        )
    if not (np.abs(values) <= bound).all():  # False for NaN
        raise ValueError(f"a value is beyond {bound}, or no number")
    return np.rint(values * scale).astype(np.int64).astype(np.uint32)
    ### END SOLUTION


# %%
check("10.encode", encode)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three steps: refuse settings that could wrap, refuse values, then round and cast.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.nan > bound` is False, and so is `np.nan <= bound`. Ask the question whose False means refusal.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `np.rint(values * scale).astype(np.int64).astype(np.uint32)`: the cast from int64 wraps, one from float need not.
#
# </details>

# %% [markdown]
# `solved.encode` is your function if it passed, and the kit's if not, so that the lab goes on either way. The kit's own grid
# is `secagg.Encoding`: same promises.

# %%
grid = secagg.Encoding.finest(bound=1.0, parties=len(names))
updates = {name: gradient(*records[name], start) for name in names}
# (5, 31) words.
on_grid = np.array(
    [solved.encode(updates[name], grid.scale, grid.bound, 5) for name in names]
)
truth = np.sum([*updates.values()], axis=0)
total = grid.decode(grid.from_ring(on_grid.sum(axis=0, dtype=np.uint32)))
print(
    f"scale 2^{np.log2(grid.scale):.0f}; rounding error of the sum: up to "
    f"{np.abs(total - truth).max():.1e}"
)
try:
    secagg.Encoding(scale=2**29, bits=32, parties=5, bound=1.0)
except secagg.EncodingError as error:
    print("refused:", error)

# %% [markdown]
# ## 3. Masks that cancel
#
# Each pair of hospitals shares a mask: a vector of uniform words. The one with the lower number **adds** it, the other
# **subtracts** it. Every single vector is then uniform noise; in the sum, each mask meets its opposite.

# %%
plots.show(drawings.pairwise_masks())

# %% [markdown]
# What A sends says nothing to whoever does not know its masks. In the sum each mask meets its opposite. All
# arithmetic wraps around: modulo 100 in the drawing, modulo 2³² below.
#
# ### Exercise 10.mask_pairwise: masks that cancel in the sum


# %%
def mask_pairwise(words: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the words (n, d) of n hospitals under their pair masks, as np.uint32.

    `shared[i, j]` equals `shared[j, i]`: the mask (d,) of hospitals i and j. For i < j,
    hospital i adds it and hospital j subtracts it, modulo 2^32. `shared[i, i]` is
    nobody's.
    """
    ### BEGIN SOLUTION
    masked = words.copy()
    for i in range(len(words)):
        for j in range(i + 1, len(words)):
            masked[i] += shared[i, j]
            masked[j] -= shared[i, j]
    return masked
    ### END SOLUTION


# %%
check("10.mask_pairwise", mask_pairwise)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Go through the pairs i < j, each once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# NumPy's uint32 arrays wrap around by themselves: no `%` is needed, as long as nothing becomes int64 or float.
#
# </details>
# <details><summary>Hint 3</summary>
#
# On a copy: `masked[i] += shared[i, j]` and `masked[j] -= shared[i, j]`
#
# </details>

# %% [markdown]
# A mask as long as the model would have to be agreed on first. So two hospitals agree on a short **key**, and a cipher
# stretches it: AES in counter mode here (`masks.add_mask`).


# %%
def stretched(pair_keys: dict[tuple[int, int], bytes], length: int = 31) -> np.ndarray:
    """Return the masks (5, 5, length) that follow from one key for each pair (i <
    j)."""
    shared = np.zeros((5, 5, length), dtype=np.uint32)
    for (i, j), key in pair_keys.items():
        masks.add_mask(shared[i, j], key)
        shared[j, i] = shared[i, j]
    return shared


pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
pair_keys = {pair: secrets.token_bytes(32) for pair in pairs}
seen = solved.mask_pairwise(on_grid, stretched(pair_keys))
sums = [rows.sum(axis=0, dtype=np.uint32) for rows in (seen, on_grid)]
print("the masked words sum to the words of the updates:", (sums[0] == sums[1]).all())

# %% tags=["hide-input"]
fig, axes = plots.figure(9.0, 3.2, ncols=2)
clear = np.vstack([*updates.values()])
for ax, values, title in zip(
    axes,
    (clear, seen / 2**32),
    ("updates in clear", "what the server sees (words / 2³²)"),
    strict=True,
):
    image = ax.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest")
    ax.set(
        title=title, xlabel="value of the update", yticks=range(5), yticklabels=names
    )
    ax.grid(False)
    fig.colorbar(image, ax=ax)
spread = np.corrcoef(clear.ravel(), seen.ravel())[0, 1]
fig.suptitle(f"{clinics.source}; gradients at weights 0", fontsize=9)
alt = (
    "Two heat maps, five hospitals by 31 values. Left: updates in clear, each "
    "hospital in its own shade. "
)
alt += f"Right: the masked words, noise. Correlation of all values {spread:.2f}."
plots.show(plots.describe(fig, alt))

# %% [markdown]
# ### Break it: the same masks again
#
# Agreeing on keys costs a message. It is tempting to keep the masks for the next round. **Predict.** The server
# subtracts a hospital's first masked vector from its second.

# %%
predict(
    "10.reused",
    "What does the difference of a hospital's two masked vectors give the server?",
    choices=[
        "noise",
        "the hospital's second update",
        "how the hospital's update changed",
    ],
)

# %%
step = start - truth
later = np.array(
    [
        solved.encode(gradient(*records[name], step), grid.scale, grid.bound, 5)
        for name in names
    ]
)
fresh_keys = {pair: secrets.token_bytes(32) for pair in pairs}
views = {
    "masks reused": solved.mask_pairwise(later, stretched(pair_keys)),
    "fresh masks": solved.mask_pairwise(later, stretched(fresh_keys)),
}
change = grid.decode(grid.from_ring(later[0] - on_grid[0]))

found = {
    name: grid.decode(grid.from_ring(view[0] - seen[0])) for name, view in views.items()
}
errors = {name: np.abs(guess - change).max() for name, guess in found.items()}

# %% tags=["hide-input"]
fig, axes = plots.figure(9.0, 3.2, ncols=2)
for ax, (name, guess) in zip(axes, found.items(), strict=True):
    ax.plot(change, guess, "o", markersize=4)
    ax.set(title=f"{name} (y from {guess.min():.2g} to {guess.max():.2g})")
    ax.set(
        xlabel=f"true change of {names[0]}'s update", ylabel="what the server computes"
    )
fig.suptitle(f"{clinics.source}; rounds 1 and 2", fontsize=9)
alt = (
    f"Two scatter plots, {names[0]}'s change between rounds against the server's "
    "difference of masked words: "
)
said = ", ".join(f"{name}, largest error {error:.1e}" for name, error in errors.items())
plots.show(plots.describe(fig, alt + said + "."))

# %%
print(said)
readings = {
    "the hospital's second update": grid.decode(grid.from_ring(later[0])),
    "how the hospital's update changed": change,
}
told = [
    what
    for what, true in readings.items()
    if np.abs(found["masks reused"] - true).max() < 1 / grid.scale
]
revealed("10.reused", told[0] if told else "noise", source=clinics.source)

# %% [markdown]
# The masks cancel in the *difference*, too: the server reads how each hospital's update changed, to the last digit. A
# mask serves once. Every round needs fresh keys.
#
# ## 4. Where do the keys come from?
#
# Two hospitals that only talk through the server agree on a secret by **X25519**: each publishes a point of a curve, and
# both compute the same third one. The server sees the two points and cannot.

# %%
ash, birch = keys.AgreementKey.generate(), keys.AgreementKey.generate()
secret = ash.agree(birch.public)
print("both have the same secret:", secret == birch.agree(ash.public))

# %% [markdown]
# That secret is not a key yet. It will serve several purposes (masks, encrypted shares), and it must never give the same
# mask twice. **HKDF** derives keys from it, each bound to a *context*: what for, which round, between whom.
#
# ### Exercise 10.mask_key: a key that fits one round and one pair


# %%
def mask_key(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
    """Return the key (32 bytes) of the mask of one pair in one round, by HKDF-SHA256 or
    another sound hash.

    Both ends must get the same key: (one, other) and (other, one) are the same pair.
    Any other secret, round or pair must give another key, also where names contain
    separators: ("Ash,Bir", "ch") is not ("Ash", "Bir,ch").
    """
    ### BEGIN SOLUTION
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    parts = [b"pair mask", round_id, *(name.encode() for name in sorted((one, other)))]
    context = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return HKDF(SHA256(), 32, salt=None, info=context).derive(secret)
    ### END SOLUTION


# %%
check("10.mask_key", mask_key)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Sort the two names. Then turn purpose, round and names into one byte string, the context.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A context can be read in one way only if each part comes with its length: `len(part).to_bytes(4, "big") + part`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `HKDF(SHA256(), 32, salt=None, info=context).derive(secret)`, from `cryptography.hazmat.primitives`: `HKDF` is in
# `kdf.hkdf`, `SHA256` in `hashes`
#
# </details>

# %% [markdown]
# ### Break it: a seed of 32 bits
#
# Flower's SecAgg+ (1.42) folds its 256-bit secret down to 32 bits, because NumPy's old generator takes no more, and draws
# its masks from that. Say three of the five hospitals work with the server. Then all masks of the other two are known
# but one: the one that they share. So each single mask has to hold by itself. (What else three of five could do depends
# on a number that comes later, the threshold: section 6 counts.)
#
# **Predict.** How long does one core need to try all 2³² seeds?

# %%
predict(
    "10.hours",
    "How many hours does one core need for all 2³² seeds?",
    unit="hours",
    factor=3,
)

# %% [markdown]
# The attacker needs no known plaintext: updates are *small* beside 2³², so a wrong seed hardly ever gives a value within
# the bound, let alone several. We hide the seed in a smaller space and measure the rate.


# %%
generator = np.random.RandomState()


def weak_mask(seed: int, length: int) -> np.ndarray:
    """Return a mask (length,) from NumPy's old generator, which takes seeds of 32
    bits."""
    generator.seed(seed)
    return generator.randint(0, 2**32, length, dtype=np.uint32)


coarse = secagg.Encoding(scale=2**20, bits=32, parties=5, bound=1.0)
victim = coarse.to_ring(coarse.encode(updates[names[0]]))
blocks, size = 8, profile.pick(smoke=2**10, laptop=2**14, full=2**18)
hidden = secrets.randbelow(blocks * size)
observed = victim + weak_mask(hidden, len(victim))

rates, candidates = [], []
for block in range(blocks):
    begun = time.process_time()
    for seed in range(block * size, (block + 1) * size):
        opened = (observed[:8] - weak_mask(seed, 8)).view(np.int32)
        if np.abs(opened.astype(np.int64)).max() <= coarse.limit:
            candidates.append(seed)
    rates.append(size / (time.process_time() - begun))

# %%
rate = stats.mean_interval(rates)
opened = coarse.decode(
    coarse.from_ring(observed - weak_mask(candidates[0], len(victim)))
)
chance = (2 * coarse.limit + 1) / 2**32
error = np.abs(opened - updates[names[0]]).max()
print(
    f"{blocks * size:,} seeds tried; fitting: {len(candidates)}; the right one among "
    "them: "
    f"{hidden in candidates}"
)
print(
    f"a wrong seed passes one value once in {1 / chance:,.0f} tries; eight values "
    "were looked at"
)
print(
    f"largest error of the vector that was read: {error:.1e}, half a step of the grid"
)
print(
    f"{rate} seeds a second of processor time (95%, mean rate of {blocks} blocks, one "
    "core, this run)"
)
hours = [2**32 / r / 3600 for r in (rate.estimate, rate.high, rate.low)]
print(
    f"all 2^32 seeds at that rate, one core: {hours[0]:.1f} hours [{hours[1]:.1f}, "
    f"{hours[2]:.1f}], extrapolated"
)
print(
    "all 2^256 keys at that rate: 10^"
    f"{np.log10(2.0**256 / rate.estimate / 3.15e7):.0f} years"
)

# %%
revealed(
    "10.hours",
    hours[0],
    interval=hours[1:],
    of="95%, mean rate of this run",
    source="this machine, NumPy's old generator",
)

# %% [markdown]
# The interval is of this machine's mean rate in this run, not of an attacker's: rented machines divide the hours by their
# number. Seeds and keys of the protocol come from the operating system, have 256 bits, and go through a cipher.
#
# ## 5. A hospital vanishes
#
# Hospital E has agreed on its keys, and then its line goes dead. **Predict.** The server adds up the four masked vectors
# that came.

# %%
predict(
    "10.four",
    "How far off is the worst of the sum's 31 values, if a true sum of four lies "
    "between -4 and 4?",
    within=1,
)

# %%
four = seen[:4].sum(axis=0, dtype=np.uint32)
meant = on_grid[:4].sum(axis=0, dtype=np.uint32)
apart = grid.decode(grid.from_ring(four - meant))
print(
    f"errors: {apart.min():.2f} to {apart.max():.2f}; a sum of four updates lies "
    "between -4 and 4"
)
revealed("10.four", np.abs(apart).max(), source=f"{clinics.source}, keys drawn here")

# %%
plots.show(drawings.pairwise_masks(gone="C"))

# %% [markdown]
# Noise: four masks miss their opposite. Somebody must be able to rebuild them, and not the server alone. So each hospital
# deposits its **mask key** beforehand, in pieces: with **Shamir's scheme** (1979), any three of five pieces give the key,
# and two say nothing. Take a random parabola whose value at 0 is the secret, modulo a prime; holder x gets the value at x.
# Three points fix a parabola; through two there is one for *every* secret:

# %%
prime, secret, a, b = 101, 42, 17, 88
shares = {x: (secret + a * x + b * x * x) % prime for x in (1, 2, 3, 4, 5)}
fitting = np.zeros(prime, dtype=int)
for c, d in np.ndindex(
    prime, prime
):  # every parabola that has share 1 at 1, and so one value at 0
    other = (shares[1] - c - d) % prime
    fitting[other] += (other + 2 * c + 4 * d) % prime == shares[2]
print(f"shares modulo {prime}: {shares}")
print(
    f"parabolas through shares 1 and 2, by secret: {fitting.min()} to {fitting.max()} "
    f"for {prime} secrets"
)

# %% [markdown]
# Lagrange's formula gives the value at 0 from points (i, share_i): the sum of share_i times the product, over the other
# holders j, of j / (j - i). Division modulo a prime is multiplication by `pow(x, -1, prime)`.
#
# ### Exercise 10.recover: a secret from any three of five shares


# %%
def recover(shares: dict[int, int], prime: int) -> int:
    """Return the secret, 0 <= secret < prime, from just as many shares as are needed:
    {holder's number: share}."""
    ### BEGIN SOLUTION
    secret = 0
    for i, share in shares.items():
        weight = 1
        for j in shares:
            if j != i:
                weight = weight * j * pow(j - i, -1, prime) % prime
        secret += share * weight
    return secret % prime
    ### END SOLUTION


# %%
check("10.recover", recover)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two loops: over holders i, and inside over the other holders j. Work with Python's integers, which never overflow.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `pow(j - i, -1, prime)` is the number that gives 1 when multiplied by j - i; it takes negative j - i, too.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `weight = weight * j * pow(j - i, -1, prime) % prime`, then add `share * weight`
#
# </details>

# %% [markdown]
# Now with real keys, from `solved.mask_key`, and a prime that has room for them (2⁵²¹ - 1): E's key, shared among five,
# comes back from the shares of A, C and D.

# %%
agreement = {name: keys.AgreementKey.generate() for name in names}
round_id = secagg.fresh_round_id()


def pair_key(own: keys.AgreementKey, peer: str, owner: str) -> bytes:
    """Return the key of the mask that two hospitals share, from the private key of one
    of them."""
    return solved.mask_key(own.agree(agreement[peer].public), round_id, owner, peer)


agreed_keys = {
    (i, j): pair_key(agreement[names[i]], names[j], names[i]) for i, j in pairs
}
masked = solved.mask_pairwise(on_grid, stretched(agreed_keys))
pieces = shamir.split(agreement["Hospital E"].to_bytes(), [1, 2, 3, 4, 5], threshold=3)
held = {holder: int.from_bytes(pieces[holder], "big") for holder in (1, 3, 4)}
again = keys.AgreementKey(solved.recover(held, shamir.PRIME).to_bytes(32, "big"))

repaired = masked[:4].sum(axis=0, dtype=np.uint32)
for name in names[:4]:
    # What each had added for E.
    masks.add_mask(repaired, pair_key(again, name, "Hospital E"), -1)
print("the sum of the four is exact:", (repaired == meant).all())

# %% [markdown]
# ## 6. Late is not gone
#
# **Predict.** E was only slow: its masked vector arrives *after* the others have opened E's key. Or the server says that
# it never came.

# %%
predict("10.late", "What can the server do with E's masked vector now?", words=True)

# %%
late = masked[4].copy()
for name in names[:4]:
    # E had subtracted them.
    masks.add_mask(late, pair_key(again, name, "Hospital E"), 1)
print("the server reads E's vector, exactly:", (late == on_grid[4]).all())
revealed(
    "10.late",
    f"it reads {(late == on_grid[4]).sum()} of E's {len(late)} values exactly",
    source=clinics.source,
)

# %% [markdown]
# So one mask is not enough. Bonawitz et al. (2017) give each hospital a second, its **self-mask**, from a seed of its own
# that is shared in pieces, too. The server asks for one of two secrets:
# - of each hospital whose vector **came**: the *seed*, to take the self-mask off the sum;
# - of each that **vanished**: the *key*, to take off the pair masks that it left behind.
#
# A late vector then still wears its self-mask. All hangs on one rule, which each hospital keeps by itself.
#
# ### Exercise 10.reveal: one secret of each peer, never both


# %%
def reveal(survivors: list[str], dropped: list[str], threshold: int) -> dict[str, str]:
    """Return which share of each peer this hospital reveals: "seed" of a survivor,
    "key" of a dropped one.

    Raise ValueError if a peer is in both lists, or if fewer than `threshold` different
    hospitals survived.
    """
    ### BEGIN SOLUTION
    both = set(survivors) & set(dropped)
    if both:
        raise ValueError(f"{sorted(both)} are listed as both alive and dropped")
    if len(set(survivors)) < threshold:
        raise ValueError(f"{len(set(survivors))} survivors are fewer than {threshold}")
    return dict.fromkeys(survivors, "seed") | dict.fromkeys(dropped, "key")
    ### END SOLUTION


# %%
check("10.reveal", reveal)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Refuse first, answer last.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Sets: `set(survivors) & set(dropped)` is who is in both; a name that comes twice counts once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `dict.fromkeys(survivors, "seed") | dict.fromkeys(dropped, "key")`
#
# </details>

# %% [markdown]
# ### Break it: a server that asks for both
#
# Here is E's vector under both kinds of mask, and hospitals that answer whatever they are asked. **Predict** what hides
# it once E's key is open, and what once the seed is open *as well*.

# %%
predict(
    "10.both",
    "How much of E's vector does the server read with E's key alone? And with the seed "
    "as well?",
    words=True,
)

# %%
seed = secrets.token_bytes(32)
sent = masked[4].copy()
masks.add_mask(sent, keys.derive(seed, "self mask", round_id, "Hospital E"))
one_secret, both_secrets = sent.copy(), sent.copy()
for vector in (one_secret, both_secrets):
    for name in names[:4]:
        masks.add_mask(vector, pair_key(again, name, "Hospital E"), 1)
masks.add_mask(both_secrets, keys.derive(seed, "self mask", round_id, "Hospital E"), -1)
try:
    print("an honest hospital answers", solved.reveal([*names], ["Hospital E"], 3))
except ValueError as error:
    print("an honest hospital refuses:", error)
for known, vector in {"key alone": one_secret, "key and seed": both_secrets}.items():
    error = np.abs(grid.decode(grid.from_ring(vector - on_grid[4]))).max()
    print(f"{known}: largest error of E's vector {error:.1e}")
legible = [(vector == on_grid[4]).sum() for vector in (one_secret, both_secrets)]
revealed(
    "10.both",
    f"of E's {len(sent)} values the server reads {legible[0]} with the key alone, "
    f"{legible[1]} with key and seed",
    source=clinics.source,
)

# %% [markdown]
# A server need not put E in both lists of *one* request: it can tell some hospitals that E is alive and others that E is
# gone. So there is one more round: each hospital **signs** the list of survivors that it was shown, and opens nothing
# until a threshold of signatures, more than half, is under that very list. If everybody signs once, two lists cannot both
# get a majority.
#
# ### Hospitals that work with the server
#
# That was a server alone. **Predict.** Three of the five hospitals help it, and hand over the pieces that they hold. What
# do they need from the other two, at threshold 3? And from which threshold on do those pieces give nothing?

# %%
predict(
    "10.threshold",
    "From which threshold on do three helpers' pieces give no secret of E?",
    within=0,
)


# %%
def rebuilt_by(helpers: tuple[int, ...], value: bytes, threshold: int) -> bool:
    """Return whether these holders' pieces, put together, give a secret that was shared
    at this threshold."""
    pieces = shamir.split(value, [1, 2, 3, 4, 5], threshold)
    held = {holder: int.from_bytes(pieces[holder], "big") for holder in helpers}
    return solved.recover(held, shamir.PRIME) == int.from_bytes(value, "big")


used = 3  # the threshold of this lab
secrets_of_e = {"key": agreement["Hospital E"].to_bytes(), "seed": seed}
for threshold in range(used, 6):
    opened = [
        what
        for what, value in secrets_of_e.items()
        if rebuilt_by((1, 2, 3), value, threshold)
    ]
    print(
        f"threshold {threshold}: three helpers' pieces give "
        f"{' and '.join(opened) or 'no secret'} of E"
    )

# %%
held = ((1, 2, 3), secrets_of_e["key"])
safe = min(t for t in range(used, 6) if not rebuilt_by(*held, t))
revealed("10.threshold", safe, source="five hospitals, keys drawn here")

# %% [markdown]
# At the threshold of this lab three helpers need nobody: their pieces give both of E's secrets, and with them E's vector.
# Above it the pieces alone do not, but helpers may also **sign twice**. Two lists with t signatures each have at least
# 2t - n signers in common, and if all of those are helpers, one list opens E's seed and the other E's key. So 2t - n must
# exceed the number of helpers (Bonawitz et al. 2017, section 6.2). `secagg.least_threshold` solves that for t:

# %%
rows = []
for helping in range(4):
    least = secagg.least_threshold(len(names), helping)
    rows.append(
        {
            "hospitals that help the server": helping,
            "least threshold that is safe": least,
            "may vanish in a round": len(names) - least,
            f"threshold {used} is safe": "yes" if used >= least else "no",
        }
    )
pd.DataFrame(rows).set_index("hospitals that help the server")

# %% [markdown]
# Threshold 3 of five, which this lab uses so that two may vanish, holds against a server that lies, and against no helper
# on top. Where three might help, all five hospitals have to stay to the end: safety is paid for with those who may vanish.
# Four helpers are beyond any threshold, as they subtract their own vectors from the sum.
#
# ## 7. The whole protocol, and a server that cheats
#
# `secagg.Client` is one hospital in one round. Below, a server tries five things with real messages.


# %%
def new_round(
    model: bytes = b"model 1", odd_one: bytes = b"model 1"
) -> tuple[dict, list, tuple]:
    """Return clients that advertised their keys, the advertisements, and the round's
    terms; E may differ."""
    identities = {name: secagg.Identity.generate() for name in names}
    roster = {name: one.public for name, one in identities.items()}
    terms = (roster, 3, grid, secagg.fresh_round_id())
    digests = {name: odd_one if name == "Hospital E" else model for name in names}
    clients = {
        name: secagg.Client(name, identities[name], *terms, digests[name])
        for name in names
    }
    return clients, [client.advertise() for client in clients.values()], (*terms, model)


# %%
def both_secrets_of_e() -> None:
    clients, shown, terms = new_round()
    server = secagg.Server(*terms)
    mail = server.shares(
        {name: one.share(server.advertisements(shown)) for name, one in clients.items()}
    )
    clients["Hospital A"].masked(updates["Hospital A"], mail["Hospital A"])
    clients["Hospital A"].consistency(
        messages.SurvivorList(terms[3], names, ("Hospital E",))
    )


def own_key_in_the_place_of_bs() -> None:
    from dataclasses import replace

    clients, shown, _ = new_round()
    forged = replace(shown[1], share_key=keys.AgreementKey.generate().public)
    clients["Hospital A"].share([shown[0], forged, *shown[2:]])


def keys_of_an_earlier_round() -> None:
    _, old, _ = new_round()
    clients, shown, _ = new_round()
    clients["Hospital A"].share([shown[0], *old[1:]])


def another_model_for_e() -> None:
    clients, shown, _ = new_round(odd_one=b"model 2")
    clients["Hospital A"].share(shown)


def a_round_of_one() -> None:
    clients, shown, _ = new_round()
    clients["Hospital A"].share(shown[:1])


# %%
attempts = (
    both_secrets_of_e,
    own_key_in_the_place_of_bs,
    keys_of_an_earlier_round,
    another_model_for_e,
    a_round_of_one,
)
rows = []
for attempt in attempts:
    try:
        attempt()
        answer = "NOT refused"
    except secagg.SecAggError as error:
        answer = str(error)
    rows.append(
        {
            "the server tries": attempt.__name__.replace("_", " "),
            "Hospital A stops": answer.split(":")[0],
        }
    )
pd.set_option("display.max_colwidth", None)
pd.DataFrame(rows).set_index("the server tries")

# %% [markdown]
# And an honest round, on the real updates: E vanishes after sharing, B after sending its vector.

# %%
settings = {"threshold": 3, "encoding": grid, "model_digest": b"model 1"}
drop = {"Hospital E": "masked", "Hospital B": "unmask"}
result = secagg.secure_sum(
    updates, drop=drop, round_id=secagg.fresh_round_id(), **settings
)
expected = sum(updates[name] for name in result.survivors)
error = np.abs(result.total - expected).max()
print(f"in the sum: {', '.join(result.survivors)}; largest error {error:.1e}")
result

# %% [markdown]
# **Predict.** Below you choose who vanishes, and when. Each hospital holds a power of two, so the sum says who is in it.

# %%
predict(
    "10.who",
    "How many may vanish, and at which stages, so that a sum comes out all the same? "
    "And when is a hospital in the sum although it vanished?",
    words=True,
)

# %%
dropout_explorer()


# %%
# What the explorer shows at each setting, tried at all of them.
def in_sum(count: int, stage: str) -> tuple[str, ...]:
    """Return who is in the sum if the last `count` hospitals vanish at a stage; nobody
    if none comes out."""
    gone = dict.fromkeys(names[len(names) - count :], stage)
    try:
        return secagg.secure_sum(
            updates, drop=gone, round_id=secagg.fresh_round_id(), **settings
        ).survivors
    except secagg.SecAggError:
        return ()


stages = ("advertise", "share", "masked", "consistency", "unmask")
spared = max(
    count
    for count in range(len(names))
    if all(in_sum(count, stage) for stage in stages)
)
counted = [stage for stage in stages if names[-1] in in_sum(1, stage)]
revealed(
    "10.who",
    f"at threshold {settings['threshold']}, {spared} of {len(names)} may vanish, at "
    f"any stage; who vanishes at {' or '.join(counted)} is in the sum even so",
    source=f"{clinics.source}, rounds run here",
)

# %% [markdown]
# ### What it costs

# %%
sizes = profile.pick(
    smoke=(1000,),
    laptop=(1000, 100_000, 1_000_000),
    full=(1000, 100_000, 1_000_000, 10_000_000),
)
rng, rows = np.random.default_rng(0), []
for values in sizes:
    vectors = {name: rng.uniform(-1, 1, values) for name in names}
    runs = [
        secagg.secure_sum(vectors, round_id=secagg.fresh_round_id(), **settings)
        for _ in range(6)
    ][1:]
    client = sorted(1e3 * max(run.client_seconds.values()) for run in runs)
    server = sorted(1e3 * run.server_seconds for run in runs)
    sent = sum(runs[0].bytes_up.values())
    rows.append(
        {
            "values": f"{values:,}",
            "slowest client (ms)": (
                f"{client[2]:.1f} [{client[0]:.1f}, {client[-1]:.1f}]"
            ),
            "server (ms)": f"{server[2]:.1f} [{server[0]:.1f}, {server[-1]:.1f}]",
            "sent by one hospital, bytes a value": f"{sent / 5 / values:.2f}",
        }
    )
print(
    "5 hospitals, all stay, uniform vectors (seed 0); processor time, median [least, "
    "most] of 5 rounds"
)
pd.DataFrame(rows).set_index("values")

# %% [markdown]
# ## 8. What it does not protect
#
# **Predict.** One round with all five, one with E absent, from the same weights. Both sums are exact and public.

# %%
predict("10.two_sums", "What do the two sums tell together?", words=True)

# %%
everybody = secagg.secure_sum(updates, round_id=secagg.fresh_round_id(), **settings)
without_e = secagg.secure_sum(
    updates,
    round_id=secagg.fresh_round_id(),
    drop={"Hospital E": "advertise"},
    **settings,
)
guess = everybody.total - without_e.total
miss = np.abs(guess - updates["Hospital E"]).max()
print(f"largest error of E's update, read from two sums: {miss:.1e}")
revealed(
    "10.two_sums",
    f"their difference misses E's update by at most {miss:.1e}, whose values reach "
    f"{np.abs(updates['Hospital E']).max():.2g}",
    source=clinics.source,
)

# %% [markdown]
# Secure aggregation hides who said what *within* a sum. It does not say how much a sum tells, and an exact sum tells much.
# That takes noise: differential privacy, added before the masks. Lab 11 puts both together; lab 12 attacks the result.
#
# Nor does it look at what hospitals put in. A malicious hospital can add any vector within the bound, and the server, by
# design, cannot see whose it was.
#
# How near were your guesses? They are kept for you alone, and nothing of them counts as points.

# %%
from labkit.course import predictions

predictions("10")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Design secure aggregation on a whiteboard."* Take a sheet of paper and draw it **before** you run the next cell:
#   who sends what, in which order, what the server has after each step, and what happens when one hospital vanishes
#   after the second step. Then compare.

# %%
plots.show(message_flow({"D": "masked"}), poster=True)

# %% [markdown]
# - *"Why two masks?"* Because late is not gone: with pair masks alone, opening a vanished hospital's key opens its late
#   vector. You have read one.
# - *"Why more than half as threshold?"* So that two lists of survivors cannot both be signed. With c hospitals that work
#   with the server, 2t - n must exceed c: at t = 3 of n = 5 that allows none, and you have seen three open both secrets.
# - *"Can we keep the masks for the next round?"* No: you have subtracted two rounds and read the change of every update.
# - *"Is a 32-bit seed enough if it is only a mask?"* You have measured the rate, and can say the hours and whose they are.
# - *"Fixed point: what goes wrong?"* Sums that wrap, NaN that passes a comparison, values that are clipped in silence. Each
#   is refused before a mask is made.
# - *"So the updates are private now?"* From the server, one by one: yes. The sum is exact, and two sums can be subtracted:
#   that is what differential privacy is for.
