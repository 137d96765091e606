from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import stats

from labkit.watermark import Key

KEY = Key.from_phrase("tests")


def test_streams_are_shake_256_as_documented() -> None:
    expected = hashlib.shake_256(b"labkit-keyed-generator/1|patch|" + bytes(32)).digest(16)
    assert Key(bytes(32)).stream("patch", 16) == expected


def test_draws_never_change() -> None:
    # A judge redraws triggers years later: these numbers are part of the generator's version.
    assert Key(bytes(32)).integers("target", 10, 6).tolist() == [6, 5, 9, 0, 1, 7]
    assert Key(bytes(32)).permutation("records", 6).tolist() == [3, 4, 0, 1, 2, 5]
    assert Key(bytes(32)).normal("noise", 2) == pytest.approx(
        [0.37774308369785725, -0.8410313976466245], abs=1e-12
    )


def test_keys_and_purposes_have_streams_of_their_own() -> None:
    streams = [
        KEY.stream("a", 32),
        KEY.stream("b", 32),
        KEY.sub("a").stream("a", 32),
        Key.new().stream("a", 32),
    ]
    assert len(set(streams)) == 4
    assert KEY.sub("a").seed != KEY.stream("a", 32)


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert (KEY.uniform("u", (9, 3))[:4] == KEY.uniform("u", (4, 3))).all()
    assert (KEY.normal("n", 9)[:4] == KEY.normal("n", 4)).all()


def test_draws_have_their_distributions() -> None:
    # Fixed key, so nothing is left to chance; p below 0.001 would speak against the generator.
    assert stats.kstest(KEY.uniform("u", 20_000), "uniform").pvalue > 1e-3
    assert stats.kstest(KEY.normal("n", 20_000), "norm").pvalue > 1e-3
    counts = np.bincount(KEY.integers("i", 7, 20_000), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert sorted(KEY.permutation("p", 100)) == list(range(100))


def test_the_seed_is_never_shown() -> None:
    key = Key.new()
    assert key.seed.hex() not in repr(key)
    assert key.fingerprint in repr(key)
    assert Key.from_hex(key.seed.hex()).fingerprint == key.fingerprint


def test_bad_seeds_are_refused() -> None:
    for seed in (b"short", "0" * 32):
        with pytest.raises(ValueError, match="expected 32 bytes"):
            Key(seed)
    with pytest.raises(ValueError, match="at least 1"):
        KEY.integers("i", 0, 1)
