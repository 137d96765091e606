"""Run a notebook from Python: this interpreter's kernel, progress per cell, and outputs fit to be kept."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from labkit import progress

WIDGET = "application/vnd.jupyter.widget-view+json"
LARGEST_OUTPUT = 300_000  # characters of one output; a figure at 100 dots per inch takes about 50,000


class LabError(RuntimeError):
    """A cell raised an error or ran past its time; the message names the cell and shows the end of the traceback."""


def execute(
    notebook: NotebookNode,
    folder: Path,
    description: str,
    *,
    environment: dict[str, str] | None = None,
    cell_timeout: int = 3600,
) -> float:
    """Run all cells in place, in a fresh kernel of this very interpreter, and return the seconds it took.

    Standard error is shown here and kept out of the notebook; a widget is kept as the picture it shows.

    Parameters
    ----------
    folder : Path
        The kernel's working directory.
    environment : dict
        Added to the kernel's environment.
    cell_timeout : int
        Seconds one cell may take.

    Raises
    ------
    LabError
        At the first cell that fails; it keeps its traceback, and cells before it their outputs.
    KeyboardInterrupt
        After Ctrl-C, once the kernel has ended.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    started, codes = time.perf_counter(), [c for c in notebook.cells if c.cell_type == "code"]
    position = {cell.id: number for number, cell in enumerate(codes, 1)}
    with progress.bar(len(codes), description) as bar:

        def before(cell: NotebookNode, cell_index: int) -> None:
            bar.set_postfix_str(_first_line(cell.source), refresh=sys.stderr.isatty())

        def after(cell: NotebookNode, cell_index: int, execute_reply: Any) -> None:
            bar.update(cell.cell_type == "code")

        client = _stoppable_client()(
            notebook,
            km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_this_interpreter()),
            timeout=cell_timeout,
            resources={"metadata": {"path": str(folder)}},
            on_cell_execute=before,
            on_cell_executed=after,
            record_timing=False,
        )
        client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": _silent_output_area()}}
        try:
            client.execute(cleanup_kc=True, env=os.environ | {"LABKIT_PROGRESS": "0"} | (environment or {}))
        except BaseException as error:
            if client.stopped:
                raise KeyboardInterrupt from None
            if isinstance(error, CellExecutionError | CellTimeoutError | DeadKernelError):
                raise LabError(_explain(error, codes, position)) from error
            raise
        finally:  # outputs of hours are kept whatever came, so they are made fit to be kept
            too_large = [_tidy(cell, client.widget_state, position[cell.id]) for cell in codes]
            _tidy_metadata(notebook)
    if problem := next(filter(None, too_large), ""):
        raise LabError(problem)
    return time.perf_counter() - started


def _this_interpreter() -> Any:
    """Return a kernel finder that always gives this interpreter, whatever kernels are installed on the machine."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            settings = get_kernel_dict()
            return KernelSpec(**settings | {"argv": [sys.executable, *settings["argv"][1:]]})

    return ThisInterpreter()


def _stoppable_client() -> type:
    """Return a notebook client that Ctrl-C stops in order, and that then says so by ``stopped``.

    nbclient's own handler ends the kernel under the cell that waits for it, which then fails in one of several ways.
    """
    from nbclient import NotebookClient

    class StoppableClient(NotebookClient):
        stopped = False

        @asynccontextmanager
        async def async_setup_kernel(self, **kwargs: Any) -> AsyncIterator[None]:
            loop, task, manager = asyncio.get_running_loop(), asyncio.current_task(), self.km

            def stop() -> None:
                self.stopped = True
                self.shutdown_kernel = "immediate"  # asked to end, a kernel prints the traceback of its cell
                loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C stops at once
                task.cancel()

            def listen() -> None:
                # Impossible outside the main thread, and on Windows, where Ctrl-C raises KeyboardInterrupt by itself.
                with suppress(RuntimeError):
                    loop.add_signal_handler(signal.SIGINT, stop)

            loop.call_soon(listen)  # that is, once nbclient has put its own handler in place
            try:
                async with super().async_setup_kernel(**kwargs):
                    yield
            finally:
                with suppress(RuntimeError):
                    loop.remove_signal_handler(signal.SIGINT)
                if manager.has_kernel:  # stopped while it was starting
                    await manager.shutdown_kernel(now=True)

    return StoppableClient


def _silent_output_area() -> type:
    """Return an output area that collects what a widget shows and never answers the kernel.

    nbclient's own sends each output back on the channel that carries the next cell; now and then that cell then waits
    for ever (about one run in thirty here, ipykernel 7.4 and nbclient 0.11).
    """
    from nbclient.output_widget import OutputWidget

    class SilentOutputArea(OutputWidget):
        def send(self, *args: Any, **kwargs: Any) -> None: ...

    return SilentOutputArea


def _first_line(source: str) -> str:
    line = next((line for line in source.splitlines() if line.strip() and not line.startswith("#")), "")
    return line[:40]


def _explain(error: Exception, codes: list[NotebookNode], position: dict[str, int]) -> str:
    failed = next((c for c in codes if any(o.output_type == "error" for o in c.get("outputs", []))), None)
    if failed is None:
        return f"{type(error).__name__}: {str(error).strip()[-1500:]}"
    details = next(o for o in failed.outputs if o.output_type == "error")
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(details.traceback))
    lines = trace.splitlines()[-15:]
    return f"code cell {position[failed.id]} stopped: {details.ename}: {details.evalue}\n" + "\n".join(lines)


def _tidy(cell: NotebookNode, widgets: dict[str, Any], number: int) -> str:
    """Keep what a reader needs: no standard error, pictures in place of widgets; return what is wrong with the rest."""
    kept, problem = [], ""
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stderr":
            if text := output.text.strip():
                print(f"  cell {number} wrote to standard error: {text[-500:]}", file=sys.stderr)
            continue
        if WIDGET in output.get("data", {}):
            drawn = [_lean(picture) for picture in _pictures(output.data[WIDGET]["model_id"], widgets)]
            if drawn or "text/html" not in output.data:
                kept += drawn
                continue
            del output.data[WIDGET]  # a box to fill in says in HTML what it asks
        output = _lean(output)
        if len(str(output.get("text", "")) + str(output.get("data", ""))) > LARGEST_OUTPUT:
            problem = f"code cell {number} puts out more than {LARGEST_OUTPUT:,} characters: draw fewer points, or a smaller figure"
        kept.append(output)
    cell.outputs = kept
    cell.metadata.pop("execution", None)
    return problem


def _lean(output: NotebookNode) -> NotebookNode:
    """Drop the HTML twin of a picture: the PNG's metadata hold its alt text, and every page made from it reads them."""
    if "image/png" in output.get("data", {}):
        output.data.pop("text/html", None)
    return output


def _pictures(model: str, widgets: dict[str, Any]) -> list[NotebookNode]:
    """Return what the output areas inside a widget show, in order."""
    from nbformat import from_dict

    state = widgets.get(model, {})
    if state.get("_model_name") == "OutputModel":
        return [from_dict(dict(output)) for output in state.get("outputs", ())]
    children = [child.removeprefix("IPY_MODEL_") for child in state.get("children", ())]
    return [picture for child in children for picture in _pictures(child, widgets)]


def _tidy_metadata(notebook: NotebookNode) -> None:
    """Drop what differs between machines: the interpreter's version, and the state of widgets."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = NotebookNode(name="python")
