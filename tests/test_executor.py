"""Units in processes of their own: sharing, isolation, death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from neuraxis.errors import DataError, NeuraxisError, ResourceError
from neuraxis.executor import Job, PeakMemory, cores, free_memory_mb, run_jobs, share


def work(payload, threads):
    if payload == "refuse":
        raise DataError("no good", "mend it")
    if payload == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == "exit":
        os._exit(3)
    if payload == "sleep":
        time.sleep(60)
    return payload, threads


def test_cores_and_memory_are_shared():
    jobs = [Job(str(n), 1000, n) for n in range(4)]
    assert share(jobs, 8, 16000, None) == (4, 2)
    assert share(jobs, 8, 2500, None) == (2, 4)
    assert share(jobs, 8, 100, None) == (1, 8)
    assert share(jobs, 8, 16000, 4) == (2, 4)
    assert cores() >= 1 and free_memory_mb() > 100


def test_one_unit_that_fails_or_dies_takes_no_other_with_it():
    jobs = [Job(name, 10, name) for name in ("a", "refuse", "die", "exit", "b")]
    results = {job.name: result for job, result in run_jobs(jobs, work, n_cores=2, memory_mb=1000)}
    assert results["a"][0] == "a" and results["b"][0] == "b"
    assert isinstance(results["refuse"], DataError) and results["refuse"].hint == "mend it"
    assert isinstance(results["die"], ResourceError) and "memory" in str(results["die"])
    assert isinstance(results["exit"], NeuraxisError) and "exit 3" in str(results["exit"])


def test_nothing_new_starts_after_the_first_failure_when_asked():
    jobs = [Job(name, 10, name) for name in ("refuse", "a", "b")]
    assert [job.name for job, _ in run_jobs(jobs, work, n_cores=1, memory_mb=1000, stop_on_first=True)] == ["refuse"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_end_when_the_app_is_killed():
    code = "import test_executor as t\nlist(t.run_jobs([t.Job('s', 1, 'sleep')], t.work, n_cores=1, memory_mb=100))"
    app = subprocess.Popen([sys.executable, "-c", code], cwd=os.path.dirname(__file__), start_new_session=True)
    group = os.getpgid(app.pid)
    time.sleep(4)
    app.kill()
    app.wait()
    for _ in range(50):
        if subprocess.run(["pgrep", "-g", str(group)], capture_output=True).returncode:
            return
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("a worker outlived the app")


def test_peak_memory_is_seen_and_reset():
    meter = PeakMemory()
    meter.reset()
    low = meter.read()
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert meter.read() > low + 150
    del block
    meter.reset()
    assert meter.read() < low + 100


def test_a_unit_waits_for_the_one_that_it_refers_to_however_that_ends():
    jobs = [
        Job("b", 10, "b", after=("refuse",)),
        Job("c", 10, "c", after=("b",)),
        Job("refuse", 10, "refuse"),
        Job("d", 10, "d", after=("gone",)),
    ]
    order = [job.name for job, _ in run_jobs(jobs, work, n_cores=1, memory_mb=1000)]
    assert order.index("refuse") < order.index("b") < order.index("c") and set(order) == {"b", "c", "d", "refuse"}
