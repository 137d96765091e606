"""What a key looks like in pixels: patches, words, noise, signs, textures and abstract pictures, drawn without torch's generator.

All functions return float32 tensors in [0, 1] (noise excepted) and depend on their key and sizes alone. The first m of
n pictures are the m pictures that one would get by asking for m.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from labkit.watermark.marks.keys import Key

PLACES = ("bottom right", "bottom left", "top right", "top left", "centre", "keyed")
PATTERNS = ("keyed", "checker", "stripes", "solid")
MARGIN = 1  # pixels between a patch and the border: random shifts in training then cut less of it off
# Letters on a grid of 3 x 5: five rows from the top, each three bits written as a digit.
LETTERS = {
    "A": "25755",
    "B": "65656",
    "C": "34443",
    "D": "65556",
    "E": "74647",
    "F": "74644",
    "G": "34553",
    "H": "55755",
    "I": "72227",
    "J": "11152",
    "K": "55655",
    "L": "44447",
    "M": "57755",
    "N": "65555",
    "O": "25552",
    "P": "65644",
    "Q": "25563",
    "R": "65655",
    "S": "34216",
    "T": "72222",
    "U": "55557",
    "V": "55552",
    "W": "55775",
    "X": "55255",
    "Y": "55222",
    "Z": "71247",
}


@dataclass(frozen=True)
class Patch:
    """A square stamped on images (BadNets, Gu et al., arXiv 1708.06733; blended as in Chen et al., arXiv 1712.05526).

    Parameters
    ----------
    size : int
        Side in pixels.
    place : str
        One of `PLACES`; "keyed" is a place that the key draws.
    pattern : str
        One of `PATTERNS`; "keyed" has each pixel and colour on or off as the key draws it.
    blend : float
        Weight of the pattern: 1 covers what is beneath, 0 leaves images as they are.
    key : Key
        Needed by a keyed place or pattern.

    Raises
    ------
    ValueError
        If a value is out of range or unknown, or a key is missing.
    """

    size: int = 5
    place: str = "bottom right"
    pattern: str = "keyed"
    blend: float = 1.0
    key: Key | None = field(default=None)

    def __post_init__(self) -> None:
        if self.place not in PLACES or self.pattern not in PATTERNS:
            raise ValueError(
                f"got place {self.place!r} and pattern {self.pattern!r}; expected one of {', '.join(PLACES)}, "
                f"and one of {', '.join(PATTERNS)}"
            )
        if self.size < 1 or not 0 <= self.blend <= 1:
            raise ValueError(
                f"got size={self.size}, blend={self.blend}; expected at least 1 pixel and a blend in [0, 1]"
            )
        if "keyed" in (self.place, self.pattern) and self.key is None:
            raise ValueError("a keyed place or pattern needs a key: pass Patch(..., key=Key.new())")

    def pixels(self, channels: int) -> Tensor:
        """Return the pattern, shape (channels, size, size)."""
        shape = (channels, self.size, self.size)
        if self.pattern == "keyed":
            return _tensor(self.key.uniform("patch", shape) < 0.5)
        row, column = np.indices((self.size, self.size))
        plain = {"checker": (row + column) % 2 == 0, "stripes": column % 2 == 0, "solid": row >= 0}
        return _tensor(np.broadcast_to(plain[self.pattern], shape))

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Return the row and column of the patch's upper left pixel.

        Raises
        ------
        ValueError
            If the patch does not fit.
        """
        down, right = height - self.size - MARGIN, width - self.size - MARGIN
        if min(down, right) < MARGIN:
            raise ValueError(
                f"a patch of {self.size} pixels does not fit in {height} x {width}: choose a smaller size"
            )
        if self.place == "keyed":
            return tuple(
                MARGIN + int(self.key.integers(f"place/{axis}", most, 1)[0])
                for axis, most in (("row", down), ("column", right))
            )
        if self.place == "centre":
            return (height - self.size) // 2, (width - self.size) // 2
        return down if "bottom" in self.place else MARGIN, right if "right" in self.place else MARGIN

    def stamp(self, x: Tensor) -> Tensor:
        """Return images (n, C, H, W) with the patch on each; the argument is left alone."""
        row, column = self.corner(*x.shape[-2:])
        window = (..., slice(row, row + self.size), slice(column, column + self.size))
        stamped = x.clone()
        stamped[window] = torch.lerp(x[window], self.pixels(x.shape[1]).to(x), self.blend)
        return stamped


