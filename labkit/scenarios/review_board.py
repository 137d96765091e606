"""Lab 13's scene: three submissions to a privacy review board, each made by real small runs on the same invented notes.

Atlas and Cygnus state the same ε, from the same settings; they differ in one line, which draws the batches. Borealis has no
differential privacy, and shows an accuracy. The notes are redacted before anybody trains (`labkit.governance.redaction`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labkit import models, profiles
from labkit.audit.planted import loop
from labkit.audit.task import Settings, Task, TrainingFunction, Transcript
from labkit.governance.claims import Claim, Shadows, Submitted
from labkit.governance.finders import Finder, patterns
from labkit.governance.notes import SOURCE, Note, make_notes
from labkit.governance.project import Project
from labkit.governance.redaction import redact
from labkit.scenarios import one_off
from labkit.scenarios.handed_over import mislabel
from labkit.training.recipe import Recipe, State

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp import PrivacyStatement
    from labkit.membership.attacks.registry import AttackResult
    from labkit.membership.shadows.bank import ShadowBank, Target

SEED = 13
WIDTH = 512  # buckets of words and pairs of words
CLASSES = ("routine", "urgent")
WRONG_LABELS = 0.05  # of the train labels: notes that a model can only learn by heart
EPSILON, DELTA, RATE, EPOCHS = 2.0, 1e-5, 0.1, 20
LEARNING_RATE = 4.0
WITHOUT_NOISE = Recipe(epochs=60, learning_rate=4.0, batch_size=50)
PROMISE = 0.02  # what Borealis concludes from its accuracy, and promises

LETTERS = {
    "Atlas": ("We train with differential privacy: {claim}. Code and log of batches are attached."),
    "Borealis": (
        "The notes are redacted, so no differential privacy is needed. The strongest attack of the literature (LiRA, "
        "{shadows} shadow models) is right {accuracy:.0%} of the time on a balanced set of members and non-members; a coin is "
        "right half of the time. So hardly anybody can be found: we promise at most {promise:.0%} of patients at 1% false accusations. Its "
        "scores are attached."
    ),
    "Cygnus": (
        "We train with differential privacy: {claim}. We attacked the model with LiRA, {shadows} shadow models trained as it "
        "was, and report members found at 1% false accusations. Code and log of batches are attached."
    ),
}
BY_HAND = {  # what Cygnus answers to the checklist
    "pitfalls.tuning": "settings were fixed beforehand; one run",
    "pitfalls.preprocessing": "words are hashed, nothing is learned from the notes before training",
    "pitfalls.prior_knowledge": "none was used",
    "pitfalls.randomness": "seed and noise are known in this course, which is a study; not in production",
    "statement.unit": "a note; each patient has one",
    "statement.composed": "first release from these notes",
    "attacks.knows_defence": "shadow models were trained by the same code, noise included",
    "attacks.worst_hit": "notes with wrong labels are reported apart",
    "custody.mark_leakage": "no mark",
    "custody.commitment": "no mark",
    "custody.keys": "the data protection officer holds the signing key, a deputy the second copy",
    "data.source": "made by code, for this course",
    "data.redaction": {
        "holds": False,
        "said": "patterns only: names and addresses are in no list of patterns, all of them are left",
    },
    "data.overlap": "each note is of another invented patient",
    "data.minimised": "bags of hashed words and pairs; word order and numbers are dropped",
    "data.erasure": "retraining takes a second; the model is replaced within a week",
    "release.interface": "weights, to the hospital's own wards",
    "release.drift": "share of urgent notes each week, against its binomial interval",
    "release.owner": "head of triage; ends with the approval",
    "release.incident": "the privacy officer's phone, rehearsed each spring",
}


@dataclass(frozen=True, eq=False)
class Submission:
    """What a team hands in.

    Attributes
    ----------
    name, letter : str
    project : Project
        For ``labkit.governance.review``.
    log : tuple of int arrays
        The records of each step, as numbers among the n that trained the model; empty without differential privacy.
    attacked : AttackResult
        LiRA on its model by an attacker who trained shadow models as the model was, with the truth.
    """

    name: str
    letter: str
    project: Project
    log: tuple[np.ndarray, ...]
    attacked: AttackResult


@dataclass(frozen=True, eq=False)
class Scene:
    """Notes, and what three teams made of them: see `scene`.

    Attributes
    ----------
    notes : tuple of Note
        Those that the data set's train records were made from, in its order.
    dataset : Dataset
        Redacted notes as vectors, (n, `WIDTH`); labels: urgent or not, some of them wrong.
    wrong : bool array of shape (n,)
        Whose label is wrong.
    bank : ShadowBank
        Models without differential privacy.
    """

    notes: tuple[Note, ...]
    dataset: Dataset
    wrong: np.ndarray
    bank: ShadowBank

    @cached_property
    def members(self) -> np.ndarray:
        """Who trained the submitted models, bool (n,): the same half for all three."""
        from labkit.membership.shadows.targets import fresh_halves

        return fresh_halves(self.bank, [SEED])[0]

    @cached_property
    def settings(self) -> Settings:
        """Settings of both private submissions; the noise is calibrated for Poisson batches."""
        from labkit import dp

        steps = round(EPOCHS / RATE)
        noise = dp.calibrate_noise(
            EPSILON, delta=DELTA, sample_rate=RATE, steps=steps, n=len(self.members) // 2
        )
        return Settings(noise, 1.0, RATE, steps, LEARNING_RATE)

    def statement(self) -> PrivacyStatement:
        """Return what both private submissions state."""
        from labkit import dp

        chosen = self.settings
        event = dp.SampledGaussian(chosen.noise_multiplier, chosen.steps, chosen.sample_rate)
        return dp.privacy_statement(event, delta=DELTA, n=len(self.members) // 2)

    def submission(self, name: str) -> Submission:
        """Return one of the three: "Atlas", "Borealis" or "Cygnus"."""
        return self._submissions[name]

    @cached_property
    def _submissions(self) -> dict[str, Submission]:
        return {
            "Atlas": self._private("Atlas", atlas_step, shuffled_epochs),
            "Borealis": self._without_privacy(),
            "Cygnus": self._private("Cygnus", cygnus_step, loop.poisson),
        }

    def _private(self, name: str, step: TrainingFunction, batches: loop.Batches) -> Submission:
        log: list[np.ndarray] = []
        half = _task(self.bank, self.members)
        run = loop.run(half, self.settings, SEED, batches=partial(logged, batches, log))
        statement, bank = self.statement(), self._trained_alike(name, step)
        target = bank.query(_as_model(run), self.members, name=name, privacy=statement)
        claim = Claim.of(statement, batches="poisson", unit="a note")
        return self._submitted(name, bank, target, tuple(log), claim=claim, train_step=step)

    def _trained_alike(self, name: str, step: TrainingFunction) -> ShadowBank:
        """Return shadow models trained by a submission's own code: the attacker knows the defence."""
        from labkit.membership.shadows.bank import ask
        from labkit.membership.shadows.completion import complete
        from labkit.membership.shadows.training import variant

        bank = variant(
            self.bank,
            name=f"{name}'s training",
            made=[self.settings],
            code=[step, _task, _as_model, ask],
            privacy=self.statement(),
        )

        def train(missing: list[int]) -> Iterator[tuple[int, State]]:
            for k in missing:  # a fraction of a second each: a worker takes longer to start
                run = step(_task(bank, bank.masks[k]), self.settings, 1_000_003 + k)
                yield k, _as_model(run).state_dict()

        complete(bank, train)
        return bank

    def _without_privacy(self) -> Submission:
        from labkit.membership.shadows.targets import train_targets

        (target,) = train_targets(self.bank, seeds=[SEED], name="Borealis")
        return self._submitted("Borealis", self.bank, target, (), promises={"tpr_at_1_percent_fpr": PROMISE})

    def _submitted(
        self, name: str, bank: ShadowBank, target: Target, log: tuple[np.ndarray, ...], **given: Any
    ) -> Submission:
        from labkit.membership import attack, report

        found = attack("lira-online", target, bank)
        said = report(found, permutations=40)
        figure = said.balanced_accuracy if name == "Borealis" else said.points[0.01].tpr
        evidence = Submitted(
            attack="LiRA, online",
            metric="accuracy" if name == "Borealis" else "tpr",
            value=max(0.0, figure.estimate),
            interval=None if name == "Borealis" else (figure.low, figure.high),
            false_positive_rate=None if name == "Borealis" else 0.01,
            shadow_models=len(bank),
            knows_defence=True,
        )
        project = Project(
            title=f"{name}: triage of notes",
            owner=f"team {name}",
            model=target.model,
            dataset=self.dataset,
            members=self.members,
            shadows=Shadows(bank=bank, target_members=self.members, knows_defence=True),
            evidence=[evidence],
            answers=BY_HAND if name == "Cygnus" else {},
            seed=SEED,
            **given,
        )
        words = {
            "claim": project.claim,
            "shadows": len(bank),
            "accuracy": figure.estimate,
            "promise": PROMISE,
        }
        return Submission(name, LETTERS[name].format(**words), project, log, found)


