"""Tools in environments of their own: labkit's half, with a stand-in for the tool's; and what real runs left behind.

The real thing takes minutes and a package index: ``pytest -m slow tests/bridges``.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit import bridges, cli, data
from labkit.bridges import TOOLS, BridgeError, command, environment, gpyopt_study, page, syft_site, tf_privacy

SCRIPTS = sorted(environment.SCRIPTS.glob("*_*_*.py"))


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))


@pytest.fixture
def played(monkeypatch):
    """Put a function in the place of a tool's environment: it gets the request and the answering function."""

    def play(work) -> None:
        monkeypatch.setattr(environment.Environment, "_make", lambda self: None)
        monkeypatch.setattr(
            environment.Environment, "run", lambda self, script, request, answer=None: work(request, answer)
        )
        monkeypatch.setattr(
            environment.Environment, "versions", lambda self, names: dict.fromkeys(names, "0")
        )

    return play


def site(request: dict[str, Any], again: list[Any], scale: float = 1.0) -> dict[str, Any]:
    """Answer as a PySyft site would whose noise has ``scale`` times the right one."""
    rng, low, high = np.random.default_rng(3), request["low"], request["high"]
    right = (high - low) / len(request["records"]) / request["epsilon"]
    draw = lambda values, n: np.mean(np.clip(values, low, high)) + rng.laplace(0, scale * right, n)  # noqa: E731
    return {
        "private records": "None",
        "before approval": "waiting for approval",
        "answer": float(draw(request["records"], 1)[0]),
        "again": again,
        "many": draw(request["mock"], request["repeats"]).tolist(),
    }


def test_a_site_with_the_right_noise_agrees(played) -> None:
    played(lambda request, answer: site(request, ["no further execution"] * 3))
    found = syft_site.pysyft()
    assert found.agrees
    assert "got no new answer" in found.notes[-1]


def test_a_site_that_answers_again_is_told_what_it_spent(played) -> None:
    played(lambda request, answer: site(request, [14.1, 14.2, "refused"]))
    note = syft_site.pysyft().notes[-1]
    assert "2 further calls draw new noise: 3 answers" in note
    assert "ε = 3.00" in note


def test_a_site_with_too_little_noise_is_caught(played) -> None:
    played(lambda request, answer: site(request, [], scale=0.6))
    assert not syft_site.pysyft().agrees


@pytest.mark.parametrize("what", ["private records", "before approval"])
def test_a_site_that_gives_records_away_is_no_site(played, what: str) -> None:
    played(lambda request, answer: site(request, []) | {what: None})
    with pytest.raises(BridgeError, match="gave its answer away"):
        syft_site.pysyft()


def test_gpyopt_s_trials_are_trained_by_labkit(played, monkeypatch) -> None:
    monkeypatch.setitem(gpyopt_study.SPACE, "target_epsilon", (0.5, 8.0))  # less is slower to account for

    def tool(request, answer) -> dict:
        rng = np.random.default_rng(0)
        for seed in request["seeds"]:
            answer({"seed": seed})
            for _ in range(request["trials"]):
                assert np.isfinite(answer(rng.random(request["dimensions"]).tolist())["cost"])
        return {}

    played(tool)
    found = gpyopt_study.gpyopt()
    trials = found.details["studies"]["GPyOpt"][0]["trials"]
    assert len(trials) == 4
    assert all(0.5 <= trial["epsilon"] <= 8 and 0 <= trial["accuracy"] <= 1 for trial in trials)
    assert [line.agrees for line in found.lines].count(
        True
    ) == 1  # the number of trials; who is better is not judged


def test_the_cost_is_the_same_for_both_tools_and_asks_for_the_accuracy() -> None:
    small = data.load("breast_cancer").holdout(150, seed=0)
    objective = gpyopt_study.Objective(small, runs=1)
    assert objective.cost([0.2, 0.5, 0.9]) == objective.cost([0.2, 0.5, 0.9])
    assert objective.cost([0.0, 0.0, 0.0]) > np.log(0.05)  # ε = 0.05 misses the accuracy, and pays
    first = objective.trials[0]
    assert first["epsilon"] == pytest.approx(0.05 * (8 / 0.05) ** 0.2)
    objective.begin()
    assert objective.best() == np.inf


