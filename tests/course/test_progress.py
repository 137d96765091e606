"""The progress file: kept, private, safe to delete or damage."""

import json

import pytest

from labkit.course.exercises import overview, progress
from labkit.course.exercises.overview import text


@pytest.fixture
def file(monkeypatch, tmp_path):
    target = tmp_path / "sub" / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(target))
    return target


def test_a_pass_is_remembered_and_stays(file):
    progress.record("00.first_check", "wrong")
    progress.record("00.first_check", "passed")
    progress.record("00.first_check", "wrong")
    entry = json.loads(file.read_text())["exercises"]["00.first_check"]
    assert (entry["status"], entry["tries"]) == ("passed", 3)
    assert progress.read().status("00.first_check") == "passed"
    assert progress.read().status("00.other") == "not attempted"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"exercises": 3}',
        '{"exercises": {"00.a": {"status": "?", "tries": 1}}}',
        "\x00\xff",
        '{"track": ""}',
    ],
)
def test_a_damaged_file_starts_anew_and_says_so(file, content, capsys):
    file.parent.mkdir()
    file.write_text(content, encoding="latin-1")
    assert progress.read().exercises == {}
    progress.record("00.first_check", "passed")
    said = capsys.readouterr().out
    assert "starts anew" in said
    assert progress.read().status("00.first_check") == "passed"
    kept = file.with_name("progress.json.damaged")
    assert kept.read_text(encoding="latin-1") == content
    assert kept.name in said
    progress.record("00.first_check", "wrong")
    assert kept.read_text(encoding="latin-1") == content, "a good file is not set aside"


def test_a_folder_that_cannot_be_written_is_said_not_raised(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path / "file" / "progress.json"))
    progress.record("00.first_check", "passed")
    assert "LABKIT_PROGRESS_FILE" in capsys.readouterr().out


def test_notebook_and_command_line_mean_the_same_file(monkeypatch, tmp_path):
    monkeypatch.delenv("LABKIT_PROGRESS_FILE", raising=False)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    from_above = progress.path()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert progress.path() == from_above == tmp_path / "notebooks" / ".labkit" / "progress.json"


def test_overview_counts_and_names_the_next_exercise(file, capsys):
    progress.record("00.first_check", "passed")
    table = text()
    assert "1 of 4" in table
    assert "00.seeded_noise" in table
    assert str(file) in table
    overview.overview()
    assert "1 of 4" in capsys.readouterr().out


def test_overview_counts_the_guesses_that_came_near(file):
    from labkit.course.exercises.overview import rows

    kept = {
        "00.a": {"guess": 1, "near": True},
        "00.b": {"guess": 9, "near": False},
        "02.c": {"guess": "words"},
    }
    told = [row[-2] for row in rows(progress.Progress(predictions=kept))]
    assert told[0] == "1 of 2 near"
    assert set(told[1:-1]) == {"-"}, "no guess, or one in words"
    assert told[-1] == "1 of 2 near"
