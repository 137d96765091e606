"""The notebooks of a lab as its source says, made once for all tests of a file."""

import functools

from labkit import cache
from labkit.course.labs import lab
from labkit.course.notebooks import build, source

ROOT = cache.checkout()


@functools.cache
def books_of(number):
    """Return the two notebooks of a lab: the solution without outputs, and the learner's copy."""
    item = lab(number)
    solved = source.solution(item, build.places(item, ROOT).source.read_text(encoding="utf-8"))
    return solved, source.learner(solved)
