import contextlib
import io
import json
import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from nibabel.orientations import aff2axcodes
from toy_nets import CLASSES, toy_net

from neuraxis.numerics import nets
from neuraxis.numerics.nnunet import read_checkpoint, resized
from neuraxis.volume import Grid, Volume

ROTATION = np.linalg.qr(np.array([[1, 0.2, -0.1], [-0.15, 1, 0.25], [0.05, -0.3, 1]]))[0]
ROTATION *= np.sign(np.diag(ROTATION))


def _affine(voxel, oblique=False, origin=(-20, -17, -23)):
    matrix = np.eye(4)
    matrix[:3, :3] = (ROTATION if oblique else np.eye(3)) @ np.diag(voxel)
    matrix[:3, 3] = origin
    return matrix


def _blocks(shape=(26, 30, 22), voxel=(1, 1, 1), oblique=False):
    """A low block with a high one in it on a dim ground, RAS; none of the three is symmetric."""
    data = np.full(shape, 0.1, np.float32)
    data[5:15, 8:21, 4:16] = 1.0
    data[7:12, 10:17, 9:13] = 2.0
    return Volume(data, Grid.of(shape, _affine(voxel, oblique)))


def _ball(voxel, shape, radius=9.0, oblique=False):
    """A ball of 2 on 0.1, each voxel the mean over its box; and its share of each voxel."""
    grid = Grid.of(shape, _affine(voxel, oblique))
    fine = (np.indices(np.array(shape) * 4).T + 0.5).T / 4 - 0.5
    centre = (np.array(shape) - 1) / 2 + [0.3, -0.4, 0.2]
    apart = (fine - centre[:, None, None, None]) * np.array(voxel)[:, None, None, None]
    x, y, z = shape
    share = ((apart**2).sum(axis=0) < radius**2).reshape(x, 4, y, 4, z, 4).mean(axis=(1, 3, 5)).astype(np.float32)
    return Volume(0.1 + 1.9 * share, grid), share


def _shift_of(found, image):
    """Where the high block went, in RAS voxels of a 1 mm image."""
    there = np.argwhere(found.oriented("RAS").data).mean(axis=0)
    here = np.argwhere(image.oriented("RAS").data > 1.5).mean(axis=0)
    return tuple(np.round(there - here, 3))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.parametrize("codes", ["RAS", "PSR", "LAS", "AIL"])
def test_known_function_in_any_orientation(tmp_path, dimensions, regions, codes):
    model = toy_net(tmp_path / "m", dimensions=dimensions, labels=None if regions else CLASSES)
    image = _blocks(oblique=True).oriented(codes)
    found = nets.predict(image, model)
    low, high = image.data > 0.5, image.data > 1.5
    wanted = [low, high] if regions else [~low, low & ~high, high]
    assert found.data.shape == (*image.data.shape, len(wanted)) and found.data.dtype == np.float32
    assert found.grid == image.grid
    assert np.abs(found.data - np.stack(wanted, -1)).max() < 1e-4
    assert np.array_equal(nets.segment(image, model).data, low.astype(np.int16) + high)


@pytest.mark.parametrize("codes", ["RAS", "PSR", "ILA"])
@pytest.mark.parametrize(
    ("said", "shift", "moved"),
    [
        ("LPI", (1, 0, 0), (0, 0, -1)),  # looks one voxel up (axes from inferior): the picture moves down
        ("RPI", (0, 0, 1), (1, 0, 0)),  # x comes from the right: looking on means looking to the left
        ("LPI", (0, 0, 1), (-1, 0, 0)),
        ("AIL", (0, 0, 1), (0, 1, 0)),  # x runs from anterior: looking on means looking back
        ("AIL", (1, 0, 0), (-1, 0, 0)),
    ],
)
def test_the_orientation_is_where_the_axes_come_from(tmp_path, codes, said, shift, moved):
    model = toy_net(tmp_path / "m", shift=shift)
    image = _blocks().oriented(codes)
    for given in (said, None):
        if given is None:
            dataset = json.loads((model / "dataset.json").read_text())
            (model / "dataset.json").write_text(json.dumps(dataset | {"image_orientation": said}))
            assert nets.trained_orientation(model) == said
        found = nets.segment(image, model, orientation=given)
        assert np.allclose(_shift_of(Volume(found.data == 2, image.grid), image), moved)


