"""Ed25519 keys and signatures (RFC 8032): who wrote this? Keys that verify what nobody signed are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_P = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})  # y of all eight points of small order


class Signer:
    """An Ed25519 private key; `repr` shows the public one."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def new(cls) -> Signer:
        """Return a fresh key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """Return the key of 32 secret bytes: for lessons and tests, or from a safe."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> str:
        """The public key, 64 hexadecimal digits: publish it before the first signature."""
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature, 128 hexadecimal digits."""
        return self._private.sign(message).hex()

    def save(self, path: str | Path, phrase: str) -> Path:
        """Write the private key to a new file, encrypted under a pass-phrase, mode 600: see `labkit.keyfiles.write`."""
        from labkit import keyfiles

        return keyfiles.write(self._private, path, phrase)

    @classmethod
    def load(cls, path: str | Path, phrase: str) -> Signer:
        """Return the key that `save` wrote.

        Raises
        ------
        KeyFileError
            If the file is missing, others can read it, or this pass-phrase does not open it.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from labkit import keyfiles

        return cls(keyfiles.read(path, phrase, Ed25519PrivateKey))

    def __repr__(self) -> str:
        return f"Signer(public key {self.public[:16]}…)"


def key_problem(public: str) -> str | None:
    """Return why a public key is refused, or None: malformed, or of small order (any record verifies with such a key)."""
    if not re.fullmatch("[0-9a-f]{64}", public):
        return "no 64 hexadecimal digits"
    y = int.from_bytes(bytes.fromhex(public), "little") & (2**255 - 1)
    return (
        "a point of small order: signatures that nobody made verify with it"
        if y % _P in _SMALL_ORDER
        else None
    )


def signed(public: str, signature: str, message: bytes) -> bool:
    """Say whether the key made this signature over this message; a refused key made none."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if key_problem(public) or not re.fullmatch("[0-9a-f]{128}", signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
