"""Reading images: what comes out, and every fault in one sentence that names the file."""

from __future__ import annotations

import gzip
import math
import os

import make
import nibabel
import numpy as np
import pytest

from neuraxis.bids import images
from neuraxis.bids.dataset import gre_units
from neuraxis.bids.images import content_hash, load_gre, shape_of
from neuraxis.errors import DataError, GridMismatch, MissingInput, NeuraxisError


def unit_of(root):
    (unit,), problems = gre_units(root, "01")
    assert not problems
    return unit


@pytest.fixture
def root(tmp_path):
    make.gre(tmp_path)
    return tmp_path


def file(root, name):
    return root / f"sub-01/anat/sub-01_{name}_MEGRE.nii.gz"


def refused(root, kind, *texts):
    with pytest.raises(NeuraxisError) as error:
        load_gre(unit_of(root))
    said = str(error.value)
    assert type(error.value) is kind, said
    for text in texts:
        assert text in said
    assert "\n" not in said and said.endswith(".") and said.count(". ") == 0
    return error.value


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_unit_is_read(tmp_path, extension):
    make.gre(tmp_path, extension=extension)
    unit = unit_of(tmp_path)
    found = load_gre(unit)
    for volume in (found.phase, found.magnitude):
        assert volume.data.shape == (*make.SHAPE, 3) and volume.data.dtype == np.float32
        assert np.moveaxis(volume.data, -1, 0).flags.c_contiguous
        assert np.allclose(volume.grid.matrix, make.AFFINE)
    for echo, time in enumerate(make.ECHO_TIMES):
        assert np.array_equal(
            found.phase.data[..., echo],
            np.clip(make.wrapped(time).astype(np.float32), -np.float32(math.pi), np.float32(math.pi)),
        )
        assert np.array_equal(found.magnitude.data[..., echo], make.decay(time).astype(np.float32))
    assert (
        found.echo_times.dtype == np.float64
        and tuple(found.echo_times) == make.ECHO_TIMES
        and found.field_strength == 3
    )
    assert len(found.notes) == 1 and "radians" in found.notes[0] and found.sources == unit.paths()
    assert shape_of(unit) == (*make.SHAPE, 3)


def test_integers_with_a_slope_are_scaled(root):
    for echo, time in enumerate(make.ECHO_TIMES, start=1):
        steps = np.rint((make.wrapped(time) + math.pi) * 4096 / (2 * math.pi)) % 4096
        image = nibabel.Nifti1Image((2 * steps - 4096).astype(np.float32), make.AFFINE)
        image.header.set_data_dtype(np.int16)
        image.header.set_slope_inter(2, -4096)
        nibabel.save(image, file(root, f"echo-{echo}_part-phase"))
        make.edit(root / f"sub-01/anat/sub-01_echo-{echo}_part-phase_MEGRE.json", Units="arbitrary")
    found = load_gre(unit_of(root))
    expected = np.stack([make.wrapped(time) for time in make.ECHO_TIMES], -1)
    assert "Siemens" in found.notes[0] and np.abs(np.angle(np.exp(1j * (found.phase.data - expected)))).max() < 2e-3


def test_real_and_imaginary_make_magnitude_and_phase(tmp_path):
    make.gre(tmp_path, parts=("real", "imag"))
    found = load_gre(unit_of(tmp_path))
    assert np.allclose(found.magnitude.data[..., 1], make.decay(0.008), rtol=1e-5)
    assert np.allclose(np.exp(1j * found.phase.data[..., 1]), np.exp(1j * make.wrapped(0.008)), atol=1e-5)
    assert len(found.notes) == 2


def test_phase_alone_and_magnitude_alone(tmp_path):
    make.gre(tmp_path / "p", parts=("phase",))
    found = load_gre(unit_of(tmp_path / "p"))
    assert found.magnitude is None and found.phase is not None and "no magnitude" in found.notes[1]
    make.gre(tmp_path / "m", parts=("",), field_strength=None)
    found = load_gre(unit_of(tmp_path / "m"))
    assert found.phase is None and found.magnitude is not None and found.notes == () and found.field_strength is None


