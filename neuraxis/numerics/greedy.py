"""A process of its own for picsl-greedy, which prints to the screen from C++: a command and images in, a matrix or a warp out.

Started as `python -m neuraxis.numerics.greedy`; standard input holds an .npz: `command`, `wanted`, and `NAME` with `NAME.matrix` for
every image. Standard output is an .npy of what the command left under the name in `wanted`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuraxis.numerics.registration import LPS, picture
from neuraxis.volume import Array, Grid, Volume


def run(command: str, images: Mapping[str, Volume], wanted: str, threads: int = 1) -> Array:
    """Runs a command of greedy in another process.

    Parameters
    ----------
    command
        As on greedy's command line, with names in place of files.
    images
        (X, Y, Z), under their names.
    wanted
        Name of what is given back: a 4 x 4 matrix, or a warp as (X, Y, Z, 3), RAS+ mm.
    threads
        At least 1. With more than one, sums round in another order from run to run.

    Raises
    ------
    ValueError: greedy ended with an error; its last line is told.
    """
    held: dict[str, Any] = {"command": f"{command} -threads {threads}", "wanted": wanted}
    for name, volume in images.items():
        held |= {name: np.asarray(volume.data, np.float32), f"{name}.matrix": volume.grid.matrix}
    sent = io.BytesIO()
    np.savez(sent, **held)
    done = subprocess.run(
        [sys.executable, "-m", "neuraxis.numerics.greedy"], input=sent.getvalue(), capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ValueError(f"the registration failed: {last[0]}")
    return np.asarray(np.load(io.BytesIO(done.stdout), allow_pickle=False))


def _serve() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the library prints
    import SimpleITK as sitk
    from picsl_greedy import Greedy3D

    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as held:
        command, wanted = str(held["command"]), str(held["wanted"])
        names = [name.removesuffix(".matrix") for name in held.files if name.endswith(".matrix")]
        images = {name: picture(held[name], Grid.of(held[name].shape, held[f"{name}.matrix"]), np.float32) for name in names}
    greedy = Greedy3D()
    greedy.execute(command, **images, **{wanted: None})
    found = greedy[wanted]
    if isinstance(found, sitk.Image):
        found = sitk.GetArrayFromImage(found).transpose(2, 1, 0, 3) @ LPS
    result = io.BytesIO()  # numpy asks a file for its position, which a pipe has not
    np.save(result, np.asarray(found))
    out.write(result.getvalue())
    out.close()


if __name__ == "__main__":
    _serve()
