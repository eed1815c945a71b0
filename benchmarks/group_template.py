"""Template of a cohort made of the label maps of real heads: do the same structures lie on each other, and does it stand still?

    python benchmarks/group_template.py DATA [--heads 1 3 5 7 9 11] [--voxel 1.5]
    python benchmarks/group_template.py DATA --heads 14 --bent 8

DATA holds `synthseg-labels`. From every label map a gradient echo (magnitude and susceptibility, noise, a receive field) is simulated
on a turned grid; the template is built of these, and the label maps are brought into it. The table gives the Dice overlap of each
structure between two heads, averaged over all pairs: after the affine registration to the first mean, and in the template.

`--bent N` makes N participants of one label map instead, with its small nuclei, each bent by a smooth displacement that is known (2.5 mm per axis,
standard deviation). Then it also tells how far apart the places of the participants lie that fall on one voxel of the template, how sharp the mean
is (mean gradient over mean brightness), and the mean susceptibility of the nuclei against the truth, where half of the participants have them
and (core) where nine of ten have.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parent))
from brain_atlas import labels_of  # noqa: E402
from brain_regions import CHI, GRE, NUCLEI, SCORED, painted, seen, spoiled, with_nuclei  # noqa: E402

from neuraxis.brain.group_mean import Head, Laid, judged, measured_at  # noqa: E402
from neuraxis.brain.group_template import build, common_size, iterations_in, lay, onto_mni, template_grid  # noqa: E402
from neuraxis.numerics.deformation import Deformation, displacement_at, moved, places_of, sampled  # noqa: E402
from neuraxis.volume import Grid, Volume  # noqa: E402

_BENT_BY, _BENT_OVER = 2.5, 18.0
"""Displacement of the bent heads, standard deviation per axis, and how smooth it is; mm."""


@dataclass(frozen=True)
class Person:
    """A simulated head on its working grid, its labels, true and noisy susceptibility on the grid of the images, and where its places come from."""

    head: Head
    truth: Volume
    chi: Volume
    image: Volume
    turn: np.ndarray
    bend: Volume | None

    def origin(self, places: np.ndarray) -> np.ndarray:
        """Where places of the image lie in the label map."""
        there = moved(self.turn, places)
        return there if self.bend is None else there + displacement_at(self.bend, there)


def bent(labels: Volume, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """The label map after a smooth displacement, and that displacement: from a place of the bent head to that of the label map; mm."""
    coarse = Grid.of(tuple(-(-n // 4) for n in labels.grid.shape), labels.grid.matrix @ np.diag([4.0, 4, 4, 1]))
    shift = np.stack([ndimage.gaussian_filter(rng.standard_normal(coarse.shape), _BENT_OVER / np.array(coarse.voxel_size)) for _ in range(3)], -1)
    bend = Volume((_BENT_BY * shift / shift.std(axis=(0, 1, 2))).astype(np.float32), coarse)
    places = places_of(labels.grid)
    values = Volume(labels.data.astype(np.float32), labels.grid)
    return Volume(sampled(values, places + displacement_at(bend, places), order=0).astype(labels.data.dtype), labels.grid), bend


def head_of(path: Path, number: int, voxel: float, bend: bool = False) -> Person:
    rng = np.random.default_rng(number)
    if bend:
        labels, displacement = bent(with_nuclei(path, np.random.default_rng(0)), rng)
    else:
        labels, displacement = labels_of(path), None
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
    turn[:3, 3] = rng.uniform(-5, 5, 3)
    edges = (0.9, 0.9, 1.5)
    truth = seen(Volume(labels.data.astype(np.float32), labels.grid), edges, turn, 0)
    mask = Volume(truth.data > 0, truth.grid)
    gre = spoiled(seen(painted(labels, GRE), edges, turn), mask.data, 3, rng)
    true = seen(painted(labels, CHI), edges, turn)
    chi = Volume(((true.data + 0.02 * rng.standard_normal(true.data.shape)) * mask.data).astype(np.float32), gre.grid)
    return Person(Head.of(gre, mask, chi, voxel=voxel), truth, true, chi, turn, displacement)


def told_of(maps: dict[str, Deformation], people: dict[str, Person], grid: Grid, brain: np.ndarray) -> dict[str, float]:
    """How far apart (mm) the label map's places lie that fall on a voxel, how sharp the mean is, and mean chi of nuclei over the truth's."""
    places = places_of(grid)
    there = {name: found.there(places) for name, found in maps.items()}
    origins = np.stack([people[name].origin(one[brain]) for name, one in there.items()])
    told = {"apart": float(np.sqrt(((origins - origins.mean(axis=0)) ** 2).sum(-1).mean()))}
    bright = np.mean([sampled(people[name].head.channels[0], one) for name, one in there.items()], axis=0)
    brains = {name: Volume(one.truth.data > 0, one.truth.grid) for name, one in people.items()}
    chi = np.mean([measured_at(people[name].image, brains[name], one)[0] for name, one in there.items()], axis=0)
    told["sharpness"] = float(np.linalg.norm(np.gradient(bright, *grid.voxel_size), axis=0)[brain].mean() / bright[brain].mean())
    for name in NUCLEI:
        share = np.mean([share_at(people[head].truth, SCORED[name], one) for head, one in there.items()], axis=0)
        true = np.mean([one.chi.data[np.isin(np.rint(one.truth.data), SCORED[name])].mean() for one in people.values()])
        for told_as, least in ((name, 0.5), (f"{name}, core", 0.9)):
            told[told_as] = float(chi[share > least].mean() / true) if (share > least).any() else np.nan
    return told


def share_at(labels: Volume, numbers: tuple[int, ...], places: np.ndarray) -> np.ndarray:
    """Share of a structure at places, interpolated."""
    return sampled(Volume(np.isin(np.rint(labels.data), numbers).astype(np.float32), labels.grid), places)


def overlaps(maps: dict[str, Deformation], truth: dict[str, Volume], grid) -> dict[str, float]:
    places = {name: found.there(places_of(grid)) for name, found in maps.items()}
    found = {}
    for name, numbers in SCORED.items():
        parts = [share_at(truth[head], numbers, there) > 0.5 for head, there in places.items()]
        if not all(part.any() for part in parts):
            continue  # the label maps have no small nuclei of their own
        found[name] = float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in itertools.combinations(parts, 2)]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--heads", type=int, nargs="+", default=[1, 3, 5, 7, 9, 11])
    parser.add_argument("--voxel", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--smoothing", type=float, nargs=2, default=[2.0, 0.7])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--bent", type=int, default=0, help="so many participants of the first label map, each bent by what is known")
    given = parser.parse_args()
    files = {f"{n:02d}": given.data / "synthseg-labels" / f"training_seg_{n:02d}.nii.gz" for n in given.heads}
    if given.bent:
        files = dict.fromkeys((f"{n:02d}" for n in range(given.bent)), next(iter(files.values())))
    with ThreadPoolExecutor(given.jobs) as pool:
        people = dict(zip(files, pool.map(lambda item: head_of(item[1], int(item[0]), given.voxel, bool(given.bent)), files.items()), strict=True))
        heads, truth = {name: one.head for name, one in people.items()}, {name: one.truth for name, one in people.items()}
        start = time.time()
        starts = dict(zip(heads, common_size(list(pool.map(onto_mni, heads.values()))), strict=True))
        last: dict[str, Laid] = {}

        def lay_all(template, number, affines):
            def one(name):
                found = lay(heads[name], template, affines[name], iterations=iterations_in(number),
                            update_smoothing=given.smoothing[0], smoothing=given.smoothing[1])  # fmt: skip
                return name, Laid(heads[name], found, *judged(Laid(heads[name], found), template))

            for name, laid in pool.map(one, list(affines)):
                last[name] = laid
                yield name, laid

        grid = template_grid(given.voxel)
        template, table, _ = build(starts, heads.__getitem__, lay_all, grid, rounds=given.rounds, told=print)
    seconds = time.time() - start
    still = next(iter(last.values())).map.displacement
    maps = {n: Deformation(a, Volume(0 * still.data, still.grid)) for n, a in starts.items()}, {n: one.map for n, one in last.items()}
    before, after = (overlaps(one, truth, grid) for one in maps)
    print("\n| structure | affine | template |\n|---|---|---|")
    for name in after:
        print(f"| {name} | {before[name]:.3f} | {after[name]:.3f} |")
    print(f"| mean | {np.mean(list(before.values())):.3f} | {np.mean(list(after.values())):.3f} |")
    if given.bent:
        was, now = (told_of(one, people, grid, np.asarray(template.brain)) for one in maps)
        nuclei = [f"{np.mean([one[n] for n in NUCLEI]):.3f}" for one in (before, after)]
        print(f"| mean of the nuclei | {nuclei[0]} | {nuclei[1]} |\n| places apart, mm | {was['apart']:.2f} | {now['apart']:.2f} |")
        print(f"| sharpness, 1/mm | {was['sharpness']:.4f} | {now['sharpness']:.4f} |")
        for name in now:
            if name not in ("apart", "sharpness"):
                print(f"| mean chi over the truth, {name} | {was[name]:.3f} | {now[name]:.3f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{len(heads)} heads, {len(table)} rounds, {given.voxel:g} mm: {seconds:.0f} s, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
