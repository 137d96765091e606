"""A white-box mark in the global model: coded bits that a secret projection reads from all weights.

The projection's entries are plus or minus 1, drawn from the key (Uchida et al., arXiv 1701.04082, section 3.2, project
one layer by normal numbers; signs give the exact bound below). A reading is divided by the length of the weights: for a
key that played no part in training it has mean 0 and standard deviation 1, **whatever the weights are**. Readings,
margin and strength are all in this unit, which is public.

The pull follows from the key and the global weights, which everybody has. No record enters: under patient-level
differential privacy it is post-processing and costs nothing.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from labkit.federated.marks import block_code
from labkit.watermark.marks.keys import Key

BITS = 128
MARGIN = 0.5
STRENGTH = 0.1
LEAST_RMS = 0.01  # weights that start at 0 are pulled as if they had this root mean square


@dataclass(frozen=True, eq=False)
class BitMark:
    """One hospital's bits: a `labkit.federated.rounds.Mark`.

    Parameters
    ----------
    key : Key
    claimant : str
        Whose mark it is: the same key in another's name draws another mark.
    dimension : int
        Number of weights, d.
    bits : int
        Coded bits, a multiple of 32, at most d.
    margin : float
        A bit is pulled until its reading is so far on its side.
    strength : float
        Most that one round moves a reading by. 0 leaves no mark.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    key: Key
    claimant: str
    dimension: int
    bits: int = BITS
    margin: float = MARGIN
    strength: float = STRENGTH

    def __post_init__(self) -> None:
        block_code.message_length(self.bits)
        if self.bits > self.dimension:
            raise ValueError(
                f"{self.bits} bits in {self.dimension} weights; expected at most as many bits as weights"
            )
        if not (0 < self.margin < math.inf and 0 <= self.strength < math.inf):
            raise ValueError(
                f"margin is {self.margin} and strength {self.strength}; expected a margin above 0, strength 0 or above"
            )

    @cached_property
    def own(self) -> Key:
        """The key of this claimant's mark."""
        return self.key.sub(f"federated/bits/{hashlib.sha256(self.claimant.encode()).hexdigest()}")

    @cached_property
    def message(self) -> np.ndarray:
        """Message bits, shape [6 bits / 32]."""
        return self.own.integers("message", 2, block_code.message_length(self.bits))

    @cached_property
    def word(self) -> np.ndarray:
        """The coded message as signs, shape [bits]."""
        return block_code.encode(self.message)

    @cached_property
    def projection(self) -> np.ndarray:
        """The secret matrix of signs, int8, shape [bits, d]."""
        size = self.bits * self.dimension
        packed = np.frombuffer(self.own.stream("projection", -(-size // 8)), np.uint8)
        signs = np.unpackbits(packed, count=size).view(np.int8)
        return (2 * signs - 1).reshape(self.bits, self.dimension)

    def read(self, weights: np.ndarray) -> np.ndarray:
        """Return the soft readings, shape [bits]: mean 0 and variance 1 for a model that the key had no part in.

        Raises
        ------
        ValueError
            If the weights have another shape, or are not finite.
        """
        length = np.linalg.norm(_checked(weights, self.dimension))
        if length == 0:
            return np.zeros(self.bits)
        return self.projection.astype(np.float32) @ (weights / length).astype(np.float32)

    def strength_in(self, weights: np.ndarray) -> float:
        """Return the mark's strength: readings times word over the root of their number.

        For a key drawn without regard to these weights it is a sum of independent signs with variance 1, so that
        it reaches z with a chance of at most exp(-z^2 / 2) (Hoeffding 1963, theorem 2).
        """
        return float(self.word @ self.read(weights) / math.sqrt(self.bits))

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        """Return the wanted change of the global weights [d]: minus the gradient of a hinge that is round at its corner.

        The loss grows by ``strength`` for each unit that a reading falls short by and is flat beyond the margin.
        """
        missing = np.clip(self.margin - self.word * self.read(weights), 0.0, self.strength)
        unit = max(float(np.linalg.norm(weights)), LEAST_RMS * math.sqrt(self.dimension))
        pushes = (missing * self.word).astype(np.float32)
        return (pushes @ self.projection.astype(np.float32)).astype(np.float64) * (unit / self.dimension)


def chance(strength: float) -> float:
    """Bound the chance that a mark whose key had no part in the model reads this strong (Hoeffding)."""
    return math.exp(-(max(strength, 0.0) ** 2) / 2)


def redrawn(like: BitMark, weights: np.ndarray, count: int, key: Key) -> np.ndarray:
    """Return the strengths that ``count`` other keys read from the same weights, shape [count].

    These keys are exchangeable with the owner's if that one had no part in the model, whatever the model is.
    """
    others = (
        BitMark(key.sub(f"redraw/{number}"), like.claimant, like.dimension, like.bits)
        for number in range(count)
    )
    return np.array([other.strength_in(weights) for other in others])


def _checked(weights: np.ndarray, dimension: int) -> np.ndarray:
    if np.shape(weights) != (dimension,) or not np.isfinite(weights).all():
        raise ValueError(f"weights have shape {np.shape(weights)}; expected ({dimension},) finite numbers")
    return weights
