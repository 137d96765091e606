"""Watch which of labkit's functions run, to hold what a cache key covers against what made the result."""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from labkit import cache, reach
from labkit.training import shelf


def ran(work: Callable[[], Any]) -> set[str]:
    """Return the names of all functions of labkit, but those that only show or keep results, that ran in ``work``."""
    seen: set[str] = set()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("labkit."):
            code = frame.f_code
            if code.co_filename != "<string>":  # written by @dataclass
                seen.add(f"{frame.f_globals['__name__']}.{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    named = {
        re.sub(r"\.<locals>.*|\.<(lambda|listcomp|genexpr|dictcomp|setcomp)>.*", "", name) for name in seen
    }
    # What a function of `labkit.models` makes is in a key by structure, weights and classes: see `shelf.model_identity`.
    makers = re.compile(r"labkit\.models\.[a-z_]+$")
    quiet = (
        name for name in named if name.startswith(reach.SILENT) or name.endswith(">") or makers.match(name)
    )
    return named - set(quiet)


def _outer(names: set[str]) -> set[str]:
    """Return the functions of a module or class that nested ones stand in."""
    return {re.sub(r"\.<(locals|lambda|listcomp|genexpr|dictcomp|setcomp)>.*", "", name) for name in names}


def uncovered(work: Callable[[], Any], *code: Any) -> set[str]:
    """Return the names of functions that ran in ``work`` and that a key with this ``code`` does not see."""
    return ran(work) - covered(*code)


def covered(*code: Any) -> set[str]:
    """Return the names of functions that a key with this ``code`` sees."""
    return _outer(reach.names(*code))


def _through(watch: weakref.ref[Watch], name: str) -> Callable[..., Any]:
    """Return a watch's method behind a weak reference: what an object holds is part of keys, and a watch fills up."""
    return lambda *given, **options: getattr(watch(), name)(*given, **options)


class Watch:
    """Hold every computation that a test caches against its key: what runs must be covered by it.

    Used for all tests: see ``conftest.py``. What runs in other processes is not seen.
    """

    def __init__(self) -> None:
        self._digest, self._cached, self._train = cache.digest, cache.cached, shelf.train_missing
        self._seen: dict[str, set[str]] = {}
        self._keys: list[tuple[str, set[str]]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch until the test ends."""
        itself = weakref.ref(self)
        monkeypatch.setattr(cache, "digest", _through(itself, "digest"))
        monkeypatch.setattr(cache, "cached", _through(itself, "cached"))
        monkeypatch.setattr(cache, "_made", _through(itself, "made"))
        monkeypatch.setattr(shelf, "train_missing", _through(itself, "train_missing"))

    def digest(self, *parts: Any) -> str:
        """As `labkit.cache.digest`; remembers what code it covers."""
        made = self._digest(*parts)
        self._seen[made[:32]] = covered(*parts)
        return made

    def cached(self, kind: str, settings: dict, compute: Callable[[], Any], *, code: Any = ()) -> Any:
        """As `labkit.cache.cached`; remembers what code the key covers."""
        own = _outer({name for name, _ in reach.body(compute)})
        self._keys.append((f"the key of {kind!r}", covered(*code, settings) | own))
        try:
            return self._cached(kind, settings, compute, code=code)
        finally:
            self._keys.pop()

    def made(self, compute: Callable[[], Any]) -> Any:
        """As `labkit.cache._made`; fails if ``compute`` runs what its key does not cover."""
        what, known = self._keys[-1]
        return self._run(compute, known, what)

    def train_missing(self, paths: Any, make_model: Any, *args: Any, **options: Any) -> Any:
        """As `labkit.training.shelf.train_missing`, whose paths hold the digest of what a model depends on."""
        parts = {part[:32] for path in paths for part in re.findall(r"[0-9a-f]{32,}", str(path))}
        known = set().union(*(self._seen.get(part, set()) for part in parts))
        if not known:  # a test's own path: nobody promised anything
            return self._train(paths, make_model, *args, **options)
        # Of the function that makes a model, its key holds all that it makes.
        known |= covered(make_model, self._train)
        work = lambda: self._train(paths, make_model, *args, **options)  # noqa: E731
        return self._run(work, known, f"the names of {paths[0]}")

    def _run(self, work: Callable[[], Any], known: set[str], what: str) -> Any:
        kept: list[Any] = []
        gaps = ran(lambda: kept.append(work())) - known - {f"{__name__}.Watch"}
        assert not gaps, f"a change in {sorted(gaps)} would leave old results: {what} does not cover it"
        return kept[0]
