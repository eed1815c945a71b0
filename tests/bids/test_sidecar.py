"""Sidecars: inheritance, and the acquisition parameters."""

from __future__ import annotations

import make
import pytest

from neuraxis.bids.dataset import gre_units
from neuraxis.bids.sidecar import acquisition, metadata, sidecars
from neuraxis.errors import DataError, MissingInput


def unit_of(root):
    (unit,), problems = gre_units(root, "01")
    assert not problems
    return unit


@pytest.fixture
def root(tmp_path):
    make.gre(tmp_path)
    return tmp_path


def sidecar(root, name="echo-2_part-phase"):
    return root / f"sub-01/anat/sub-01_{name}_MEGRE.json"


def test_parameters_are_read(root):
    found = acquisition(unit_of(root))
    assert found.echo_times == make.ECHO_TIMES and found.field_strength == 3


def test_lower_sidecars_win_and_only_those_apply_whose_entities_the_image_has(tmp_path):
    folder = make.gre(tmp_path, session="1", entities="acq-x")
    image = folder / "sub-01_ses-1_acq-x_echo-2_part-phase_MEGRE.nii.gz"
    for path in folder.glob("*.json"):
        path.unlink()
    make.write_json(tmp_path / "MEGRE.json", {"A": "root", "B": "root", "C": "root", "D": "root"})
    make.write_json(tmp_path / "acq-x_MEGRE.json", {"B": "more entities"})
    make.write_json(tmp_path / "sub-01/sub-01_MEGRE.json", {"C": "subject"})
    make.write_json(tmp_path / "sub-01/ses-1/sub-01_ses-1_echo-2_MEGRE.json", {"D": "session"})
    for foreign in ("acq-y_MEGRE", "T2starw", "echo-1_MEGRE", "acq-x_rec-n_MEGRE", "xMEGRE", "echo-2-3_MEGRE"):
        make.write_json(tmp_path / f"{foreign}.json", {"A": foreign})
    make.write_json(tmp_path / "sub-02/sub-02_MEGRE.json", {"A": "other subject"})
    assert metadata(image, tmp_path) == {"A": "root", "B": "more entities", "C": "subject", "D": "session"}
    assert len(sidecars(image, tmp_path)) == 4


def test_all_may_be_inherited_from_the_top(tmp_path):
    folder = make.gre(tmp_path)
    for path in folder.glob("*.json"):
        path.unlink()
    make.write_json(tmp_path / "MEGRE.json", {"MagneticFieldStrength": 7})
    for number, time in enumerate(make.ECHO_TIMES, start=1):
        make.write_json(tmp_path / f"echo-{number}_MEGRE.json", {"EchoTime": time})
    found = acquisition(unit_of(tmp_path))
    assert found.echo_times == make.ECHO_TIMES and found.field_strength == 7


@pytest.mark.parametrize("field", ["EchoTime", "MagneticFieldStrength"])
@pytest.mark.parametrize("name", ["echo-2_part-phase", "echo-3_part-mag"])
def test_what_is_missing_is_named_with_the_image(root, field, name):
    make.edit(sidecar(root, name), **{field: None})
    with pytest.raises(MissingInput, match=f"{name}_MEGRE.nii.gz has no {field}") as error:
        acquisition(unit_of(root))
    assert error.value.exit_code == 66 and "Add" in error.value.hint


def test_no_sidecar_at_all(root):
    for path in root.glob("sub-01/anat/*.json"):
        path.unlink()
    with pytest.raises(MissingInput, match=r"_MEGRE\.nii\.gz has no EchoTime"):
        acquisition(unit_of(root))


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("EchoTime", 8, "milliseconds"),
        ("EchoTime", 12.5, "milliseconds"),
        ("EchoTime", 0, "positive"),
        ("EchoTime", -0.004, "positive"),
        ("EchoTime", float("nan"), "positive"),
        ("EchoTime", float("inf"), "positive"),
        ("EchoTime", 10**400, "positive"),
        ("EchoTime", "0.008", "one number"),
        ("EchoTime", [0.004, 0.008], "one number"),
        ("EchoTime", True, "one number"),
        ("EchoTime", {"a": 1}, "one number"),
        ("EchoTime", 0.009, "same echo"),
        ("MagneticFieldStrength", 0, "positive"),
        ("MagneticFieldStrength", -3, "positive"),
        ("MagneticFieldStrength", "3T", "one number"),
        ("MagneticFieldStrength", 123.2, "tesla"),
        ("MagneticFieldStrength", 1.5, "1.5 T"),
    ],
)
def test_wrong_values_are_told_with_file_and_value(root, field, value, text):
    make.edit(sidecar(root, "echo-2_part-mag"), **{field: value})
    with pytest.raises(DataError, match=text) as error:
        acquisition(unit_of(root))
    assert "echo-2_part-mag_MEGRE.nii.gz" in str(error.value) and field in str(error.value)


def test_echo_times_must_rise(root):
    for part in ("mag", "phase"):
        make.edit(sidecar(root, f"echo-2_part-{part}"), EchoTime=0.002)
    with pytest.raises(DataError, match="not later than"):
        acquisition(unit_of(root))


def test_rounding_between_magnitude_and_phase_is_no_fault(root):
    make.edit(sidecar(root, "echo-2_part-mag"), EchoTime=0.0080004)
    assert len(acquisition(unit_of(root)).echo_times) == 3


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[1]", "object"),
        (b'{"a": "\xe9"}', "UTF-8"),
        (b"\xff\xfe{\x00", "UTF-8"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_a_broken_sidecar_is_named(root, content, text):
    sidecar(root).write_bytes(content)
    with pytest.raises(DataError, match=text) as error:
        acquisition(unit_of(root))
    assert sidecar(root).name in str(error.value)


def test_a_byte_order_mark_is_no_fault(root):
    sidecar(root).write_bytes(b"\xef\xbb\xbf" + sidecar(root).read_bytes())
    assert acquisition(unit_of(root)).field_strength == 3


def test_a_sidecar_in_the_annex_asks_for_datalad(root):
    make.annexed(sidecar(root))
    with pytest.raises(MissingInput, match="not here") as error:
        acquisition(unit_of(root))
    assert "datalad get" in error.value.hint


def test_magnitudes_alone_need_no_field_strength(tmp_path):
    make.gre(tmp_path, parts=("",), field_strength=None)
    found = acquisition(unit_of(tmp_path))
    assert found.field_strength is None and found.echo_times == make.ECHO_TIMES
