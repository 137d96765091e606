"""What travels: six kinds of messages, each a frozen dataclass with its bytes, its size, and a strict reader.

From hospital to server: `Advertisement`, `EncryptedShares`, `MaskedInput`, `SignedSurvivors`, `UnmaskShares`. From
server to hospital: the advertisements of all, the shares meant for it, a `SurvivorList`, the signatures of all.
Who sent a message is vouched for by signatures where another hospital relies on it; towards the server, by the
transport (TLS with node authentication).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, transcript
from labkit.federated.secagg.shamir import SHARE_BYTES

MAGIC = b"LSA1"
NAME_BYTES = 255
M = TypeVar("M", bound="Message")


class Message:
    """Base of the messages; ``LAYOUT`` says how each field is written."""

    KIND: ClassVar[int]
    LAYOUT: ClassVar[tuple[str, ...]]

    def to_bytes(self) -> bytes:
        """Return the message as bytes."""
        parts = [MAGIC, bytes([self.KIND])]
        for field, layout in zip(fields(self), self.LAYOUT, strict=True):
            parts.append(_WRITERS[layout](getattr(self, field.name)))
        return b"".join(parts)

    @classmethod
    def from_bytes(cls: type[M], raw: bytes) -> M:
        """Return the message that `to_bytes` wrote.

        Raises
        ------
        SecAggError
            If it is of another kind, too short, too long, or not written the one way it can be written.
        """
        if raw[:5] != MAGIC + bytes([cls.KIND]):
            raise SecAggError(f"these bytes are no {cls.__name__}: they begin with {raw[:5].hex()}")
        reader = _Reader(raw, 5, cls.__name__)
        try:
            message = cls(*(_READERS[layout](reader) for layout in cls.LAYOUT))
        except UnicodeDecodeError as error:
            raise SecAggError(f"a name in {cls.__name__} is no text") from error
        if reader.at != len(raw):
            raise SecAggError(f"{cls.__name__} has {len(raw) - reader.at} bytes too many")
        return message

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.to_bytes())


@dataclass(frozen=True)
class Advertisement(Message):
    """Round 0: a hospital's two public keys of this round, signed with its long-lived key.

    Attributes
    ----------
    share_key, mask_key : bytes
        X25519 public keys: for encrypting shares, and for the pairwise masks (c and s in the paper).
    seed_commitment : bytes
        SHA-256 of the self-mask's seed, so that a wrongly recovered seed is noticed (not in the paper).
    model_digest, terms_digest : bytes
        What this hospital takes for the global model, and for roster, threshold and encoding.
    """

    round_id: bytes
    sender: str
    share_key: bytes
    mask_key: bytes
    seed_commitment: bytes
    model_digest: bytes
    terms_digest: bytes
    signature: bytes

    KIND = 1
    LAYOUT = ("blob", "name", "key", "key", "key", "blob", "key", "signature")

    def signed(self) -> bytes:
        """Return what the signature is of."""
        return transcript(
            "advertise",
            self.round_id,
            self.sender,
            self.share_key,
            self.mask_key,
            self.seed_commitment,
            self.model_digest,
            self.terms_digest,
        )


@dataclass(frozen=True)
class EncryptedShares(Message):
    """Round 1: one share of the sender's self-mask seed and one of its mask key, readable by the receiver alone."""

    round_id: bytes
    sender: str
    receiver: str
    box: bytes

    KIND = 2
    LAYOUT = ("blob", "name", "name", "blob")


@dataclass(frozen=True, eq=False)
class MaskedInput(Message):
    """Round 2: the vector [d] under all its masks, as unsigned integers modulo 2^32 or 2^64."""

    round_id: bytes
    sender: str
    vector: np.ndarray

    KIND = 3
    LAYOUT = ("blob", "name", "vector")

    @property
    def size(self) -> int:
        """Bytes on the wire, without writing them."""
        return 5 + 4 + len(self.round_id) + 1 + len(self.sender.encode()) + 5 + self.vector.nbytes


@dataclass(frozen=True)
class SurvivorList(Message):
    """Round 3, from the server: whose masked inputs came, and who fell out after sharing. Nobody may be in both."""

    round_id: bytes
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]

    KIND = 4
    LAYOUT = ("blob", "names", "names")


