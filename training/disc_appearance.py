"""What the tissues of a synthetic sagittal picture look like, and what a scanner makes of them."""

from __future__ import annotations

import math
from typing import Any

import appearance
import torch
from appearance import over

SHARP = 0.7  # mm, softness of the drawn edges
LEVEL = (20.0, 12.0)  # mm, of the level that the picture is divided by: as the app does


def paint(source: Any, shapes: dict[str, torch.Tensor]) -> torch.Tensor:
    """The object before it is scanned."""
    draw, front, rows = source.along, source.front, source.rows
    n, u = len(shapes["body"]), draw.uniform
    value = appearance.intensities(draw, n, {})
    marrow, cortical = value["marrow"], value["cortical"]
    apart = torch.where(draw.chance(n, 0.5), 1.0, -1.0) * u(n, 0.08, 0.3)
    alike = ((value["disc"] - marrow).abs() < 0.08) & draw.chance(n, 0.8)
    disc = torch.where(alike, (marrow + apart).clamp(0, 1), value["disc"])

    def edge(distance: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(distance / SHARP)

    def strip(distance: torch.Tensor) -> torch.Tensor:
        return (4 * distance * (1 - distance)).clamp(0, 1)

    image = surroundings(source, n, value)
    head, there = shapes["head"], (shapes["head"] / 3).clamp(0, 1)
    widening = (head * u(n, 0.1, 0.7)).clamp(0, 25)
    lean = head * u(n, 0, 0.7)
    clivus = edge(front - 8 + u(n, -3, 3) - lean) * torch.sigmoid((8 + lean + u(n, 6, 16) - front) / 1.5)
    image = over(image, there * clivus * draw.chance(n, 0.8), marrow * u(n, 0.7, 1.3))
    canal = torch.maximum(shapes["canal"], there * edge(10 + 0.5 * widening - front) * edge(front + 14 + widening))
    stem = edge(4 + u(n, 0, 0.9) * widening - front) * edge(front + 5 + 0.3 * widening)
    cord = torch.maximum(shapes["cord"], there * stem)
    brain = there * edge(-front - u(n, 8, 14) - 0.2 * widening) * torch.sigmoid((head - u(n, 3, 25)) / 2)
    # bones, each vertebra a little different
    texture = 1 + u(n, 0, 0.15) * source.smooth(n, rows // 6, 14)
    own = one_each(draw, n, shapes["level"], torch.exp(0.08 * draw.normal(n, 1, 26)[:, 0] * u(n, 0, 2)[:, 0]))
    spinous = shapes["spinous"]
    image = over(image, spinous * u(n, 0.5, 1), marrow * u(n, 0.6, 1.2) * (1 + 0.1 * source.smooth(n, rows // 8, 12)))
    image = over(image, strip(spinous) * u(n, 0, 0.9), cortical)
    # discs: bright or dark inside, some of them dried out
    dry = (torch.rand(n, 26, generator=draw.generator) < u(n, 0, 0.5)[:, 0]) * 1.2
    change = torch.exp(-torch.rand(n, 26, generator=draw.generator) * dry + 0.15 * draw.normal(n, 1, 26)[:, 0])
    outer = torch.where(draw.chance(n, 0.5), disc * u(n, 0.2, 1), disc)
    inner = outer + (disc - outer) * (1.3 * shapes["inner"]).clamp(0, 1)
    inner = inner * one_each(draw, n, shapes["number"], change) * (1 + 0.1 * source.smooth(n, rows // 5, 14))
    image = over(image, shapes["disc"], inner)
    image = over(image, shapes["body"], marrow * own * texture)
    plates = torch.where(draw.chance(n, 0.8), cortical, u(n, 0, 1))
    image = over(image, strip(shapes["body"]) * u(n, 0, 1), plates)
    # the base of the dens, often seen as a line: not a disc
    base = (shapes["dens_base"] - 4 * draw.normal(n)) / u(n, 0.4, 1.8)
    line = torch.exp(-0.5 * base.square()) * (shapes["level"] == 2) * (shapes["body"] > 0.3)
    line = line * draw.chance(n, 0.7) * u(n, 0, 0.9)
    image = over(image, line, torch.where(draw.chance(n, 0.6), cortical, u(n, 0, 1)))
    height = torch.arange(rows).float()[:, None]
    for _ in range(3):  # veins, haemangiomas, nodes
        away = ((height - u(n, 0, 1) * rows) / u(n, 1, 4)).square() + ((front - u(n, 4, 30)) / u(n, 1, 6)).square()
        image = over(image, torch.exp(-0.5 * away) * draw.chance(n, 0.4) * u(n, 0, 0.8), u(n, 0, 1))
    image = over(image, brain, value["white"] * u(n, 0.8, 1.3) * (1 + 0.15 * source.smooth(n, rows // 8, 12)))
    flow = 1 - u(n, 0, 0.6) * torch.sigmoid(2 * source.smooth(n, rows // 12, 10)) * draw.chance(n, 0.5)
    image = over(image, canal, value["csf"] * flow)
    image = over(image, strip(canal) * draw.chance(n, 0.8) * u(n, 0, 1), cortical * u(n, 0.5, 1.5))
    image = over(image, cord, value["white"] * (1 + 0.05 * source.smooth(n, rows // 10, 8)))
    return image.clamp_min(0)


def one_each(draw: Any, n: int, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """values (n, 26) at the numbers of a map."""
    return values.gather(1, ids.clamp(0, 25).reshape(n, -1)).reshape(ids.shape)


def surroundings(source: Any, n: int, value: dict[str, torch.Tensor]) -> torch.Tensor:
    """Patchwork, muscle parted by fat, air in front and behind; all longer along the cord than across it."""
    draw, front, rows, u = source.along, source.front, source.rows, source.along.uniform
    most = torch.full((n, rows, len(front)), -9.0)
    patchwork, bright = torch.zeros_like(most), u(n, 0.3, 1)
    cells = (rows // 40 + 2, rows // 20, rows // 10)[int(draw.integers(1, 3))]
    for k in range(6):
        level = source.smooth(n, cells + k % 3, 5 + k) + 0.4 * draw.normal(n)
        patchwork = torch.where(level > most, bright * u(n, 0, 1), patchwork)
        most = torch.maximum(level, most)
    seams = (u(n, -0.1, 0.35) - source.smooth(n, rows // 25 + 2, 8).abs()).mul(4).clamp(0, 1) * u(n, 0, 1)
    tissue = over(value["muscle"], seams, value["fat"])
    tissue = over(tissue, torch.sigmoid(4 * source.smooth(n, rows // 30 + 2, 6) - 2), value["fat"])
    image = over(tissue, torch.where(draw.chance(n, 0.3), 1.0, u(n, 0, 0.6)), patchwork)
    start = u(n, 24, 60) + 2 * source.wave(n, rows // 25 + 2)
    image = image * (1 - (front - start).clamp(0, 1) * draw.chance(n, 0.4) * (front < start + u(n, 4, 30)))
    skin = u(n, 18, 60) + 2 * source.wave(n, rows // 40 + 2)
    return image * (1 - (-front - skin).clamp(0, 1) * draw.chance(n, 0.3))


def acquire(source: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Coil, resolution, noise and field of view; the level divided out, standardised, zero where nothing is seen."""
    draw, front, n, rows = source.along, source.front, len(image), source.rows
    u, axis = draw.uniform, torch.linspace(-1, 1, source.rows)[:, None]
    image = torch.where(draw.chance(n, 0.06), image.amax((1, 2), keepdim=True) - image, image)
    image = (image + 1e-4) ** torch.exp(0.3 * draw.normal(n))
    slope = 0.7 * draw.normal(n) * front / len(front) + 0.5 * draw.normal(n) * axis
    image = image * torch.exp(slope + 0.25 * source.smooth(n, 4, 3) * u(n, 0, 1))
    along = 0.5 + 2.5 * u(n, 0, 1) ** 2  # mm
    across = torch.where(draw.chance(n, 0.7), along.clamp_max(1.2) * u(n, 0.7, 1.1), along)
    sharp, finer = draw.chance(n, 0.3), torch.ones(n, 1, 1)
    rows_in, rows_out = appearance.sampling(draw, n, along, sharp, finer)
    columns_in, columns_out = appearance.sampling(source.across, n, across, sharp, finer)
    coarse = rows_in @ image @ columns_in.transpose(1, 2)
    noise = torch.exp(u(n, math.log(0.004), math.log(0.25))) * image.mean((1, 2), keepdim=True)
    coarse = (coarse + noise * draw.normal(n, *coarse.shape[1:])).abs()
    image = rows_out @ coarse @ columns_out.transpose(1, 2)
    length = torch.where(draw.chance(n, 0.6), u(n, 50, rows), float(rows))
    height = torch.arange(rows).float()[:, None] - 0.25 * draw.normal(n) * (front - 9) - u(n, 0, 1) * (rows - length)
    end = torch.where(draw.chance(n, 0.3), u(n, 20, 40), 99.0)
    start = torch.where(draw.chance(n, 0.35), u(n, 8, 30), 99.0)
    seen = ((height >= 0) & (height <= length) & (front <= end) & (front >= -start)).float()
    return standard(image, seen) * torch.exp(0.2 * draw.normal(n)), seen


def standard(image: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Each point against the level around, in standard deviations; zero where nothing is seen."""
    down, right = (
        torch.exp(-0.5 * ((torch.arange(size)[:, None] - torch.arange(size)) / sigma).square())
        for size, sigma in zip(image.shape[1:], LEVEL, strict=True)
    )
    level = (down @ (image * seen) @ right) / (down @ seen @ right).clamp_min(1e-3)
    level = torch.maximum(level, 1e-3 * level.amax((1, 2), keepdim=True)).clamp_min(1e-9)
    values = (image / level - 1).clamp(-1.5, 2.5) * seen
    count = seen.sum((1, 2), keepdim=True).clamp_min(1)
    values = values - values.sum((1, 2), keepdim=True) / count
    deviation = ((values * seen).square().sum((1, 2), keepdim=True) / count).sqrt().clamp_min(1e-3)
    return values / deviation * seen
