from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labkit import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return tmp_path


def test_digest_tells_values_types_shapes_and_order_apart() -> None:
    parts = [1, 1.0, "1", True, None, [1, 2], [2, 1], [[1], 2], {"a": 1}, {"b": 1}]
    parts += [
        np.zeros(2),
        np.zeros((1, 2)),
        np.zeros(2, np.float32),
        torch.ones(2),
        test_a_digest_has_a_type_error,
    ]
    assert len({cache.digest(part) for part in parts}) == len(parts)
    assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})


def test_comments_and_docstrings_do_not_make_a_result_stale() -> None:
    plain, told, other = (
        "def f(x):\n    return x",
        'def f(x):\n    """Say."""\n    # why\n    return (x)',
        "def f(x):\n    return -x",
    )
    assert cache._meaning(plain) == cache._meaning(told) != cache._meaning(other)
    assert "pass" in cache._meaning('class C:\n    """Only words."""')


def test_a_digest_has_a_type_error() -> None:
    with pytest.raises(TypeError, match="cannot hash a object"):
        cache.digest(object())


def test_cached_computes_once_per_setting() -> None:
    calls = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.arange(3)

    for _ in range(2):
        assert cache.cached("kind", {"seed": 0}, compute).tolist() == [0, 1, 2]
    cache.cached("kind", {"seed": 1}, compute)
    cache.cached("kind", {"seed": 0}, compute, code=[compute])
    assert len(calls) == 3


def test_an_unreadable_result_is_made_again(folder: Path) -> None:
    cache.cached("kind", {}, lambda: 1)
    (path,) = folder.rglob("*.pt")
    path.write_bytes(path.read_bytes()[:20])
    assert cache.cached("kind", {}, lambda: 2) == 2


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(folder: Path) -> None:
    path = folder / "result.txt"
    path.write_text("old")

    def interrupted() -> None:
        with cache.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(folder.iterdir()) == [path]


def test_a_full_disk_says_so(folder: Path) -> None:
    with pytest.raises(OSError, match=r"disk full.*LABKIT_CACHE"), cache.atomic_path(folder / "x"):
        raise OSError(28, "No space left on device")


def test_an_unwritable_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="set LABKIT_CACHE"), cache.atomic_path(tmp_path / "file" / "x"):
        pass
