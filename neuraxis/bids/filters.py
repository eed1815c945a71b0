"""Entity filters: which files of a data set are wanted. From the command line and from a filter file as fMRIPrep takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuraxis.errors import UsageError

LONG_NAMES = {
    "subject": "sub", "session": "ses", "acquisition": "acq", "nucleus": "nuc", "volume": "voi", "ceagent": "ce", "tracer": "trc",
    "staining": "stain", "reconstruction": "rec", "direction": "dir", "modality": "mod",
}  # fmt: skip
"""Names of entities as pybids writes them, and their keys in file names; the other entities have one name for both."""

SHORT_NAMES = (
    *LONG_NAMES.values(), "sample", "task", "tracksys", "run", "echo", "flip", "inv", "mt", "part", "proc", "space", "split",
    "chunk", "recording", "desc", "res", "den", "label",
)  # fmt: skip

_QUERIES = {"gre": "", "qsm": "", "megre": "MEGRE", "t2starw": "T2starw"}
"""Keys of a filter file that concern this app, in lower case -> the suffix that they speak of; "" is any."""


def read_labels(labels: Iterable[str], prefix: str = "") -> tuple[str, ...]:
    """Labels without their prefix, each once, in the order given; a text file stands for the labels on its lines."""
    found: dict[str, None] = {}
    for item in labels:
        text = str(item).strip()
        lines = [text]
        if Path(text).is_file():
            try:
                lines = Path(text).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"{text} cannot be read as a list of labels: {error}.", "Write one label per line."
                ) from error
        for line in lines:
            label = line.strip().removeprefix(f"{prefix}-") if prefix else line.strip()
            if label:
                found[label] = None
    return tuple(found)


@dataclass(frozen=True)
class Filters:
    """What is wanted of a participant. An empty list wants everything.

    A file that lacks an entity is not filtered out by a list; a filter file is exact, as in pybids: what it names must be there.
    """

    session: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    acquisition: tuple[str, ...] = ()
    rec: tuple[str, ...] = ()
    echo: tuple[str, ...] = ()
    bids_filter: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *, session: Iterable[str] = (), run: Iterable[str] = (), task: Iterable[str] = (), acquisition: Iterable[str] = (),
        rec: Iterable[str] = (), echo: Iterable[str] = (), filter_file: Path | None = None,
    ) -> Filters:  # fmt: skip
        """Filters from what a user wrote: labels with or without prefix, or files of labels, and a filter file."""
        return cls(
            read_labels(session, "ses"), read_labels(run, "run"), read_labels(task, "task"), read_labels(acquisition, "acq"),
            read_labels(rec, "rec"), read_labels(echo, "echo"), read_filter_file(filter_file) if filter_file else {},
        )  # fmt: skip

    def want(self, entities: Mapping[str, str], suffix: str, datatype: str, extension: str) -> bool:
        """Whether a file with these entities is wanted."""
        lists = (self.session, self.run, self.task, self.acquisition, self.rec, self.echo)
        for name, wanted in zip(("ses", "run", "task", "acq", "rec", "echo"), lists, strict=True):
            if wanted and name in entities and not any(_same(entities[name], one) for one in wanted):
                return False
        seen = {**entities, "suffix": suffix, "datatype": datatype, "extension": extension}
        for query, rules in self.bids_filter.items():
            only = _QUERIES.get(query.lower())
            if only is None or only not in ("", suffix):
                continue
            regular = bool(rules.get("regex_search", False))
            if not all(
                _agrees(seen.get(LONG_NAMES.get(n, n)), w, regular) for n, w in rules.items() if n != "regex_search"
            ):
                return False
        return True


def read_filter_file(path: Path) -> dict[str, dict[str, Any]]:
    """The content of a `--bids-filter-file`.

    The keys `gre` and `qsm` speak of every gradient-echo image, `megre` and `t2starw` of images with that suffix. Other keys
    (`t1w`, `bold`, ...) are left to other apps. A value is a label, a number, a list of them, null or "Query.NONE" (the entity must
    be absent), "*", "Query.ANY" or "Query.REQUIRED" (it must be there) or "Query.OPTIONAL"; with `"regex_search": true` labels
    are regular expressions.
    """
    hint = 'For example {"gre": {"session": "01", "acquisition": ["highres"]}}.'
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The filter file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"The filter file {path} is not JSON in UTF-8: {error}.", hint) from error
    if not isinstance(content, dict) or not all(isinstance(rules, dict) for rules in content.values()):
        raise UsageError(f"The filter file {path} is not an object of objects.", hint)
    known = {*LONG_NAMES, *SHORT_NAMES, "suffix", "datatype", "extension", "regex_search"}
    for query, rules in content.items():
        if query.lower() not in _QUERIES:
            continue
        for name, wanted in rules.items():
            if name not in known:
                raise UsageError(
                    f"The filter file {path} filters {query} by {name!r}, which is not an entity of BIDS.", hint
                )
            for one in wanted if isinstance(wanted, list) else [wanted]:
                _check_rule(path, one, bool(rules.get("regex_search", False)))
    return content


def _check_rule(path: Path, wanted: Any, regular: bool) -> None:
    if (
        isinstance(wanted, str)
        and wanted.startswith("Query.")
        and wanted[6:] not in ("NONE", "ANY", "REQUIRED", "OPTIONAL")
    ):
        raise UsageError(
            f"The filter file {path} holds {wanted!r}, which is not a query of pybids.",
            "Use Query.NONE or Query.REQUIRED.",
        )
    if not (wanted is None or isinstance(wanted, (str, int, float, bool))):
        raise UsageError(f"The filter file {path} holds {wanted!r} where a label is expected.")
    if regular and isinstance(wanted, str) and wanted != "*":
        try:
            re.compile(wanted)
        except re.error as error:
            raise UsageError(
                f"The filter file {path} holds {wanted!r}, which is not a regular expression: {error}."
            ) from error


def _agrees(seen: str | None, wanted: Any, regular: bool) -> bool:
    if isinstance(wanted, list):
        return any(_agrees(seen, one, regular) for one in wanted)
    if wanted is None or wanted == "Query.NONE":
        return seen is None
    if wanted == "Query.OPTIONAL":
        return True
    if wanted in ("*", "Query.ANY", "Query.REQUIRED"):
        return seen is not None
    if seen is None:
        return False
    return re.search(str(wanted), seen) is not None if regular else _same(seen, str(wanted))


def _same(seen: str, wanted: str) -> bool:
    """Equal labels, leading dots of extensions and leading zeros of one of two whole numbers aside."""
    if seen == wanted:
        return True
    return seen.lstrip(".") == wanted.lstrip(".") or (
        seen.isdecimal()
        and wanted.isdecimal()
        and int(seen) == int(wanted)
        and (seen.startswith("0") != wanted.startswith("0"))
    )
