"""Synthetic images of the brain, any contrast, with their labels.

Shapes come from twelve label maps of heads and the deep nuclei of CIT168, intensities from chance (after SynthSeg,
doi:10.1016/j.media.2023.102789): no measured image is used. Patches are made as (X, Y, Z), RAS+, and given out as nnU-Net takes
them, (Z, Y, X). Left and right are one class.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from brain_atlas import BRIGHTNESS, labels_of, t1w
from scipy import ndimage

from neuraxis.brain.labels import t1w_from_template
from neuraxis.brain.regions import FLUIDS, LEFT_OF, NUCLEI, STRUCTURES
from neuraxis.brain.template_registration import t1w_to_template
from neuraxis.volume import Volume

STEP = 1.5  # mm
PATCH = (64, 80, 64)
HEADS = tuple(range(1, 13))
"""The others are kept for `benchmarks/brain_regions.py`."""

CLASSES = tuple(one for one in STRUCTURES if one.name not in ("dentate nucleus", "globus pallidus", "substantia nigra"))
"""Class n + 1 of the network is `CLASSES[n]`, left and right; 0 is the background."""
NUMBER = {one.name: n + 1 for n, one in enumerate(CLASSES)}
SMALL = [NUMBER[one.name] for one in NUCLEI if one.name in NUMBER]
"""Deep nuclei."""

T1W = {one.name: value for one in STRUCTURES for number, value in BRIGHTNESS.items() if number in (one.left, one.right)} | {
    "globus pallidus externus": 76, "globus pallidus internus": 79, "red nucleus": 77, "substantia nigra pars compacta": 74,
    "substantia nigra pars reticulata": 76, "subthalamic nucleus": 76,
}  # fmt: skip
GRE = {
    "cerebral white matter": 66, "cerebral cortex": 80, "lateral ventricle": 95, "inferior lateral ventricle": 95, "third ventricle": 95,
    "fourth ventricle": 95, "cerebrospinal fluid": 92, "cerebellar white matter": 66, "cerebellar cortex": 78, "thalamus": 72,
    "caudate": 68, "putamen": 64, "globus pallidus externus": 44, "globus pallidus internus": 47, "brain stem": 67, "hippocampus": 80,
    "amygdala": 80, "nucleus accumbens": 72, "ventral diencephalon": 66, "red nucleus": 48, "substantia nigra pars compacta": 50,
    "substantia nigra pars reticulata": 42, "subthalamic nucleus": 50,
}  # fmt: skip
"""Text-book order of brightness, no fit to any image; drawn wide around these."""

ALIKE = (
    FLUIDS,
    ("cerebral white matter", "cerebellar white matter", "brain stem"),
    ("cerebral cortex", "cerebellar cortex", "hippocampus", "amygdala"),
    ("caudate", "nucleus accumbens", "putamen"),
)


def head(path: Path) -> np.ndarray:
    """Classes of one head at 1 mm, RAS+; its small nuclei are those of the atlas, carried over by registration."""
    labels = labels_of(path)
    image = t1w(labels)
    mask = Volume(labels.data > 0, labels.grid)
    warp, _, fit = t1w_to_template(image, mask, iterations=(100, 50, 5))
    carried = np.asarray(t1w_from_template(warp, mask, fit)[0].data)
    ours = np.zeros(labels.data.shape, np.uint8)
    for one in CLASSES:
        ours[np.isin(labels.data, (one.left, one.right))] = NUMBER[one.name]
    left = np.array([LEFT_OF.get(n, n) for n in range(256)])[carried]
    pallidum = np.isin(left, (201, 203))
    nearest = ndimage.distance_transform_edt(~pallidum, return_distances=False, return_indices=True)
    part = left[tuple(nearest)]
    for number, name in ((201, "globus pallidus externus"), (203, "globus pallidus internus")):
        ours[np.isin(labels.data, (13, 52)) & (part == number)] = NUMBER[name]
    free = np.isin(labels.data, (28, 60, 16, 2, 41, 10, 49))
    for one in CLASSES:
        if one.left in (205, 207, 209, 211):
            ours[free & (left == one.left)] = NUMBER[one.name]
    return ours


def heads(folder: Path, kept: Path, chosen: tuple[int, ...] = HEADS) -> list[np.ndarray]:
    """The heads' classes; made once, then read from `kept`."""
    kept.mkdir(parents=True, exist_ok=True)
    paths = {n: folder / "synthseg-labels" / f"training_seg_{n:02d}.nii.gz" for n in chosen}
    missing = [n for n in chosen if not (kept / f"{n:02d}.npy").exists()]
    with ProcessPoolExecutor(2) as pool:
        for n, one in zip(missing, pool.map(head, [paths[n] for n in missing]), strict=True):
            np.save(kept / f"{n:02d}.npy", one)
            print(f"head {n}", flush=True)
    return [np.load(kept / f"{n:02d}.npy") for n in chosen]


