"""Interrupted and resumed is the same as never interrupted: bit for bit, accounting included."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from labkit import cache
from labkit.data import Dataset
from labkit.dp.training import checkpoint, train_private

ENGINES = ("opacus", "vmap", "layers", "linear")
SETTINGS = {
    "noise_multiplier": 1.0,
    "expected_batch_size": 20,  # 10 steps an epoch
    "steps": 35,
    "learning_rate": 0.5,
    "momentum": 0.9,
    "schedule": "linear",
    "physical_batch_size": 8,
    "device": "cpu",
    "seed": 0,
}


class PowerCut(Exception):  # noqa: N818
    """What the test throws into the middle of a run."""


class Tripping(nn.Module):
    """Softmax regression that does something to the process after a number of forward passes of training."""

    def __init__(self, after: int, action) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.passes, self.after, self.action = 0, after, action

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.passes == self.after:
            self.action()
        return self.linear(x)

    def __repr__(self) -> str:
        return "Tripping"


def clouds() -> Dataset:
    y = torch.arange(240) % 2
    x = torch.randn(240, 5, generator=torch.Generator().manual_seed(0)) + 2.0 * y[:, None] - 1
    return Dataset("clouds", "two clouds", False, x[:200], y[:200], x[200:], y[200:], ("left", "right"))


def train(engine: str, model: nn.Module, path: Path | None, **changes):
    return train_private.train_private(
        model, clouds(), engine=engine, checkpoint=path, **(SETTINGS | changes)
    )


def crash() -> None:
    raise PowerCut


def same(a, b) -> bool:
    states = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(p, q) for p, q in states)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crash_costs_an_epoch_at_most_and_changes_nothing(engine: str, tmp_path: Path) -> None:
    whole = train(engine, Tripping(-1, crash), None)
    path = tmp_path / "run.pt"
    with pytest.raises(PowerCut):
        train(
            engine, Tripping(75, crash), path
        )  # 75 parts of at most 8 records: beyond one epoch, short of all
    kept = torch.load(path, weights_only=True)["state"]["done"]
    assert kept % 10 == 0
    assert 0 < kept < 35
    resumed = train(engine, Tripping(-1, crash), path)
    assert same(whole, resumed)
    assert resumed.history == whole.history
    assert resumed.privacy.events == whole.privacy.events
    assert resumed.privacy.steps == 35


@pytest.mark.parametrize("engine", ENGINES)
def test_ctrl_c_finishes_the_step_saves_and_tells_how_to_go_on(engine: str, tmp_path: Path) -> None:
    whole = train(engine, Tripping(-1, crash), None)
    path, handler = tmp_path / "run.pt", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"saved to .*run\.pt: run the same call again"):
        train(engine, Tripping(40, lambda: signal.raise_signal(signal.SIGINT)), path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.load(path, weights_only=True)["state"]["done"] % 10 != 0  # saved where it stopped
    assert same(whole, train(engine, Tripping(-1, crash), path))


def test_opacus_account_survives_the_interruption(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(PowerCut):
        train("opacus", Tripping(75, crash), path)
    train("opacus", Tripping(-1, crash), path)
    assert torch.load(path, weights_only=True)["state"]["engine"]["accountant"] == [[1.0, 0.1, 35]]


def test_a_run_without_a_seed_goes_on_too(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(PowerCut):
        train("linear", Tripping(75, crash), path, seed=None)
    kept = torch.load(path, weights_only=True)["state"]["noise"]
    result = train("linear", Tripping(-1, crash), path, seed=None)
    assert result.history[-1]["step"] == 35
    assert not torch.equal(torch.load(path, weights_only=True)["state"]["noise"], kept)


def test_ctrl_c_without_a_checkpoint_says_what_to_do_next_time() -> None:
    with pytest.raises(KeyboardInterrupt, match="nothing was saved: pass checkpoint="):
        train("linear", Tripping(10, lambda: signal.raise_signal(signal.SIGINT)), None)


def test_a_finished_run_is_returned_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    first = train("linear", Tripping(-1, crash), path)
    again = train(
        "linear", Tripping(10, crash), path
    )  # would crash if it trained (it is tried on fewer batches)
    assert same(first, again)
    assert again.seconds == first.seconds


def test_dropout_resumes_too(tmp_path: Path) -> None:
    def model(after: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Dropout(0.2), Tripping(after, crash))

    whole = train("opacus", model(-1), None)
    with pytest.raises(PowerCut):
        train("opacus", model(75), tmp_path / "run.pt")
    assert same(whole, train("opacus", model(-1), tmp_path / "run.pt"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_multiplier": 2.0}, "noise_multiplier was 1.0, now 2.0"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"learning_rate": 0.1}, "learning_rate was 0.5, now 0.1"),
    ],
)
def test_other_settings_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    train("linear", Tripping(-1, crash), path)
    with pytest.raises(ValueError, match=message):
        train("linear", Tripping(-1, crash), path, **change)


def test_other_data_another_model_and_another_engine_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    train("linear", Tripping(-1, crash), path)
    with pytest.raises(ValueError, match="engine was 'linear', now 'vmap'"):
        train("vmap", Tripping(-1, crash), path)
    other = Tripping(-1, crash)
    nn.init.ones_(other.linear.bias)
    with pytest.raises(ValueError, match="initial model was"):
        train("linear", other, path)
    data = replace(clouds(), train_x=clouds().train_x + 1, digest="")
    with pytest.raises(ValueError, match="data was"):
        train_private.train_private(Tripping(-1, crash), data, engine="linear", checkpoint=path, **SETTINGS)


def test_a_strange_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match="not a checkpoint of a private run"):
        train("linear", Tripping(-1, crash), path)
    assert path.read_text() == "not a checkpoint"


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "run.pt"
    checkpoint.save(path, {"a": 1}, {"done": 1})

    def half_written(file: Path, _: object) -> None:
        with file.open("wb") as part:
            part.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"a": 1}, {"done": 2})
    assert checkpoint.load(path, {"a": 1}) == {"done": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["run.pt"]


def test_a_folder_that_cannot_be_written_costs_the_checkpoint_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    path = tmp_path / "taken" / "run.pt"
    with pytest.warns(
        cache.CacheWarning, match=r"taken.run\.pt is not kept: cannot write in .*choose a folder"
    ) as said:
        result = train("linear", Tripping(-1, crash), path)
    assert len(said) == 1
    assert same(result, train("linear", Tripping(-1, crash), None))
    assert result.privacy.steps == 35
    assert "cannot write in" in result.unsaved
    assert "checkpoints were not kept" in str(result)
    assert "cannot write in" in result.numbers()["unsaved"]


@pytest.mark.parametrize("fails", [range(2, 99), range(2, 4)], ids=["for good", "for a while"])
def test_a_disk_that_fills_up_after_some_steps_stops_no_run(
    fails: range, tmp_path: Path, monkeypatch
) -> None:
    path, writes, write = tmp_path / "run.pt", [], cache.save

    def full(value: object, file: Path) -> None:
        writes.append(value["state"]["done"])
        if len(writes) in fails:
            raise OSError(28, "No space left on device")
        write(value, file)

    monkeypatch.setattr(cache, "save", full)
    with pytest.warns(cache.CacheWarning, match="disk full while writing") as said:
        result = train("linear", Tripping(-1, crash), path)
    assert (len(said), writes) == (1, [0, 10, 20, 30, 35])
    assert same(result, train("linear", Tripping(-1, crash), None))
    assert bool(result.unsaved) == (fails.stop == 99)  # the last one counts: from it, the run goes on
    assert torch.load(path, weights_only=True)["state"]["done"] == (0 if result.unsaved else 35)


def test_ctrl_c_on_a_full_disk_claims_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    stop = Tripping(40, lambda: signal.raise_signal(signal.SIGINT))
    with (
        pytest.warns(cache.CacheWarning),
        pytest.raises(KeyboardInterrupt, match="since the last checkpoint are lost: cannot write"),
    ):
        train("linear", stop, tmp_path / "taken" / "run.pt")


def test_a_checkpoint_that_cannot_be_looked_at_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch
) -> None:
    def closed(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)
    with pytest.raises(ValueError, match="cannot tell whether there is a checkpoint"):
        checkpoint.load(tmp_path / "run.pt", {})
