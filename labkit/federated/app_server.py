"""The server's app on Flower: who joined, one exchange for each stage, and rounds that are tried again.

The server holds no key and no record. What it is told is a `Plan`; what it learns are sums.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from labkit.federated import quiet
from labkit.federated.agreement import terms_digest
from labkit.federated.member import join_text
from labkit.federated.result import Round
from labkit.federated.rounds import Federation, FederationError, State, begin, step
from labkit.federated.secagg import SecAggError
from labkit.federated.secagg.keys import verify
from labkit.federated.wire import Exchange, secure_round
from labkit.federated.wire_checks import check_parts

if TYPE_CHECKING:
    from flwr.app import Context, RecordDict
    from flwr.serverapp import Grid, ServerApp

# At a round: one that too few hospitals finish is tried again, with fresh keys. What that costs, hospitals decide: each
# counts its own vectors, and lets no more go than were agreed on.
ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Plan:
    """What the server is told.

    Attributes
    ----------
    federation : Federation
        A `labkit.federated.agreement.Seat` without records, or in a simulation the whole.
    roster : mapping of str to bytes
        Public signing keys by hospital.
    keep : callable
        Takes the state and the rounds so far, after each round.
    start : tuple of State and list of Round, optional
        What was kept, to go on from.
    seed : int, optional
        Of central noise, for study.
    patience, timeout : float
        Seconds to wait for hospitals to join, and for the answers of one stage.
    say : callable
        Takes a line of progress.
    lost : callable
        Says whether a message of a round (from 1) and stage to a hospital gets lost, for studies of dropouts.
    """

    federation: Federation
    roster: Mapping[str, bytes]
    keep: Callable[[State, list[Round]], None]
    start: tuple[State, list[Round]] | None = None
    seed: int | None = None
    patience: float = 60.0
    timeout: float = 60.0
    say: Callable[[str], None] = print
    lost: Callable[[int, str, str], bool] = lambda number, stage, name: False


def server_app(plan_of: Callable[[Context], Plan]) -> ServerApp:
    """Return the ServerApp.

    Parameters
    ----------
    plan_of : callable
        Says what is planned, from Flower's context.
    """
    quiet.ready("flwr")
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        Leader(plan_of(context), grid).lead()

    return app


@dataclass
class Leader:
    """The server's side of a federation while it runs."""

    plan: Plan
    grid: Grid
    nodes: dict[str, int] = field(default_factory=dict)  # of each hospital that joined
    strangers: set[int] = field(
        default_factory=set
    )  # nodes that did not show to be a hospital of this agreement

    def lead(self) -> None:
        """Run all rounds that are left, and send the hospitals the model."""
        plan = self.plan
        state, rounds = plan.start or (begin(plan.federation), [])
        self.gather()
        while state.round < plan.federation.training.rounds:
            state, done = self.round(state)
            rounds = [*rounds, done]
            plan.keep(state, rounds)
        model = np.asarray(state.model, dtype="<f8").tobytes()
        self.exchange(state.round)("finish", {name: [model] for name in self.present()})

    def gather(self) -> None:
        """Wait until all hospitals have joined, or at least the threshold once patience is over.

        Raises
        ------
        FederationError
            If fewer than the threshold joined.
        """
        plan, deadline = self.plan, time.monotonic() + self.plan.patience
        while self.join() < len(plan.roster) and time.monotonic() < deadline:
            time.sleep(0.5)
        if len(self.nodes) < plan.federation.noise.threshold:
            raise FederationError(
                f"{sorted(self.nodes)} joined within {plan.patience:.0f} s; expected at least "
                f"{plan.federation.noise.threshold} of {list(plan.roster)}: start the missing nodes"
            )
        plan.say(f"{len(self.nodes)} of {len(plan.roster)} hospitals joined: {', '.join(sorted(self.nodes))}")

    def join(self) -> int:
        """Ask new nodes who they are; return how many hospitals have joined so far."""
        online = set(self.grid.get_node_ids())
        known = {*self.nodes.values(), *self.strangers}
        challenge = secrets.token_bytes(32)
        new = {node: [challenge] for node in online - known}
        for node, parts in self.ask("join", new, group="0").items():
            try:
                name = self.who(parts, challenge)
                if self.nodes.get(name) in online:
                    raise SecAggError(f"{name!r} is here already")
            except SecAggError as error:
                self.strangers.add(node)
                self.plan.say(f"node {node} is left out: {error}")
            else:
                self.nodes[name] = node
        return len(self.nodes)

    def who(self, parts: Sequence[bytes], challenge: bytes) -> str:
        """Return the hospital that a node is, by its signature.

        Raises
        ------
        SecAggError
            If it says another name than its own, holds another agreement, or sends something else.
        """
        roster, terms = self.plan.roster, terms_digest(self.plan.federation, self.plan.roster)
        if len(parts) != 3:
            raise SecAggError(f"it sent {len(parts)} parts; expected name, terms and signature")
        name = parts[0].decode(errors="replace")
        if name not in roster:
            raise SecAggError(f"it says that it is {name[:80]!r}; expected one of {list(roster)}")
        if parts[1] != terms:
            raise SecAggError(
                f"it says that it is {name!r}, and holds another agreement: compare agreement.json"
            )
        verify(roster[name], parts[2], join_text(name, terms, challenge))
        return name

    def present(self) -> list[str]:
        """Return the hospitals whose nodes are online."""
        online = set(self.grid.get_node_ids())
        return [name for name, node in self.nodes.items() if node in online]

    def round(self, state: State) -> tuple[State, Round]:
        """Return the state after the next round, and how it went.

        Raises
        ------
        SecAggError
            If too few hospitals finished it, `ATTEMPTS` times.
        """
        plan, number = self.plan, state.round + 1
        for attempt in range(1, ATTEMPTS + 1):
            start = time.perf_counter()
            self.join()  # a node that was away may be back under another number
            present = self.present()
            try:
                opened = secure_round(
                    self.exchange(number),
                    plan.federation,
                    plan.roster,
                    state,
                    present,
                    say=lambda line: plan.say(f"round {number}: {line}"),
                )
                break
            except SecAggError as error:
                plan.say(f"round {number}, attempt {attempt} of {ATTEMPTS}: given up: {error}")
                if attempt == ATTEMPTS:
                    raise
        after = step(plan.federation, state, opened.total, opened.survivors, seed=plan.seed)
        gone = dict.fromkeys(plan.roster.keys() - set(present), "advertise") | opened.dropped
        done = Round(number, opened.survivors, gone, time.perf_counter() - start, opened.bytes_up)
        plan.say(f"round {number}: in the sum: {', '.join(opened.survivors)}; missed: {gone or 'nobody'}")
        return after, done

    def exchange(self, number: int) -> Exchange:
        """Return the function that carries one stage of round ``number`` to hospitals and back."""

        def carry(stage: str, sent: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
            names = {self.nodes[name]: name for name in sent}
            content = {
                node: sent[name] for node, name in names.items() if not self.plan.lost(number, stage, name)
            }
            answers = {names[node]: parts for node, parts in self.ask(stage, content, str(number)).items()}
            self.plan.say(f"round {number}: {stage}: {len(answers)} of {len(sent)} answered")
            return answers

        return carry

    def ask(self, stage: str, content: Mapping[int, Sequence[bytes]], group: str) -> dict[int, list[bytes]]:
        """Send each node its messages; return what those that answered sent back."""
        from flwr.app import ConfigRecord, Message, RecordDict

        timeout = self.plan.timeout
        messages = [
            Message(
                RecordDict({"messages": ConfigRecord({"parts": list(parts)})}),
                node,
                f"query.{stage}",
                group_id=group,
                ttl=timeout,
            )
            for node, parts in content.items()
        ]
        called = {node: f"node {node}" for node in content} | {
            node: name for name, node in self.nodes.items()
        }
        answers = {}
        for reply in self.grid.send_and_receive(messages, timeout=timeout) if messages else ():
            node = reply.metadata.src_node_id
            if node not in content:
                self.plan.say(f"node {node} answered {stage}, which nobody asked of it: ignored")
            elif reply.has_error():
                self.plan.say(f"round {group}: {called[node]} did not answer {stage}: {reply.error.reason}")
            elif isinstance(parts := _parts(reply.content), list):
                answers[node] = parts
            else:
                self.plan.say(
                    f"round {group}: {called[node]} stops at {stage}: {parts}; its own log says why"
                )
        return answers


def _parts(content: RecordDict) -> list[bytes] | str:
    """Return the answer that a node sent, or why there is none, in words that it cannot break out of."""
    record = content.get("messages", {})
    try:
        parts, refusal = record.get("parts"), record.get("refusal")
        return check_parts(parts) if parts is not None else f"{str(refusal)[:80]!r}"
    except (SecAggError, AttributeError) as error:
        return str(error)
