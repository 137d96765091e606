"""A Merkle root binds every record, and any single one can be shown with its way up."""

import hashlib

import pytest
import torch

from labkit.watermark.court import merkle


def hashes(count):
    return [hashlib.sha256(bytes([k])).digest() for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_leaf_belongs_and_no_other_does(count):
    made = hashes(count)
    top = merkle.root(made)
    for index, leaf in enumerate(made):
        way = merkle.proof(made, index)
        assert merkle.belongs(leaf, way, top)
        assert not merkle.belongs(hashlib.sha256(b"else").digest(), way, top)
    with pytest.raises(IndexError):
        merkle.proof(made, count)


def test_the_root_of_two_is_the_documented_hash():
    one, two = hashes(2)
    assert merkle.root([one, two]) == hashlib.sha256(b"\x01" + one + two).hexdigest()
    assert merkle.root([]) == hashlib.sha256(b"").hexdigest()


def test_any_change_moves_the_root():
    x, y = torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    first = merkle.root(merkle.leaves(x, y, b"salt"))
    changed = x.clone()
    changed[4, 0, 0, 0] += 1e-6
    others = [
        merkle.leaves(changed, y, b"salt"),
        merkle.leaves(x, y.flip(0), b"salt"),
        merkle.leaves(x[:5], y[:5], b"salt"),
        merkle.leaves(x[[1, 0, 2, 3, 4, 5]], y[[1, 0, 2, 3, 4, 5]], b"salt"),
        merkle.leaves(x, y, b"pepper"),
    ]
    assert first not in [merkle.root(other) for other in others]
    assert first == merkle.root(merkle.leaves(x.clone(), y.clone(), b"salt"))
