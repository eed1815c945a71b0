import subprocess
import sys

import numpy as np
import pytest
from toy_onnx import convolutions, identity

from neuraxis.numerics import onnx_graph
from neuraxis.numerics.onnx_graph import load, run


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).standard_normal((37, 50, 41)).astype(np.float32)


@pytest.fixture(scope="module")
def everywhere(image):
    return np.ones(image.shape, bool)


def _deep(path, **more):
    """Two convolutions that see two and four voxels far, with an activation between."""
    numbers = np.random.default_rng(1)
    kernels = numbers.normal(0, 0.2, (3, 1, 5, 5, 5)), numbers.normal(0, 0.1, (1, 3, 3, 3, 3))
    return convolutions(path, *kernels, dilations=(1, 4), **more)


@pytest.mark.parametrize("more", [{}, dict(last=True), dict(kind="float16"), dict(images=2), dict(images=2, last=True)])
def test_an_identity_gives_the_image(image, everywhere, tmp_path, more):
    images = more.get("images", 1)
    graph = load(convolutions(tmp_path / "same.onnx", identity(images), **more))
    assert graph.images == images and graph.fixed == (0, 0, 0)
    found = run(graph, [image, -image][:images], everywhere, multiple=8)
    assert found.dtype == np.float32 and np.abs(found - image).max() <= (2e-3 if more.get("kind") else 0)


@pytest.mark.parametrize("tile", [24, 32, 43])
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_give_what_the_whole_gives(image, everywhere, tmp_path, tile, multiple):
    graph = load(_deep(tmp_path / "deep.onnx"))
    whole = run(graph, [image], everywhere, multiple=multiple)
    tiles = run(graph, [image], everywhere, multiple=multiple, tile=tile, halo=6)
    assert whole.std() > 0.1 and np.abs(tiles - whole).max() < 1e-4


def test_a_graph_of_fixed_size_is_run_in_tiles_of_its_own(image, everywhere, tmp_path):
    fixed = load(_deep(tmp_path / "fixed.onnx", space=(32, 24, 56)))
    assert fixed.fixed == (32, 24, 56)
    whole = run(load(_deep(tmp_path / "free.onnx")), [image], everywhere)
    found = run(fixed, [image], everywhere, halo=6)
    inner = (slice(6, -6),) * 3  # where an image is smaller than the tile, zeros are put around it
    assert np.abs(found - whole)[inner].max() < 1e-4


def test_without_overlap_tiles_are_side_by_side(image, everywhere, tmp_path):
    graph = load(convolutions(tmp_path / "same.onnx", identity()))
    assert np.allclose(run(graph, [image], everywhere, tile=16, halo=0), image, atol=1e-6)
    with pytest.raises(ValueError, match="a tile of 24 voxels must be more than three halos, not 8"):
        run(graph, [image], everywhere, tile=24, halo=8)


def test_tiles_where_nothing_is_wanted_are_left_out(image, everywhere, tmp_path, monkeypatch):
    graph = load(convolutions(tmp_path / "same.onnx", identity()))
    calls = []
    monkeypatch.setattr(onnx_graph.Graph, "__call__", lambda self, parts: calls.append(1) or parts[0].copy())
    wanted = np.zeros(image.shape, bool)
    wanted[2, 3, 4] = True
    assert run(graph, [image], wanted, tile=16, halo=0)[2, 3, 4] == image[2, 3, 4] and len(calls) == 1


def test_weights_of_the_windows_sum_to_one():
    for n in (40, 47, 100):
        for length in (16, 24, 40):
            for halo in (0, 1, 5):
                total = np.zeros(n)
                for start, weights in onnx_graph._windows(n, length, halo, 1):
                    assert start >= 0 and start + len(weights) == max(n, length) if length >= n else start + length <= n
                    total[start : start + length] += weights
                assert np.allclose(total, 1)


def test_a_network_of_another_output_is_refused(image, tmp_path):
    graph = load(convolutions(tmp_path / "valid.onnx", identity(), pads=False))
    with pytest.raises(
        ValueError, match=r"valid.onnx gives an output of shape \(1, 1, 35, 48, 39\) for an image of \(37, 50, 41\)"
    ):
        graph([image])
    with pytest.raises(ValueError, match="takes 1 image.*not 2"):
        graph([image, image])


def test_flat_networks_are_refused(tmp_path):
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "x", "y"]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Tanh", ["a"], ["b"])], "flat", values[:1], values[1:])
    path = tmp_path / "flat.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    with pytest.raises(ValueError, match="flat.onnx is no network from image to image"):
        load(path)


@pytest.mark.parametrize("where", ["numbers.bin", "../numbers.bin", "/etc/hostname"])
def test_numbers_in_other_files_are_refused(tmp_path, monkeypatch, where):
    np.zeros(27, np.float32).tofile(tmp_path / "numbers.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="outside.onnx keeps its numbers in other files"):
        load(convolutions(tmp_path / "outside.onnx", identity(), external=where))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None])
def test_what_is_no_graph_is_refused(tmp_path, content):
    path = convolutions(tmp_path / "cut.onnx", identity())
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    with pytest.raises(ValueError, match="cut.onnx is no ONNX graph that can be run; it may be cut off"):
        load(path)
    with pytest.raises(ValueError, match="there is no file"):
        load(tmp_path / "none.onnx")


def test_a_file_that_has_changed_is_read_anew(image, tmp_path):
    path = convolutions(tmp_path / "one.onnx", identity())
    assert np.array_equal(load(path)([image]), image)
    assert load(path) is load(path)
    convolutions(path, 2 * identity(), identity(), activation="Identity")
    assert np.array_equal(load(path)([image]), 2 * image)


def test_nothing_is_sent_and_no_other_threads_are_taken(tmp_path):
    path = convolutions(tmp_path / "same.onnx", identity())
    code = (
        "import os, sys, pathlib, torch; torch.set_num_threads(1)\n"
        "from neuraxis.numerics import onnx_graph; assert 'onnxruntime' not in sys.modules\n"
        "graph = onnx_graph.load(pathlib.Path(sys.argv[1]))\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "options = graph._session.get_session_options()\n"
        "assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)\n"
        "assert not [one for one in os.listdir('/proc/self/fd') if 'socket' in os.path.realpath('/proc/self/fd/' + one)]\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=home)
    assert done.returncode == 0, done.stderr
    assert {one.name for one in tmp_path.rglob("*")} <= {"same.onnx", "cache"}
