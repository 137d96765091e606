"""A whole deployment on this machine: real servers, real keys, a stranger, and a hospital that dies in mid-round."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from labkit import models
from labkit.federated import Federation, Noise, Training, calibrate, federate, load_hospitals
from labkit.federated.agreement import Agreement
from labkit.federated.deployment import folders, keys, programs
from labkit.federated.deployment.processes import DeploymentError, Program, Programs, environment, free_ports
from labkit.federated.hospitals import Hospitals
from labkit.federated.result import measure
from labkit.federated.rounds import FederationError, unflatten
from labkit.federated.secagg import SecAggError, least_threshold

RATE, MOMENTUM = 1.0, 0.9
SPARE = 2  # rounds may be tried again twice, at the cost of privacy that the promise includes
STAGE_SECONDS = 45.0  # a stage takes 6 s: a node asks for work every 3 s, and each message starts a process
ROUND_SECONDS = 240.0


@dataclass(frozen=True)
class Settings:
    """What is deployed.

    Parameters
    ----------
    hospitals, rounds, seed : int
        ``seed`` fixes who holds which records; keys, masks and noise never follow from it.
    epsilon : float, optional
        At δ = 1e-5, unit patient, noise distributed among the hospitals; none without it.
    kill : int
        Hospitals that are killed after they shared their secrets in the second round (or the only one).
    """

    hospitals: int = 4
    rounds: int = 3
    kill: int = 1
    epsilon: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        threshold = self.threshold
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise FederationError(
                f"epsilon is {self.epsilon}; expected a positive number, such as 3, or none at all"
            )
        if not 0 <= self.kill <= self.hospitals - threshold:
            raise FederationError(
                f"kill is {self.kill} of {self.hospitals} hospitals; secure aggregation needs {threshold} to finish a round "
                f"(of a sum of two, each knows the other's part), so at most {self.hospitals - threshold} may die: "
                f"raise hospitals, or lower kill"
            )

    @property
    def threshold(self) -> int:
        """How many must finish a round."""
        try:
            return least_threshold(self.hospitals)
        except SecAggError as error:
            raise FederationError(f"hospitals is {self.hospitals}: {error}") from error

    @property
    def noise(self) -> Noise:
        """The noise that was asked for."""
        terms = {"hospitals": self.hospitals, "threshold": self.threshold}
        if self.epsilon is None:
            return Noise(**terms)
        return calibrate("distributed", self.epsilon, rounds=self.rounds + SPARE, **terms)

    def federation(self) -> Federation:
        """Return the same federation for one process, to compare with."""
        clinics = load_hospitals("breast_cancer", count=self.hospitals, by="size", alpha=5.0, seed=self.seed)
        make = partial(models.logistic_regression, 30, 2)
        training = Training(rounds=self.rounds, learning_rate=RATE, momentum=MOMENTUM)
        return Federation(clinics, make, training, self.noise)


@dataclass
class Loopback:
    """A deployment while it runs."""

    settings: Settings
    folder: Path
    federation: Federation
    clock: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self.clock:5.1f} s] {line}", flush=True)

    @property
    def clinics(self) -> Hospitals:
        return self.federation.hospitals

    def home(self, index: int | None = None) -> Path:
        """Return the folder of hospital ``index``, or of the server."""
        return self.folder / ("server" if index is None else f"hospital-{index + 1}")

    def deploy(self) -> None:
        """Prepare, start, train, show what went wrong on purpose, and compare with the loop in one process."""
        port, *ports = free_ports(self.settings.hospitals + 2)
        address = f"127.0.0.1:{port}"
        files = self.prepare(address)
        with Programs(self.folder, environment(self.home() / "flower")) as running:
            self.start_server(running, files, port, address)
            nodes = self.start_hospitals(running, address, ports[1:])
            self.turn_away(running, address, ports[0])
            log = self.train(running, nodes)
        self.say("all programs have ended")
        self.conclude(log)

    def prepare(self, address: str) -> keys.ServerFiles:
        """Make every party's folder, as each would on its own machine."""
        files = keys.make_server(self.home(), ("127.0.0.1", "localhost"))
        enrolled = [
            folders.enrol(self.home(index), hospital.name, hospital.dataset)
            for index, hospital in enumerate(self.clinics)
        ]
        agreement = self.agreement(enrolled)
        self.say(
            f"agreed: {self.settings.rounds} rounds, {SPARE} spare vectors of each hospital. {promise(agreement)}"
        )
        homes = [self.home(index) for index in range(len(self.clinics))]
        folders.hand_out(agreement, files.authority, self.home(), *homes)
        programs.write_app(self.folder / "app")
        programs.write_connection(self.home() / "flower", address, files.authority)
        return files

    def agreement(self, enrolled: Sequence[folders.Enrolment]) -> Agreement:
        """Return the agreement that follows from what the hospitals handed over."""
        return Agreement(
            roster={one.name: one.signing_key for one in enrolled},
            sizes={one.name: one.records for one in enrolled},
            training=self.federation.training,
            noise=self.federation.noise,
            model="labkit.models:logistic_regression",
            arguments={"in_features": 30, "classes": 2},
            dimension=self.federation.dimension,
            spare=SPARE,
        )

    def start_server(self, running: Programs, files: keys.ServerFiles, port: int, address: str) -> None:
        running.start("server", programs.superlink(self.home(), "127.0.0.1", port)).wait_for(
            "Uvicorn running", 60
        )
        self.say(f"server listens on {address}, with TLS; its certificate is {files.certificate.name}")

    def start_hospitals(self, running: Programs, address: str, ports: Sequence[int]) -> list[Program]:
        """Register each hospital's node key, start its node, and wait until it is online."""
        nodes = []
        for index, (hospital, port) in enumerate(zip(self.clinics, ports, strict=True)):
            home = self.home(index)
            running.start(f"register-{index + 1}", programs.register(home / "node.pub")).wait_for(
                "registered successfully", 60
            )
            command = programs.supernode(hospital.name, home, address, port)
            nodes.append(running.start(home.name, command, environment(home / "flower")))
        for node, hospital in zip(nodes, self.clinics, strict=True):
            node.wait_for("SuperNode ID", 90)
            self.say(f"{hospital.name} is registered and online ({len(hospital.dataset.train_y)} records)")
        return nodes

    def turn_away(self, running: Programs, address: str, port: int) -> None:
        """Show that a node with a key that nobody registered is refused.

        Raises
        ------
        DeploymentError
            If it is let in.
        """
        home = self.folder / "stranger"
        keys.make_node_key(home)
        folders.hand_out(folders.read_agreement(self.home()), self.home() / "authority.crt", home)
        stranger = running.start(
            "stranger", programs.supernode("stranger", home, address, port), environment(home / "flower")
        )
        stranger.wait_for("Exit Code", 60)
        if "SuperNode ID" in stranger.said():
            raise DeploymentError(
                "a node that nobody registered was let in: stop, and check --enable-supernode-auth"
            )
        why = re.search(r"exception: ([^\n]+)", running.running[0].said())
        self.say(
            f"a node with an unregistered key is refused: {why[1] if why else 'see ' + str(stranger.log)}"
        )

    def train(self, running: Programs, nodes: Sequence[Program]) -> str:
        """Run the app, show its log as it grows, kill whom the settings say; return the log."""
        command = programs.run(self.folder / "app", self.home(), patience=120.0, timeout=STAGE_SECONDS)
        run, shown = running.start("run", command), 0
        victims = dict(zip(self.clinics.names[::-1], nodes[::-1], strict=True))
        victims = {name: victims[name] for name in list(victims)[: self.settings.kill]}
        deadline = time.monotonic() + ROUND_SECONDS * self.settings.rounds
        while run.look():
            for node in nodes:
                node.look()
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"the run did not end in time; its log {run.log} ends:\n{run.last_words()}"
                )
            for name, node in list(victims.items()):
                if self.has_shared(node):
                    node.kill()
                    del victims[name]
                    self.say(f"killed {name}: its secrets are shared, its vector is not sent")
            shown = self.show(run, shown)
            time.sleep(0.1)
        self.show(run, shown)
        if victims or not (self.home() / "model.npy").exists():
            raise DeploymentError(
                f"the run ended without a model; its log {run.log} ends:\n{run.last_words(20)}"
            )
        return run.said()

    def has_shared(self, node: Program) -> bool:
        """Return whether a node has sent its shares in the round in which it is to die."""
        number = min(2, self.settings.rounds)
        sent = rf"ROUND {number}\]\s+\S+ *:? *Sending: query\.share.*?Sent successfully"
        return re.search(sent, node.said(), re.DOTALL) is not None

    def show(self, run: Program, shown: int) -> int:
        """Print the app's own lines beyond the first ``shown``; return how many there are."""
        lines = [line for line in run.said().splitlines(keepends=True) if line.endswith("\n")]
        for line in lines[shown:]:
            if re.match(r"round \d|\d+ of \d+ hospitals|node \d", line):
                self.say(f"  {line.rstrip()}")
        return len(lines)

    def conclude(self, log: str) -> None:
        """Measure the model, and compare it with what one process makes of the same rounds.

        Raises
        ------
        DeploymentError
            If they differ, or a killed hospital was not survived.
        """
        with np.load(self.home() / "state.npz") as kept:
            rounds = json.loads(str(kept["words"]))["rounds"]
        weights = np.load(self.home() / "model.npy")
        if len(rounds) < self.settings.rounds:
            raise DeploymentError(
                f"{len(rounds)} of {self.settings.rounds} rounds went through; the log ends:\n{log[-800:]}"
            )
        accuracy = measure(unflatten(self.federation.make_model(), weights), self.clinics.pooled())
        self.say(f"test accuracy {accuracy.percent(1)} (interval over test patients; this one model)")
        if self.federation.noise.placement != "none":
            self.say(promise(folders.read_agreement(self.home())))
            return
        drop = {one["number"]: one["dropped"] for one in rounds if one["dropped"]}
        loop = federate(self.federation, drop=drop, seed=self.settings.seed)
        apart = float(np.abs(loop.weights - weights).max())
        self.say(
            f"no noise, so no promise of privacy; largest difference from the loop in one process: {apart:.1e}"
        )
        if apart > 1e-6:
            raise DeploymentError(
                f"the deployed model differs by {apart:.1e} from the loop's; expected at most 1e-6"
            )


def promise(agreement: Agreement) -> str:
    """Return what an agreement promises, in one line."""
    statement, noise = agreement.statement(), agreement.noise
    if statement is None:
        return "No noise, so no promise of privacy"
    return (
        f"{statement}, unit {noise.unit}, noise {noise.placement}, against the server and whoever gets the model: covers "
        f"{agreement.training.rounds + agreement.spare} vectors of each hospital, sums of no fewer than {noise.threshold} "
        f"and {noise.colluders} hospitals that help the server"
    )
