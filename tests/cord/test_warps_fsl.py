"""A warp for FSL brings the same values as the one for ITK: applied here as applywarp does, in FSL's coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import neuraxis
from scipy.ndimage import map_coordinates

from neuraxis.bids.nifti import image_bytes, warp_bytes
from neuraxis.cord.template.warps import brought
from neuraxis.cord.warps import to_fsl
from neuraxis.volume import Grid, Volume

TILT = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])


def grid(shape, size, sign):
    matrix = np.eye(4)
    matrix[:3, :3] = TILT @ np.diag(np.array([sign, 1, 1]) * size)
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape) / 2)
    return Grid.of(shape, matrix)


def applywarp(source: Volume, field: Volume) -> np.ndarray:
    """What FSL does: reference place plus displacement is the place in the source, both in its own mm."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in field.grid.shape], indexing="ij"), -1)
    if np.linalg.det(field.grid.matrix) > 0:
        index[..., 0] = field.grid.shape[0] - 1 - index[..., 0]
    at = (index * field.grid.voxel_size + field.data) / source.grid.voxel_size
    if np.linalg.det(source.grid.matrix) > 0:
        at[..., 0] = source.grid.shape[0] - 1 - at[..., 0]
    return map_coordinates(source.data, np.moveaxis(at, -1, 0), order=1, mode="constant")


@pytest.mark.parametrize("signs", [(-1, -1), (1, -1), (-1, 1), (1, 1)])
def test_fsl_finds_what_itk_finds(signs, tmp_path):
    rng = np.random.default_rng(3)
    source = Volume(rng.random((20, 22, 18)).astype(np.float32), grid((20, 22, 18), (1.0, 0.9, 1.3), signs[0]))
    here = grid((15, 16, 12), (0.8, 1.1, 1.2), signs[1])
    steps = np.stack(np.meshgrid(*[np.linspace(0, 3, n) for n in here.shape], indexing="ij"), -1)
    warp = Volume((1.5 * np.sin(steps) + [0.4, -0.8, 0.3]).astype(np.float32), here)
    ours = brought(source, warp)
    theirs = applywarp(source, to_fsl(warp, source))
    inside = tuple(slice(2, -2) for _ in range(3))
    assert np.allclose(ours[inside], theirs[inside], atol=1e-4)
    # and as a tool, from files
    (tmp_path / "w.nii.gz").write_bytes(warp_bytes(warp))
    (tmp_path / "m.nii.gz").write_bytes(image_bytes(source))
    neuraxis("tool", "cord.warps.to_fsl", "--warp", tmp_path / "w.nii.gz", "--moving", tmp_path / "m.nii.gz", "-o", tmp_path / "f.nii.gz")
    import nibabel

    image = nibabel.load(tmp_path / "f.nii.gz")
    assert image.shape == (*here.shape, 3)
    assert np.allclose(np.asarray(image.dataobj), to_fsl(warp, source).data, atol=1e-4)
