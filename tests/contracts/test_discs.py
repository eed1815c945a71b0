import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import SHARED
from cord.phantom_spine import CONTRASTS, centerline_of, laid, spine
from documented import check_documented

from neuraxis.cord.discs import METHODS, matching, recognised, session
from neuraxis.cord.discs.numbering import AREA, PMJ_TO_C2C3, SPACING, Chain, area_evidence, junction_evidence
from neuraxis.cord.points import points_of
from neuraxis.cord.vertebrae import PMJ
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

IMAGES = (matching, recognised)
"""The methods that look at the image alone."""


def _load(path):
    nibabel = pytest.importorskip("nibabel")
    if not (SHARED / path).exists():
        pytest.skip(f"{path} is not beside the checkout")
    image = nibabel.load(SHARED / path)
    return Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine))


def _places(discs):
    return {row["value"]: np.array([row["x"], row["y"], row["z"]]) for row in points_of(discs).rows()}


def _compare(discs, truth, *, within, least):
    """Every label has its right number; `within` mm along the body's long axis, `least` labels at least."""
    found = _places(discs)
    assert set(found) <= set(truth) and len(found) >= least
    errors = {number: float(np.linalg.norm(found[number] - truth[number])) for number in found}
    assert max(errors.values()) <= within, errors


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
def test_documented(method):
    check_documented(method, cites=method is not session)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_discs_of_a_spine_in_any_contrast(method, contrast):
    one = spine(contrast)
    discs = method(one.image, one.cord, centerline_of(one.cord))
    assert discs.data.dtype == np.int16 and discs.grid.same_as(one.image.grid)
    _compare(discs, one.tips, within=3.0, least=8)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("scale", [0.85, 1.15])
def test_small_and_tall_people(method, scale):
    one = spine("T2w", scale=scale, seed=2)
    _compare(method(one.image, one.cord, centerline_of(one.cord)), one.tips, within=3.0, least=7)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("codes", ["PSR", "RAI"])
def test_any_order_of_axes_and_oblique(method, codes):
    one = spine("T2w", seed=3)
    plain = method(one.image, one.cord, centerline_of(one.cord))
    image, cord = laid(one.image, codes, 17), laid(one.cord, codes, 17)
    other = method(image, cord, centerline_of(cord))
    assert np.array_equal(other.data, laid(plain, codes).data)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("voxel", [(3.0, 0.8, 0.8), (1.0, 1.0, 2.0)])
def test_anisotropic_voxels_and_noise(method, voxel):
    one = spine("T2w", voxel=voxel, noise=0.05, seed=4)
    _compare(method(one.image, one.cord, centerline_of(one.cord)), one.tips, within=4.0, least=7)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_a_view_without_c2_is_not_numbered(method):
    one = spine("T2w", top=12, above=10, length=150, bend=0, seed=5)
    with pytest.warns(UserWarning, match="levels are not trusted: .* discs are seen, but that near slice"):
        discs = method(one.image, one.cord, centerline_of(one.cord))
    assert not discs.data.any()


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_another_image_of_the_session_tells_where_this_one_does_not(method):
    one = spine("T2w", top=12, above=10, length=150, bend=0, seed=5)
    drawn = _drawn(one)
    with pytest.warns(UserWarning, match="image alone does not tell"), pytest.warns(UserWarning, match="numbered by those of another image"):
        discs = method(one.image, one.cord, centerline_of(one.cord), None, points_of(drawn))
    _compare(discs, one.tips, within=3.0, least=4)
    clear = spine("T2w", seed=3)
    wrong = {number + 1: place for number, place in clear.tips.items()}
    told = method(clear.image, clear.cord, centerline_of(clear.cord), None, points_of(_drawn(replace(clear, tips=wrong))))
    _compare(told, clear.tips, within=3.0, least=5)  # an image that tells is believed


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("moved, numbered", [(3.0, True), (-3.0, True), (9.0, False), (-9.0, False)])
def test_discs_of_another_image_must_lie_on_those_seen_here(method, moved, numbered):
    one = spine("T2w", top=12, above=10, length=150, bend=0, seed=5)
    upwards = {number: place + [0, 0, moved] for number, place in one.tips.items()}
    theirs = points_of(_drawn(replace(one, tips=upwards)))
    said = "numbered by those of another image" if numbered else "levels are not trusted: .* mm off those seen here"
    with pytest.warns(UserWarning, match="image alone does not tell"), pytest.warns(UserWarning, match=said):
        discs = method(one.image, one.cord, centerline_of(one.cord), None, theirs)
    if numbered:
        _compare(discs, one.tips, within=3.0, least=4)  # where this image shows them, not where the other one did
    else:
        assert not discs.data.any()


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_discs_of_another_image_in_any_order_of_axes_and_oblique(method):
    one = spine("T2w", top=12, above=10, length=150, bend=0, seed=5)
    drawn = _drawn(one)
    with pytest.warns(UserWarning, match="image alone does not tell"), pytest.warns(UserWarning, match="numbered by those of another image"):
        plain = method(one.image, one.cord, centerline_of(one.cord), None, points_of(drawn))
        image, cord, theirs = (laid(volume, "PSR", 17) for volume in (one.image, one.cord, drawn))
        other = method(image, cord, centerline_of(cord), None, points_of(theirs))
    assert np.array_equal(other.data, laid(plain, "PSR").data)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_one_known_disc_numbers_the_others(method):
    one = spine("T2w", top=12, above=30, length=150, bend=0, seed=5)
    slice_of = {row["value"]: row["upright_z"] for row in points_of(_drawn(one)).rows()}
    discs = method(one.image, one.cord, centerline_of(one.cord), first=f"14:{slice_of[14]}")
    _compare(discs, one.tips, within=3.0, least=4)
    with pytest.warns(UserWarning, match="no disc is seen near slice"):
        wrong = (slice_of[14] + slice_of[13]) // 2
        assert not method(one.image, one.cord, centerline_of(one.cord), first=f"14:{wrong}").data.any()