def test_a_given_orientation_wins_and_a_wrong_one_is_refused(tmp_path):
    model = toy_net(tmp_path / "m", shift=(0, 0, 1))
    assert nets.trained_orientation(model) == "LPI" and nets.trained_orientation(model, "RPI") == "RPI"
    for wrong in ("LAP", "RLA", "XYZ", "RA"):
        with pytest.raises(ValueError, match=wrong):
            nets.predict(_blocks(), model, orientation=wrong)


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize(("voxel", "shape"), [((0.8, 1.1, 1.0), (40, 30, 32)), ((0.5, 0.5, 3.0), (56, 56, 12))])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_other_voxels_come_back_to_their_own(tmp_path, voxel, shape, oblique, dimensions):
    spacing = (1.0, 0.7, 0.7)
    model = toy_net(tmp_path / "m", dimensions=dimensions, spacing=spacing, thresholds=(0.5, 1.05), patch=(16, 32, 32))
    image, share = _ball(voxel, shape, oblique=oblique)
    found = nets.predict(image, model).data[..., 1]
    assert 2 * np.minimum(found, share).sum() / (found + share).sum() > 0.93
    assert found.sum() == pytest.approx(share.sum(), rel=0.03)
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        at = np.arange(shape[axis])
        a, b = ((one.sum(axis=others) * at).sum() / one.sum() for one in (found, share))
        assert abs(a - b) * voxel[axis] < 0.1


def test_averaging_into_coarse_voxels_keeps_the_volume(tmp_path):
    """A model of fine voxels on a coarse image: probabilities become shares, logits do not."""
    model = toy_net(tmp_path / "m", spacing=(0.5, 0.5, 0.5), thresholds=(0.5, 1.05), patch=(32, 32, 32))
    image, share = _ball((2.0, 2.0, 2.0), (14, 14, 14))
    soft = nets.predict(image, model).data[..., 1]
    assert ((soft > 0.05) & (soft < 0.95)).sum() > 0.5 * ((share > 0.05) & (share < 0.95)).sum()
    assert soft.sum() == pytest.approx(share.sum(), rel=0.05)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("regions", [True, False])
def test_logits_are_brought_back_as_nnunet_does(tmp_path, dimensions, regions):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    model = toy_net(
        tmp_path / "m",
        dimensions=dimensions,
        spacing=(1.0, 0.7, 0.7),
        labels=None if regions else CLASSES,
        normalisation="ZScoreNormalization",
        thresholds=(0.3, 0.9),
        transpose=(1, 0, 2),
    )
    image, _ = _ball((0.8, 1.1, 1.3), (33, 30, 28))
    found = nets.predict(image, model, blend="logits").data
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
        theirs.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
        data = np.ascontiguousarray(image.data.T[None])
        labels, wanted = theirs.predict_single_npy_array(
            data, {"spacing": list(image.grid.voxel_size)[::-1]}, save_or_return_probabilities=True
        )
    # nnU-Net rounds the logits to half precision on the way
    assert np.abs(found - wanted.transpose(3, 2, 1, 0)).max() < 0.02
    assert (nets.segment(image, model, blend="logits").data == labels.T).mean() > 0.999


def test_folds_are_averaged(tmp_path):
    model = toy_net(tmp_path / "m", folds={"0": 0.0, "1": 0.8, "all": 5.0})
    image = _blocks()
    low = image.data > 0.5
    found = nets.predict(image, model).data[..., 0]
    one = image.data == 1
    assert np.abs(found[one] - 0.5).max() < 0.01 and np.abs(found[image.data == 2] - 1).max() < 1e-3
    assert np.abs(nets.predict(image, model, folds=(0,)).data[..., 0] - low).max() < 1e-4
    assert not (nets.predict(image, model, folds="all").data > 0.5).any()
    with pytest.raises(ValueError, match="no fold 7; it has 0, 1, all"):
        nets.predict(image, model, folds=(7,))


