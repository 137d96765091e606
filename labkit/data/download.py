"""The data sets' own downloads, through torchvision: checksummed, into a folder that can be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path

TIMEOUT = 5.0  # seconds to wait for a first answer, and for each later read


def fetch(name: str) -> bool:
    """Download ``name`` and put it where :func:`labkit.data.sources.find` looks; return whether that worked.

    A machine without a network answers False within seconds and without noise. ``LABKIT_OFFLINE=1`` does not try.
    """
    if os.environ.get("LABKIT_OFFLINE") == "1":
        return False
    from labkit.data import compat, sources

    datasets = compat.torchvision().datasets
    dataset, kept, url = {
        "mnist": (datasets.MNIST, "MNIST", datasets.MNIST.mirrors[0] + datasets.MNIST.resources[1][0]),
        "cifar10": (datasets.CIFAR10, datasets.CIFAR10.base_folder, datasets.CIFAR10.url),
    }[name]
    if not _reachable(url):
        return False
    return _download_aside(dataset, kept, sources.download_root())


@lru_cache
def _reachable(url: str) -> bool:
    """Ask for the headers of ``url``, honouring proxies; once a process."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT):
            return True
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        # Silence is for a machine without a network. A mirror or a company's proxy that answers no has another fix.
        if isinstance(error, urllib.error.HTTPError) or "Tunnel connection failed" in str(error):
            proxies = urllib.request.getproxies()
            through = f" through the proxy {_without_password(proxies)}" if proxies else ""
            print(f"{url} answered{through}: {error}", file=sys.stderr)
        return False


def _without_password(proxies: dict[str, str]) -> str:
    """Return the proxy that would be asked, as it may stand in a report."""
    address = proxies.get("https") or proxies.get("http") or next(iter(proxies.values()))
    return address.rpartition("@")[2]


def _download_aside(dataset: type, kept: str, root: Path) -> bool:
    """Let torchvision download into a temporary folder, then move ``kept`` into place in one step."""
    before = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as aside:
            socket.setdefaulttimeout(TIMEOUT * 6)  # torchvision sets none: a dead line would hang for ever
            with contextlib.redirect_stdout(sys.stderr):
                dataset(aside, download=True)
            if not (root / kept).exists():  # another process may have been quicker
                shutil.move(Path(aside) / kept, root / kept)
        return True
    except (OSError, RuntimeError) as error:  # no line, full disk, or a checksum that does not match
        print(f"download of {kept} failed: {error}", file=sys.stderr)
        return False
    finally:
        socket.setdefaulttimeout(before)
