"""What every package hands out keeps the same promises: results show and save themselves, and one thing has one name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit.results import Result, ResultError

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


# Records and lists: their table is all there is to see. Whatever else is a result draws itself.
NOTHING_TO_DRAW = {
    "bench.audit.AuditBench": "two times and their ratio",
    "bench.prepare.Prepared": "a list of labs and minutes",
    "bridges.agreement.Agreement": "two libraries' figures and whether they agree",
    "evidence.Evidence": "a signed record",
    "federated.feature_map.FeatureMap": "names of columns and what became of them",
    "federated.marks.enrolment.Enrolment": "who enrolled which key",
    "federated.marks.hearing.Dispute": "a list of complaints and answers",
    "federated.marks.register.Register": "a public list of commitments",
    "federated.noise.Promises": "statements of epsilon, which are never bare numbers",
    "federated.secagg.session.SecureSum": "a sum and a protocol's bytes",
    "federated.threats.server.ServerStudy": "a list of who sees what",
    "governance.regulation.RegulationMap": "articles and the evidence for them",
    "watermark.court.answer_key.Score": "right and wrong verdicts by suspect",
    "watermark.court.commitments.Commitment": "a signed record",
    "watermark.court.simulation.SimulatedTrials": "counts by kind of suspect",
}


def everywhere() -> dict[str, type[Result]]:
    """Return every result class of the package by its address within it, whether a package hands it out or not."""
    for module in pkgutil.walk_packages(labkit.__path__, "labkit."):
        if ".scripts" not in module.name:  # those run in environments of their own
            importlib.import_module(module.name)

    def below(kind: type) -> Iterator[type]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    ours = [kind for kind in below(Result) if kind.__module__.startswith("labkit.")]
    return {f"{kind.__module__.removeprefix('labkit.')}.{kind.__name__}": kind for kind in ours}


def missing(kind: type[Result]) -> list[str]:
    """Return what a result class lacks: what the base gives to everybody counts for nothing where it only refuses."""
    frozen = dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    own = {"numbers": kind.numbers is not Result.numbers, "plot": kind.plot is not Result.plot}
    axes = inspect.signature(kind.plot).parameters.get("ax")
    found = [] if frozen else ["is no frozen dataclass"]
    found += [f"has no {name}() of its own" for name, there in own.items() if not there]
    found += [] if axes is not None and axes.default is None else ["plot() takes no ax=None"]
    return found + [
        f"has no {name}()" for name in ("table", "summary", "save", "load") if not hasattr(kind, name)
    ]


EVERYWHERE = everywhere()


def test_what_a_package_hands_out_is_among_them() -> None:
    assert {kind for _, kind in RESULTS} <= set(EVERYWHERE.values())
    assert len(EVERYWHERE) > 60


@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_a_result_has_numbers_a_table_a_plot_and_files(name: str) -> None:
    expected = ["has no plot() of its own"] if name in NOTHING_TO_DRAW else []
    assert missing(EVERYWHERE[name]) == expected


def test_what_draws_nothing_is_still_there_and_says_to_use_the_table() -> None:
    assert NOTHING_TO_DRAW.keys() <= EVERYWHERE.keys()
    for name in NOTHING_TO_DRAW:
        with pytest.raises(NotImplementedError, match=r"nothing to draw: use table\(\)"):
            object.__new__(EVERYWHERE[name]).plot()


def test_a_class_that_only_inherits_fails() -> None:
    @dataclasses.dataclass
    class Lazy(Result):
        value: int

        def plot(self):
            return None

    assert missing(Lazy) == [
        "is no frozen dataclass",
        "has no numbers() of its own",
        "plot() takes no ax=None",
    ]


@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_a_result_of_any_class_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    """An object without fields: what travels is the class, found again by its address. Own formats have tests of their own."""
    kind = EVERYWHERE[name]
    if kind.save is not Result.save:
        assert kind.__qualname__ in {
            "Commitment",
            "Decision",
            "Evidence",
            "MarkedModel",
            "PrivateResult",
            "TriggerSet",
        }
        return
    path = object.__new__(kind).save(tmp_path / "result.pt")
    assert type(kind.load(path)) is kind
    other = next(
        each
        for each in EVERYWHERE.values()
        if each is not kind and each.load.__func__ is Result.load.__func__
    )
    with pytest.raises(ResultError, match=f"holds a {kind.__name__}; expected a {other.__name__}"):
        other.load(path)


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