def test_a_study_that_never_meets_the_constraint_is_told_as_such() -> None:
    never, met = {"best": np.inf, "trials": [{}]}, {"best": 0.5, "trials": [{}]}
    for ours, theirs in ((never, met), (met, never), (never, never)):
        lines = gpyopt_study._lines({"GPyOpt": [theirs], "Optuna": [ours], "random": [met]}, [0])
        assert lines[1].agrees is None
        assert np.isnan(lines[1].distance)


def test_noiseless_steps_are_those_of_the_private_trainer() -> None:
    """What TensorFlow Privacy is held against is `train_private` itself, up to noise that is next to nothing."""
    import torch

    from labkit import models
    from labkit.dp import train_private

    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(32, 1, 28, 28, generator=generator), torch.randint(0, 10, (32,), generator=generator)
    dataset = data.Dataset("drawn", "drawn", False, x, y, x, y, tuple("0123456789"))
    network = models.small_cnn("tanh", seed=0)
    ours = tf_privacy.noiseless(network, dataset, np.tile(np.arange(32), (2, 1)))
    trained = train_private(
        network,
        dataset,
        noise_multiplier=1e-3,
        delta=1e-3,
        max_grad_norm=tf_privacy.CHECK["max_grad_norm"],
        learning_rate=tf_privacy.CHECK["learning_rate"],
        expected_batch_size=32,
        steps=2,
        engine="vmap",
        seed=0,
    ).model
    theirs = np.concatenate([p.detach().numpy().ravel() for p in trained.parameters()])
    np.testing.assert_allclose(ours, theirs, atol=6 * 1e-3 * 0.1 * 4 / 32 * 2)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_stand_alone(path: Path) -> None:
    """They run where labkit is not installed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name.split(".")[0] == "labkit"]


def test_every_saved_result_agrees_and_can_be_made_again() -> None:
    found = page.kept()
    assert set(found) == set(TOOLS)
    for name, result in found.items():
        assert result["agrees"] is True, name
        assert result["command"] == f"labkit bridge {name}"
        assert result["date"] >= "2026-11-26"
        assert result["versions"]["python"]


def test_a_tool_without_a_result_claims_nothing(monkeypatch) -> None:
    monkeypatch.setattr(page, "kept", dict)
    rows = [row for row in page.page().splitlines() if "labkit bridge" in row and row.startswith("|")]
    assert len(rows) == len(TOOLS)
    assert all("not run yet" in row and "agree" not in row.rsplit("|", 3)[1] for row in rows)


def test_the_page_is_that_of_the_results() -> None:
    written = (page.folder().parent / "TOOLS.md").read_text(encoding="utf-8")
    assert written == page.page(), "run python -m labkit.bridges.page, and commit what it writes"
    assert "does not exist; shadow models are lab 04" in written


def test_without_a_name_the_command_lists_the_tools(capsys) -> None:
    assert cli.main(["bridge"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in TOOLS)


def test_the_command_saves_what_came_of_it(tmp_path, monkeypatch, capsys) -> None:
    line = bridges.Line("ε", 1.0, 1.1, 0.1, 0.001, "relative difference")
    result = bridges.Agreement("Opacus", (line,), {}, "labkit bridge opacus", "none", "smoke")
    monkeypatch.setattr(command, "compare", lambda name, **options: result)
    assert cli.main(["bridge", "opacus", "--out", str(tmp_path / "opacus.json")]) == 1  # they do not agree
    assert json.loads((tmp_path / "opacus.json").read_text("utf-8"))["agrees"] is False
    assert "NO" in capsys.readouterr().out


def test_a_request_to_end_unwinds_like_an_interrupt() -> None:
    import os
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), command._terminated_as_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tfprivacy", "pysyft", "gpyopt"])
def test_the_real_tool_installs_runs_and_goes(name: str, tmp_path, monkeypatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert bridges.compare(name).agrees
    assert not list(tmp_path.glob("labkit-bridge-*"))