def _drawn(one):
    data = np.zeros(one.image.grid.shape, np.int16)
    back = np.linalg.inv(one.image.grid.matrix)
    for number, place in one.tips.items():
        data[tuple(np.rint(back[:3, :3] @ place + back[:3, 3]).astype(int))] = number
    return Volume(data, one.image.grid)


def _chain(first, count, scale=1.0):
    rows = 300 - np.cumsum([0, *[SPACING[n] * scale for n in range(3, 3 + count - 1)]])
    return Chain(first, np.rint(rows).astype(int), scale, 0.0)


def test_the_pontomedullary_junction_speaks_for_its_numbering():
    above_c2c3 = 300 + PMJ_TO_C2C3
    assert junction_evidence(_chain(3, 6), above_c2c3) == pytest.approx(0, abs=0.01)
    assert junction_evidence(_chain(4, 6), above_c2c3) < -3
    assert junction_evidence(_chain(3, 6), 250) == junction_evidence(_chain(3, 6), 290) == -12.5  # below C2/C3


def test_the_area_of_the_cord_speaks_for_its_numbering_and_its_size_does_not():
    area = np.full(301, np.nan)
    chain = _chain(3, 8)
    for number, row in enumerate(chain.rows, start=3):
        area[row] = AREA[number]
    right, wrong = area_evidence(chain, area), area_evidence(_chain(6, 8), area)
    assert right == pytest.approx(0, abs=1e-6) and wrong < right - 1
    assert area_evidence(chain, 0.6 * area) == pytest.approx(right, abs=1e-6)
    assert area_evidence(chain, np.full(301, np.nan)) == 0


def test_a_wrong_junction_does_not_make_wrong_labels():
    one = spine("T2w", above=14, length=120, seed=6)
    pmj = np.zeros(one.image.grid.shape, np.int16)
    pmj[18, 55, 119] = PMJ  # the true one would lie 36 mm above the view
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        discs = matching(one.image, one.cord, centerline_of(one.cord), Volume(pmj, one.image.grid))
    assert set(_places(discs)) <= set(one.tips)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_noise_has_no_discs(method):
    one = spine("T2w")
    noise = np.random.default_rng(0).normal(1, 0.3, one.image.grid.shape).astype(np.float32)
    with pytest.warns(UserWarning, match="levels are not trusted"):
        assert not method(Volume(noise, one.image.grid), one.cord, centerline_of(one.cord)).data.any()


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_flat_and_negative_images_do_no_harm(method):
    one = spine("T2w", length=120, above=40)
    for image in (np.zeros_like(one.image.data), one.image.data - 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = method(Volume(image, one.image.grid), one.cord, centerline_of(one.cord))
        assert set(_places(found)) <= set(one.tips)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_thick_axial_slices_are_not_labelled(method):
    one = spine("T2w", voxel=(0.5, 0.5, 5.0), length=100)
    with pytest.warns(UserWarning, match="slices of 5.0 mm across the cord do not show the discs; give disc labels"):
        assert not method(one.image, one.cord, centerline_of(one.cord)).data.any()


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_a_view_without_vertebral_bodies_is_not_labelled(method):
    one = spine("T2w", bend=0)
    data, grid = one.image.data[:, 35:60], one.image.grid  # ends 10 mm in front of the cord
    small = Grid.of(data.shape, grid.matrix)
    cord = Volume(one.cord.data[:, 35:60], small)
    with pytest.warns(UserWarning, match="only 0 mm of vertebral bodies are in view"):
        assert not method(Volume(data, small), cord, centerline_of(cord)).data.any()


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("first", ["3", "C3:10", "2:10", "3:nan", "30:5"])
def test_a_known_disc_that_cannot_be_read_is_refused(method, first):
    one = spine("T2w", length=60)
    with pytest.raises(ValueError, match="first must be"):
        method(one.image, one.cord, centerline_of(one.cord), first=first)


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("knob", "value"), [("certainty", 0.5), ("likeness", -1), ("likeness", 2)])
def test_wrong_knobs_are_refused(method, knob, value):
    one = spine("T2w", length=60)
    with pytest.raises(ValueError, match=knob):
        method(one.image, one.cord, centerline_of(one.cord), **{knob: value})


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_another_grid_is_refused(method):
    one, two = spine("T2w", length=60), spine("T2w", length=70)
    with pytest.raises(ValueError, match="two grids"):
        method(one.image, two.cord, centerline_of(two.cord))


