from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labkit import cache
from labkit.dp.training import checkpoint


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


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says when a file's bytes find no room."""

    def no_room(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)


def test_a_full_disk_costs_the_copy_and_not_the_result(full_disk: None, folder: Path) -> None:
    with pytest.warns(cache.CacheWarning, match=r"'kind' is not kept: .*disk full.*set LABKIT_CACHE"):
        assert cache.cached("kind", {}, lambda: torch.arange(3)).tolist() == [0, 1, 2]
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_leaves_the_earlier_checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "run.pt"
    state = {"weights": torch.arange(3.0), "step": 7}
    checkpoint.save(path, {"seed": 0}, state)
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match=r"disk full while writing .*: free some space, or choose a folder"):
        checkpoint.save(path, {"seed": 0}, {"step": 8})
    kept = checkpoint.load(path, {"seed": 0})
    assert kept["step"] == 7
    assert torch.equal(kept["weights"], state["weights"])


def test_a_result_that_cannot_be_kept_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    with pytest.warns(cache.CacheWarning, match="cannot write in .*: set LABKIT_CACHE to a folder"):
        assert cache.cached("kind", {}, lambda: 5) == 5


def test_an_error_of_the_work_itself_is_raised() -> None:
    def compute() -> None:
        raise OSError("the work's own")

    with pytest.raises(OSError, match="the work's own"):
        cache.cached("kind", {}, compute)


@pytest.mark.parametrize(("number", "reason"), cache.FULL.items(), ids=str)
def test_where_no_more_fits_the_reason_and_the_way_out_are_said(
    folder: Path, number: int, reason: str
) -> None:
    with (
        pytest.raises(OSError, match=rf"{reason} while writing .*LABKIT_CACHE") as raised,
        cache.atomic_path(folder / "x"),
    ):
        raise OSError(number, "as the system says it")
    assert raised.value.errno == number


def test_an_unwritable_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="set LABKIT_CACHE"), cache.atomic_path(tmp_path / "file" / "x"):
        pass


def test_only_what_is_in_the_cache_is_told_of_its_variable(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "file"
    file.write_text("in the way")
    with (
        pytest.raises(OSError, match="choose a folder that can be written") as caught,
        cache.atomic_path(file / "x.json"),
    ):
        pass
    assert "LABKIT_CACHE" not in str(caught.value)
