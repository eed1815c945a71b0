"""Fills the pages' templates: everything is escaped, style and script stand inside, nothing is fetched."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import Any

STATUS = {"computed": "computed", "cached": "already there", "given": "given", "skipped": "skipped", "failed": "failed"}


def fill(name: str, **values: Any) -> str:
    """The page that the template `name` makes of `values`; every value is escaped."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return str(
        _environment().get_template(name).render(style=_asset("page.css"), script=script, script_hash=digest, **values)
    )


def _asset(name: str) -> str:
    return resources.files("neuraxis").joinpath("data", name).read_text("utf-8")


@functools.cache
def _environment() -> Any:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"linked": linked, "duration": duration, "number": number, "setting": setting, "heading": heading}
    made.globals |= {"words": STATUS}
    return made


def linked(text: Any) -> Any:
    """Text with its DOIs as links; all else is escaped."""
    from markupsafe import Markup, escape

    def link(found: re.Match[str]) -> str:
        doi = found[1].rstrip(".,;:)]")
        rest = found[1][len(doi) :]
        return f'<a href="https://doi.org/{doi}" rel="noopener noreferrer">doi:{doi}</a>{rest}'

    return Markup(re.sub(r"doi:(10\.[^\s&<>\"']+)", link, str(escape(str(text)))))


def duration(seconds: Any) -> str:
    """Seconds in words: 0.4 s, 12 s, 3 min 20 s, 1 h 5 min."""
    if not isinstance(seconds, (int, float)):
        return "\u2013"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(value: Any, digits: int = 4) -> str:
    """A number with four significant digits and a true minus sign; a dash for none."""
    if value is None or value != value:
        return "\u2013"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", "\u2212")
    return f"{value:.{digits}g}".replace("-", "\u2212")


def setting(value: Any) -> str:
    """The value of a knob, as it is given on the command line."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(setting, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def heading(title: str) -> tuple[str, str]:
    """ "Dipole inversion: from the local field ..." -> its heading and the rest."""
    head, _, rest = title.partition(": ")
    return head, rest[:1].upper() + rest[1:]


def within_sentence(title: str) -> str:
    """A title as it stands within a sentence: "Susceptibility" is "susceptibility", but "R2*" stays."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title
