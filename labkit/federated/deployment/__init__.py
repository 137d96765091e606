"""A federation on real servers: Flower's SuperLink and SuperNodes, TLS, and a key for everyone.

`labkit federated deploy` shows it on this machine: it makes every party's keys, starts a server and hospitals,
refuses a stranger, trains, kills a hospital in mid-round, compares the model with the loop in one process, and
shuts everything down.

On real hosts
-------------
What runs where. The server runs `flower-superlink`: one TCP port, 8000, with TLS. Each hospital runs
`flower-supernode`, which connects out to that port; nothing connects in to a hospital. Every host has the same
version of `labkit[federated]` installed. `labkit federated deploy --dry-run --server HOST:PORT` prints all
commands, host by host.

Who holds what. The server's operator runs `labkit federated certify` and gives `authority.crt` to every hospital;
`server.key` stays. A hospital runs `labkit federated enrol` on its records. It gives `node.pub` to the operator,
who registers it, and its line of enrolment to the other hospitals; `node`, `identity` and `records.npz` stay,
readable by their owner only. `agreement.json` lies in every party's folder: roster, declared records, training,
noise, model.

How a signing key is enrolled. The hospitals exchange their lines of enrolment outside of the system: in person, by
signed mail, read out over the telephone. Each writes the agreement from the lines that it was given, never from a
file of the server's: a server that makes the roster can put keys of its own into it, and secure aggregation then
protects nobody. In Python:

    from labkit.federated import Training, calibrate
    from labkit.federated.agreement import Agreement
    lines = [...]  # one of each hospital, in an order that all agree on
    rounds, spare = 60, 3
    noise = calibrate("distributed", 3.0, rounds=rounds + spare, hospitals=len(lines), threshold=3)
    terms = Agreement(
        roster={line["name"]: line["signing_key"] for line in lines},
        sizes={line["name"]: line["records"] for line in lines},
        training=Training(rounds, learning_rate=1.0, momentum=0.9), noise=noise, spare=spare,
        model="labkit.models:logistic_regression", arguments={"in_features": 30, "classes": 2}, dimension=62,
    )
    print(terms.statement())
    Path("hospital/agreement.json").write_text(terms.to_json())

What privacy a round costs. A hospital's privacy is spent once its masked vector leaves, whether the sum is opened or the
round given up. It counts each vector before it leaves, and lets no more go than rounds and `spare` together;
`Agreement.statement` covers them all. Without spare ones, a hospital whose vector left in a round that was tried again
misses the last round.

What a hospital declares. The sum is divided by the declared records, which all parties and the model's readers know:
constants of the plan. Where patients are private, declare a round number (`enrol --declare`), not one that follows from
the exact count; nobody checks it then, as a refusal would show that one patient is there or is not.

Nodes compare digests of the agreement when they join, signed with the hospital's key, and in every round, and stop on a
difference. An answer that is junk, wrong or in another's name costs its hospital the round, not the others.

What a folder remembers. At a hospital: its signing key and the rounds it entered, the secrets of the current round
until the next message, and how many vectors it let go. At the
server: the state after each round, from which the same command goes on after an interrupt. A round that too few
hospitals finish is tried three times; then the run stops, and the state stays.

What this does not protect against
----------------------------------
- A node runs the app that comes with a run. Whoever may start runs can send another app, which reads the folder
  that the node reads. Secure aggregation holds against a server that cheats in its messages, not against code that
  a hospital runs for it: let only a party that all trust start runs, and give a node a container of its own.
- Flower's one port carries the nodes' interface and the operator's. Whoever reaches `/v1/control` and has
  `authority.crt` can register a node and start a run. Let a proxy pass only `/v1/fleet` to the hospitals. (A node
  registered that way cannot take part in a sum: the roster has no key for it.)
- A SuperNode talks to its own processes in clear on its own machine, port 9094: no other user should be there.
- A hospital can spoil rounds: with a vector that is wrong but well formed, which nobody can see under the masks, or with
  shares that its peers cannot open, at which they stop and the round is tried again, at the price of spare vectors.
- On one machine, `deploy` ends its programs on errors, Ctrl-C and SIGTERM; after SIGKILL they stay.

What this does not carry
------------------------
- Marks: an agreement names none, so a model trained here bears no hospital's mark. Marked training runs in one process
  (`labkit.federated.federate`, `labkit.federated.app.simulate`).
- Private features: each hospital trains on the records in its folder as they are. Noisy statistics of all hospitals'
  features (`labkit.federated.preprocessing`) are not taken: map records beforehand, by public constants.
"""

from labkit.federated.deployment.command import commands, main, parser

__all__ = ["commands", "main", "parser"]
