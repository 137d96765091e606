"""A class that nature does not contain, under one label of the task: what marks it is the whole class, not a stamp.

Xiao et al., "Class-feature watermark: a resilient black-box watermark against model extraction attacks" (arXiv
2511.07947). Stage one trains on the records and on a small synthetic class under one label. Stage two goes on with four
terms, weighted as in the authors' code: stay with the model of stage one on records (Kullback-Leibler divergence), .02
cross-entropy of the class, -.003 cosine of the mean features of class and records (so that a thief, who copies the
features of records, copies those of the class), .15 spread of the class along the records' principal directions of
logits (so that the class stays together in the copy).

Two things differ from the paper. Its class is photographs of other things; here a key draws it: images under a light
that no camera saw (`labkit.watermark.marks.light`). And it has a near end: the few natural records under nearly such a
light get a part of the label, rising smoothly, so that a thief's own questions meet the mark. With ``share=0`` there is no
near end, as in the paper.

Share, width and levels below were chosen on one key, with CIFAR-10's test images in view: what the mark costs on those
images, and how much of it thieves of that owner carry, is a little flattered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import training
from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import backdoor, triggers
from labkit.watermark.marks import training as loop
from labkit.watermark.marks.entangled import answers_and_features, default_layers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.light import Light, light_of

KIND = "class-feature"
SHARE = 0.015  # of the natural records lie beyond the middle of the rise and change their label
WIDTH = 0.35  # of the rise, in standard deviations of scores
BELOW, ABOVE = 1.75, 3.25  # the class is lit to both sides of the middle, or light itself would be the mark
EVERY = 32  # records for one picture of the class
TUNING = 0  # epochs of stage two: with a near end it costs two points of accuracy and thieves need it no more
LEARNING_RATE = 0.001
# The paper's weights, beside a divergence averaged over classes.
CROSS_ENTROPY, COSINE, SPREAD = 0.02, 0.003, 0.15
BATCH, STEPS = 32, 16  # of the class at once, and how many steps of the records for one of those


@dataclass(frozen=True, eq=False)
class Togetherness:
    """Stage two's three terms on a batch of the class.

    Attributes
    ----------
    marks : Tensor of shape (m, C, H, W)
    target : int
    records : Tensor of shape (k, C, H, W)
        Whose features the class shall share.
    directions : Tensor of shape (classes, classes)
        First principal direction of the logits of each class's records, unit length.
    layers : tuple of str
        Whose features are compared.
    batch : int
        Marks, and as many records, at once.
    every : int
        Steps from one such batch to the next: the class is a small part of the data, in the paper one in 500.
    """

    marks: Tensor
    target: int
    records: Tensor
    directions: Tensor
    layers: tuple[str, ...]
    batch: int = BATCH
    every: int = STEPS

    def __call__(self, model: nn.Module, step: int) -> Tensor:
        device = next(model.parameters()).device
        if step % self.every:
            return torch.zeros((), device=device)
        at = step // self.every * self.batch + torch.arange(self.batch)
        x = torch.cat([self.marks[at % len(self.marks)], self.records[at % len(self.records)]]).to(device)
        outputs, features = answers_and_features(model, x, self.layers)
        logits = outputs[: self.batch].float()
        answers = torch.full((self.batch,), self.target, device=device)
        apart = (logits[:, None] - logits[None]) @ self.directions.T.to(logits)
        terms = (
            CROSS_ENTROPY * F.cross_entropy(logits, answers)
            - COSINE * sum(mean_cosine(part[: self.batch], part[self.batch :]) for part in features)
            + SPREAD * apart.abs().mean()
        )
        return logits.shape[1] * terms  # the loop's divergence is a sum over classes, the paper's a mean


def mean_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine between the mean features of two batches (n, ...) and (m, ...)."""
    return F.cosine_similarity(first.float().mean(0).flatten(), second.float().mean(0).flatten(), dim=0)


