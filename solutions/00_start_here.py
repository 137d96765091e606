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
# # 00 · Start here
#
# **Check the set-up, choose a track, learn how exercises work.** Four short exercises; what you write in them comes
# back in every later lab.
#
# **Objectives.** At the end you
# - know that this machine can run the labs, and which data they will use;
# - have chosen a track: self-paced, classroom or interview;
# - know what a check says, when to open a hint, and where your progress is kept;
# - can draw noise that repeats, take one norm per record, and give a mean with an honest interval.
#
# **Prerequisites.** Python, and a first look at NumPy or PyTorch tensors.
#
# **Minutes.** 25, of which the machine needs less than one.
#
# **How to go on.** Shift + Enter runs a cell and moves to the next. Ctrl + B hides the list of files at the left and
# brings it back: more room for the text.
#
# **Difficulty.** ●○○○○ (1 of 5)

# %%
import torch

from labkit import data, doctor, plots, stats
from labkit.course import Solved, banner, check, drawings, predict, revealed, tracks

# solved.NAME: your function once it has passed, labkit's until then
solved = Solved("00")
banner("00", data.load("breast_cancer"))

# %% [markdown]
# ## 1. Is everything here?
#
# The next cell looks at Python, the packages, this machine, the data and Jupyter itself. One green line is all you want
# to see; what was looked at is folded below it. A problem is shown with its one fix. `labkit doctor` prints it all in a
# terminal.
#
# A *note* is not a problem. Data that is not here is downloaded when a lab first asks for it; where that is not
# possible, MNIST and CIFAR-10 are replaced by stand-ins made by code, and every figure says so.

# %%
doctor.report()

# %% [markdown]
# ## 2. Choose a track
#
# The labs are the same on each track; how you use them differs. Your choice is kept, and you can change it any time.
# Without a menu on your screen, write `tracks.choose("interview")`, for example.

# %%
tracks.choose()

# %% [markdown]
# ## 3. How an exercise works
#
# An exercise is a function with its docstring and one line to replace:
#
# ```python
# raise NotImplementedError("your turn")
# ```
#
# The cell below it **checks** your function, and says one of three things:
#
# - **Not attempted**: the line is still there;
# - **Not yet**: with the input, what came back, what was expected, and the likely cause;
# - **Passed**: from here on, the notebook uses *your* version.
#
# A check judges what you wrote and changes nothing, so press it as often as you like. The cells further down do not call
# your function by its own name: they call `solved.NAME`, and that is your function once it has passed, labkit's until
# then. So an exercise that you skip stops nothing; you can run the whole notebook first, and come back.
#
# **Stuck?** Three hints stand below each check, then the answer. Open them one at a time. The line under each
# heading says how hard the exercise is, how much later labs rely on it, and how long it takes.

# %%
plots.show(drawings.exercise_loop())

# %% [markdown]
# A first wrong try is told the cause in words, not how it is written. Change something, and the next is told what to do,
# too. Think first, then open hint 1: its idea is often enough.
#
# ### Exercise 00.first_check: your first check
#
# A classifier made predictions, and you have the labels. Return the share it got right, a number from 0 to 1.


