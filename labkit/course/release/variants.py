"""``labkit classroom variant``: an exam whose numbers come from a seed, and its key, computed by the course's own answers.

Each question states a situation with numbers drawn at random, asks for one number and for one sentence of reasons. The
key is not stored: each answer is computed by labkit's answer to the exercise that teaches it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.course.exercises.exercise import find
from labkit.course.notebooks import written

PAPER = """# Exam {label}

Name: ______________________    Date: ______________

A computer and your own notebooks are allowed. For each question: the number ({most} of its points), to 1% of its value
where it is no whole number, and the reason in one sentence (the rest). {total} points in all, about {minutes} minutes.

"""
KEY = """# Exam {label}: key

For the instructor. Made with `labkit classroom variant DIR --seed {seed}`, which makes it again: keep the seed to yourself.
The numbers are labkit's own, computed when this page was written; accept what lies within 1%.

"""


@dataclass(frozen=True)
class Question:
    """One question of an exam.

    Attributes
    ----------
    exercise : str
        Where it is taught.
    text : str
        Situation and question.
    answer : float
    reason : str
        What a good sentence says.
    slip : str
        The likely wrong number, and what it shows.
    points : int
        One of them for the reason.
    """

    exercise: str
    text: str
    answer: float
    reason: str
    slip: str
    points: int = 3


def _solve(id: str, *args: object) -> float:
    """Return what labkit's own answer to an exercise gives."""
    return float(find(id).answer(*args))


def replaced_record(rng: np.random.Generator) -> Question:
    low, high = int(rng.integers(-20, 0)), int(rng.integers(40, 90))
    answer = _solve("01.sum_sensitivity", low, high, "replace-one")
    return Question(
        "01.sum_sensitivity",
        f"Measurements are clipped to [{low}, {high}] and summed. How far can the sum move when one patient's record is "
        "replaced by another's?",
        answer,
        "Replacing takes one value out and puts another in: the most is the width of the interval.",
        f"{max(abs(low), abs(high))}: the sensitivity under add/remove.",
    )


def family(rng: np.random.Generator) -> Question:
    epsilon, size = float(rng.integers(2, 9)) / 10, int(rng.integers(3, 7))
    answer = find("01.group_privacy").answer(epsilon, size)[0]
    return Question(
        "01.group_privacy",
        f"A release is {epsilon}-DP for one person. What ε does it promise to a family of {size} together?",
        answer,
        "Each of them may change the odds by e^ε, so the epsilons add up.",
        f"{epsilon}: a promise for one person is read as one for a household.",
    )


def halls(rng: np.random.Generator) -> Question:
    shared, one, other = (float(value) / 10 for value in rng.choice(np.arange(1, 10), 3, replace=False))
    plan = [(shared, "everyone"), (one, "hall A"), (other, "hall B"), (1.0, "an earlier output")]
    return Question(
        "01.plan_epsilon",
        f"One release on all patients costs ε = {shared}; one on the patients of hall A {one}, one on those of hall B "
        f"{other}; a fourth, for which ε = 1 was planned, reads only the first output. Nobody lies in two halls. What is "
        "the total ε?",
        _solve("01.plan_epsilon", plan),
        "Disjoint halls count once, at the larger; post-processing is free.",
        f"{shared + one + other + 1:g}: everything is added, as if each release read everyone.",
    )


def ceiling(rng: np.random.Generator) -> Question:
    epsilon, fpr = float(rng.integers(4, 16)) / 10, float(rng.choice([0.01, 0.02, 0.05]))
    return Question(
        "01.roc_ceiling",
        f"A pure ε = {epsilon} release. An attacker raises a false alarm in {fpr:.0%} of cases. What is the most that "
        "they can catch, as a share of members?",
        float(find("01.roc_ceiling").answer(np.array([fpr]), epsilon)[0]),
        "The true positive rate is at most e^ε times the false positive rate (while that is below the other line).",
        f"{min(1.0, fpr * (1 + epsilon)):.4g}: 1 + ε in place of e^ε.",
    )


