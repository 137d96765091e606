"""A round of five hospitals that tests take apart, message by message."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from labkit.federated.secagg import Client, Encoding, Identity, Server
from labkit.federated.secagg.messages import MaskedInput, SignedSurvivors

NAMES = ("Ash", "Birch", "Cedar", "Doum", "Elm")
GRID = Encoding(scale=1, bits=32, parties=5, bound=1000)
IDENTITIES = {name: Identity.generate() for name in NAMES}
MODEL = b"model"


@dataclass
class Scene:
    """Clients, an honest server, and what was sent so far."""

    round_id: bytes
    values: dict[str, np.ndarray] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    clients: dict[str, Client] = field(init=False)

    def __post_init__(self) -> None:
        self.identities = self.identities or {name: Identity.generate() for name in NAMES}
        self.values = self.values or {name: np.array([10**i, -i]) % 997 for i, name in enumerate(NAMES)}
        self.clients = {name: self.client(name) for name in NAMES}
        self.server = Server(*self.terms())

    def terms(self, model: bytes = MODEL) -> tuple:
        roster = {name: identity.public for name, identity in self.identities.items()}
        return roster, 3, GRID, self.round_id, model

    def client(self, name: str, model: bytes = MODEL) -> Client:
        return Client(name, self.identities[name], *self.terms(model))

    def shared(self) -> dict:
        """Go through advertising and sharing; return the shares for each hospital."""
        self.shown = self.server.advertisements([client.advertise() for client in self.clients.values()])
        boxes = {name: client.share(self.shown) for name, client in self.clients.items()}
        return self.server.shares(boxes)

    def masked(self, names: tuple[str, ...] = NAMES) -> list[MaskedInput]:
        """Go on to the masked inputs of ``names``; the server adds them up."""
        mail = self.shared()
        found = [self.clients[name].masked(self.values[name], mail[name]) for name in names]
        for message in found:
            self.server.add(message)
        return found

    def signed(self, names: tuple[str, ...] = NAMES) -> list[SignedSurvivors]:
        """Go on to the signatures of ``names``, whose inputs are in the sum."""
        self.masked(names)
        announced = self.server.survivors()
        return [self.clients[name].consistency(announced) for name in names]
