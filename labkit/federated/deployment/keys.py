"""Keys and certificates of a federation: who may connect, who is who, and who signed which round.

Three kinds, kept apart because three parties hold them:

- the *authority* and the *server certificate* (TLS): the hospitals know that they talk to the agreed server;
- a *node key* per hospital (ECDSA, P-384): the server knows which hospital connects;
- a *signing key* per hospital (Ed25519, :class:`labkit.federated.secagg.Identity`, in the hospital's folder): the
  hospitals know each other, so that the server cannot put keys of its own into secure aggregation (Bonawitz et al.
  2017, section 6: the public-key infrastructure that the protocol assumes).

TLS and node keys are made here with ``cryptography``; no outside program is called. Private keys are readable by their
owner only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class ServerFiles:
    """Where the server's TLS files lie: hospitals get ``authority`` only."""

    authority: Path
    certificate: Path
    key: Path


def make_server(
    folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1"), days: int = 30
) -> ServerFiles:
    """Make an authority and a server certificate for ``hosts`` in ``folder``; return where they lie.

    The authority's private key signs this one certificate and is then forgotten: nobody can issue a second one.

    Parameters
    ----------
    hosts
        The names and addresses under which hospitals reach the server.
    days
        How long both certificates are valid.

    Raises
    ------
    ValueError
        If ``hosts`` is empty: a certificate for no name fits no server.
    """
    if not hosts:
        raise ValueError(
            "hosts is empty: name at least one host or address under which hospitals reach the server"
        )
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP384R1()),
    )
    authority_name, server_name = _name("labkit federation authority"), _name(hosts[0])
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(authority_key, hashes.SHA384())
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = (
        _builder(server_name, authority_name, server_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA384())
    )
    files = ServerFiles(folder / "authority.crt", folder / "server.crt", folder / "server.key")
    files.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(server.public_bytes(Encoding.PEM))
    write_private(files.key, server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def make_node_key(folder: Path) -> tuple[Path, Path]:
    """Make the key with which a hospital's node proves itself to the server; return its (private, public) files.

    The public file is what the server's operator registers; the private one never leaves the hospital.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP384R1())
    private, public = folder / "node", folder / "node.pub"
    write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return private, public


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    """Return a certificate for ``subject`` that begins a day ago (clocks differ) and lasts ``days``."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(certificates: bool) -> x509.KeyUsage:
    """Return what a key may do: sign certificates, or prove itself in a handshake."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    """Return a host as certificates name it: an address, or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone can read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
