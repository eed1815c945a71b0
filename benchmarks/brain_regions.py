"""Regions of the brain against the label maps of heads that the atlas was not made of: with a T1w, through it, and from the gradient echo alone.

    python benchmarks/brain_regions.py DATA [--heads 13 14 15 16]
    python benchmarks/brain_regions.py --challenge FOLDER

DATA holds `synthseg-labels`. From every label map a T1w and a gradient echo (magnitude and susceptibility) are simulated, with noise, a
receive field and grids of their own, turned and shifted against each other; the masks of the brain are the truth's. The susceptibility is what
the default inversion makes of its dipole field with noise. The table gives
Dice per structure and the error of the mean susceptibility of a structure that comes from its outline alone. Red nucleus, substantia
nigra and subthalamic nucleus, which the label maps lack, are those of CIT168, carried into the label map by a registration of its own and then
displaced by chance (1 mm per axis, standard deviation, smooth over 10 mm), or a registration would be scored by itself. The dentate nucleus is not
in them. `--learned FOLDER` scores another model than that of the package.

FOLDER holds the head of the 2016 QSM challenge (magnitude, COSMOS, masks, its small hand-drawn regions; Langkammer 2018,
doi:10.1002/mrm.26830). Its regions against ours, which come from magnitude and COSMOS alone: mean COSMOS of each. The images go from the front to the
back, whatever their header says: the dentate nuclei lie behind the caudate.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from brain_atlas import BRIGHTNESS, labels_of  # noqa: E402
from brain_heads import NUMBER, T1W, head  # noqa: E402

from neuraxis import resources  # noqa: E402
from neuraxis.brain.labels import from_t1w, from_template, t1w_from_template  # noqa: E402
from neuraxis.brain.learned import learned, t1w_learned  # noqa: E402
from neuraxis.brain.refinement import from_template_on_chi  # noqa: E402
from neuraxis.brain.regions import STRUCTURES  # noqa: E402
from neuraxis.brain.t1w import t1w_aligned, t1w_position  # noqa: E402
from neuraxis.brain.template_registration import gre_to_template, t1w_to_template  # noqa: E402
from neuraxis.numerics.deformation import places_of, sampled  # noqa: E402
from neuraxis.numerics.dipole import dipole_field  # noqa: E402
from neuraxis.qsm.inversion.whqsm import whqsm  # noqa: E402
from neuraxis.volume import Grid, Volume  # noqa: E402

SCORED = {
    "caudate": (11, 50), "putamen": (12, 51), "globus pallidus": (13, 52), "nucleus accumbens": (26, 58), "thalamus": (10, 49),
    "red nucleus": (205,), "substantia nigra": (207, 209), "subthalamic nucleus": (211,), "hippocampus": (17, 53), "amygdala": (18, 54),
    "lateral ventricle": (4, 43), "brain stem": (16,), "cortex": (3, 42), "white matter": (2, 41), "cerebellum": (7, 8, 46, 47),
}  # fmt: skip
FOUND = {
    "globus pallidus": (201, 202, 203, 204), "red nucleus": (206,), "substantia nigra": (208, 210), "subthalamic nucleus": (212,),
    "cerebellum": (213, 214),
}  # fmt: skip
"""Further numbers of ours for what is scored."""
LARGE = ("caudate", "putamen", "globus pallidus", "nucleus accumbens", "thalamus")
SMALL = ("red nucleus", "substantia nigra", "subthalamic nucleus")
NUCLEI = (*LARGE, *SMALL)
CARRIED = {"red nucleus": 205, "substantia nigra pars compacta": 207, "substantia nigra pars reticulata": 209, "subthalamic nucleus": 211}
GRE = {
    2: 70, 3: 82, 4: 95, 5: 95, 14: 95, 15: 95, 24: 95, 7: 68, 8: 80, 10: 72, 11: 70, 12: 66, 13: 48, 16: 68, 17: 80, 18: 80, 26: 70, 28: 66,
    205: 48, 207: 50, 209: 42, 211: 50,
}  # fmt: skip
CHI = {
    2: -0.03, 3: 0.02, 4: 0, 5: 0, 14: 0, 15: 0, 24: 0, 7: -0.03, 8: 0.02, 10: 0.02, 11: 0.06, 12: 0.07, 13: 0.15, 16: -0.01, 17: 0.01,
    18: 0, 26: 0.04, 28: 0.05, 205: 0.13, 207: 0.12, 209: 0.17, 211: 0.13,
}  # fmt: skip
LEARNED: dict[str, dict[str, float]] = {"learned alone": {"atlas_weight": 0.0}, "learned, atlas": {}}
_OTHER = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 58: 26, 60: 28}


def with_nuclei(path: Path, rng: np.random.Generator) -> Volume:
    """The label map of a head, with the small nuclei in it; their two halves have one number."""
    labels = labels_of(path)
    classes = head(path)
    shift = np.stack([ndimage.gaussian_filter(rng.standard_normal(labels.data.shape), 10) for _ in range(3)])
    shift /= shift.std(axis=(1, 2, 3), keepdims=True)
    there = np.indices(labels.data.shape) + shift
    data, free = labels.data.copy(), np.isin(labels.data, (28, 60, 16, 2, 41, 10, 49))
    for name, number in CARRIED.items():
        data[free & (ndimage.map_coordinates((classes == NUMBER[name]).astype(np.float32), there, order=1) > 0.5)] = number
    return Volume(data, labels.grid)


def painted(labels: Volume, values: dict[int, float]) -> Volume:
    data = np.zeros(labels.data.shape, np.float32)
    for number in np.unique(labels.data):
        if number:
            data[labels.data == number] = values[_OTHER.get(int(number), int(number))]
    return Volume(ndimage.gaussian_filter(data, 0.4), labels.grid)


def seen(volume: Volume, voxel: tuple[float, float, float], turn: np.ndarray, order: int = 1) -> Volume:
    """The volume on another grid; `turn` takes places of the new image to the head's."""
    grid = volume.grid
    size = np.array(grid.shape) * grid.voxel_size
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(voxel)
    matrix[:3, 3] = grid.matrix[:3, 3] - 8
    shape = tuple(int(n) for n in np.ceil((size + 16) / voxel))
    new = Grid.of(shape, matrix)
    places = places_of(new) @ turn[:3, :3].T + turn[:3, 3]
    return Volume(sampled(volume, places, order=order), new)


