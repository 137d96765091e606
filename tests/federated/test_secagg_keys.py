"""Shares, keys and masks: each promise against mathematics written out here, or against the library's own words."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from labkit.federated.secagg import Identity, SecAggError, least_threshold, shamir
from labkit.federated.secagg.keys import AgreementKey, check_public, derive, seal, transcript, unseal, verify
from labkit.federated.secagg.masks import CHUNK, add_mask

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def add_points(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Add two points of edwards25519 by its textbook formula."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(n: int, point: tuple[int, int]) -> tuple[int, int]:
    """Return n times a point."""
    found = (0, 1)
    for bit in bin(n)[2:]:
        found = add_points(found, found)
        if bit == "1":
            found = add_points(found, point)
    return found


def on_curve(y: int) -> tuple[int, int] | None:
    """Return a point with this y, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if (x * x - square) % P == 0 else None


def small_order_points() -> set[int]:
    """Return the y of all eight points of small order: (the group's odd order) times points of the curve."""
    order = 2**252 + 27742317777372353535851937790883648493
    found: set[int] = set()
    y = 2
    while len(found) < 5:  # eight points, five values of y
        point = on_curve(y)
        if point:
            torsion = times(order, point)
            found |= {times(k, torsion)[1] for k in range(8)}
        y += 1
    return found


def test_every_point_of_small_order_is_refused_in_both_signs_and_uncanonically() -> None:
    for y in small_order_points():
        for written in {y, y | 1 << 255, *({y + P} if y + P < 2**255 else set())}:
            with pytest.raises(SecAggError, match="small order or not canonical"):
                check_public(written.to_bytes(32, "little"))


def test_a_point_off_the_curve_and_other_lengths_are_refused() -> None:
    off = next(y for y in range(2, 100) if on_curve(y) is None)
    with pytest.raises(SecAggError, match="no point of the curve"):
        check_public(off.to_bytes(32, "little"))
    with pytest.raises(SecAggError, match="31 bytes"):
        check_public(bytes(31))
    identity = Identity.generate()
    assert check_public(identity.public) == identity.public


def test_a_signature_that_nobody_made_does_not_verify_under_a_small_order_key() -> None:
    nobody = (1).to_bytes(32, "little")  # the neutral element: R = 0, s = 0 would verify for every message
    with pytest.raises(SecAggError, match="binds nobody"):
        verify(nobody, (1).to_bytes(32, "little") + bytes(32), b"any message")


def test_an_identity_survives_being_written_with_its_rounds() -> None:
    identity = Identity.generate()
    identity.enter(b"one")
    again = Identity.from_bytes(identity.to_bytes())
    assert again.public == identity.public
    with pytest.raises(SecAggError, match="already taken part in"):
        again.enter(b"one")
    again.enter(b"two")
    with pytest.raises(SecAggError, match="damaged"):
        Identity.from_bytes(identity.to_bytes()[:-1])


@pytest.mark.parametrize("point", [0, 1, P - 1, P, P + 1])
def test_agreement_keys_of_small_order_are_refused(point: int) -> None:
    with pytest.raises(SecAggError, match="small order"):
        AgreementKey.generate().agree(point.to_bytes(32, "little"))


def test_a_key_is_bound_to_purpose_round_and_names() -> None:
    secret = bytes(range(32))
    asked = [
        ("mask", b"1", "a", "b"),
        ("box", b"1", "a", "b"),
        ("mask", b"2", "a", "b"),
        ("mask", b"1", "b", "a"),
    ]
    asked += [("mask", b"1", "ab", ""), ("mask", b"1", "", "ab"), ("mask", b"1a", "b")]
    assert len({derive(secret, *one) for one in asked}) == len(asked)
    assert transcript("a", "bc") != transcript("ab", "c")


def test_a_box_opens_only_for_what_it_was_bound_to() -> None:
    box = seal(bytes(32), b"shares", b"round 1, a to b")
    assert unseal(bytes(32), box, b"round 1, a to b") == b"shares"
    for key, changed, bound in (
        (b"1" * 32, box, b"round 1, a to b"),
        (bytes(32), box, b"round 1, a to c"),
        (bytes(32), bytes([box[0] ^ 1]) + box[1:], b"round 1, a to b"),
        (bytes(32), b"", b"round 1, a to b"),
    ):
        with pytest.raises(SecAggError, match="do not open"):
            unseal(key, changed, bound)


