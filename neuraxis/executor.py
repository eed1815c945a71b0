"""Where units of work run: processes of this machine, within the cores and the memory given."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuraxis.errors import NeuraxisError, ResourceError


@dataclass(frozen=True)
class Job:
    """One unit of work: a name, what it is expected to need (MiB), what the worker is given, and the units that go before."""

    name: str
    memory_mb: float
    payload: Any
    after: tuple[str, ...] = ()


def cores() -> int:
    """Cores that this process may use: the least of affinity, SLURM and the cgroup's quota."""
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    if os.environ.get("SLURM_CPUS_PER_TASK", "").isdigit():
        found.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found.append(int(quota) // int(period))
    with contextlib.suppress(OSError, ValueError):
        quota_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            found.append(quota_us // int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()))
    return max(1, min(found))


def free_memory_mb() -> float:
    """MiB that this process may still take: the least of the machine's free memory, SLURM's and the cgroup's limit."""
    found = [8192.0]
    with contextlib.suppress(OSError, StopIteration):
        line = next(row for row in Path("/proc/meminfo").read_text().splitlines() if row.startswith("MemAvailable"))
        found = [int(line.split()[1]) / 1024]
    if os.environ.get("SLURM_MEM_PER_NODE", "").isdigit():
        found.append(float(os.environ["SLURM_MEM_PER_NODE"]))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(file).read_text()) / 2**20)
    return min(found)


def share(jobs: Sequence[Job], n_cores: int, memory_mb: float, threads: int | None) -> tuple[int, int]:
    """How many units run at once, and with how many threads each."""
    largest = max((job.memory_mb for job in jobs), default=1)
    at_once = max(1, min(len(jobs), n_cores // (threads or 1), int(memory_mb // max(largest, 1))))
    return at_once, threads or max(1, n_cores // at_once)


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Any, int], Any],
    *,
    n_cores: int,
    memory_mb: float,
    threads: int | None = None,
    stop_on_first: bool = False,
) -> Iterator[tuple[Job, Any]]:
    """Runs `work(payload, threads)` for every job in a process of its own; yields (job, result or NeuraxisError).

    A process that dies, for want of memory for instance, takes only its own unit with it. A worker whose parent is gone
    ends itself, so that two runs never write at once. A job waits for those that it names in `after`, however they end.
    """
    at_once, threads = share(jobs, n_cores, memory_mb, threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)  # read when the libraries are loaded, in the fork server
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # units side by side would otherwise spin against each other
    context = multiprocessing.get_context("forkserver")
    heavy = ["torch", "numba", "nibabel", "scipy.ndimage"]  # once for all; one unit loads them itself, if it comes so far
    context.set_forkserver_preload(heavy if len(jobs) > 1 else [])
    waiting = list(jobs)
    running: dict[Any, tuple[Job, Any]] = {}
    try:
        while waiting or running:
            while len(running) < at_once and (job := _next(waiting, [one for one, _ in running.values()], memory_mb)):
                waiting.remove(job)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(theirs, work, job.payload, threads), name=job.name)
                process.start()
                theirs.close()
                running[ours] = (job, process)
            for ready in multiprocessing.connection.wait(list(running)):
                job, process = running.pop(ready)
                try:
                    result = ready.recv()  # type: ignore[union-attr, call-arg]
                except EOFError:
                    result = None
                process.join()
                if result is None:
                    result = _death(job, process.exitcode)
                if stop_on_first and isinstance(result, NeuraxisError):
                    waiting.clear()
                yield job, result
    finally:
        for _, process in running.values():
            process.kill()


def _next(waiting: Sequence[Job], running: Sequence[Job], memory_mb: float) -> Job | None:
    """The first job that may start: none that it waits for is still to come, and there is memory for it."""
    pending = {job.name for job in (*waiting, *running)}
    for job in waiting:
        if pending.intersection(job.after) - {job.name}:
            continue
        fits = not running or sum(one.memory_mb for one in running) + job.memory_mb <= memory_mb
        return job if fits else None
    return None


def _death(job: Job, code: int | None) -> NeuraxisError:
    if code == -signal.SIGKILL:
        return ResourceError(
            f"{job.name}: the process was killed, most likely for want of memory.",
            f"It was expected to need {job.memory_mb:.0f} MiB: give more memory, or fewer --nprocs.",
        )
    return NeuraxisError(f"{job.name}: the process ended unexpectedly (exit {code}).")


def _child(pipe: Any, work: Callable[[Any, int], Any], payload: Any, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        pipe.send(work(payload, threads))
    except NeuraxisError as error:
        pipe.send(error)
    finally:
        pipe.close()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def set_threads(threads: int) -> None:
    """Threads of all numerical libraries in this process."""
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


class PeakMemory:
    """Peak resident memory of this process, in MiB, since `reset`."""

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> float:
        with contextlib.suppress(OSError, StopIteration):
            line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
            return int(line.split()[1]) / 1024
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
