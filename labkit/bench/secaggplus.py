"""Flower's SecAgg+ in one process, without its network: the client's own stage functions, and its server's steps.

The stage functions are those of ``flwr.client.mod.secure_aggregation.secaggplus_mod``; the server's steps are those of
``flwr.server.workflow.SecAggPlusWorkflow`` (collecting and unmasking), with the same helpers, written out since the
workflow wants a running server. Every hospital is every other's neighbour, as in our protocol.
"""

from __future__ import annotations

import importlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from labkit.federated.secagg.session import CLOCK

T = TypeVar("T")
TARGET_RANGE, MOD_RANGE = 1 << 22, 1 << 32  # Flower's defaults


@dataclass
class SecAggPlus:
    """One round; ``mean`` is what the server gets, ``client_seconds`` and ``server_seconds`` what it took.

    Attributes
    ----------
    vectors : mapping of str to ndarray of shape (d,)
        Values within ``clip``; Flower clips what is beyond.
    dropped : tuple of str
        Who vanishes after sharing.
    """

    vectors: Mapping[str, np.ndarray]
    threshold: int
    clip: float
    dropped: tuple[str, ...] = ()
    mean: np.ndarray = field(init=False)
    client_seconds: dict[str, float] = field(init=False)
    server_seconds: float = field(init=False)
    bytes_up: int = field(init=False, default=0)

    def run(self) -> SecAggPlus:
        """Run the four stages and return self."""
        os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
        from flwr.common import ndarrays_to_parameters

        # The package hands out a function of the same name.
        mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
        self._seconds: dict[str, float] = defaultdict(float)
        numbers = {name: i + 1 for i, name in enumerate(self.vectors)}
        names = {number: name for name, number in numbers.items()}
        states = {name: mod.SecAggPlusState(nid=number) for name, number in numbers.items()}
        setup = self._setup(len(numbers))
        keys = {
            name: self._timed(name, lambda s=state: mod._setup(s, dict(setup)))
            for name, state in states.items()
        }
        shown = {str(numbers[name]): (one["pk1"], one["pk2"]) for name, one in keys.items()}
        mail: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for name, state in states.items():
            sent = self._timed(name, lambda s=state: mod._share_keys(s, dict(shown)))
            for receiver, box in zip(sent["dsts"], sent["ctxts"], strict=True):
                mail[names[receiver]].append((numbers[name], box))
                self.bytes_up += len(box)
        alive = [name for name in self.vectors if name not in self.dropped]
        masked = []
        for name in alive:
            inbox = {"srcs": [n for n, _ in mail[name]], "ctxts": [box for _, box in mail[name]]}
            parameters = ndarrays_to_parameters([self.vectors[name]])
            sent = self._timed(
                name,
                lambda s=states[name], i=inbox, p=parameters: mod._collect_masked_vectors(s, i, 1, p),
            )
            masked.append(sent["masked_params"])
            self.bytes_up += sum(map(len, sent["masked_params"]))
        total = self._timed("", lambda: _add(masked))
        lists = {
            "active_nids": [numbers[name] for name in alive],
            "dead_nids": [numbers[name] for name in self.dropped],
        }
        answers = [self._timed(name, lambda s=states[name]: mod._unmask(s, lists)) for name in alive]
        publics = {numbers[name]: one["pk1"] for name, one in keys.items()}
        self.mean = self._timed("", lambda: _open(total, answers, lists, publics, self.clip))
        self.server_seconds = self._seconds.pop("")
        self.client_seconds = dict(self._seconds)
        return self

    def _setup(self, hospitals: int) -> dict[str, Any]:
        return {
            "sample_num": hospitals,
            "share_num": hospitals,
            "threshold": self.threshold,
            "clipping_range": float(self.clip),
            "target_range": TARGET_RANGE,
            "mod_range": MOD_RANGE,
            "max_weight": 1.0,
        }

    def _timed(self, who: str, work: Callable[[], T]) -> T:
        start = CLOCK()
        done = work()
        self._seconds[who] += CLOCK() - start
        return done


def _add(masked: list[list[bytes]]) -> list[np.ndarray]:
    """Return the sum of masked vectors, as the workflow's third stage adds them up."""
    from flwr.common import bytes_to_ndarray
    from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition, parameters_mod

    total: list[np.ndarray] | None = None
    for sent in masked:
        vector = [bytes_to_ndarray(raw) for raw in sent]
        total = vector if total is None else parameters_addition(total, vector)
    return parameters_mod(total, MOD_RANGE)


def _open(
    total: list[np.ndarray],
    answers: list[dict],
    lists: dict[str, list[int]],
    publics: dict[int, bytes],
    clip: float,
) -> np.ndarray:
    """Return the mean, as the workflow's last stage takes the masks off."""
    from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.quantization import dequantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key

    shares: dict[int, list[bytes]] = defaultdict(list)
    for answer in answers:
        for owner, share in zip(answer["nids"], answer["shares"], strict=True):
            shares[owner].append(share)
    shapes = arithmetic.get_parameters_shape(total)
    for owner, held in shares.items():
        secret = combine_shares(held)
        if owner in lists["active_nids"]:
            total = arithmetic.parameters_subtraction(total, pseudo_rand_gen(secret, MOD_RANGE, shapes))
            continue
        for peer in set(publics) - {owner}:
            key = generate_shared_key(bytes_to_private_key(secret), bytes_to_public_key(publics[peer]))
            mask = pseudo_rand_gen(key, MOD_RANGE, shapes)
            combine = arithmetic.parameters_addition if owner > peer else arithmetic.parameters_subtraction
            total = combine(total, mask)
    factor, opened = arithmetic.factor_extract(arithmetic.parameters_mod(total, MOD_RANGE))
    (vector,) = dequantize(opened, clip, TARGET_RANGE)
    vector -= (len(lists["active_nids"]) - 1) * clip
    vector *= TARGET_RANGE / factor
    return vector
