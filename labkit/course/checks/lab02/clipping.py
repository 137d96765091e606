"""Checks of lab 02 on the clipping norm and the learning rate: by the arithmetic of one step."""

from __future__ import annotations

from collections.abc import Callable

from labkit.course.exercises.exercise import exercise, expect_close


def coupled_rate(learning_rate: float, max_grad_norm: float, new_norm: float) -> float:
    """Return the learning rate at which a clipped record moves the model as far as before."""
    return learning_rate * max_grad_norm / new_norm


@exercise(
    "02.coupled_rate",
    title="change the clipping norm, and nothing else",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference=coupled_rate,
)
def check_coupled_rate(attempt: Callable) -> None:
    """A clipped record pulls with the clipping norm, times the learning rate: that product must not change."""
    for rate, norm, new in ((0.5, 1.0, 0.1), (4.0, 0.5, 2.0), (0.3, 1.2, 1.2)):
        got = float(attempt(rate, norm, new))
        wanted = rate * norm / new
        mistakes = {
            "the product of learning rate and clipping norm has to stay: a smaller norm wants a larger rate": rate
            * new
            / norm,
            "with the same rate, a record clipped to a smaller norm moves the model less: two things changed": rate,
            "the step grows with the norm itself, not with its square root": rate * (norm / new) ** 0.5,
        }
        because = "how far does one clipped record move the model, before and after?"
        because = next(
            (why for why, value in mistakes.items() if abs(value - got) < 1e-9 < abs(value - wanted)), because
        )
        given = f"learning rate {rate} at clipping norm {norm}; the new norm is {new}"
        expect_close(got, wanted, given=given, because=because, rtol=1e-9)
