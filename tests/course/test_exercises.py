"""Exercises and ``check``: the three outcomes, what each says, and that a learner's notebook never stops."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from labkit.course import CheckFailed, Wrong, check, expect_close, find, showing
from labkit.course.exercises import checking, progress
from labkit.course.exercises import exercise as exercises
from labkit.course.exercises.exercise import exercise
from labkit.course.notebooks.execute import execute


@pytest.fixture
def clamp(monkeypatch):
    monkeypatch.setattr(exercises, "_registry", dict(exercises._registry))

    @exercise("99.clamp", title="Clamp at one", points=2, reference="torch:sigmoid")
    def run(attempt):
        x = torch.tensor([0.5, 3.0])
        expect_close(attempt(x), torch.tensor([0.5, 1.0]), given={"x": x}, because="values above 1 become 1")

    return "99.clamp"


def test_unwritten_stub_is_not_attempted(clamp):
    def stub(x):
        raise NotImplementedError("your turn")

    outcome = check(clamp, stub)
    assert outcome.status == "not attempted"


@pytest.mark.parametrize("nothing", [None, ...])
def test_nothing_is_not_attempted(clamp, nothing):
    assert check(clamp, nothing).status == "not attempted"


def test_right_answer_passes_and_is_used(clamp):
    def mine(x):
        return x.clamp(max=1)

    outcome = check(clamp, mine)
    assert outcome.status == "passed"
    assert checking.passed(clamp) is mine


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda x: x, "values above 1 become 1"),
        (lambda x: None, "is there a return"),
        (lambda x: x[:1], "the shape is (1,)"),
        (lambda x: "text", "a str came back"),
        (lambda x: x.clamp_(max=1), "changes its input in place"),
        (lambda x: x @ torch.ones(3, 3), "shapes or types do not fit"),
        (lambda: 0, "number, order and type of the arguments"),
        (lambda x: undefined_name, "misspelt"),  # noqa: F821
        (lambda x: torch.exp(torch.ones(2, dtype=torch.int64)).logdet(), ""),
        (lambda x: exit(), "exit() and quit() end Python"),
        (3.0, "without parentheses"),
    ],
)
def test_wrong_answers_name_the_likely_cause(clamp, attempt, says):
    outcome = check(clamp, attempt)
    assert outcome.status == "wrong"
    assert says in outcome.problem.because
    assert checking.passed(clamp) is None


def test_wrong_shows_input_result_and_expectation(clamp, capsys):
    check(clamp, lambda x: x * 2)
    text = capsys.readouterr().out
    for part in (
        "Input:        x = [0.5, 3]",
        "Yours:        [1, 6]",
        "Expected:     [0.5, 1]",
        "Likely cause:",
    ):
        assert part in text


def test_an_unforeseen_type_is_explained_when_the_check_itself_stumbles(monkeypatch):
    monkeypatch.setattr(exercises, "_registry", {})

    @exercise("99.pair", title="A pair", reference=lambda: (1, 2))
    def run(attempt):
        first, second = attempt(4)
        if first + second != 3:
            raise Wrong(got=(first, second), expected=(1, 2), because="they must add up to 3")

    outcome = check("99.pair", lambda n: 7)
    assert outcome.status == "wrong"
    assert "of another type or shape" in outcome.problem.because
    assert outcome.problem.got == 7


def test_html_is_escaped_and_says_the_status_in_words(clamp):
    html = check(clamp, lambda x: "<script>alert(1)</script>").html
    assert "<script>" not in html
    assert "Not yet" in html
    assert "aria-label" in html


def test_an_input_without_a_text_of_its_own_is_shown_without_its_address():
    assert showing.brief({"rng": np.random.default_rng(0)}) == "rng = Generator(PCG64)"
    assert "0x" not in showing.brief(torch.Generator())


@pytest.mark.parametrize(("name", "value"), [("LABKIT_STRICT", "1"), ("NBGRADER_EXECUTION", "autograde")])
def test_strict_mode_raises_unless_passed(clamp, monkeypatch, tmp_path, name, value):
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path / "progress.json"))
    with pytest.raises(CheckFailed, match="Not attempted"):
        check(clamp, None)
    with pytest.raises(CheckFailed, match="values above 1"):
        check(clamp, lambda x: x)
    assert check(clamp, lambda x: x.clamp(max=1)).status == "passed"
    graded = name == "NBGRADER_EXECUTION"
    assert progress.path().exists() != graded, "grading is not the learner's progress"


def test_a_check_leaves_global_randomness_alone_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(exercises, "_registry", {})
    seen = []

    @exercise("99.noise", title="Noise", reference=torch.randn)
    def run(attempt):
        seen.append((attempt(2).tolist(), np.random.rand()))

    torch.manual_seed(7)
    np.random.seed(7)
    expected = (torch.rand(1).item(), np.random.rand())
    torch.manual_seed(7)
    np.random.seed(7)
    check("99.noise", lambda n: torch.randn(n))
    check("99.noise", lambda n: torch.randn(n))
    assert (torch.rand(1).item(), np.random.rand()) == expected
    assert seen[0] == seen[1]


def test_in_place_change_is_fine_where_the_task_asks_for_it(monkeypatch):
    monkeypatch.setattr(exercises, "_registry", {})

    @exercise("99.step", title="A step", reference=torch.relu_, changes_input=True)
    def run(attempt):
        attempt(torch.tensor([-1.0]))

    assert check("99.step", lambda x: x.relu_()).status == "passed"


def test_unknown_exercise_names_those_there_are():
    with pytest.raises(LookupError, match=r"00\.\w+"):
        find("00.no_such_thing")
    with pytest.raises(LookupError, match="none"):
        find("98.nothing")


def test_bad_definitions_are_refused(monkeypatch):
    monkeypatch.setattr(exercises, "_registry", {})
    with pytest.raises(ValueError, match="two digits"):
        exercise("clip", title="", reference=None)
    with pytest.raises(ValueError, match=r"difficulty of 99\.x is 6"):
        exercise("99.x", title="", reference=None, difficulty=6)
    exercise("99.x", title="", reference=None)(lambda attempt: None)

    def other(attempt): ...

    with pytest.raises(ValueError, match="defined twice"):
        exercise("99.x", title="", reference=None)(other)
    with pytest.raises(TypeError, match="likely cause"):
        Wrong(got=1)


def test_an_endless_loop_is_told_and_a_sleeping_one_too(clamp, monkeypatch):
    item = dataclasses.replace(find(clamp), seconds=0.2)
    monkeypatch.setitem(exercises._registry, clamp, item)

    def spins(x):
        while True:
            pass

    for attempt in (spins, lambda x: time.sleep(60)):
        outcome = check(clamp, attempt)
        assert outcome.status == "wrong"
        assert "endless loop" in outcome.problem.because


def test_the_time_limit_holds_outside_of_the_main_thread(clamp, monkeypatch):
    monkeypatch.setitem(exercises._registry, clamp, dataclasses.replace(find(clamp), seconds=0.2))
    outcomes = []

    def spins(x):
        while True:
            pass

    thread = threading.Thread(target=lambda: outcomes.append(check(clamp, spins)), daemon=True)
    thread.start()
    thread.join(30)
    assert [outcome.status for outcome in outcomes] == ["wrong"]


def test_somebody_elses_alarm_goes_on_after_a_check(clamp):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        check(clamp, lambda x: x.clamp(max=1))
        deadline = time.monotonic() + 30
        while not rung and time.monotonic() < deadline:
            time.sleep(0.05)
        assert rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, before)


def test_ipythons_exit_does_not_end_the_kernel_that_checks(clamp):
    ended = []
    kernel = {"exit": lambda: ended.append(True)}
    exec("def mine(x):\n    exit()\n    return x.clamp(max=1)", kernel)
    outcome = check(clamp, kernel["mine"])
    assert (outcome.status, ended) == ("wrong", [])
    assert "exit() and quit() end Python" in outcome.problem.because
    kernel["exit"]()
    assert ended, "outside of checks it is IPython's own again"


@pytest.mark.parametrize(
    ("promise", "value", "kept"),
    [
        (np.ndarray, torch.ones(2), False),
        (torch.Tensor, np.ones(2), False),
        (float, np.float32(1), True),
        (float, torch.tensor(1.0), False),
        (int, np.int64(3), True),
        (bool, np.bool_(True), True),
        (float | None, None, True),
        (tuple[float, float], (1.0, 2), True),
        (tuple[float, float], (1.0, torch.tensor(2.0)), False),
        (list[int], [1], True),
        (Any, object(), True),
    ],
)
def test_the_type_that_the_stub_promises_is_checked_last(monkeypatch, promise, value, kept):
    monkeypatch.setattr(exercises, "_registry", {})

    @exercise("99.typed", title="Typed", reference=lambda: 0)
    def run(attempt):
        attempt()

    def mine():
        return value

    mine.__annotations__["return"] = promise
    outcome = check("99.typed", mine)
    assert outcome.status == ("passed" if kept else "wrong")
    assert kept or "convert what you return" in outcome.problem.because


@pytest.fixture
def two_exercises(monkeypatch):
    """Two exercises, the second of which may call the first; and a kernel with a wrong first and a right second."""
    monkeypatch.setattr(exercises, "_registry", {})
    monkeypatch.setattr(checking, "_judged", {})

    def double(x):
        return 2 * x

    @exercise("99.double", title="Twice", reference=double)
    def run_double(attempt):
        expect_close(attempt(3.0), 6.0, given="3", because="twice as much")

    @exercise("99.four", title="Four times", reference=lambda x: 4 * x)
    def run_four(attempt):
        expect_close(attempt(3.0), 12.0, given="3", because="four times as much")

    kernel = {}
    exec("def double(x):\n    return 3 * x\n\ndef four(x):\n    return double(double(x))", kernel)
    return kernel


@pytest.mark.parametrize("graded", [False, True])
def test_a_right_answer_does_not_pay_for_a_wrong_one_that_it_calls(two_exercises, monkeypatch, graded):
    """otter-grader issue 890: right where the student works, wrong when graded. It is passed in both."""
    kernel = two_exercises
    if graded:
        monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
        with pytest.raises(CheckFailed):
            check("99.double", kernel["double"])
    else:
        assert check("99.double", kernel["double"]).status == "wrong"
    outcome = check("99.four", kernel["four"])
    assert outcome.status == "passed"
    assert "Judged with labkit's double" in outcome.remark
    assert kernel["double"](1) == 3, "the learner's own name is left alone"
    assert checking.passed("99.four") is None, "the cells below use it once both have passed"


def test_grading_is_settled_before_any_answer_runs(tmp_path):
    """nbgrader pull request 1324: one line of a student's must not make failed tests pass."""
    code = (
        "import os; from labkit.course import check, CheckFailed\n"
        "os.environ.pop('NBGRADER_EXECUTION')\n"
        "try:\n    check('00.first_check', None)\nexcept CheckFailed:\n    print('still graded')"
    )
    graded = os.environ | {
        "NBGRADER_EXECUTION": "autograde",
        "LABKIT_PROGRESS_FILE": str(tmp_path / "p.json"),
    }
    done = subprocess.run([sys.executable, "-c", code], env=graded, capture_output=True, text=True)
    assert "still graded" in done.stdout, done.stderr
    assert not (tmp_path / "p.json").exists(), "grading is not the learner's progress"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_an_output_cannot_encode_is_said_in_words(encoding, tmp_path):
    """Output piped into a file on Windows is cp1252 (fastai pull request 2334, nbconvert issue 1868)."""
    poor = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    poor["LABKIT_PROGRESS_FILE"] = str(tmp_path / "p.json")
    code = "from labkit.course import check; check('02.epsilon', None); from labkit.course import showing; showing.show('', 'ε = 3')"
    done = subprocess.run([sys.executable, "-c", code], env=poor, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"Not attempted" in done.stdout
    assert b"epsilon = 3" in done.stdout


def test_exit_and_endless_loops_leave_a_real_kernel_alive(tmp_path):
    cells = (
        "from dataclasses import replace\nfrom labkit.course import check, find\n"
        "from labkit.course.exercises import exercise\n"
        "exercise._registry['00.first_check'] = replace(find('00.first_check'), seconds=1)",
        "def accuracy(predicted, labels):\n    exit()\n\nleaves = check('00.first_check', accuracy)",
        "def accuracy(predicted, labels):\n    while True:\n        pass\n\nloops = check('00.first_check', accuracy)",
        "def accuracy(predicted, labels):\n    import time\n    time.sleep(600)\n\nsleeps = check('00.first_check', accuracy)",
        "print(leaves.status, loops.status, sleeps.status)",
    )
    book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    execute(book, tmp_path, "a kernel", cell_timeout=120)
    assert book.cells[-1].outputs[0].text.strip() == "wrong wrong wrong"