T2W = "cord/t2w-bids/sub-11/anat/sub-11_T2w.nii.gz"
LABELS = "cord/t2w-bids/derivatives/labels/sub-11/anat/sub-11_T2w"
SMALL = "cord/sct-testing/template/template/PAM50_small"
CROP = "cord/sct-testing/t2/t2"


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
@pytest.mark.shared
def test_full_view_t2w_agrees_with_manual_landmarks(method):
    """The landmarks lie at the cord in the middle of C2 and T2: between the tips of their discs."""
    image, cord = _load(T2W), _load(f"{LABELS}_label-SC_seg.nii.gz")
    discs = method(image, cord, centerline_of(cord))
    found = {row["value"]: row["upright_z"] for row in points_of(discs).rows()}
    read = {3: 178, 4: 160, 5: 143, 6: 128, 7: 112, 8: 97, 9: 80, 10: 64, 11: 44, 12: 24}  # by eye, on the picture
    assert found.keys() == read.keys()
    assert max(abs(found[number] - read[number]) for number in read) <= 3
    landmarks = {row["value"]: row["upright_z"] for row in points_of(_load(f"{LABELS}_landmarks-C2-T2.nii.gz")).rows()}
    assert 5 <= landmarks[2] - found[3] <= 14  # C2 above C2/C3
    assert found[10] < landmarks[9] < found[9]  # T2


@pytest.mark.shared
def test_template_agrees_with_its_labels():
    image, cord = _load(f"{SMALL}_t2.nii.gz"), _load(f"{SMALL}_cord.nii.gz")
    discs = matching(image, cord, centerline_of(cord))
    truth = _places(_load(f"{SMALL}_label_discPosterior.nii.gz"))
    found = _places(discs)
    assert set(found) >= set(range(3, 19))
    errors = np.array([found[number] - truth[number] for number in found if number in truth])
    assert np.abs(errors[:, 2]).max() <= 2.0  # one slice
    assert np.linalg.norm(errors, axis=1).mean() <= 2.5


@pytest.mark.shared
def test_a_crop_is_numbered_only_when_told():
    image, cord = _load(f"{CROP}.nii.gz"), _load(f"{CROP}_seg-manual.nii.gz")
    with pytest.warns(UserWarning, match="levels are not trusted"):
        assert not matching(image, cord, centerline_of(cord)).data.any()
    found = {
        row["value"]: row["upright_z"]
        for row in points_of(matching(image, cord, centerline_of(cord), first="3:53")).rows()
    }
    assert set(found) >= {3, 4, 5}
    assert all(abs(found[number] - z) <= 2 for number, z in {3: 53, 4: 34, 5: 17}.items())


@pytest.mark.parametrize("method", IMAGES, ids=lambda one: one.__name__)
def test_labels_of_bodies_do_not_number_the_discs_of_a_real_image(method):
    image, cord = (_load(f"cord/sct-testing/t1/t1w{name}.nii.gz") for name in ("", "_seg-manual"))
    line = centerline_of(cord)

    def told(heights):
        columns = {"value": list(heights), "x": [0.0] * 3, "y": [5.0] * 3, "z": list(heights.values())}
        return method(image, cord, line, None, Table.of(columns))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = _places(told({3: 32.0, 4: 14.0, 5: -5.0}))
        wrong = _places(told({3: 24.7, 4: 6.7, 5: -10.3}))  # middles of the bodies (t2/labels.nii.gz)
    c2c3 = 55 - 21.3  # SCT is told slice 55 (t1/init_label_vertebrae.txt)
    assert abs(right[3][2] - c2c3) <= 2
    assert not wrong or abs(wrong[3][2] - c2c3) <= 2  # `recognised` numbers this image by itself
