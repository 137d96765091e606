"""What every lab's checks are held to: a stub is not attempted, a right answer passes, a mistake is named."""

from __future__ import annotations

from collections.abc import Callable

from labkit.course import check, find


def stub(*args: object, **kwargs: object) -> None:
    raise NotImplementedError("your turn")


def prove_right(name: str, right: Callable) -> None:
    """Assert that a stub is not attempted, and that ``right`` and the reference pass."""
    assert check(name, stub).status == "not attempted"
    outcome = check(name, right)
    assert outcome.status == "passed", outcome
    find(name).run(find(name).answer)  # the reference passes its own check


def prove_mistake(name: str, attempt: Callable, message: str) -> None:
    """Assert that ``attempt`` is wrong, and that ``message`` is part of what the learner reads, at the latest when stuck.

    What a *first* wrong try may read is held in test_hint_ladder.py, on these same mistakes.
    """
    outcome = check(name, attempt)
    assert outcome.status == "wrong", outcome
    told = f"{outcome.problem.because}: {outcome.problem.remedy}\n{outcome}"
    assert message in told, told


def prove_second_press(name: str, wrong: Callable, right: Callable) -> None:
    """Assert that a stub, a wrong and a right attempt are judged alike however often the check is pressed.

    A lab never rebinds the learner's name, so a check judges what was written.
    """
    for attempt, status in ((stub, "not attempted"), (wrong, "wrong"), (right, "passed")):
        assert [check(name, attempt).status for _ in range(2)] == [status, status]