def sampled(rng: np.random.Generator) -> Question:
    batch, full = int(rng.choice([48, 96, 112, 192, 224])), int(rng.integers(4, 16))
    n = full * batch + int(rng.integers(batch // 4, batch // 2))  # far enough from whole that the slip shows
    return Question(
        "02.sample_rate",
        f"Opacus makes a loader of {n:,} records with batch_size={batch} private. At which rate does it sample, to four "
        "significant digits?",
        _solve("02.sample_rate", n, batch),
        "Opacus uses one over the number of batches, which rounds up.",
        f"{batch / n:.4g}: the batch size over n is not what is sampled.",
    )


def rate_moves(rng: np.random.Generator) -> Question:
    rate, norm, new = (
        float(rng.choice(values)) for values in ([0.5, 1.0, 2.0], [1.0, 1.5, 2.0], [0.1, 0.25, 4.0])
    )
    return Question(
        "02.coupled_rate",
        f"DP-SGD runs well with learning rate {rate:g} and clipping norm {norm:g}, and almost every gradient is clipped. The "
        f"norm becomes {new:g}. Which learning rate compares like with like?",
        _solve("02.coupled_rate", rate, norm, new),
        "A clipped record moves the model by rate times norm, so their product stays.",
        f"{rate:g}: then the curve over norms shows the learning rate, not clipping.",
    )


def same_test_records(rng: np.random.Generator) -> Question:
    one, two = int(rng.integers(20, 40)), int(rng.integers(45, 75))
    first = np.array([True] * one + [False] * two + [True] * 500)
    second = np.array([False] * one + [True] * two + [True] * 500)
    return Question(
        "03.paired",
        f"Two models answer the same test records. On {one} the first alone is right, on {two} the second alone. What is "
        "the exact two-sided p-value of McNemar's test?",
        _solve("03.paired", first, second),
        "Only records on which they differ count; without a difference each is a fair coin.",
        '"The intervals overlap, so there is none": marginal intervals on shared records.',
    )


def accused(rng: np.random.Generator) -> Question:
    tpr, fpr = float(rng.integers(5, 15)) / 100, float(rng.choice([0.005, 0.01]))
    prior = float(rng.choice([0.01, 0.02, 0.05]))
    return Question(
        "04.precision",
        f"An attack catches {tpr:.0%} of members at {fpr:.1%} false alarms. {prior:.0%} of those it looks at are members. "
        "Which share of the accused are members?",
        _solve("04.precision", tpr, fpr, prior),
        "Bayes: few members before, so many of the accused are false alarms.",
        f"{tpr / (tpr + fpr):.4g}: the precision at a prior of one half.",
    )


def guesses(rng: np.random.Generator) -> Question:
    made, epsilon = int(rng.integers(60, 140)), float(rng.integers(5, 15)) / 10
    correct = int(made * rng.uniform(0.78, 0.9))
    return Question(
        "06.p_value",
        f"An audit in one run makes {made} guesses; {correct} are right. The claim is ε = {epsilon} (δ = 0). How probable "
        "are so many right guesses, at most, if the claim is true?",
        _solve("06.p_value", correct, made, epsilon),
        "Each guess is right with probability e^ε/(1 + e^ε) at most: the tail of that binomial.",
        "The tail at one half: that is the claim ε = 0.",
    )


def mark(rng: np.random.Generator) -> Question:
    count, other = int(rng.choice([19, 39, 99])), int(rng.integers(0, 4))
    redrawn = np.array([2.0] * other + [0.0] * (count - other))
    return Question(
        "11.rank_p",
        f"A mark is read with its own key and with {count} keys drawn anew; {other} of those read at least as strong. What "
        "is the p-value by rank?",
        _solve("11.rank_p", 1.0, redrawn),
        "The own key counts among them: (1 + r) / (1 + k), never 0.",
        f"{other / count:.4g}: the own key is left out.",
    )


def collusion(rng: np.random.Generator) -> Question:
    noise, threshold = float(rng.choice([0.8, 1.0, 1.2])), int(rng.integers(5, 9))
    colluders = int(rng.integers(1, 4))
    return Question(
        "11.noise_share",
        f"A sum of clipped updates needs noise of {noise} clipping norms. It opens with at least {threshold} hospitals, up "
        f"to {colluders} of which may collude. Which standard deviation does each hospital add?",
        _solve("11.noise_share", noise, threshold, colluders),
        "What the colluders know they subtract: the others' variances must make up the whole.",
        f"{noise / np.sqrt(threshold):.4g}: noise for honest hospitals alone.",
    )


def belief(rng: np.random.Generator) -> Question:
    prior, epsilon = float(rng.choice([0.05, 0.1, 0.2, 0.3])), float(rng.choice([0.5, 1.0, 1.5, 2.0]))
    return Question(
        "14.posterior_bound",
        f"Somebody believes with {prior:.0%} that a patient is in the data. After a pure ε = {epsilon} release, what is the "
        "most that they may believe?",
        _solve("14.posterior_bound", prior, epsilon),
        "The odds grow by e^ε at most.",
        f"{min(1.0, prior * np.exp(epsilon)):.4g}: the probability is multiplied, not the odds.",
    )


QUESTIONS: tuple[Callable[[np.random.Generator], Question], ...] = (
    replaced_record, family, halls, ceiling, sampled, rate_moves, same_test_records, accused, guesses, mark, collusion, belief,
)  # fmt: skip


def draw(seed: int) -> list[Question]:
    """Return the questions of a variant; each draws from a generator of its own, so that one can be left out.

    Examples
    --------
    >>> [question.text for question in draw(7)] == [question.text for question in draw(7)]
    True
    """
    return [make(np.random.default_rng([seed, place])) for place, make in enumerate(QUESTIONS)]


def label(seed: int) -> str:
    """Return what a variant is called on paper: a name that does not give the seed, and with it the key, away.

    Examples
    --------
    >>> label(7) == label(7) != label(8)
    True
    """
    return hashlib.sha256(f"labkit exam {seed}".encode()).hexdigest()[:6]


def make_variant(folder: Path, seed: int | None = None, *, force: bool = False) -> list[Path]:
    """Write ``exam-LABEL.md`` and ``exam-LABEL-key.md``; return the paths of what changed.

    Parameters
    ----------
    seed : int, optional
        At least 0; drawn when left out. Who has it and labkit has the key, so it stands in the key alone.

    Raises
    ------
    SeedError
        If the seed is negative.
    labkit.course.notebooks.written.EditedError
        If one of them was edited since; nothing is written then.
    """
    seed = secrets.randbits(63) if seed is None else seed
    if seed < 0:
        raise SeedError(f"seed is {seed}; expected a whole number from 0 on")
    asked, name = draw(seed), label(seed)
    total = sum(question.points for question in asked)
    paper = PAPER.format(label=name, most=asked[0].points - 1, total=total, minutes=5 * len(asked))
    key = KEY.format(label=name, seed=seed)
    for number, question in enumerate(asked, start=1):
        paper += f"**{number}.** ({question.points} points) {question.text}\n\n"
        key += (
            f"**{number}.** {question.answer:.4g} (exercise {question.exercise}). {question.reason}\n\n"
            f"Likely slip: {question.slip}\n\n"
        )
    return written.write(folder, {f"exam-{name}.md": paper, f"exam-{name}-key.md": key}, force=force)


class SeedError(ValueError):
    """A seed from which no variant can be drawn."""