def test_one_echo_and_a_last_axis_of_one(tmp_path):
    make.gre(tmp_path, echo_times=(0.02,))
    path = tmp_path / "sub-01/anat/sub-01_part-mag_MEGRE.nii.gz"
    make.rewrite(path, lambda data: data[..., None])
    assert load_gre(unit_of(tmp_path)).magnitude.data.shape == (*make.SHAPE, 1)


def test_big_endian_nifti_2_and_a_wrong_extension(root):
    data = make.decay(0.004).astype(np.float32)
    nibabel.save(nibabel.Nifti2Image(data, make.AFFINE), file(root, "echo-1_part-mag"))
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.float32)
    image = nibabel.Nifti1Image(make.decay(0.008).astype(np.float32), make.AFFINE, header)
    file(root, "echo-2_part-mag").write_bytes(image.to_bytes())  # not packed, though it is called .gz
    found = load_gre(unit_of(root))
    assert np.array_equal(found.magnitude.data[..., 0], data)


TEXTS = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-200]), DataError, "cut off or damaged"),
    "truncated early": (lambda path: path.write_bytes(path.read_bytes()[:60]), DataError, "cut off or damaged"),
    "no end": (lambda path: path.write_bytes(path.read_bytes()[:-4]), DataError, "cut off or damaged"),
    "one byte": (lambda path: path.write_bytes(b"\x1f"), DataError, "not a NIfTI"),
    "empty": (lambda path: path.write_bytes(b""), DataError, "empty"),
    "flipped bits": (
        lambda path: path.write_bytes(path.read_bytes()[:300] + b"\xff" * 50 + path.read_bytes()[350:]),
        DataError,
        "damaged",
    ),
    "text": (lambda path: path.write_text("hello, this is no image " * 40), DataError, "not a NIfTI"),
    "packed text": (
        lambda path: path.write_bytes(gzip.compress(b"hello, this is no image" * 40)),
        DataError,
        "not a NIfTI",
    ),
    "plain, truncated": (
        lambda path: path.write_bytes(gzip.decompress(path.read_bytes())[:-100]),
        DataError,
        "damaged",
    ),
    "header only": (lambda path: path.write_bytes(gzip.decompress(path.read_bytes())[:352]), DataError, "damaged"),
    "unknown type": (lambda path: patch(path, 70, b"\x77\x77"), DataError, "damaged"),
    "annex link": (make.annexed, MissingInput, "not here"),
    "annex pointer": (lambda path: path.write_text("/annex/objects/MD5E-s1--0.nii.gz\n"), MissingInput, "git-annex"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), DataError, "folder"),
    "gone": (lambda path: path.unlink(), MissingInput, "not there"),
    "no orientation": (lambda path: make.rewrite(path, lambda d: d, code=0), DataError, "no orientation"),
    "flat affine": (lambda path: patch(path, 312, bytes(16)), DataError, "orientation that cannot be used"),
    "one slice short": (lambda path: make.rewrite(path, lambda d: d[..., :-1]), GridMismatch, "8 x 9 x 6 voxels"),
    "moved": (lambda path: make.rewrite(path, lambda d: d, affine=moved()), GridMismatch, "another place"),
    "4-D": (lambda path: make.rewrite(path, lambda d: np.stack([d, d], -1)), DataError, "4-D (8 x 9 x 7 x 2)"),
    "2-D": (lambda path: make.rewrite(path, lambda d: d[..., 0]), DataError, "2-D"),
    "complex": (lambda path: make.rewrite(path, lambda d: d.astype(np.complex64)), DataError, "complex"),
    "NaN": (lambda path: make.rewrite(path, lambda d: spoilt(d, np.nan)), DataError, "3 values that are not finite"),
    "Inf": (lambda path: make.rewrite(path, lambda d: spoilt(d, -np.inf)), DataError, "3 values that are not finite"),
    "zero": (lambda path: make.rewrite(path, lambda d: 0 * d), DataError, "one value only"),
    "constant": (lambda path: make.rewrite(path, lambda d: 0 * d + 1), DataError, "one value only"),
}


def patch(path, offset, content):
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(data)))


def spoilt(data, value):
    data[1, 2, 3:6] = value
    return data


def moved():
    affine = make.AFFINE.copy()
    affine[0, 3] += 0.5
    return affine


