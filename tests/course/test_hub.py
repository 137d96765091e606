"""The labs elsewhere than at the root of a Jupyter server of one's own: behind a hub, and in VS Code."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

import nbformat
import pytest
from editors import saved_by_vscode

from labkit.course.grading import submission
from labkit.course.labs import LABS, lab
from labkit.course.notebooks import build, run, source

LAB = lab("00")
LINK = re.compile(r"""\]\(([^)\s]+)|(?:href|src)\s*=\s*["']([^"']+)""")
BASE, TOKEN = "/user/ann/", "a-token-of-the-test"


def links(text: str) -> list[str]:
    return [one or other for one, other in LINK.findall(text)]


@pytest.mark.parametrize("item", LABS, ids=lambda item: item.number)
def test_no_link_or_picture_is_bound_to_the_root_of_a_server(item):
    """Behind a hub the root is the hub's: what begins with a slash, or names a host of one's own, leads out of the lab."""
    root = build.checkout()
    text = build.places(item, root).source.read_text(encoding="utf-8")
    for cell in source.solution(item, text).cells:
        for link in links(cell.source):
            assert not link.startswith(("/", "http://localhost", "http://127.", "file:")), link
    shown = build.places(item, root).solution
    outputs = (output for cell in nbformat.read(shown, 4).cells for output in cell.get("outputs", []))
    for output in outputs:
        for link in links("".join(output.get("data", {}).get("text/html", ""))):
            assert not link.startswith(("/", "http://localhost", "http://127.", "file:")), link


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Yield the address of a Jupyter server as a hub starts it: below /user/ann/, with a lab in its folder."""
    folder = tmp_path_factory.mktemp("ann")
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    (folder / "notebooks").mkdir()
    nbformat.write(source.handout(solved), folder / "notebooks" / f"{LAB.name}.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"base_url": BASE, "port": port, "port_retries": 0, "root_dir": folder, "ip": "127.0.0.1"}
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--allow-root",
        "--no-browser",
        f"--IdentityProvider.token={TOKEN}",
    ]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}{BASE}"
        for _ in range(600):
            try:
                ask(f"{address}api/status")
                break
            except (OSError, urllib.error.URLError):
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def ask(address: str, body: dict | None = None) -> dict:
    """Return what the server's REST API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_a_lab_below_a_base_url_runs_checks_and_shows_widgets(hub):
    """Through the server's own doors: the notebook comes from its contents, its cells and comms go over its socket."""
    import websocket

    book = nbformat.from_dict(ask(f"{hub}api/contents/notebooks/{LAB.name}.ipynb")["content"])
    kernel = ask(f"{hub}api/kernels", {"name": "python3", "path": f"notebooks/{LAB.name}.ipynb"})["id"]
    address = f"{hub.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?token={TOKEN}"
    line = websocket.create_connection(address, timeout=120)
    first = next(cell.source for cell in book.cells if "import" in cell.source and cell.cell_type == "code")
    checked = next(cell.source for cell in book.cells if 'check("00.first_check"' in cell.source)
    definition = next(cell.source for cell in book.cells if "def accuracy" in cell.source)
    menu = "from labkit.course import tracks; tracks.choose()"
    seen = execute(line, "\n".join([first, definition, checked, menu]))
    line.close()
    text = json.dumps(seen)
    assert "not attempted" in text.lower()
    assert [each for each in seen if each["msg_type"] == "comm_open"], "widgets speak over the same line"
    assert "application/vnd.jupyter.widget-view+json" in text
    assert not [each for each in seen if each["msg_type"] == "error"], text[-2000:]


def execute(line, code: str) -> list[dict]:
    """Run code in the kernel at the other end and return the messages until it is idle."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "ann",
        "session": "s",
        "version": "5.3",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
    }
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    line.send(json.dumps(message))
    seen: list[dict] = []
    while True:
        answer = json.loads(line.recv())
        if answer["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        seen.append({"msg_type": answer["msg_type"], "content": answer["content"]})
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return seen


@pytest.fixture
def vscode(tmp_path):
    """Return (path, original): lab 00's learner copy, opened in VS Code and saved."""
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    copy = source.learner(solved)
    path = tmp_path / "notebooks" / f"{LAB.name}.ipynb"
    path.parent.mkdir()
    path.write_text(saved_by_vscode(copy), encoding="utf-8")
    return path, copy


def test_what_vscode_saved_is_no_edit_and_keeps_ids_and_grading_marks(vscode):
    path, original = vscode
    build._guard(path)  # the build does not take it for somebody's work
    back = run._read(path, LAB)
    assert [cell.id for cell in back.cells] == [cell.id for cell in original.cells]
    marks = [[cell.metadata.get("nbgrader") for cell in book.cells] for book in (back, original)]
    assert marks[0] == marks[1]
    nbformat.validate(back)


def test_an_answer_written_in_vscode_is_seen_by_the_build_and_graded(vscode, tmp_path):
    path, original = vscode
    for cell in original.cells:
        if "def accuracy" in cell.source and cell.cell_type == "code":
            cell.source = cell.source.replace(
                source.STUB, "return float((predicted == labels).float().mean())"
            )
    path.write_text(saved_by_vscode(original), encoding="utf-8")
    with pytest.raises(build.BuildError, match="edited by hand"):
        build._guard(path)
    asked = {"00.first_check": submission.questions(LAB, path)["00.first_check"]}
    done = submission.grade(LAB, asked, nbformat.read(path, 4), seconds=60, megabytes=2048, hidden=[])
    assert done["00.first_check"].status == "passed"
