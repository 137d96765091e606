"""A federation on real servers: Flower's SuperLink and SuperNodes, TLS, and a key for everyone.

`labkit federated deploy` shows it on this machine: it makes every party's keys, starts a server and hospitals,
refuses a stranger, trains, kills a hospital in mid-round, compares the model with the loop in one process, and
shuts everything down.

On real hosts
-------------
What runs where. The server runs `flower-superlink`, one TCP port, 8000, with TLS. Each hospital runs
`flower-supernode`, which connects out to that port; nothing connects in to a hospital. Every host has
`pip install 'labkit[federated]'` of one version. `labkit federated deploy --dry-run --server HOST:PORT` prints
all commands.

Who holds what. The server's operator runs `labkit federated certify` and gives `authority.crt` to every hospital;
`server.key` stays. A hospital runs `labkit federated enrol` on its records, gives `node.pub` to the operator (who
registers it) and its line of enrolment to the other hospitals; `node`, `identity` and `records.npz` stay, readable
by their owner only. `agreement.json` (roster, declared records, training, noise, model) lies at every party.

How a signing key is enrolled. The hospitals exchange their enrolment lines outside of the system: in person, by
signed mail, read out over the telephone. Each writes the agreement from the lines it was given, not from a file of
the server's: a server that makes the roster can put keys of its own in it, and secure aggregation then protects
nobody. Nodes compare digests of the agreement when they join and in every round, and stop on a difference.

What a hospital's folder remembers. Its signing key and rounds, the secrets of the current round until the next
message, and how many sums it helped to open: a run of more rounds than agreed is refused.

What this does not protect against
----------------------------------
- The app comes from whoever starts the run, and a node runs it. A server that sends another app runs code at the
  hospitals. Run each node in a container that sees nothing but its folder, pin the app bundle, or use Flower's
  `--trusted-entities`.
- Flower's one port carries the nodes' API and the operator's. Whoever reaches `/v1/control` with the authority's
  certificate can register a node and start a run. Let a proxy pass only `/v1/fleet` to hospitals, and keep the
  rest to the operator's machine. (A node registered that way still cannot take part in a sum: it has no key on the
  roster.)
- A SuperNode talks to its own processes in clear on its own machine (port 9094): give it a machine or a container
  of its own.
- A node that is killed may miss rounds; a round that too few finish is tried three times, then the server keeps
  the last model and stops.
"""

from labkit.federated.deployment.command import main, parser

__all__ = ["main", "parser"]
