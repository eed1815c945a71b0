import hashlib
import io
import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from neuraxis import resources
from neuraxis.errors import NeuraxisError, OutputError, UsageError
from neuraxis.fetch import fetch_command
from neuraxis.resources import LOCK, Resource

FILES = {"model/plans.json": b"{}", "model/fold_0/checkpoint_final.pth": b"weights" * 99}


def _zip(path: Path, files=None, link=None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
        box.writestr("model/", b"")
        for name, content in (files or FILES).items():
            box.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            box.writestr(entry, "/etc/passwd")
    return path


def _tar(path: Path, files=None, kind=None) -> Path:
    with tarfile.open(path, "w:gz") as tape:
        for name, content in (files or FILES).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tape.addfile(member, io.BytesIO(content))
        if kind:
            member = tarfile.TarInfo("model/odd")
            member.type, member.linkname = kind, "../../../etc/passwd"
            tape.addfile(member)
    return path


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A resource `toy` behind a file address, and an empty folder to fetch into."""
    root, archive = tmp_path / "root", _zip(tmp_path / "toy.zip")
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(root))
    rows = {"toy": Resource("toy", "Toy", "nnunet", (archive.as_uri(),))}
    monkeypatch.setattr(resources, "known", lambda: rows)
    return root, archive, rows


def _left(root: Path) -> set[str]:
    return {one.name for one in root.iterdir()} - {".fetching"}


def test_the_table_is_whole():
    rows = resources.known()
    tasks = (
        "spinalcord graymatter lesion_sci_t2 lesion_ms lesion_ms_mp2rage lesion_ms_axial_t2 rootlets sc_epi canal spine"
    )
    other = "sc_lumbar_t2 tumor_t2 tumor_edema_cavity_t1_t2 gm_wm_exvivo_t2 gm_sc_7t_t2star sc_mouse_t1 gm_mouse_t1"
    assert {*tasks.split(), *other.split(), "gm_wm_mouse_t1", "deepreg", "moco-dl", "pam50"} <= rows.keys()
    for name, one in rows.items():
        assert one.title and one.kind in ("nnunet", "map", "variational", "ivadomed", "onnx", "torch", "template"), name
        assert all(url.startswith(("https://github.com/", "https://huggingface.co/")) for url in one.urls), name
        assert all(len(digest) == 64 for digest in one.sha256), name
        assert set(one.needs) <= rows.keys(), name
        assert one.runs == (one.kind in ("nnunet", "map", "variational", "template")), name
        assert not one.orientation or {"L": "R", "P": "A", "I": "S"}.keys() & set(one.orientation), name
        assert not one.doi or one.doi.startswith("10."), name
    assert len(rows["lesion_ms"].urls) == len(rows["lesion_ms"].folds) == 5
    assert rows["spinalcord"].largest and rows["canal"].largest and not rows["graymatter"].largest
    assert rows["spine"].labels[2] == "disc C2/C3"


def test_the_folder_is_the_users_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURAXIS_RESOURCES", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert resources.folder() == tmp_path / ".local" / "share" / "neuraxis"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert resources.folder() == tmp_path / "data" / "neuraxis"
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path / "own"))
    assert resources.folder() == tmp_path / "own"
    with pytest.raises(ValueError, match="`neuraxis fetch spinalcord` brings it"):
        resources.find("spinalcord")
    assert "spinalcord" not in resources.installed()
    assert not list(tmp_path.iterdir())


def test_fetched_found_and_listed(there):
    root, archive, _ = there
    said = []
    where = resources.fetch("toy", say=said.append)
    assert where == root / "toy" == resources.find("toy") == resources.installed()["toy"]
    assert {one.relative_to(where).as_posix(): one.read_bytes() for one in where.rglob("*") if one.is_file()} == FILES
    assert _left(root) == {"toy", LOCK} and any("fetching file://" in one for one in said)
    lock = json.loads((root / LOCK).read_text())["toy"]
    assert lock["archives"][0]["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert lock["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_a_changed_file_is_refused_and_fetched_anew(there):
    root, _, _ = there
    path = resources.fetch("toy", say=str) / "model/fold_0/checkpoint_final.pth"
    resources.find("toy")
    path.write_bytes(b"Weights" * 99)
    with pytest.raises(ValueError, match="checkpoint_final.pth is not the file that was fetched first"):
        resources.find("toy")
    resources.fetch("toy", say=str)
    assert resources.find("toy") and path.read_bytes() == b"weights" * 99
    path.unlink()
    with pytest.raises(ValueError, match="missing; `neuraxis fetch toy`"):
        resources.find("toy")


def test_hashes_are_computed_once(there, monkeypatch):
    resources.fetch("toy", say=str)
    resources.find("toy")
    monkeypatch.setattr(resources, "_sha256", lambda path: pytest.fail("read again"))
    resources.find("toy")


def test_another_archive_under_the_same_address_is_refused(there):
    root, archive, _ = there
    resources.fetch("toy", say=str)
    _zip(archive, FILES | {"model/more": b"x"})
    with pytest.raises(ValueError, match=f"toy.zip has sha256 .*not .*first fetch.*{LOCK}"):
        resources.fetch("toy", say=str)
    assert resources.find("toy") and not (root / "toy" / "model" / "more").exists()


def test_the_sum_in_the_table_is_obeyed(there):
    root, archive, rows = there
    rows["toy"] = Resource("toy", "Toy", "nnunet", (archive.as_uri(),), sha256=("0" * 64,))
    with pytest.raises(ValueError, match="as resources.toml says"):
        resources.fetch("toy", say=str)
    assert not _left(root)
    rows["toy"] = Resource(
        "toy", "Toy", "nnunet", (archive.as_uri(),), sha256=(hashlib.sha256(archive.read_bytes()).hexdigest(),)
    )
    assert resources.fetch("toy", say=str)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "..\\out", "C:/out"])
@pytest.mark.parametrize("make", [_zip, _tar])
def test_paths_that_lead_out_are_refused(there, tmp_path, name, make):
    root, _, _ = there
    with pytest.raises(ValueError, match="leads out of its folder"):
        resources.fetch("toy", say=str, archives=[make(tmp_path / "evil", {name: b"x", "good": b"y"})])
    assert not _left(root) and not (tmp_path / "out").exists() and not (root / "out").exists()


def test_links_and_devices_are_refused(there, tmp_path):
    root, _, _ = there
    evil = [_zip(tmp_path / "a.zip", link="model/link")]
    evil += [
        _tar(tmp_path / f"{kind!r}.tar.gz", kind=kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)
    ]
    for archive in evil:
        with pytest.raises(ValueError, match="a link"):
            resources.fetch("toy", say=str, archives=[archive])
    assert not _left(root)


@pytest.mark.parametrize("make", [_zip, _tar])
def test_cut_off_archives_are_refused(there, tmp_path, make):
    root, _, _ = there
    whole = make(tmp_path / "whole", {"a": os.urandom(5000), "b": os.urandom(5000)})
    for size in (0, 100, 6000, whole.stat().st_size - 30):
        cut = tmp_path / f"cut{size}"
        cut.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(ValueError, match="toy: "):
            resources.fetch("toy", say=str, archives=[cut])
    assert not _left(root)


def test_an_archive_with_a_wrong_byte_is_refused(there, tmp_path):
    whole = bytearray(_zip(tmp_path / "whole.zip", {"a": os.urandom(5000)}).read_bytes())
    whole[2500] ^= 1
    (tmp_path / "wrong.zip").write_bytes(whole)
    with pytest.raises(ValueError, match="broken"):
        resources.fetch("toy", say=str, archives=[tmp_path / "wrong.zip"])


def test_a_tar_is_as_good_as_a_zip(there, tmp_path):
    resources.fetch("toy", say=str, archives=[_tar(tmp_path / "toy.tar.gz")])
    assert (resources.find("toy") / "model/plans.json").read_bytes() == b"{}"


def test_no_network_is_told_with_the_way_around(there):
    root, _, rows = there
    for url in ("http://127.0.0.1:9/toy.zip", "file:///nowhere/toy.zip"):
        rows["toy"] = Resource("toy", "Toy", "nnunet", (url,))
        with pytest.raises(ValueError, match="could not be fetched .*`neuraxis fetch toy --from FILE`"):
            resources.fetch("toy", say=str)
    rows["toy"] = Resource("toy", "Toy", "nnunet", ("ftp://example.org/toy.zip",))
    with pytest.raises(ValueError, match="not an https address"):
        resources.fetch("toy", say=str)
    assert not _left(root)


def test_a_download_that_breaks_off_is_refused(there, monkeypatch):
    class Short(io.BytesIO):
        headers = {"Content-Length": "1000"}

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Short(b"x" * 10))
    with pytest.raises(ValueError, match="broke off after 10 of 1000 bytes"):
        resources.fetch("toy", say=str)


def test_several_archives_lie_side_by_side(there, tmp_path):
    root, _, rows = there
    parts = [_zip(tmp_path / f"fold{n}.zip", {"m/plans.json": str(n).encode()}) for n in (0, 1)]
    rows["two"] = Resource("two", "Two", "nnunet", tuple(one.as_uri() for one in parts))
    where = resources.fetch("two", say=str)
    assert [(where / f"fold{n}/m/plans.json").read_text() for n in (0, 1)] == ["0", "1"]
    again = resources.fetch("two", say=str, archives=parts[::-1])  # told apart by their names
    assert (again / "fold1/m/plans.json").read_text() == "1"
    with pytest.raises(ValueError, match="2 archives, not 1"):
        resources.fetch("two", say=str, archives=parts[:1])


def test_without_an_address_only_a_file_helps(there):
    _, archive, rows = there
    rows["none"] = Resource("none", "No address", "torch", runs=False)
    with pytest.raises(ValueError, match="no address is known for none"):
        resources.fetch("none", say=str)
    said = []
    assert resources.fetch("none", say=said.append, archives=[archive]) and any("no engine" in one for one in said)


def test_models_of_the_package(there, tmp_path, monkeypatch):
    packaged = tmp_path / "models"
    (packaged / "own").mkdir(parents=True)
    (packaged / "own" / "plans.json").write_bytes(b"{}")
    (packaged / "own" / "sha256.json").write_text(json.dumps({"plans.json": hashlib.sha256(b"{}").hexdigest()}))
    monkeypatch.undo()  # the real table
    monkeypatch.setattr(resources, "_PACKAGED", packaged)
    resources.known.cache_clear()
    try:
        assert resources.known()["own"].kind == "nnunet"
        assert resources.find("own") == packaged / "own" == resources.installed()["own"]
        assert resources.fetch("own", tmp_path / "root", say=str) == packaged / "own"
        (packaged / "own" / "plans.json").write_bytes(b"{ }")
        with pytest.raises(ValueError, match="install Neuraxis anew"):
            resources.find("own")
    finally:
        resources.known.cache_clear()


def test_what_is_unknown_or_unreadable_is_told(there):
    root, _, _ = there
    with pytest.raises(ValueError, match="no resource 'tay'; there are toy"):
        resources.find("tay")
    root.mkdir()
    (root / LOCK).write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        resources.find("toy")


def test_the_command(there, tmp_path, capsys):
    root, archive, rows = there
    rows["idle"] = Resource("idle", "Not run here", "ivadomed", (archive.as_uri(),), runs=False)
    rows["gone"] = Resource("gone", "Gone", "nnunet", ("file:///nowhere/gone.zip",))
    assert fetch_command(["--list"]) == 0
    text = capsys.readouterr().out
    assert str(root) in text and "no engine here yet" in text and "installed" not in text
    assert fetch_command(["toy"]) == 0 and "2 files" in capsys.readouterr().out
    assert fetch_command([]) == 0 and "installed" in capsys.readouterr().out
    assert fetch_command(["toy", "--to", str(tmp_path / "other"), "--from", str(archive)]) == 0
    assert f"NEURAXIS_RESOURCES={tmp_path / 'other'}" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no resource 'tay'"):
        fetch_command(["tay"])
    with pytest.raises(UsageError, match="--from"):
        fetch_command(["toy", "idle", "--from", str(archive)])
    with pytest.raises(NeuraxisError, match="no file"):
        fetch_command(["toy", "--from", str(tmp_path / "none.zip")])
    with pytest.raises(NeuraxisError, match="1 of 2 were not fetched: gone"):
        fetch_command(["all"])
    assert "gone could not be fetched" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch_command(["toy", "--to", str(tmp_path / "file" / "below")])
