"""What lies in the template comes to the image once resampled: shares, labels, points, tracts; ITK applies the same warps."""

from __future__ import annotations

import numpy as np
import pytest
import toy_pam50
from test_registration_pam50 import landmarks, phantom, places, to_template

from neuraxis.bids.nifti import image_bytes, warp_bytes
from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.template import objects
from neuraxis.cord.template.registration import to_pam50
from neuraxis.cord.template.warps import brought
from neuraxis.volume import Volume


@pytest.fixture(scope="module")
def template():
    return toy_pam50.volumes()


@pytest.fixture(scope="module", params=["LAS", "PSR"])
def laid(template, request):
    cord, gray = phantom(request.param)
    there, back, _ = to_pam50(cord, bspline(cord), landmarks(), template["pam50_cord"])
    return cord, gray, there, back


def test_tissues(template, laid):
    cord, gray, there, _ = laid
    found = objects.template_shares(there, *(template[f"pam50_{n}"] for n in ("cord", "white", "gray", "fluid")))
    for one in found:
        assert one.grid == cord.grid and one.data.min() >= 0 and one.data.max() <= 1 + 1e-6
    whole, white, gray_found, fluid = (one.data for one in found)
    inside = cord.data > 0.99
    assert np.abs(white + gray_found - whole)[inside].mean() < 0.03  # the template's cord is 0 or 1, its tissues are not
    assert np.mean(fluid[(cord.data == 0) & (fluid > 0.5)]) > 0.5
    assert abs(gray_found.sum() / gray.data.sum() - 1) < 0.1


def test_levels_are_labels_and_lie_at_their_heights(template, laid):
    cord, _, there, _ = laid
    vertebral, spinal = objects.template_levels(there, template["pam50_levels"], template["pam50_spinal_levels"])
    assert vertebral.data.dtype == spinal.data.dtype == np.int16
    height = to_template(places(cord.grid))[2]
    for level, (low, high) in {4: (417.0, 434.5), 5: (400.5, 416.0)}.items():
        mask = vertebral.data == level
        assert mask.any() and height[mask].min() > low - 1.5 and height[mask].max() < high + 1.5
    assert set(np.unique(vertebral.data)) <= {0, 3, 4, 5, 6}


def test_points_stay_points(template, laid):
    cord, _, _, back = laid
    discs, spinal = objects.template_points(cord, back, template["pam50_discs"], template["pam50_spinal_points"])
    assert {int(v): int((discs.data == v).sum()) for v in np.unique(discs.data) if v} == {4: 1, 5: 1, 6: 1}
    place = places(cord.grid)[discs.data == 5][0]
    left, front, height = to_template(place)
    assert abs(height - 417.0) < 0.8 and np.hypot(left, front) < 1.0
    assert (spinal.data > 0).sum() >= 2


def test_tracts_on_the_voxels_around_the_cord(template, laid):
    cord, gray, there, _ = laid
    atlas = objects.tract_atlas(there, toy_pam50.tracts())
    assert atlas.data.shape[3] == 37 and atlas.data.min() >= 0
    assert atlas.grid.voxel_size == pytest.approx(cord.grid.voxel_size)
    offset = np.linalg.solve(cord.grid.matrix[:3, :3], atlas.grid.matrix[:3, 3] - cord.grid.matrix[:3, 3])
    first = np.rint(offset).astype(int)
    assert np.allclose(offset, first, atol=1e-4) and (first >= 0).all()
    box = tuple(slice(at, at + n) for at, n in zip(first, atlas.grid.shape, strict=True))
    inside = cord.data[box] > 0.99
    total = atlas.data[..., :36].sum(axis=3)
    assert np.abs(total - brought(template["pam50_cord"], there)[box])[inside].mean() < 0.03
    assert np.prod(atlas.grid.shape) < np.prod(cord.grid.shape)
    assert abs(atlas.data[..., 30:36].sum() / gray.data.sum() - 1) < 0.1


def test_the_image_in_the_template(template, laid):
    cord, gray, _, back = laid
    image = Volume((10 * cord.data + 5 * gray.data).astype(np.float32), cord.grid)
    found = objects.image_pam50(image, back)
    assert found.grid == back.grid
    first = round((found.grid.matrix[2, 3] + 561.84) / 0.5)
    there = template["pam50_gray"].data[:, :, first : first + found.grid.shape[2]]
    middle = slice(20, found.grid.shape[2] - 20)
    assert np.mean(found.data[:, :, middle][there[:, :, middle] > 0.9]) == pytest.approx(15, abs=1.0)


@pytest.mark.parametrize("way", ["from", "to"])
def test_itk_applies_the_same_warps(template, laid, way, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    cord, _, there, back = laid
    warp, source, grid = (there, template["pam50_gray"], cord.grid) if way == "from" else (back, cord, back.grid)
    (tmp_path / "w.nii.gz").write_bytes(warp_bytes(warp))
    (tmp_path / "s.nii.gz").write_bytes(image_bytes(Volume(source.data.astype(np.float32), source.grid)))
    (tmp_path / "r.nii.gz").write_bytes(image_bytes(Volume(np.zeros(grid.shape, np.float32), grid)))
    field = sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(str(tmp_path / "w.nii.gz"), sitk.sitkVectorFloat64), sitk.sitkVectorFloat64))
    moved = sitk.Resample(sitk.ReadImage(str(tmp_path / "s.nii.gz")), sitk.ReadImage(str(tmp_path / "r.nii.gz")), field, sitk.sitkLinear, 0.0)
    theirs = sitk.GetArrayFromImage(moved).transpose(2, 1, 0)
    ours = brought(source, warp)
    away = np.abs(theirs - ours)
    assert ours.max() > 0.9 and np.percentile(away, 99.9) < 0.02, away.max()
