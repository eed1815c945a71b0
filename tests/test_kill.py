"""Killed with SIGKILL at any moment, the next run finishes with the same results."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

WORDS = (
    "participant",
    "--participant-label",
    "01",
    "--skip-bids-validation",
    "--masking",
    "magnitude_threshold",
    "--nprocs",
    "1",
)


def images(out):
    return {str(p.relative_to(out)): p for p in sorted(out.rglob("*.nii.gz")) if not p.name.startswith(".")}


def check(out, whole):
    """Every image is one of the whole run: the same bytes, or the same to rounding.

    Once in fifty runs an image has differed in its bytes: sums of the linear algebra library depend on where in memory
    its arguments happen to lie.
    """
    expected = images(whole)
    for name, path in images(out).items():
        if path.read_bytes() != expected[name].read_bytes():
            found, true = (nibabel.load(p) for p in (path, expected[name]))
            assert np.array_equal(found.affine, true.affine), name
            found, true = found.get_fdata(), true.get_fdata()
            off = np.abs(found - true)
            assert off.max() <= 1e-3 * np.abs(true).max(), (name, off.max())
            assert (off > 1e-5 * np.abs(true).max()).mean() < 1e-3, name


@pytest.mark.slow
def test_ten_random_kills(small_bids, tmp_path):
    start = time.time()
    neuraxis(small_bids, tmp_path / "whole", *WORDS)
    whole = time.time() - start
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
        check(out, tmp_path / "whole")
        if chance.random() < 0.3:  # from the start again now and then, so that every moment is met
            subprocess.run(["rm", "-rf", out], check=True)
    neuraxis(small_bids, out, *WORDS)
    check(out, tmp_path / "whole")
    assert images(out).keys() == images(tmp_path / "whole").keys()
    assert not [p for p in out.rglob("*") if p.name.startswith(".writing")]
