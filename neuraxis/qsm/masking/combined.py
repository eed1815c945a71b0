"""A mask by a recipe in words: inputs, generators and refinements, joined by "and" and "or"."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.morphology import dilate, erode, fill_holes, largest_component
from neuraxis.qsm.masking.bet import bet
from neuraxis.qsm.masking.deepbet import deepbet
from neuraxis.qsm.masking.hd_bet import hd_bet
from neuraxis.qsm.masking.refinement import (
    COHERENT,
    above_threshold,
    closed,
    combined_echoes,
    opened,
    smoothed,
    without_dark_rim,
)
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_ECHOES = {"magnitude": "all", "magnitude-first": "first", "magnitude-last": "last"}
INPUTS = (*_ECHOES, "phase-quality")
GENERATORS = ("threshold", "bet", "deepbet", "hd-bet")
REFINEMENTS = ("erode", "dilate", "open", "close", "fill-holes", "gaussian", "largest", "signal-erode")

_LARGEST_HOLE = 20
"""`fill-holes:0` fills holes of up to one in so many voxels of the field of view."""


@dataclass(frozen=True)
class _Given:
    """What there is to make masks of."""

    magnitude: Tensor | None
    phase_quality: Tensor | None
    grid: Grid


Refine = Callable[[Tensor, _Given], Tensor]


@dataclass(frozen=True)
class _Mask:
    """One mask of a recipe: what it is seen on, by what it is made, and what is done to it."""

    source: str
    generator: str
    argument: tuple[str, ...]
    refinements: tuple[Refine, ...]


def combined(
    grid: Grid,
    homogeneous_magnitude: Tensor | None = None,
    phase_quality: Tensor | None = None,
    *,
    recipe: str = "phase-quality,threshold:otsu,erode:2,largest,dilate:2,close:2,fill-holes",
    finish: str = "",
) -> Tensor:
    """A mask by a recipe in words: several masks, each refined, joined by "and" and "or".

    A mask is INPUT,GENERATOR and any number of refinements, in the order in which they are done. Masks are joined by " & "
    (both) and " | " (either); & binds closer. `finish` holds refinements of the whole.

        INPUT        magnitude (root of the sum of squares), magnitude-first, magnitude-last, phase-quality
        GENERATOR    threshold:otsu, threshold:fixed:V (of the magnitude: of its 99th percentile), threshold:percentile:P,
                     bet[:F], deepbet[:T], hd-bet
        refinements  erode:N, dilate:N, open:N, close:N (layers of voxels), gaussian:S (mm), largest (connected part),
                     fill-holes (all), fill-holes:N (of up to N voxels, 0: of up to 1/20 of the field of view),
                     signal-erode[:SHARE[:LAYERS]] (what is darker than 0.8 of the median, up to 5 layers off the rim)

    Parameters
    ----------
    grid
        Grid of the images.
    homogeneous_magnitude
        At least 0, (X, Y, Z, E).
    phase_quality
        0 to 1, (X, Y, Z).
    recipe
        One mask, or several, in the words above.
    finish
        Refinements of the whole, such as fill-holes:0,erode:1; empty for none.

    Returns
    -------
    Mask; (X, Y, Z).

    Raises
    ------
    ValueError: a word is not understood, an input is missing, or the mask is empty.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076
    Smith 2002, doi:10.1002/hbm.10062
    Bilgic 2024, doi:10.1002/mrm.30006
    """
    either = [[_read(text) for text in part.split("&")] for part in recipe.split("|")]
    last = [_refinement(word) for word in _words(finish)] if finish.strip() else []
    given = _Given(homogeneous_magnitude, phase_quality, grid)
    whole: Tensor | None = None
    for both in either:
        part: Tensor | None = None
        for one in both:
            found = _made(one, given)
            part = found if part is None else part & found
        assert part is not None
        whole = part if whole is None else whole | part
    assert whole is not None
    for refine in last:
        whole = refine(whole, given)
    if not bool(whole.any()):
        raise ValueError(f"the mask of the recipe {recipe!r} is empty")
    return whole


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if "" in words:
        raise ValueError(f"a word is missing in {text.strip()!r}: words are separated by one comma")
    return words


def _read(text: str) -> _Mask:
    """One mask of a recipe; ValueError names the word that is wrong."""
    if not text.strip():
        raise ValueError("a mask is missing before or after & or | in the recipe")
    words = _words(text)
    if words[0] not in INPUTS:
        raise ValueError(f"{words[0]!r} is no input of a mask; choose one of {', '.join(INPUTS)}")
    if len(words) < 2:
        raise ValueError(f"after {words[0]!r} a generator is missing: one of {', '.join(GENERATORS)}")
    name, *argument = words[1].split(":")
    if name not in GENERATORS:
        raise ValueError(f"{words[1]!r} generates no mask; choose one of {', '.join(GENERATORS)}")
    if name != "threshold" and words[0] == "phase-quality":
        raise ValueError(f"{words[1]!r} sees the magnitude, not the phase quality")
    _check_generator(words[1], name, argument)
    return _Mask(words[0], name, tuple(argument), tuple(_refinement(word) for word in words[2:]))


def _check_generator(word: str, name: str, argument: list[str]) -> None:
    if name == "threshold":
        kind = argument[0] if argument else ""
        if (kind, len(argument)) not in (("otsu", 1), ("fixed", 2), ("percentile", 2)):
            raise ValueError(f"{word!r}: write threshold:otsu, threshold:fixed:V or threshold:percentile:P")
        if kind == "fixed":
            _number(word, argument[1], 0, 1)
        elif kind == "percentile" and not 0 < _number(word, argument[1], 0, 100) < 100:
            raise ValueError(f"{word!r}: the percentile lies between 0 and 100")
    elif name == "hd-bet" and argument:
        raise ValueError(f"{word!r}: hd-bet takes no number")
    elif len(argument) > 1 or (argument and not 0 < _number(word, argument[0], 0, 1) < 1):
        raise ValueError(f"{word!r}: {name} takes one number between 0 and 1, or none")


def _number(word: str, text: str, low: float, high: float, whole: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{word!r}: {text!r} is not {kind} from {low:g} to {high:g}")
    return value


def _refinement(word: str) -> Refine:
    """What a word does to a mask; ValueError names a word that is wrong."""
    name, *argument = word.split(":")
    if name not in REFINEMENTS:
        raise ValueError(f"{word!r} is no refinement; choose one of {', '.join(REFINEMENTS)}")
    most = {"largest": 0, "signal-erode": 2}.get(name, 1)
    least = 0 if name in ("largest", "signal-erode", "fill-holes") else 1
    if not least <= len(argument) <= most:
        raise ValueError(f"{word!r}: {name} takes {most if least == most else f'{least} to {most}'} numbers")
    if name == "largest":
        return lambda mask, given: largest_component(mask)
    if name == "gaussian":
        sigma = _number(word, argument[0], 0, 50)
        return lambda mask, given: smoothed(mask, given.grid, sigma)
    if name == "fill-holes":
        if not argument:
            return lambda mask, given: fill_holes(mask)
        size = int(_number(word, argument[0], 0, 1e9, whole=True))
        return lambda mask, given: fill_holes(mask, size or mask.numel() // _LARGEST_HOLE)
    if name == "signal-erode":
        share = _number(word, argument[0], 0, 2) if argument else 0.8
        depth = int(_number(word, argument[1], 0, 20, whole=True)) if len(argument) > 1 else 5
        return lambda mask, given: without_dark_rim(mask, _seen("magnitude", given), share, depth)
    steps = int(_number(word, argument[0], 0, 20, whole=True))
    layers: dict[str, Callable[[Tensor, int], Tensor]] = {"erode": erode, "dilate": dilate, "open": opened, "close": closed}
    return lambda mask, given: layers[name](mask, steps)


def _seen(source: str, given: _Given) -> Tensor:
    """The image that a mask is made of; ValueError where it is missing."""
    if source == "phase-quality":
        if given.phase_quality is None:
            raise ValueError("the recipe asks for phase-quality, and there is no phase")
        return given.phase_quality
    if given.magnitude is None:
        raise ValueError(f"the recipe asks for {source}, and there is no magnitude")
    return combined_echoes(given.magnitude, _ECHOES[source])


def _made(one: _Mask, given: _Given) -> Tensor:
    """A mask of a recipe."""
    image = _seen(one.source, given)
    number = float(one.argument[0]) if one.argument and one.generator != "threshold" else 0.5
    if one.generator == "threshold":
        mask = _over(image, one, COHERENT if one.source == "phase-quality" else math.inf)
    elif one.generator == "bet":
        mask = bet(image[..., None], given.grid, fractional_intensity=number)
    elif one.generator == "deepbet":
        mask = deepbet(image[..., None], given.grid, threshold=number)
    else:
        mask = hd_bet(image[..., None], given.grid)
    for refine in one.refinements:
        mask = refine(mask, given)
    return mask


def _over(image: Tensor, one: _Mask, highest: float) -> Tensor:
    if one.source != "phase-quality":
        top = sample_quantile(image, 0.99)
        if not top > 0:
            raise ValueError("the magnitude is zero nearly everywhere")
        image = (image / top).clamp_(max=1.0)
    kind, value = one.argument[0], float(one.argument[-1]) if len(one.argument) > 1 else 0.0
    if kind == "fixed":
        return above_threshold(image, value, 1.0)
    if kind == "percentile":
        return above_threshold(image, "percentile", 1.0, percentile=value)
    return above_threshold(image, "otsu", 1.0, highest)
