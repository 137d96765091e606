"""Colours of code: two of Pygments' styles, one for each theme, moved until they can be read."""

from __future__ import annotations

GROUNDS = ("#f5f6f8", "#1b1f26")  # behind code in the light and in the dark theme, as in site.css
LEAST = 4.6  # WCAG 2.2, 1.4.3 asks for 4.5 to 1; rounding to whole colours must not fall below it
STYLES = ("default", "github-dark")


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2).

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted((luminance(one), luminance(other)))
    return round((high + 0.05) / (low + 0.05), 3)


def legible(colour: str, ground: str) -> str:
    """Return the colour, moved towards black or white until it stands out from the ground."""
    goal = 0 if luminance(ground) > 0.2 else 255
    parts = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    for step in range(101):
        moved = "#" + "".join(f"{round(part + (goal - part) * step / 100):02x}" for part in parts)
        if contrast(moved, ground) >= LEAST:
            return moved
    raise AssertionError("black stands out from every pale ground, white from every dark one")


def code_css() -> str:
    """Return the style sheet of highlighted code for both themes."""
    from pygments.styles import get_style_by_name
    from pygments.token import STANDARD_TYPES

    light, dark = (get_style_by_name(name) for name in STYLES)
    lines = []
    for token, short in sorted(STANDARD_TYPES.items(), key=lambda item: item[1]):
        pair = [
            legible(f"#{style.style_for_token(token)['color'] or plain}", ground)
            for style, plain, ground in zip((light, dark), ("1b1f24", "e3e6ea"), GROUNDS, strict=True)
        ]
        if short:
            bold = ";font-weight:600" if light.style_for_token(token)["bold"] else ""
            slanted = ";font-style:italic" if light.style_for_token(token)["italic"] else ""
            lines.append(f".highlight .{short}{{color:light-dark({pair[0]},{pair[1]}){bold}{slanted}}}")
    return "\n".join(lines) + "\n"
