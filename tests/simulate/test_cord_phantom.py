import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from neuraxis.bids.validation import find_validator
from neuraxis.cord.vertebrae import PAM50_LEVELS
from neuraxis.simulate.cord import CordOptions, cord_phantom, true_slices
from neuraxis.simulate.cord_anatomy import HEIGHT, PMJ_HEIGHT, Place, Spine
from neuraxis.simulate.cord_dataset import simulate_cord

CLEAN = CordOptions(snr=np.inf, bias=0.0)


@pytest.fixture(scope="module")
def both():
    return cord_phantom(CLEAN)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("necks")
    simulate_cord(folder, 2, small=True, contrasts=("T2starw", "MEGRE", "MTS"), with_labels=True, lesion=True)
    return folder


def codes(volume):
    return "".join(nib.aff2axcodes(volume.grid.matrix))


def test_place_and_back():
    """The point that `place` makes has the coordinates that `local` finds, far from the cord too."""
    spine = Spine(scale=1.1, lordosis=1.3, sway=3.0)
    for u, v, height in ((0, 0, 420), (5, -4, 380.5), (-30, 40, 450), (20, -55, 350), (0, 0, PMJ_HEIGHT)):
        found = spine.local(spine.place(u, v, height)[None])
        assert np.allclose([found.u[0], found.v[0], found.height[0]], [u, v, height], atol=5e-3)


def test_areas_are_those_of_the_template():
    heights = [0.25 * sum(PAM50_LEVELS[level]) for level in range(1, 9)]
    area = Spine().cord_area(np.array(heights))
    assert np.allclose(area, [63.1, 63.6, 66.4, 72.7, 71.5, 63.5, 50.7, 44.2], rtol=0.005)


@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_the_masks_have_the_true_area(both, contrast):
    truth = both.truth[contrast]
    cord = truth.cord.oriented("LAS")
    area = cord.data.sum(axis=(0, 1)) * np.prod(cord.grid.voxel_size[:2])
    rows = truth.slices
    straight = 1 / np.sqrt(1 + np.tan(np.radians(rows["angle_AP"])) ** 2 + np.tan(np.radians(rows["angle_RL"])) ** 2)
    ratio = (area[rows["slice"]] * straight / rows["area"])[1:-4]  # the top of C1 cuts the cord
    assert np.abs(ratio - 1).max() < 0.01
    gray = truth.gray_matter.data.sum() / truth.cord.data.sum()
    assert gray == pytest.approx((rows["gray_matter_area"] / rows["area"]).mean(), abs=0.01)
    assert 0.15 < gray < 0.25


def test_the_centerline_runs_through_the_masks(both):
    truth = both.truth["T2w"]
    cord, rows = truth.cord.oriented("LAS"), truth.slices.where(np.arange(len(truth.slices)) < len(truth.slices) - 4)
    part = cord.data[:, :, rows["slice"]]
    x = (part * np.arange(part.shape[0])[:, None, None]).sum(axis=(0, 1)) / part.sum(axis=(0, 1))
    y = (part * np.arange(part.shape[1])[None, :, None]).sum(axis=(0, 1)) / part.sum(axis=(0, 1))
    assert np.abs(x - rows["x"]).max() < 0.1 and np.abs(y - rows["y"]).max() < 0.15
    world = np.stack([rows["x"], rows["y"], rows["slice"], np.ones(len(rows))])
    assert np.allclose((cord.grid.matrix @ world)[:3], [rows["x_mm"], rows["y_mm"], rows["z_mm"]], atol=0.02)


def test_what_is_inside_what(both):
    for truth in both.truth.values():
        cord, canal, gray = truth.cord.data, truth.canal.data, truth.gray_matter.data
        assert (gray <= cord + 1e-3).all() and (cord <= canal + 1e-3).all() and canal.max() <= 1
        assert np.array_equal(truth.cord_mask.data, cord > 0.5)
        assert ((truth.levels.data > 0) == truth.cord_mask.data).mean() > 0.999
        assert not truth.lesion.data.any()


