import numpy as np
import pytest
from conftest import SHARED
from cord.phantoms import cylinder
from documented import check_documented

from neuraxis.cord.centerline import METHODS, bspline
from neuraxis.cord.centerline.fit import centers, fit, table_of
from neuraxis.engine import Method
from neuraxis.volume import Grid, Volume

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
COLUMNS = ["slice", "x", "y", "dx", "dy", "x_mm", "y_mm", "z_mm", "arc_mm", "angle_AP", "angle_RL"]


def _load(name):
    import nibabel

    image = nibabel.load(SHARED / "cord/sct-testing" / name)
    return Volume(np.asanyarray(image.dataobj), Grid.of(image.shape, image.affine))


def _bent(slices=80, voxel=(1.0, 1.0, 1.0), empty=()):
    """A round cord along x = 25 + 6 sin(z / 25 mm), y = 25 mm, and that curve."""
    x, y, z = (np.arange(n) * v for n, v in zip((50, 50, slices), voxel, strict=True))
    curve = (25 + 6 * np.sin(z / 25)) * voxel[0]
    data = ((x[:, None, None] - curve) ** 2 + (y[None, :, None] - 25 * voxel[1]) ** 2 < 16).astype(np.uint8)
    data[:, :, list(empty)] = 0
    return Volume(data, Grid.of(data.shape, np.diag([-voxel[0], voxel[1], voxel[2], 1]))), curve / voxel[0]


@each
def test_documented(method):
    check_documented(method)


@each
def test_one_row_per_slice_of_the_cord(method):
    cord, _ = _bent(40)
    data = cord.data.copy()
    data[:, :, :5] = data[:, :, 33:] = 0
    table = method(Volume(data, cord.grid))
    assert list(table.columns) == COLUMNS
    assert table["slice"].tolist() == list(range(5, 33))
    assert table["slice"].dtype == np.int64 and all(np.isfinite(table[name]).all() for name in COLUMNS)


@each
@pytest.mark.parametrize("tilt", [(0, 0), (25, 0), (0, -30), (15, 20)])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.5, 0.5, 5)])
def test_a_straight_cord_is_a_straight_line(method, tilt, voxel):
    cord = cylinder(tilt=tilt, voxel=voxel, fine=2)
    table = method(cord)
    inner = slice(1, -1)  # the field of view cuts thick slices at the ends
    slope = np.tan(np.radians(tilt)) * voxel[2] / np.array(voxel[:2])
    assert np.abs(table["dx"] - slope[0])[inner].max() < 0.02 * voxel[2] / voxel[0]
    assert np.abs(table["angle_AP"] - tilt[0])[inner].max() < 1
    assert np.abs(table["angle_RL"] - tilt[1])[inner].max() < 1
    middle = (np.array(cord.data.shape) - 1) / 2
    assert np.abs(table["x"] - middle[0] - slope[0] * (table["slice"] - middle[2])).max() < 0.2 / voxel[0]
    length = (table["slice"][-1] - table["slice"][0]) * voxel[2] * np.sqrt(1 + (np.tan(np.radians(tilt)) ** 2).sum())
    assert table["arc_mm"][0] == 0 and table["arc_mm"][-1] == pytest.approx(length, rel=2e-3)


@each
def test_a_bent_cord_is_followed(method):
    cord, curve = _bent()
    table = method(cord)
    assert np.abs(table["x"] - curve).max() < 0.8
    assert np.abs(table["dx"] - np.gradient(curve))[8:-8].max() < 0.1
    assert np.abs(table["dy"]).max() < 1e-6


@each
def test_other_voxel_axes_and_an_oblique_grid_give_the_same_line(method):
    cord = cylinder(tilt=(10, -5), turn=25.0, fine=2)
    table, other = method(cord), method(cord.oriented("PSR"))
    for name in COLUMNS:
        assert np.allclose(table[name], other[name], atol=1e-6), name
    index = np.column_stack([table["x"], table["y"], table["slice"], np.ones(len(table))])
    world = np.column_stack([table["x_mm"], table["y_mm"], table["z_mm"]])
    assert np.allclose((index @ cord.oriented("LAS").grid.matrix.T)[:, :3], world)


@each
def test_a_gap_is_bridged(method):
    cord, curve = _bent(empty=range(30, 40))
    table = method(cord)
    assert len(table) == 80 and np.abs(table["x"] - curve).max() < 1.2


@each
def test_a_broken_slice_does_not_bend_the_line(method):
    cord = cylinder(tilt=(10, -5), fine=2)
    data = cord.data.copy()
    data[:26, :, 20] = 0  # half of it is missing
    with pytest.warns(UserWarning, match="slice 20: the cord lies beside"):
        table = method(Volume(data, cord.grid))
    assert len(table) == 40 and np.abs(table["angle_AP"] - 10).max() < 1


@each
@pytest.mark.parametrize("slices", [2, 3, 4])
def test_few_slices(method, slices):
    table = method(cylinder(tilt=(10, 0), voxel=(1, 1, 2), extent=(40, 40, 2 * slices), fine=2))
    assert len(table) == slices
    assert np.abs(table["angle_AP"] - 10).max() < 1.5


