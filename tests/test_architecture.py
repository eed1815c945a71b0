"""The rules of the house: who may know whom, every fact once, every method documented and cited."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuraxis
from neuraxis.arguments import parse
from neuraxis.artifacts import ARTIFACTS
from neuraxis.boutiques import descriptor, descriptor_text
from neuraxis.options import families, presets, to_toml
from neuraxis.pipelines import PIPELINES
from neuraxis.readme import filled

ROOT = Path(neuraxis.__file__).parents[1]
METHODS = [method for family in families().values() for method in family.methods]


def test_layers_are_kept():
    code = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda one: one.name)
def test_pipelines_hold_together_and_name_only_artifacts(pipeline):
    pipeline.check()
    assert {name for step in pipeline.steps for name in step.makes} | set(pipeline.inputs) <= set(ARTIFACTS)


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.path)
def test_methods_say_what_they_need(method):
    assert method.summary.endswith(".") and method.returns
    for one in (*method.needs, *method.knobs):
        if getattr(one, "kind", "") != "Grid":
            assert one.help, f"{method.path}: {one.name} has no help"
    assert not {need.kind for need in method.needs} - {"Tensor", "Array", "Volume", "Volumes", "Table", "Grid", "float", "str"}


def test_every_paper_is_in_the_bibliography():
    text = (ROOT / "neuraxis/data/references.bib").read_text().lower()
    missing = {doi for method in METHODS for doi in method.dois if doi.lower() not in text}
    assert not missing


def test_presets_choose_what_exists():
    for name in presets():
        to_toml(parse(["a", "b", "participant", "--preset", name]))


def test_the_boutiques_descriptor_in_the_repository_is_the_one_that_is_printed(tmp_path):
    assert (ROOT / "boutiques.json").read_text() == descriptor_text()


@pytest.mark.parametrize("flags", [(), ("--bids",)])
def test_the_descriptor_passes_bosh(flags):
    code = "import sys; from boutiques.bosh import bosh; bosh(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "validate", *flags, str(ROOT / "boutiques.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_descriptor_offers_every_family():
    ids = {one["id"] for one in descriptor()["inputs"]}
    assert {name for name, family in families().items() if len(family.methods) > 1} <= ids
    json.loads(descriptor_text())


def test_the_readme_is_up_to_date():
    assert filled((ROOT / "README.md").read_text()) == (ROOT / "README.md").read_text()


def test_versions_agree():
    assert f"version: {neuraxis.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_no_room_is_called_utils():
    assert not [
        p for p in (ROOT / "neuraxis").rglob("*") if re.fullmatch(r"(utils?|core|helpers?|common)(\.py)?", p.name)
    ]
