"""``labkit federated deploy | enrol | certify``: a deployment on this machine, and the two steps that real hosts add."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from labkit.federated import quiet
from labkit.federated.deployment import programs

HOST = "federation.example.org"


def _guide() -> str | None:
    """Return what the package says of real hosts."""
    return sys.modules[__package__].__doc__


def main(arguments: Sequence[str]) -> int:
    """Run ``labkit federated`` with ``arguments`` (``["deploy", "--hospitals", "3"]``); return the exit code.

    Raises
    ------
    DeploymentError
        If a program does not do what it should; all are ended, and the message says what the log says.
    FederationError
        Before anything starts, for terms that cannot be kept.
    """
    options = parser().parse_args(arguments)
    return options.run(options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``labkit federated``."""
    form = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="labkit federated", description=_guide(), formatter_class=form)
    commands = top.add_subparsers(required=True)

    one = commands.add_parser(
        "deploy",
        help="start a server and hospitals with TLS and keys on this machine, train, and shut everything down",
        description=_guide(),
        formatter_class=form,
    )
    one.add_argument("--hospitals", type=int, default=4, help="how many (default 4)")
    one.add_argument("--rounds", type=int, default=3, help="of training (default 3)")
    one.add_argument(
        "--kill",
        type=int,
        help="hospitals to kill in mid-round (default 1, or none where none may be missed)",
    )
    one.add_argument(
        "--epsilon", type=float, help="of patients, δ = 1e-5, noise distributed (default: no noise)"
    )
    one.add_argument("--seed", type=int, default=0, help="who holds which records (default 0)")
    one.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep keys, logs and the model in an empty folder"
    )
    one.add_argument(
        "--dry-run", action="store_true", help="start nothing: print the commands for real hosts"
    )
    one.add_argument(
        "--server", type=_address, default=(HOST, 8000), metavar="HOST:PORT", help="for --dry-run"
    )
    one.set_defaults(run=deploy)

    two = commands.add_parser("enrol", help="at a hospital: make its keys and its folder from records.npz")
    two.add_argument("name", help="as the others will know it")
    two.add_argument(
        "records", type=Path, help=".npz with train_x, train_y, test_x, test_y and words (see folders.py)"
    )
    two.add_argument("folder", type=Path, help="a new folder")
    two.add_argument(
        "--declare",
        type=int,
        metavar="N",
        help="records to declare: a round number where patients are private",
    )
    two.set_defaults(run=enrol)

    three = commands.add_parser(
        "certify", help="at the server: make its certificate, the app, and the operator's connection"
    )
    three.add_argument("folder", type=Path, help="a new folder")
    three.add_argument("server", type=_address, metavar="HOST:PORT", help="where hospitals reach the server")
    three.add_argument("--days", type=int, default=365, help="how long it is valid (default 365)")
    three.set_defaults(run=certify)
    return top


def deploy(options: argparse.Namespace) -> int:
    """Deploy on this machine, or print how to on others."""
    from labkit.federated.deployment.loopback import Loopback, Settings

    most = Settings(options.hospitals, options.rounds, 0, options.epsilon, options.seed)
    kill = min(1, most.hospitals - most.threshold) if options.kill is None else options.kill
    settings = Settings(options.hospitals, options.rounds, kill, options.epsilon, options.seed)
    if options.dry_run:
        print(commands(settings.hospitals, *options.server))
        return 0
    quiet.ready("flwr")
    if options.kill is None and not kill:
        print(
            f"{settings.hospitals} hospitals: none may be missed, so none is killed; --hospitals 4 shows that"
        )
    with _ends_on_request(), _folder(options.keep) as folder:
        federation = settings.federation()
        print(
            f"{federation.hospitals.summary()}; rounds: {settings.rounds}, threshold {settings.threshold}; in {folder}"
        )
        Loopback(settings, folder, federation).deploy()
        print(
            "not carried by a deployment: marks and private features (labkit federated deploy --help says more)"
        )
    return 0


def enrol(options: argparse.Namespace) -> int:
    """Make a hospital's folder, and print what the others may know."""
    from labkit.federated.deployment import folders

    enrolled = folders.enrol(
        options.folder, options.name, folders.read_records(options.records), options.declare
    )
    print(enrolled.to_json())
    if options.declare is None:
        print(
            "This line tells the exact number of records. Where patients are to be private, enrol into a new folder with "
            "--declare and a round number.",
            file=sys.stderr,
        )
    print(
        f"Hand this line to the other hospitals, in person or by a channel that they trust, and {options.folder / 'node.pub'} "
        "to the server's operator. Nothing else leaves this folder.",
        file=sys.stderr,
    )
    return 0


def certify(options: argparse.Namespace) -> int:
    """Make what the server and its operator need, but for the agreement."""
    from labkit.federated.deployment import keys

    host, port = options.server
    files = keys.make_server(options.folder, [host], options.days)
    app = programs.write_app(options.folder / "app")
    programs.write_connection(options.folder / "flower", f"{host}:{port}", files.authority.resolve())
    print(f"{files.authority}: give it to every hospital. {files.certificate}, {files.key}: keep them here.")
    print(f"{app}: what `flwr run` starts. {options.folder / 'flower'}: the operator's FLWR_HOME.")
    return 0


def _address(text: str) -> tuple[str, int]:
    """Return HOST:PORT in its parts."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as {HOST}:8000")
    return host, int(port)


def commands(hospitals: int, host: str, port: int) -> str:
    """Return the commands for real hosts, host by host."""
    folder, node = Path("server"), Path("hospital")
    environment = [f"export {name}={value}" for name, value in quiet.QUIET.items()]
    lines = [
        "# Not carried by a deployment: marks (the model bears none) and private features (map records beforehand)"
    ]
    lines += ["# On every host, first: nothing phones home", *environment, ""]
    lines += ["# At the server", f"labkit federated certify server {shlex.quote(f'{host}:{port}')}"]
    lines += ["# copy agreement.json to server/", shlex.join(programs.superlink(folder, "0.0.0.0", port)), ""]
    for number in range(1, hospitals + 1):
        name = f"Hospital {number}"
        lines += [f"# At {name}", f"labkit federated enrol {shlex.quote(name)} records.npz hospital"]
        lines += ["# copy agreement.json and authority.crt to hospital/"]
        lines += [shlex.join(programs.supernode(name, node, f"{host}:{port}", 9094)), ""]
    lines += ["# At the server, by its operator: let each hospital's node in, then start the run"]
    lines += ["export FLWR_HOME=$PWD/server/flower"]
    lines += [shlex.join(programs.register(Path(f"hospital-{n}.node.pub"))) for n in range(1, hospitals + 1)]
    lines += [shlex.join(programs.run(folder / "app", folder, 600.0, 120.0))]
    return "\n".join(lines)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to work in: a temporary one, or an empty one to keep."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="labkit-deployment-") as folder:
            yield Path(folder)
        return
    if keep.exists() and any(keep.iterdir()):
        raise FileExistsError(f"{keep} is not empty: name a new folder")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


@contextmanager
def _ends_on_request() -> Iterator[None]:
    """Turn a request to end (SIGTERM) into an error, so that every program is shut down on the way out."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
