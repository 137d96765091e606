"""Secret keys in files: encrypted under a pass-phrase, readable by their owner alone, and refused where they are not.

Written by cryptography's own serialisation (PKCS #8, PEM). A signing key lies there as an Ed25519 key, any other secret of 32
bytes as an X25519 key: so neither can be taken for the other.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cache import atomic_path

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    Private = Ed25519PrivateKey | X25519PrivateKey

LEAST = 8  # characters of a pass-phrase


class KeyFileError(RuntimeError):
    """A key file is missing, readable by others, of another kind, or not opened by this pass-phrase."""


def write(private: Private, path: str | Path, phrase: str) -> Path:
    """Write a private key to a new file of mode 600 and return its path.

    Raises
    ------
    KeyFileError
        If the file exists: a key that is written over is lost.
    ValueError
        If the pass-phrase has fewer than 8 characters.
    OSError
        If the file cannot be written; the message names the fix.
    """
    path = Path(path)
    if path.exists():
        raise KeyFileError(
            f"{path} exists: a key that is written over is lost. Name another file, or move that one away"
        )
    return private_file(path, sealed(private, phrase))


def sealed(private: Private, phrase: str) -> bytes:
    """Return a private key as PEM text, encrypted under a pass-phrase.

    Raises
    ------
    ValueError
        If the pass-phrase has fewer than 8 characters.
    """
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    if not isinstance(phrase, str) or len(phrase) < LEAST:
        raise ValueError(
            f"the pass-phrase has {len(phrase or '')} characters; expected at least {LEAST}: several words are best"
        )
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(phrase.encode()))


def private_file(path: Path, content: bytes) -> Path:
    """Write bytes atomically to a file that its owner alone can read (mode 600)."""
    with atomic_path(path) as temporary:
        temporary.chmod(stat.S_IRUSR | stat.S_IWUSR)
        temporary.write_bytes(content)
    return path


def read(path: str | Path, phrase: str, kind: type) -> Private:
    """Return the private key in a file.

    Parameters
    ----------
    kind : type
        ``Ed25519PrivateKey`` or ``X25519PrivateKey``.

    Raises
    ------
    KeyFileError
        If the file is missing, others can read it, the pass-phrase is wrong, or the key is of another kind.
    """
    return opened(guarded(path), phrase, kind, path)


def guarded(path: str | Path) -> bytes:
    """Return the content of a file that nobody but its owner can read.

    Raises
    ------
    KeyFileError
        If it is missing, or its mode is wider.
    """
    path = Path(path)
    if not path.is_file():
        raise KeyFileError(f"{path} is not there: save the key to it first")
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise KeyFileError(
            f"{path} has mode {mode:o}, so others can read it: chmod 600 {path}, and take the key for known to them"
        )
    return path.read_bytes()


def opened(pem: bytes, phrase: str, kind: type, path: str | Path) -> Private:
    """Return the private key that `sealed` wrote into ``path``.

    Raises
    ------
    KeyFileError
        If the pass-phrase is wrong, the text damaged, or the key of another kind.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(pem, phrase.encode() if phrase else None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is not opened by this pass-phrase, or is damaged") from error
    if not isinstance(found, kind):
        raise KeyFileError(
            f"{path} holds another kind of key ({type(found).__name__}); expected {kind.__name__}"
        )
    return found