def spoiled(image: Volume, mask: np.ndarray, noise: float, rng: np.random.Generator) -> Volume:
    """With noise and what N4 leaves of a receive field."""
    field = np.exp(0.1 * ndimage.zoom(rng.standard_normal((3, 3, 3)), np.array(image.grid.shape) / 3, order=1))
    data = image.data * field[tuple(slice(0, n) for n in image.grid.shape)] + noise * rng.standard_normal(image.grid.shape)
    return Volume((np.clip(data, 0, None) * mask).astype(np.float32), image.grid)


def inverted(chi: np.ndarray, gre: Volume, mask: np.ndarray, rng: np.random.Generator) -> Volume:
    """What the default inversion finds in the field of `chi` (ppm), with noise that rises where the signal is low."""
    field = dipole_field(torch.from_numpy((chi * mask).astype(np.float32)), gre.grid.voxel_size, (0.0, 0.0, 1.0)).numpy()
    noise = (0.28 / np.maximum(gre.data, 15)).astype(np.float32)
    field = ((field + noise * rng.standard_normal(field.shape)) * mask).astype(np.float32)
    values, where, doubt, bright = (torch.from_numpy(one) for one in (field, mask, noise, gre.data))
    return Volume(whqsm(values, where, gre.grid, doubt, 3.0, np.array([0.004]), bright).numpy(), gre.grid)


def labelled_by(registration: tuple, mask: Volume) -> np.ndarray:
    return from_template(registration[0], mask, registration[2])[0].data