def test_discs_lie_in_front_of_the_canal_at_their_levels(both):
    truth = both.truth["T2w"]
    labels = truth.discs
    found = {int(labels.data[tuple(voxel)]): voxel for voxel in np.argwhere(labels.data)}
    assert set(found) == set(range(1, 11)) and (labels.data > 0).sum() == len(found)
    spine = both.options.spine
    for disc, voxel in found.items():
        where = spine.local(labels.grid.matrix[:3, :3] @ voxel[None].T[:, 0] + labels.grid.matrix[None, :3, 3])
        assert abs(where.height[0] - HEIGHT[disc]) < 1 and abs(where.u[0]) < 1
        assert 0 < where.v[0] - spine.canal_front(np.array([HEIGHT[disc]]))[0] < 3
    pmj = np.argwhere(truth.pmj.data)
    assert len(pmj) == 1 and truth.pmj.data.max() == 50
    levels = truth.slices["level"]
    assert (np.diff(levels) <= 0).all() and levels[-1] == 1 and levels[0] >= 9
    upright, rows = truth.levels.oriented("LAS").data, truth.slices
    painted = upright[np.rint(rows["x"]).astype(int), np.rint(rows["y"]).astype(int), rows["slice"]]
    assert (painted == levels)[:-1].mean() > 0.98


def test_contrasts_look_as_they_should():
    phantom = cord_phantom(replace(CLEAN, contrasts=("T1w", "T2w", "T2starw", "MEGRE", "MTS")))

    def mean(contrast, where, image=0):
        data = phantom.volumes[contrast].data
        return float((data if data.ndim == 3 else data[..., image])[where(phantom.truth[contrast])].mean())

    def white(truth):
        return (truth.cord.data > 0.99) & (truth.gray_matter.data < 0.01)

    def gray(truth):
        return truth.gray_matter.data > 0.95

    def fluid(truth):
        return (truth.canal.data > 0.99) & (truth.cord.data < 0.01)

    assert mean("T2w", fluid) > 2 * mean("T2w", white) and mean("T1w", fluid) < 0.7 * mean("T1w", white)
    assert mean("T2starw", gray) > 1.1 * mean("T2starw", white) and mean("T2starw", fluid) > mean("T2starw", gray)
    assert [codes(phantom.volumes[name]) for name in phantom.volumes] == ["PSR", "PSR", "LAS", "LAS", "LAS"]
    assert mean("MTS", white, 0) / mean("MTS", white, 1) == pytest.approx(1 - 0.46, abs=0.01)
    echoes = [mean("MEGRE", white, number) for number in range(4)]
    assert all(a > b for a, b in zip(echoes, echoes[1:], strict=False))
    assert phantom.volumes["MTS"].data.shape[-1] == 3


def test_compression_flattens_the_cord_at_its_disc():
    free, pressed = (
        true_slices(grid_of(options), options.spine) for options in (CLEAN, replace(CLEAN, compression_level=5))
    )
    at = int(np.argmin(np.abs(pressed["diameter_AP"] / free["diameter_AP"])))
    assert pressed["diameter_AP"][at] / free["diameter_AP"][at] == pytest.approx(0.55, abs=0.01)
    assert {int(free["level"][at - 2]), int(free["level"][at + 2])} == {5, 6}
    far = np.abs(free["arc_mm"] - free["arc_mm"][at]) > 20
    assert np.allclose(pressed["area"][far], free["area"][far], rtol=1e-3)
    spine = replace(CLEAN, compression_level=5).spine
    size = spine.sizes(np.array([HEIGHT[6]]))
    assert size.canal_deep[0] - size.cord_deep[0] < 1.2  # hardly any fluid is left


def grid_of(options):
    from neuraxis.simulate.cord import image_grid

    return image_grid("T2w", options)