class BrainHeads:
    """Makes patches: a part of a head, turned and deformed, in some contrast, as a scanner would show it."""

    def __init__(self, maps: list[np.ndarray], seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)
        self.maps = [torch.from_numpy(one) for one in maps]
        self.brain = [torch.nonzero(one) for one in self.maps]
        self.deep = [torch.nonzero(torch.isin(one, torch.tensor(SMALL, dtype=torch.uint8))) for one in self.maps]
        axes = [(torch.arange(n) - (n - 1) / 2) * STEP for n in PATCH]
        self.places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)  # mm from the middle

    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, 1, Z, Y, X) and classes (n, Z, Y, X)."""
        images, labels = zip(*(self.one() for _ in range(n)), strict=True)
        return torch.stack(images).permute(0, 3, 2, 1)[:, None].contiguous(), torch.stack(labels).permute(0, 3, 2, 1).contiguous()

    def one(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self.below(len(self.maps))
        own, places = self.maps[chosen], self.deep[chosen] if self.chance(0.8) else self.brain[chosen]
        middle = places[self.below(len(places))].float() + 20 * (self.uniform(3) - 0.5)
        there = self.places @ self.matrix().T
        for knots, most in ((5, 4.0), (9, 2.0), (16, 0.7)):
            there = there + most * float(self.uniform()) * self.smooth(knots, 3).movedim(0, -1)
        there = there + middle
        labels = at(own, there, "nearest").long()
        value, spread = self.contrast()
        fine = value[own.long()]
        image = at(fine, there, "bilinear")
        image = image + spread[labels] * self.normal(*PATCH)
        return self.seen(image, labels), labels

    def matrix(self) -> torch.Tensor:
        """Turns of 12 degrees, sizes of 12 per cent, shears of 5 (standard deviations); a mirror in half of them."""
        turn = torch.matrix_exp(skew(self.normal(3) * np.deg2rad(12)))
        stretch = torch.eye(3) + 0.05 * self.normal(3, 3)
        size = torch.exp(0.12 * self.normal(1) + 0.05 * self.normal(3))
        mirror = torch.tensor([-1.0 if self.chance(0.5) else 1.0, 1, 1])
        return turn @ stretch @ torch.diag(size * mirror)

    def contrast(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each class, the background first."""
        kind = float(self.uniform())
        n = len(CLASSES) + 1
        value = self.uniform(n)
        if kind > 0.25:
            table = T1W if kind < 0.62 else GRE
            known = torch.tensor([0.0, *(table[one.name] / 100 for one in CLASSES)])
            scale = 0.4 + 1.2 * float(self.uniform())  # how far the classes lie apart
            value = (known - known[1:].mean()) * scale + known[1:].mean() + 0.04 * self.normal(n)
        else:  # alike structures are alike in most contrasts
            for first, *others in ALIKE:
                for name in others:
                    value[NUMBER[name]] = value[NUMBER[first]] + 0.05 * self.normal(1)[0]
        value = value.clamp(0.02, 1.2)
        value[0] = float(self.uniform()) * float(self.uniform())
        return value, 0.06 * self.uniform(n) * float(self.uniform())

    def seen(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Receive field, lost signal, resolution, noise, mask; standardised within the mask."""
        image = image * torch.exp(0.35 * float(self.uniform()) * self.smooth(4)[0] + 0.1 * self.smooth(3)[0])
        if self.chance(0.3):
            image = image * (1 - 0.9 * torch.sigmoid(6 * (self.smooth(5)[0] - 2.0)))
        wide = 0.25 + 0.5 * self.uniform(3)
        if self.chance(0.35):
            wide[self.below(3)] += 1.0 * float(self.uniform())  # thick slices
        image = blurred(image, wide)
        sd = float(torch.exp(np.log(0.004) + self.uniform() * (np.log(0.09) - np.log(0.004))))
        image = ((image + sd * self.normal(*PATCH)) ** 2 + (sd * self.normal(*PATCH)) ** 2).sqrt()
        # a mask of the brain that is a little too large or too small, with or without the fluid around
        fluid = NUMBER["cerebrospinal fluid"]
        brain = (labels > 0) & (labels != fluid) if self.chance(0.5) else labels > 0
        level = 0.5 + 0.25 * (float(self.uniform()) - 0.5) + 0.15 * self.smooth(9)[0]
        mask = blurred(brain.float(), torch.full((3,), 1.5)) > level
        inside = image[mask] if mask.sum() > 100 else image.flatten()
        image = (image - inside.mean()) / inside.std().clamp_min(1e-3)
        image = image * torch.exp(0.15 * self.normal(1)) + 0.2 * self.normal(1)
        return torch.where(mask, image, 0.0)

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*(shape or (1,)), generator=self.generator)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def chance(self, part: float) -> bool:
        return bool(self.uniform() < part)

    def below(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self.generator))

    def smooth(self, knots: int, channels: int = 1) -> torch.Tensor:
        """Smooth noise, (channels, X, Y, Z)."""
        coarse = self.normal(1, channels, knots, knots, knots)
        return F.interpolate(coarse, PATCH, mode="trilinear", align_corners=True)[0]


def at(volume: torch.Tensor, places: torch.Tensor, mode: str) -> torch.Tensor:
    """Values at voxel places (X, Y, Z, 3); the background outside."""
    size = torch.tensor(volume.shape, dtype=torch.float32)
    where = (2 * places / (size - 1) - 1).flip(-1)[None]
    return F.grid_sample(volume.float()[None, None], where, mode=mode, padding_mode="border", align_corners=True)[0, 0]


def skew(v: torch.Tensor) -> torch.Tensor:
    x, y, z = v.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def blurred(image: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
    """By a Gaussian of these standard deviations, voxels, along each axis."""
    image = image[None, None]
    for axis, sd in enumerate(wide.tolist()):
        reach = max(1, int(np.ceil(2.5 * sd)))
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = -1
        pad = [0] * 6
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        image = F.conv3d(F.pad(image, pad, mode="replicate"), (kernel / kernel.sum()).reshape(shape))
    return image[0, 0]
