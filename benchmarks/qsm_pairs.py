"""Background removal x inversion, from raw phase to susceptibility, on data sets with a ground truth.

    python benchmarks/qsm_pairs.py --data BIDS ...                    simulated data sets (`neuraxis simulate`)
    python benchmarks/qsm_pairs.py --qsm2016 FOLDER                   phase made from chi_33 of the 2016 challenge
    ... --backgrounds pdf lbv --inversions rts whqsm                  some of the methods; by default all
    ... --chains                                                      the default chain against ROMEO, V-SHARP and RTS

All that comes before is the default chain. Every pair is scored twice: where it gave a value, and at matched support, which
is where all backgrounds of the run gave one. The row "truth" of the backgrounds is the true local field with the noise of
the field map, in the mask of the first background: what the inversion alone costs. Errors are of the demeaned maps in
percent; per tissue too, with the slope of the deep nuclei (or the eleven regions of the challenge), and the streaks around a
calcification: the standard deviation of the error 2 to 12 mm from it, in ppb. Seconds are CPU seconds of the process.

The chains are scored at the support that all three share: the default one; V-SHARP and RTS behind the same mask and the
choice of reliable voxels of the preset `fast`; and both as other programs have them, in the whole brain with every voxel at full weight.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import nibabel
import numpy as np
from qsm import by_tissue, inputs, measures, run

from neuraxis.engine import Method
from neuraxis.executor import set_threads
from neuraxis.numerics import metrics
from neuraxis.pipelines import QSM
from neuraxis.qsm import background, inversion
from neuraxis.simulate.forward import polynomial, shim, tissue_field, total_field
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Grid, Volume

CALCIFICATION = 16
_UNFETCHED = ("learned", "nextqsm")


def challenge(folder: Path, seed: int = 0, snr: float = 100.0) -> tuple[dict, dict]:
    """Four echoes at 3 T of the head of the 2016 challenge: chi_33 in the brain, 10 mm of tissue around it, air and a sinus."""
    import scipy.io
    import scipy.ndimage
    import torch

    def mat(name: str) -> np.ndarray:
        return next(v for k, v in scipy.io.loadmat(folder / name).items() if not k.startswith("_"))

    picture = nibabel.load(folder / "chi_33.nii.gz")
    grid = Grid.of(picture.shape, picture.affine)
    chi, brain = np.asarray(picture.dataobj, np.float32), mat("msk.mat") > 0
    away = scipy.ndimage.distance_transform_edt(~brain, sampling=grid.voxel_size)
    inside = np.argwhere(brain)
    front = np.array([inside[:, 0].mean(), inside[:, 1].max() - 20, inside[:, 2].min() + 10])
    sinus = (((np.indices(brain.shape).T - front) * grid.voxel_size) ** 2).sum(-1).T < 20**2
    whole = torch.from_numpy(
        np.where(brain, chi, np.where((away > 10) | (sinus & (away > 5)), np.float32(9.2), np.float32(0)))
    )
    total = shim(total_field(whole, grid), torch.from_numpy(brain), grid).numpy()
    local = tissue_field(torch.from_numpy(chi), torch.from_numpy(brain), grid).numpy()
    rng, times = np.random.default_rng(seed), np.array([0.006, 0.014, 0.022, 0.030])
    offset = polynomial(grid, np.r_[0, rng.uniform(-2, 2, 9)]).numpy()
    strength = np.where(away > 10, 0, np.maximum(mat("magn.mat"), 0)) * ~(sinus & (away > 5))
    rate = 18 + 130 * np.abs(np.where(brain, chi, 0))
    noise = float(strength.max()) / snr
    echoes = []
    for echo in times:
        signal = strength * np.exp(-rate * echo + 1j * (total * radians_per_ppm_second(3.0) * echo + offset))
        echoes.append(signal + noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)))
    stack = np.stack(echoes, -1)
    values = {"echo_times": times, "echo_spacing": np.diff(times), "field_strength": 3.0,
              "phase": Volume(np.angle(stack).astype(np.float32), grid),
              "magnitude": Volume(np.abs(stack).astype(np.float32), grid)}  # fmt: skip
    regions = np.rint(np.asarray(nibabel.load(folder / "evaluation_mask.nii.gz").dataobj))
    known = {"mask": brain, "chi": chi, "local_field": local, "labels": regions}
    return values, {name: Volume(one, grid) for name, one in known.items()}


def score(found: np.ndarray, known: dict, where: np.ndarray, tissues: bool) -> dict:
    """The measures of one map at one support."""
    truth, labels = known["chi"].data, known["labels"].data
    regions = tuple(range(1, 7)) if tissues else tuple(range(1, 12))
    row = measures(found, truth, where, known["mask"].data)
    row["slope"] = metrics.region_slope(found, truth, np.where(where, labels, 0), regions)
    if tissues:
        row |= by_tissue(found, truth, labels, where)
        row |= {f"nucleus{n}": 1e3 * float((found - truth)[where & (labels == n)].mean() - (found - truth)[where].mean())
                for n in regions if (where & (labels == n)).any()}  # fmt: skip
        stone = labels == CALCIFICATION
        if stone.any():
            from scipy.ndimage import distance_transform_edt

            away = distance_transform_edt(~stone, sampling=known["chi"].grid.voxel_size)
            row["streaks"] = 1e3 * float((found - truth)[where & (away > 2) & (away < 12)].std())
    return row


def pairs(name: str, values: dict, known: dict, backgrounds: list[str], inversions: list[str]) -> list[dict]:
    """One row per pair; rows are printed as they come."""
    here, tissues = dict(values), name != "qsm2016"
    for need in ("field_mask", "r2star"):
        here.update(run(need, here)[0])
    fields, brain, rng = {}, known["mask"].data, np.random.default_rng(1)
    for one in backgrounds:
        made, seconds = run("local_field", here, one)
        fields[one] = ({n: made[n] for n in ("local_field", "local_mask")}, seconds)
    mask = fields[backgrounds[0]][0]["local_mask"]
    noisy = known["local_field"].data + here["field_noise"].data * rng.standard_normal(brain.shape).astype(np.float32)
    fields["truth"] = (
        {"local_field": Volume(np.where(mask.data, noisy, 0).astype(np.float32), mask.grid), "local_mask": mask},
        0.0,
    )
    common = brain.copy()
    for made, _ in fields.values():
        common &= made["local_mask"].data
    rows = []
    for inverse in inversions:
        for one, (made, before) in fields.items():
            total = not any(n.name == "local_field" for n in _inversion(inverse).needs)
            if total and one != backgrounds[0]:
                continue  # it removes the background itself
            try:
                maps, seconds = run("chi_unreferenced", {**here, **made}, inverse)
            except ValueError as error:
                print(f"{name}: {one} and {inverse}: {error}", file=sys.stderr)
                continue
            chi = maps["chi_unreferenced"].data
            support = brain & (chi != 0)
            matched = score(chi, known, support & common, tissues)
            rows.append(
                {"data": name, "background": "–" if total else one, "inversion": inverse}
                | {"cpu": seconds + (0 if total else before), **score(chi, known, support, tissues)}
                | {f"matched_{n}": matched[n] for n in ("kept", "nrmse", "xsim")}
            )
            print(
                json.dumps({k: v if isinstance(v, str) else round(float(v), 3) for k, v in rows[-1].items()}),
                flush=True,
            )
    return rows


CHAINS = {
    "default": ("default", {}),
    "V-SHARP, RTS, reliable voxels": ("fast", {"local_field": "vsharp", "chi_unreferenced": "rts"}),
    "V-SHARP, RTS, every voxel": ("fast", {"field_mask": "everywhere", "local_field": "vsharp", "chi_unreferenced": "rts"}),
}
"""Title -> preset whose knobs are taken, and the methods that are not the default's."""


