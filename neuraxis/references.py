"""The papers behind what ran: a list to cite, a .bib file, and a paragraph for a methods section.

Everything comes from `data/references.bib`. Two fields there are ours, and BibTeX passes over them: `software` names
the program that an entry stands for (it is cited whenever that program is listed) and `use` says what it did.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One BibTeX entry: its kind, key, fields (plain text) and the text it was read from."""

    kind: str
    key: str
    fields: Mapping[str, str]
    source: str

    @property
    def doi(self) -> str:
        return self.fields.get("doi", "").lower()

    def text(self) -> str:
        """The entry as one line of a reference list."""
        where = next((self.fields[n] for n in ("journal", "booktitle", "publisher", "school") if n in self.fields), "")
        volume = self.fields.get("volume", "") + (f"({self.fields['number']})" if "number" in self.fields else "")
        pages = self.fields.get("pages", "").replace("--", "\u2013")
        place = " ".join(part for part in (where, ":".join(part for part in (volume, pages) if part)) if part)
        parts = [f"{_authors(self.fields['author'])} ({self.fields['year']})", self.fields["title"], place]
        doi = f" doi:{self.fields['doi']}" if self.doi else ""
        return ". ".join(part for part in parts if part) + "." + doi


def read_bib(text: str) -> tuple[Entry, ...]:
    """The entries of a .bib file. ValueError where it is not one, or an entry has no title, author or year."""
    found: list[Entry] = []
    start = text.find("@")
    while start >= 0:
        head = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,").match(text, start)
        if head is None:
            raise ValueError(f"bibliography, line {text.count(chr(10), 0, start) + 1}: not an entry")
        stop = _closing(text, text.index("{", start))
        fields = _fields(text[head.end() : stop])
        key = head[2]
        lacking = [name for name in ("title", "author", "year") if not fields.get(name)]
        if lacking:
            raise ValueError(f"bibliography, {key}: no {', '.join(lacking)}")
        found.append(Entry(head[1].lower(), key, fields, text[start : stop + 1]))
        start = text.find("@", stop)
    for name in ("key", "doi"):
        values = [getattr(one, name) for one in found if getattr(one, name)]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"bibliography: the {name} {twice[0]} stands twice")
    return tuple(found)


def _closing(text: str, start: int) -> int:
    """Where the brace or the quotation mark that opens at `start` closes; inside braces a mark does not close."""
    depth = 0
    for place in range(start + 1, len(text)):
        if depth == 0 and text[place] == {"{": "}"}.get(text[start], text[start]):
            return place
        depth += {"{": 1, "}": -1}.get(text[place], 0)
    raise ValueError(f"bibliography, line {text.count(chr(10), 0, start) + 1}: {text[start]} is not closed")


def _fields(body: str) -> dict[str, str]:
    """name = {value} or "value" or a bare number, separated by commas."""
    found: dict[str, str] = {}
    place = 0
    while name := re.compile(r"[\s,]*([A-Za-z_-]+)\s*=\s*").match(body, place):
        start = name.end()
        if body[start : start + 1] in ("{", '"'):
            stop = _closing(body, start)
            value, place = body[start + 1 : stop], stop + 1
        else:
            plain = re.compile(r"[^,\s]+").match(body, start)
            if plain is None:
                raise ValueError(f"bibliography: the field {name[1]} has no value")
            value, place = plain[0], plain.end()
        if name[1].lower() == "author":  # a name all in braces is that of a body: it has no first name
            value = " and ".join(re.sub(r"^\{(.*)\}$", r"\1,", one.strip()) for one in value.split(" and "))
        found[name[1].lower()] = _plain(value)
    if body[place:].strip(" \n\t,"):
        raise ValueError(f"bibliography: {body[place:].strip()[:40]!r} is not a field")
    return found


_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "c": "\u0327", "v": "\u030c",
            "u": "\u0306", "r": "\u030a", "=": "\u0304", ".": "\u0307", "H": "\u030b", "k": "\u0328"}  # fmt: skip