@dataclass(frozen=True)
class SignedSurvivors(Message):
    """Round 3: a hospital's signature under the survivors it was shown, and under whose shares it holds."""

    round_id: bytes
    sender: str
    survivors: tuple[str, ...]
    signature: bytes

    KIND = 5
    LAYOUT = ("blob", "name", "names", "signature")


@dataclass(frozen=True)
class UnmaskShares(Message):
    """Round 4: of each survivor a share of its self-mask seed, of each dropped hospital a share of its mask key."""

    round_id: bytes
    sender: str
    seed_shares: tuple[tuple[str, bytes], ...]
    key_shares: tuple[tuple[str, bytes], ...]

    KIND = 6
    LAYOUT = ("blob", "name", "shares", "shares")


class _Reader:
    """A position in bytes that never reads past their end."""

    def __init__(self, raw: bytes, at: int, what: str) -> None:
        self.raw, self.at, self.what = raw, at, what

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes."""
        if self.at + count > len(self.raw):
            raise SecAggError(
                f"{self.what} ends after {len(self.raw)} bytes; expected {count} more at {self.at}"
            )
        self.at += count
        return memoryview(self.raw)[self.at - count : self.at]

    def number(self, form: str) -> int:
        """Return the next unsigned number."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]


def _fixed(length: int) -> tuple[Callable[[bytes], bytes], Callable[[_Reader], bytes]]:
    """Return writer and reader of a field that always has ``length`` bytes."""

    def write(value: bytes) -> bytes:
        if len(value) != length:
            raise SecAggError(f"a field has {len(value)} bytes; expected {length}")
        return bytes(value)

    return write, lambda reader: bytes(reader.take(length))


def _write_blob(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _read_blob(reader: _Reader) -> bytes:
    return bytes(reader.take(reader.number(">I")))


def _write_name(value: str) -> bytes:
    raw = value.encode()
    if not 1 <= len(raw) <= NAME_BYTES:
        raise SecAggError(f"name {value!r} has {len(raw)} bytes; expected 1 to {NAME_BYTES}")
    return bytes([len(raw)]) + raw


def _read_name(reader: _Reader) -> str:
    length = reader.number(">B")
    if not length:
        raise SecAggError(f"a name in {reader.what} is empty")
    return bytes(reader.take(length)).decode()


def _in_order(names: list[str], what: str) -> None:
    if names != sorted(set(names)):
        raise SecAggError(f"names in {what} are {names}; expected each once, in order")


def _write_names(value: tuple[str, ...]) -> bytes:
    return struct.pack(">I", len(value)) + b"".join(map(_write_name, value))


def _read_names(reader: _Reader) -> tuple[str, ...]:
    names = [_read_name(reader) for _ in range(reader.number(">I"))]
    _in_order(names, reader.what)
    return tuple(names)


def _write_shares(value: tuple[tuple[str, bytes], ...]) -> bytes:
    share = _fixed(SHARE_BYTES)[0]
    return struct.pack(">I", len(value)) + b"".join(_write_name(name) + share(raw) for name, raw in value)


def _read_shares(reader: _Reader) -> tuple[tuple[str, bytes], ...]:
    found = [(_read_name(reader), bytes(reader.take(SHARE_BYTES))) for _ in range(reader.number(">I"))]
    _in_order([name for name, _ in found], reader.what)
    return tuple(found)


def _write_vector(value: np.ndarray) -> bytes:
    words = np.ascontiguousarray(value, f"<u{value.dtype.itemsize}")
    return b"".join((struct.pack(">BI", value.dtype.itemsize, len(value)), words.data))


def _read_vector(reader: _Reader) -> np.ndarray:
    size, length = reader.number(">B"), reader.number(">I")
    if size not in (4, 8):
        raise SecAggError(f"a vector in {reader.what} has words of {size} bytes; expected 4 or 8")
    return np.frombuffer(reader.take(size * length), dtype=f"<u{size}")


_CODECS: dict[str, tuple[Callable[[Any], bytes], Callable[[_Reader], Any]]] = {
    "blob": (_write_blob, _read_blob),
    "key": _fixed(KEY_BYTES),
    "signature": _fixed(SIGNATURE_BYTES),
    "name": (_write_name, _read_name),
    "names": (_write_names, _read_names),
    "shares": (_write_shares, _read_shares),
    "vector": (_write_vector, _read_vector),
}
_WRITERS = {layout: codec[0] for layout, codec in _CODECS.items()}
_READERS = {layout: codec[1] for layout, codec in _CODECS.items()}
