"""Write a BIDS data set of our head with the forward model of another package, qsm-forward.

The published QSM benchmark data are made by qsm-forward, so this is the nearest that can be had to them without
their template: our tissue maps, their field, signal, shim, offset and noise.

    python benchmarks/qsm_forward_dataset.py OUT [--shape 164 205 205] [--voxel-size 1] [--field-strength 7]

The truth is in OUT/derivatives/truth under the same names as that of `neuraxis simulate`; what qsm-forward itself
writes of it stays in OUT/derivatives/qsm-forward. desc-total is the shimmed field, which the phase holds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from neuraxis.simulate import Phantom
from neuraxis.simulate.acquisition import image_grid
from neuraxis.simulate.anatomy import MNI_TO_ADULT, Person, head
from neuraxis.simulate.tissues import TISSUES
from neuraxis.units import hz_per_ppm

ECHO_TIMES = (0.004, 0.012, 0.020, 0.028)
SUBJECT = "01"


def tissue_maps(folder: Path, options: Phantom) -> dict[str, str]:
    """Write chi, M0, R1, R2star, seg and mask of our head as NIfTI images; name -> path."""
    grid = image_grid(options)
    pose = np.diag([MNI_TO_ADULT] * 3 + [1.0])
    body = head(grid, Person(pose, body=options.seed + 1), options.field_strength, options.calcification)
    maps = {
        "chi": body.chi,
        "M0": body.m0,
        "R1": body.r1,
        "R2star": body.r2star,
        "seg": body.labels,
        "mask": body.brain,
    }
    paths = {}
    for name, data in maps.items():
        paths[name] = str(folder / f"{name}.nii")
        kind = np.uint8 if name in ("seg", "mask") else np.float32
        nib.save(nib.Nifti1Image(data.numpy().astype(kind), grid.matrix), paths[name])
    return paths


def tidy(root: Path, options: Phantom) -> None:
    """What the package leaves to do: gzip, sidecars and descriptions that validate, and the truth under our names."""
    made = root / "derivatives" / "qsm-forward" / f"sub-{SUBJECT}" / "anat" / f"sub-{SUBJECT}_"
    truth = root / "derivatives" / "truth"
    for path in sorted((root / f"sub-{SUBJECT}" / "anat").glob("*.nii")):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine), f"{path}.gz")
        path.unlink()
        sidecar = path.with_suffix(".json")
        content = json.loads(sidecar.read_text()) | {"Manufacturer": "simulated"}
        if "part-phase" in path.name:
            content["Units"] = "rad"
        sidecar.write_text(json.dumps(content, indent=2))
    description = {"Name": "Head by qsm-forward", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["simulated"]}
    maker = {"GeneratedBy": [{"Name": "truth"}], "DatasetType": "derivative"}
    (root / "README").write_text("Our head, seen by qsm-forward. Fully simulated: no human took part.\n")
    (root / "dataset_description.json").write_text(json.dumps(description | {"DatasetType": "raw"}))
    for folder in ("anat", "fmap"):
        (truth / f"sub-{SUBJECT}" / folder).mkdir(parents=True, exist_ok=True)
    (truth / "README").write_text("Known answer of the simulation.\n")
    (truth / "dataset_description.json").write_text(json.dumps(description | maker))
    rows = [f"{tissue.label}\t{tissue.name}" for tissue in TISSUES.values()]
    (truth / "dseg.tsv").write_text("\n".join(["index\tname", *rows]) + "\n")
    whole = {"SkullStripped": False}
    brain = np.asarray(nib.load(f"{made}mask.nii").dataobj) > 0.5
    hertz = hz_per_ppm(options.field_strength)

    def save(source: str, name: str, sidecar: dict, scale: float = 1.0, kind: type = np.float32) -> None:
        image = nib.load(source)
        data = np.asarray(image.dataobj, np.float64) * scale
        data = np.rint(data) if kind is np.uint8 else data  # labels come back as 3.00000001
        place = truth / f"sub-{SUBJECT}" / ("fmap" if "desc-local" in name or "desc-total" in name else "anat")
        data = data * brain if "local_fieldmap" in name else data
        nib.save(nib.Nifti1Image(data.astype(kind), image.affine), place / f"sub-{SUBJECT}_{name}.nii.gz")
        if sidecar:
            (place / f"sub-{SUBJECT}_{name}.json").write_text(json.dumps(sidecar))

    save(f"{made}Chimap.nii", "Chimap", whole | {"Units": "ppm"})
    save(f"{made}mask.nii", "desc-brain_mask", {"Type": "Brain"}, kind=np.uint8)
    save(f"{made}dseg.nii", "dseg", {}, kind=np.uint8)
    save(f"{made}fieldmap-local.nii", "desc-local_fieldmap", {"Units": "Hz", "SkullStripped": True}, hertz)
    save(f"{made}desc-shimmed_fieldmap.nii", "desc-total_fieldmap", {"Units": "Hz"} | whole, hertz)
    first = str(root / f"sub-{SUBJECT}" / "anat" / f"sub-{SUBJECT}_echo-1_part-mag_MEGRE.nii.gz")
    for kind in ("local", "total"):
        save(first, f"desc-{kind}_magnitude", whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(164, 205, 205))
    parser.add_argument("--voxel-size", type=float, default=1.0, help="isotropic: qsm-forward mixes up other voxels")
    parser.add_argument("--field-strength", type=float, default=7.0)
    parser.add_argument("--snr", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    import qsm_forward

    options = Phantom(
        shape=tuple(args.shape),
        voxel_size=(args.voxel_size,) * 3,
        field_strength=args.field_strength,
        echo_times=ECHO_TIMES,
        snr=args.snr,
        seed=args.seed,
        calcification=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = tissue_maps(Path(folder), options)
        start = time.perf_counter()
        tissue = qsm_forward.TissueParams(**paths)
        recon = qsm_forward.ReconParams(
            subject=SUBJECT,
            TEs=np.array(ECHO_TIMES),
            B0=options.field_strength,
            voxel_size=np.array(options.voxel_size),
            peak_snr=options.snr,
            random_seed=options.seed,
        )
        qsm_forward.generate_bids(tissue, recon, str(args.out), save_field=True, save_shimmed_field=True)
        print(f"qsm-forward: {time.perf_counter() - start:.0f} s")
    tidy(args.out, options)


if __name__ == "__main__":
    main()
