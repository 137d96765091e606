"""The command line of every program of a federation, in one place: for this machine, and as text for real hosts."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

FEDERATION = "labkit"  # what Flower's configuration calls the connection to the server

_PROJECT = """\
[project]
name = "labkit-federation"
version = "1.0.0"
description = "Hospitals train a model together: secure aggregation on Flower"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>={flower}", "labkit[federated]"]

[tool.flwr.app]
publisher = "labkit"
fab-format-version = 1
flwr-version-target = "{flower}"

[tool.flwr.app.components]
serverapp = "labkit_federation.server:app"
clientapp = "labkit_federation.hospital:app"

[tool.flwr.app.config]
folder = "server"
patience = 120.0
timeout = 60.0
"""


def write_app(folder: Path) -> Path:
    """Write the Flower app: a name for labkit's two apps, which every host has installed; return its folder."""
    package = folder / "labkit_federation"
    package.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(_PROJECT.format(flower=version("flwr")), encoding="utf-8")
    (folder / "LICENSE").write_text(
        "Apache-2.0: see https://www.apache.org/licenses/LICENSE-2.0\n", encoding="utf-8"
    )
    (package / "__init__.py").write_text("", encoding="utf-8")
    for side in ("server", "hospital"):
        # Flower looks for an assignment, and takes no import for one.
        text = f"from labkit.federated.deployment.apps import {side}\n\napp = {side}\n"
        (package / f"{side}.py").write_text(text, encoding="utf-8")
    return folder


def write_connection(home: Path, address: str, authority: Path) -> None:
    """Write Flower's configuration for whoever starts runs: where the server is, and how to know it."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{FEDERATION}"\n\n[superlink.{FEDERATION}]\naddress = "{address}"\n'
        f'root-certificates = "{authority.as_posix()}"\n',
        encoding="utf-8",
    )


def superlink(folder: Path, host: str, port: int) -> list[str]:
    """Return the server's command: TLS, and only registered nodes."""
    return [
        "flower-superlink",
        *("--ssl-ca-certfile", str(folder / "authority.crt")),
        *("--ssl-certfile", str(folder / "server.crt")),
        *("--ssl-keyfile", str(folder / "server.key")),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        *("--host", host),
        *("--port", str(port)),
    ]


def supernode(name: str, folder: Path, address: str, port: int) -> list[str]:
    """Return a hospital's command; ``port`` is for its own processes, on its own machine."""
    return [
        "flower-supernode",
        *("--root-certificates", str(folder / "authority.crt")),
        *("--superlink", address),
        *("--auth-supernode-private-key", str(folder / "node")),
        *("--node-config", f'hospital="{name}" folder="{folder.as_posix()}"'),
        *("--port", str(port)),
    ]


def register(public: Path) -> list[str]:
    """Return the command by which the server's operator lets a hospital's node in."""
    return ["flwr", "supernode", "register", str(public), FEDERATION]


def run(app: Path, folder: Path, patience: float, timeout: float) -> list[str]:
    """Return the command that starts a run and shows its log; ``folder`` is the server's."""
    config = f'folder="{folder.as_posix()}" patience={patience:.1f} timeout={timeout:.1f}'
    return ["flwr", "run", str(app), FEDERATION, "--stream", "--run-config", config]
