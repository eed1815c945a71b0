import numpy as np
import pytest
from conftest import SHARED
from cord.phantom_spine import centerline_of
from documented import check_documented

from neuraxis.cord.levels import levels
from neuraxis.cord.new_points import create
from neuraxis.cord.spinal_levels import BORDERS, spinal_levels
from neuraxis.volume import Grid, Volume


def _cord(length=200):
    grid = Grid.of((30, 40, length), np.diag([-1.0, 1, 1, 1]))
    data = np.zeros(grid.shape, np.float32)
    data[12:18, 18:24] = 1
    return Volume(data, grid)


def _spans(volume):
    found = {}
    for value in np.unique(volume.data[volume.data > 0]):
        slices = np.flatnonzero((volume.data == value).any(axis=(0, 1)))
        found[int(value)] = (int(slices[0]), int(slices[-1]))
    return found


def _rootlets(cord, spans):
    data = np.zeros(cord.grid.shape, np.int16)
    for value, (low, high) in spans.items():
        data[10:12, 16 + value % 2, low : high + 1] = value
        data[2:8, 14:16, max(low - 12, 0) : high - 8] = value  # farther out they run down
    return Volume(data, cord.grid)


def test_documented():
    check_documented(spinal_levels)


def test_borders_go_down_the_spine_and_drift_behind_it():
    assert list(BORDERS) == sorted(BORDERS) and len(BORDERS) == 31
    assert BORDERS[7] - 7 < 1 and BORDERS[29] < 21  # the cord ends at L1


def test_from_rootlets():
    cord = _cord()
    found = spinal_levels(cord, None, _rootlets(cord, {4: (150, 165), 5: (128, 143), 6: (108, 124), 8: (60, 70)}))
    # neighbours meet half-way, C6 and C8 are no neighbours
    assert _spans(found) == {4: (147, 165), 5: (127, 146), 6: (108, 126), 8: (60, 70)}
    assert found.data.dtype == np.int16 and not found.data[cord.data == 0].any()


def test_overlapping_rootlets_share_the_overlap():
    cord = _cord()
    spans = _spans(spinal_levels(cord, None, _rootlets(cord, {4: (140, 165), 5: (120, 145)})))
    assert spans == {4: (143, 165), 5: (120, 142)}


def test_rootlets_out_of_order_give_none():
    cord = _cord()
    with pytest.warns(UserWarning, match="out of order"):
        found = spinal_levels(cord, None, _rootlets(cord, {5: (150, 165), 4: (128, 143)}))
    assert not found.data.any()


def test_rootlets_that_do_not_reach_the_cord_are_not_used():
    cord = _cord()
    rootlets = _rootlets(cord, {4: (150, 165)})
    rootlets.data[0:3, 0:3, 100:110] = 6
    with pytest.warns(UserWarning, match="value 6 do not reach the cord"):
        assert _spans(spinal_levels(cord, None, rootlets)) == {4: (150, 165)}


def test_rootlets_win_over_vertebrae_and_nothing_gives_nothing():
    cord = _cord()
    discs = create(cord, labels="15,32,180,3:15,32,161,4:15,32,143,5")
    _, table = levels(cord, centerline_of(cord), discs)
    estimate = _spans(spinal_levels(cord, table))
    assert estimate[4] == (167, 183)  # from 2.758 (C2) to 3.689 (C3)
    empty = Volume(np.zeros(cord.grid.shape, np.int16), cord.grid)
    assert _spans(spinal_levels(cord, table, empty)) == estimate
    assert _spans(spinal_levels(cord, table, _rootlets(cord, {4: (150, 165)}))) == {4: (150, 165)}
    assert not spinal_levels(cord).data.any()
    assert not spinal_levels(cord, table.where(np.zeros(len(table), bool))).data.any()


def test_wrong_input_is_refused():
    cord = _cord()
    with pytest.raises(ValueError, match="gap"):
        spinal_levels(cord, gap=-1)
    with pytest.raises(ValueError, match="two grids"):
        spinal_levels(cord, None, Volume(np.ones((3, 3, 3), np.int16), Grid.of((3, 3, 3), np.eye(4))))


def _load(path):
    nibabel = pytest.importorskip("nibabel")
    if not (SHARED / path).exists():
        pytest.skip(f"{path} is not beside the checkout")
    image = nibabel.load(SHARED / path)
    return Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:levels that are not trusted")
def test_the_template_gets_back_its_own_spinal_levels():
    cord = _load("resources/PAM50/template/PAM50_cord.nii.gz")
    _, table = levels(cord, centerline_of(cord), _load("resources/PAM50/template/PAM50_label_disc.nii.gz"))
    found = _spans(spinal_levels(cord, table))
    own = _spans(_load("resources/PAM50/template/PAM50_spinal_levels.nii.gz"))
    assert set(found) == set(own)
    assert max(abs(found[n][end] - own[n][end]) for n in own if n < 30 for end in (0, 1)) <= 1  # slices of 0.5 mm


@pytest.mark.shared
def test_rootlets_of_the_template_against_its_spinal_levels():
    cord, rootlets = (_load(f"resources/PAM50/template/PAM50_{name}.nii.gz") for name in ("cord", "rootlets"))
    found = _spans(spinal_levels(cord, None, rootlets))
    own = _spans(_load("resources/PAM50/template/PAM50_spinal_levels.nii.gz"))
    middles = [abs(sum(found[n]) - sum(own[n])) / 2 * 0.5 for n in found]
    assert set(found) == set(range(2, 10)) and max(middles) < 8  # mm: people's rootlets against a model of segments
