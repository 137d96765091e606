"""Keys: who a hospital is (Ed25519), what two hospitals share (X25519, HKDF), and boxes that only one can open.

Every derived key is bound to its purpose, the round and the names of both ends, so a key of one round or pair is of no
use in another. Bad public keys are refused: points of small order verify signatures that nobody made.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from labkit.federated.secagg.errors import SecAggError

LABEL = b"labkit secure aggregation 1"
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})  # y of all eight points of small order


def transcript(purpose: str, *parts: bytes | str) -> bytes:
    """Return purpose and parts as one byte string that can be read in one way only (each part with its length)."""
    found = [LABEL]
    for part in (purpose, *parts):
        raw = part.encode() if isinstance(part, str) else part
        found.append(len(raw).to_bytes(4, "big") + raw)
    return b"".join(found)


def digest(purpose: str, *parts: bytes | str) -> bytes:
    """Return SHA-256 of the `transcript`."""
    return hashlib.sha256(transcript(purpose, *parts)).digest()


class Identity:
    """A hospital's long-lived signing key, made once, and the rounds that it took part in.

    The public key goes into the roster that all hospitals hold; it is exchanged outside the protocol (in person, on
    paper, by a registry), since a server that hands out the roster can put itself in everybody's place.

    Examples
    --------
    >>> identity = Identity.generate()
    >>> verify(identity.public, identity.sign(b"words"), b"words")
    >>> identity.enter(b"round 1")
    >>> identity.enter(b"round 1")
    Traceback (most recent call last):
    ...
    labkit.federated.secagg.errors.SecAggError: round 726f756e642031 was already taken part in; expected a fresh round id
    """

    def __init__(self, private: bytes, rounds: frozenset[bytes] = frozenset()) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(private) != KEY_BYTES:
            raise SecAggError(f"a private key has {len(private)} bytes; expected {KEY_BYTES}")
        self._private = Ed25519PrivateKey.from_private_bytes(private)
        self._rounds = set(rounds)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """Return a new identity; its key comes from the operating system's random generator."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the signature (64 bytes) of ``message``."""
        return self._private.sign(message)

    def enter(self, round_id: bytes) -> None:
        """Note that this identity takes part in a round.

        Raises
        ------
        SecAggError
            If it did before: a second answer to one round would give the server two sums to subtract.
        """
        mark = digest("round", round_id)
        if mark in self._rounds:
            raise SecAggError(f"round {round_id.hex()} was already taken part in; expected a fresh round id")
        self._rounds.add(mark)

    def to_bytes(self) -> bytes:
        """Return private key and rounds, to be kept secret and to be written after every round."""
        return self._private.private_bytes_raw() + b"".join(sorted(self._rounds))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Identity:
        """Return the identity that `to_bytes` wrote.

        Raises
        ------
        SecAggError
            If the length is not a multiple of 32 bytes, at least 32.
        """
        if len(raw) < KEY_BYTES or len(raw) % KEY_BYTES:
            raise SecAggError(
                f"an identity has {len(raw)} bytes; expected a multiple of {KEY_BYTES}: damaged file"
            )
        marks = [raw[i : i + KEY_BYTES] for i in range(KEY_BYTES, len(raw), KEY_BYTES)]
        return cls(raw[:KEY_BYTES], frozenset(marks))

    def __repr__(self) -> str:
        return f"Identity(public={self.public.hex()}, {len(self._rounds)} rounds)"


@lru_cache(maxsize=4096)
def check_public(public: bytes) -> bytes:
    """Return an Ed25519 public key if it is a point of the curve, written canonically, and not of small order.

    Raises
    ------
    SecAggError
        Otherwise. With a key of small order, signatures verify that nobody made (RFC 8032, section 8; Chalkias et al.
        2020, "Taming the many EdDSAs").
    """
    if len(public) != KEY_BYTES:
        raise SecAggError(f"a public key has {len(public)} bytes; expected {KEY_BYTES}")
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER:
        raise SecAggError(
            f"public key {public.hex()[:16]}… is of small order or not canonical: it binds nobody, refuse it"
        )
    # x^2 = (y^2 - 1) / (d y^2 + 1) must be a square (Euler's criterion).
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise SecAggError(f"public key {public.hex()[:16]}… is no point of the curve: damaged, or made up")
    return public


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Check a signature.

    Raises
    ------
    SecAggError
        If it does not fit, or the public key is one that `check_public` refuses.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(check_public(public)).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SecAggError(
            f"a signature does not fit public key {public.hex()[:16]}…: the message was changed, or the key substituted"
        ) from error


class AgreementKey:
    """One round's X25519 key pair.

    Examples
    --------
    >>> one, other = AgreementKey.generate(), AgreementKey.generate()
    >>> one.agree(other.public) == other.agree(one.public)
    True
    """

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> AgreementKey:
        """Return a fresh pair; it comes from the operating system's random generator."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def to_bytes(self) -> bytes:
        """Return the private key (32 bytes)."""
        return self._private.private_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """Return the secret (32 bytes) shared with a peer: never a key itself, always input of `derive`.

        Raises
        ------
        SecAggError
            If the peer's key is malformed, or makes the secret zero whatever ours is (RFC 7748, section 6.1).
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        try:
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError as error:
            raise SecAggError(
                f"agreement key {peer_public.hex()[:16]}… is malformed or of small order: refuse it"
            ) from error
        if not any(secret):
            raise SecAggError(f"agreement key {peer_public.hex()[:16]}… gives an all-zero secret: refuse it")
        return secret


def derive(secret: bytes, purpose: str, round_id: bytes, *names: str) -> bytes:
    """Return a key (32 bytes) from a secret by HKDF-SHA256, bound to purpose, round and names in this order."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt=None, info=transcript(purpose, round_id, *names)).derive(secret)


def seal(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Return ``plain`` encrypted and authenticated (ChaCha20-Poly1305), bound to further data that is not sent.

    Each key seals one message, so the nonce may be zero.
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, bound_to)


def unseal(key: bytes, box: bytes, bound_to: bytes) -> bytes:
    """Return what `seal` put in.

    Raises
    ------
    SecAggError
        If the box was changed, or meant for another round, sender or receiver.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), box, bound_to)
    except (InvalidTag, ValueError) as error:
        raise SecAggError(
            "encrypted shares do not open: changed on the way, or meant for another round, sender, receiver or group"
        ) from error
