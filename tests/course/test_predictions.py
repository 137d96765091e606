"""Predictions: the first guess before the result counts, it stays in the learner's file, and nothing is graded by it."""

from __future__ import annotations

import ast
import builtins
import json
import math
import re
import symtable
from pathlib import Path

import pytest

import labkit
from labkit import stats
from labkit.course import predict, predictions, revealed
from labkit.course.exercises import progress
from labkit.course.exercises.exercise import of_lab
from labkit.course.guesses import telling
from labkit.course.guesses.box import Box, mimebundle
from labkit.course.guesses.question import Question

LABS = sorted((Path(labkit.__file__).parents[1] / "solutions").glob("[01][0-9]_*.py"))
COST = ("02.cost", "How many points of accuracy will ε = 1 cost?")


@pytest.fixture(autouse=True)
def _a_new_session(monkeypatch):
    monkeypatch.setattr(telling, "_asked", {})
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")


def said(capsys, function, *args, **settings):
    capsys.readouterr()
    function(*args, **settings)
    return capsys.readouterr().out.strip()


def test_a_guess_stands_beside_its_result_with_interval_source_and_profile(capsys):
    predict(*COST, unit="points", within=1, guess=1.5)
    shares = stats.mean_interval([0.02, 0.03, 0.025])
    line = said(capsys, revealed, "02.cost", shares, times=100, source="MNIST")
    assert "you guessed 1.5 points; it came out at 2.5 points [1.258, 3.742]" in line
    assert "95% interval, Student t, 3 runs" in line
    assert "MNIST, smoke profile" in line
    assert "\n" not in line
    assert "Passed" not in line
    assert "Not yet" not in line


def test_without_a_guess_one_quiet_line_says_what_came(capsys):
    predict(*COST, unit="points")
    line = said(capsys, revealed, "02.cost", 2.5, source="MNIST")
    assert line == "02.cost: you wrote no guess; it came out at 2.5 points · MNIST, smoke profile"


def test_the_first_guess_counts_and_a_later_one_is_named(capsys):
    predict(*COST, unit="points", within=1, guess=1.5)
    assert "your first guess counts" in said(capsys, predict, *COST, unit="points", within=1, guess=3)
    line = said(capsys, revealed, "02.cost", 3.0, source="MNIST")
    assert "you guessed 1.5 points first (3 points later; the first counts)" in line
    assert "off by 1.5" in line
    assert progress.read().predictions["02.cost"]["near"] is False


def test_the_same_guess_twice_is_one_guess(capsys):
    predict(*COST, guess=1.5)
    predict(*COST, guess=1.5)
    assert "later" not in said(capsys, revealed, "02.cost", 1.5, source="MNIST")


def test_a_guess_after_the_result_does_not_count_in_this_session_or_the_next(capsys, monkeypatch):
    predict(*COST)
    revealed("02.cost", 2.5, source="MNIST")
    monkeypatch.setattr(telling, "_asked", {})
    assert "does not count" in said(capsys, predict, *COST, guess=2.5)
    assert "does not count" in said(capsys, revealed, "02.cost", 2.5, source="MNIST")
    assert "none had a guess before it" in said(capsys, predictions, "02")


def test_a_result_whose_question_was_skipped_is_shown_all_the_same(capsys):
    line = said(capsys, revealed, "02.cost", 2.5, source="MNIST")
    assert "has not run in this session; it came out at 2.5 ·" in line


def test_the_sum_counts_the_near_ones_of_one_lab_or_of_all(capsys):
    for id, guess, value in (("02.cost", 2.0, 2.5), ("02.steps", 7.0, 700.0), ("03.cost", 1.0, 1.0)):
        predict(id, "How many?", factor=2, guess=guess)
        revealed(id, value, source="MNIST")
    predict("02.none", "How many?")
    revealed("02.none", 1.0, source="MNIST")
    text = said(capsys, predictions, "02")
    assert "in lab 02: 1 of 2 near" in text
    assert "100 times too small" in text
    assert "Without a guess: 1 more" in text
    assert "2 of 3 near" in said(capsys, predictions)


