"""Killed with SIGKILL at any moment, the next run finishes with identical results."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import neuraxis

WORDS = (
    "participant",
    "--participant-label",
    "01",
    "--skip-bids-validation",
    "--masking",
    "magnitude_threshold",
    "--inversion",
    "tkd",
    "--nprocs",
    "1",
)


def digest(out):
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*.nii.gz"))}


@pytest.mark.slow
def test_ten_random_kills(small_bids, tmp_path):
    start = time.time()
    neuraxis(small_bids, tmp_path / "whole", *WORDS)
    whole, expected = time.time() - start, digest(tmp_path / "whole")
    chance = random.Random(1)
    out = tmp_path / "killed"
    for _ in range(10):
        app = subprocess.Popen(
            [sys.executable, "-m", "neuraxis", str(small_bids), str(out), *WORDS],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.3, whole))
        os.killpg(app.pid, signal.SIGKILL)
        app.wait()
        for path in out.rglob("*.nii.gz"):
            if not path.name.startswith("."):
                name = str(path.relative_to(out))
                assert (name, hashlib.sha256(path.read_bytes()).hexdigest()) == (name, expected[name])
        if chance.random() < 0.3:  # from the start again now and then, so that every moment is met
            subprocess.run(["rm", "-rf", out], check=True)
    neuraxis(small_bids, out, *WORDS)
    assert digest(out) == expected
    assert not [p for p in out.rglob("*") if p.name.startswith(".writing")]