@pytest.mark.parametrize("name", ["echo-2_part-mag", "echo-3_part-phase"])
@pytest.mark.parametrize("fault", TEXTS)
def test_every_fault_names_the_file(root, name, fault):
    how, kind, text = TEXTS[fault]
    unit = unit_of(root)
    how(file(root, name))
    with pytest.raises(NeuraxisError) as error:
        load_gre(unit)
    said = str(error.value)
    assert type(error.value) is kind and text in said and f"{name}_MEGRE.nii.gz" in said
    assert "\n" not in said and said.endswith(".")
    if kind is MissingInput and "annex" in fault:
        assert "datalad get" in error.value.hint and error.value.exit_code == 66


def test_a_missing_voxel_axis_or_an_empty_image_is_refused(root):
    patch(file(root, "echo-1_part-phase"), 42, b"\x00\x00")
    refused(root, DataError, "empty", "echo-1_part-phase")


def test_negative_magnitude_is_refused(root):
    make.rewrite(file(root, "echo-2_part-mag"), lambda data: data - 500)
    refused(root, DataError, "negative", "echo-2_part-mag")


def test_real_part_with_an_offset_is_refused(tmp_path):
    make.gre(tmp_path, parts=("real", "imag"))
    make.rewrite(file(tmp_path, "echo-1_part-imag"), lambda data: data + 2048)
    refused(tmp_path, DataError, "no negative value", "echo-1_part-imag")


def test_a_magnitude_that_is_called_phase_is_refused(tmp_path):
    make.gre(tmp_path, units=None)
    for echo in (1, 2, 3):
        make.rewrite(file(tmp_path, f"echo-{echo}_part-phase"), lambda data: np.abs(data) ** 2 * 100)
    refused(tmp_path, DataError, "does not look like phase", "part-phase")


def test_unwrapped_phase_is_refused(root):
    for echo in (1, 2, 3):
        make.rewrite(
            file(root, f"echo-{echo}_part-phase"),
            lambda data, e=echo: data * 0.01 + np.linspace(0, 9 * e, 7, dtype=np.float32),
        )
    refused(root, DataError, "looks unwrapped", "echo-3_part-phase")


@pytest.mark.parametrize("value", ["arbitrary", 3, ["rad"]])
def test_units_must_agree_and_be_text(root, value):
    make.edit(root / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.json", Units=value)
    refused(root, DataError, "Units", "echo-2_part-phase")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_image_that_may_not_be_read(root):
    file(root, "echo-1_part-mag").chmod(0)
    refused(root, MissingInput, "cannot be read", "echo-1_part-mag")


def test_the_header_alone_tells_the_shape_and_its_faults(root):
    unit = unit_of(root)
    file(root, "echo-1_part-phase").write_bytes(file(root, "echo-1_part-phase").read_bytes()[:400])
    with pytest.raises(DataError, match="echo-1_part-phase"):
        shape_of(unit)
    make.annexed(file(root, "echo-1_part-phase"))
    with pytest.raises(MissingInput, match="echo-1_part-phase"):
        shape_of(unit)


def test_the_hash_is_of_content_and_order(tmp_path):
    for name, text in (("a", "1"), ("b", "2"), ("c", "1"), ("d", "12"), ("e", "")):
        (tmp_path / name).write_text(text)
    a, b, c, d, e = (tmp_path / name for name in "abcde")
    assert content_hash([a]) == content_hash([c]) and len(content_hash([a])) == 64
    assert len({content_hash(paths) for paths in ([a], [b], [a, b], [b, a], [d], [d, e], [])}) == 7
    make.annexed(a)
    with pytest.raises(MissingInput, match="not here"):
        content_hash([a])


def test_a_sum_that_overflows_is_no_fault(root):
    make.rewrite(file(root, "echo-1_part-mag"), lambda data: data * np.float32(1e30))
    assert load_gre(unit_of(root)).magnitude.data.max() > 1e30


def test_the_chunks_of_the_hash_do_not_matter(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(os.urandom(1000))
    whole = content_hash([tmp_path / "a"])
    monkeypatch.setattr(images, "_CHUNK", 7)
    assert content_hash([tmp_path / "a"]) == whole
