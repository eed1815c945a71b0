"""A process of its own for picsl-greedy, which prints to the screen from C++: commands and images in, images and matrices out.

Started as `python -m neuraxis.numerics.greedy`; standard input holds an .npz: `commands`, and `NAME` with `NAME.matrix` for every image.
Standard output is an .npz of what the commands left under the names in `wanted`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.volume import Array, Volume

LPS = np.diag([-1.0, -1.0, 1.0])


def run(commands: Sequence[str], given: Mapping[str, Volume | Array], wanted: Sequence[str], threads: int = 1) -> dict[str, Array]:
    """Runs greedy's commands in another process.

    Parameters
    ----------
    commands
        As on greedy's command line, with names in place of files.
    given
        Images (X, Y, Z) and 4 x 4 matrices under their names.
    wanted
        Names of what is given back: matrices, images, and warps as (X, Y, Z, 3), RAS+ mm.
    threads
        At least 1. With more than one, sums round in another order from run to run.

    Raises
    ------
    ValueError: greedy ended with an error; its last line is told.
    """
    held: dict[str, Any] = {"commands": np.array([f"{one} -threads {threads}" for one in commands]), "wanted": np.array(list(wanted))}
    for name, value in given.items():
        if isinstance(value, Volume):
            held |= {name: np.asarray(value.data, np.float32), f"{name}.matrix": value.grid.matrix}
        else:
            held[name] = value
    sent = io.BytesIO()
    np.savez(sent, **held)
    done = subprocess.run(
        [sys.executable, "-m", "neuraxis.numerics.greedy"], input=sent.getvalue(), capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ValueError(f"the registration failed: {last[0]}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as found:
        return {name: found[name] for name in wanted}


def _picture(data: Array, matrix: Array) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    size = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(size.tolist())
    image.SetDirection((LPS @ (matrix[:3, :3] / size)).ravel().tolist())
    image.SetOrigin((LPS @ matrix[:3, 3]).tolist())
    return image


def _serve() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the library prints
    import SimpleITK as sitk
    from picsl_greedy import Greedy3D

    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as held:
        commands, wanted = held["commands"].tolist(), held["wanted"].tolist()
        names = [name for name in held.files if name not in ("commands", "wanted") and not name.endswith(".matrix")]
        known: dict[str, Any] = {
            name: _picture(held[name], held[f"{name}.matrix"]) if f"{name}.matrix" in held.files else held[name] for name in names
        }
    greedy = Greedy3D()
    known |= dict.fromkeys(name for name in wanted if name not in known)
    for command in commands:
        words = command.split()
        greedy.execute(command, **{name: value for name, value in known.items() if name in words})
        known = {name: value for name, value in known.items() if name not in words}  # held by greedy from here on
    results: dict[str, Any] = {}
    for name in wanted:
        value = greedy[name]
        if isinstance(value, sitk.Image):
            value = sitk.GetArrayFromImage(value)
            value = value.transpose(2, 1, 0, 3) @ LPS if value.ndim == 4 else value.transpose(2, 1, 0)
        results[name] = np.asarray(value)
    np.savez(out, **results)
    out.close()


if __name__ == "__main__":
    _serve()
