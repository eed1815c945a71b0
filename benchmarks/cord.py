"""The chain of the cord: seconds and memory of every step on a 1 mm cervical T2w, and the shape against SCT's own tables.

    python benchmarks/cord.py            both
    python benchmarks/cord.py --shape    only the comparison, which is quick

Times come from the record of a real run of the command with all pictures; the first run compiles and is thrown away. Reference of
the shape: the Spinal Cord Toolbox (development version of 2026-08) on the same manual mask, ../shared/data/cord/sct-outputs.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from neuraxis.cord.aggregate import shape_levels
from neuraxis.cord.centerline import bspline
from neuraxis.cord.shape import shape
from neuraxis.volume import Grid, Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cord"
NAMES = {
    "area": "MEAN(area)", "diameter_AP": "MEAN(diameter_AP)", "diameter_RL": "MEAN(diameter_RL)", "eccentricity": "MEAN(eccentricity)",
    "orientation": "MEAN(orientation)", "solidity": "MEAN(solidity)", "angle_AP": "MEAN(angle_AP)", "angle_RL": "MEAN(angle_RL)",
}  # fmt: skip


def steps() -> None:
    """Seconds and peak memory of every step, from the record of the second run."""
    words = ["--participant-label", "11", "--skip-bids-validation", "--force"]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            begin = time.perf_counter()
            command = [sys.executable, "-m", "neuraxis", str(DATA / "t2w-bids"), folder, "participant", *words]
            subprocess.run(command, check=True, capture_output=True)
            wall = time.perf_counter() - begin
        record = json.loads((Path(folder) / "logs" / "sub-11_T2w_cord.json").read_text())
    print("| step | method | s | peak MiB |\n|---|---|---|---|")
    for step in record["steps"]:
        if step["status"] == "computed":
            print(f"| {step['title']} | {step['method']} | {step['seconds']:.1f} | {step['peak_memory_mb']} |")
    print(f"\nThe command as a whole: {wall:.1f} s, {record['peak_memory_mb']} MiB.")


def load(name: str, kind: type) -> Volume:
    image = nibabel.load(DATA / "sct-testing" / f"{name}.nii.gz")
    return Volume(np.asarray(image.dataobj).astype(kind), Grid.of(image.shape, image.affine))


def against_sct() -> None:
    """Largest differences from SCT, slice by slice and level by level."""
    mask, levels = load("t2/t2_seg-manual", np.float32), load("t2/t2_seg-manual_labeled", np.int16)
    table = shape(mask, bspline(mask), levels)
    means = shape_levels(table)
    ours = {
        "ps_t2_perslice": {str(z): n for n, z in enumerate(table["slice"])},
        "ps_t2_vertfile_perlevel": {level: n for n, level in enumerate(means["level"])},
    }
    print("| figure | largest difference per slice | per level |\n|---|---|---|")
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for case, places in ours.items():
        with open(DATA / "sct-outputs" / case / "csa.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        key = "Slice (I->S)" if case == "ps_t2_perslice" else "VertLevel"
        pairs = [(row, places[row[key]]) for row in rows if row[key] in places]
        for name, theirs in NAMES.items():
            values = table[name] if case == "ps_t2_perslice" else means[f"{name}_mean"]
            both = np.array([(values[n], float(row[theirs])) for row, n in pairs])
            difference = np.abs(both[:, 0] - both[:, 1])
            relative = 100 * (difference / np.abs(both[:, 1])).max()
            found[name].append(f"{relative:.3f} %" if name == "area" else f"{difference.max():.3f}")
    for name, both in found.items():
        print(f"| {name} | {' | '.join(both)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="store_true", help="only the comparison with SCT")
    if not parser.parse_args().shape:
        steps()
        print()
    against_sct()


if __name__ == "__main__":
    main()
