import hashlib

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, positions, rotation, sphere_field
from toy_onnx import convolutions, identity, install

from neuraxis import resources
from neuraxis.fetch import fetch_command
from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.learned_map import Training
from neuraxis.qsm.inversion.learned import learned
from neuraxis.units import hz_per_ppm, radians_per_ppm_second

GRID = centred_grid((40, 44, 42))


def _field(grid=GRID, centre=(0.0, 0.0, 0.0)):
    mask = ball(grid, 17)
    return torch.from_numpy(sphere_field(grid, 5.0, 0.3, centre) * mask), torch.from_numpy(mask)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Installs an identity, or another graph, as `qsmnet_plus`."""

    def make(*kernels, options=None, **network):
        kernels = kernels or (identity(2 if network.get("mask_input") else 1),)
        graph = convolutions(tmp_path / "toy.onnx", *kernels, **(options or {}))
        install(monkeypatch, tmp_path / "root", "qsmnet_plus", graph, **network)
        return graph

    return make


def _own(folder, graph, **network):
    """A description beside a graph, and the sha256 of both."""
    lines = [f"{name} = {value!r}".replace("True", "true").replace("'", '"') for name, value in network.items()]
    path = folder / "own.toml"
    path.write_text("\n".join([f'file = "{graph.name}"', *lines]))
    return str(path), hashlib.sha256(path.read_bytes() + graph.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["isotropic", "anisotropic", "coronal"])
def test_an_identity_gives_the_field_wherever_its_axes_point(given, name):
    given()
    grid = GRIDS[name]
    field, mask = _field(grid, (3.0, -2.0, 1.0))
    assert torch.equal(learned(field, mask, grid), field)


@pytest.mark.parametrize(
    ("network", "factor"),
    [
        (dict(input_sd=0.01, output_sd=0.03), 3.0),
        (dict(input_sd=-0.5), -2.0),
        (dict(unit="Hz", field_strength=3.0), hz_per_ppm(3.0)),
        (dict(unit="rad", field_strength=7.0, echo_time=0.02), radians_per_ppm_second(7.0) * 0.02),
    ],
)
def test_scales_and_units_are_exact(given, network, factor):
    given(**network)
    field, mask = _field()
    assert torch.allclose(learned(field, mask, GRID), factor * field, rtol=1e-5, atol=1e-7)


def test_means_are_taken_off_and_put_on_inside_the_mask_alone(given):
    given(input_mean=0.2, input_sd=2.0, output_mean=0.7, output_sd=4.0)
    field, mask = _field()
    expected = torch.where(mask, 0.7 + 2 * (field - 0.2), 0.0)
    assert torch.allclose(learned(field, mask, GRID), expected, atol=1e-5)


@pytest.mark.parametrize("options", [dict(images=2), dict(images=2, last=True)])
def test_a_second_input_is_the_mask(given, options):
    kernel = np.zeros((1, 2, 1, 1, 1), np.float32)
    kernel[0, 1] = 1
    given(kernel, options=options, mask_input=True)
    field, mask = _field()
    assert torch.equal(learned(field, mask, GRID), mask.float())


@pytest.mark.parametrize("turn", [rotation(0, 25), rotation(0, 12) @ rotation(2, 140)])
@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.0)])
def test_there_and_back_from_other_voxels_and_directions(given, turn, size):
    given(voxel_size=(1, 1, 1))
    grid = centred_grid((52, 42, 42 if size[2] == 1 else 22), size, turn)
    mask = ball(grid, 17)
    smooth = torch.from_numpy(np.exp(-((positions(grid) - (3.0, -4.0, 2.0)) ** 2).sum(-1) / 50).astype(np.float32))
    found = learned(smooth * torch.from_numpy(mask), torch.from_numpy(mask), grid).numpy()
    inner = ball(grid, 14)
    assert np.abs(found - smooth.numpy())[inner].max() < 0.02
    assert not found[~mask].any()


def test_the_main_field_runs_along_the_third_axis_of_the_network(given):
    """A network that looks one voxel ahead along its third axis sees what lies higher in the world, or in RAI lower."""
    ahead = np.zeros((1, 1, 3, 3, 3), np.float32)
    ahead[0, 0, 1, 1, 2] = 1
    grid = centred_grid((44, 44, 44), turn=rotation(0, 30))
    mask = ball(grid, 19)
    ramp = torch.from_numpy((positions(grid)[..., 2] * mask).astype(np.float32))
    inner = ball(grid, 12)
    for orientation, sign in (("LPI", 1), ("LPS", -1)):
        given(ahead, orientation=orientation)
        moved = learned(ramp, torch.from_numpy(mask), grid).numpy() - positions(grid)[..., 2]
        assert moved[inner].mean() == pytest.approx(sign, abs=0.02)


def test_a_network_without_direction_is_not_turned(given):
    given(axial=False)
    grid = GRIDS["tilted"]
    field, mask = _field(grid)
    assert torch.equal(learned(field, mask, grid), field)


def test_tiles_of_the_knobs_and_of_the_network(given):
    numbers = np.random.default_rng(0)
    given(numbers.normal(0, 0.3, (4, 1, 3, 3, 3)), numbers.normal(0, 0.3, (1, 4, 3, 3, 3)), multiple=4, halo=4)
    field, mask = _field()
    whole = learned(field, mask, GRID)
    assert torch.allclose(learned(field, mask, GRID, tile=16), whole, atol=1e-5)
    assert torch.allclose(learned(field, mask, GRID, tile=20, halo=2), whole, atol=1e-5)
    with pytest.raises(ValueError, match="more than three halos.*not 30"):
        learned(field, mask, GRID, tile=20, halo=30)


def test_a_trained_network_is_better_than_nothing_and_than_the_field(given):
    torch.manual_seed(0)
    threads, n = torch.get_num_threads(), 32
    shape, place = (n, n, n), np.indices((n, n, n)) - n / 2
    mask = torch.from_numpy((place**2).sum(0) < 14**2)
    kernel = dipole_kernel(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 1.0))

    def phantom(seed):
        numbers, chi = np.random.default_rng(seed), np.zeros(shape, np.float32)
        for _ in range(25):
            centre, radius = numbers.uniform(-10, 10, (3, 1, 1, 1)), numbers.uniform(2, 5)
            chi[((place - centre) ** 2).sum(0) < radius**2] = numbers.normal(0, 0.1)
        truth = torch.from_numpy(chi) * mask
        return irfftn(rfftn(truth) * kernel, shape) * mask, truth

    layers = (
        torch.nn.Conv3d(1, 8, 7, padding=6, dilation=2, bias=False),
        torch.nn.Conv3d(8, 1, 5, padding=2, bias=False),
    )
    steps = 32
    optimiser = torch.optim.Adam([one.weight for one in layers], 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, steps)
    examples = [phantom(seed) for seed in range(12)]
    for step in range(steps):
        field, truth = examples[step % len(examples)]
        found = layers[1](torch.tanh(layers[0](field[None, None] / 0.05)))[0, 0] * 0.1 * mask
        optimiser.zero_grad()
        ((found - truth) ** 2).sum().div((truth**2).sum()).backward()
        optimiser.step()
        schedule.step()
    kernels = [one.weight.detach().numpy() for one in layers]
    given(*kernels, options=dict(dilations=(2, 1)), voxel_size=(1, 1, 1), input_sd=0.05, output_sd=0.1)
    field, truth = phantom(99)
    made = learned(field, mask, centred_grid(shape))
    with torch.no_grad():
        expected = layers[1](torch.tanh(layers[0](field[None, None] / 0.05)))[0, 0] * 0.1 * mask
    assert torch.allclose(made, expected, atol=1e-5)

    def error(map_):
        return float((map_ - truth)[mask].norm() / truth[mask].norm())

    assert error(made) < 0.85 < 1.0 < error(field)  # an empty map has 1
    assert torch.get_num_threads() == threads


def test_the_networks_of_the_table_are_described():
    found = {name: one for name, one in resources.known().items() if one.kind == "map"}
    assert {"qsmnet", "qsmnet_plus"} <= found.keys()
    for name, one in found.items():
        about = Training.of(one.network, name)
        assert one.urls[0].endswith("/" + about.file) and one.licence and one.doi and one.sha256 and one.bytes, name


def test_a_network_that_is_not_installed_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path))
    with pytest.raises(ValueError, match="`neuraxis fetch qsmnet_plus` brings it"):
        learned(*_field(), GRID)


def test_fetched_by_hand_the_graph_is_kept_and_another_file_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path / "root"))
    graph = convolutions(tmp_path / "by-hand.onnx", identity())
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    one = resources.Resource(
        "toy", "Toy", "map", ("https://example.org/toy.onnx",), sha256=(digest,), network={"file": "toy.onnx"}
    )
    monkeypatch.setattr(resources, "known", lambda: {"toy": one})
    assert fetch_command(["toy", "--from", str(graph)]) == 0
    assert (resources.find("toy") / "toy.onnx").read_bytes() == graph.read_bytes()
    assert torch.equal(learned(*_field(), GRID, model="toy"), _field()[0])
    convolutions(graph, 2 * identity())
    with pytest.raises(Exception, match="as resources.toml says; it is not used"):
        fetch_command(["toy", "--from", str(graph)])
    (resources.find("toy") / "toy.onnx").write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(ValueError, match="not the file that was fetched first"):
        learned(*_field(), GRID, model="toy")


def test_a_network_of_ones_own_needs_its_sha256(tmp_path):
    graph = convolutions(tmp_path / "own.onnx", identity())
    path, digest = _own(tmp_path, graph, output_sd=2.0, multiple=4)
    field, mask = _field()
    assert torch.equal(learned(field, mask, GRID, model=path, sha256=digest), 2 * field)
    with pytest.raises(ValueError, match=f"only when their sha256 is given.*{digest}"):
        learned(field, mask, GRID, model=path)
    convolutions(graph, 3 * identity())
    with pytest.raises(ValueError, match=f"has changed.*not {digest}"):
        learned(field, mask, GRID, model=path, sha256=digest)
    with pytest.raises(ValueError, match="sha256 is of a network of your own"):
        learned(field, mask, GRID, sha256=digest)
    graph.unlink()
    with pytest.raises(ValueError, match="there is no file .*own.onnx, which own.toml names"):
        learned(field, mask, GRID, model=path, sha256=digest)
    with pytest.raises(ValueError, match="or the path of a description"):
        learned(field, mask, GRID, model=str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour = 3", "a network has no 'colour'; it has file"),
        ("voxel_size = [1, 1]", "the voxel_size"),
        ("voxel_size = 1.0", "voxel_size cannot be 1.0"),
        ("unit = 'T'", "the unit 'T'"),
        ("unit = 'Hz'", "the field_strength 0"),
        ("unit = 'rad'\nfield_strength = 3", "the echo_time 0"),
        ("input_sd = 0.0", "the normalisation"),
        ("multiple = 0", "the multiple 0"),
        ("multiple = true", "multiple cannot be True"),
        ("orientation = 'IAL'", "an axial network"),
        ("orientation = 'XYZ'", "no orientation"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, line, message):
    (tmp_path / "own.toml").write_text(f"file = 'own.onnx'\n{line}\n")
    with pytest.raises(ValueError, match=message):
        learned(*_field(), GRID, model=str(tmp_path / "own.toml"))


def test_a_graph_that_does_not_fit_its_description_is_refused(given):
    given(identity(), mask_input=True)
    with pytest.raises(ValueError, match=r"toy.onnx takes 1 image\(s\), its description says 2"):
        learned(*_field(), GRID)


def test_a_network_that_gives_no_numbers_is_refused(given):
    given(np.full((1, 1, 1, 1, 1), np.inf))
    with pytest.raises(ValueError, match="toy.onnx gives values that are not finite"):
        learned(*_field(), GRID)
