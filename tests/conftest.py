"""A small simulated data set and a run of the app on it, made once for all end-to-end tests."""

from __future__ import annotations

import fcntl
import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # test processes side by side would fight for the cores
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of the many commands would compile the package anew

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="the shared data folder is not beside the checkout"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no GPU"))


def neuraxis(*words: object, check: int | None = 0, **more) -> subprocess.CompletedProcess:
    """The real command; fails the test when it does not end with `check`."""
    command = [sys.executable, "-m", "neuraxis", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **more)
    if check is not None:
        assert done.returncode == check, (
            f"{' '.join(command)} gave {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done


def _once(folder: Path, make) -> Path:
    """Makes `folder` in one of the test processes; the others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".made").exists():
            make(folder)
            (folder / ".made").touch()
    return folder


@pytest.fixture(scope="session")
def common(tmp_path_factory) -> Path:
    """A folder that all test processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def small_bids(common) -> Path:
    """Two participants, four echoes, 4 mm."""
    words = ("--participants", 2, "--shape", 44, 52, 48, "--voxel-size", 4, 4, 4, "--fine", 4, "--t1w-size", 0)
    return _once(common / "small" / "bids", lambda folder: neuraxis("simulate", folder, *words))


@pytest.fixture(scope="session")
def small_out(common, small_bids) -> Path:
    """Results of both levels on `small_bids`, with the learned mask and all else as it comes."""
    return _once(
        common / "small" / "out", lambda folder: neuraxis(small_bids, folder, "participant", "group", "--outputs", *ALL)
    )


@pytest.fixture(scope="session")
def neck_bids(common) -> Path:
    """Two simulated necks, sagittal T2w and axial T2*w."""
    words = ("--cord", "--participants", 2, "--small", "--contrasts", "T2w", "T2starw")
    return _once(common / "neck" / "bids", lambda folder: neuraxis("simulate", folder, *words))


@pytest.fixture(scope="session")
def neck_out(common, neck_bids) -> Path:
    """Results of both levels on `neck_bids`, all as it comes."""
    return _once(common / "neck" / "out", lambda folder: neuraxis(neck_bids, folder, "participant", "group"))


@pytest.fixture(scope="session")
def pam50_resources(common) -> Path:
    """A folder of resources with a template of PAM50's geometry, fetched as a user would from an archive."""
    import toy_pam50

    def make(folder: Path) -> None:
        folder.mkdir()
        archive = toy_pam50.archive(folder.with_name("pam50.tar"))
        neuraxis("fetch", "pam50", "--from", archive, "--to", folder)

    return _once(common / "pam50", make)


@pytest.fixture(scope="session")
def neck_pam50_out(common, neck_bids, neck_out, pam50_resources) -> Path:
    """`neck_out` gone on with once the template is there, for one participant."""

    def make(folder: Path) -> None:
        shutil.copytree(neck_out, folder, ignore=shutil.ignore_patterns(".made"))
        environment = os.environ | {"NEURAXIS_RESOURCES": str(pam50_resources)}
        done = neuraxis(neck_bids, folder, "participant", "--participant-label", "01", env=environment)
        folder.with_suffix(".log").write_text(done.stderr)

    return _once(common / "neck" / "pam50", make)


@pytest.fixture(scope="session")
def series_bids(common) -> Path:
    """A diffusion and a functional series of a simulated neck that moves."""
    words = ("--cord", "--participants", 1, "--small", "--contrasts", "dwi", "bold")
    return _once(common / "series" / "bids", lambda folder: neuraxis("simulate", folder, *words))


@pytest.fixture(scope="session")
def series_out(common, series_bids) -> Path:
    """Results on `series_bids`, all as it comes."""
    return _once(common / "series" / "out", lambda folder: neuraxis(series_bids, folder, "participant"))


ALL = (
    "combined_magnitude",
    "mask",
    "unwrapped",
    "total_field",
    "local_field",
    "local_mask",
    "chi",
    "r2star",
    "t2star",
    "s0",
    "chi_para",
    "chi_dia",
    "swi",
    "swi_mip",
    "true_swi",
    "smwi_para",
    "smwi_dia",
)
