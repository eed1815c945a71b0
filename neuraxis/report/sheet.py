"""A sheet of pixels on black: greys, and over them writing and lines in two layers, of which the upper can be taken off.

The lower layer is the picture, the upper one (outlines, labels) a transparent picture of the same size.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from neuraxis.volume import Array

COLOURS = {
    "cord": "#ffb000", "gray_matter": "#56b4e9", "white_matter": "#ff8fc8", "canal": "#7fe0b0", "lesion": "#ff4fa3",
    "compression": "#ff4fa3",
}  # fmt: skip
"""Outline colours that colour-blind readers tell apart; they differ in brightness too, and in dashes."""

SPARE_COLOURS = ("#ffb000", "#56b4e9", "#7fe0b0", "#ff8fc8", "#f0e442", "#c9a2ff")
DASHED = frozenset({"canal", "white_matter"})

_HALO = "#000000"


class Sheet:
    """`width` x `height` pixels; x to the right, y downwards, (0, 0) the upper left corner of the first pixel."""

    def __init__(self, width: int, height: int, font: float) -> None:
        self.width, self.height, self.font = width, height, font
        self.grey: Array = np.zeros((height, width), np.uint8)
        self._layers: dict[bool, tuple[Any, Any]] = {}

    def axes(self, over: bool) -> Any:
        """The axes of the lower or upper layer, in pixels."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if over not in self._layers:
            figure = Figure((self.width / 72, self.height / 72), dpi=72)  # 72 dpi: a point is a pixel
            figure.patch.set_alpha(0)
            axes = figure.add_axes((0, 0, 1, 1))
            axes.axis("off")
            axes.set(xlim=(0, self.width), ylim=(self.height, 0), autoscale_on=False)
            self._layers[over] = FigureCanvasAgg(figure), axes
        return self._layers[over][1]

    def paste(self, x: int, y: int, grey: Array) -> None:
        self.grey[y : y + grey.shape[0], x : x + grey.shape[1]] = grey

    def text(self, x: float, y: float, text: str, colour: str = "white", *, over: bool = False, align: str = "center",
             size: float = 0.0, bold: bool = False, halo: bool = True) -> None:  # fmt: skip
        from matplotlib.patheffects import withStroke

        size = size or self.font
        self.axes(over).text(
            x, y, text, color=colour, fontsize=size, ha=align, va="center_baseline", family="DejaVu Sans",
            parse_math=False, weight="bold" if bold else "normal",
            path_effects=[withStroke(linewidth=size / 4, foreground=_HALO)] if halo else [],
        )  # fmt: skip

    def lines(self, paths: Iterable[Array], colour: str, *, over: bool = True, width: float = 1.5, dashed: bool = False,
              alpha: float = 1.0) -> None:  # fmt: skip
        """Open or closed lines, each (N, 2) in pixels, on a dark halo so that they show on bright tissue too."""
        from matplotlib.collections import LineCollection

        drawn = [np.asarray(path) for path in paths]
        if not drawn:
            return
        axes = self.axes(over)
        style: Any = (0, (3.5, 2)) if dashed else "solid"
        axes.add_collection(
            LineCollection(drawn, colors=_HALO, linewidths=width + 1.4, alpha=0.45 * alpha), autolim=False
        )
        axes.add_collection(
            LineCollection(drawn, colors=colour, linewidths=width, linestyles=[style], alpha=alpha), autolim=False
        )

    def point(
        self, x: float, y: float, colour: str, *, marker: str = "o", size: float = 7, hollow: bool = False
    ) -> None:
        """A mark in the upper layer; hollow where it should not be trusted."""
        self.axes(True).plot(
            [x], [y], marker, markersize=size, markerfacecolor="none" if hollow else colour,
            markeredgecolor=colour if hollow else _HALO, markeredgewidth=1.6 if hollow else 1.0,
        )  # fmt: skip

    def banner(self, text: str, top: int, height: int) -> None:
        """Black on white across the whole width: what nobody should overlook."""
        self.grey[top : top + height] = 235
        for number, line in enumerate(text.split("\n")):
            self.text(
                0.7 * self.font,
                top + (number + 0.85) * 1.4 * self.font,
                line,
                "black",
                align="left",
                bold=True,
                halo=False,
            )

    def png(self) -> bytes:
        """The lower layer with the greys."""
        rgb = np.repeat(self.grey[..., None], 3, -1).astype(float)
        if False in self._layers:
            drawn = self._drawn(False).astype(float)
            share = drawn[..., 3:] / 255
            rgb = rgb * (1 - share) + drawn[..., :3] * share
        return png(np.rint(rgb).astype(np.uint8))

    def png_and_over(self) -> tuple[bytes, bytes | None]:
        return self.png(), self.over_png()

    def over_png(self) -> bytes | None:
        """The upper layer, transparent where nothing is drawn; None when nothing is."""
        return png(self._drawn(True)) if True in self._layers else None

    def _drawn(self, over: bool) -> Array:
        canvas = self._layers[over][0]
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())


def png(pixels: Array) -> bytes:
    """Greys as they are; colours, opaque or not, as a palette of at most 256. No time, no software."""
    from PIL import Image

    pixels = np.ascontiguousarray(pixels)
    out = io.BytesIO()
    if pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all():
        Image.fromarray(pixels[..., 0]).save(out, "PNG", compress_level=6)
        return out.getvalue()
    rgba = pixels if pixels.shape[2] == 4 else np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for step in (16, 32, 48, 64, 85):  # fine steps where few colours mix, coarse ones where many do
        level = (np.arange(256) + step // 2) // step
        number = int(level[-1]) + 1
        place = number ** np.arange(3, -1, -1)
        code = np.zeros(rgba.shape[:2], np.int32)
        for channel in range(4):
            code += (level * place[channel]).astype(np.int32)[rgba[..., channel]]
        code[rgba[..., 3] < step - step // 2] = 0  # what cannot be seen has no colour
        used = np.flatnonzero(np.bincount(code.ravel(), minlength=number**4))
        if len(used) <= 256:
            break
    index = np.zeros(number**4, np.uint8)
    index[used] = np.arange(len(used))
    picture = Image.fromarray(index[code])
    colours = np.minimum(used[:, None] // place % number * step, 255)
    picture.putpalette(colours[:, :3].ravel().tolist())
    alpha = bytes(colours[:, 3].tolist())
    more = {} if set(alpha) == {255} else {"transparency": alpha}
    picture.save(out, "PNG", compress_level=6, **more)
    return out.getvalue()


def contours(values: Array, level: float = 0.5) -> list[Array]:
    """Lines of equal value of a (rows, columns) array, (N, 2) in pixels: the centre of the first pixel is (0.5, 0.5)."""
    from contourpy import contour_generator

    if min(values.shape) < 2 or not values.max() > level > values.min():
        return []
    return [np.asarray(line) + 0.5 for line in contour_generator(z=values).lines(level)]
