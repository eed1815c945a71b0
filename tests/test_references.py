"""The bibliography, and the texts that follow from what ran."""

from importlib import metadata

import pytest

from neuraxis import references
from neuraxis.summary import software

ONE = """Text before is passed over.
@article{mueller2020,
  title = {A {Great} title, with a comma},
  author = "M{\\"u}ller, J{\\'e}r{\\^o}me P. and {\\O}stergaard, {\\AA}sa",
  journal = {J},
  year = 2020,
  doi = {10.1000/ABC},
  pages = {1--2}
}
"""
RTS = {
    "title": "Dipole inversion: from field to source", "method": "qsm.inversion.rts", "status": "computed",
    "summary": "Rapid two-step inversion. More.", "dois": ["10.1000/rts"],
    "knobs": [{"name": "delta", "value": 0.12, "default": False, "help": ""},
              {"name": "mu", "value": 1.0, "default": True, "help": ""}],
}  # fmt: skip
SKIPPED = {
    **RTS,
    "title": "Relaxometry",
    "method": "qmri.relaxometry.arlo",
    "status": "skipped",
    "dois": ["10.1000/arlo"],
}
SOFTWARE = {"Neuraxis": "1.2.3", "Python": "3.11", "numpy": "2.0"}


def test_an_entry_is_read():
    (entry,) = references.read_bib(ONE)
    assert (entry.kind, entry.key, entry.doi) == ("article", "mueller2020", "10.1000/abc")
    assert entry.text() == "Müller JP, Østergaard Å (2020). A Great title, with a comma. J 1\u20132. doi:10.1000/ABC"
    assert entry.source.startswith("@article{mueller2020") and entry.source.endswith("}")


def test_a_body_is_one_author_and_greek_is_read():
    (entry,) = references.read_bib("@misc{a, title={$\\chi$-maps}, author={{The QSM Group} and Wei, Li}, year={2024}}")
    assert entry.text() == "The QSM Group, Wei L (2024). χ-maps."


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("@article{a, title = {x}", "not closed"),
        ("@article{a, title = {x}, year = 2000}", "no author"),
        ("@article{a b}", "not an entry"),
        ("@misc{a, title = {x} ? }", "not a field"),
        (ONE + ONE, "twice"),
    ],
)
def test_what_is_wrong_is_said(text, what):
    with pytest.raises(ValueError, match=what):
        references.read_bib(text)


def test_the_bibliography_can_be_read():
    assert len(references.bibliography()) >= 7
    for entry in references.bibliography():
        assert "\\" not in entry.text() and "{" not in entry.text()
        assert not entry.doi or entry.doi.startswith("10.")
    assert references.by_doi("10.1038/S41586-020-2649-2").key == "harris2020"
    assert references.by_doi("10.1/none") is None


def test_the_paragraph_says_what_ran_and_nothing_else():
    text = references.methods_paragraph([RTS, SKIPPED], SOFTWARE)
    assert "Neuraxis 1.2.3" in text
    assert "(1) Dipole inversion: Rapid two-step inversion (rts) [1], with delta = 0.12" in text
    assert "arlo" not in text and "mu =" not in text and "numpy 2.0" in text
    assert "arlo" in references.methods_paragraph([{**SKIPPED, "status": "computed"}], SOFTWARE)
    assert "given" in references.methods_paragraph([{**RTS, "status": "given"}], SOFTWARE)
    assert "No step was run" in references.methods_paragraph([], SOFTWARE)


def test_the_numbers_of_paragraph_and_list_agree():
    steps = [RTS, {**SKIPPED, "status": "computed"}]
    paragraph = references.methods_paragraph(steps, SOFTWARE)
    lines = references.references_txt(references.uses(steps), SOFTWARE).splitlines()
    for number, line in enumerate(lines[:5], 1):
        assert line.startswith(f"{number}. ")
    assert "(arlo) [2]" in paragraph and "10.1000/arlo" in lines[1] and "[Relaxometry (arlo)]" in lines[1]
    assert "numpy 2.0 [5]" in paragraph and "NumPy" in lines[4]
    assert lines[-1] == "Software: Neuraxis 1.2.3, Python 3.11, numpy 2.0."


def test_lists_adapt_to_the_dois():
    text = references.references_txt(["10.1000/rts", "10.1000/RTS"], SOFTWARE)
    assert text.count("10.1000/rts") == 1
    assert "SciPy" not in text and "SciPy" in references.references_txt([], {"scipy": "1"})
    assert references.references_txt([], {}) == "\n"
    assert references.bib(["10.1038/sdata.2016.44"]).startswith("@article{gorgolewski2016")
    assert references.bib([]) == ""
    assert "harris2020" in references.bib([], ["numpy"])
    assert references.read_bib(references.bib([], SOFTWARE))


def test_programs_are_named_where_a_step_that_ran_cites_them():
    learned = {"title": "Tissues", "method": "cord.tissues.small", "dois": ["10.1038/S41592-020-01008-z"]}
    assert references.software_of([RTS]) == []
    assert references.software_of([learned, RTS, learned]) == ["nnunetv2"]
    versions = software([learned])
    assert versions["nnunetv2"] and "statsmodels" not in versions
    assert software([])["numpy"] == versions["numpy"]


def test_every_program_of_the_bibliography_is_installed():
    for entry in references.bibliography():
        if "software" in entry.fields and entry.fields["software"] != "Neuraxis":
            assert metadata.version(entry.fields["software"])
