"""Grading away from the notebook: each function of a submission runs by itself, in a fresh process, and is judged here.

Beside nbgrader, which goes on working, but runs a student's whole notebook in the kernel that also decides: one line in
an answer cell can then redefine ``check``, and one endless loop or ``exit()`` takes the other exercises with it. Here

- the checks run in the grader's process, on the instructor's labkit; only plain data comes back from the student's;
- time and memory are limited for each exercise, and what one does to its process costs no other;
- on Linux the kernel keeps the process from other files, programs, TCP and signals (Landlock; elsewhere Python alone does);
- a function gets labkit's version of every other exercise that it calls, so a mistake is counted once;
- cells are found by what they define: a check cell that was deleted and a cell that was split cost nothing.

**What remains possible.** Where there is no Landlock the fence is made of Python, not of an operating system: code that
calls into C by itself, or takes Python apart, can read a file or use the network as the account that grades. With it such
code can still use UDP, look at the names of files and fill the disk. For strangers' submissions use an account or a
container of its own.

Nothing here can tell who wrote a function. The answers stand folded in every self-paced notebook, and the data of most
checks is fixed: a copied answer, a call of another library that does the same, or a table of the expected numbers all
pass. Read what the CSV calls passed as you would read any homework.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.course.grading.classroom import GradingError as GradingError
    from labkit.course.grading.classroom import grade as grade

__getattr__, __dir__, __all__ = facade.lazy(__name__)