def test_folders_of_single_folds_are_one_ensemble(tmp_path):
    for fold, added in ((0, 0.0), (1, 0.8)):
        toy_net(
            tmp_path / "m" / f"model_fold{fold}" / "nnUNetTrainer__nnUNetPlans__3d_fullres", folds={str(fold): added}
        )
    image = _blocks()
    found = nets.predict(image, tmp_path / "m").data[..., 0]
    assert np.abs(found[image.data == 1] - 0.5).max() < 0.01
    toy_net(tmp_path / "m" / "other", labels=CLASSES)
    with pytest.raises(ValueError, match="different classes"):
        nets.predict(image, tmp_path / "m")


def test_the_best_checkpoint_stands_in_for_the_final_one(tmp_path):
    model = toy_net(tmp_path / "m", thresholds=(0.5, 9.0), checkpoint="best")
    image = _blocks()
    assert not (nets.predict(image, model).data[..., 1] > 0.5).any()
    toy_net(model)
    assert (nets.predict(image, model).data[..., 1] > 0.5).any()
    assert not (nets.predict(image, model, checkpoint="best").data[..., 1] > 0.5).any()


def test_changed_weights_are_read_anew(tmp_path):
    model, image = toy_net(tmp_path / "m"), _blocks()
    before = nets.predict(image, model).data[..., 1]
    toy_net(model, thresholds=(0.5, 9.0))
    os.utime(model / "fold_0" / "checkpoint_final.pth", ns=(1, 1))
    assert (before > 0.5).any() and not (nets.predict(image, model).data[..., 1] > 0.5).any()


@pytest.mark.parametrize("codes", ["RAS", "PSR", "LIP"])
def test_a_box_looks_at_its_voxels_alone(tmp_path, codes):
    for regions in (True, False):
        model = toy_net(tmp_path / f"m{regions}", labels=None if regions else CLASSES)
        image = _blocks().oriented(codes)
        box = (slice(3, 18), slice(None), slice(-14, None))
        inside = np.zeros(image.data.shape, bool)
        inside[box] = True
        whole, part = nets.predict(image, model).data, nets.predict(image, model, box=box).data
        assert np.allclose(part[inside], whole[inside], atol=1e-4)
        assert np.array_equal(part[~inside], np.broadcast_to([0, 0] if regions else [1, 0, 0], part[~inside].shape))
    with pytest.raises(ValueError, match="no voxel"):
        nets.predict(image, model, box=(slice(5, 5), slice(None), slice(None)))


def test_a_ground_of_zero_is_cut_off_and_put_back(tmp_path):
    model = toy_net(tmp_path / "m", labels=CLASSES)
    image = Volume(np.where(_blocks().data > 0.5, _blocks().data, 0), _blocks().grid)
    found = nets.predict(image, model).data
    assert np.abs(found.sum(axis=-1) - 1).max() < 1e-4
    assert np.array_equal(found.argmax(axis=-1), (image.data > 0.5).astype(int) + (image.data > 1.5))


def test_mirroring_as_far_as_the_model_allows(tmp_path):
    image = _blocks()
    one = toy_net(tmp_path / "one", shift=(0, 0, 1), mirror=(2,))
    soft = nets.predict(image, one, mirroring=True).data[..., 1]  # logits of both shifts, averaged
    assert np.allclose(
        soft,
        nets.predict(image, toy_net(tmp_path / "two", shift=(0, 0, -1), mirror=(2,)), mirroring=True).data[..., 1],
        atol=1e-3,
    )
    none = toy_net(tmp_path / "none", shift=(0, 0, 1))
    assert np.array_equal(nets.predict(image, none, mirroring=True).data, nets.predict(image, none).data)


