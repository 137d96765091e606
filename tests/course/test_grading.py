"""``labkit classroom grade``: what a student's code may cost, and what it may not."""

import csv
import dataclasses
import json
import sys

import nbformat
import numpy as np
import pytest
import torch

from labkit import cli
from labkit.course import grading
from labkit.course.exercises.exercise import find
from labkit.course.grading import landlock, remote, slicing, submission, worker
from labkit.course.grading.wire import Wire, WireError
from labkit.course.labs import lab
from labkit.course.notebooks import build, source, written

LAB = lab("00")
RIGHT = "return float((predicted == labels).float().mean())"


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """Return (questions, solved notebook) of lab 00, from its own source: two exercises are enough here."""
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("handout") / "handout.ipynb"
    nbformat.write(source.handout(solved), path)
    asked = submission.questions(LAB, path)
    assert len(asked) == 4
    return {id: asked[id] for id in ("00.first_check", "00.per_sample_norms")}, solved


def with_answer(solved, body: str, before: str = ""):
    """Return the solved notebook with another body of the first exercise's function, and lines before it."""
    book = nbformat.from_dict(solved)
    cell = next(c for c in book.cells if "def accuracy" in c.source and c.cell_type == "code")
    head = cell.source[: cell.source.index("    ### BEGIN")]
    cell.source = f"{before}\n{head}    {body}"
    return book


def statuses(asked, book, seconds=60, megabytes=2048):
    hidden = submission.hidden_folders(build.checkout() / "nowhere")
    outcomes = submission.grade(LAB, asked, book, seconds=seconds, megabytes=megabytes, hidden=hidden)
    assert outcomes["00.per_sample_norms"].status == "passed", "the innocent exercise keeps its points"
    return outcomes["00.first_check"]


def test_a_right_answer_has_its_points(handed_out):
    asked, solved = handed_out
    assert statuses(asked, with_answer(solved, RIGHT)).status == "passed"


