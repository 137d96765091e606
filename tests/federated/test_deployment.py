"""The deployment: keys, folders, programs that end, and (slow) the whole of it on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from labkit.federated import FederationError, federate, load_hospitals
from labkit.federated.deployment import folders, keys, main, programs
from labkit.federated.deployment.loopback import Loopback, Settings
from labkit.federated.deployment.processes import DeploymentError, Programs, environment, free_ports
from labkit.federated.quiet import QUIET
from labkit.federated.secagg import Identity

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"


def handshake(server: keys.ServerFiles, authority: Path, host: str) -> None:
    """Make one TLS connection to a server with ``server``'s certificate, trusting ``authority`` alone."""
    listener = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listener.load_cert_chain(server.certificate, server.key)
    inside, outside = socket.socketpair()

    def serve() -> None:
        try:
            listener.wrap_socket(inside, server_side=True).close()
        except (ssl.SSLError, OSError):
            inside.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ssl.create_default_context(cafile=authority).wrap_socket(outside, server_hostname=host).close()
    finally:
        outside.close()
        thread.join()


def test_hospitals_know_the_server_by_its_certificate_and_no_other(tmp_path: Path) -> None:
    server = keys.make_server(tmp_path / "server", ("federation.example.org", "127.0.0.1"))
    impostor = keys.make_server(tmp_path / "impostor", ("federation.example.org",))
    for host in ("federation.example.org", "127.0.0.1"):
        handshake(server, server.authority, host)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server, server.authority, "elsewhere.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(impostor, server.authority, "federation.example.org")


def test_node_keys_are_what_flower_asks_for(tmp_path: Path) -> None:
    private, public = keys.make_node_key(tmp_path)
    key = load_ssh_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    assert load_ssh_public_key(public.read_bytes()) == key.public_key()


def test_a_certificate_for_no_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hosts is empty"):
        keys.make_server(tmp_path, ())


@pytest.fixture(scope="module")
def dataset():
    return load_hospitals("breast_cancer", count=4, by="size", seed=0).hospitals[0].dataset


def test_enrolling_makes_a_folder_that_only_its_owner_reads(tmp_path: Path, dataset) -> None:
    enrolled = folders.enrol(tmp_path / "hospital", "Hospital A", dataset)
    identity = Identity.from_bytes((tmp_path / "hospital" / "identity").read_bytes())
    assert json.loads(enrolled.to_json()) == {
        "name": "Hospital A",
        "signing_key": identity.public.hex(),
        "records": len(dataset.train_y),
    }
    if os.name == "posix":
        modes = {
            name: stat.S_IMODE((tmp_path / "hospital" / name).stat().st_mode) for name in ("identity", "node")
        }
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "hospital").stat().st_mode) == 0o700
    with pytest.raises(FileExistsError, match="identity already"):
        folders.enrol(tmp_path / "hospital", "Hospital A", dataset)


def test_records_are_read_as_they_were_written(tmp_path: Path, dataset) -> None:
    folders.write_records(tmp_path / "records.npz", dataset)
    assert folders.read_records(tmp_path / "records.npz").digest == dataset.digest


