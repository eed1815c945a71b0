"""The BIDS validator, on the part of a data set that is used."""

from __future__ import annotations

import contextlib
import os
import stat

import make
import pytest

from neuraxis.bids import validation
from neuraxis.bids.validation import find_validator, validate
from neuraxis.errors import InvalidDataset

needs_validator = pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")


def scan(root, participant):
    make.gre(root, participant)
    for path in (root / f"sub-{participant}/anat").glob("*.json"):
        make.edit(path, RepetitionTime=0.03, FlipAngle=15)
    return root


@pytest.fixture
def root(tmp_path):
    scan(scan(tmp_path / "data", "01"), "02")
    (tmp_path / "data/participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t31\n")
    make.write_json(tmp_path / "data/participants.json", {"age": {"Description": "age", "Units": "year"}})
    return tmp_path / "data"


@needs_validator
def test_a_valid_data_set_passes_and_leaves_nothing_behind(root, tmp_path):
    before = sorted(root.rglob("*"))
    assert validate(root, ["01"], tmp_path / "out/work") == []
    assert validate(root, ["01", "02"], tmp_path / "out/work") == []
    assert sorted(root.rglob("*")) == before and not (tmp_path / "out/work").exists()


@needs_validator
def test_only_the_chosen_participants_are_looked_at(root, tmp_path):
    (root / "sub-02/anat/sub-02_nonsense.nii.gz").touch()
    assert validate(root, ["01"], tmp_path) == []
    with pytest.raises(InvalidDataset) as error:
        validate(root, ["01", "02"], tmp_path)
    said = str(error.value)
    assert "sub-02_nonsense.nii.gz" in said and "error" in said and "--skip-bids-validation" in error.value.hint
    assert error.value.exit_code == 16 and str(root) in said and "\n" not in said


@needs_validator
def test_errors_are_summarised(root, tmp_path):
    for path in (root / "sub-01/anat").glob("*part-phase*.json"):
        make.edit(path, Units=None)
    (root / "strange.txt").write_text("x")
    with pytest.raises(InvalidDataset, match=r"finds \d+ errors .*Units.* and 2 more") as error:
        validate(root, ["01"], tmp_path)
    assert "strange.txt" in str(error.value)


@needs_validator
def test_links_without_content_are_left_to_the_reader(root, tmp_path):
    make.annexed(root / "sub-01/anat/sub-01_echo-2_part-mag_MEGRE.nii.gz")
    assert validate(root, ["01"], tmp_path) == []


@needs_validator
def test_derivatives_and_source_data_are_not_looked_at(root, tmp_path):
    for name in ("derivatives/x/sub-01", "sourcedata/sub-01", "code"):
        (root / name).mkdir(parents=True)
        (root / name / "bad name.nii.gz").touch()
    assert validate(root, ["01"], tmp_path) == []


@needs_validator
def test_a_bidsignore_file_is_heeded(root, tmp_path):
    (root / "sub-01/anat/sub-01_nonsense.nii.gz").write_bytes(b"1")
    (root / ".bidsignore").write_text("*_nonsense.nii.gz\n")
    assert validate(root, ["01"], tmp_path) == []


@needs_validator
def test_a_strange_table_of_participants_is_no_crash(root, tmp_path):
    (root / "participants.tsv").write_bytes(b"participant_id\tname\nsub-01\t\xe9\n")
    with pytest.raises(InvalidDataset, match="participants.tsv is not UTF-8"):
        validate(root, ["01"], tmp_path)
    for content in (b"", b"\n", b"age\n3\n"):
        (root / "participants.tsv").write_bytes(content)
        with contextlib.suppress(InvalidDataset):
            validate(root, ["01"], tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "not there"),
        (b"{", "not valid JSON"),
        (b"[]", "object"),
        (b'{"Name": "x"}', "BIDSVersion"),
        (b'{"BIDSVersion": "1"}', "Name"),
    ],
)
def test_the_description_is_needed_even_without_a_validator(root, tmp_path, monkeypatch, content, text):
    monkeypatch.setattr(validation, "find_validator", lambda: None)
    path = root / "dataset_description.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidDataset, match=text) as error:
        validate(root, ["01"], tmp_path)
    assert "dataset_description.json" in str(error.value)


def test_a_description_in_the_annex_is_named(root, tmp_path):
    make.annexed(root / "dataset_description.json")
    with pytest.raises(InvalidDataset, match="not here") as error:
        validate(root, ["01"], tmp_path)
    assert "datalad get" in error.value.hint


def test_no_validator_is_a_warning(root, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "find_validator", lambda: None)
    assert "not installed" in validate(root, ["01"], tmp_path)[0]


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\necho oops >&2\nexit 3\n", "#!/bin/sh\necho '{}'\n", "#!/bin/sh\necho '[1]'\n", "no program"]
)
def test_a_validator_that_fails_is_a_warning(root, tmp_path, monkeypatch, script):
    program = tmp_path / "validator"
    program.write_text(script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(validation, "find_validator", lambda: str(program))
    (text,) = validate(root, ["01"], tmp_path / "work")
    assert "was not validated" in text and "\n" not in text


def test_a_validator_that_hangs_is_a_warning(root, tmp_path, monkeypatch):
    program = tmp_path / "validator"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(validation, "find_validator", lambda: str(program))
    monkeypatch.setattr(validation, "_PATIENCE_S", 0.2)
    assert "did not end" in validate(root, ["01"], tmp_path / "work")[0]


def test_the_validator_beside_python_goes_first(tmp_path, monkeypatch):
    program = tmp_path / "bids-validator-deno"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(validation.sys, "executable", str(tmp_path / "python"))
    assert find_validator() == str(program)
    program.unlink()
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert find_validator() is None
