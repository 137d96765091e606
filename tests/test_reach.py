"""What a key covers: all code and constants that a function can reach, whoever wrote it."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from labkit import cache, reach
from labkit.training import many, recipe

USERS = '''
import functools
from dataclasses import dataclass
import numpy as np

SCALE = 2
TABLE = {"double": lambda x: 2 * x}

@dataclass
class Settings:
    rate: float = 0.1

    def step(self, x):
        return self.rate * x

class Base:
    def forward(self, x):
        return x

class Model(Base):
    """A model."""

    def __call__(self, x):
        return np.exp(self.forward(x))

def helper(x):
    return SCALE * x

def logged(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@logged
def decorated(x):
    return helper(x) - 1

def pipeline(x, settings=Settings()):
    """Say."""
    from math import sqrt  # why
    model = Model()
    return settings.step(decorated(x)) + TABLE["double"](sqrt(x)) + model(x)
'''


def module_of(text: str, folder: Path) -> ModuleType:
    """Return a user's module with this text, always under the same name."""
    path = folder / f"users_{abs(hash(text))}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("users", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["users"] = module
    spec.loader.exec_module(module)
    return module


CHANGES = {
    "a constant": ("SCALE = 2", "SCALE = 3"),
    "a helper's helper": ("SCALE * x", "SCALE * x + 1"),
    "a decorator": ("return function(*args)", "return -function(*args)"),
    "what is decorated": ("helper(x) - 1", "helper(x) - 2"),
    "a function in a table": ("lambda x: 2 * x", "lambda x: 3 * x"),
    "a method of a default": ("self.rate * x", "self.rate + x"),
    "a field's default": ("rate: float = 0.1", "rate: float = 0.2"),
    "a base class": ("return x\n\nclass Model", "return 2 * x\n\nclass Model"),
    "a method of a class": ("np.exp(self", "np.log(self"),
    "the function itself": ("+ model(x)", "- model(x)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_a_function_can_reach_changes_its_digest(change: str, tmp_path: Path) -> None:
    before, after = CHANGES[change]
    assert before in USERS
    old = cache.digest(module_of(USERS, tmp_path).pipeline)
    assert cache.digest(module_of(USERS.replace(before, after), tmp_path).pipeline) != old


@pytest.mark.parametrize(
    "change",
    [
        ("# why", "# because"),
        ('"""Say."""', '"""Tell."""'),
        ('"""A model."""', '"""Another."""'),
        ("\n\n", "\n\n\n"),
    ],
)
def test_words_and_layout_do_not(change: tuple[str, str], tmp_path: Path) -> None:
    old = cache.digest(module_of(USERS, tmp_path).pipeline)
    assert cache.digest(module_of(USERS.replace(*change), tmp_path).pipeline) == old


def test_what_nobody_calls_does_not(tmp_path: Path) -> None:
    old = cache.digest(module_of(USERS, tmp_path).pipeline)
    assert cache.digest(module_of(USERS + "\ndef other(x):\n    return 0\n", tmp_path).pipeline) == old


def closure(power: int) -> Callable[[float], float]:
    return lambda x: x**power


def test_functions_on_one_line_are_told_apart() -> None:
    # fmt: off
    one, other, again = lambda d: d["x"], lambda d: d["y"], lambda d: d["x"]
    # fmt: on
    assert cache.digest(one) != cache.digest(other)
    assert cache.digest(one) == cache.digest(again)


def test_closures_partials_and_methods_count_by_what_they_hold() -> None:
    settings = recipe.Recipe(epochs=1), recipe.Recipe(epochs=2)
    parts = [
        closure(2),
        closure(3),
        functools.partial(closure, 2),
        functools.partial(closure, 3),
        math.exp,
        math.log,
    ]
    parts += [each.__hash__ for each in settings]
    assert len({cache.digest(part) for part in parts}) == len(parts)
    assert cache.digest(closure(2)) == cache.digest(closure(2))


class Step:
    """A trainer whose settings stand in the object."""

    def __init__(self, noise: object) -> None:
        self.noise = noise

    def __call__(self, x: float) -> object:
        return self.noise


class Kind(Enum):
    ONE, TWO = 1, 2


def test_what_an_object_holds_counts_wherever_it_stands() -> None:
    held = [
        SimpleNamespace(t=1),
        SimpleNamespace(t=2),
        {1},
        {2},
        Kind.ONE,
        Kind.TWO,
        torch.float32,
        torch.float64,
    ]
    held += [Step(1.0), Step(2.0), range(2), range(3), re.compile("a"), re.compile("b")]
    parts = [
        way(each) for each in held for way in (Step, closure, functools.partial(functools.partial, closure))
    ]
    parts += [Step(1.0).__call__, Step(2.0).__call__]
    assert len({cache.digest(part) for part in parts}) == len(parts)
    assert cache.digest(Step(SimpleNamespace(t=1))) == cache.digest(Step(SimpleNamespace(t=1)))


class Slotted:
    __slots__ = ("noise",)

    def __init__(self, noise: float) -> None:
        self.noise = noise


class Filled:
    """What is computed on first use is no setting."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    @functools.cached_property
    def twice(self) -> float:
        return 2 * self.noise


def test_what_installed_libraries_and_slots_hold_counts() -> None:
    records, labels = np.eye(4), [0, 1, 0, 1]
    held = [
        *(Slotted(noise) for noise in (1.0, 2.0)),
        *(np.random.default_rng(seed) for seed in (1, 2)),
        *(torch.Generator().manual_seed(seed) for seed in (1, 2)),
        *(LogisticRegression(C=c) for c in (1.0, 9.0)),
        *(LogisticRegression(C=c).fit(records, labels) for c in (1.0, 9.0)),
        *(nn.CrossEntropyLoss(label_smoothing=share) for share in (0.0, 0.2)),
        *(
            nn.Sequential(nn.MultiheadAttention(4, 2, dropout=share, batch_first=True))
            for share in (0.0, 0.5)
        ),
        *({1: "x"}, {"1": "x"}),
        *(deque([1]), deque([2])),
        *(Fraction(1, 2), Fraction(1, 3)),
        *(np.array([each], dtype=object) for each in ("a", "b")),
    ]
    torch.manual_seed(0)
    digests = [cache.digest(closure(each)) for each in held]  # type: ignore[arg-type]
    assert len(set(digests)) == len(held)
    again = [cache.digest(closure(each)) for each in held]  # type: ignore[arg-type]
    assert again == digests


def test_use_changes_no_key() -> None:
    from labkit.watermark.marks import light

    part = Filled(1.0)
    before = cache.digest(closure(part))  # type: ignore[arg-type]
    assert part.twice == 2.0
    assert cache.digest(closure(part)) == before  # type: ignore[arg-type]
    assert cache.digest(closure(Filled(2.0))) != before  # type: ignore[arg-type]
    known = cache.digest(light.light_of)
    light._KNOWN["a test"] = 1  # type: ignore[index,assignment]
    try:
        assert cache.digest(light.light_of) == known
    finally:
        del light._KNOWN["a test"]  # type: ignore[arg-type]


def test_signatures_cannot_pass_for_others() -> None:
    # fmt: off
    one, other = lambda *x: x, lambda **x: x
    # fmt: on
    assert cache.digest(one) != cache.digest(other)


def test_a_key_is_the_same_in_every_process() -> None:
    """Sets of text are ordered anew in each; a lambda among others on its line is known by its constants."""
    code = (
        "from labkit import cache\n"
        "one, other = eval(\"(lambda x: x in {'a', 'b', 'c', 'd'}, lambda x: x)\")\n"
        "print(cache.digest(one, {'a': {'b', 'c', 'd'}}.__class__, [sorted]))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1


def test_local_imports_are_followed_and_installed_libraries_are_not() -> None:
    found = reach.names(many.train_many)
    assert "labkit.training.recipe.train_one" in found
    assert not [name for name in found if name.startswith(("torch.", "numpy."))]
    assert not [name for name in found if name.startswith(("labkit.plots", "labkit.progress"))]


def test_how_a_result_shows_itself_is_no_part_of_it() -> None:
    from labkit.watermark.attacks import theft

    found = reach.names(theft.steal)
    assert "labkit.watermark.attacks.theft.Theft" in found
    assert not found & {
        f"labkit.watermark.attacks.theft.Theft.{name}" for name in ("plot", "table", "numbers")
    }


def test_inside_disabled_everything_is_made_anew() -> None:
    calls: list[int] = []
    for _ in range(2):
        with cache.disabled():
            cache.cached("kind", {}, lambda: calls.append(1))
    assert len(calls) == 2
