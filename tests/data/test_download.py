"""Downloads that are refused: what answered, and what it said."""

import http.server
import threading

import pytest

from labkit.data import download


@pytest.fixture(params=[403, 407])
def refusing(request):
    """A proxy on this machine that refuses every request with this status."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_response(request.param)
            self.end_headers()

        do_HEAD = do_GET = do_CONNECT  # noqa: N815

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, server.server_port
    server.shutdown()
    server.server_close()


def test_a_proxy_that_refuses_is_named_with_its_answer_and_without_its_password(
    refusing, monkeypatch, capsys
):
    """torchvision issues 1938 and 3504: a proxy that wants a password needs another fix than a missing file."""
    status, port = refusing
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://someone:secret@127.0.0.1:{port}")
    monkeypatch.setattr(
        download.urllib.request, "_opener", None
    )  # made once a process, with the proxies of then
    download._reachable.cache_clear()
    assert not download._reachable("https://example.org/mnist.gz")
    said = capsys.readouterr().err
    assert str(status) in said
    assert f"127.0.0.1:{port}" in said
    assert "secret" not in said


def test_a_machine_without_a_network_says_nothing(monkeypatch, capsys):
    def away(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(download.urllib.request, "urlopen", away)
    download._reachable.cache_clear()
    assert not download._reachable("https://example.org/other.gz")
    assert capsys.readouterr().err == ""
