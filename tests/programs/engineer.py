"""An engineer's program on foreign records: train privately, attack, mark, audit, and print what may be claimed.

It needs the package without any extra: no Jupyter, no notebook, no file of the course.
Run it as ``python engineer.py``; it takes about a minute on one core.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from sklearn.datasets import load_digits
from torch import nn

from labkit import audit, dp, membership, models, watermark
from labkit.data import Dataset
from labkit.training import Recipe

SEED = 0
JUPYTER = ("IPython", "ipykernel", "ipywidgets", "jupyter_client", "jupyterlab", "nbclient", "nbformat")


def my_records() -> Dataset:
    """Return scikit-learn's 8x8 digits as a data set of our own: 1,000 train and 797 test records."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(SEED))
    train, test = order[:1000], order[1000:]
    classes = tuple(map(str, range(10)))
    return Dataset(
        "my-digits", "scikit-learn digits, 8x8", True, x[train], y[train], x[test], y[test], classes
    )


def my_model() -> nn.Module:
    """Return a small network of our own."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 16, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def private(dataset: Dataset) -> dp.PrivateResult:
    """Train with differential privacy."""
    with models.seeded(SEED):
        fresh = my_model()
    return dp.train_private(
        fresh,
        dataset,
        target_epsilon=8.0,
        delta=1e-4,
        expected_batch_size=250,
        steps=120,
        learning_rate=0.5,
        max_grad_norm=1.0,
        engine="layers",
        seed=SEED,
    )


def main() -> None:
    """Run all four and print each result with its source, seed and interval."""
    torch.set_num_threads(1)
    mine, recipe = my_records(), Recipe(epochs=12, learning_rate=0.05, batch_size=64)
    bank = membership.shadow_bank(mine, make_model=my_model, recipe=recipe, shadow_models=4, seed=SEED)

    # Trained on half of the pool: an attack is scored on the other half, too.
    half = membership.balanced_masks(2, len(bank.y), seed=SEED + 1)[0]
    held = replace(mine, train_x=bank.x[half], train_y=bank.y[half])
    trained = private(held)
    print(f"trained: {trained}\n{trained.privacy}\n")

    ours = bank.query(trained.model, half, name="the private model", privacy=trained.privacy)
    for target, shadows in ((bank.target(0), bank.without(0)), (ours, bank)):
        found = membership.attack("rmia-offline", target, shadows)
        print(f"attacked: {target}\n{membership.report(found)}\n")

    key = watermark.Key.new()
    longer = replace(recipe, epochs=20)
    with models.seeded(SEED):
        fresh = my_model()
    marked = watermark.embed("noise", fresh, mine, key, recipe=longer, seed=SEED)
    innocent = watermark.null_models(mine, my_model, recipe, count=20, seed=SEED)
    verdict = watermark.verify(marked, marked.triggers, innocent, source=mine.source, seed=SEED)
    print(f"marked: {marked}\n{verdict}\n")

    checked = audit.audit_one_run(private, mine, canary_count=200, seed=SEED)
    print(f"audited: {checked}\n")

    loaded = sorted(set(JUPYTER) & set(sys.modules))
    print(f"Jupyter's modules that were loaded: {', '.join(loaded) or 'none'}")


if __name__ == "__main__":
    main()
