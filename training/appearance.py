"""What the tissues of a synthetic slice look like: random intensities, and what a scanner makes of them."""

from __future__ import annotations

import math

import torch
from draws import Draws

TISSUES = ("csf", "white", "gray", "fat", "muscle", "marrow", "cortical", "disc", "vessel", "dura", "root")
# Ranges in units of the brightest tissue; "gray" is a factor on white matter. They are wide on purpose: text-book
# order of brightness, no fit to any image.
FAMILIES: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {
    "any": (0.24, ((0, 1), (0, 1), (0.6, 1.5), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1))),
    "T2w": (
        0.2,
        ((0.65, 1), (0.2, 0.55), (0.97, 1.15), (0.3, 1), (0.05, 0.4), (0.15, 0.7), (0, 0.2), (0, 0.7), (0, 1))
        + ((0, 0.3), (0.2, 0.7)),
    ),
    "T1w": (
        0.15,
        ((0.03, 0.35), (0.4, 0.75), (0.85, 1.02), (0.6, 1), (0.25, 0.55), (0.3, 0.9), (0, 0.25), (0.2, 0.6), (0, 1))
        + ((0, 0.4), (0.2, 0.6)),
    ),
    "T2*w": (
        0.2,
        ((0.5, 1), (0.3, 0.65), (1.03, 1.35), (0.2, 0.8), (0.15, 0.6), (0, 0.4), (0, 0.2), (0.1, 0.7), (0, 1))
        + ((0, 0.4), (0.2, 0.8)),
    ),
    "MT": (
        0.12,
        ((0.3, 1), (0.25, 0.6), (1.0, 1.3), (0.2, 1), (0.1, 0.5), (0.05, 0.6), (0, 0.2), (0.1, 0.7), (0, 1))
        + ((0, 0.4), (0.2, 0.8)),
    ),
    "DWI": (
        0.09,
        ((0, 0.35), (0.55, 1), (0.8, 1.15), (0, 0.4), (0, 0.45), (0, 0.4), (0, 0.2), (0, 0.35), (0, 0.4))
        + ((0, 0.2), (0.1, 0.7)),
    ),
}


def intensities(draw: Draws, n: int, often: dict[str, float]) -> dict[str, torch.Tensor]:
    """One value per tissue and slice; `often`: how often a family of contrasts is drawn, where not as usual."""
    parts = torch.tensor([often.get(name, part) for name, (part, _) in FAMILIES.items()])
    ranges = torch.tensor([rows for _, rows in FAMILIES.values()], dtype=torch.float32)
    family = torch.multinomial(parts, n, replacement=True, generator=draw.generator)
    low, high = ranges[family].unbind(-1)
    value = low + (high - low) * torch.rand(n, len(TISSUES), generator=draw.generator)
    out = {name: value[:, k, None, None] for k, name in enumerate(TISSUES)}
    # a cord that cannot be told from the fluid teaches little: keep some difference in most slices
    gap = out["csf"] - out["white"]
    apart = torch.where(gap >= 0, 1.0, -1.0) * draw.uniform(n, 0.08, 0.25)
    out["csf"] = torch.where((gap.abs() < 0.12) & draw.chance(n, 0.85), (out["white"] + apart).clamp(0, 1), out["csf"])
    # some T2*w and MT images show fluid and white matter almost alike, and the grey matter best
    alike = draw.chance(n, 0.08)
    out["csf"] = torch.where(alike, out["white"] * draw.uniform(n, 0.95, 1.25), out["csf"])
    out["gray"] = out["white"] * torch.where(alike, draw.uniform(n, 1.05, 1.4), out["gray"])
    return out


