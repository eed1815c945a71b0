"""ONNX graphs of known content: an identity, a blur, the inverse of the dipole kernel in a small box, a net of three layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from neuraxis import resources
from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.resources import Resource

FREE = ("x", "y", "z")


def convolutions(
    path: Path,
    *kernels,
    activation: str = "Tanh",
    space: tuple = FREE,
    images: int = 1,
    last: bool = False,
    pads: bool = True,
    external: str = "",
    kind: str = "float32",
    dilations: tuple[int, ...] = (),
) -> Path:
    """A chain of convolutions (out, in, X, Y, Z) with an odd activation between them. `images`: as so many inputs."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, numbers, before = [], [], "joined"
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    if images > 1:
        nodes.append(helper.make_node("Concat", [f"in{n}" for n in range(images)], ["joined"], axis=4 if last else 1))
    else:
        before = "in0"
    if last:
        nodes.append(helper.make_node("Transpose", [before], ["first"], perm=[0, 4, 1, 2, 3]))
        before = "first"
    for layer, kernel in enumerate(kernels):
        weights = numpy_helper.from_array(np.asarray(kernel).astype(kind), f"w{layer}")
        if external:
            weights.ClearField("raw_data")
            weights.data_location = TensorProto.EXTERNAL
            entry = weights.external_data.add()
            entry.key, entry.value = "location", external
        numbers.append(weights)
        if layer:
            nodes.append(helper.make_node(activation, [before], [f"a{layer}"]))
            before = f"a{layer}"
        d = dilations[layer] if dilations else 1
        rim = [d * (n // 2) if pads else 0 for n in np.shape(kernel)[2:]] * 2
        nodes.append(helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], pads=rim, dilations=[d] * 3))
        before = f"c{layer}"
    if last:
        nodes.append(helper.make_node("Transpose", [before], ["out"], perm=[0, 2, 3, 4, 1]))
        before = "out"
    shape = [1, *space, 1] if last else [1, 1, *space]
    free = [one if one == 1 and (n == 0 or n == (4 if last else 1)) else f"o{n}" for n, one in enumerate(shape)]
    given = [helper.make_tensor_value_info(f"in{n}", number, shape) for n in range(images)]
    graph = helper.make_graph(nodes, "toy", given, [helper.make_tensor_value_info(before, number, free)], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def identity(channels: int = 1) -> np.ndarray:
    """A kernel that gives back the first channel."""
    kernel = np.zeros((1, channels, 3, 3, 3), np.float32)
    kernel[0, 0, 1, 1, 1] = 1
    return kernel


def inverse_dipole(radius: int = 8, weight: float = 0.02) -> np.ndarray:
    """Kernel of the regularised inverse D / (D^2 + weight) with the field along the third axis, cut to a cube."""
    n = 64
    d = dipole_kernel((n, n, n), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)).double()
    whole = torch.fft.irfftn(d / (d**2 + weight), s=(n, n, n))
    middle = torch.roll(whole, (radius,) * 3, (0, 1, 2))[: 2 * radius + 1, : 2 * radius + 1, : 2 * radius + 1]
    return middle.float().numpy()[None, None]


def install(monkeypatch, root: Path, name: str, *graphs: Path, **network) -> None:
    """Fetches graphs under the name of a resource into a folder of resources, and describes it anew."""
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(root))
    about = {"file": graphs[0].name, **network}
    if len(graphs) > 1:  # two lie in folders of their own
        about |= {"file": f"{graphs[0].stem}/{graphs[0].name}", "gradient": f"{graphs[1].stem}/{graphs[1].name}"}
    row = Resource(name, "Toy", "map", tuple(one.as_uri() for one in graphs), network=about)
    rows = resources.known() | {name: row}
    monkeypatch.setattr(resources, "known", lambda: rows)
    resources.fetch(name, say=str)
