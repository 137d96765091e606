"""One secret, and everything a mark draws from it: a keyed generator that gives the same bytes on every machine.

Bytes come from SHAKE-256 over the secret and a purpose (FIPS 202), not from a library's random generator, whose stream
may change between versions: a judge must be able to draw the same triggers years later.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

GENERATOR = "labkit-keyed-generator/1"  # named in every commitment; a change to the draws below changes it
SEED_BYTES = 32


@dataclass(frozen=True, repr=False)
class Key:
    """A secret seed of 32 bytes; `repr` shows a fingerprint, never the seed.

    Raises
    ------
    ValueError
        If the seed has another length.
    """

    seed: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.seed, bytes) or len(self.seed) != SEED_BYTES:
            size = len(self.seed) if isinstance(self.seed, bytes) else type(self.seed).__name__
            raise ValueError(
                f"got a seed of {size}; expected {SEED_BYTES} bytes: use Key.new() or Key.from_phrase(text)"
            )

    @classmethod
    def new(cls) -> Key:
        """Return a fresh random key from the operating system's source of randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_phrase(cls, phrase: str) -> Key:
        """Return the key of a phrase, the same everywhere; for lessons and tests, since phrases can be guessed."""
        return cls(hashlib.sha256(f"{GENERATOR}|phrase|{phrase}".encode()).digest())

    @classmethod
    def from_hex(cls, text: str) -> Key:
        """Return the key whose seed is written as 64 hexadecimal digits."""
        return cls(bytes.fromhex(text))

    def save(self, path: str | Path, phrase: str) -> Path:
        """Write the secret to a new file, encrypted under a pass-phrase, mode 600: see `labkit.keyfiles.write`."""
        from labkit import keyfiles

        return keyfiles.write(self._as_private(), path, phrase)

    @classmethod
    def load(cls, path: str | Path, phrase: str) -> Key:
        """Return the key that `save` wrote.

        Raises
        ------
        KeyFileError
            If the file is missing, others can read it, or this pass-phrase does not open it.
        """
        from labkit import keyfiles

        return cls.from_sealed(keyfiles.guarded(path), phrase, path)

    def sealed(self, phrase: str) -> bytes:
        """Return the secret as text, encrypted under a pass-phrase."""
        from labkit import keyfiles

        return keyfiles.sealed(self._as_private(), phrase)

    @classmethod
    def from_sealed(cls, text: bytes, phrase: str, where: str | Path = "the text") -> Key:
        """Return the key in what `sealed` returned; ``where`` it was found is for messages."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from labkit import keyfiles

        return cls(keyfiles.opened(text, phrase, X25519PrivateKey, where).private_bytes_raw())

    def _as_private(self) -> X25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return X25519PrivateKey.from_private_bytes(self.seed)

    def __repr__(self) -> str:
        return f"Key(fingerprint {self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell keys apart and give nothing away."""
        return hashlib.sha256(f"{GENERATOR}|fingerprint|".encode() + self.seed).hexdigest()[:8]

    def sub(self, purpose: str) -> Key:
        """Return an independent key for one purpose."""
        return Key(self.stream(f"sub/{purpose}", SEED_BYTES))

    def stream(self, purpose: str, count: int) -> bytes:
        """Return ``count`` bytes; each purpose has a stream of its own."""
        return hashlib.shake_256(f"{GENERATOR}|{purpose}|".encode() + self.seed).digest(count)

    def words(self, purpose: str, count: int) -> np.ndarray:
        """Return ``count`` unsigned 64-bit words."""
        return np.frombuffer(self.stream(purpose, 8 * count), dtype="<u8")

    def uniform(self, purpose: str, shape: int | tuple[int, ...]) -> np.ndarray:
        """Return float64 numbers in [0, 1), on a grid of 2**-53."""
        size = int(np.prod(shape))
        return (self.words(purpose, size) >> np.uint64(11)).astype(np.float64).reshape(shape) / 2.0**53

    def normal(self, purpose: str, shape: int | tuple[int, ...]) -> np.ndarray:
        """Return standard normal numbers (Box & Muller, 1958), float64."""
        radius = np.sqrt(-2 * np.log1p(-self.uniform(f"{purpose}/radius", shape)))
        return radius * np.cos(2 * np.pi * self.uniform(f"{purpose}/angle", shape))

    def integers(self, purpose: str, high: int, count: int) -> np.ndarray:
        """Return ``count`` integers in [0, high), int64 (bias below high / 2**64).

        Raises
        ------
        ValueError
            If ``high`` is below 1.
        """
        if high < 1:
            raise ValueError(f"high is {high}; expected at least 1")
        return (self.words(purpose, count) % np.uint64(high)).astype(np.int64)

    def permutation(self, purpose: str, count: int) -> np.ndarray:
        """Return the numbers 0 to count - 1 in a keyed order."""
        return np.argsort(self.words(purpose, count), kind="stable")
