"""The level `group` on the results of many participants that lie on disk."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from neuraxis.app import read_records
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import tables
from neuraxis.brain.statistics import region_statistics
from neuraxis.summary import write_dataset_files
from neuraxis.volume import Grid

PEOPLE = 12
GRID = Grid.of((8, 8, 8), np.eye(4))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twelve participants in whom the iron of the putamen grows with age, and is higher in patients; one lies far apart."""
    root = tmp_path_factory.mktemp("cohort")
    bids, out = root / "bids", root / "out"
    random = np.random.default_rng(1)
    labels = np.zeros(GRID.shape, np.int16)
    labels[:2, :4, :4], labels[6:, :4, :4], labels[3:5, :4, :4] = 12, 51, 16
    (bids / "sub-00").mkdir(parents=True)
    (bids / "dataset_description.json").write_text('{"Name": "cohort", "BIDSVersion": "1.10.0"}')
    people = ["participant_id\tage\tsex\tdiagnosis"]
    for n in range(PEOPLE):
        age = 25 + 4 * n
        people.append(f"sub-{n:02d}\t{age}\t{'FM'[n % 2]}\t{'<b>PD' if n % 3 == 0 else 'control'}")
        chi = random.normal(0, 0.002, GRID.shape)
        chi[labels > 16] += 0.02 + 0.001 * age + 0.02 * (n % 3 == 0)
        chi[labels == 12] += 0.02 + 0.001 * age + 0.02 * (n % 3 == 0)
        chi[labels == 16] += random.normal(0, 0.001) + (n == 7)
        table = region_statistics(labels, GRID, chi)
        anat = out / f"sub-{n:02d}/anat"
        anat.mkdir(parents=True)
        file = anat / f"sub-{n:02d}_seg-regions_stats.tsv"
        file.write_text(tables.text(table, ARTIFACTS["region_statistics"], {"participant_id": f"sub-{n:02d}", "image": f"sub-{n:02d}_MEGRE"}))
        file.with_suffix(".json").write_text(json.dumps(tables.dictionary(table, ARTIFACTS["region_statistics"])))
        record = {
            "unit": f"sub-{n:02d}_MEGRE", "participant": f"{n:02d}", "session": None, "pipeline": "qsm", "status": "ok", "steps": [],
            "statistics": {}, "files": {"region_statistics": [str(file.relative_to(out))]},
        }  # fmt: skip
        (out / "logs").mkdir(exist_ok=True)
        (out / f"logs/sub-{n:02d}_MEGRE.json").write_text(json.dumps(record))
    (bids / "participants.tsv").write_text("\n".join(people) + "\n")
    return bids, out


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _group(bids, out, *more):
    return subprocess.run(
        [sys.executable, "-m", "neuraxis", str(bids), str(out), "group", *more], capture_output=True, text=True, check=False, timeout=120
    )


def test_effects_outliers_and_page(cohort):
    bids, out = cohort
    done = _group(bids, out, "--group-column", "diagnosis")
    assert done.returncode == 0, done.stderr
    models = _rows(out / "group_regionmodels.tsv")
    age = next(row for row in models if (row["region"], row["hemisphere"], row["effect"]) == ("putamen", "LR", "age"))
    assert float(age["estimate"]) == pytest.approx(0.001, abs=1e-4) and float(age["p_corrected"]) < 0.001
    assert age["participants"] == "12" and age["adjusted_for"] == "sex, group"
    group = next(row for row in models if (row["region"], row["hemisphere"], row["effect"]) == ("putamen", "LR", "group"))
    assert group["compared"] == "control - <b>PD" and float(group["estimate"]) == pytest.approx(-0.02, abs=2e-3)
    assert float(group["low"]) < -0.02 < float(group["high"]) + 4e-3
    far = _rows(out / "group_regionoutliers.tsv")
    assert [row["participant_id"] for row in far] == ["sub-07"] and far[0]["region"] == "brain stem" and float(far[0]["robust_z"]) > 10
    for name in ("regionmodels", "regionoutliers"):
        dictionary = json.loads((out / f"group_{name}.json").read_text())
        assert list(dictionary) == list(_rows(out / f"group_{name}.tsv")[0]) and all(one["Description"] for one in dictionary.values())
    page = (out / "group.html").read_text()
    assert "<b>PD" not in page and "control - &lt;b&gt;PD" in page
    assert "Susceptibility over age" in page and "Who lies apart" in page and 'href="sub-07.html">sub-07_MEGRE' in page
    assert len(re.findall(r"<circle[^>]*><title>sub-\d\d_MEGRE: [^<]* at \d+ years", page)) == PEOPLE * 2
    for _ in range(2):
        cited = (out / "references.txt").read_text()
        assert "10.1111/j.2517-6161.1995.tb02031.x" in cited and "statsmodels" in cited
        write_dataset_files(out, bids, read_records(out), "")  # as a later run of participants alone does


def test_without_groups_there_is_no_effect_of_them(cohort):
    bids, out = cohort
    assert _group(bids, out).returncode == 0
    assert {row["effect"] for row in _rows(out / "group_regionmodels.tsv")} == {"age", "sex"}


def test_a_column_that_is_not_there_is_told_before_anything_runs(cohort):
    bids, out = cohort
    done = _group(bids, out, "--group-column", "clinic")
    assert done.returncode == 64 and "no column 'clinic'" in done.stderr and "age, sex, diagnosis" in done.stderr
    assert "Traceback" not in done.stderr
