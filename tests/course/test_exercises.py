"""Exercises and ``check``: the three outcomes, what each says, and that a learner's notebook never stops."""

import numpy as np
import pytest
import torch

from labkit.course import CheckFailed, Wrong, check, expect_close, find
from labkit.course.exercises import checking, progress
from labkit.course.exercises import exercise as exercises
from labkit.course.exercises.exercise import exercise


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
