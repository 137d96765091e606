"""Time stamps that OpenSSL made are read and checked; no changed byte says anything else."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from labkit import timestamps
from labkit.evidence import Evidence, Signer
from labkit.timestamps import StampError

# openssl ts -query -digest DIGEST -sha256 -no_nonce; openssl ts -reply (OpenSSL 3.0), one with ECDSA, one with RSA.
DIGEST = hashlib.sha256(b"plan").hexdigest()
EC_STAMP = base64.b64decode("""
MIICDjADAgEAMIICBQYJKoZIhvcNAQcCoIIB9jCCAfICAQMxDzANBglghkgBZQMEAgEFADCBjgYL
KoZIhvcNAQkQAQSgfwR9MHsCAQEGBCoDBAEwMTANBglghkgBZQMEAgEFAAQgZIeffWuWCgGQl2LZ
EaMtRYLCABDFZB7pAni2RKnjtSUCAQIYDzIwMjYxMTI2MTg1MjAxWjADAgEBAQH/oCGkHzAdMRsw
GQYDVQQDDBJBIG5vdGFyeSBmb3IgdGVzdHMxggFJMIIBRQIBATA1MB0xGzAZBgNVBAMMEkEgbm90
YXJ5IGZvciB0ZXN0cwIUZrfKL3K5xlCRVFlIjQqkxLERTDAwDQYJYIZIAWUDBAIBBQCggaQwGgYJ
KoZIhvcNAQkDMQ0GCyqGSIb3DQEJEAEEMBwGCSqGSIb3DQEJBTEPFw0yNjExMjYxODUyMDFaMC8G
CSqGSIb3DQEJBDEiBCCVr3e2CMHrNwvvIvu6VEtK+eM7YoQmIEwcB5u+F/rj8TA3BgsqhkiG9w0B
CRACLzEoMCYwJDAiBCAIA/JXYLZnAP2DSBnxB0aNI/4iT8mbrlog+f5T7r+MgTAKBggqhkjOPQQD
AgRHMEUCIQD3JdvCXWeWK+u3hgD468sxfgq6YL+ubyqKIWb4UPCASQIgFRX2QhLEimfafBZf2ock
s45awKgD5QDf73HZUMWYjIc=
""")
EC_AUTHORITY = b"""-----BEGIN CERTIFICATE-----
MIIBhjCCAS2gAwIBAgIUZrfKL3K5xlCRVFlIjQqkxLERTDAwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSQSBub3RhcnkgZm9yIHRlc3RzMCAXDTI2MTEyNjE4NTE1MloY
DzIxMjYxMTAyMTg1MTUyWjAdMRswGQYDVQQDDBJBIG5vdGFyeSBmb3IgdGVzdHMw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT/8ndlStRz79a5UD79YIJwwFmQdxZc
q7QHqc2hQMLZ05UK4WgfHu383loItltKgu2z+9xkAANSuoImzThhRKwCo0kwRzAW
BgNVHSUBAf8EDDAKBggrBgEFBQcDCDAOBgNVHQ8BAf8EBAMCB4AwHQYDVR0OBBYE
FCydJjhUQNSGeR/xGjbtNAsTIj2nMAoGCCqGSM49BAMCA0cAMEQCIH9LucR58OtK
9DJOBVVikEP70SFFavMmvKd41r2SR3qBAiB0Eze71Ku2uenhWzME2ctDfXI+eubK
uLN1aAISLRLwWw==
-----END CERTIFICATE-----
"""
RSA_STAMP = base64.b64decode("""
MIICzDADAgEAMIICwwYJKoZIhvcNAQcCoIICtDCCArACAQMxDzANBglghkgBZQMEAgEFADCBjgYL
KoZIhvcNAQkQAQSgfwR9MHsCAQEGBCoDBAEwMTANBglghkgBZQMEAgEFAAQgZIeffWuWCgGQl2LZ
EaMtRYLCABDFZB7pAni2RKnjtSUCAQMYDzIwMjYxMTI2MTg1MjAxWjADAgEBAQH/oCGkHzAdMRsw
GQYDVQQDDBJBIG5vdGFyeSBmb3IgdGVzdHMxggIHMIICAwIBATA1MB0xGzAZBgNVBAMMEkEgbm90
YXJ5IGZvciB0ZXN0cwIUSsWDF0zKsmDSp9KoXmgmfKXxDLwwDQYJYIZIAWUDBAIBBQCggaQwGgYJ
KoZIhvcNAQkDMQ0GCyqGSIb3DQEJEAEEMBwGCSqGSIb3DQEJBTEPFw0yNjExMjYxODUyMDFaMC8G
CSqGSIb3DQEJBDEiBCAJuhFpj6LrsAuVMiC2DqMf+dBVVySvEoaaaz3LZyNMozA3BgsqhkiG9w0B
CRACLzEoMCYwJDAiBCAVUWutigMd4XtWyI8T7znmxo03AOcFXBmEMA8ZZgXGUzANBgkqhkiG9w0B
AQEFAASCAQBb8IupvwTfIDubkBBtwmmsLtuCxLNiiZlmJPJrTYtQZcEKuzq3VpYTbvI34rzbBCAw
sUfvMTXFvjCGVzWWCSzAadAUUOy+oAdOnX2fk4mEpqQuDCXsCS8vDY425g324bhhii8iE9LolwaF
90P6IEo4Qnpz6wz3O/028QrmOmOKdOZjnNm/TsXvp9f8AO0b5EN1FuLW3vbv4GPN+CDN4G9sD/iR
VOlz47yMPHgDP0WIruFwtcpFZJKVOk2iQty30FnoZ2+czi7m+gyeGTnKPQoICaHQNti37K78IWpB
ZNXZpm+EH4U6CbobbtX3BF8wGiImR+VAyxKP4fnm5rrgRL3E
""")
RSA_AUTHORITY = b"""-----BEGIN CERTIFICATE-----
MIIDEzCCAfugAwIBAgIUSsWDF0zKsmDSp9KoXmgmfKXxDLwwDQYJKoZIhvcNAQEL
BQAwHTEbMBkGA1UEAwwSQSBub3RhcnkgZm9yIHRlc3RzMCAXDTI2MTEyNjE4NTE1
M1oYDzIxMjYxMTAyMTg1MTUzWjAdMRswGQYDVQQDDBJBIG5vdGFyeSBmb3IgdGVz
dHMwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCo+ShKp1fUBingavUk
KrUfH4zOWDqLj10AtNxy6byxcM8946esQMlF7SQNk0KTWbm+QvNF2MM4qFM/Grpr
/+jPPkJztF4vGhR9Y9AVpy4miw0qBUNsJUFYreSSexWH/YF2dsaen9XVlqLML9k4
E5dQtx/RWMXIdbP8cpYP6/EDidQic0p6dZDWt2rhLrNoH2VujHeLoITU3rXOSKc0
bUG2Z4GMc1NBIj+0q5LRYdRxromUUOxX4BOFhqtnwgLvi4VC7sSpdAFY4xHCjAQ/
B9Z1gC9eWlsRq/DAiUWAqzd6K/EIjPJ/a+Vcuhi4uEDN69DdTnysu5mSysrM/DUh
K8QfAgMBAAGjSTBHMBYGA1UdJQEB/wQMMAoGCCsGAQUFBwMIMA4GA1UdDwEB/wQE
AwIHgDAdBgNVHQ4EFgQUXOUQ97uhi2VJxWw9s1T39JcBSXUwDQYJKoZIhvcNAQEL
BQADggEBACRe9N1wIRqMevy32ZxODWbVoPTICEBvtZsfj9A/BAhCwjMHKtmN1lcr
9yNFGDg1ykU4ah+1elPMil/2ZS2qgA1GykIeBnPAirMyPcqotonRYNKt0bULSjnM
/ylUAcAyIhd0A7DZoErg/gSU/TalFdKBO8Y87hyVSbM1OHQzrjsT7HJh7EHjEU43
67sbuKNEcyxmTV01kzIW9fAtJ+i/6GSvmaZ+LDN6qqxM6E8xxJKYvlI3O/pCgLUM
PXvlj0VVYKKS9/217cAE/nMfIAwE7CcDY0jGEGILngyLtLg9/zuVUsEvaLOQ8YAG
mpnWSzDBZCf1OFAoZ0YSuvc3RQlk0G0=
-----END CERTIFICATE-----
"""
STAMPS = {"ecdsa": (EC_STAMP, EC_AUTHORITY), "rsa": (RSA_STAMP, RSA_AUTHORITY)}


@pytest.mark.parametrize("kind", STAMPS)
def test_a_stamp_by_openssl_holds(kind):
    stamp = timestamps.check(STAMPS[kind][0], DIGEST, STAMPS[kind][1])
    assert (stamp.digest, stamp.algorithm, stamp.policy) == (DIGEST, "sha256", "1.2.3.4.1")
    assert stamp.moment.date() == datetime(2026, 11, 26).date()
    assert timestamps.check(STAMPS[kind][0], DIGEST, x509.load_pem_x509_certificate(STAMPS[kind][1])) == stamp


@pytest.mark.parametrize("kind", STAMPS)
def test_a_changed_or_cut_stamp_says_the_same_or_nothing(kind):
    """Bytes that carry no meaning (a version number, the authority's name beside its hash) may differ."""
    response, authority = STAMPS[kind]
    stamp, refused = timestamps.check(response, DIGEST, authority), 0
    for place in range(len(response)):
        changed = bytearray(response)
        changed[place] ^= 1 << place % 8
        try:
            assert timestamps.check(bytes(changed), DIGEST, authority) == stamp
        except StampError:
            refused += 1
        with pytest.raises(StampError):
            timestamps.check(response[:place], DIGEST, authority)
    assert refused > len(response) / 2
    with pytest.raises(StampError):
        timestamps.check(response + b"0", DIGEST, authority)


def test_another_hash_or_authority_is_refused():
    with pytest.raises(StampError, match="expected"):
        timestamps.check(EC_STAMP, hashlib.sha256(b"another plan").hexdigest(), EC_AUTHORITY)
    with pytest.raises(StampError, match="another certificate"):
        timestamps.check(EC_STAMP, DIGEST, RSA_AUTHORITY)


def certificate(usage, critical=True, start=datetime(2020, 1, 1)):
    """Return a self-signed certificate, valid for ten years."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(start).not_valid_after(start + timedelta(days=3650))
    if usage is not None:
        made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=critical)
    return made.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"usage": None}, "not for time stamping alone"),
        ({"usage": [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]}, "not for time stamping alone"),
        ({"usage": [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING], "critical": False}, "not for time stamping"),
        (
            {"usage": [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING], "start": datetime(2001, 1, 1)},
            "not valid at",
        ),
    ],
)
def test_certificates_for_something_else_are_refused(settings, says):
    with pytest.raises(StampError, match=says):
        timestamps.check(EC_STAMP, DIGEST, certificate(**settings))


def test_what_is_no_stamp_is_refused():
    for response in (b"", b"0", b"\x30\x80", b"\x30\x00", bytes(40), EC_STAMP[9:]):
        with pytest.raises(StampError):
            timestamps.read(response)


def test_what_was_not_checked_is_said():
    assert "revoked" in " ".join(timestamps.UNCHECKED)
    assert "chain" in " ".join(timestamps.UNCHECKED)


def test_a_record_takes_a_stamp_over_its_last_entry_alone():
    court = Signer.from_seed(bytes(32))
    record = Evidence("1", "t").add("court", "plan", {}, court)
    with pytest.raises(StampError, match="the last entry is"):
        record.stamp(EC_STAMP, "court", court)


def test_moments_that_contradict_a_stamp_are_found(monkeypatch):
    """A stamp of June: what stands before it cannot be of July, what stands after it not of May."""
    court = Signer.from_seed(bytes(32))
    june = datetime(2026, 6, 1, tzinfo=UTC)
    monkeypatch.setattr(timestamps, "check", lambda *_: timestamps.Stamp(june, "", "sha256", "", ""))

    def dated(plan, stamp):
        record = Evidence("1", "t").add("court", "plan", {}, court, moment=plan)
        content = {"digest": record.entries[-1].digest, "rfc3161": ""}
        record = record.add("court", "time stamp", content, court, moment=stamp).close("court", court)
        settings = {"witnessed": ("plan",), "authorities": (EC_AUTHORITY,)}
        return record.problems({"court": court.public}, **settings)

    assert dated(june, june) == []
    month = timedelta(days=30)
    assert any("stands before a time stamp" in said for said in dated(june + month, june + month))
    assert any("stands after a time stamp" in said for said in dated(june - 3 * month, june - month))


def test_a_stamp_by_nobody_known_is_a_problem():
    court = Signer.from_seed(bytes(32))
    record = Evidence("1", "t").add("court", "plan", {}, court)
    content = {"digest": record.entries[-1].digest, "rfc3161": EC_STAMP.hex()}
    record = record.add("court", "time stamp", content, court).close("court", court)
    roster = {"court": court.public}
    assert any("no authority is known" in said for said in record.problems(roster))
    assert any("expected" in said for said in record.problems(roster, authorities=(EC_AUTHORITY,)))