def test_a_choice_is_the_same_or_not(capsys):
    choices = ["clipping", "noise"]
    predict("02.most", "Which costs most?", choices=choices, guess=" Noise ")
    assert "you guessed noise; it is noise: as guessed" in said(
        capsys, revealed, "02.most", "noise", source="MNIST"
    )
    assert ": not as guessed" in said(capsys, revealed, "02.most", "clipping", source="MNIST")
    with pytest.raises(ValueError, match="one of: clipping; noise"):
        revealed("02.most", "both", source="MNIST")


WHY = ("02.why", "Why does it cost so little?")


def test_words_stand_beside_what_came_and_nobody_judges_them(capsys):
    predict(*WHY, words=True, guess="  because the noise\n is small ")
    line = said(capsys, revealed, "02.why", "noise of 0.3 to a signal of 7", source="MNIST")
    told = "you guessed “because the noise is small”; what came: noise of 0.3 to a signal of 7 · MNIST"
    assert told in line
    assert "near" not in progress.read().predictions["02.why"]
    assert "Your guesses in lab 02: 1 in words" in said(capsys, predictions, "02")
    predict(*COST, within=1, guess=1.5)
    revealed("02.cost", 9.5, source="MNIST")
    summary = said(capsys, predictions, "02")
    assert "0 of 1 near, as each question says what is near; 1 in words" in summary
    assert "You guessed “because the noise is small”; what came: noise of 0.3 to a signal of 7." in summary


@pytest.mark.parametrize("guess", ["", " \n ", 3, None, True, "x" * 601])
def test_what_is_no_sentence_is_refused(guess):
    with pytest.raises(ValueError, match=r"02\.why.*expected a sentence"):
        Question(*WHY, words=True).read(guess)


def test_a_question_in_words_takes_no_number_as_its_result():
    predict(*WHY, words=True)
    with pytest.raises(TypeError, match="expected a sentence"):
        revealed("02.why", 1.5, source="MNIST")


@pytest.mark.parametrize("guess", [-5, 100.5, "-1"])
def test_a_share_below_nothing_or_beyond_all_is_refused(guess):
    with pytest.raises(ValueError, match="from 0 to 100"):
        Question("02.cost", "Which share?", unit="%").read(guess)


@pytest.mark.parametrize(
    ("settings", "guess", "value", "interval", "near", "words"),
    [
        ({"within": 2}, 5.0, 7.0, None, True, "within 2"),
        ({"within": 2}, 4.9, 7.0, None, False, "off by 2.1"),
        ({"within": 0.1}, 0.3, 0.2, None, True, "within 0.1"),
        ({"within": 0}, 31.0, 31.0, None, True, "the very number"),
        ({"within": 0}, 30.0, 31.0, None, False, "off by 1"),
        ({"within": 2}, 1.0, 7.0, (0.5, 13.0), True, "inside the interval"),
        ({"within": 2}, 1.0, 7.0, (-math.inf, math.inf), False, "off by 6"),
        ({"factor": 2}, 50.0, 100.0, None, True, "within a factor of 2"),
        ({"factor": 2}, 300.0, 100.0, None, False, "3 times too large"),
        ({}, 1.5, 1.0, None, True, "within a factor of 1.5"),
        ({"factor": 2}, 1.0, 0.0, None, False, "off by 1"),
        ({"factor": 2}, 0.0, 0.0, None, True, "the very number"),
        ({"factor": 2}, 1.0, -1.0, None, False, "off by 2"),
        ({"within": 1}, 1.0, math.nan, None, False, "nothing to compare with"),
        ({"within": 1}, 1.0, math.inf, None, False, "nothing to compare with"),
    ],
)
def test_how_near_is_near(settings, guess, value, interval, near, words):
    assert Question("02.cost", "How many?", **settings).compare(guess, value, interval) == (near, words)


@pytest.mark.parametrize("id", ["cost", "2.cost", "02.Cost", "02", "02.", 2, None])
def test_a_bad_id_is_refused_by_both(id):
    with pytest.raises(ValueError, match="two digits, a dot and a name"):
        predict(id, "How many?")
    with pytest.raises(ValueError, match="two digits, a dot and a name"):
        revealed(id, 1.0, source="MNIST")


