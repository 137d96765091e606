"""Why the range of an encoding binds nobody: a hospital may add any number to its masked message, modulo 2^bits.

The encoding refuses a value beyond its bound, in the hospital's own program. Under masks nobody else can look: one who
adds v to the masked vector adds v to the sum, whatever v is. The most that a server can check is whether honest values
could make such a sum, and up to there one liar among n moves it by as much as all n were meant to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from labkit.federated.secagg import Client, Encoding, Identity, Server, fresh_round_id, least_threshold


def tampered_sum(
    vectors: Mapping[str, np.ndarray], liar: str, added: np.ndarray, encoding: Encoding
) -> np.ndarray:
    """Return the sum, int64 [d], of a round of the real protocol in which one hospital adds to its masked message.

    Parameters
    ----------
    vectors : mapping of str to int64 ndarray of shape [d]
        On the grid, within the encoding's limit.
    added : int64 ndarray of shape [d]
        What ``liar`` adds, of any size.

    Raises
    ------
    labkit.federated.secagg.SecAggError
        If a party notices.

    Examples
    --------
    >>> grid = Encoding(scale=1000, bits=32, parties=3, bound=1.0)
    >>> vectors = {name: np.array([100, -100]) for name in ("North", "East", "South")}
    >>> tampered_sum(vectors, "South", np.array([2_000, 0]), grid)
    array([2300, -300])
    """
    identities = {name: Identity.generate() for name in vectors}
    roster = {name: one.public for name, one in identities.items()}
    terms = (roster, least_threshold(len(vectors)), encoding, fresh_round_id(), b"a model")
    server = Server(*terms)
    clients = {name: Client(name, identities[name], *terms) for name in vectors}
    shown = server.advertisements([one.advertise() for one in clients.values()])
    mail = server.shares({name: one.share(shown) for name, one in clients.items()})
    for name, one in clients.items():
        message = one.masked(vectors[name], mail[name])
        if name == liar:
            message = replace(message, vector=message.vector + added.astype(encoding.dtype))
        server.add(message)
    announced = server.survivors()
    signatures = server.signatures([one.consistency(announced) for one in clients.values()])
    return server.unmask([one.unmask(signatures) for one in clients.values()])


def reach(encoding: Encoding, *, seed: int = 0, dimension: int = 8) -> float:
    """Return how far one hospital moved a sum in a real round, in units of what its encoding allows one hospital.

    It aims at the end of the range that the sum of all may have, which no one can tell from an honest sum.
    """
    names = [f"Hospital {number}" for number in range(encoding.parties)]
    random = np.random.default_rng(seed)
    limit = encoding.limit
    vectors = {name: random.integers(-limit // 10, limit // 10, dimension) for name in names}
    honest = sum(vectors.values())
    added = encoding.parties * limit - honest
    total = tampered_sum(vectors, names[-1], added, encoding)
    return float(np.abs(total - honest).max() / limit)