def one_head(task: tuple[Path, int, Path | None]) -> dict:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path, number, model = task
    if model:
        resources.find = lambda name: model
    rng = np.random.default_rng(number)
    labels = with_nuclei(path, rng)
    turns = []
    for _ in range(2):
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
        turn[:3, 3] = rng.uniform(-5, 5, 3)
        turns.append(turn)
    values = Volume(labels.data.astype(np.float32), labels.grid)
    truth = [seen(values, voxel, turn, 0) for voxel, turn in zip(((1, 1, 1), (0.9, 0.9, 1.5)), turns, strict=True)]
    masks = [Volume(one.data > 0, one.grid) for one in truth]
    bright = {n: float(v) for n, v in BRIGHTNESS.items() if n in GRE} | {n: float(T1W[name]) for name, n in CARRIED.items()}
    t1w = spoiled(seen(painted(labels, bright), (1, 1, 1), turns[0]), masks[0].data, 3, rng)
    gre = spoiled(seen(painted(labels, GRE), (0.9, 0.9, 1.5), turns[1]), masks[1].data, 3, rng)
    chi_true = seen(painted(labels, CHI), (0.9, 0.9, 1.5), turns[1]).data
    chi = inverted(chi_true, gre, masks[1].data, rng)
    found, start = {}, time.time()
    warp = t1w_to_template(t1w, masks[0])
    regions = t1w_from_template(warp[0], masks[0], warp[2])
    seconds = {"T1w": time.time() - start}
    position = t1w_position(gre, masks[1], t1w, masks[0])
    found["through T1w"] = from_t1w(position, regions[0], masks[1], regions[1])[0].data
    start = time.time()
    joined = gre_to_template(gre, masks[1], chi, t1w_aligned(position, t1w, masks[1]), position)
    found["with T1w"] = labelled_by(joined, masks[1])
    seconds["GRE with T1w"] = time.time() - start
    found["with T1w, on chi"] = from_template_on_chi(joined[0], masks[1], joined[2], chi)[0].data
    start = time.time()
    warps = gre_to_template(gre, masks[1], chi)
    found["GRE alone"] = labelled_by(warps, masks[1])
    seconds["GRE"] = time.time() - start
    found["GRE on chi"] = from_template_on_chi(warps[0], masks[1], warps[2], chi)[0].data
    for way, knobs in LEARNED.items():
        start = time.time()
        found[f"GRE {way}"] = learned(gre, masks[1], warps[0], warps[2], **knobs)[0].data
        seconds["learned"] = time.time() - start
    found["magnitude alone"] = labelled_by(gre_to_template(gre, masks[1]), masks[1])
    motion = np.stack([position[name] for name in ("x", "y", "z", "shift")], 1)
    wanted = np.linalg.inv(turns[0]) @ turns[1]
    corners = places_of(gre.grid)[::40, ::40, ::40].reshape(-1, 3)
    off = corners @ (motion[:3, :3] - wanted[:3, :3]).T + motion[:3, 3] - wanted[:3, 3]
    row: dict = {"head": number, "seconds": seconds, "rigid": float(np.linalg.norm(off, axis=1).max())}
    found["T1w itself"] = regions[0].data
    for way, knobs in LEARNED.items():
        found[f"T1w {way}"] = t1w_learned(t1w, masks[0], warp[0], warp[2], **knobs)[0].data
    for way, got in found.items():
        on_t1w = way.startswith("T1w")
        true = truth[0].data if on_t1w else truth[1].data
        for name, numbers in SCORED.items():
            mine = np.isin(got, (*numbers, *FOUND.get(name, ())))
            real = np.isin(true, numbers)
            row[way, name] = 2 * float((mine & real).sum()) / max(int(mine.sum() + real.sum()), 1)
            if not on_t1w and name in NUCLEI:
                row[way, name, "chi"] = 1e3 * float(chi_true[mine].mean() - chi_true[real].mean()) if mine.any() else np.nan
    return row