_LETTERS = {"ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "aa": "å", "AA": "Å", "ae": "æ", "AE": "Æ", "i": "i"}
_GREEK = {"chi": "χ", "Delta": "Δ", "alpha": "α", "mu": "µ"}


def _plain(value: str) -> str:
    """LaTeX accents, escapes and braces -> text."""
    value = re.sub(r"\\i(?![A-Za-z])", "i", value)
    accent = r"\\(?:(['`^\"~=.])\s*\{?\s*([A-Za-z])\s*\}?|([cvurHk])\s*\{\s*([A-Za-z])\s*\}|([cvurHk])\s+([A-Za-z]))"
    value = re.sub(accent, lambda m: (m[2] or m[4] or m[6]) + _ACCENTS[m[1] or m[3] or m[5]], value)
    value = re.sub(r"\\(ss|aa|AA|ae|AE|o|O|l|L)(?![A-Za-z])\s*", lambda m: _LETTERS[m[1]], value)
    value = re.sub(r"\$?\\(chi|Delta|alpha|mu)(?![A-Za-z])\$?", lambda m: _GREEK[m[1]], value)
    value = re.sub(r"\\([&%_#$])", r"\1", value).replace("{", "").replace("}", "").replace("~", " ")
    return unicodedata.normalize("NFC", " ".join(value.split()))


def _authors(names: str) -> str:
    """ "Last, First Middle and ..." -> "Last FM, ..."; of more than six, the first three."""
    people = [name.strip() for name in names.split(" and ")]
    short = []
    for name in people:
        last, comma, first = name.partition(",")
        if not comma:
            first, _, last = name.rpartition(" ")
        short.append(f"{last.strip()} {''.join(part[0] for part in re.split(r'[ .-]+', first) if part)}".strip())
    if people[-1] == "others" or len(people) > 6:
        return ", ".join(short[:3]) + ", et al."
    return ", ".join(short)


@functools.cache
def bibliography() -> tuple[Entry, ...]:
    """Every entry of the app's bibliography."""
    return read_bib(resources.files("neuraxis").joinpath("data/references.bib").read_text("utf-8"))


def by_doi(doi: str) -> Entry | None:
    """The entry with this DOI; None when the bibliography has none."""
    return next((one for one in bibliography() if one.doi == doi.strip().lower()), None)


def _software_dois(software: Iterable[str]) -> dict[str, str]:
    """DOI -> what it is cited for, of the programs that are listed."""
    return {
        entry.doi: f"{name}, {entry.fields['use']}" if "use" in entry.fields else name
        for name in software
        for entry in bibliography()
        if entry.fields.get("software", "").lower() == name.lower() and entry.doi
    }


def software_of(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Programs of others that are cited by these steps, by the names of their packages."""
    cited = [by_doi(doi) for doi in uses(steps)]
    return list(dict.fromkeys(entry.fields["software"] for entry in cited if entry and "software" in entry.fields))


def uses(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """DOI -> the steps that it is cited for, in the order of the steps; give it to `references_txt` and `bib`."""
    found: dict[str, list[str]] = {}
    for step in steps:
        for doi in step.get("dois", ()):
            found.setdefault(doi.lower(), []).append(f"{_heading(step)} ({_short(step)})")
    return {doi: "; ".join(dict.fromkeys(what)) for doi, what in found.items()}


def _heading(step: Mapping[str, Any]) -> str:
    return str(step["title"]).split(": ")[0]


def _short(step: Mapping[str, Any]) -> str:
    return str(step.get("method", "")).rsplit(".", 1)[-1]


def numbered(dois: Iterable[str], software: Iterable[str] = ()) -> dict[str, int]:
    """DOI -> its number in the list of references: methods first, then software."""
    every = dict.fromkeys([*(doi.lower() for doi in dois), *_software_dois(software)])
    return {doi: number for number, doi in enumerate(every, 1)}


def references_txt(dois: Iterable[str] | Mapping[str, str], software: Mapping[str, str]) -> str:
    """What to cite, as plain text: one numbered line per paper, with what it was used for, and the versions.

    `dois`: those of the methods that ran, in order, or what `uses` gives. `software`: name -> version.
    """
    dois = (
        {k.lower(): v for k, v in dois.items()}
        if isinstance(dois, Mapping)
        else dict.fromkeys(map(str.lower, dois), "")
    )
    cited = {**_software_dois(software), **{doi: what for doi, what in dois.items() if what}}
    lines = []
    for doi, number in numbered(dois, software).items():
        entry = by_doi(doi)
        use = f" [{cited[doi]}]" if cited.get(doi) else ""
        lines.append(f"{number}. {entry.text() if entry else f'doi:{doi}'}{use}")
    if software:
        lines += ["", "Software: " + ", ".join(f"{name} {version}" for name, version in software.items()) + "."]
    return "\n".join(lines) + "\n"


def bib(dois: Iterable[str], software: Iterable[str] = ()) -> str:
    """The entries of `dois` and of the software as a .bib file."""
    entries = [by_doi(doi) for doi in numbered(dois, software)]
    return "\n\n".join(entry.source for entry in entries if entry) + "\n" * any(entries)


def methods_paragraph(steps: Sequence[Mapping[str, Any]], software: Mapping[str, str] | None = None) -> str:
    """What was done, for a methods section; the numbers are those of `references_txt` for the same steps.

    Says only what ran (steps that were computed, now or before), each with its method, and the knobs that differ from
    their defaults.
    """
    from neuraxis import __version__

    software = software or {"Neuraxis": __version__}
    ran = [step for step in steps if step.get("status", "computed") in ("computed", "cached", "given")]
    made = [step for step in ran if step.get("status") != "given"]
    numbers = numbered(uses(made), software)
    own = _cite([doi for doi in _software_dois(["Neuraxis"])], numbers)
    text = f"Images were processed with Neuraxis {software.get('Neuraxis', __version__)}, a BIDS App{own}."
    if not ran:
        return f"{text} No step was run."
    sentences = []
    for step in ran:
        if step.get("status") == "given":
            sentences.append(f"{_heading(step)}: taken from files that were given")
            continue
        changed = [f"{knob['name']} = {_value(knob['value'])}" for knob in step.get("knobs", ()) if not knob["default"]]
        setting = f", with {', '.join(changed)}" if changed else ""
        summary = str(step.get("summary", "")).split(". ")[0].rstrip(".") or _short(step)
        sentences.append(f"{_heading(step)}: {summary} ({_short(step)}){_cite(step.get('dois', ()), numbers)}{setting}")
    order = "; ".join(f"({number}) {sentence}" for number, sentence in enumerate(sentences, 1))
    rest = ", ".join(f"{n} {v}{_cite(_software_dois([n]), numbers)}" for n, v in software.items() if n != "Neuraxis")
    built = f" Computations used {rest}." if rest else ""
    return f"{text} The steps, in order: {order}. Settings that are not named were the defaults of this version.{built}"


def _cite(dois: Iterable[str], numbers: Mapping[str, int]) -> str:
    found = sorted({numbers[doi.lower()] for doi in dois if doi.lower() in numbers})
    return f" [{', '.join(map(str, found))}]" if found else ""


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_value, value)) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
