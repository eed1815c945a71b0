"""Susceptibility by a trained network, when it is there."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import lazy_loader as lazy

from neuraxis import resources
from neuraxis.numerics import learned_map
from neuraxis.numerics.learned_map import Training
from neuraxis.volume import Grid, Tensor, Volume

torch = lazy.load("torch")


def learned(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    *,
    model: str = "qsmnet_plus",
    sha256: str = "",
    tile: int | None = None,
    halo: int | None = None,
) -> Tensor:
    """Susceptibility by a trained network (QSMnet+); fetched with `neuraxis fetch qsmnet_plus`.

    A three-dimensional network, run as it was trained: the field in the box of the mask, zero around it, turned so that the
    main field runs along its third axis, resampled to the voxels of the training and normalised,

        chi = output_mean + output_sd * network((field - input_mean) / input_sd)

    and back onto the grid of the field. What is near is not resampled: voxels to 5 %, directions to 2 degrees.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    model
        qsmnet_plus, qsmnet, or the path of a description (.toml) of a network of your own, with its ONNX graph beside it.
    sha256
        Of a network of your own: of description and graph, one after the other. A file that has changed is refused.
    tile
        Edge of the tiles that the network sees at once; 16 to 4096 voxels, 0 for all at once, none for the network's own.
        Smaller takes less memory, and blurs what is smooth over more than a tile.
    halo
        Rim of a tile that is thrown away, and again that is blended; 0 to 256 voxels, none for the network's own.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: the network is not installed, changed or cannot be run, a knob is outside its range, or the mask is empty.

    References
    ----------
    Yoon 2018, doi:10.1016/j.neuroimage.2018.06.030
    Jung 2020, doi:10.1016/j.neuroimage.2020.116619
    """
    if tile is not None and not (tile == 0 or 16 <= tile <= 4096):
        raise ValueError(f"tile must be 0 or 16 to 4096 voxels, not {tile}")
    if halo is not None and not 0 <= halo <= 256:
        raise ValueError(f"halo must be 0 to 256 voxels, not {halo}")
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", str(sha256)):
        raise ValueError(f"sha256 must have 64 hexadecimal digits, not {sha256}")
    about, folder = _network(str(model), str(sha256).lower())
    values, mask = Volume(local_field.cpu().numpy(), grid), Volume(local_mask.cpu().numpy(), grid)
    chi = learned_map.predict(values, mask, about, folder, str(local_field.device), tile, halo)
    return torch.from_numpy(chi).to(local_field.device)


def _network(model: str, sha256: str) -> tuple[Training, Path]:
    """The description of a network, and the folder of its graph; ValueError when they are not those that were chosen."""
    rows = {name: one for name, one in resources.known().items() if one.kind == "map"}
    if model in rows:
        if sha256:
            raise ValueError(f"sha256 is of a network of your own; that of {model} is known")
        return Training.of(rows[model].network, model), resources.find(model)
    path = Path(model).expanduser()
    if path.suffix != ".toml" or not path.is_file():
        raise ValueError(f"model must be {', '.join(rows)} or the path of a description (.toml), not {model}")
    text = path.read_bytes()
    try:
        about = Training.of(tomllib.loads(text.decode()), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML ({error})") from error
    if not (path.parent / about.file).is_file():
        raise ValueError(f"there is no file {path.parent / about.file}, which {path.name} names")
    digest = hashlib.sha256(text)
    with (path.parent / about.file).open("rb") as graph:
        while part := graph.read(1 << 20):
            digest.update(part)
    if digest.hexdigest() != sha256:
        seen = f"their sha256, one after the other, is {digest.hexdigest()}"
        if not sha256:
            raise ValueError(
                f"{path} and {about.file} are used only when their sha256 is given, as they may change; {seen}"
            )
        raise ValueError(f"{path} or {about.file} has changed: {seen}, not {sha256}")
    return about, path.parent
