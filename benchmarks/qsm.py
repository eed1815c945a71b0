"""Speed and accuracy of every QSM method on a phantom with a ground truth, each in a process of its own.

    python benchmarks/qsm.py                        every method on the 164 x 205 x 205 phantom at 7 T, and the whole chain
    python benchmarks/qsm.py --only rts vsharp      some of them
    python benchmarks/qsm.py --chain --set ...      the default chain from phase, with other settings

Every method is fed the truth of what comes before it ("isolated"), and the table says so. Seconds are wall-clock of one
call after a first one (compilation of numba's kernels left out); peak memory is that of the process with its inputs.
References, one thread of another machine's core: QSM.rs 0.20 (Rust).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

PHANTOM = ("--shape", "164", "205", "205", "--voxel-size", "1", "1", "1", "--field-strength", "7", "--echo-times",
           "0.004", "0.012", "0.020", "0.028", "--t1w-size", "0")  # fmt: skip
REFERENCE_SECONDS = {"vsharp": 14.2, "pdf": 348.0, "sharp": 1.7, "resharp": 29.5, "ismv": 23.4, "lbv": 13.0, "rts": 11.4, "tkd": 0.6, "tsvd": 0.6,
                     "tikhonov": 0.7, "tv": 35.0, "nltv": 110.0, "hdqsm": 37.8, "l1qsm": 97.3, "ndi": 164.0, "medi": 29.1, "ilsqr": 95.7,
                     "tgv": 254.0, "laplacian": 3.6}  # fmt: skip
FIELD_MAP_SECONDS = 5.2
TISSUES = {"wm": [8], "gm": [9], "csf": [10], "blood": [11], "dgm": [1, 2, 3, 4, 5, 6]}


def image(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj, dtype=np.float32)


def inputs(bids: Path) -> tuple[dict, dict]:
    """Artifacts as the scanner gives them, and the truth."""
    from neuraxis.artifacts import ARTIFACTS
    from neuraxis.bids.derivatives import read_image
    from neuraxis.volume import Grid, Volume

    anat, truth = bids / "sub-01/anat", bids / "derivatives/truth/sub-01"
    echoes = range(1, 1 + len(list(anat.glob("sub-01_echo-*_part-mag_MEGRE.json"))))
    sidecars = [json.loads((anat / f"sub-01_echo-{e}_part-mag_MEGRE.json").read_text()) for e in echoes]
    strength = float(sidecars[0]["MagneticFieldStrength"])
    times = np.array([one["EchoTime"] for one in sidecars])
    first = nibabel.load(anat / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    grid = Grid.of(first.shape, first.affine)
    values: dict = {"echo_times": times, "echo_spacing": np.diff(times), "field_strength": strength}
    for name, part in (("phase", "phase"), ("magnitude", "mag")):
        stack = np.stack([image(anat / f"sub-01_echo-{e}_part-{part}_MEGRE.nii.gz") for e in echoes])
        values[name] = Volume(np.moveaxis(stack, 0, -1), grid)
    known = {
        "mask": Volume(image(truth / "anat/sub-01_desc-brain_mask.nii.gz") > 0.5, grid),
        "chi": read_image(truth / "anat/sub-01_Chimap.nii.gz", ARTIFACTS["chi"]),
        "total_field": read_image(truth / "fmap/sub-01_desc-total_fieldmap.nii.gz", ARTIFACTS["total_field"], strength),
        "local_field": read_image(truth / "fmap/sub-01_desc-local_fieldmap.nii.gz", ARTIFACTS["local_field"], strength),
        "labels": Volume(np.rint(image(truth / "anat/sub-01_dseg.nii.gz")), grid),
    }
    if (truth / "anat/sub-01_R2starmap.nii.gz").exists():
        known["r2star"] = read_image(truth / "anat/sub-01_R2starmap.nii.gz", ARTIFACTS["r2star"])
    return values, known


def one_method(bids: Path, path: str, threads: int) -> dict:
    """Runs one method, fed with truth; gives seconds, memory and accuracy."""
    from neuraxis.commands import steps
    from neuraxis.engine import PlannedStep, call
    from neuraxis.executor import PeakMemory, set_threads
    from neuraxis.volume import Volume

    set_threads(threads)
    values, known = inputs(bids)
    step = steps()[path]
    method = next(m for m in step.by.methods if m.path == path)
    here = dict(values)
    for name in ("mask", "total_field", "local_field"):
        here[name] = known[name]
    here["field_mask"] = here["local_mask"] = here["chi_mask"] = known["mask"]
    here["chi_unreferenced"] = known["chi"]
    if "r2star" in known:  # for separation alone: only its time is of use
        here["r2prime"] = Volume((0.4 * known["r2star"].data).astype(np.float32), known["r2star"].grid)
    for need in method.needs:  # what no truth is known of comes from the default chain
        if need.name not in here and need.kind != "Grid":
            here.update(run(need.name, here)[0])
    one = PlannedStep(step, method, method.set({}), "run")
    meter = PeakMemory()
    meter.reset()
    start, cpu = time.perf_counter(), time.process_time()
    made, _ = call(one, here, "cpu")
    seconds, cpu_seconds, peak = time.perf_counter() - start, time.process_time() - cpu, meter.read()
    if seconds < 30:
        del made
        start, cpu = time.perf_counter(), time.process_time()
        made, _ = call(one, here, "cpu")
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {"method": path, "threads": threads, "seconds": seconds, "cpu": cpu_seconds, "peak_mb": peak, **accuracy(step.makes, made, known)}


def run(makes: str, here: dict, method: str | None = None, preset: str = "default") -> tuple[dict, float]:
    """What a step makes, and CPU seconds, with the knobs of a preset; what it needs is made before, by the default methods, and
    kept in `here`."""
    from neuraxis.engine import PlannedStep, call
    from neuraxis.options import presets
    from neuraxis.pipelines import QSM

    step = next(one for one in QSM.steps if makes in one.makes)
    chosen = step.by.method(method)
    for need in chosen.needs:
        if need.name not in here and need.kind != "Grid" and any(need.name in one.makes for one in QSM.steps):
            here.update(run(need.name, here)[0])
    start = time.process_time()
    knobs = presets()[preset].get("knobs", {}).get(f"{step.by.name}.{chosen.name}", {})
    made, _ = call(PlannedStep(step, chosen, chosen.set(knobs), "run"), here, "cpu")
    return made, time.process_time() - start


def measures(found: np.ndarray, truth: np.ndarray, where: np.ndarray, inside: np.ndarray) -> dict:
    """The measures of QSM-CI of one map where it is known, and the share of the brain that this is."""
    from neuraxis.numerics import metrics

    return {"kept": where.sum() / inside.sum(), "nrmse": metrics.nrmse(found, truth, where),
            "nrmse_detrended": metrics.nrmse_detrended(found, truth, where), "xsim": metrics.xsim(found, truth, where),
            "hfen": metrics.hfen(found, truth, where, mask_truth=True), "corr": metrics.correlation(found, truth, where)}  # fmt: skip


def by_tissue(found: np.ndarray, truth: np.ndarray, labels: np.ndarray, where: np.ndarray) -> dict:
    """The error in each tissue of the simulated head."""
    from neuraxis.numerics import metrics

    return {f"nrmse_{name}": metrics.nrmse(found, truth, where & np.isin(labels, ids)) for name, ids in TISSUES.items()}


def accuracy(makes: tuple, made: dict, known: dict) -> dict:
    """The measures of QSM-CI, where both the map and the truth are known."""
    from neuraxis.numerics import metrics

    truth_mask, labels = known["mask"].data, known["labels"].data
    for name, true in (("chi_unreferenced", "chi"), ("chi", "chi"), ("local_field", "local_field"), ("total_field", "total_field"),
                       ("r2star", "r2star")):  # fmt: skip
        if name in makes and true in known:
            found, truth = made[name].data, known[true].data
            where = truth_mask & (found != 0)
            result = measures(found, truth, where, truth_mask)
            if true == "chi":
                result |= {"slope": metrics.region_slope(found, truth, np.where(where, labels, 0)), **by_tissue(found, truth, labels, where)}
            return result
    if "mask" in makes or "field_mask" in makes:
        found = made[makes[0]].data
        return {"dice": 2 * (found & truth_mask).sum() / (found.sum() + truth_mask.sum()), "kept": (found & truth_mask).sum() / truth_mask.sum()}
    if "unwrapped" in makes:
        return {"finite": bool(np.isfinite(made["unwrapped"].data).all())}
    return {}


def chain(bids: Path, words: list[str]) -> dict:
    """The app from files to files, without pictures counted; seconds, memory and accuracy of chi."""
    out = Path(tempfile.mkdtemp(dir=bids.parent)) / "out"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "neuraxis", str(bids), str(out), "participant", "--participant-label", "01",
                           "--skip-bids-validation", "--device", "cpu", *words], capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = time.perf_counter() - start
    record = json.loads((out / "logs/sub-01_MEGRE.json").read_text())
    _, known = inputs(bids)
    from neuraxis.volume import Volume

    chi = Volume(image(out / "sub-01/anat/sub-01_Chimap.nii.gz"), known["chi"].grid)
    steps = {s["family"]: s["seconds"] for s in record["steps"] if s["seconds"] is not None}
    return {"wall": seconds, "steps": steps, "steps_sum": sum(steps.values()), "peak_mb": record["peak_memory_mb"],
            **accuracy(("chi",), {"chi": chi}, known)}  # fmt: skip


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = ["| method, fed with the truth | s, 1 thread | s, 2 threads | reference, CPU s | peak MiB |"
             " NRMSE % | XSIM | HFEN % | corr. | slope | share of mask |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for path in dict.fromkeys(row["method"] for row in rows):
        mine = {row["threads"]: row for row in rows if row["method"] == path}
        first = next(iter(mine.values()))

        def cell(name: str, digits: int, row: dict = first) -> str:
            return f"{row[name]:.{digits}f}" if name in row else ""

        seconds = [f"{mine[n]['seconds']:.2f}" if n in mine else "" for n in (1, 2)]
        reference = REFERENCE_SECONDS.get(path.split(".")[-1], "")
        accuracy_cells = [cell("nrmse", 1), cell("xsim", 3), cell("hfen", 1), cell("corr", 3) or cell("dice", 3), cell("slope", 2), cell("kept", 2)]
        peak = max(r["peak_mb"] for r in mine.values())
        lines.append(f"| {path} | {' | '.join(seconds)} | {reference} | {peak:.0f} | {' | '.join(accuracy_cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a simulated data set that is there already; else it is made in a temporary folder")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--chain", action="store_true", help="only the whole chain; what follows is given to the app")
    given, words = parser.parse_known_args()
    if given.one:
        print(json.dumps(one_method(given.data, given.one, given.threads[0]), default=float))
        return
    bids = given.data
    if bids is None:
        bids = Path(tempfile.mkdtemp()) / "bids"
        subprocess.run([sys.executable, "-m", "neuraxis", "simulate", str(bids), *PHANTOM], check=True)
    if given.chain:
        print(json.dumps(chain(bids, words), indent=1, default=float))
        return
    from neuraxis.commands import steps

    rows = []
    for path in steps():
        if given.only and not any(word in path for word in given.only):
            continue
        for threads in given.threads:
            words = [sys.executable, __file__, "--data", str(bids), "--one", path, "--threads", str(threads)]
            done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
            if done.returncode:
                print(path, done.stderr.strip().splitlines()[-1:], file=sys.stderr)
                continue
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(table(rows))


if __name__ == "__main__":
    main()
