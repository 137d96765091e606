"""Signatures are RFC 8032's, and a private key never shows."""

from labkit.signing import Signer, key_problem, signed


def test_keys_and_signatures_are_those_of_rfc_8032():
    """Section 7.1, test 1: seed and public key, and the signature of the empty message."""
    signer = Signer.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert signer.public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert signed(signer.public, signer.sign(b""), b"")
    assert not signed(signer.public, signer.sign(b""), b"else")


def test_what_is_no_key_or_no_signature_verifies_nothing():
    signer = Signer.new()
    for public in ("", "00", signer.public.upper(), signer.public + "00"):
        assert key_problem(public)
        assert not signed(public, signer.sign(b"x"), b"x")
    assert not signed(signer.public, "no hex", b"x")
    assert key_problem(signer.public) is None


def test_a_secret_never_shows():
    signer = Signer.new()
    assert signer.public[:16] in repr(signer)
    assert Signer.new().public != signer.public