@pytest.mark.parametrize("guess", [math.nan, math.inf, "1.5 points", "many", "", True, [1], None])
def test_a_guess_that_is_no_number_is_refused_and_not_kept(guess):
    question = Question("02.cost", "How many?", unit="points")
    with pytest.raises(ValueError, match="number alone: it is understood in points"):
        question.read(guess)
    if guess is not None:
        with pytest.raises(ValueError, match=r"02\.cost"):
            predict("02.cost", "How many?", unit="points", guess=guess)
    assert progress.read().predictions == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"unit": 5},
        {"within": -1},
        {"within": math.nan},
        {"factor": 1},
        {"within": 1, "factor": 2},
        {"choices": ["one"]},
        {"choices": ["one", "One"]},
        {"choices": ["one", ""]},
        {"choices": ["one", "two"], "unit": "%"},
        {"words": True, "unit": "%"},
        {"words": True, "choices": ["one", "two"]},
        {"words": True, "within": 1},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(settings):
    with pytest.raises(ValueError, match=r"02\.cost"):
        predict("02.cost", "How many?", **settings)


def test_a_result_must_be_sourced_and_of_the_right_kind():
    predict(*COST)
    with pytest.raises(ValueError, match="source"):
        revealed("02.cost", 1.0, source="")
    with pytest.raises(ValueError, match="what it is one of"):
        revealed("02.cost", 1.0, interval=(0, 2), source="MNIST")
    for value in (True, None, [1.0], "1.0"):
        with pytest.raises(TypeError, match=r"02\.cost"):
            revealed("02.cost", value, source="MNIST")


def test_the_box_keeps_on_enter_and_says_what_is_wrong():
    box = Box(Question(*COST, unit="points", within=1))
    assert box.field.description == "Your guess (points)", "the label that ipywidgets ties to its field"
    assert box.field.tooltip == COST[1]
    box.button.click()
    assert "write a number first" in box.status.value
    box.field.value = "about two"
    box._submitted(box.field, {"event": "submit"}, [])
    assert "expected a number alone" in box.status.value
    assert 'role="status"' in box.status.value
    assert progress.read().predictions == {}
    box.field.value = "1.5"
    box._submitted(box.field, {"event": "focus"}, [])
    assert progress.read().predictions == {}, "only Enter keeps"
    # What the browser sends when Enter is pressed inside the field.
    box.field._handle_custom_msg({"event": "submit"}, [])
    assert progress.read().predictions["02.cost"]["guess"] == 1.5
    box.field.value = "3"
    box.button.click()
    assert progress.read().predictions["02.cost"] == {"guess": 1.5, "later": 3.0}
    assert "Kept: 1.5 points" in Box(Question(*COST, unit="points")).status.value


def test_the_box_offers_choices_and_keeps_none_by_itself():
    box = Box(Question("02.most", "Which costs most?", choices=("clipping", "noise")))
    box.button.click()
    assert "choose one first" in box.status.value
    assert progress.read().predictions == {}
    box.field.value = "noise"
    box.button.click()
    assert progress.read().predictions["02.most"]["guess"] == "noise"


def test_the_box_for_words_keeps_a_sentence_on_enter():
    box = Box(Question(*WHY, words=True))
    box.button.click()
    assert "write a sentence first" in box.status.value
    box.field.value = "because the noise is small"
    box.field._handle_custom_msg({"event": "submit"}, [])
    assert progress.read().predictions["02.why"]["guess"] == "because the noise is small"
    assert "Kept: “because the noise is small”." in box.status.value


def test_a_front_end_without_widgets_gets_the_way_to_write_a_guess(capsys, monkeypatch):
    text = said(capsys, predict, *COST, unit="points", within=1)
    assert 'predict("02.cost", …, guess=…)' in text
    bundle = mimebundle(Question(*COST), text, "<p>")
    assert bundle["text/plain"] == text
    assert bundle["text/html"] == "<p>"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert not telling._displayed(Question(*COST), text, "<p>"), "no ipywidgets: the text is printed"


def test_a_question_is_told_as_text_not_as_markup(monkeypatch):
    shown = []
    monkeypatch.setattr(telling.showing, "show", lambda rich, text: shown.append(rich))
    predict("02.cost", "Is <b> & σ < 1?", guess=1)
    revealed("02.cost", 1.0, source="<i>")
    assert not any("<b>" in rich or "<i>" in rich for rich in shown)