CHALLENGE = {
    1: ("caudate",), 2: ("putamen",), 3: ("globus pallidus externus", "globus pallidus internus"), 4: ("red nucleus",),
    5: ("substantia nigra pars compacta", "substantia nigra pars reticulata"), 6: ("dentate nucleus",),
    **dict.fromkeys(range(7, 12), ("cerebral white matter",)),
}  # fmt: skip
"""What its regions are, by their place and order. Each was drawn in one slice."""


def challenge(folder: Path) -> None:
    import nibabel
    import scipy.io

    def mat(name: str) -> np.ndarray:
        return next(v for k, v in scipy.io.loadmat(folder / name).items() if not k.startswith("_")).astype(np.float32)

    drawn = nibabel.load(folder / "evaluation_mask.nii.gz")
    matrix = np.diag([1, -1, 1, 1]) @ drawn.affine
    grid = Grid.of(drawn.shape, matrix)
    magnitude, cosmos, mask = (Volume(mat(f"{name}.mat"), grid) for name in ("magn", "cosmos", "msk"))
    theirs, mask = np.asarray(drawn.dataobj), Volume(mask.data > 0, grid)
    start = time.time()
    warp, _, fit = gre_to_template(magnitude, mask, cosmos)
    print(f"overlap with the template {float(fit['overlap'][0]):.3f}, {time.time() - start:.0f} s")
    ways = {"atlas": from_template(warp, mask, fit)[0].data, "refined on chi": from_template_on_chi(warp, mask, fit, cosmos)[0].data}
    lines = []
    for number, names in CHALLENGE.items():
        numbers = [n for one in STRUCTURES if one.name in names for n in (one.left, one.right)]
        here = theirs == number
        slices = here.any(axis=(0, 1))
        line = [f"{number}: {' + '.join(names)}", str(here.sum()), f"{cosmos.data[here].mean():.3f}"]
        for labels in ways.values():
            mine = np.isin(labels, numbers)
            core = ndimage.binary_erosion(mine, ndimage.generate_binary_structure(2, 1)[:, :, None]) & slices
            line += [f"{mine[here].mean():.2f}", str(mine.sum()), f"{cosmos.data[mine].mean():.3f}", f"{cosmos.data[core].mean():.3f}"]
        lines.append(line)
    each = ("share of theirs inside", "voxels", "mean", "mean of the slice that they drew in, one voxel in from the edge")
    show(["region", "theirs: voxels", "mean COSMOS, ppm", *(f"{way}: {title}" for way in ways for title in each)], lines)


def show(titles: list[str], lines: list[list[str]]) -> None:
    print(f"\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--challenge", type=Path)
    parser.add_argument("--heads", type=int, nargs="+", default=[13, 14, 15, 16])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--learned", type=Path, help="folder of another model")
    given = parser.parse_args()
    if given.challenge:
        challenge(given.challenge)
    if not given.data:
        return
    tasks = [(given.data / "synthseg-labels" / f"training_seg_{n:02d}.nii.gz", n, given.learned) for n in given.heads]
    with ProcessPoolExecutor(given.jobs) as pool:
        rows = list(pool.map(one_head, tasks))
    ways = dict.fromkeys(key[0] for row in rows for key in row if isinstance(key, tuple))
    told = [way for way in ways if not way.startswith("T1w")]
    lines = [[name, *(f"{np.mean([row[way, name] for row in rows]):.3f}" for way in ways)] for name in SCORED]
    for title, names in (("mean of the five large nuclei", LARGE), ("mean of all eight nuclei", NUCLEI)):
        lines.append([title, *(f"{np.mean([row[way, n] for row in rows for n in names]):.3f}" for way in ways)])
    show(["Dice", *ways], lines)
    lines = [[name, *(f"{np.mean([abs(row[way, name, 'chi']) for row in rows]):.1f}" for way in told)] for name in NUCLEI]
    show(["error of mean chi, ppb", *told], lines)
    for row in rows:
        print(f"head {row['head']}: seconds {row['seconds']}, rigid off by at most {row['rigid']:.2f} mm")


if __name__ == "__main__":
    main()