def shuffled_epochs(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield what a ``DataLoader(shuffle=True)`` yields: each epoch in a new order, cut into batches of one size."""
    waiting: list[torch.Tensor] = []
    for _ in range(settings.steps):
        waiting = waiting or list(
            torch.randperm(task.n, generator=generator).split(round(settings.sample_rate * task.n))
        )
        yield waiting.pop(0)


def logged(
    batches: loop.Batches, log: list[np.ndarray], task: Task, settings: Settings, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield the batches, and write them down."""
    for batch in batches(task, settings, generator):
        log.append(batch.numpy())
        yield batch


def atlas_step(task: Task, settings: Settings, seed: int) -> Transcript:
    """Train as Atlas does."""
    return loop.run(task, settings, seed, batches=shuffled_epochs)


def cygnus_step(task: Task, settings: Settings, seed: int) -> Transcript:
    """Train as Cygnus does."""
    return loop.run(task, settings, seed, batches=loop.poisson)


def _task(bank: ShadowBank, members: np.ndarray) -> Task:
    """Return the pool's members as DP-SGD on softmax regression sees them."""
    inside = torch.from_numpy(members)
    nobody = torch.zeros(0, (WIDTH + 1) * len(CLASSES))
    return Task(bank.x[inside], bank.y[inside], nobody, len(CLASSES))


def _as_model(run: Transcript) -> models.LogisticRegression:
    model = models.logistic_regression(WIDTH, len(CLASSES))
    weights = run.weights.view(-1, len(CLASSES))
    with torch.no_grad():
        model.linear.weight.copy_(weights[:-1].T)
        model.linear.bias.copy_(weights[-1])
    return model.eval()


def vectors(texts: Sequence[str]) -> torch.Tensor:
    """Return bags of hashed words and pairs of words, of length 1, (n, `WIDTH`); digits are dropped.

    Nothing is learned from the texts: no vocabulary leaks.
    """
    found = torch.zeros(len(texts), WIDTH)
    for row, text in enumerate(texts):
        words = re.findall(r"[^\W\d_]{2,}", text.lower())
        for feature in [*words, *map(" ".join, pairwise(words))]:
            found[row, zlib.crc32(feature.encode()) % WIDTH] = 1
    return found / found.norm(dim=1, keepdim=True).clamp(min=1)


def as_dataset(notes: Sequence[Note], train: int, finder: Finder | None) -> tuple[Dataset, np.ndarray]:
    """Return notes as a data set with some train labels made wrong, and which; ``finder`` redacts them first."""
    from labkit.data import Dataset

    x = vectors([note.text if finder is None else redact(note.text, finder) for note in notes])
    y = torch.tensor([int(note.urgent) for note in notes])
    done = "not redacted" if finder is None else f"redacted by {finder.name}"
    made = Dataset(
        "triage notes",
        f"{SOURCE}, seed {SEED}, {done}",
        False,
        x[:train],
        y[:train],
        x[train:],
        y[train:],
        CLASSES,
    )
    return mislabel(made, WRONG_LABELS, seed=SEED)


def shadow_models(dataset: Dataset) -> ShadowBank:
    """Return models without differential privacy on halves of all train notes; training what is missing takes seconds."""
    from labkit.membership.shadows.training import shadow_bank

    profile = profiles.current()
    return shadow_bank(
        dataset,
        make_model=partial(models.logistic_regression, WIDTH, len(CLASSES)),
        recipe=WITHOUT_NOISE,
        shadow_models=profile.pick(smoke=8, laptop=16, full=64),
        seed=SEED,
        name="lab 13 shadows",
    )


def scene() -> Scene:
    """Return the notes and the three submissions of the current profile; what was trained before is kept."""
    profile = profiles.current()
    train, test = profile.pick(smoke=2000, laptop=4000, full=20_000), 1000
    notes = make_notes(train + test, seed=SEED)
    dataset, wrong = as_dataset(notes, train, patterns())
    return Scene(tuple(notes[:train]), dataset, wrong, shadow_models(dataset))


def unredacted(what: Scene) -> AttackResult:
    """Return the attack of Borealis's kind on a model of the same notes as they were before redaction, same members."""
    from labkit.membership import attack
    from labkit.membership.shadows.targets import train_targets

    train, test = len(what.notes), len(what.dataset.test_y)
    dataset, _ = as_dataset(make_notes(train + test, seed=SEED), train, None)
    bank = shadow_models(replace(dataset, name="triage notes, not redacted"))
    (target,) = train_targets(bank, seeds=[SEED], name="not redacted")
    return attack("lira-online", target, bank)


def prepare() -> None:
    """Do lab 13's one-off work: models and shadow models of the three submissions, and those on notes not redacted."""
    with one_off.part("models and shadow models of three submissions"):
        made = scene()
        made.submission("Atlas")
    with one_off.part("the same on notes that are not redacted"):
        unredacted(made)
