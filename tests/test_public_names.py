"""What every package hands out keeps the same promises: results show and save themselves, and one thing has one name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest

from labkit.results import Result

PACKAGES = ("data", "training", "dp", "membership", "audit", "watermark")
RESULT_NAMES = (
    "Result",
    "Report",
    "Verdict",
    "Evaluation",
    "Comparison",
    "Matrix",
    "Decision",
    "Tradeoff",
    "Measured",
)
# One thing, one name; those on the right are what the same thing was called elsewhere.
OTHER_NAMES = {
    "dataset": ("data", "data_set", "train_data"),
    "shadow_models": ("n_shadows", "num_shadows", "shadow_count"),
    "seeds": ("n_seeds", "num_seeds", "repeats", "repetitions"),
    "noise_multiplier": ("noise", "sigma_multiplier"),
    "max_grad_norm": ("clip", "clip_norm", "clipping_norm", "max_norm_of_gradient"),
}


def public() -> list[tuple[str, object]]:
    found = []
    for name in PACKAGES:
        package = importlib.import_module(f"labkit.{name}")
        found += [(f"{name}.{public}", getattr(package, public)) for public in package.__all__]
    return found


NAMES = public()
RESULTS = [(name, item) for name, item in NAMES if inspect.isclass(item) and issubclass(item, Result)]
FUNCTIONS = [
    (f"{name}.{method}" if method else name, function)
    for name, item in NAMES
    for method, function in (
        [("", item)]
        if inspect.isfunction(item)
        else [
            (key, value) for key, value in vars(item).items() if inspect.isfunction(value) and key[0] != "_"
        ]
        if inspect.isclass(item)
        else []
    )
]


@pytest.mark.parametrize(("name", "kind"), RESULTS, ids=[name for name, _ in RESULTS])
def test_a_result_has_numbers_a_table_a_plot_and_files(name: str, kind: type[Result]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.numbers is not Result.numbers, f"{name} has no numbers() of its own"
    axes = inspect.signature(kind.plot).parameters["ax"]
    assert axes.default is None
    for method in ("table", "summary", "save", "load"):
        assert callable(getattr(kind, method))


def test_what_is_called_a_result_is_one() -> None:
    strangers = [
        name
        for name, item in NAMES
        if inspect.isclass(item) and name.endswith(RESULT_NAMES) and not issubclass(item, Result | Exception)
    ]
    assert not strangers


def test_one_thing_has_one_name() -> None:
    wrong = [
        f"{name}({parameter}): {right}"
        for name, function in FUNCTIONS
        for parameter in inspect.signature(function).parameters
        for right, others in OTHER_NAMES.items()
        if parameter in others
    ]
    assert not wrong


def test_what_takes_a_data_set_calls_it_so_or_says_which_one() -> None:
    """``dataset``, or a role: the claimant's public records, the thief's test set, other records."""
    roles = {"dataset", "public", "test", "others", "records", "self", "cls"}
    wrong = [
        f"{name}({parameter.name})"
        for name, function in FUNCTIONS
        for parameter in inspect.signature(function).parameters.values()
        if str(parameter.annotation).split(" |")[0] == "Dataset" and parameter.name not in roles
    ]
    assert not wrong
