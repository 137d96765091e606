"""Interview preparation: a bank of questions whose numbers labkit computes, a drill, a mock interview, formulas."""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.course.interview.bank import Question as Question
    from labkit.course.interview.bank import choose as choose
    from labkit.course.interview.bank import questions as questions
    from labkit.course.interview.panel import start as start
    from labkit.course.interview.study import Study as Study

__getattr__, __dir__, __all__ = facade.lazy(__name__)