def test_the_server_goes_on_from_what_it_kept_and_only_under_the_same_terms(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    from labkit.federated.deployment import apps
    from labkit.federated.result import Round
    from labkit.federated.rounds import State

    assert apps.kept(tmp_path, "terms") is None
    state = State(np.arange(3.0), np.ones(3), np.zeros(3), counted=1, round=2)
    rounds = [Round(1, ("a", "b"), {"c": "masked"}, 0.5, 10), Round(2, ("a", "b", "c"), {}, 0.5, 10)]
    apps.keep(tmp_path, "terms", state, rounds)
    again, how = apps.kept(tmp_path, "terms")
    assert how == rounds
    assert (again.counted, again.round) == (1, 2)
    assert np.array_equal(
        [again.weights, again.velocity, again.total], [state.weights, state.velocity, state.total]
    )
    with pytest.raises(FederationError, match="another agreement"):
        apps.kept(tmp_path, "other terms")


def test_flower_accepts_the_app(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    from flwr.cli.config_utils import load_and_validate

    config, warnings = load_and_validate(programs.write_app(tmp_path / "app") / "pyproject.toml")
    assert not warnings
    assert config["tool"]["flwr"]["app"]["components"]["clientapp"] == "labkit_federation.hospital:app"


def test_programs_end_with_the_block_and_so_does_what_they_started(tmp_path: Path) -> None:
    family = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    seen = []

    def fail() -> None:
        with Programs(tmp_path) as running:
            seen.append(running.start("parent", [sys.executable, "-c", family]))
            seen[0].wait_for("ready", 60)
            seen.extend(psutil.Process(seen[0].process.pid).children(recursive=True))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    program, *everyone = seen
    assert everyone
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in everyone)
    assert program.process.returncode is not None


def test_a_program_that_ends_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Programs(tmp_path) as running:
        program = running.start("server", [sys.executable, "-c", "print('port in use'); raise SystemExit(3)"])
        with pytest.raises(DeploymentError, match=r"server ended with code 3(?s:.*)port in use"):
            program.wait_for("listening", 60)


def test_programs_are_told_not_to_phone_home(tmp_path: Path) -> None:
    told = environment(tmp_path)
    assert {name: told[name] for name in QUIET} == QUIET
    assert told["FLWR_HOME"] == str(tmp_path)
    assert "--disable-runtime-dependency-installation" in programs.superlink(tmp_path, "127.0.0.1", 1)
    node = programs.supernode("Hospital A", tmp_path, "127.0.0.1:1", 2)
    assert not [part for part in node if "insecure" in part or "allow-runtime" in part]


def test_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_settings_that_cannot_be_survived_are_refused_before_anything_starts() -> None:
    with pytest.raises(FederationError, match="at most 0 may die"):
        main(["deploy", "--hospitals", "3", "--kill", "1"])
    with pytest.raises(FederationError, match="hospitals is 2"):
        main(["deploy", "--hospitals", "2"])
    assert replace(Settings(), hospitals=5, kill=2).threshold == 3


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        main(["deploy", "--keep", str(tmp_path)])


def test_a_dry_run_prints_every_hosts_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--dry-run", "--hospitals", "3", "--server", "fl.example.org:9000"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("flower-supernode") == printed.count("flwr supernode register") == 3
    assert "--superlink fl.example.org:9000" in printed
    assert all(f"export {name}={value}" in printed for name, value in QUIET.items())
    with pytest.raises(SystemExit):
        main(["deploy", "--dry-run", "--server", "nowhere"])


def test_the_two_steps_of_real_hosts(tmp_path: Path, dataset, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("flwr")
    folders.write_records(tmp_path / "records.npz", dataset)
    assert main(["enrol", "Hospital A", str(tmp_path / "records.npz"), str(tmp_path / "hospital")]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == len(dataset.train_y)
    assert main(["certify", str(tmp_path / "server"), "fl.example.org:8000"]) == 0
    handshake(
        keys.ServerFiles(
            *(tmp_path / "server" / name for name in ("authority.crt", "server.crt", "server.key"))
        ),
        tmp_path / "server" / "authority.crt",
        "fl.example.org",
    )
    assert 'address = "fl.example.org:8000"' in (tmp_path / "server" / "flower" / "config.toml").read_text()


def test_the_page_explains_real_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["deploy", "--help"])
    printed = capsys.readouterr().out
    for topic in (
        "What runs where",
        "Who holds what",
        "How a signing key is enrolled",
        "does not protect against",
        "does not carry",
    ):
        assert topic in printed


def concluded(settings: Settings, folder: Path, *, wrong: float = 0.0) -> None:
    """Leave in ``folder`` what a deployment with ``settings`` leaves, off by ``wrong``, and have it judged."""
    from labkit.federated.deployment import apps

    federation = settings.federation()
    done = federate(federation, seed=settings.seed, keep_states=True, quiet=True)
    last = replace(done.states[-1], weights=done.states[-1].weights + wrong)
    (folder / "server").mkdir()
    apps.keep(folder / "server", "terms", last, list(done.rounds))
    loopback = Loopback(settings, folder, federation)
    keys_of = {name: Identity.generate().public.hex() for name in federation.sizes}
    enrolled = [folders.Enrolment(name, keys_of[name], size) for name, size in federation.sizes.items()]
    (folder / "server" / "agreement.json").write_text(loopback.agreement(enrolled).to_json())
    loopback.conclude("")


def test_the_conclusion_compares_with_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("flwr")
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    concluded(Settings(), tmp_path / "right")
    assert (
        "no promise of privacy; largest difference from the loop in one process: 0.0e+00"
        in capsys.readouterr().out
    )
    with pytest.raises(DeploymentError, match="expected at most 1e-6"):
        concluded(Settings(), tmp_path / "wrong", wrong=2e-6)


def test_the_conclusion_states_the_promise_and_its_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr")
    concluded(Settings(epsilon=3.0), tmp_path)
    printed = capsys.readouterr().out
    found = re.search(r"ε = ([\d.]+) \(PLD\).*δ = 1e-5.*unit patient, noise distributed", printed)
    assert 2.9 < float(found[1]) <= 3.0  # all vectors that may leave, in sums of the threshold
    assert "covers 5 vectors of each hospital, sums of no fewer than 3" in printed


def left_over(folder: Path) -> list[psutil.Process]:
    """Return processes whose command names ``folder``."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.pid != os.getpid() and str(folder) in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_deployment_refuses_a_stranger_survives_a_death_and_gives_the_loops_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr")
    assert main(["deploy", "--hospitals", "4", "--kill", "1", "--keep", str(tmp_path / "kept")]) == 0
    printed = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{printed}")
    assert "a node with an unregistered key is refused" in printed
    assert "killed Hospital D" in printed
    assert re.search(
        r"round 2: in the sum: Hospital A, Hospital B, Hospital C; missed: \{'Hospital D'", printed
    )
    assert float(re.search(r"loop in one process: (\S+)", printed)[1]) <= 1e-6
    assert not left_over(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_a_deployment_that_is_interrupted_leaves_nothing_running(tmp_path: Path, request_to_end: int) -> None:
    pytest.importorskip("flwr")
    code = "import sys; from labkit.federated.deployment import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "deploy", "--keep", str(tmp_path / "kept")]
    with (tmp_path / "out").open("w+") as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out)
        deadline = time.monotonic() + 300
        while (
            "Hospital A is registered" not in (tmp_path / "out").read_text() and time.monotonic() < deadline
        ):
            assert process.poll() is None, (tmp_path / "out").read_text()
            time.sleep(0.5)
        assert len(left_over(tmp_path)) > 4
        process.send_signal(request_to_end)
        assert process.wait(120) != 0
    assert not left_over(tmp_path)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_an_epsilon_that_promises_nothing_is_refused_before_anything_starts(epsilon: float) -> None:
    with pytest.raises(FederationError, match="epsilon is"):
        Settings(epsilon=epsilon)