def over(image: torch.Tensor, cover: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return image + cover * (value - image)


def band(step: float, distance: torch.Tensor, low, high) -> torch.Tensor:
    """Coverage of the pixels whose distance lies between low and high, with soft edges."""
    return ((distance - low) / step + 0.5).clamp(0, 1) * ((high - distance) / step + 0.5).clamp(0, 1)


def disc(step: float, shapes: dict, y, x, ry, rx) -> torch.Tensor:
    radius = (((shapes["ahead"] - y) / ry) ** 2 + ((shapes["left"] - x) / rx) ** 2).sqrt()
    return ((1 - radius) * torch.minimum(ry, rx) / step + 0.5).clamp(0, 1)


def surroundings(draw: Draws, n: int, shapes: dict, value: dict) -> torch.Tensor:
    """All outside the canal: patchwork, muscles, fat, bone, ligaments, epidural space, vessels, air."""
    # patchwork of random shapes and intensities (alone in a third of the slices, so that shape cannot be relied on)
    cells = (5, 8, 12)[int(torch.randint(3, (1,), generator=draw.generator))]
    most, bright = torch.full((n, draw.size, draw.size), -9.0), draw.uniform(n, 0.3, 1)
    patchwork = torch.zeros_like(most)
    for k in range(6):
        level = draw.smooth(n, cells + k % 3, cells - k % 2) + draw.normal(n) * 0.4
        patchwork = torch.where(level > most, bright * draw.uniform(n, 0, 1), patchwork)
        most = torch.maximum(level, most)
    # muscles parted by fat
    layers = draw.smooth(n, 9, 7).abs()
    seams = (draw.uniform(n, -0.1, 0.35) - layers).mul(4).clamp(0, 1) * draw.uniform(n, 0, 1)
    body = over(value["muscle"] * torch.ones_like(seams), seams, value["fat"])
    body = over(body, torch.sigmoid(3 * draw.smooth(n, 5) - 3), value["fat"])
    # vertebral body or disc in front, then the bones of the template
    ring = shapes["canal_distance"]
    width = draw.uniform(n, 7, 13)
    tall = draw.uniform(n, 5, 9)
    front = disc(draw.step, shapes, draw.uniform(n, 5, 9) + tall, draw.normal(n) * 0.5, tall, width)
    here = draw.chance(n, 0.6).float()
    inside = torch.where(draw.chance(n, 0.45), value["disc"], value["marrow"])
    body = over(body, front * here, inside * (1 + 0.15 * draw.smooth(n, 8)))
    spine = shapes["spine_distance"] + draw.uniform(n, -1, 1)
    bones = draw.uniform(n, 0.3, 1)
    body = over(body, ((0.5 - spine / draw.step).clamp(0, 1)) * bones, value["marrow"] * (1 + 0.15 * draw.smooth(n, 8)))
    body = over(body, band(draw.step, spine, -draw.uniform(n, 0.2, 1), draw.uniform(n, 0, 0.8)) * bones, value["cortical"])
    # laminae and ligaments around the canal, broken here and there
    gap = draw.uniform(n, 0, 3) * torch.sigmoid(1.5 * draw.smooth(n, 6))
    thick = draw.uniform(n, 0.5, 5) * torch.sigmoid(draw.smooth(n, 6))
    wall = torch.where(draw.chance(n, 0.5), value["cortical"], value["marrow"])
    body = over(body, band(draw.step, ring, gap, gap + thick) * draw.uniform(n, 0, 1), wall)
    epidural = torch.where(draw.smooth(n, 6) > draw.normal(n), value["fat"], value["vessel"])
    image = torch.where(draw.chance(n, 0.33), patchwork, over(body, draw.uniform(n, 0, 0.5), patchwork))
    image = over(image, band(draw.step, ring, -1, gap) * torch.where(draw.chance(n, 0.75), 1.0, 0.0), epidural)
    for _ in range(4):  # vessels, nerve roots in the foramina, joints
        size = draw.uniform(n, 0.6, 3)
        y, x = draw.normal(n) * 9, draw.normal(n) * 13
        spot = disc(draw.step, shapes, y, x, size, size * draw.uniform(n, 0.6, 1.6)) * draw.chance(n, 0.6)
        image = over(image, spot, draw.uniform(n, 0, 1))
    # air behind the skin or in the throat
    edge = draw.uniform(n, 14, 40) + 2 * draw.smooth(n, 5)
    behind = torch.where(draw.chance(n, 0.7), -1.0, 1.0) * shapes["ahead"]
    image = over(image, ((behind - edge) / draw.step).clamp(0, 1) * draw.chance(n, 0.3), 0.03 * draw.uniform(n, 0, 1))
    return image * (1 + draw.uniform(n, 0, 0.15) * draw.smooth(n, 24))


def paint(draw: Draws, shapes: dict, often: dict[str, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """The object before it is scanned, and how far grey and white matter are apart."""
    n = len(shapes["cord"])
    value = intensities(draw, n, often)
    image = surroundings(draw, n, shapes, value)
    # fluid with flow voids, septa and roots
    flow = torch.where(draw.chance(n, 0.35), draw.uniform(n, 0, 0.8), draw.uniform(n, 0, 0.15))
    fluid = value["csf"] * (1 - flow * torch.sigmoid(2 * draw.smooth(n, 11)))
    for side in (-1, 1):
        for back in (-1, 1):
            y, x = shapes["cord_ahead"], shapes["cord_left"]
            place_y, place_x = back * draw.uniform(n, 1, 5.5), side * draw.uniform(n, 1.5, 8)
            slope = draw.normal(n) * 0.5
            u, v = (y - place_y) + slope * (x - place_x), (x - place_x) - slope * (y - place_y)
            long, wide = draw.uniform(n, 0.4, 2.5), draw.uniform(n, 0.25, 0.7)
            root = torch.exp(-0.5 * ((u / wide) ** 2 + (v / long) ** 2)) * draw.uniform(n, 0, 0.9)
            fluid = over(fluid, root * draw.chance(n, 0.6), value["root"])
    tail = (draw.smooth(n, 26) > 0.7) * torch.sigmoid(draw.smooth(n, 5) * 2)  # many roots, as below the conus
    empty = (shapes["cord"].amax((1, 2), keepdim=True) < 0.5) | draw.chance(n, 0.08)
    fluid = over(fluid, tail * empty * draw.uniform(n, 0.3, 1), value["root"])
    image = over(image, shapes["canal"], fluid)
    dura = band(draw.step, shapes["canal_distance"], -draw.uniform(n, 0, 0.5), draw.uniform(n, 0, 0.6))
    image = over(image, dura * torch.where(draw.chance(n, 0.5), draw.uniform(n, 0, 0.9), 0.0), value["dura"])
    # cord
    columns = 1 + draw.normal(n) * 0.04
    cord = value["white"] * (1 + draw.uniform(n, 0, 0.05) * draw.smooth(n, 22))
    cord = over(cord, shapes["dorsal"], value["white"] * columns)
    cord = over(cord, shapes["gray_matter"], value["gray"])
    rim = torch.exp(-0.5 * ((shapes["cord_ahead"] + 0.4) ** 2 + shapes["cord_left"] ** 2) / 0.3**2)
    cord = over(cord, rim * torch.where(draw.chance(n, 0.2), draw.uniform(n, 0, 0.8), 0.0), value["csf"])
    for _ in range(2):  # lesions, bright or dark
        size = draw.uniform(n, 0.5, 2.5)
        y, x = shapes["cord_ahead"] - draw.normal(n) * 2, shapes["cord_left"] - draw.normal(n) * 3
        lesion = torch.exp(-(((y * y + x * x) / (2 * size * size)) ** 2))
        cord = cord * (1 + lesion * draw.chance(n, 0.12) * draw.uniform(n, -0.4, 0.7))
    image = over(image, shapes["cord"], cord)
    pia = 4 * shapes["cord"] * (1 - shapes["cord"]) * torch.where(draw.chance(n, 0.15), draw.uniform(n, 0, 0.5), 0.0)
    image = over(image, pia, value["dura"])
    return image.clamp_min(0), (value["gray"] - value["white"]).abs()


def acquire(draw: Draws, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coil, artefacts, resolution, noise, resampling to the step, standardising; and the resolution (mm), noise SD."""
    n, size = len(image), draw.size
    image = image.clamp_min(0)
    top = image.amax((1, 2), keepdim=True).clamp_min(0.05)
    image = torch.where(draw.chance(n, 0.04), top - image, image) / top
    image = image ** torch.exp(draw.normal(n) * 0.2)
    # coil sensitivity: a slope, mostly brighter behind, and slow waves; signal lost near metal or air
    axis = torch.linspace(-1, 1, size)
    slope = draw.normal(n) * 0.35 * axis[:, None] + draw.normal(n) * 0.2 * axis[None]
    image = image * torch.exp(slope + 0.2 * draw.uniform(n, 0, 1) * draw.smooth(n, 4))
    hole = torch.sigmoid(4 * (draw.smooth(n, 5) - 1.2))
    image = image * (1 - hole * torch.where(draw.chance(n, 0.12), draw.uniform(n, 0.2, 0.9), 0.0))
    # ghost of the moving body along A-P or R-L
    shift = (torch.arange(size)[None] + draw.integers(n, size)[:, :, 0]) % size
    ghost = torch.gather(image, 1, shift[:, :, None].expand_as(image))
    ghost = torch.where(draw.chance(n, 0.5), ghost, torch.gather(image, 2, shift[:, None].expand_as(image)))
    image = image + ghost * torch.where(draw.chance(n, 0.25), draw.uniform(n, 0, 0.15), 0.0)

    resolution = 0.3 + 0.95 * draw.uniform(n, 0, 1) ** 1.5
    ratio = torch.where(draw.chance(n, 0.3), torch.exp(draw.normal(n) * 0.25), 1.0)
    sharp = draw.chance(n, 0.45)
    finer = torch.where(draw.chance(n, 0.35), 2.0, 1.0)  # the scanner writes smaller pixels than it measures
    rows_in, rows_out = sampling(draw, n, resolution * ratio, sharp, finer)
    columns_in, columns_out = sampling(draw, n, resolution / ratio, sharp, finer)
    coarse = rows_in @ image @ columns_in.transpose(1, 2)
    sd = torch.exp(draw.uniform(n, math.log(0.004), math.log(0.08)))
    grid = coarse.shape[1]
    real, imaginary = (draw.normal(n, grid, grid) for _ in range(2))
    blur = torch.where(finer > 1, 0.5, 0.0)  # noise of interpolated images is smooth
    real, imaginary = (a * (1 - blur) + blur * (a.roll(1, 1) + a.roll(1, 2)) for a in (real, imaginary))
    coarse = ((coarse + sd * real).square() + (sd * imaginary).square()).sqrt()
    image = rows_out @ coarse @ columns_out.transpose(1, 2)
    # field of view that ends inside the crop: on one side, or all around in images cut out of larger ones
    y, x = axis[:, None].expand(size, size), axis[None].expand(size, size)
    sides = torch.where(draw.chance(n, 0.12), 0.25, 0.0) + torch.where(draw.chance(n, 0.1), 0.85, 0.0)
    for along in (y, -y, x, -x):
        ends = torch.where(draw.uniform(n, 0, 1) < sides, draw.uniform(n, 0.35, 1), 2.0)
        image = torch.where(along > ends, 0.0, image)
    mean, std = image.mean((1, 2), keepdim=True), image.std((1, 2), keepdim=True).clamp_min(1e-3)
    image = (image - mean) / std * torch.exp(draw.normal(n) * 0.2) + draw.normal(n) * 0.3
    return image, resolution, sd


def sampling(draw: Draws, n: int, resolution, sharp, finer) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices from the fine object to the measured pixels (point spread), and linear interpolation back."""
    size = draw.size
    pixel = (resolution / finer / draw.step).clamp_min(0.62)
    width = (resolution / draw.step).clamp_min(0.62)
    most = math.ceil(size / 0.62) + 2
    fine = torch.arange(size).float()[None, None]
    centres = (torch.arange(most)[None, :, None] - draw.uniform(n, 0, 1)) * pixel
    offset = (fine - centres) / width
    gauss = torch.exp(-0.5 * (offset * 2.355).square())
    ringing = torch.sinc(offset) * torch.cos(offset.clamp(-3, 3) * math.pi / 6).square()
    spread = torch.where(sharp, ringing, gauss)
    spread = torch.maximum(spread, (1 - (fine - centres).abs()).clamp_min(0) * (width < 1))
    inside = (centres > -1) & (centres < size)
    total = spread.sum(2, keepdim=True)
    into = torch.where(inside & (total.abs() > 1e-2), spread / torch.where(total.abs() > 1e-2, total, 1.0), 0.0)
    back = ((1 - (fine - centres).abs() / pixel).clamp_min(0) * inside).transpose(1, 2)
    return into, back / back.sum(2, keepdim=True).clamp_min(1e-6)