def test_atrophy_scale_and_lesion():
    height = np.array([430.0])
    assert CordOptions(atrophy=0.3).spine.cord_area(height) / Spine().cord_area(height) == pytest.approx(0.7)
    longer = np.linalg.norm(np.diff(CordOptions(scale=1.1).spine.at(np.array([400.0, 400.5]))[0], axis=0))
    assert longer == pytest.approx(0.55, rel=1e-3)
    with_lesion = cord_phantom(replace(CLEAN, contrasts=("T2starw",), lesion=True))
    lesion = with_lesion.truth["T2starw"].lesion
    assert (lesion.data <= with_lesion.truth["T2starw"].cord.data + 1e-3).all()
    assert 20 < lesion.data.sum() * lesion.grid.voxel_volume < 120
    without = cord_phantom(replace(CLEAN, contrasts=("T2starw",)))
    changed = np.abs(with_lesion.volumes["T2starw"].data - without.volumes["T2starw"].data) > 1e-3
    assert changed.any() and (lesion.data[changed] > 0).mean() > 0.95


def test_coordinates_are_in_one_place_type():
    place = Spine().local(np.zeros((4, 3)))
    assert isinstance(place, Place) and len(place.part(np.array([0, 2])).size.cord_deep) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"contrasts": ("T9w",)}, {"scale": 0}, {"atrophy": 1.0}, {"compression_depth": 0.9}, {"compression_level": 20},
        {"snr": 0},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError):
        CordOptions(**wrong)


def test_wrong_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="participants"):
        simulate_cord(tmp_path, 0)
    with pytest.raises(ValueError, match="seed"):
        simulate_cord(tmp_path, 1, seed=-1)


@pytest.mark.skipif(find_validator() is None, reason="no validator")
@pytest.mark.parametrize("part", [".", "derivatives/truth", "derivatives/labels"])
def test_is_valid_bids(root, part):
    found = subprocess.run(
        [find_validator(), str(root / part), "--format", "json", "--ignoreWarnings"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout[:2000]


def test_data_set_holds_what_was_asked_for(root):
    anat = root / "sub-01/anat"
    names = {path.name for path in anat.glob("*.nii.gz")}
    assert "sub-01_T2starw.nii.gz" in names and "sub-01_flip-1_mt-on_MTS.nii.gz" in names and len(names) == 8
    sidecar = json.loads((anat / "sub-01_flip-1_mt-on_MTS.json").read_text())
    assert sidecar["MTState"] is True and sidecar["BodyPart"] == "SPINE" and sidecar["MagneticFieldStrength"] == 3.0
    assert (root / "participants.tsv").read_text().splitlines()[0] == "participant_id\tage\tsex"
    truth = root / "derivatives/truth/sub-02/anat"
    cord = nib.load(truth / "sub-02_space-T2starw_label-SC_probseg.nii.gz")
    image = nib.load(root / "sub-02/anat/sub-02_T2starw.nii.gz")
    assert cord.shape == image.shape and np.allclose(cord.affine, image.affine)
    assert (truth / "sub-02_space-T2starw_label-lesion_mask.nii.gz").exists()
    rows = (truth / "sub-02_space-T2starw_desc-shape_morph.tsv").read_text().splitlines()
    assert rows[0].split("\t")[:3] == ["slice", "x", "y"] and len(rows) >= 12
    discs = nib.load(root / "derivatives/labels/sub-01/anat/sub-01_T2starw_label-discs_dlabel.nii.gz")
    assert set(np.unique(discs.dataobj)) >= {0, 4, 5, 6}


def test_same_seed_same_bytes(tmp_path):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate_cord(tmp_path / folder, 1, seed=seed, small=True, contrasts=("T2starw",))
    one, two, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))}
        for name in "abc"
    )
    image = Path("sub-01/anat/sub-01_T2starw.nii.gz")
    assert one == two and one[image] != other[image]
