"""A JupyterLab of its own on a folder, as ``make lab`` starts it: for tests in a browser, and for the README's film."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.course.notebooks import build

OWN = {  # what JupyterLab and the kit would otherwise keep in the user's home
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "LABKIT_PROGRESS_FILE": "progress.json",
}


@contextmanager
def served(folder: Path, token: str, **variables: str) -> Iterator[str]:
    """Give the address of a server whose root is ``folder``; its own files lie beside that, and it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
    command += [f"--IdentityProvider.token={token}"]
    own = {name: str(folder.parent / place) for name, place in OWN.items()}
    own["JUPYTER_CONFIG_PATH"] = str(build.checkout() / ".ci/self-paced")
    log = folder.parent / "server.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | own | variables, stdout=written, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/api", log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(address: str, log: Path) -> None:
    for _ in range(360):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
