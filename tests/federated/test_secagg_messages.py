"""Messages: read back as written, and in one way only."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.federated.secagg import SecAggError
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    Message,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)

KEY, SHARE = bytes(range(32)), bytes(66)
ALL: list[Message] = [
    Advertisement(b"r", "Ash", KEY, KEY, KEY, b"m", KEY, bytes(64)),
    EncryptedShares(b"r", "Ash", "Birch", b"box"),
    MaskedInput(b"r", "Ash", np.arange(5, dtype="<u4")),
    MaskedInput(b"r", "Ash", np.arange(5, dtype="<u8")),
    SurvivorList(b"r", ("Ash", "Birch"), ()),
    SignedSurvivors(b"r", "Ash", ("Ash", "Birch"), bytes(64)),
    UnmaskShares(b"r", "Ash", (("Ash", SHARE), ("Birch", SHARE)), (("Élan", SHARE),)),
]


@pytest.mark.parametrize("message", ALL, ids=lambda one: type(one).__name__)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    raw = message.to_bytes()
    again = type(message).from_bytes(raw)
    for field in fields(message):
        assert np.array_equal(getattr(again, field.name), getattr(message, field.name))
    assert again.to_bytes() == raw
    assert message.size == len(raw)


@pytest.mark.parametrize("message", ALL, ids=lambda one: type(one).__name__)
def test_every_cut_and_every_extra_byte_is_refused(message: Message) -> None:
    raw = message.to_bytes()
    for end in range(len(raw)):
        with pytest.raises(SecAggError):
            type(message).from_bytes(raw[:end])
    with pytest.raises(SecAggError, match="1 bytes too many"):
        type(message).from_bytes(raw + b"\0")


@given(st.sampled_from(ALL), st.data())
def test_a_changed_byte_is_refused_or_read_as_another_message(message: Message, data: st.DataObject) -> None:
    raw = bytearray(message.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        again = type(message).from_bytes(bytes(raw))
    except SecAggError:
        return
    assert again.to_bytes() == bytes(raw)  # one message, one way to write it


def test_names_must_be_in_order_and_once() -> None:
    for names in (("Birch", "Ash"), ("Ash", "Ash")):
        with pytest.raises(SecAggError, match="each once, in order"):
            SurvivorList.from_bytes(SurvivorList(b"r", names, ()).to_bytes())
    with pytest.raises(SecAggError, match="each once, in order"):
        UnmaskShares.from_bytes(UnmaskShares(b"r", "a", (("a", SHARE), ("a", SHARE)), ()).to_bytes())


def test_one_kind_is_not_read_as_another() -> None:
    with pytest.raises(SecAggError, match="no SurvivorList"):
        SurvivorList.from_bytes(ALL[0].to_bytes())
