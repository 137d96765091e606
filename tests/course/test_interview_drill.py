"""The drill: boxes and dates, weak spots, the keyboard, the panel, exports, the mock interview, and the command."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from labkit.cli import main
from labkit.course.interview import bank, formulas, mock, panel, sheets, terminal, whiteboard
from labkit.course.interview.study import DAYS, Attempt, Study, next_box

DAY = date(2026, 3, 1)
GOOD, MIDDLING, POOR = (2, 2, 2, 1), (1, 1, 1, 1), (1, 0, 1, 0)


@pytest.fixture(autouse=True)
def _own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path / "progress.json"))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[bank.Question, ...]:
    """Three questions without a number that takes long."""
    return tuple(map(bank.find, ("mia-what", "fl-why", "gov-report")))


def keys(*typed: str):
    """Return a reader that types so and then ends its input."""
    left = list(typed)

    def read(_: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return read


def test_good_answers_move_on_and_poor_ones_start_again() -> None:
    assert [next_box(box, GOOD) for box in range(6)] == [2, 2, 3, 4, 5, 5]
    assert [next_box(box, MIDDLING) for box in range(1, 6)] == [1, 2, 3, 4, 5]
    assert [next_box(box, POOR) for box in range(6)] == [1] * 6
    assert next_box(3, (2, 2, 2, 0)) == 3  # a missing signal holds it back


def test_a_question_comes_again_when_its_box_says(few) -> None:
    study = Study()
    card = study.record(few[0].id, POOR, day=DAY)
    assert card.next_day == DAY + timedelta(days=DAYS[0])
    card = study.record(few[0].id, GOOD, day=DAY)
    assert card.next_day == DAY + timedelta(days=DAYS[1])
    assert few[0] not in study.queue(few, DAY + timedelta(days=1))
    assert few[0] in study.queue(few, DAY + timedelta(days=2))


def test_what_was_poor_comes_before_what_is_new(few) -> None:
    study = Study()
    study.record(few[2].id, POOR, day=DAY)
    study.record(few[1].id, GOOD, day=DAY)
    assert [one.id for one in study.queue(few, DAY + timedelta(days=9))] == [few[2].id, few[1].id, few[0].id]


def test_the_next_session_knows_what_was_kept_and_a_damaged_file_is_set_aside(few) -> None:
    study = Study()
    study.record(few[0].id, GOOD, day=DAY, seconds=12.34)
    assert Study().cards[few[0].id].attempts == [Attempt(DAY, GOOD, 12.3)]
    study.path.write_text("{", encoding="utf-8")
    damaged = Study()
    assert "starts anew" in damaged.remark
    assert not damaged.cards
    damaged.record(few[1].id, GOOD, day=DAY)
    assert study.path.with_name(f"{study.path.name}.damaged").read_text(encoding="utf-8") == "{"
    assert set(json.loads(study.path.read_text(encoding="utf-8"))) == {few[1].id}


def test_a_file_that_cannot_be_written_becomes_a_remark(few, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    study = Study(tmp_path / "a-file" / "study.json")
    study.record(few[0].id, GOOD, day=DAY)
    assert "was not saved" in study.remark


def test_what_two_windows_keep_is_all_kept(few) -> None:
    terminal_window, notebook = Study(), Study()
    terminal_window.record(few[0].id, GOOD, day=DAY)
    notebook.record(few[1].id, POOR, day=DAY)
    terminal_window.record(few[1].id, POOR, day=DAY)
    kept = Study().cards
    assert {id: len(card.attempts) for id, card in kept.items()} == {few[0].id: 1, few[1].id: 2}


def test_what_a_full_disk_refused_is_kept_with_the_next_answer(few, monkeypatch) -> None:
    from labkit.course.interview import study as module

    def full(path: Path):
        raise OSError(28, "No space left on device")

    study = Study()
    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_path", full)
        said: list[str] = []
        terminal.drill(few[:1], study, day=DAY, read=keys("", "2222"), write=said.append)
        assert any("was not saved" in line for line in said)
        assert not any("comes again" in line for line in said), "nobody is promised what was not kept"
    study.record(few[1].id, GOOD, day=DAY)
    assert study.remark == ""
    assert set(Study().cards) == {few[0].id, few[1].id}


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"mia-what": {"box": 2.5, "attempts": [{"day": "2026-01-01", "scores": [1, 1, 1, 1], "seconds": 1}]}}',
        '{"mia-what": {"box": 2, "attempts": []}}',
        "\x00",
        "[]",
    ],
    ids=["deep", "half a box", "no attempt", "null byte", "a list"],
)
def test_no_file_stops_the_drill_and_every_damaged_one_is_kept(few, content) -> None:
    path = Study().path
    for name in ("damaged", "damaged1"):
        path.write_text(content, encoding="utf-8")
        said: list[str] = []
        terminal.drill(few[:1], Study(), day=DAY, read=keys("", "2222"), write=said.append)
        assert "could not be read" in said[0]
        assert path.with_name(f"{path.name}.{name}").read_text(encoding="utf-8") == content
        assert set(Study().cards) == {few[0].id}


def test_scores_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 of 0, 1 or 2"):
        Attempt(DAY, (2, 2, 3, 0))


def test_the_weakest_area_comes_first_and_nothing_counts_as_unknown(few) -> None:
    study = Study()
    study.record("mia-what", GOOD, day=DAY)
    study.record("fl-why", (2, 0, 0, 0), day=DAY)
    rows = study.weak_spots(few)
    assert [row["area"] for row in rows] == ["federated systems", "membership inference", "governance"]
    assert rows[0]["framing"] == 1.0
    assert rows[0]["all"] == 0.25
    assert rows[2]["all"] is None


def test_the_keyboard_reveals_scores_skips_and_stops(few) -> None:
    said: list[str] = []
    clock = iter([0.0, 100.0, 200.0, 230.0])
    study = Study()
    read = keys("", "9 9 9 9", "2 1 2 1", "s", "q")
    assert terminal.drill(few, study, day=DAY, read=read, write=said.append, now=lambda: next(clock)) == 1
    text = "\n".join(said)
    assert "You took 1:40 of 2:00" in text
    assert "is no score" in text
    assert "6 of 8 points" in text
    assert text.index("Follow-up") > text.index("mia-what")  # the answer comes after the question
    assert list(study.cards) == ["mia-what"]


def test_input_that_ends_loses_nothing(few) -> None:
    study = Study()
    assert terminal.drill(few, study, day=DAY, read=keys("", "2222"), write=lambda _: None) == 1
    assert list(Study().cards) == ["mia-what"]


def test_the_panel_reveals_before_it_scores_and_keeps_whole_scores_only(few) -> None:
    seconds = iter([0.0, 61.0, 100.0, 101.0])
    shown = panel.Panel(few, Study(), day=DAY, now=lambda: next(seconds))
    assert shown.scoring.layout.display == "none"
    shown.keep.click()
    assert shown.current == few[0]  # nothing to score yet
    shown.reveal.click()
    assert "You took 1:01" in shown.answer.value
    assert shown.scoring.layout.display == ""
    shown.scores["framing"].value = "2"
    shown.keep.click()
    assert "Score first: depth" in shown.keep.description
    assert shown.current == few[0]
    for buttons in shown.scores.values():
        buttons.value = "2"
    shown.keep.click()
    assert shown.current == few[1]
    assert "comes again on 2026-03-03" in shown.question.value
    assert Study().cards[few[0].id].attempts[0].scores == (2, 2, 2, 2)
    shown.skip.click()
    shown.skip.click()
    assert shown.current is None
    assert "Nothing more is due" in shown.question.value


def test_without_widgets_cards_are_shown_as_text(few, monkeypatch, capsys) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest):
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert panel.start("governance", 1, day=DAY) is None
    assert "gov-redaction" in capsys.readouterr().out


def test_csv_has_one_row_a_question_and_its_id_first(few) -> None:
    rows = list(csv.DictReader(io.StringIO(sheets.as_csv(few))))
    assert [row["id"] for row in rows] == [one.id for one in few]
    assert rows[0]["answer 2"]
    assert rows[0]["rubric, depth"]
    assert rows[0]["section"]


def test_anki_notes_keep_their_guid_and_have_as_many_fields_as_the_head_says(few) -> None:
    lines = sheets.as_anki(few).splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert "#guid column:1" in head
    assert "#tags column:4" in head
    assert "#separator:tab" in head
    assert "#html:true" in head
    notes = [line.split("\t") for line in lines[len(head) :]]
    assert [len(note) for note in notes] == [4] * len(few)
    assert [note[0] for note in notes] == [f"labkit-{one.id}" for one in few]
    assert all(" " not in tag for note in notes for tag in note[3].split(" "))


@pytest.mark.parametrize("seed", range(4))
def test_a_mock_interview_fits_its_time_and_ends_with_design(seed: int) -> None:
    some = mock.plan(45, seed=seed)
    spent = sum(one.minutes + mock.SCORING for one in some)
    assert 45 - (2 + mock.SCORING) < spent <= 45  # no room is left for a short question
    assert [one.level for one in some] == sorted(one.level for one in some)
    assert [one.level for one in some].count(4) == 1
    assert len({one.area for one in some}) >= 5
    assert some == mock.plan(45, seed=seed) != mock.plan(45, seed=seed + 1)


def test_a_mock_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        mock.plan(10)


def test_the_score_sheet_counts_what_was_not_answered_as_nothing(few) -> None:
    sheet = mock.score_sheet(
        [mock.Answered(few[0], GOOD, 150.0), mock.Answered(few[1]), mock.Answered(few[2])], minutes=45, seed=3
    )
    assert "Points: 7 of 24; 1 of 3 questions answered" in sheet
    assert "Over time: mia-what" in sheet
    assert "Work on communication first" in sheet
    assert "let somebody else score you" in sheet


def test_an_interview_by_keyboard_ends_in_a_score_sheet_even_when_stopped(few, monkeypatch) -> None:
    monkeypatch.setattr(mock, "plan", lambda minutes, *, seed: few)
    said: list[str] = []
    answered = mock.interview(45, read=keys("", "2 2 2 1", "q"), write=said.append, now=lambda: 0.0)
    assert [one.scores for one in answered] == [GOOD, None, None]
    assert "Points: 7 of 24" in said[-1]


def test_the_whiteboard_scores_each_signal_by_its_lines() -> None:
    text = whiteboard.text()
    assert "Whiteboard, 30 minutes" in text
    assert text.count("[ ]") == len(whiteboard.RUBRIC)
    task = text.partition("\n\n")[0]
    assert max(map(len, task.splitlines())) <= sheets.WIDTH, "the task is wrapped for a terminal"
    assert "{" not in text
    assert set(whiteboard.score([True] * len(whiteboard.RUBRIC)).values()) == {1.0}
    assert whiteboard.score([True, False] + [False] * (len(whiteboard.RUBRIC) - 2))["framing"] == 0.5
    with pytest.raises(ValueError, match="ticks"):
        whiteboard.score([True])


def test_the_command_lists_exports_and_prints_without_a_terminal(tmp_path: Path, capsys) -> None:
    assert main(["drill", "--list", "--area", "gov", "--level", "1"]) == 0
    assert "gov-report" in capsys.readouterr().out
    out = tmp_path / "notes.tsv"
    assert main(["drill", "--area", "gov", "--level", "1", "--export", "anki", "--out", str(out)]) == 0
    assert "labkit-gov-report\t" in out.read_text(encoding="utf-8")
    sheet = tmp_path / "formulas.html"
    assert main(["drill", "--cheat-sheet", str(sheet)]) == 0
    page = sheet.read_text(encoding="utf-8")
    assert page.count('<section class="page">') == 2
    assert "&lt;" not in page.replace("] &lt; α", ""), "a tag is printed as text"
    assert page.count("<dt>") == len(formulas.FORMULAS), "an area has no page"
    assert "@page" in page
    assert not re.search(r"https?://", page)
    capsys.readouterr()
    assert main(["drill", "--area", "gov", "--level", "1"]) == 0
    assert "questions are due" in capsys.readouterr().out
    assert main(["drill", "--area", "cooking"]) == 2
    assert "areas: " in capsys.readouterr().err
    assert main(["drill", "--mock", "3"]) == 2