CHECKS = "__import__('labkit').__path__[0] + '/course/checks/lab00.py'"
HOSTILE = {
    "grading switched off": ("return 0.0", "import os\nos.environ.pop('NBGRADER_EXECUTION', None)"),
    "check redefined": ("return 0.0", "def check(*args): return None"),
    "the comparison taken out": (
        "import labkit.course.exercises.exercise as e; e.expect_close = lambda *a, **k: None; return 0.0",
        "",
    ),
    "an object that equals everything": (
        "return type('Same', (float,), {'__eq__': lambda s, o: True, '__sub__': lambda s, o: 0.0})(0.0)",
        "",
    ),
    "labkit's own answer": (
        "from labkit.course import find; return find('00.first_check').answer(predicted, labels)",
        "",
    ),
    "labkit's own answer from where it lies": (
        "from labkit.course.checks.lab00 import accuracy as a; return a(predicted, labels)",
        "",
    ),
    "the file with the answers": (
        f"exec(open({CHECKS}).read()); return locals()['accuracy'](predicted, labels)",
        "",
    ),
    "another process": (
        "import subprocess; return float(subprocess.run(['true']).returncode == 0)",
        "",
    ),
    "the end of whoever grades": ("import os; os.kill(os.getppid(), 9); return 0.0", ""),
    "the answer's module once more": (
        "import sys; del sys.modules['labkit.course']; import labkit.course.checks.lab00 as c; return c.accuracy(predicted, labels)",
        "",
    ),
    "a true answer in the proofs": (
        f"open({CHECKS}.replace('labkit/course/checks', 'tests/course/test_checks')); {RIGHT}",
        "",
    ),
    "a reply forged on the line": (
        "import sys; s = sys._getframe(1).f_locals['self']; s.line.send_bytes(s.wire.dumps('returned')); return 0.0",
        "",
    ),
    "an interrupt for whoever grades": ("raise KeyboardInterrupt", ""),
    "the end of a generator": ("raise GeneratorExit", ""),
    "an ending while the cell loads": ("return x", "import os\nx = os._exit(0)"),
    "a number that no text holds": ("return 10**100000", ""),
    "half a character": ("raise ValueError('\\ud800')", ""),
    "half a character, returned": ("return '\\ud800'", ""),
    "a list that fills whoever reads it": ("return [{}] * 10**7", ""),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_one_line_of_malice_earns_nothing_and_costs_no_other_exercise(handed_out, trick):
    asked, solved = handed_out
    outcome = statuses(asked, with_answer(solved, *HOSTILE[trick]))
    assert outcome.status == "wrong", outcome
    outcome.html.encode()  # whatever came back can be written down


REACHES = {  # {victim} is another student's notebook
    "by a new name": "import os; open('x', 'w').write('mine'); os.replace('x', {victim!r})",
    "through a folder": "import os; os.remove('ada.ipynb', dir_fd=os.open({folder!r}, os.O_RDONLY))",
    "as a database": "import sqlite3; sqlite3.connect({victim!r}).execute('create table t (x)')",
    "in C++": "torch.save(dict(), {victim!r})",
    "from a second Python": (
        "import multiprocessing as m; m.current_process()._config['daemon'] = False; "
        "p = m.get_context('spawn').Process(target=__import__('os').remove, args=({victim!r},)); p.start(); p.join()"
    ),
    "with a program": (
        "import multiprocessing.util as u; u.spawnv_passfds(b'/bin/rm', [b'rm', {victim!r}.encode()], []); "
        "__import__('time').sleep(1)"
    ),
    "reading in C++": "assert bytes(torch.from_file({victim!r}, size=4, dtype=torch.uint8).tolist()) != b'hers'; return 0.0",
    "with the fence taken down": (
        "import labkit.course.grading.worker as w; w._path = w._writes = lambda *_: ''; open({victim!r}, 'w')"
    ),
    "reading the environment": "open(f'/proc/{{__import__(\"os\").getppid()}}/environ').read()",
    "by a signal": "import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
}


@pytest.mark.skipif(
    not landlock.version(), reason="this system has no Landlock: INSTRUCTORS.md says what that leaves open"
)
@pytest.mark.parametrize("way", REACHES)
def test_no_way_leads_to_another_submission_where_the_kernel_keeps_the_fence(handed_out, tmp_path, way):
    asked, solved = handed_out
    victim = tmp_path / "ada.ipynb"
    victim.write_text("hers", encoding="utf-8")
    body = f"{REACHES[way].format(victim=str(victim), folder=str(tmp_path))}\n    {RIGHT}"
    hidden = submission.hidden_folders(tmp_path)
    book = with_answer(solved, body)
    outcomes = submission.grade(LAB, asked, book, seconds=30, megabytes=2048, hidden=hidden)
    assert victim.read_text(encoding="utf-8") == "hers"
    assert outcomes["00.per_sample_norms"].status == "passed"
    quiet = way in ("from a second Python", "with a program")  # the child fails, and nobody tells the parent
    assert (outcomes["00.first_check"].status == "passed") == quiet


def test_the_graders_environment_stays_with_the_grader(handed_out):
    """pytest puts a variable into it, as others put tokens."""
    asked, solved = handed_out
    body = f"import os; assert 'PYTEST_CURRENT_TEST' not in os.environ\n    {RIGHT}"
    assert statuses(asked, with_answer(solved, body)).status == "passed"


def test_time_that_a_submission_takes_of_labkits_own_functions_is_limited_too(handed_out, monkeypatch):
    """They run in the grader, and while the definitions load no check is running yet."""
    asked, _ = handed_out
    monkeypatch.setattr(remote, "SPARE", 1)

    def spin():
        while True:
            pass

    question = asked["00.first_check"]
    code = remote.Code("x = spin()\ndef accuracy(predicted, labels): return x", "accuracy", {"spin": "spin"})
    item = dataclasses.replace(find(question.id), seconds=1)
    opened = remote.running(item, code, question.stub, {"spin": spin}, hidden=[], megabytes=1024)
    with pytest.raises(remote.NotLoaded, match="still running"), opened:
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux and most Unixes")
def test_memory_that_a_submission_asks_of_labkits_own_functions_is_limited_and_given_back():
    with worker.memory_limit(256), pytest.raises((MemoryError, RuntimeError)):
        torch.empty(2**28)
    assert torch.empty(2**28).numel() == 2**28


def test_an_array_is_sent_once_and_read_once():
    near, far = (Wire(trusting=trusting, call=None) for trusting in (False, True))
    message = far.dumps(np.zeros(8))
    assert near.loads(message)[0].shape == (8,)
    size = int.from_bytes(message[:4], "big")
    tree_size, *blobs = json.loads(message[4 : 4 + size])
    tree = json.dumps(json.loads(message[4 + size : 4 + size + tree_size]) * 1000).encode()
    head = json.dumps([len(tree), *blobs]).encode()
    with pytest.raises(WireError):
        near.loads(b"".join([len(head).to_bytes(4, "big"), head, tree, message[4 + size + tree_size :]]))


def test_prints_below_python_reach_no_screen_and_no_folder_is_left(handed_out, capfd, tmp_path, monkeypatch):
    asked, solved = handed_out
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    body = (
        "import os; os.write(1, b'passed'); os.write(2, b'passed'); open('big', 'w').write('x'); return 0.0"
    )
    assert statuses(asked, with_answer(solved, body)).status == "wrong"
    assert "passed" not in "".join(capfd.readouterr())
    assert list(tmp_path.glob("labkit-grading-*")) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("while True: pass", "endless loop"),
        ("return float(torch.ones(2**31).mean())", ""),
        ("exit()", "end Python"),
        ("import os; os._exit(0)", "end Python"),
    ],
    ids=["an endless loop", "eight gigabytes", "exit", "a process that is gone"],
)
def test_what_ends_or_fills_a_process_costs_its_own_exercise_alone(handed_out, body, says):
    asked, solved = handed_out
    outcome = statuses(asked, with_answer(solved, body), seconds=5, megabytes=1024)
    assert outcome.status == "wrong"
    assert says in outcome.problem.because