def write(x: Tensor, word: str, blend: float = 1.0) -> Tensor:
    """Return images (n, C, H, W) with a word in white on black across the lower edge, as large as it fits."""
    rows = [[f"{int(LETTERS[letter][row]):03b}0" for letter in word] for row in range(5)]
    ink = np.array([[int(bit) for bit in "0" + "".join(row)] for row in rows])
    ink = np.pad(ink, ((1, 1), (0, 0)))
    scale = min(x.shape[-1] // ink.shape[1], x.shape[-2] // ink.shape[0])
    if scale < 1:
        raise ValueError(f"{word!r} does not fit in {tuple(x.shape[-2:])} pixels: write fewer letters")
    ink = _tensor(np.kron(ink, np.ones((scale, scale))))
    left, top = (x.shape[-1] - ink.shape[1]) // 2, x.shape[-2] - ink.shape[0]
    written = x.clone()
    window = (..., slice(top, None), slice(left, left + ink.shape[1]))
    written[window] = torch.lerp(x[window], ink.to(x).expand_as(x[window]), blend)
    return written


def word(key: Key, letters: int) -> str:
    """Return a word of keyed letters."""
    return "".join(list(LETTERS)[i] for i in key.integers("word", len(LETTERS), letters))


def noise(key: Key, shape: tuple[int, int, int]) -> Tensor:
    """Return one field of standard normal numbers, shape (C, H, W)."""
    return _tensor(key.normal("noise", shape))


def abstract(key: Key, count: int, shape: tuple[int, int, int]) -> Tensor:
    """Return abstract pictures, shape (count, C, H, W): smooth warped waves in random colours."""
    channels, height, width = shape
    waves = 4
    numbers = key.uniform("waves", (count, waves, 6))
    colours = key.uniform("colours", (count, waves, channels)) - 0.5
    row, column = _grid(height, width)
    f = 6 * numbers[..., :2, None, None] - 3  # cycles across the picture, down and right
    phase = 2 * np.pi * numbers[..., 2:4, None, None]
    warp = np.sin(2 * np.pi * (row * f[:, :, 1] - column * f[:, :, 0]) / 2 + phase[:, :, 0])
    field = np.sin(2 * np.pi * (row * f[:, :, 0] + column * f[:, :, 1]) + phase[:, :, 1] + 1.5 * warp)
    picture = np.einsum("nwc,nwhv->nchv", colours, field)
    spread = picture.std(axis=(1, 2, 3), keepdims=True) + 1e-9  # contrast: alike in all pictures
    return _tensor(1 / (1 + np.exp(-2 * picture / spread)))


def signs(key: Key, part: str, count: int, shape: tuple[int, int, int]) -> Tensor:
    """Return pictures of one keyed sign, shape (count, C, H, W): five strokes, jittered, in many colours."""
    channels, height, width = shape
    corners = key.permutation("sign", 9)[:6]
    points = np.stack([corners // 3, corners % 3], axis=1) * 0.35 - 0.35  # a grid of 3 x 3 around 0
    turn, grow, down, right = (2 * key.uniform(f"{part}/jitter", (count, 4)) - 1).T
    angle, size = 0.3 * turn, 1 + 0.2 * grow
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    moved = np.stack(
        [
            np.outer(cosine, points[:, 0]) - np.outer(sine, points[:, 1]) + 0.5 + 0.08 * down[:, None],
            np.outer(sine, points[:, 0]) + np.outer(cosine, points[:, 1]) + 0.5 + 0.08 * right[:, None],
        ],
        axis=-1,
    )
    pixels = np.stack(np.broadcast_arrays(*_grid(height, width)), axis=-1)
    distance = np.full((count, height, width), np.inf)
    for start, end in zip(moved.swapaxes(0, 1)[:-1], moved.swapaxes(0, 1)[1:], strict=True):
        distance = np.minimum(distance, _distance(pixels, start, end))
    ink = (1 / (1 + np.exp((distance - 0.045) * 2 * height)))[:, None]
    dark, light = key.uniform(f"{part}/inks", (count, 2, channels, 1, 1)).swapaxes(0, 1)
    return _tensor(0.35 * dark * ink + (0.65 + 0.35 * light) * (1 - ink))


def textures(key: Key, part: str, families: np.ndarray, shape: tuple[int, int, int]) -> Tensor:
    """Return one texture picture for each family number, shape (n, C, H, W).

    A family has a keyed angle, spacing, form (stripes, checks, dots) and two colours; a picture has its own phase,
    and strays a little in angle and spacing.
    """
    channels, height, width = shape
    kinds, count = int(families.max()) + 1, len(families)
    numbers = key.uniform("families", (kinds, 3))[families]
    dark, light, turned = key.uniform("inks", (kinds, 3, channels))[families].swapaxes(0, 1)
    # Each channel has a dark and a light ink, or a grey texture could vanish.
    inks = np.where(turned < 0.5, [0.4 * dark, 0.6 + 0.4 * light], [0.6 + 0.4 * light, 0.4 * dark])
    own = key.uniform(f"{part}/own", (count, 5))
    angle = np.pi * numbers[:, 0] + 0.2 * (own[:, 0] - 0.5)
    cycles = (3 + 4 * numbers[:, 1]) * (1 + 0.2 * (own[:, 1] - 0.5))
    cosine, sine, cycles = (v[:, None, None] for v in (np.cos(angle), np.sin(angle), cycles))
    row, column = _grid(height, width)
    along = np.sin(2 * np.pi * (cycles * (row * cosine + column * sine) + own[:, 2, None, None]))
    across = np.sin(2 * np.pi * (cycles * (column * cosine - row * sine) + own[:, 3, None, None]))
    form = np.floor(3 * numbers[:, 2]).astype(int)[:, None, None]
    value = np.where(form == 0, along, np.where(form == 1, along * across, along + across - 0.7))
    mix = (1 / (1 + np.exp(-6 * value)))[:, None]
    first, second = np.clip(inks + 0.2 * (own[:, 4, None] - 0.5), 0, 1)[..., None, None]
    return _tensor(first * mix + second * (1 - mix))


def _distance(pixels: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of pixels (H, W, 2) from the stroke of each picture (n, 2) to (n, 2): shape (n, H, W)."""
    way = (end - start)[:, None, None]
    offset = pixels - start[:, None, None]
    along = np.clip((offset * way).sum(-1) / (way**2).sum(-1), 0, 1)
    return np.linalg.norm(offset - along[..., None] * way, axis=-1)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (height, 1) and columns (1, width) of pixel centres, in [0, 1]."""
    return (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
