import numpy as np
import pytest
from cord import golden
from cord.phantoms import cylinder
from documented import check_documented

from neuraxis.cord.centerline import bspline
from neuraxis.cord.shape import shape
from neuraxis.cord.structures import structure_levels, structures
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume


def _cord(half=(6.5, 4.0), **more):
    return cylinder(half, extent=(60, 60, 24), fine=4, **more)


def _areas(found, name):
    return found["area"][(found["structure"] == name) & (found["slice"] > 3) & (found["slice"] < 20)]


def test_documented():
    check_documented(structures)
    check_documented(structure_levels)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.0, 25.0), (15.0, -20.0)])
@pytest.mark.parametrize("turn", [0.0, 20.0])
def test_areas_across_a_tilted_cord(tilt, turn):
    cord, gray, canal = (_cord(half, tilt=tilt, turn=turn) for half in ((6.5, 4.0), (3.0, 2.0), (10.0, 7.0)))
    line = bspline(cord)
    found = structures(shape(cord, line), line, gray, None, canal)
    assert set(found["structure"]) == {"gray_matter", "canal"}
    assert _areas(found, "gray_matter") == pytest.approx(np.pi * 6, rel=0.02)
    assert _areas(found, "canal") == pytest.approx(np.pi * 70, rel=0.01)
    ascor = found["ascor"][(found["structure"] == "canal") & (found["slice"] > 3) & (found["slice"] < 20)]
    assert ascor == pytest.approx(26 / 70, rel=0.01)
    assert np.isnan(found["ascor"][found["structure"] == "gray_matter"]).all()


@pytest.mark.parametrize("codes", ["PSR", "RAI", "SLA"])
def test_orientation_does_not_matter(codes):
    cord, canal = (
        _cord(tilt=(5.0, 10.0), voxel=(1.0, 0.8, 2.0)),
        _cord((10.0, 7.0), tilt=(5.0, 10.0), voxel=(1.0, 0.8, 2.0)),
    )
    line = bspline(cord)
    table = shape(cord, line)
    expected = structures(table, line, canal=canal)
    found = structures(table, line, canal=canal.oriented(codes))
    assert found["area"] == pytest.approx(expected["area"], rel=1e-6)
    assert len(found) and np.array_equal(found["slice"], expected["slice"])


def test_without_correction_and_without_structures():
    cord = _cord(tilt=(0.0, 25.0))
    line = bspline(cord)
    table = shape(cord, line, angle_correction=False)
    found = structures(table, line, canal=cord, angle_correction=False)
    assert _areas(found, "canal") == pytest.approx(np.pi * 26 / np.cos(np.radians(25)), rel=0.02)
    assert np.nanmean(found["ascor"]) == pytest.approx(1, rel=1e-3)
    assert len(structures(table, line)) == 0
    empty = Volume(np.zeros_like(cord.data), cord.grid)
    assert len(structures(table, line, empty)) == 0 and len(structure_levels(structures(table, line, empty))) == 0


def test_bad_structures_are_refused():
    cord = _cord()
    line = bspline(cord)
    table = shape(cord, line)
    with pytest.raises(ValueError, match="not finite"):
        structures(table, line, Volume(np.full_like(cord.data, np.nan), cord.grid))
    other = Volume(cord.data, Grid.of(cord.data.shape, np.diag([2, 1, 1, 1])))
    with pytest.raises(ValueError, match="different grids"):
        structures(table, line, cord, None, other)


