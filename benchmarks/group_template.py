"""Template of a cohort made of the label maps of real heads: do the same structures lie on each other, and does it stand still?

    python benchmarks/group_template.py DATA [--heads 1 3 5 7 9 11] [--voxel 1.5]

DATA holds `synthseg-labels`. From every label map a gradient echo (magnitude and susceptibility, noise, a receive field) is simulated
on a turned grid; the template is built of these, and the label maps are brought into it. The table gives the Dice overlap of each
structure between two heads, averaged over all pairs: after the affine registration to the first mean, and in the template.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parent))
from brain_atlas import labels_of  # noqa: E402
from brain_regions import CHI, GRE, SCORED, painted, seen, spoiled  # noqa: E402

from neuraxis.brain.group_mean import Head, Laid, judged  # noqa: E402
from neuraxis.brain.group_template import build, common_size, iterations_in, lay, onto_mni, template_grid  # noqa: E402
from neuraxis.numerics.deformation import Deformation, places_of, sampled  # noqa: E402
from neuraxis.volume import Volume  # noqa: E402


def head_of(path: Path, number: int, voxel: float) -> tuple[Head, Volume]:
    """A simulated head on its working grid, and its label map on the grid of the images."""
    rng = np.random.default_rng(number)
    labels = labels_of(path)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
    turn[:3, 3] = rng.uniform(-5, 5, 3)
    edges = (0.9, 0.9, 1.5)
    truth = seen(Volume(labels.data.astype(np.float32), labels.grid), edges, turn, 0)
    mask = Volume(truth.data > 0, truth.grid)
    gre = spoiled(seen(painted(labels, GRE), edges, turn), mask.data, 3, rng)
    chi = seen(painted(labels, CHI), edges, turn).data
    chi = ((chi + 0.02 * rng.standard_normal(chi.shape)) * mask.data).astype(np.float32)
    return Head.of(gre, mask, Volume(chi, gre.grid), voxel=voxel), truth


def overlaps(maps: dict[str, Deformation], truth: dict[str, Volume], grid) -> dict[str, float]:
    laid = [sampled(truth[name], found.there(places_of(grid)), order=0) for name, found in maps.items()]
    found = {}
    for name, numbers in SCORED.items():
        parts = [np.isin(np.rint(one), numbers) for one in laid]
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
    given = parser.parse_args()
    files = {f"{n:02d}": given.data / "synthseg-labels" / f"training_seg_{n:02d}.nii.gz" for n in given.heads}
    with ThreadPoolExecutor(given.jobs) as pool:
        made = dict(zip(files, pool.map(lambda item: head_of(item[1], int(item[0]), given.voxel), files.items()), strict=True))
        heads, truth = ({name: one[n] for name, one in made.items()} for n in (0, 1))
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
        _, table, _ = build(starts, heads.__getitem__, lay_all, grid, rounds=given.rounds, told=print)
    seconds = time.time() - start
    still = next(iter(last.values())).map.displacement
    before = overlaps({n: Deformation(a, Volume(0 * still.data, still.grid)) for n, a in starts.items()}, truth, grid)
    after = overlaps({n: one.map for n, one in last.items()}, truth, grid)
    print("\n| structure | affine | template |\n|---|---|---|")
    for name in SCORED:
        print(f"| {name} | {before[name]:.3f} | {after[name]:.3f} |")
    print(f"| mean | {np.mean(list(before.values())):.3f} | {np.mean(list(after.values())):.3f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{len(heads)} heads, {len(table)} rounds, {given.voxel:g} mm: {seconds:.0f} s, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