# %%
def accuracy(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of `predicted` that equals `labels`, from 0 to 1.

    Both are int64 tensors of shape (n,).
    """
    ### BEGIN SOLUTION
    return float((predicted == labels).float().mean())
    ### END SOLUTION


# %%
check("00.first_check", accuracy)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Compare record by record first: each is right or wrong. Then a share is a mean.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `predicted == labels` is true where the two agree; the share is the number of matches over the number of records.
#
# </details>
# <details><summary>Hint 3</summary>
#
# PyTorch takes no mean of true and false: turn them into numbers with `.float()`, take the `.mean()`, and `float()` of
# that.
#
# </details>

# %%
print(
    "share right:",
    solved.first_check(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0])),
)

# %% [markdown]
# ### Your first figure
#
# Real patients now: measurements of tumours from 569 people. The simplest of all models keeps the table of those it was
# shown, and gives a patient the commonest diagnosis among the k nearest in it. How often is it right, about the patients
# in its table and about new ones?
#
# **Predict before you run.** Labs ask for a guess before a result. Type it, press Enter, run on: it is told beside the
# result, kept in your progress file, and summed up at the end. A guess that is off is what you remember.
#
# Code that only draws is folded away, in this lab and in all others: a click on the bar with the three dots opens it.

# %%
predict(
    "00.table",
    (
        "Asked about the patients in its own table, how many does the nearest alone "
        "(k = 1) get right?"
    ),
    unit="%",
    within=1,
)

# %%
table = data.load("breast_cancer")
middle, spread = table.train_x.mean(0), table.train_x.std(0)
known, new = (table.train_x - middle) / spread, (table.test_x - middle) / spread


def diagnose(records: torch.Tensor, k: int) -> torch.Tensor:
    """Return for each record the commonest label among its `k` nearest in the table."""
    nearest = torch.cdist(records, known).topk(k, largest=False).indices
    return table.train_y[nearest].mode(dim=1).values


ks = [1, 3, 5, 9, 15, 25, 45, 75]
on_known = [solved.first_check(diagnose(known, k), table.train_y) for k in ks]
on_new = [solved.first_check(diagnose(new, k), table.test_y) for k in ks]

# %%
n = len(new)
ends = [stats.clopper_pearson(round(share * n), n) for share in on_new]

# %% tags=["hide-input"]
fig, ax = plots.figure(6.4, 3.4)
ax.plot(ks, on_known, marker="o", label="patients in its table")
ax.plot(ks, on_new, marker="s", linestyle="--", label="new patients, 95% interval")
plots.band(ax, ks, [end.low for end in ends], [end.high for end in ends], color="C1")
ax.set(xlabel="neighbours asked, k", ylabel="share right", xscale="log")
ax.set_xticks(ks, labels=ks)
ax.minorticks_off()
ax.set_title(f"Nearest neighbours · {table.source}", fontsize=9)
ax.legend(loc="lower right")
alt = (
    "Share right against neighbours asked: 1 at a single neighbour for patients in the "
    "table, falling with k; for new patients nearly level, inside a wide interval."
)
plots.show(plots.describe(fig, alt))

# %%
revealed("00.table", on_known[0], times=100, source=table.source)
print(f"in the table {on_known[0]:.1%}, new patients {ends[0].percent()} at k = 1")
print(
    f"in the table {on_known[-1]:.1%}, new patients {ends[-1].percent()} at k = "
    f"{ks[-1]}"
)

# %% [markdown]
# Ask one neighbour, and a patient in the table finds themselves: all right, and nothing learned. So at k = 1 a wrong
# answer betrays that a patient is *not* in the table. That is the question of this course: what does a model give away
# about those it was shown, and what does it cost to prevent that? In lab 04 you measure such gaps as an attacker does;
# in lab 02 noise bounds them.

# %% [markdown]
# ## 4. Randomness that repeats
#
# Private training adds noise on purpose, so two runs differ. To compare runs, and to find mistakes, you must be able
# to draw *the same* noise again. A seeded generator of your own does that, and leaves the global one alone: whoever
# calls your function does not want their own random numbers to change.
#
# That is for study. Whoever knows the seed can subtract the noise, so a private release needs noise that nobody can draw
# again.
#
# ### Exercise 00.seeded_noise: noise that repeats
#
# Return Gaussian noise with mean 0 and standard deviation `scale`, from a generator seeded with `seed`.


# %%
def seeded_noise(shape: tuple[int, ...], scale: float, seed: int) -> torch.Tensor:
    """Return a float tensor of `shape`: the same for the same seed, and without
    touching the global generator."""
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator)
    ### END SOLUTION


# %%
check("00.seeded_noise", seeded_noise)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Seeding the generator that everyone shares would work once, and change what everyone else draws. Take one of your
# own.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.Generator().manual_seed(seed)` is a generator of your own; most random functions take `generator=`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `torch.randn(shape, generator=generator)` has standard deviation 1. Multiply it by `scale`.
#
# </details>

# %%
print("seed 0:", solved.seeded_noise((3,), 1.0, 0))
print("again: ", solved.seeded_noise((3,), 1.0, 0))
print("seed 1:", solved.seeded_noise((3,), 1.0, 1))

# %% [markdown]
# ## 5. One number per record
#
# Privacy is about *records*: whatever one person can change, we must be able to measure for each person alone. The
# first such number is a norm per record, and DP-SGD will clip by it in lab 02.
#
# ### Exercise 00.per_sample_norms: one norm a record
#
# A batch has shape (n, ...): n records of any shape. Return n Euclidean norms.


# %%
def per_sample_norms(batch: torch.Tensor) -> torch.Tensor:
    """Return a tensor of shape (n,): for each record of `batch` the root of the sum of
    its squares."""
    ### BEGIN SOLUTION
    return batch.flatten(start_dim=1).norm(dim=1)
    ### END SOLUTION


# %%
check("00.per_sample_norms", per_sample_norms)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One norm for the whole batch is too few: you need one per record, so one axis must stay.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make each record a row first: `batch.flatten(start_dim=1)` has shape (n, everything else).
#
# </details>
# <details><summary>Hint 3</summary>
#
# `.norm(dim=1)` takes the norm along the rows.
#
# </details>

# %% [markdown]
# Now a real table: measurements of breast tumours from 569 patients. **Predict before you run:** if each column is
# brought to mean 0 and standard deviation 1, do the patients' norms lie close together, or do a few stand out?

# %%
predict("00.largest", "How many times the median norm is the largest one?", factor=1.5)

# %%
cancer = data.load("breast_cancer")
centred = cancer.train_x - cancer.train_x.mean(0)
norms = solved.per_sample_norms(centred / centred.std(0))

# %% tags=["hide-input"]
fig, ax = plots.figure(6.4, 3.2)
ax.hist(norms.numpy(), bins=40)
ax.axvline(float(norms.median()), color="black", label=f"median {norms.median():.1f}")
ax.set(xlabel="norm of one patient's record (standard deviations)", ylabel="patients")
ax.set_title(f"How far each record lies from the mean · {cancer.source}", fontsize=9)
ax.legend()
alt = (
    "Histogram of record norms: most lie near the median, and a thin tail reaches "
    "several times as far."
)
plots.show(plots.describe(fig, alt))

# %%
revealed("00.largest", norms.max() / norms.median(), source=cancer.source)
print(
    f"largest norm {norms.max():.1f}, that is {norms.max() / norms.median():.1f} "
    "times the median"
)

# %% [markdown]
# A few patients stand far out. Those are the people whom a model remembers best, and whom an attacker finds first;
# clipping bounds what they can do. Keep the picture in mind for labs 02 and 04.
#
# ## 6. A mean is not enough
#
# Two training runs with different seeds rarely give the same accuracy. A claim such as "97.2%" from one run cannot be told from luck. So
# this course gives a mean over several seeds, with an interval.
#
# For n runs with mean m and sample standard deviation s, the interval is $m \pm t \, s / \sqrt{n}$, where t is the
# quantile of Student's distribution with n - 1 degrees of freedom.
#
# ### Exercise 00.interval: a mean with its interval
#
# Return the mean and both ends of the interval.


# %%
def interval(
    values: list[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (mean, low, high) of a two-sided Student t interval for the mean of
    `values`."""
    ### BEGIN SOLUTION
    from scipy.stats import t

    n, x = len(values), torch.tensor(values, dtype=torch.float64)
    mean, spread = float(x.mean()), float(x.std(correction=1))
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * spread / n**0.5
    return mean, mean - half, mean + half
    ### END SOLUTION


# %%
check("00.interval", interval)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# You need three numbers: the mean, how far single runs scatter (estimated from these few), and how far to reach for
# this confidence.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scipy.stats.t.ppf(p, n - 1)` says how far. Two sides share what is left over, so p = (1 + confidence) / 2.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The half width is t times the standard deviation over `n**0.5`. `torch.tensor(values).std()` already divides by
# n - 1; NumPy needs `ddof=1`.
#
# </details>

# %% [markdown]
# **Predict before you run:** training runs vary with a standard deviation of half a point of accuracy. How wide is the
# interval of 2 runs, on average? Of 5? How many runs until it is half a point wide, from end to end?

# %%
predict(
    "00.two_runs",
    "How wide is the 95% interval of 2 such runs, on average?",
    unit="points",
    factor=1.5,
)

# %%
counts = [2, 3, 4, 5, 7, 10, 15, 20, 30]
widths, covered = [], []
for n in counts:
    experiments = 97.0 + solved.seeded_noise((200, n), 0.5, seed=n)
    found = torch.tensor([solved.interval(runs.tolist()) for runs in experiments])
    widths.append(float((found[:, 2] - found[:, 1]).mean()))
    covered.append(int(((found[:, 1] <= 97.0) & (found[:, 2] >= 97.0)).sum()))

# %% tags=["hide-input"]
fig, ax = plots.figure(6.4, 3.4)
ax.plot(
    counts, widths, marker="o", label="95% interval, mean of 200 simulated experiments"
)
ax.axhline(0.5, color="black", linewidth=1, linestyle=":", label="half a point")
ax.set(
    xlabel="number of runs n",
    ylabel="width (points of accuracy)",
    yscale="log",
    title="Simulated runs",
)
ax.minorticks_off()
ax.set_yticks([0.2, 0.5, 1, 2, 5], labels=["0.2", "0.5", "1", "2", "5"])
ax.legend()
alt = (
    "Width of the interval against the number of runs: it falls steeply from 2 to 5 "
    "runs, then ever more slowly."
)
plots.show(plots.describe(fig, alt))

# %%
revealed("00.two_runs", widths[0], source="simulated runs")
for n, width, hits in zip(counts, widths, covered, strict=True):
    print(
        f"{n:>2} runs: {width:5.2f} points wide; holds the true mean in "
        f"{stats.clopper_pearson(hits, 200).percent(0)} of 200 experiments [95% "
        "interval]"
    )

# %% [markdown]
# Two runs say almost nothing; five say something; the gain after that is slow, like one over the root of n. And the
# interval keeps its word at every n: it pays for few runs with its width. The labs use five seeds where five are
# affordable, and say so where they are not.
#
# ## 7. Your progress
#
# Every check is remembered in one small file in your own folder. It is never sent anywhere, and you may delete it.
# `labkit progress` prints the same table.

# %%
from labkit.course import overview, predictions

overview()
predictions("00")

# %% [markdown]
# ## What you can now defend in an interview
#
# - *"Why five seeds?"* You have seen how wide the interval of two runs is, and how slowly it narrows.
# - *"Why the t quantile and not 1.96?"* With few runs the standard deviation is itself a guess; Student's quantile
#   pays for that.
# - *"Why a generator of its own?"* A result that cannot be drawn again cannot be checked; a function that moves the
#   global generator changes everyone else's results. In a release, the seed must stay secret or not exist.
# - *"Why per-sample norms?"* Privacy protects a record, so its influence must be measured and bounded record by record.
