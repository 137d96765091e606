"""Flower's grid without a network or Ray: messages are written, read again, and answered in this process."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Written
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE = 1


class MemoryGrid(Grid):
    """``count`` nodes, each a hospital's app with a context of its own.

    Attributes
    ----------
    context : Context
        The server's.
    """

    def __init__(self, hospitals: ClientApp, count: int) -> None:
        # Messages take run and sender from here, as in a process that Flower started.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SERVER_NODE, 1
        self._app = hospitals
        self._nodes = {
            2 + index: _context(2 + index, {"partition-id": index, "num-partitions": count})
            for index in range(count)
        }
        self._answers: dict[str, Message] = {}
        self._sent = 0
        self.context = _context(SERVER_NODE, {})
        self._run = Run.create_empty(run_id=1)

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Have each message answered at once."""
        ids = []
        for message in messages:
            self._sent += 1
            ids.append(str(self._sent))
            node = self._nodes[message.metadata.dst_node_id]
            self._answers[ids[-1]] = _delivered(self._app(_delivered(message), node))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._answers.pop(number) for number in message_ids if number in self._answers]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))


def _delivered(message: Message) -> Message:
    """Return the message as it arrives: through bytes, so that what cannot travel fails here too."""
    return message_from_proto(Written.FromString(message_to_proto(message).SerializeToString()))


def _context(node: int, config: dict) -> Context:
    return Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})
