"""Work spread over joblib's workers, on this machine or on many: loky by default, Dask or Ray where the caller chose it.

``with joblib.parallel_config(backend="dask")`` (or "ray") around any call of this kit is the whole of the switch; `scheduler`
connects and switches in one step. Then

- the number of workers is the backend's, not this machine's;
- large arrays travel once: loky maps them into memory, Dask scatters them, Ray puts them into its store;
- a worker that is lost costs the model it was training: finished ones are kept, and that one is trained again elsewhere.

What workers write goes to *their* cache folder: on several machines, ``LABKIT_CACHE`` has to be one that all of them share.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

LOST = ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "WorkerCrashedError", "ActorDiedError")
TRIES = 4
HERE = ("loky", "threading", "sequential", "multiprocessing")  # backends of this machine


class LostWorkerWarning(UserWarning):
    """A worker process ended before its work was done; what it was doing is done again."""


def cores() -> int:
    """Return how many workers the chosen joblib backend has: cores of this machine, or of a whole cluster."""
    import joblib

    return joblib.cpu_count() if backend().startswith(HERE) else joblib.effective_n_jobs(-1)


def backend() -> str:
    """Return the name of the chosen joblib backend's class, in lower case: "lokybackend", "daskdistributedbackend", ..."""
    from joblib.parallel import get_active_backend

    return type(get_active_backend()[0]).__name__.lower()


class OfRay:
    """An array in Ray's store: every node fetches it once, and tasks carry its address alone."""

    def __init__(self, array: np.ndarray) -> None:
        import ray

        self.reference = ray.put(array)

    def array(self) -> np.ndarray:
        import ray

        return ray.get(self.reference)


def sent(*arrays: np.ndarray) -> tuple[Any, ...]:
    """Return arrays in the form in which tasks carry them: put away once for Ray, as they are where joblib sends them once."""
    return tuple(map(OfRay, arrays)) if "ray" in backend() else arrays


def received(given: Any) -> np.ndarray:
    """Return the array that `sent` sent, inside a worker. Do not write to it: it may be shared."""
    return given.array() if isinstance(given, OfRay) else given


def spread(tasks: Mapping[int, Any], workers: int) -> Iterator[tuple[int, Any]]:
    """Do joblib tasks by number and yield what each returns, ``(number, ...)``, as it is done.

    Parameters
    ----------
    tasks : dict of int to ``joblib.delayed(...)(...)``
        Each returns its own number first.
    workers : int
        At once; half as many after each loss, as workers are lost to a full memory more often than to anything else.

    Warns
    -----
    LostWorkerWarning
        If a worker was lost; what it did is done again.

    Raises
    ------
    Exception
        Whatever a task raises, at once; and the backend's own error when workers were lost four times in a row.
    """
    import joblib

    left, lost = dict(tasks), 0
    # Ray's backend hands results over when all of a call are done: it is called for so many as work at once.
    streams = joblib.parallel.get_active_backend()[0].supports_return_generator
    while left:
        done = len(left)
        try:
            parallel = joblib.Parallel(
                n_jobs=min(workers, len(left)),
                return_as="generator_unordered" if streams else "list",
                pre_dispatch=workers,
            )
            for result in parallel(list(left.values())[: None if streams else workers]):
                del left[result[0]]
                yield result
        except Exception as error:
            if type(error).__name__ not in LOST:
                raise
            lost = 1 if len(left) < done else lost + 1
            if lost >= TRIES:
                raise
            workers = max(1, workers // 2)
            warnings.warn(
                f"a worker was lost ({type(error).__name__}): {len(left)} of {len(tasks)} tasks are left and go on with {workers} at "
                "once. Out of memory is the usual cause",
                LostWorkerWarning,
                stacklevel=3,
            )


@contextlib.contextmanager
def scheduler(address: str | None, *, seconds: float = 20) -> Iterator[None]:
    """Within it, all work goes to a Dask or Ray cluster: see the module.

    Parameters
    ----------
    address : str or None
        Of a Dask scheduler, such as ``tcp://10.0.0.5:8786``; ``ray`` or ``ray://host:10001`` for Ray; ``local`` for a Dask
        cluster of this machine's cores; None changes nothing.
    seconds : float
        How long to wait for a Dask scheduler's answer.

    Raises
    ------
    ModuleNotFoundError, OSError
        If the library is missing, or nobody answers at the address; the message names the fix.
    """
    if address is None:
        yield
        return
    import joblib

    if address.split(":")[0] == "ray":
        register = _ray(address)
        register()
        with joblib.parallel_config(backend="ray"):
            yield
        return
    with _dask(address, seconds), joblib.parallel_config(backend="dask"):
        yield


def _dask(address: str, seconds: float) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        text = "Dask is not installed: pip install 'labkit[cluster]'"
        raise ModuleNotFoundError(text, name="distributed") from error
    if address == "local":
        return Client(LocalCluster(n_workers=cores(), threads_per_worker=1, dashboard_address=None))
    try:
        return Client(address, timeout=seconds)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, and workers with `dask worker`"
        ) from error


def _ray(address: str) -> Any:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ModuleNotFoundError(
            "Ray is not installed: pip install 'labkit[simulation]'", name="ray"
        ) from error
    if not ray.is_initialized():
        ray.init(address=None if address == "ray" else address, ignore_reinit_error=True)
    return register_ray
