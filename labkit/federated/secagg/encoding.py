"""Fixed point: real values as integers modulo 2^32 or 2^64, with overflow refused and never wrapped in silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.federated.secagg.errors import SecAggError

EXACT = 2**53  # beyond it a float64 no longer holds every integer


class EncodingError(SecAggError):
    """A value, or a sum that could come of such values, does not fit the grid."""


@dataclass(frozen=True)
class Encoding:
    """A grid of step ``1 / scale`` on [-bound, bound], wide enough for the sum of ``parties`` values.

    Each value becomes the nearest integer to ``value * scale`` (ties to even), so one value is off by at most
    ``1 / (2 * scale)`` and a sum of n by at most ``n / (2 * scale)``; on the grid itself every sum is exact.

    Parameters
    ----------
    scale : float
        Grid points per unit of the data.
    bits : {32, 64}
        Sums are taken modulo 2^bits.
    parties : int
        The most vectors that are ever added up.
    bound : float
        The largest absolute value of one party, in the unit of the data; noise that is added on the grid included.

    Raises
    ------
    EncodingError
        If the sum of ``parties`` values at the bound could reach 2^(bits - 1), or a setting makes no sense.

    Examples
    --------
    >>> grid = Encoding(scale=1000, bits=32, parties=5, bound=2.0)
    >>> grid.decode(grid.encode(np.array([0.5, -1.25])))
    array([ 0.5 , -1.25])
    >>> Encoding(scale=1e9, bits=32, parties=5, bound=2.0)
    Traceback (most recent call last):
    ...
    labkit.federated.secagg.encoding.EncodingError: 5 values of up to 2000000000 sum to 10000000000; expected less \
than 2^31: lower scale or bound, or take bits=64
    """

    scale: float
    bits: int
    parties: int
    bound: float

    def __post_init__(self) -> None:
        if self.bits not in (32, 64):
            raise EncodingError(f"bits is {self.bits}; expected 32 or 64")
        if self.parties < 1 or self.parties != int(self.parties):
            raise EncodingError(f"parties is {self.parties}; expected a whole number of at least 1")
        for name, value in (("scale", self.scale), ("bound", self.bound)):
            if not (np.isfinite(value) and value > 0):
                raise EncodingError(f"{name} is {value}; expected a positive number")
        if self.scale * self.bound >= EXACT:
            raise EncodingError(
                f"scale * bound is {self.scale * self.bound:g}; expected less than 2^53, where float64 still holds "
                "every integer: lower one of them"
            )
        if self.parties * self.limit >= 2 ** (self.bits - 1):
            wider = ", or take bits=64" if self.bits == 32 else ""
            raise EncodingError(
                f"{self.parties} values of up to {self.limit} sum to {self.parties * self.limit}; expected less than "
                f"2^{self.bits - 1}: lower scale or bound{wider}"
            )

    @classmethod
    def finest(cls, bound: float, parties: int, bits: int = 32) -> Encoding:
        """Return the grid with the largest scale (a power of two) at which ``parties`` values of ``bound`` fit."""
        for exponent in range(bits + 30, -1075, -1):
            scale = 2.0**exponent
            limit = round(scale * bound) if scale * bound < EXACT else EXACT
            if limit < EXACT and parties * limit < 2 ** (bits - 1):
                if limit < 1:
                    break  # the grid would be a single point
                return cls(scale, bits, parties, bound)
        raise EncodingError(f"no grid of {bits} bits holds {parties} values of up to {bound}")

    @property
    def limit(self) -> int:
        """The largest absolute integer of one party."""
        return int(np.rint(self.scale * self.bound))

    @property
    def dtype(self) -> np.dtype:
        """The unsigned integers whose wrap-around is the sum modulo 2^bits."""
        return np.dtype(f"<u{self.bits // 8}")

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the nearest grid points of ``values`` [d] (float) as int64 [d].

        Raises
        ------
        EncodingError
            If a value is NaN, infinite or beyond the bound: the vector is refused, nothing is clipped.
        """
        values = np.asarray(values, dtype=np.float64)
        # NaN and infinity come through; two passes without a copy are quicker than np.abs.
        peak = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
        if not np.isfinite(peak):
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise EncodingError(
                f"value {at} is {values.flat[at]}; expected finite numbers: repair the vector"
            )
        if peak > self.bound:
            at = int(np.abs(values).argmax())
            raise EncodingError(
                f"value {at} is {values.flat[at]:g}; expected at most {self.bound:g} in absolute value: "
                "clip the vector, or raise the bound"
            )
        return np.rint(values * self.scale).astype(np.int64)

    def check_integers(self, integers: np.ndarray) -> np.ndarray:
        """Return ``integers`` [d] as int64 if each lies within `limit`.

        Raises
        ------
        EncodingError
            If they are not integers, or one is beyond the limit.
        """
        found = np.asarray(integers)
        if found.dtype.kind != "i":
            raise EncodingError(f"got {found.dtype}; expected signed integers on the grid: use encode first")
        # Two comparisons, as abs(-2^63) is negative.
        if found.size and (int(found.max()) > self.limit or int(found.min()) < -self.limit):
            worst = max(int(found.max()), int(found.min()), key=abs)
            raise EncodingError(
                f"an integer is {worst}; expected at most {self.limit} in absolute value: raise the bound so that it "
                "has room for the noise, or clip"
            )
        return found.astype(np.int64, copy=False)

    def to_ring(self, integers: np.ndarray) -> np.ndarray:
        """Return int64 [d] modulo 2^bits, as unsigned [d]; `check_integers` comes first."""
        return self.check_integers(integers).astype(self.dtype)

    def from_ring(self, total: np.ndarray) -> np.ndarray:
        """Return the signed int64 [d] that a sum modulo 2^bits stands for."""
        return total.view(f"<i{self.bits // 8}").astype(np.int64)

    def decode(self, integers: np.ndarray) -> np.ndarray:
        """Return grid points, or sums of them, as float64 [d] in the unit of the data."""
        return np.asarray(integers, dtype=np.float64) / self.scale
