"""Participants, filters and units."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import make
import pytest

from neuraxis.bids import dataset, files
from neuraxis.bids.cord import cord_units
from neuraxis.bids.dataset import Filters, choose_participants, gre_units, participants
from neuraxis.errors import DataError, MissingInput, NothingSelected, UsageError


def touch(root, *names):
    """Empty images: what is found depends on names alone."""
    for name in names:
        parts = name.split("_")
        folder = root / parts[0]
        if parts[1].startswith("ses-"):
            folder /= parts[1]
        (folder / "anat").mkdir(parents=True, exist_ok=True)
        (folder / "anat" / f"{name}.nii.gz").touch()
    return root


def names(root, participant="01", **filters):
    units, problems = gre_units(root, participant, Filters.of(**filters))
    assert not problems, problems
    return [unit.name for unit in units]


def problem(root, kind):
    units, problems = gre_units(root, "01")
    assert not units and len(problems) == 1
    assert type(problems[0][1]) is kind
    return str(problems[0][1])


def test_importing_is_cheap():
    code = "import sys, neuraxis.bids.dataset, neuraxis.bids.images, neuraxis.bids.validation; print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"bids.layout", "nibabel.nifti1", "scipy.ndimage", "torch", "pandas"} & set(seen)


def test_participants_come_in_natural_order(tmp_path):
    for name in ("sub-10", "sub-9", "sub-a2", "sub-a10", "derivatives", "sub-"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub-notes.txt").touch()
    assert participants(tmp_path) == ["9", "10", "a2", "a10"]


def test_labels_are_read_with_prefix_without_and_from_a_file(tmp_path):
    for name in ("sub-01", "sub-02", "sub-03"):
        (tmp_path / name).mkdir()
    listed = tmp_path / "labels.txt"
    listed.write_text("sub-03\n\n01\n")
    assert choose_participants(tmp_path, ["sub-02", "02"]) == ["02"]
    assert choose_participants(tmp_path, [str(listed), "01"]) == ["01", "03"]
    assert choose_participants(tmp_path) == ["01", "02", "03"]


def test_unknown_labels_are_named_with_what_is_there(tmp_path):
    for number in range(30):
        (tmp_path / f"sub-{number:02d}").mkdir()
    with pytest.raises(NothingSelected) as error:
        choose_participants(tmp_path, ["01", "99", "sub-98"])
    assert "sub-99, sub-98" in str(error.value) and "20 more" in error.value.hint and error.value.exit_code == 18


def test_an_empty_data_set_or_list_selects_nothing(tmp_path):
    with pytest.raises(NothingSelected, match="no participant"):
        choose_participants(tmp_path)
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "none.txt").touch()
    with pytest.raises(NothingSelected, match="empty"):
        choose_participants(tmp_path, [str(tmp_path / "none.txt")])
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="bytes.txt"):
        choose_participants(tmp_path, [str(tmp_path / "bytes.txt")])
    with pytest.raises(MissingInput, match="nowhere"):
        participants(tmp_path / "nowhere")


def test_a_unit_holds_its_files_by_part_and_echo(tmp_path):
    stem = "sub-01_ses-1_acq-x_run-02"
    touch(tmp_path, *[f"{stem}_echo-{e}_part-{p}_MEGRE" for e in range(1, 12) for p in ("mag", "phase")])
    (unit,), problems = gre_units(tmp_path, "01")
    assert not problems and unit.name == f"{stem}_MEGRE" and unit.stem == stem and unit.session == "1"
    assert dict(unit.entities) == {"sub": "01", "ses": "1", "acq": "x", "run": "02"}
    assert unit.echoes == tuple(map(str, range(1, 12)))
    assert [path.name.split("_")[4] for path in unit.phase] == [f"echo-{e}" for e in range(1, 12)]
    assert len(unit.magnitude) == 11 and unit.has_phase and unit.has_magnitude and not unit.label
    assert pickle.loads(pickle.dumps(unit)) == unit and all(path.is_relative_to(tmp_path) for path in unit.paths())


@pytest.mark.parametrize(
    "other",
    ["acq-y", "ce-gad", "rec-norm", "dir-AP", "run-2", "mod-x", "flip-2", "inv-2", "mt-on", "chunk-1", "space-orig"],
)
def test_every_entity_makes_a_unit_of_its_own(tmp_path, other):
    touch(tmp_path, "sub-01_part-phase_T2starw", f"sub-01_{other}_part-phase_T2starw")
    assert names(tmp_path) == sorted(["sub-01_T2starw", f"sub-01_{other}_T2starw"], key=len, reverse=False)


def test_sessions_and_their_absence_live_together(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw", "sub-01_ses-2_part-phase_T2starw", "sub-01_ses-10_part-phase_T2starw")
    assert set(names(tmp_path)) == {"sub-01_T2starw", "sub-01_ses-2_T2starw", "sub-01_ses-10_T2starw"}
    assert len(names(tmp_path, session=["2"])) == 2  # what has no session is not filtered out by it


def test_magnitudes_alone_are_a_unit_from_two_echoes_on_and_only_where_they_decay_with_t2star(tmp_path):
    touch(
        tmp_path, *[f"sub-01_echo-{e}_MEGRE" for e in (1, 2)], *[f"sub-01_echo-{e}_MESE" for e in (1, 2)], "sub-01_T1w", "sub-01_T2starw",
        "sub-01_acq-one_echo-1_part-mag_MEGRE", *[f"sub-01_inv-{e}_part-mag_MP2RAGE" for e in (1, 2)],
    )  # fmt: skip
    (unit,), problems = gre_units(tmp_path, "01")
    assert not problems and unit.name == "sub-01_MEGRE" and not unit.has_phase and len(unit.magnitude) == 2


def test_any_suffix_with_phase_counts_but_spin_echoes(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T1w", "sub-01_echo-1_part-phase_MESE", "sub-01_inv-1_part-phase_MP2RAGE")
    assert names(tmp_path) == ["sub-01_T1w", "sub-01_inv-1_MP2RAGE"]


def test_phase_needs_no_magnitude_and_magnitude_no_part(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw", "sub-01_run-1_part-phase_T2starw", "sub-01_run-1_T2starw")
    units, problems = gre_units(tmp_path, "01")
    assert not problems and [unit.has_magnitude for unit in units] == [False, True]


def test_real_and_imaginary_stand_for_both(tmp_path):
    touch(tmp_path, *[f"sub-01_echo-{e}_part-{p}_MEGRE" for e in (1, 2) for p in ("real", "imag")])
    (unit,), problems = gre_units(tmp_path, "01")
    assert unit.has_phase and unit.has_magnitude and len(unit.paths()) == 4


def test_units_whose_derivatives_would_have_one_name_are_told_apart(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw", "sub-01_echo-1_part-phase_MEGRE", "sub-01_acq-b_part-phase_T2starw")
    units, _ = gre_units(tmp_path, "01")
    assert {unit.name: unit.label for unit in units} == {
        "sub-01_MEGRE": "", "sub-01_T2starw": "T2starw", "sub-01_acq-b_T2starw": ""
    }  # fmt: skip
    assert [unit.collides for unit in units].count(True) == 1


def test_swi_folder_is_read_and_other_folders_and_foreign_names_are_not(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw", "sub-01_part-phase_GRE copy", "sub-01_part-phase_part-mag_GRE")
    for folder in ("swi", "fmap", "perf"):
        (tmp_path / "sub-01" / folder).mkdir()
        (tmp_path / "sub-01" / folder / "sub-01_part-phase_GRE.nii.gz").touch()
    units, problems = gre_units(tmp_path, "01")
    assert not problems and {(unit.suffix, unit.datatype) for unit in units} == {("T2starw", "anat"), ("GRE", "swi")}


@pytest.mark.parametrize(
    ("files", "kind", "text"),
    [
        (
            ["sub-01_echo-1_part-phase_MEGRE", "sub-01_echo-2_part-phase_MEGRE", "sub-01_echo-1_part-mag_MEGRE"],
            MissingInput,
            "echo 2",
        ),
        (
            ["sub-01_echo-1_part-phase_MEGRE", "sub-01_echo-1_part-mag_MEGRE", "sub-01_echo-2_part-mag_MEGRE"],
            MissingInput,
            "part-phase",
        ),
        (["sub-01_part-real_T2starw"], MissingInput, "part-imag"),
        (["sub-01_echo-1_part-phase_MEGRE", "sub-01_echo-01_part-phase_MEGRE"], DataError, "same echo"),
        (["sub-01_echo-one_part-phase_MEGRE"], DataError, "not a number"),
    ],
)
def test_incomplete_units_are_problems_that_name_a_file(tmp_path, files, kind, text):
    touch(tmp_path, *files)
    said = problem(tmp_path, kind)
    assert text in said and "sub-01_" in said and ".nii" in said


def test_one_image_in_two_files_is_a_problem(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw")
    (tmp_path / "sub-01/anat/sub-01_part-phase_T2starw.nii").touch()
    assert "same echo" in problem(tmp_path, DataError)


def test_one_name_with_and_without_echo_is_a_problem(tmp_path):
    touch(tmp_path, "sub-01_part-phase_T2starw", "sub-01_echo-1_part-phase_T2starw")
    assert "twice" in problem(tmp_path, DataError)


@pytest.mark.parametrize("stray", ["sub-02_part-phase_T2starw", "sub-01_ses-1_part-phase_T2starw"])
def test_a_file_in_a_wrong_folder_is_a_problem(tmp_path, stray):
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    (tmp_path / f"sub-01/anat/{stray}.nii.gz").touch()
    assert stray in problem(tmp_path, DataError)


def test_a_hostile_label_is_a_problem(tmp_path):
    (tmp_path / "sub-<script>").mkdir()
    assert participants(tmp_path) == ["<script>"]
    assert "script" in gre_units(tmp_path, "<script>")[1][0][0]


def test_one_problem_does_not_hide_other_units(tmp_path):
    touch(tmp_path, "sub-01_run-1_part-real_T2starw", "sub-01_run-2_part-phase_T2starw")
    units, problems = gre_units(tmp_path, "01")
    assert [unit.name for unit in units] == ["sub-01_run-2_T2starw"] and problems[0][0] == "sub-01_run-1_T2starw"


def test_links_without_content_are_listed(tmp_path):
    folder = make.gre(tmp_path / "b", echo_times=(0.01,))
    make.annexed(folder / "sub-01_part-phase_MEGRE.nii.gz")
    assert names(tmp_path / "b") == ["sub-01_MEGRE"]


def test_only_the_participants_own_folders_are_read(tmp_path, monkeypatch):
    for number in range(20):
        label = f"{number:02d}"
        touch(tmp_path, *[f"sub-{label}_ses-{s}_echo-{e}_part-phase_MEGRE" for s in (1, 2) for e in (1, 2, 3)])
    (tmp_path / "sub-00/ses-1/perf").mkdir()
    seen: list[str] = []
    for name in ("scandir", "listdir"):
        plain = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", plain=plain: (seen.append(str(path)), plain(path))[1])
    assert len(names(tmp_path, "00")) == 2
    assert seen and all("sub-00" in path for path in seen) and not any(path.endswith("perf") for path in seen)
    assert len([path for path in seen if os.path.isdir(path)]) == 3  # the participant, and anat/ of two sessions


LOTS = (
    "sub-01_ses-1_acq-a_run-01_part-phase_T2starw", "sub-01_ses-1_acq-a_run-02_part-phase_T2starw",
    "sub-01_ses-1_acq-b_rec-norm_part-phase_T2starw", "sub-01_ses-2_echo-1_part-phase_MEGRE",
)  # fmt: skip


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({}, "0123"), ({"session": ["1"]}, "012"), ({"session": ["ses-2"]}, "3"), ({"run": ["1"]}, "023"), ({"run": ["run-02"]}, "123"),
        ({"acquisition": ["acq-b"]}, "23"), ({"rec": ["x"]}, "013"), ({"session": ["1", "2"], "run": ["7"]}, "23"), ({"session": ["9"]}, ""),
        ({"echo": ["2"]}, "012"), ({"task": ["rest"]}, "0123"),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_agrees_and_what_lacks_the_entity(tmp_path, how, kept):
    touch(tmp_path, *LOTS)
    stem = {name: i for i, name in enumerate(name.replace("_echo-1", "").replace("_part-phase", "") for name in LOTS)}
    assert "".join(sorted(str(stem[name]) for name in names(tmp_path, **how))) == kept


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ({}, "0123"), ({"t1w": {"session": "9"}, "bold": {"foo": []}}, "0123"), ({"gre": {"session": "2"}}, "3"), ({"qsm": {"run": 2}}, "1"),
        ({"GRE": {"acquisition": ["a", "b"]}}, "012"), ({"gre": {"run": None, "session": "1"}}, "2"), ({"gre": {"rec": "*"}}, "2"),
        ({"gre": {"reconstruction": "Query.NONE"}}, "013"), ({"gre": {"run": "Query.REQUIRED"}}, "01"), ({"gre": {"run": "Query.OPTIONAL"}}, "0123"),
        ({"megre": {"session": "1"}}, "012"), ({"t2starw": {"acq": "b"}}, "23"), ({"gre": {"suffix": "MEGRE", "datatype": "anat"}}, "3"),
        ({"gre": {"acquisition": "^[bc]$", "regex_search": True}}, "2"), ({"gre": {"acquisition": "^[bc]$"}}, ""),
        ({"gre": {"extension": "nii.gz", "run": [None, "01"]}}, "023"),
    ],
)  # fmt: skip
def test_a_filter_file_is_read_as_fmriprep_does(tmp_path, content, kept):
    touch(tmp_path, *LOTS)
    path = make.write_json(tmp_path / "filter.json", content)
    stem = {name: i for i, name in enumerate(name.replace("_echo-1", "").replace("_part-phase", "") for name in LOTS)}
    assert "".join(sorted(str(stem[name]) for name in names(tmp_path, filter_file=path))) == kept


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"gre": 1}', b'{"gre": {"sesion": "1"}}', b'{"gre": {"session": {"a": 1}}}', b'{"gre": {"run": "Query.SOME"}}', b"\xff\xfe{",
     b'{"gre": {"run": "[", "regex_search": true}}', None],
)  # fmt: skip
def test_a_bad_filter_file_is_a_usage_error(tmp_path, content):
    path = tmp_path / "filter.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="filter.json"):
        Filters.of(filter_file=path)


def test_a_folder_is_listed_once_for_all_pipelines(tmp_path, monkeypatch):
    touch(tmp_path, *LOTS)
    expected = [find(tmp_path, "01") for find in (gre_units, cord_units)]
    calls = []
    monkeypatch.setattr(files, "listed", lambda *of, listed=files.listed: calls.append(of) or listed(*of))
    folder = {"01": dataset.Folder(tmp_path, "01")}
    for find, (units, problems) in zip((gre_units, cord_units), expected, strict=True):
        found, faults = find(tmp_path, "01", None, folder)
        assert found == units and list(map(str, faults)) == list(map(str, problems))
    assert calls == [(tmp_path, "01")]
    _, problems = gre_units(tmp_path, "02", None, {"02": dataset.Folder(tmp_path, "02")})
    assert [name for name, _ in problems] == ["sub-02"]


@pytest.mark.filterwarnings("ignore")  # of pybids and its own libraries
def test_a_database_stands_for_the_folders(tmp_path):
    from bids import BIDSLayout, BIDSLayoutIndexer

    root = make.dataset(tmp_path / "b")
    touch(root, *LOTS, "sub-02_part-phase_T2starw")
    expected = gre_units(root, "01")
    BIDSLayout(
        root,
        database_path=tmp_path / "db",
        validate=False,
        indexer=BIDSLayoutIndexer(validate=False, index_metadata=False),
    )
    index = dataset.layout(root, ["01", "02"], tmp_path / "db")
    assert gre_units(root, "01", None, index) == expected and len(gre_units(root, "02", None, index)[0]) == 1
    with pytest.raises(UsageError, match="no pybids database"):
        dataset.layout(root, ["01"], tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/layout_index.sqlite").write_text("nothing")
    with pytest.raises(UsageError, match="cannot be used"):
        dataset.layout(root, ["01"], tmp_path / "bad")
    other = make.dataset(tmp_path / "other")
    with pytest.raises(UsageError):
        dataset.layout(other, ["01"], tmp_path / "db")
    assert dataset.layout(root, ["01"]) == {}


def test_json_of_the_helpers_is_json(tmp_path):
    folder = make.gre(tmp_path, "01")
    assert json.loads((folder / "sub-01_echo-1_part-mag_MEGRE.json").read_text())["EchoTime"] == 0.004