def test_means_per_level():
    table = Table.of(
        {
            "structure": np.array(["canal"] * 4 + ["gray_matter"] * 2),
            "slice": [0, 1, 2, 3, 0, 1],
            "level": [4.0, 4.0, 3.0, np.nan, 4.0, 4.0],
            "area": [100.0, 200.0, 180.0, 5.0, 10.0, 14.0],
            "ascor": [0.5, 0.25, 0.4, 0.1, np.nan, np.nan],
            "why": ["", "", "", "", "", "not seen"],
        }
    )
    found = list(structure_levels(table).rows())
    assert [(r["structure"], r["name"], r["area"], r["slices"]) for r in found] == [
        ("canal", "whole cord", 485 / 4, 4),
        ("canal", "C3", 180.0, 1),
        ("canal", "C4", 150.0, 2),
        ("gray_matter", "whole cord", 12.0, 2),
        ("gray_matter", "C4", 12.0, 2),
    ]
    assert [r["level"] for r in found if r["name"] != "whole cord"] == [3, 4, 4]
    assert all(np.isnan(r["level"]) for r in found if r["name"] == "whole cord")
    assert found[2]["ascor"] == pytest.approx(100 / 300) and found[2]["area_sd"] == 50
    assert found[0]["ascor"] == pytest.approx((50 + 50 + 72 + 0.5) / 485)
    assert np.isnan(found[3]["ascor"])
    assert [(r["trusted"], r["why"]) for r in found] == [(1, "")] * 3 + [(0, "not seen")] * 2


def _pictured(contrast, noise=1.0, codes="LAS"):
    """Cord, grey and white matter, and an image in which they differ by `contrast` times the noise."""
    cord, gray = (_cord(half, voxel=(0.5, 0.5, 2.0)) for half in ((6.5, 4.0), (3.0, 2.0)))
    white = Volume(np.clip(cord.data - gray.data, 0, 1), cord.grid)
    grain = np.random.default_rng(5).normal(0, noise, cord.data.shape)
    image = Volume(50 + 20 * cord.data + contrast * noise * gray.data + grain, cord.grid)
    return cord, *(one.oriented(codes) for one in (gray, white, image))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("codes", ["LAS", "PSR"])
def test_grey_matter_that_is_seen_is_trusted(sign, codes):
    cord, gray, white, image = _pictured(3.0 * sign, codes=codes)
    line = bspline(cord)
    found = structures(shape(cord, line), line, gray, white, cord.oriented(codes), image)
    assert (found["trusted"] == 1).all() and not any(found["why"])


def test_grey_matter_that_is_not_seen_is_not_trusted():
    cord, gray, white, image = _pictured(0.7)
    line = bspline(cord)
    with pytest.warns(UserWarning, match=r"grey matter is not seen \(contrast 0\.[5-9]"):
        found = structures(shape(cord, line), line, gray, white, cord, image)
    assert {name: set(found["trusted"][found["structure"] == name].tolist()) for name in set(found["structure"])} == {
        "gray_matter": {0}, "white_matter": {0}, "canal": {1},
    }  # fmt: skip
    assert set(structure_levels(Table.of({**found.columns, "level": np.full(len(found), 3.0)}))["trusted"]) == {0, 1}
    assert (structures(shape(cord, line), line, gray, white, cord, image, least_contrast=0.2)["trusted"] == 1).all()
    with pytest.raises(ValueError, match="least_contrast"):
        structures(shape(cord, line), line, gray, white, cord, image, least_contrast=-1)
    with pytest.raises(ValueError, match="different grids"):
        structures(shape(cord, line), line, gray, white, cord, Volume(image.data[1:], Grid.of(image.data[1:].shape, np.eye(4))))


@pytest.mark.shared
def test_golden_canal_ratio_per_level():
    from scipy.ndimage import binary_dilation

    cord = golden.volume(golden.T2 / "t2_seg-manual.nii.gz")
    steps = np.mgrid[-3:4, -3:4, -3:4]
    canal = Volume(binary_dilation(cord.data > 0, (steps**2).sum(axis=0) <= 9).astype(np.float32), cord.grid)
    line = bspline(cord)
    table = shape(cord, line)
    level = np.array(
        [5.0 if z < 3 else 4.0 if z < 18 else 3.0 if z < 34 else 2.0 if z < 53 else np.nan for z in table["slice"]]
    )
    found = structure_levels(structures(Table.of({**table.columns, "level": level}), line, canal=canal))
    found = found.where(np.isfinite(found["level"]))
    expected = {int(row["VertLevel"]): float(row["aSCOR"]) for row in golden.rows("ascor_perlevel/ascor.csv")}
    assert dict(zip(found["level"].tolist(), found["ascor"].tolist(), strict=True)) == pytest.approx(expected, abs=1e-4)
