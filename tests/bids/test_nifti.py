"""NIfTI files of our own writing: their bytes depend on the image alone."""

from __future__ import annotations

import gzip
import time

import numpy as np
import pytest

from neuraxis.bids.nifti import image_bytes, read_warp, warp_bytes
from neuraxis.volume import Grid, Volume

GRID = Grid.of((4, 5, 6), np.diag([-1.0, 1.0, 2.0, 1.0]))


@pytest.mark.parametrize(("write", "axes"), [(image_bytes, ()), (warp_bytes, (3,))])
def test_the_same_volume_gives_the_same_bytes_at_any_time(monkeypatch, write, axes):
    volume = Volume(np.random.default_rng(0).random((*GRID.shape, *axes), np.float32), GRID)
    first = write(volume)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert write(volume) == first
    assert first[4:8] == bytes(4)  # the time in the header of gzip


def test_a_warp_comes_back_and_says_that_it_holds_vectors(tmp_path):
    volume = Volume(np.random.default_rng(0).random((*GRID.shape, 3), np.float32), GRID)
    path = tmp_path / "warp.nii.gz"
    path.write_bytes(warp_bytes(volume))
    back = read_warp(path)
    assert np.array_equal(back.data, volume.data) and back.grid.same_as(GRID)
    assert int.from_bytes(gzip.decompress(path.read_bytes())[68:70], "little") == 1007  # NIFTI_INTENT_VECTOR