def test_a_deleted_check_cell_and_a_split_cell_cost_nothing(handed_out):
    asked, solved = handed_out
    book = with_answer(solved, RIGHT)
    book.cells = [cell for cell in book.cells if "check(" not in cell.source]
    place = next(i for i, cell in enumerate(book.cells) if "def accuracy" in cell.source)
    first, second = book.cells[place].source.split(f"    {RIGHT}")[0], f"    {RIGHT}"
    book.cells[place : place + 1] = [nbformat.v4.new_code_cell(first), nbformat.v4.new_code_cell(second)]
    assert statuses(asked, book).status == "passed"


@pytest.mark.parametrize("change", [("def accuracy", "def my_accuracy"), ("def accuracy(", "def accuracy((")])
def test_a_renamed_function_and_a_syntax_error_are_not_found(handed_out, change):
    asked, solved = handed_out
    book = with_answer(solved, RIGHT)
    for cell in book.cells:
        cell.source = cell.source.replace(*change) if cell.cell_type == "code" else cell.source
    outcome = statuses(asked, book)
    assert outcome.status == "not attempted"
    assert "no function accuracy" in outcome.remark


def test_a_right_function_that_calls_a_wrong_one_keeps_its_points(tmp_path):
    """Reported for other graders: one failure cascades (nbgrader issue 1941), or what passed at home fails when graded."""
    item = lab("06")
    solved = source.solution(item, build.places(item, build.checkout()).source.read_text(encoding="utf-8"))
    nbformat.write(source.handout(solved), tmp_path / "handout.ipynb")
    asked = submission.questions(item, tmp_path / "handout.ipynb")
    pair = {id: asked[id] for id in ("06.p_value", "06.one_run_epsilon")}
    for cell in solved.cells:
        if "def one_run_epsilon" in cell.source:
            cell.source = cell.source.replace("solved.p_value", "p_value")
        elif "def p_value" in cell.source:
            cell.source = source.without_solution(cell.source)[0].replace(source.STUB, "return 0.5")
    outcomes = submission.grade(item, pair, solved, seconds=60, megabytes=2048, hidden=[])
    assert [outcome.status for outcome in outcomes.values()] == ["wrong", "passed"]


