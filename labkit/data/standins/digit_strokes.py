"""How digits are written: skeletons of pen strokes, several a digit, in a box of height 1 (y points down).

Drawn by hand from common writing habits (with and without serif, loop, bar, ...); no data set was looked at to place
a point. A letter names a control point; a stroke is a word over the letters, traced as a smooth curve through them,
and a corner is a letter that ends one stroke and begins the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Glyph:
    """One way to write a digit.

    Parameters
    ----------
    share : float
        How common it is among the ways to write this digit.
    points : tuple of (x, y)
        Control points.
    strokes : tuple of tuples of int
        Which points each stroke passes through, in order.
    """

    share: float
    points: tuple[tuple[float, float], ...]
    strokes: tuple[tuple[int, ...], ...]


def _glyph(share: float, strokes: str, **points: tuple[float, float]) -> Glyph:
    """Return a glyph from named points and space-separated strokes over their names."""
    names = {name: index for index, name in enumerate(points)}
    words = tuple(tuple(names[letter] for letter in word) for word in strokes.split())
    return Glyph(share, tuple(points.values()), words)


def _oval(
    share: float, width: float, start: float, sweep: float, tail: tuple[float, float] | None = None
) -> Glyph:
    """Return a zero: an ellipse begun at ``start`` degrees (0 = right, 90 = down), drawn against the clock."""
    angles = [math.radians(start - sweep * k / 10) for k in range(11)]
    points = [(width * (1 + math.cos(a)) / 2, (1 + math.sin(a)) / 2) for a in angles]
    if tail:
        points.insert(0, tail)
    return Glyph(share, tuple(points), (tuple(range(len(points))),))


G = _glyph
GLYPHS: dict[int, tuple[Glyph, ...]] = {
    0: (
        _oval(5, 0.72, -75, 362),
        _oval(3, 0.58, -60, 375),
        _oval(3, 0.85, -95, 365),
        _oval(1, 0.70, -50, 335),
        _oval(1, 0.70, -70, 380, tail=(0.55, -0.06)),
    ),
    1: (
        G(9, "abc", a=(0, 0), b=(0.01, 0.5), c=(0, 1)),
        G(2, "abc", a=(0.03, 0), b=(-0.02, 0.5), c=(0.03, 1)),
        G(2, "ab bcd", a=(-0.2, 0.2), b=(0, 0), c=(0.01, 0.5), d=(0, 1)),
        G(0.7, "ab bcd ef", a=(-0.25, 0.2), b=(0, 0), c=(0, 0.5), d=(0, 1), e=(-0.25, 1), f=(0.25, 0.99)),
    ),
    2: (
        G(
            4,
            "abcdef fg",
            a=(0.04, 0.2),
            b=(0.3, 0),
            c=(0.58, 0.2),
            d=(0.48, 0.48),
            e=(0.25, 0.75),
            f=(0, 0.97),
            g=(0.68, 0.96),
        ),
        G(
            4,
            "abcdefghij",
            a=(0.05, 0.22),
            b=(0.28, 0),
            c=(0.56, 0.18),
            d=(0.46, 0.52),
            e=(0.22, 0.86),
            f=(0.04, 0.97),
            g=(0.0, 0.84),
            h=(0.16, 0.8),
            i=(0.4, 0.93),
            j=(0.72, 0.9),
        ),
        G(
            2,
            "abcde efgh",
            a=(0.02, 0.12),
            b=(0.3, 0.0),
            c=(0.56, 0.22),
            d=(0.36, 0.6),
            e=(0.0, 0.95),
            f=(0.2, 0.86),
            g=(0.45, 0.97),
            h=(0.72, 0.93),
        ),
    ),
    3: (
        G(
            5,
            "abcde efghi",
            a=(0.04, 0.13),
            b=(0.28, 0),
            c=(0.54, 0.17),
            d=(0.44, 0.4),
            e=(0.22, 0.47),
            f=(0.5, 0.55),
            g=(0.6, 0.78),
            h=(0.34, 1),
            i=(0, 0.88),
        ),
        G(
            2,
            "abcdefghijk",
            a=(0.04, 0.15),
            b=(0.3, 0),
            c=(0.55, 0.16),
            d=(0.42, 0.4),
            e=(0.22, 0.49),
            f=(0.17, 0.44),
            g=(0.3, 0.43),
            h=(0.55, 0.58),
            i=(0.58, 0.82),
            j=(0.32, 1),
            k=(0.0, 0.9),
        ),
        G(
            1.3,
            "ab bc cdefg",
            a=(0.03, 0.03),
            b=(0.6, 0.0),
            c=(0.26, 0.4),
            d=(0.54, 0.5),
            e=(0.6, 0.76),
            f=(0.34, 1),
            g=(0.0, 0.9),
        ),
    ),
    4: (
        G(4, "abc de", a=(0.1, 0.04), b=(0.0, 0.53), c=(0.62, 0.5), d=(0.56, 0.0), e=(0.48, 1)),
        G(
            3,
            "ab bcd ef",
            a=(0.08, 0.03),
            b=(0.0, 0.52),
            c=(0.3, 0.54),
            d=(0.66, 0.48),
            e=(0.52, 0.1),
            f=(0.5, 1),
        ),
        G(
            2.5,
            "abcd ef",
            a=(0.06, 0.05),
            b=(0.02, 0.4),
            c=(0.2, 0.55),
            d=(0.55, 0.42),
            e=(0.6, 0.0),
            f=(0.52, 1),
        ),
        G(2, "ab bc ad", a=(0.46, 0), b=(0.0, 0.62), c=(0.72, 0.6), d=(0.46, 1)),
    ),
    5: (
        G(
            4,
            "ab bcdef ag",
            a=(0.2, 0.02),
            b=(0.13, 0.42),
            c=(0.36, 0.37),
            d=(0.58, 0.62),
            e=(0.38, 0.95),
            f=(0, 0.93),
            g=(0.68, 0.0),
        ),
        G(
            2.5,
            "abcdefgh",
            a=(0.66, 0.03),
            b=(0.3, 0.05),
            c=(0.15, 0.27),
            d=(0.25, 0.45),
            e=(0.5, 0.56),
            f=(0.54, 0.8),
            g=(0.3, 1),
            h=(0.0, 0.9),
        ),
        G(
            2,
            "ab bcdef gh",
            a=(0.16, 0.1),
            b=(0.12, 0.45),
            c=(0.38, 0.42),
            d=(0.54, 0.66),
            e=(0.36, 0.97),
            f=(0, 0.9),
            g=(0.2, 0.07),
            h=(0.64, 0.0),
        ),
    ),
    6: (
        G(
            4,
            "abcdefg",
            a=(0.5, 0),
            b=(0.2, 0.28),
            c=(0.03, 0.66),
            d=(0.2, 0.98),
            e=(0.5, 0.82),
            f=(0.42, 0.56),
            g=(0.08, 0.68),
        ),
        G(
            3,
            "abcdefg",
            a=(0.3, 0),
            b=(0.1, 0.35),
            c=(0.04, 0.74),
            d=(0.22, 1),
            e=(0.44, 0.86),
            f=(0.34, 0.64),
            g=(0.08, 0.78),
        ),
        G(
            2,
            "abcdefgh",
            a=(0.6, 0.06),
            b=(0.32, 0.12),
            c=(0.06, 0.45),
            d=(0.06, 0.8),
            e=(0.32, 1),
            f=(0.58, 0.76),
            g=(0.4, 0.5),
            h=(0.08, 0.62),
        ),
    ),
    7: (
        G(5, "abc cde", a=(0.0, 0.06), b=(0.3, 0.06), c=(0.6, 0.02), d=(0.42, 0.45), e=(0.28, 1)),
        G(
            2,
            "abc cde fg",
            a=(0, 0.06),
            b=(0.3, 0.05),
            c=(0.6, 0.02),
            d=(0.4, 0.5),
            e=(0.25, 1),
            f=(0.12, 0.54),
            g=(0.64, 0.48),
        ),
        G(
            2.5,
            "zabcde",
            z=(0.0, 0.22),
            a=(0.06, 0.06),
            b=(0.36, 0.05),
            c=(0.58, 0.1),
            d=(0.44, 0.45),
            e=(0.3, 1),
        ),
        G(
            1.5,
            "za abc cde",
            z=(0, 0.2),
            a=(0.02, 0.03),
            b=(0.3, 0.05),
            c=(0.62, 0.02),
            d=(0.38, 0.42),
            e=(0.3, 1),
        ),
    ),
    8: (
        G(
            5,
            "abcdefghija",
            a=(0.52, 0.12),
            b=(0.3, 0),
            c=(0.08, 0.18),
            d=(0.26, 0.42),
            e=(0.5, 0.64),
            f=(0.48, 0.9),
            g=(0.22, 1),
            h=(0.03, 0.82),
            i=(0.2, 0.56),
            j=(0.46, 0.34),
        ),
        G(
            2,
            "abcdefghi",
            a=(0.56, 0.04),
            b=(0.26, 0.02),
            c=(0.08, 0.2),
            d=(0.3, 0.45),
            e=(0.48, 0.72),
            f=(0.26, 1),
            g=(0.04, 0.8),
            h=(0.3, 0.45),
            i=(0.6, 0.08),
        ),
        G(
            2,
            "abcda defgd",
            a=(0.3, 0),
            b=(0.08, 0.2),
            c=(0.5, 0.22),
            d=(0.28, 0.44),
            e=(0.02, 0.74),
            f=(0.28, 1),
            g=(0.56, 0.74),
        ),
    ),
    9: (
        G(
            4,
            "abcdea afg",
            a=(0.5, 0.1),
            b=(0.24, 0.0),
            c=(0.02, 0.24),
            d=(0.2, 0.46),
            e=(0.46, 0.3),
            f=(0.5, 0.5),
            g=(0.44, 1),
        ),
        G(
            3,
            "abcdefgh",
            a=(0.5, 0.14),
            b=(0.26, 0),
            c=(0.03, 0.24),
            d=(0.2, 0.46),
            e=(0.48, 0.24),
            f=(0.5, 0.45),
            g=(0.42, 0.75),
            h=(0.3, 1),
        ),
        G(
            2,
            "abcdefghi",
            a=(0.54, 0.1),
            b=(0.28, 0),
            c=(0.04, 0.22),
            d=(0.22, 0.45),
            e=(0.52, 0.2),
            f=(0.56, 0.55),
            g=(0.46, 0.9),
            h=(0.24, 1),
            i=(0.04, 0.9),
        ),
    ),
}