def test_one_slice_is_enough(tmp_path):
    image = _blocks()
    flat = Volume(image.data[:, :, 10:11], Grid.of((*image.data.shape[:2], 1), image.grid.matrix))
    for dimensions in (2, 3):
        model = toy_net(tmp_path / f"m{dimensions}", dimensions=dimensions)
        assert np.array_equal(nets.segment(flat, model).data, (flat.data > 0.5).astype(np.int16) + (flat.data > 1.5))


def test_nothing_is_printed_written_or_changed(tmp_path, capfd, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("nnUNet_compile", "true")
    monkeypatch.chdir(tmp_path)
    model = toy_net(tmp_path / "m")
    before, threads, image = sorted(tmp_path.rglob("*")), torch.get_num_threads(), _blocks()
    copy, benchmark = image.data.copy(), torch.backends.cudnn.benchmark
    nets.predict(image, model)
    assert capfd.readouterr() == ("", "")
    assert sorted(tmp_path.rglob("*")) == before and torch.get_num_threads() == threads
    assert np.array_equal(image.data, copy) and torch.backends.cudnn.benchmark == benchmark


def test_the_device_is_that_of_the_block(tmp_path, monkeypatch):
    from neuraxis.numerics.nnunet import Network

    seen = []
    monkeypatch.setattr(
        Network, "_run", lambda self, image, device: seen.append(device) or torch.zeros(2, *image.shape[1:])
    )
    model, image = toy_net(tmp_path / "m"), _blocks()
    with nets.running_on("cuda:1"):
        nets.predict(image, model)
        nets.predict(image, model, device="cpu")
    nets.predict(image, model)
    assert seen == ["cuda:1", "cpu", "cpu"]


def test_a_full_gpu_falls_back_to_the_cpu(tmp_path, monkeypatch):
    from neuraxis.numerics.nets import _checkpoint, _network

    model, image = toy_net(tmp_path / "m"), _blocks()
    network = _network(model, _checkpoint(model, "0", None), False, 0.5, False)
    real = network._predictor.predict_sliding_window_return_logits

    def full(data):
        if network._predictor.device.type == "cuda":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(data)

    monkeypatch.setattr(network._predictor, "predict_sliding_window_return_logits", full)
    with pytest.warns(UserWarning, match="more GPU memory"):
        found = nets.predict(image, model, device="cuda")
    assert np.array_equal(found.data[..., 0] > 0.5, image.data > 0.5)


@pytest.mark.gpu
def test_a_gpu_gives_the_same(tmp_path):
    model, (image, _) = toy_net(tmp_path / "m", spacing=(0.7,) * 3), _ball((1.0, 1.0, 1.0), (30, 31, 32))
    there, here = (nets.predict(image, model, device=device).data for device in ("cuda", "cpu"))
    assert np.abs(there - here).max() < 0.05


class _Bomb:
    def __reduce__(self):
        return os.system, ("echo exploded",)


def test_a_checkpoint_that_is_a_program_is_refused(tmp_path, capfd):
    model = toy_net(tmp_path / "m", poison=_Bomb())
    with pytest.raises(ValueError, match="more than numbers.*system"):
        nets.predict(_blocks(), model)
    assert "exploded" not in capfd.readouterr().out
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps({"network_weights": _Bomb(), "init_args": 1}))
    with pytest.raises(ValueError, match="checkpoint_final.pth"):
        nets.predict(_blocks(), model)
    assert "exploded" not in capfd.readouterr().out


def test_what_is_trusted_is_loaded(tmp_path):
    from pathlib import PurePosixPath

    model = toy_net(tmp_path / "m", poison={"where": PurePosixPath("a/b")})
    with pytest.raises(ValueError, match="more than numbers"):
        nets.predict(_blocks(), model)
    assert nets.predict(_blocks(), model, trust=True).data.any()