def test_every_set_of_threshold_shares_gives_the_secret() -> None:
    secret = b"\xff" * 32
    shares = shamir.split(secret, [1, 2, 3, 5, 8], 3)
    for size in (3, 4, 5):
        for chosen in combinations(shares, size):
            assert shamir.recover({x: shares[x] for x in chosen}) == secret


def test_fewer_shares_fit_every_secret() -> None:
    """Two shares of a threshold of three, with any third value at 0, lie on one parabola: they exclude no secret."""
    shares = shamir.split(bytes(32), [1, 2, 3], 3)
    for other in (b"\x01" * 32, b"\xee" * 32):
        points = {0: int.from_bytes(other, "big")} | {x: int.from_bytes(shares[x], "big") for x in (1, 2)}
        third = 0  # the value at 3 of the parabola through the three points
        for i, value in points.items():
            weight = 1
            for j in points:
                if j != i:
                    weight = weight * (3 - j) * pow(i - j, -1, shamir.PRIME) % shamir.PRIME
            third = (third + weight * value) % shamir.PRIME
        forged = {1: shares[1], 2: shares[2], 3: third.to_bytes(shamir.SHARE_BYTES, "big")}
        assert shamir.recover(forged) == other


def test_wrong_shares_are_noticed() -> None:
    shares = shamir.split(bytes(range(32)), [1, 2, 3], 3)
    # A random share gives a random field element; it is below 2^256 with probability 2^-265.
    other = shamir.split(bytes(range(32)), [1, 2, 3], 3)
    wrong = {**shares, 2: other[2]}
    with pytest.raises(SecAggError, match="give no secret"):
        shamir.recover(wrong)
    with pytest.raises(SecAggError, match="give no secret"):
        shamir.recover({1: shares[1], 2: shares[2]})
    with pytest.raises(SecAggError, match="malformed"):
        shamir.recover({**shares, 2: b"\xff" * shamir.SHARE_BYTES})
    for holders, threshold in (([1, 1, 2], 2), ([0, 1], 1), ([1, 2], 3)):
        with pytest.raises(SecAggError):
            shamir.split(bytes(32), holders, threshold)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_a_mask_does_not_depend_on_how_it_is_cut_and_cancels(dtype: str) -> None:
    long = np.zeros(3 * CHUNK // 4 + 5, dtype)
    short = np.zeros(7, dtype)
    add_mask(long, b"k" * 32)
    add_mask(short, b"k" * 32)
    assert (long[:7] == short).all()
    assert len(np.unique(long)) > 0.99 * len(long)  # no block comes twice
    add_mask(long, b"k" * 32, -1)
    assert not long.any()


def test_a_mask_is_the_ciphers_keystream() -> None:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    stream = Cipher(algorithms.AES(b"k" * 32), modes.CTR(bytes(16))).encryptor().update(bytes(40))
    masked = np.arange(10, dtype="<u4")
    add_mask(masked, b"k" * 32)
    expected = [(i + int.from_bytes(stream[4 * i : 4 * i + 4], "little")) % 2**32 for i in range(10)]
    assert masked.tolist() == expected


def test_two_groups_never_both_sign() -> None:
    for hospitals in range(3, 40):
        for colluding in range(hospitals - 2):
            threshold = least_threshold(hospitals, colluding)
            assert 2 * threshold - hospitals > colluding
            assert threshold == 3 or 2 * (threshold - 1) - hospitals <= colluding
    with pytest.raises(SecAggError, match="two honest ones"):
        least_threshold(5, colluding=4)


def test_a_masked_value_is_uniform() -> None:
    """A vector of equal values, masked: byte counts against the uniform law (false failure: 1e-6 for each word size)."""
    for dtype in ("<u4", "<u8"):
        vector = np.full(40_000, 123_456, dtype)
        add_mask(vector, AgreementKey.generate().to_bytes())
        counts = np.bincount(vector.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


def test_secrets_of_another_length_are_refused() -> None:
    with pytest.raises(SecAggError, match="a secret has 31 bytes"):
        shamir.split(bytes(31), [1, 2, 3], 3)
    with pytest.raises(SecAggError, match="a private key has 31 bytes"):
        Identity(bytes(31))
