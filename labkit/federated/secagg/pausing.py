"""A client between two stages as bytes, for a process that ends after every message (Flower starts one for each)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labkit.federated.secagg.client import Client
from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import AgreementKey, Identity
from labkit.federated.secagg.messages import Advertisement
from labkit.federated.secagg.terms import Terms, by_sender


def pause(client: Client) -> bytes:
    """Return a client between two stages, its secrets of the round included.

    Keep the bytes where only this hospital reads them, use them once, and overwrite them with what comes after the next
    stage: two clients that go on from the same bytes could be asked for both secrets of a peer.
    """
    secrets = (client._share_key.to_bytes(), client._mask_key.to_bytes(), client._seed)
    state = {
        "next": client._next,
        "name": client.name,
        "secrets": [raw.hex() for raw in secrets],
        "shown": [one.to_bytes().hex() for one in client._shown.values()],
        "held": {name: raw.hex() for name, raw in client._held.items()},
        "survivors": list(client._survivors),
        "terms": client.terms.digest.hex(),
        "round": client.terms.round_id.hex(),
        "model": client.terms.model_digest.hex(),
    }
    return json.dumps(state).encode()


def resume(
    raw: bytes, identity: Identity, roster: Mapping[str, bytes], threshold: int, encoding: Encoding
) -> Client:
    """Return the client that `pause` wrote, under the same terms.

    Raises
    ------
    SecAggError
        If the bytes are damaged, the terms are others, or the identity is not the roster's.
    """
    client = Client.__new__(Client)  # no fresh keys, and the round was entered already
    try:
        state = json.loads(raw)
        client.name, client._next = state["name"], state["next"]
        share_key, mask_key, client._seed = (bytes.fromhex(text) for text in state["secrets"])
        client._share_key, client._mask_key = AgreementKey(share_key), AgreementKey(mask_key)
        shown = [Advertisement.from_bytes(bytes.fromhex(text)) for text in state["shown"]]
        client._held = {name: bytes.fromhex(text) for name, text in state["held"].items()}
        client._survivors = tuple(state["survivors"])
        round_id, model_digest = bytes.fromhex(state["round"]), bytes.fromhex(state["model"])
        terms_digest = state["terms"]
    except (ValueError, KeyError, TypeError) as error:
        raise SecAggError(
            f"these bytes are no client between two stages ({error}): start a new round"
        ) from error
    client.terms = Terms(roster, threshold, encoding, round_id, model_digest)
    if client.terms.digest.hex() != terms_digest:
        raise SecAggError("roster, threshold or encoding changed within a round: start a new one")
    client._shown, client._identity = by_sender(shown), identity
    client._view = client.terms.view(shown)
    client._check_own_key()
    return client