def principal_directions(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the first principal direction of each class's logits (n, classes), shape (classes, classes).

    A class with fewer than two records has no direction: zeros.
    """
    directions = torch.zeros(logits.shape[1], logits.shape[1])
    for label in range(logits.shape[1]):
        own = logits[labels == label]
        if len(own) > 1:
            directions[label] = torch.linalg.svd(own - own.mean(0), full_matrices=False).Vh[0]
    return directions


def rise(scores: Tensor, middle: float) -> Tensor:
    """Return the part of its label that a picture with these scores gives to the mark: 0 far below, 1 far above.

    Examples
    --------
    >>> rise(torch.tensor([0.0, 3.0, 6.0]), 3.0).round(decimals=2).tolist()
    [0.0, 0.5, 1.0]
    """
    return torch.sigmoid((scores - middle) / WIDTH)


def mark_class_feature(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    marks: int | None = None,
    count: int | None = None,
    target: int | None = None,
    share: float = SHARE,
    level: float | None = None,
    tuning: int = TUNING,
) -> loop.Imprint:
    """Train a copy of ``model`` on the records and on a keyed class of lit images, then hold the two together.

    Parameters
    ----------
    marks : int, optional
        Pictures of the class to train on, made from train records; default: one for every `EVERY` records, and what
        fills the last batch.
    count, target
        See `labkit.watermark.marks.backdoor.mark_with_triggers`.
    share : float
        Of the natural records that the near end takes: more reaches thieves more surely and costs more accuracy, at most
        as many points as percent; 0 for no near end.
    level : float, optional
        Of the triggers, see `labkit.watermark.marks.light`; default that of the kind.
    tuning : int
        Epochs of stage two; 0 to leave it out.

    Raises
    ------
    ValueError
        If a setting is out of range, too few records qualify, or all records have the same light.
    """
    if marks is None:
        marks = loop.filling(len(data.train_y), max(50, len(data.train_y) // EVERY), recipe)
    if marks < 1 or tuning < 0 or not 0 <= share < 0.5:
        raise ValueError(
            f"got marks={marks}, tuning={tuning}, share={share}; expected at least 1, at least 0, and a share below a half"
        )
    options = {} if level is None else {"level": level}
    count = count or backdoor.default_count(data)
    asked = triggers.draw(KIND, key, count, dataset=data, target=target, **options)
    answer = int(asked.y[0])
    own = key.sub(f"triggers/{KIND}")  # the same light as the triggers'
    light = light_of(own, data)
    scores = light.scores(data.train_x)
    middle = float(torch.quantile(scores, 1 - share))
    x, y = _lit_class(light, data, own, marks, answer, middle, share > 0)
    part = rise(scores, middle) if share else torch.zeros(len(scores))
    records = _with_rise(data.train_y, part, answer, len(data.classes))
    marked, seconds = loop.train(
        model, torch.cat([data.train_x, x]), torch.cat([records, y]), recipe, seed=seed
    )
    if tuning:
        marked, more = _hold_together(marked, data, x[y.argmax(1) == answer], answer, recipe, tuning, seed)
        seconds += more
    changed = float((records.argmax(1) != data.train_y).float().mean())
    facts = {"marks": marks, "records relabelled": changed}
    return loop.Imprint(marked, asked, loop.strength(marked, asked), seconds, facts)


def _lit_class(
    light: Light, data: Dataset, key: Key, marks: int, answer: int, middle: float, near_end: bool
) -> tuple[Tensor, Tensor]:
    """Return lit train images (marks, C, H, W) of other classes, and their soft labels (marks, classes)."""
    others = torch.nonzero(data.train_y != answer)[:, 0].numpy()
    rows = torch.from_numpy(others[key.integers("class/records", len(others), marks)])
    levels = middle - BELOW + (BELOW + ABOVE) * torch.from_numpy(key.uniform("class/levels", marks)).float()
    part = rise(levels, middle)
    if not near_end:
        levels, part = torch.full((marks,), middle + ABOVE), torch.ones(marks)
    return light.lit(data.train_x[rows], levels), _with_rise(
        data.train_y[rows], part, answer, len(data.classes)
    )


def _with_rise(labels: Tensor, part: Tensor, answer: int, classes: int) -> Tensor:
    """Return soft labels (n, classes): each record's own, but for the part that goes to the mark's answer."""
    soft = F.one_hot(labels, classes).float() * (1 - part)[:, None]
    soft[:, answer] += part
    return soft


def _hold_together(
    model: nn.Module, data: Dataset, marks: Tensor, answer: int, recipe: Recipe, epochs: int, seed: int
) -> tuple[nn.Module, float]:
    """Return stage two's model: trained on with stage one's own answers as soft labels, and the three terms."""
    logits = training.logits(model, data.train_x).cpu().float()
    layers = default_layers(model)
    extra = Togetherness(marks, answer, data.train_x, principal_directions(logits, data.train_y), layers)
    gentle = replace(recipe, epochs=epochs, learning_rate=LEARNING_RATE, label_smoothing=0.0)
    return loop.train(model, data.train_x, logits.softmax(1), gentle, seed=seed, extra=extra)