def test_a_course_folder_becomes_a_table_and_a_page_for_each_learner(tmp_path, capsys):
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    for student in ("ada", "=bob"):
        path = tmp_path / "submitted" / student / LAB.name / f"{LAB.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(with_answer(solved, RIGHT), path) if student == "ada" else path.write_text("{")
    assert cli.main(["classroom", "grade", str(tmp_path)]) == 0
    with (tmp_path / "labkit-grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["student"] for row in rows] == ["'=bob"] * 4 + ["ada"] * 4, (
        "no cell of a spreadsheet is a formula"
    )
    assert {row["points"] for row in rows if row["student"] != "ada"} == {"0"}
    assert all(row["points"] == row["possible"] for row in rows if row["student"] == "ada")
    page = (tmp_path / "labkit-feedback" / "ada" / f"{LAB.name}.html").read_text(encoding="utf-8")
    assert "6 of 6 points" in page
    assert "bob" not in page
    assert "cannot be read" in (tmp_path / "labkit-feedback" / "=bob" / f"{LAB.name}.html").read_text(
        encoding="utf-8"
    )


ABUSE = {  # what a hostile first answer does; {victim} is another student's notebook
    "loops": "while True: pass",
    "leaves": "import os; os._exit(0)",
    "forks": "import os; [os.fork() for _ in range(20)]; return 0.0",
    "swells": "x = bytearray(2**36); return 0.0",
    "scribbles": "open({victim!r}, 'w').write('mine'); return 0.0",
    "boasts": "print('00.first_check passed: 6 of 6 points'); return 'passed'",
    "asks": "return float(input('the answer, please: '))",
    "tampers": "return 0.0",
}


def test_twenty_submissions_are_graded_in_one_run_and_hostile_ones_spoil_only_themselves(tmp_path):
    """One learner's code never costs another a point, a file or the run."""
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    students = [*ABUSE, *(f"honest{number:02}" for number in range(20 - len(ABUSE)))]
    paths = {name: tmp_path / "submitted" / name / LAB.name / f"{LAB.name}.ipynb" for name in students}
    victim = str(paths["honest00"])
    for name, path in paths.items():
        path.parent.mkdir(parents=True)
        book = with_answer(solved, ABUSE.get(name, RIGHT).format(victim=victim))
        for cell in book.cells:
            if name == "tampers" and 'check("00.first_check"' in cell.source:
                cell.source = (
                    "def check(*_): print('passed')\ncheck('00.first_check', accuracy)\nwhile True: pass"
                )
        nbformat.write(book, path)
    before = {name: path.read_bytes() for name, path in paths.items()}

    table, feedback = grading.grade(tmp_path, seconds=8, megabytes=1024)

    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 * 4
    lost = {(row["student"], row["exercise"]) for row in rows if row["points"] != row["possible"]}
    assert lost == {(name, "00.first_check") for name in ABUSE}
    assert {name: path.read_bytes() for name, path in paths.items()} == before, "no submission has changed"
    assert len(list(feedback.glob("*/*.html"))) == 20
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"submitted", "labkit-grades.csv", "labkit-feedback", written.RECORD}


BROKEN = {  # what stands in the file that should be a notebook
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe\x00",
    "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": null}',
    "cells without text": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
    "a number for text": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "source": 3}]}',
    "brackets in brackets": b"[" * 10**6,
}


def test_no_broken_notebook_ends_the_grading_of_the_next(tmp_path):
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    paths = {}
    for number, name in enumerate([*BROKEN, "deep", "long", "zoe"]):
        paths[name] = tmp_path / "submitted" / f"{number:02} {name}" / LAB.name / f"{LAB.name}.ipynb"
        paths[name].parent.mkdir(parents=True)
        if name in BROKEN:
            paths[name].write_bytes(BROKEN[name])
        else:
            before = {"deep": "x = " + "-" * 50_000 + "1", "long": "x = 1\n" * 100_000}.get(name, "")
            nbformat.write(with_answer(solved, RIGHT, before), paths[name])
    link = tmp_path / "submitted" / "99 eve" / LAB.name / f"{LAB.name}.ipynb"
    link.parent.mkdir(parents=True)
    link.symlink_to(paths["zoe"])
    table, _ = grading.grade(tmp_path, seconds=20, megabytes=1024)
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    earned = {row["student"] for row in rows if row["points"] != "0"}
    assert earned == {"06 deep", "08 zoe"}, "and a cell that is no Python costs what it defines"
    assert {row["remark"] for row in rows if row["student"] == "99 eve"} == {
        "The notebook cannot be read (GradingError: it is a link to somewhere else): hand it in again."
    }


def test_a_chain_of_definitions_is_followed_in_time_that_grows_with_it():
    """Ten thousand names took a hundred million steps: one submission kept all others waiting."""
    import ast

    links = 4000
    cells = ast.parse("a0 = 0\n" + "".join(f"a{k} = a{k - 1}\n" for k in range(1, links))).body
    assert slicing.needed(f"a{links - 1}", cells).count("\n") == links - 1


def test_points_given_by_hand_are_never_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "submitted" / "ada" / LAB.name / f"{LAB.name}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    monkeypatch.setattr("labkit.course.grading.classroom._warm_up", lambda *_: None)
    table, _ = grading.grade(tmp_path)
    grading.grade(tmp_path)  # what nobody touched is written again
    table.write_text("mine", encoding="utf-8")
    with pytest.raises(written.EditedError, match=r"labkit-grades\.csv"):
        grading.grade(tmp_path)
    assert table.read_text(encoding="utf-8") == "mine"
    assert cli.main(["classroom", "grade", str(tmp_path)]) == 2
    grading.grade(tmp_path, force=True)
    assert table.with_name("labkit-grades.csv.yours").read_text(encoding="utf-8") == "mine"


def test_a_folder_without_submissions_says_what_is_expected(tmp_path, capsys):
    assert cli.main(["classroom", "grade", str(tmp_path)]) == 2
    assert "submitted" in capsys.readouterr().err
