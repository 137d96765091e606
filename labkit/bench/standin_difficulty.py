"""How hard the stand-ins are: the same models on the real set and on the stand-in, side by side.

``python -m labkit.bench.standin_difficulty`` prints the table of ``data/README.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from labkit import data, models, training
from labkit.stats import Interval


@dataclass(frozen=True)
class Run:
    """One model on one data set.

    Parameters
    ----------
    model, source : str
    train, test : Interval
        Accuracy on the records trained on and on the test records.
    """

    model: str
    source: str
    train: Interval
    test: Interval

    def row(self) -> str:
        """Return a line of a Markdown table."""
        return f"| {self.source} | {self.model} | {self.test.percent()} | {self.train.percent()} |"


def _recipes(name: str) -> dict[str, Callable[[data.Dataset], training.FitResult]]:
    """Return the models to run on ``name``, each a function from data to a trained model."""
    if name == "mnist":
        return {
            "logistic regression": lambda d: training.fit(
                models.logistic_regression(784), d, epochs=8, learning_rate=0.05
            ),
            "small CNN": lambda d: training.fit(
                models.small_cnn("relu", seed=0), d, epochs=5, learning_rate=0.05
            ),
            "small CNN, 5,000 records": lambda d: training.fit(
                models.small_cnn("relu", seed=0), d.take(5_000), epochs=25, learning_rate=0.05
            ),
        }
    # Subsets: two cores train on all records for an hour, and the comparison needs like with like, not the best score.
    return {
        "logistic regression": lambda d: training.fit(
            models.logistic_regression(3072), d, epochs=8, learning_rate=0.005, weight_decay=1e-3
        ),
        "small CNN, 15,000 records": lambda d: training.fit(
            models.cifar_cnn(16, seed=0), d.take(15_000), epochs=4, learning_rate=0.1
        ),
        "small CNN, 5,000 records": lambda d: training.fit(
            models.cifar_cnn(16, seed=0), d.take(5_000), epochs=20, learning_rate=0.1
        ),
    }


def measure(name: str, source: str, model: str) -> Run:
    """Train one model on the real set or the stand-in, and measure it.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
    source : {"real", "stand-in"}
    model : str
        One of the names in :func:`_recipes`.

    Raises
    ------
    DataError
        If ``source="real"`` and the real data is not here.
    """
    dataset = data.load(name, source=source)
    result = _recipes(name)[model](dataset)
    seen = dataset.take(5_000)  # the same records that the third recipe trains on
    train = training.evaluate(result.model, seen.train_x, seen.train_y).accuracy
    return Run(model, dataset.source, train, result.accuracy)


def main() -> None:
    """Print the table, one row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["mnist", "cifar10"])
    parser.add_argument("--source", choices=["real", "stand-in"], action="append")
    parser.add_argument("--model", action="append", help="default: all")
    wanted = parser.parse_args()
    print("| data | model | test accuracy | train accuracy |\n|---|---|---|---|")
    for name in wanted.names:
        for model in wanted.model or _recipes(name):
            for source in wanted.source or ("real", "stand-in"):
                print(measure(name, source, model).row(), flush=True)


if __name__ == "__main__":
    main()