def test_numpy_scalars_of_old_and_new_are_numbers(tmp_path):
    """numpy 2 wrote numpy._core, numpy 1 numpy.core; both stand in checkpoints."""
    path = toy_net(tmp_path / "m") / "fold_0" / "checkpoint_final.pth"
    saved = read_checkpoint(path)
    assert saved["_best_ema"] == 0.7 and type(saved["logging"]["mean_fg_dice"][1]) is np.float32
    content = path.read_bytes()
    import zipfile

    old = tmp_path / "old.pth"
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(old, "w", zipfile.ZIP_STORED) as sink:
        for one in source.infolist():
            data = source.read(one)
            assert not one.filename.endswith("data.pkl") or b"numpy._core.multiarray" in data
            if one.filename.endswith("data.pkl"):
                data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            sink.writestr(one, data)
    assert read_checkpoint(old)["_best_ema"] == 0.7


def test_broken_models_are_told_in_one_sentence(tmp_path):
    image = _blocks()
    with pytest.raises(ValueError, match="no model folder"):
        nets.predict(image, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no trained nnU-Net"):
        nets.predict(image, tmp_path / "empty")
    cut = toy_net(tmp_path / "cut")
    path = cut / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="cannot be read|more than numbers"):
        nets.predict(image, cut)
    torch.save({"weights": 1}, path)
    with pytest.raises(ValueError, match="no checkpoint of nnU-Net"):
        nets.predict(image, cut)
    other = toy_net(tmp_path / "other")
    dataset = json.loads((other / "dataset.json").read_text())
    dataset["labels"]["more"], dataset["regions_class_order"] = [3], [1, 2, 3]
    (other / "dataset.json").write_text(json.dumps(dataset))
    with pytest.raises(ValueError, match="do not fit"):
        nets.predict(image, other)
    with pytest.raises(ValueError, match="cascade"):
        nets.predict(image, toy_net(tmp_path / "cascade", extra={"previous_stage": "3d_lowres"}))
    assert nets.segment(image, toy_net(tmp_path / "low", configuration="3d_lowres")).data.any()


def test_wrong_images_and_options_are_refused(tmp_path):
    model, image = toy_net(tmp_path / "m"), _blocks()
    with pytest.raises(ValueError, match="not finite"):
        nets.predict(Volume(np.where(image.data > 1.5, np.nan, image.data), image.grid), model)
    with pytest.raises(ValueError, match="zero everywhere"):
        nets.predict(Volume(np.zeros_like(image.data), image.grid), model)
    with pytest.raises(ValueError, match="takes 1 channel"):
        nets.predict(Volume(np.stack([image.data] * 2, -1), image.grid), model)
    with pytest.raises(ValueError, match="step"):
        nets.predict(image, model, step=0)
    with pytest.raises(ValueError, match="blend"):
        nets.predict(image, model, blend="wrong")


def test_classes_are_told_by_name(tmp_path):
    regions, softmax = nets.classes(toy_net(tmp_path / "r")), nets.classes(toy_net(tmp_path / "s", labels=CLASSES))
    assert regions == nets.Classes(("low", "high"), (1, 2), True)
    assert softmax == nets.Classes(("background", "low", "high"), (0, 1, 2), False)
    assert softmax.channel("none", "high") == 2
    with pytest.raises(ValueError, match="no class cord; it has low, high"):
        regions.channel("cord")


def test_resizing_keeps_the_field_of_view():
    ramp = torch.linspace(0, 1, 24).reshape(1, 24, 1, 1).expand(1, 24, 3, 2).contiguous()
    for n in (7, 12, 24, 25, 60):
        found = resized(ramp, (n, 3, 2))
        assert found.shape == (1, n, 3, 2) and float(found.mean()) == pytest.approx(0.5, abs=1e-5)
        inner = slice(n // 6, -n // 6)
        wanted = ((torch.arange(n) + 0.5) * 24 / n - 0.5) / 23
        assert torch.allclose(found[0, inner, 0, 0], wanted[inner], atol=1e-5 if n in (12, 24, 25, 60) else 0.01)


def test_axes_of_all_orientations():
    for codes in ("RAS", "LAS", "PSR", "AIL"):
        image = _blocks().oriented(nets.axes(codes))
        assert "".join(aff2axcodes(image.grid.matrix)) == "".join(nets._OPPOSITE[c] for c in codes)