@each
def test_one_slice_is_upright_and_said_so(method):
    cord = cylinder(extent=(40, 40, 1))
    with pytest.warns(UserWarning, match="one slice"):
        table = method(cord)
    assert len(table) == 1 and table["x"][0] == pytest.approx(19.5, abs=0.01)
    assert table["angle_AP"][0] == table["angle_RL"][0] == 0


@each
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data * 0, "empty"),
        (lambda data: np.where(data > 0, np.nan, data), "finite"),
        (lambda data: data * 0.4, "empty"),
        (lambda data: data - 0.5, "values from"),
        (lambda data: data * np.arange(1, 41), "values from"),
        (lambda data: data[..., None], "three axes"),
    ],
)
def test_wrong_masks_are_refused(method, spoil, message):
    cord = cylinder(fine=1)
    with pytest.raises(ValueError, match=message):
        method(Volume(spoil(cord.data), cord.grid))


@pytest.mark.parametrize(
    ("method", "knob"),
    [pytest.param(one, knob.name, id=one.__name__) for one in METHODS for knob in Method.of(one).knobs],
)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(method, knob, value):
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        method(cylinder(fine=1), **{knob: value})


@each
def test_the_input_is_not_changed(method):
    cord = cylinder(fine=1)
    copy = cord.data.copy()
    method(cord)
    assert np.array_equal(cord.data, copy)


def test_soft_masks_are_weighted_and_specks_left_out():
    soft, hard = cylinder(shift=(0.3, 0.2)), cylinder(shift=(0.3, 0.2), soft=False)
    expected = 24.5 + np.array([0.3, 0.2])
    errors = [np.abs(np.column_stack(centers(one)[1:]) - expected).max() for one in (soft, hard)]
    assert errors[0] < 0.01 < errors[1]
    data = soft.data + np.float32(1e-4)
    data[2, 2] = 0.4  # a soft speck beside the cord
    assert np.allclose(centers(Volume(data.clip(0, 1), soft.grid))[1], centers(soft)[1], atol=1e-3)
    for factor in (255, 1000):
        assert np.allclose(centers(Volume(hard.data.astype(np.int16) * factor, hard.grid))[1], centers(hard)[1])


def test_more_smoothing_is_straighter():
    cord, _ = _bent()
    rough, smooth = ((np.diff(bspline(cord, smoothing=one)["x"], 2) ** 2).sum() for one in (0.01, 30))
    assert smooth < rough


@pytest.mark.parametrize("algorithm", ["bspline", "linear", "polyfit", "nurbs"])
def test_beyond_the_cord_the_line_goes_on_straight(algorithm):
    cord = cylinder(tilt=(10, 0), fine=2)
    data = cord.data.copy()
    data[:, :, 30:] = 0
    table = table_of(Volume(data, cord.grid), algorithm, whole=True)
    assert table["slice"].tolist() == list(range(40))
    assert np.abs(np.diff(table["x"][29:]) - table["dx"][29]).max() < 1e-9
    z, x, y = centers(Volume(data, cord.grid))
    assert np.allclose(fit(z, x, y, table["slice"], cord.grid.voxel_size, algorithm)[0], table["x"])


def test_fit_says_what_is_wrong():
    z, size = np.arange(4), (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no centerline algorithm 'spline'"):
        fit(z, z, z, z, size, "spline")
    with pytest.raises(ValueError, match="increase"):
        fit(z[::-1], z, z, z, size)
    with pytest.raises(ValueError, match="finite"):
        fit(z, z * np.nan, z, z, size)


@pytest.mark.shared
def test_the_spline_is_that_of_sct():
    """x and y to 1e-9 voxel, `sct_get_centerline -centerline-algo bspline` (its file has the axes of the image, PSR)."""
    expected = np.loadtxt(SHARED / "cord/sct-outputs/ctl_bspline/ctl.csv", delimiter=",")
    cord = _load("t2/t2_seg-manual.nii.gz")
    table = bspline(cord)
    nothing = cord.data.shape
    assert np.abs(nothing[0] - 1 - expected[:, 0] - table["y"]).max() < 1e-9
    assert np.abs(nothing[2] - 1 - expected[:, 2] - table["x"]).max() < 1e-9
    assert np.array_equal(expected[:, 1], table["slice"])


@pytest.mark.shared
@each
@pytest.mark.parametrize("name", ["t2/t2_seg-manual", "t1/t1w_seg-manual", "t2s/t2s_seg", "mt/mt1_seg"])
def test_real_cords_stay_near_their_centres(method, name):
    cord = _load(f"{name}.nii.gz")
    table = method(cord)
    z, x, y = centers(cord)
    size = cord.oriented("LAS").grid.voxel_size
    rows = np.searchsorted(table["slice"], z)
    away = np.hypot((table["x"][rows] - x) * size[0], (table["y"][rows] - y) * size[1])
    assert away.max() < 1.5 and np.median(away) < 0.5
    assert np.abs(table["angle_AP"]).max() < 25