def test_in_strict_mode_a_second_run_prints_the_same(capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_STRICT", "1")

    def run():
        predict(*COST)
        revealed("02.cost", 2.5, source="MNIST")
        predictions("02")

    assert said(capsys, run) == said(capsys, run)


def test_who_grades_keeps_no_guess(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    predict(*COST, guess=1)
    revealed("02.cost", 1.0, source="MNIST")
    assert not progress.path().exists()


def test_guesses_and_exercises_share_the_file_and_an_old_file_is_read():
    progress.record("02.clip", "passed")
    assert "predictions" not in json.loads(progress.path().read_text())
    predict(*COST, guess=1)
    progress.record("02.noise", "wrong")
    saved = progress.read()
    assert saved.status("02.clip") == "passed"
    assert saved.predictions["02.cost"]["guess"] == 1


def test_a_folder_that_cannot_be_written_is_said_not_raised(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path / "file" / "progress.json"))
    assert "LABKIT_PROGRESS_FILE" in said(capsys, predict, *COST, guess=1)
    assert "LABKIT_PROGRESS_FILE" in said(capsys, revealed, "02.cost", 1.0, source="MNIST")


def calls(path: Path, name: str) -> list[ast.Call]:
    """Return the calls of a name in a lab's own cells, not those inside a learner's functions."""
    cells = ast.parse(path.read_text(encoding="utf-8")).body
    found = [n for cell in cells if not isinstance(cell, ast.FunctionDef) for n in ast.walk(cell)]
    return [n for n in found if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]


def identity(call: ast.Call) -> str:
    return ast.literal_eval(call.args[0])


OWN_PLACE = (
    "prediction = {",
    "first_impression = {",
)  # where a lab has its learner fill in a table of guesses


@pytest.mark.parametrize("path", LABS, ids=lambda p: p.stem)
def test_beside_each_prediction_that_the_text_asks_for_there_is_a_box(path):
    cells = re.split(r"^# %%(.*)$", path.read_text(encoding="utf-8"), flags=re.M)[1:]
    kinds, bodies = cells[::2], [body.strip() for body in cells[1::2]]
    without = [
        body[body.index("**Predict") :][:60]
        for kind, body, after in zip(kinds, bodies, [*bodies[1:], ""], strict=True)
        if "[markdown]" in kind and "**Predict" in body and not after.startswith(("predict(", *OWN_PLACE))
    ]
    assert without == []


@pytest.mark.parametrize("path", LABS, ids=lambda p: p.stem)
def test_every_prediction_of_a_lab_is_asked_once_and_then_answered_once_by_something_computed(path):
    number = path.name[:2]
    asked, answered, summed = (calls(path, name) for name in ("predict", "revealed", "predictions"))
    ids = [identity(call) for call in asked]
    judged = [call for call in asked if not any(key.arg == "words" for key in call.keywords)]
    assert (1 if number == "14" else 2) <= len(judged) <= 6  # lab 14 is for talking
    assert len(set(ids)) == len(ids)
    assert all(id.startswith(f"{number}.") for id in ids)
    assert not set(ids) & {item.id for item in of_lab(number)}, "an exercise has this name"
    assert sorted(map(identity, answered)) == sorted(ids), "one result for each prediction"
    lines = {identity(call): call.lineno for call in asked}
    assert all(lines[identity(call)] < call.lineno for call in answered), "asked before it is shown"
    for call in asked:
        assert not [key.arg for key in call.keywords if key.arg == "guess"], "a lab guesses nothing itself"
        settings = {key.arg: key.value for key in call.keywords}
        # Choices may be computed, as those of a result's names are; all else is written out.
        settings = {name: ast.literal_eval(value) for name, value in settings.items() if name != "choices"}
        Question(identity(call), ast.literal_eval(call.args[1]), **settings)
    for call in answered:
        names = {node.id for node in ast.walk(call.args[1]) if isinstance(node, ast.Name)}
        assert names - set(dir(builtins)), f"{identity(call)} is not computed"
        assert "source" in {key.arg for key in call.keywords}
    assert [identity(call) for call in summed] == [number], "summed up once, at the end"
    assert all(call.lineno < summed[0].lineno for call in answered)


@pytest.mark.parametrize("path", LABS, ids=lambda p: p.stem)
def test_a_lab_does_not_bind_the_names_that_ask_and_answer(path):
    names = symtable.symtable(path.read_text(encoding="utf-8"), path.name, "exec")
    bound = {one.get_name() for one in names.get_symbols() if one.is_assigned()}
    assert not bound & {"predict", "revealed", "predictions"}
