"""What a plain function says of itself in signature and docstring: its needs, its knobs, its help, its papers."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Need:
    """An artifact that a method takes: as `kind` says, and whether it does without."""

    name: str
    kind: str
    optional: bool
    help: str


@dataclass(frozen=True)
class Knob:
    """A setting of a method."""

    name: str
    default: Any
    type: Any
    help: str

    def read(self, value: Any) -> Any:
        """`value` (text of the command line, or of a config file) in the knob's type, or ValueError."""
        try:
            return _read(value, self.type)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}={value!r} is not {_describe(self.type)}") from None


def _read(value: Any, kind: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for option in sorted(args, key=lambda one: one is str):  # text fits everywhere: it is tried last
            try:
                return _read(value, option)
            except (TypeError, ValueError):
                continue
        raise ValueError
    if origin is Literal:
        for choice in args:
            if value == choice or str(value) == str(choice):
                return choice
        raise ValueError
    if origin is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else list(value)
        inner = [args[0]] * len(items) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(items) != len(inner):
            raise ValueError
        return tuple(_read(item, one) for item, one in zip(items, inner, strict=True))
    if kind is type(None):
        if value is None or str(value).lower() == "none":
            return None
        raise ValueError
    if kind is bool:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return known[str(value).lower()] if str(value).lower() in known else _fail()
    if isinstance(value, bool):
        raise ValueError
    if kind is int:
        return int(value) if float(value) == int(float(value)) else _fail()
    return kind(value)


def _fail() -> Any:
    raise ValueError


def _describe(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(one) for one in args)
    if origin is tuple:
        return "a list of numbers"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}.get(kind, str(kind))


def sections(docstring: str | None) -> dict[str, str]:
    """The parts of a numpy-style docstring: "" is the text above the first heading."""
    found, name = {"": ""}, ""
    lines = inspect.cleandoc(docstring or "").splitlines()
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line and set(following.strip()) == {"-"} and len(following.strip()) >= 3:
            name = line.strip()
            found[name] = ""
        elif not (line.strip() and set(line.strip()) == {"-"}):
            found[name] += line + "\n"
    return {heading: text.strip("\n") for heading, text in found.items()}


def entries(text: str) -> dict[str, str]:
    """name -> help of a "Parameters" section: a name at the margin, its help indented below."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line[0].isspace():
            name = line.split(":")[0].strip()
            found[name] = ""
        elif found and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


@dataclass(frozen=True)
class Method:
    """A plain function, and what its signature and docstring say of it."""

    function: Callable[..., Any]
    name: str
    path: str
    needs: tuple[Need, ...]
    knobs: tuple[Knob, ...]
    summary: str
    text: str
    returns: str
    dois: tuple[str, ...]

    @staticmethod
    @functools.cache
    def of(function: Callable[..., Any]) -> Method:
        """The method that `function` is."""
        parts = sections(function.__doc__)
        helps = entries(parts.get("Parameters", ""))
        types_ = typing.get_type_hints(function)
        needs, knobs = [], []
        for one in inspect.signature(function).parameters.values():
            text = helps.get(one.name, "")
            if one.kind is one.KEYWORD_ONLY:
                knobs.append(Knob(one.name, one.default, types_.get(one.name, Any), text))
            else:
                kind = str(one.annotation).split("|")[0].strip()
                needs.append(Need(one.name, kind, one.default is None, text))
        module = function.__module__.split(".", 1)[-1]
        path = module if module.endswith("." + function.__name__) else f"{module}.{function.__name__}"
        dois = tuple(d.rstrip(".,;)") for d in re.findall(r"doi:(10\.\S+)", parts.get("References", "")))
        summary = " ".join(parts[""].split("\n\n")[0].split())
        return Method(
            function,
            function.__name__,
            path,
            tuple(needs),
            tuple(knobs),
            summary,
            parts[""],
            parts.get("Returns", ""),
            dois,
        )

    @functools.cached_property
    def source(self) -> str:
        """Hash of the code that can change what the method gives: its own domain, and the numerics below it."""
        package, _, domain = self.function.__module__.partition(".")
        if package != __package__:
            return hashlib.sha256(Path(inspect.getfile(self.function)).read_bytes()).hexdigest()[:16]
        return _source(domain.split(".")[0])

    def set(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All knobs with their values; ValueError names an unknown knob or a value of the wrong type."""
        known = {knob.name: knob for knob in self.knobs}
        for name in values:
            if name not in known:
                raise ValueError(f"{self.name} has no knob {name!r}; it has {', '.join(known) or 'none'}")
        return {n: k.read(values[n]) if n in values else k.default for n, k in known.items()}


_DATA = ("resources.toml", "*.npz", "*.tsv.gz", "models/*/sha256.json")
"""Files that methods compute with, weights by their manifest."""


@functools.cache
def _source(domain: str) -> str:
    digest, root = hashlib.sha256(), Path(__file__).parent
    files = [file for folder in sorted({domain, "numerics"}) for file in sorted((root / folder).rglob("*.py"))]
    data = [one for pattern in _DATA for one in sorted((root / "data").glob(pattern))]
    for file in [*files, *data, *(root / f"{name}.py" for name in ("volume", "table", "units"))]:
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
