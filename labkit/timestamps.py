"""RFC 3161 time stamps, read and checked offline: a third party's word that a hash was there at a moment.

A record's own moments are its writer's word. A time-stamp response (what ``openssl ts -query -digest ...`` and a
time-stamping authority give) is somebody else's. `check` says what it checked, and `UNCHECKED` what it did not: the
authority's certificate is taken as given, so trust in it must come from elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CHECKED = (
    "the authority granted the request",
    "the stamp is over this very hash",
    "the signature over the stamp is by the given certificate's key, which the stamp names",
    "the certificate is for time stamping alone, and was valid at the moment stamped",
)
UNCHECKED = (
    "the certificate's chain to a root",
    "whether the certificate was revoked",
    "whether the authority's clock was right (its policy says how right)",
)
# Object identifiers, RFC 3161, 5652, 5754, 5816 and 5035.
_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_CERTIFICATE_V1, _CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
_HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_INTEGER, _OCTETS, _OID, _TIME, _SEQUENCE, _SET, _CONTEXT_0 = 0x02, 0x04, 0x06, 0x18, 0x30, 0x31, 0xA0


class StampError(ValueError):
    """A time stamp that cannot be read, or does not hold; the message says what is wrong."""


@dataclass(frozen=True)
class Stamp:
    """What a time stamp says.

    Attributes
    ----------
    moment : datetime
        UTC.
    digest : str
        The hash that was stamped, in hexadecimal digits.
    algorithm : {"sha256", "sha384", "sha512"}
        That made it.
    policy, serial : str
        The authority's policy (object identifier) and the stamp's number.
    """

    moment: datetime
    digest: str
    algorithm: str
    policy: str
    serial: str


@dataclass(frozen=True)
class _Node:
    """One DER element: its tag, its content, and all its bytes."""

    tag: int
    body: bytes
    raw: bytes

    def parts(self) -> list[_Node]:
        return list(_elements(self.body))


def _elements(data: bytes) -> Iterator[_Node]:
    """Yield the elements of ``data``; definite and shortest lengths alone, nothing left over (ITU-T X.690, 10.1)."""
    at = 0
    while at < len(data):
        if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
            raise StampError("the time stamp is cut, or no DER")
        size, start = data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[start : start + count], "big")
            start += count
            if not 1 <= count <= 4 or size < 0x80 or size.bit_length() <= 8 * (count - 1):
                raise StampError("the time stamp has a length that DER does not allow")
        if start + size > len(data):
            raise StampError("the time stamp is cut")
        yield _Node(data[at], data[start : start + size], data[at : start + size])
        at = start + size


def _whole(data: bytes, tag: int) -> _Node:
    """Return the one element of ``data``, which must have this tag."""
    found = list(_elements(data))
    if len(found) != 1 or found[0].tag != tag:
        raise StampError(f"the time stamp has another structure than RFC 3161's (tag {tag:#x} expected)")
    return found[0]


def _oid(node: _Node) -> str:
    """Return an object identifier as numbers and dots."""
    if node.tag != _OID or not node.body or node.body[-1] & 0x80:
        raise StampError("the time stamp has no object identifier where one belongs")
    numbers, value = [], 0
    for byte in node.body:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _hash_name(algorithm: _Node) -> str:
    name = _HASHES.get(_oid(algorithm.parts()[0]))
    if name is None:
        raise StampError(f"the time stamp uses another hash than {', '.join(_HASHES.values())}")
    return name


@dataclass(frozen=True)
class _Token:
    """The parts of a granted response that a check needs."""

    info: bytes
    signer: _Node
    stamp: Stamp


def read(response: bytes) -> Stamp:
    """Return what a time-stamp response (DER) says, without checking who says it.

    Raises
    ------
    StampError
        If it is no response, was not granted, or uses what is not known here.
    """
    return _read(response).stamp


def _read(response: bytes) -> _Token:
    try:
        status, *token = _whole(response, _SEQUENCE).parts()
        if status.parts()[0].body not in (b"\x00", b"\x01") or len(token) != 1:
            raise StampError("the authority refused to stamp")
        kind, wrapped = token[0].parts()
        signed = _whole(wrapped.body, _SEQUENCE).parts()
        if _oid(kind) != _SIGNED_DATA:
            raise StampError("the time stamp is not signed")
        what, content = signed[2].parts()
        if _oid(what) != _TST_INFO:
            raise StampError(f"what is signed is {_oid(what)}, no time stamp")
        info = _whole(content.body, _OCTETS).body
        signers = signed[-1].parts()
        if signed[-1].tag != _SET or len(signers) != 1:
            raise StampError(f"{len(signers)} signers; expected one")
        return _Token(info, signers[0], _info(info))
    except (IndexError, ValueError) as error:
        if isinstance(error, StampError):
            raise
        raise StampError(f"the time stamp has another structure than RFC 3161's ({error})") from error


def _info(content: bytes) -> Stamp:
    """Read TSTInfo (RFC 3161, section 2.4.2)."""
    _, policy, imprint, serial, moment, *_ = _whole(content, _SEQUENCE).parts()
    algorithm, hashed = imprint.parts()
    if moment.tag != _TIME or serial.tag != _INTEGER or not moment.body.endswith(b"Z"):
        raise StampError("the time stamp has no moment in UTC, or no number")
    whole = moment.body[:-1].decode("ascii").partition(".")[0]
    return Stamp(
        datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC),
        hashed.body.hex(),
        _hash_name(algorithm),
        _oid(policy),
        str(int.from_bytes(serial.body, "big", signed=True)),
    )


def check(response: bytes, digest: str, certificate: Certificate | bytes) -> Stamp:
    """Return what a time-stamp response says about a hash, after checking it against an authority's certificate.

    Checked is what `CHECKED` lists; `UNCHECKED` lists what is not.

    Parameters
    ----------
    response : bytes
        DER, as an authority sends it (``.tsr``).
    digest : str
        The hash that should have been stamped, in hexadecimal digits.
    certificate : Certificate or bytes
        The authority's, known from elsewhere (PEM as bytes). One inside the response is not looked at.

    Raises
    ------
    StampError
        If anything does not hold.
    """
    from cryptography import x509

    if isinstance(certificate, bytes):
        certificate = x509.load_pem_x509_certificate(certificate)
    token = _read(response)
    if token.stamp.digest != digest.lower():
        raise StampError(f"the stamp is over {token.stamp.digest[:16]}…, expected {digest[:16]}…")
    _certificate(certificate, token.stamp.moment)
    try:
        _signature(token, certificate)
    except (IndexError, ValueError) as error:
        if isinstance(error, StampError):
            raise
        raise StampError(f"the stamp's signature cannot be read ({error})") from error
    return token.stamp


def _certificate(certificate: Certificate, moment: datetime) -> None:
    """Refuse a certificate that is not for time stamping alone (RFC 3161, section 2.3), or not valid at the moment."""
    from cryptography import x509

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    stamping = [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]
    if usage is None or not usage.critical or list(usage.value) != stamping:
        raise StampError("the certificate is not for time stamping alone (critical extended key usage)")
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise StampError(f"the certificate was not valid at {moment}")


def _signature(token: _Token, certificate: Certificate) -> None:
    """Check SignerInfo (RFC 5652, section 5.3 to 5.6): attributes, then the signature over them."""
    parts = token.signer.parts()
    name = _hash_name(parts[2])
    signed = next((part for part in parts[3:] if part.tag == _CONTEXT_0), None)
    if signed is None:
        raise StampError("the stamp has no signed attributes")
    attributes = {}
    for attribute in signed.parts():
        kind, values = attribute.parts()
        if _oid(kind) in attributes or len(values.parts()) != 1:
            raise StampError("a signed attribute stands twice")
        attributes[_oid(kind)] = values.parts()[0]
    if _oid(attributes.get(_CONTENT_TYPE, _Node(0, b"", b""))) != _TST_INFO:
        raise StampError("the signed attributes name another content")
    stated = attributes.get(_MESSAGE_DIGEST, _Node(0, b"", b"")).body
    if not hmac.compare_digest(stated, hashlib.new(name, token.info).digest()):
        raise StampError("the stamp was changed after it was signed")
    _named(attributes, certificate)
    place = parts.index(signed)
    # The signature covers the attributes as a SET, though they stand there with a tag of their own.
    _verify(certificate, parts[place + 2].body, bytes([_SET]) + signed.raw[1:], name)


def _named(attributes: dict[str, _Node], certificate: Certificate) -> None:
    """Refuse a stamp that does not name this certificate by its hash (RFC 5035, section 3 and 5)."""
    from cryptography.hazmat.primitives import hashes

    if (second := attributes.get(_CERTIFICATE_V2)) is not None:
        first = second.parts()[0].parts()[0].parts()
        name = _hash_name(first[0]) if first[0].tag == _SEQUENCE else "sha256"
        stated = next((part.body for part in first if part.tag == _OCTETS), b"")
    elif (old := attributes.get(_CERTIFICATE_V1)) is not None:
        name, stated = "sha1", old.parts()[0].parts()[0].parts()[0].body
    else:
        raise StampError("the stamp does not name its signer's certificate")
    if not hmac.compare_digest(certificate.fingerprint(getattr(hashes, name.upper())()), stated):
        raise StampError("the stamp names another certificate than the one given")


def _verify(certificate: Certificate, signature: bytes, message: bytes, name: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    key, algorithm = certificate.public_key(), getattr(hashes, name.upper())()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(algorithm))
        else:
            raise StampError(f"the certificate has a {type(key).__name__}; expected RSA or ECDSA")
    except InvalidSignature:
        raise StampError("the signature is not by the given certificate's key") from None