def chains(name: str, values: dict, known: dict) -> list[dict]:
    """One row per chain, at the support that all share."""
    tissues, maps = name != "qsm2016", {}
    for title, (preset, methods) in CHAINS.items():
        here = dict(values)
        if "field_mask" in methods:
            here["mask"] = known["mask"]  # the brain as other programs' users have it drawn
        for makes in ("field_mask", "r2star", "local_field", "chi_unreferenced"):
            here.update(run(makes, here, methods.get(makes), preset)[0])
        maps[title] = here["chi_unreferenced"].data
    own = {title: known["mask"].data & (chi != 0) for title, chi in maps.items()}
    common = np.logical_and.reduce(list(own.values()))
    rows = []
    for title, chi in maps.items():
        alone, shared = (score(chi, known, where, tissues) for where in (own[title], common))
        rows.append({"data": name, "chain": title, **shared, "own_nrmse": alone["nrmse"], "own_kept": alone["kept"]})
        print(json.dumps({k: v if isinstance(v, str) else round(float(v), 3) for k, v in rows[-1].items()}), flush=True)
    return rows


def chains_table(rows: list[dict]) -> str:
    """Markdown: NRMSE at equal support, the ratio to the default, and at its own support."""
    lines = ["| data | chain | NRMSE % | times the default's | slope | at its own support |", "|---|---|---|---|---|---|"]
    for row in rows:
        first = next(one for one in rows if one["data"] == row["data"])
        lines.append(
            f"| {row['data']} | {row['chain']} | {row['nrmse']:.1f} | {row['nrmse'] / first['nrmse']:.2f} | {row['slope']:.2f} "
            f"| {row['own_nrmse']:.1f} in {100 * row['own_kept']:.0f} % |"
        )
    return "\n".join(lines)


def _inversion(name: str) -> Method:
    """The method of the inversion by name."""
    return next(one for one in QSM.steps if "chi_unreferenced" in one.makes).by.method(name)


def table(rows: list[dict]) -> str:
    """Markdown: NRMSE at matched support, one column per background; the two best of a data set in bold."""
    lines = []
    for data in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == data]
        names = list(dict.fromkeys(row["background"] for row in mine))
        best = sorted(row["matched_nrmse"] for row in mine if row["background"] != "truth")[:2]
        lines += [
            f"**{data}**, {100 * mine[0]['matched_kept']:.0f} % of the brain",
            "",
            "| inversion | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
        ]
        for inverse in dict.fromkeys(row["inversion"] for row in mine):
            cells = {row["background"]: row["matched_nrmse"] for row in mine if row["inversion"] == inverse}
            text = [
                ("**{:.1f}**" if cells.get(n) in best else "{:.1f}").format(cells[n]) if n in cells else ""
                for n in names
            ]
            lines.append(f"| {inverse} | " + " | ".join(text) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--qsm2016", type=Path)
    parser.add_argument("--backgrounds", nargs="+", default=[one.__name__ for one in background.METHODS])
    parser.add_argument(
        "--inversions", nargs="+", default=[one.__name__ for one in inversion.METHODS if one.__name__ not in _UNFETCHED]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chains", action="store_true")
    given = parser.parse_args()
    set_threads(given.threads)
    rows = []
    sets = [("qsm2016", lambda: challenge(given.qsm2016))] if given.qsm2016 else []
    sets += [(bids.name, lambda bids=bids: inputs(bids)) for bids in given.data]
    for name, read in sets:
        found = chains(name, *read()) if given.chains else pairs(name, *read(), given.backgrounds, given.inversions)
        rows += found
    print(chains_table(rows) if given.chains else table(rows))


if __name__ == "__main__":
    main()
