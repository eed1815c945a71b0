"""Models and templates that are not part of the package: name -> url, licence, checksum. The only door to the network.

Nothing is fetched unless asked for by `neuraxis fetch`. At the first fetch the sha256 of the archive and of every file in
it is written into a lock file; from then on a file that differs is refused. Models that come with the package have their
sha256 beside them and are found by the same `find`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import stat
import tempfile
import tomllib
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

LOCK = "resources.lock.json"
_PACKAGED = Path(__file__).parent / "data" / "models"
_TIMEOUT = 60.0
"""Longest silence of a server; s."""
_CHUNK = 1 << 20
Say = Callable[[str], None]


@dataclass(frozen=True)
class Resource:
    """One row of `data/resources.toml`, or a model of the package (no urls)."""

    name: str
    title: str
    kind: str
    urls: tuple[str, ...] = ()
    licence: str = ""
    doi: str = ""
    sha256: tuple[str, ...] = ()
    bytes: int = 0
    runs: bool = True
    orientation: str = ""
    labels: Mapping[int, str] = field(default_factory=dict)
    folds: tuple[int, ...] = ()
    largest: bool = False
    threshold: float = 0.5
    crop: float = 0.0
    needs: tuple[str, ...] = ()
    network: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def known() -> dict[str, Resource]:
    """Every resource that can be fetched or comes with the package, by name."""
    rows = tomllib.loads((Path(__file__).parent / "data" / "resources.toml").read_text("utf-8"))
    found = {name: _resource(name, row) for name, row in rows.items()}
    for manifest in sorted(_PACKAGED.glob("*/sha256.json")):
        name, about = manifest.parent.name, manifest.with_name("dataset.json")
        licence = json.loads(about.read_text("utf-8")).get("licence", "") if about.is_file() else ""
        found[name] = Resource(name, "Model of the package", "nnunet", licence=licence)
    return found


def _resource(name: str, row: Mapping[str, Any]) -> Resource:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    values["labels"] = {int(number): what for number, what in row.get("labels", {}).items()}
    one = Resource(name, **values)
    if one.sha256 and len(one.sha256) != len(one.urls):
        raise ValueError(f"resources.toml: {name} has {len(one.urls)} urls and {len(one.sha256)} sha256")
    return one


def folder() -> Path:
    """Where fetched resources lie: NEURAXIS_RESOURCES, or the user's data folder. It need not exist."""
    if chosen := os.environ.get("NEURAXIS_RESOURCES"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share") / "neuraxis"


def installed() -> dict[str, Path]:
    """Name -> folder of what is there; the checksums are looked at by `find`."""
    lock = _read_lock(folder())
    here = {name: folder() / name for name in known() if name in lock and (folder() / name).is_dir()}
    return here | {manifest.parent.name: manifest.parent for manifest in sorted(_PACKAGED.glob("*/sha256.json"))}


def checksum(name: str) -> str:
    """One for all files of an installed resource, as they were when they were fetched."""
    return hashlib.sha256(json.dumps(_read_lock(folder())[name]["files"], sort_keys=True).encode()).hexdigest()


def find(name: str) -> Path:
    """Folder of a resource whose files are those of its first fetch. ValueError names the command that brings it."""
    resource = _known(name)
    packaged = _PACKAGED / name
    if (packaged / "sha256.json").is_file():
        _verify(name, packaged, json.loads((packaged / "sha256.json").read_text("utf-8")), "install Neuraxis anew")
        return packaged
    where = folder() / name
    lock = _read_lock(folder())
    if name not in lock or not where.is_dir():
        raise ValueError(f"{name} ({resource.title}) is not installed; `neuraxis fetch {name}` brings it")
    _verify(name, where, lock[name]["files"], f"`neuraxis fetch {name}` brings it anew")
    return where


def fetch(name: str, root: Path | None = None, say: Say = print, archives: Sequence[Path] = ()) -> Path:
    """Downloads a resource, or takes its `archives` got by other means, checks and unpacks it below `root`.

    The first time, the checksums go into the lock file of `root`; later ones must equal them. ValueError says what is wrong.
    """
    resource, root = _known(name), folder() if root is None else root
    if (_PACKAGED / name / "sha256.json").is_file():
        say(f"{name} comes with the package")
        return find(name)
    if archives and resource.urls and len(archives) != len(resource.urls):
        raise ValueError(f"{name} is made of {len(resource.urls)} archives, not {len(archives)}")
    if not archives and not resource.urls:
        raise ValueError(
            f"no address is known for {name}; get it by other means and use `neuraxis fetch {name} --from FILE`"
        )
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root), contextlib.ExitStack() as cleanup:
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
        cleanup.callback(shutil.rmtree, work, ignore_errors=True)
        lock = _read_lock(root)
        before = {one["name"]: one["sha256"] for one in lock.get(name, {}).get("archives", ())}
        files, kept = work / "files", []
        for number, (url, archive) in enumerate(_sources(resource, archives)):
            label = _file_name(url) if url else Path(archive or "").name
            if archive is None:
                say(f"{name}: fetching {url}")
                archive = _download(name, url, work / f"archive-{number}")
            elif not archive.is_file():
                raise ValueError(f"there is no file {archive}")
            digest = _sha256(archive)
            wanted = resource.sha256[number] if resource.sha256 else before.get(label)
            if wanted and digest != wanted:
                said = "resources.toml" if resource.sha256 else f"the first fetch, in {root / LOCK}"
                raise ValueError(f"{name}: {label} has sha256 {digest}, not {wanted} as {said} says; it is not used")
            kept.append({"name": label, "url": url, "sha256": digest, "bytes": archive.stat().st_size})
            alone = len(resource.urls) <= 1
            _unpack(name, archive, files if alone else files / label.split(".")[0], label)
        listed = {str(p.relative_to(files).as_posix()): _sha256(p) for p in sorted(files.rglob("*")) if p.is_file()}
        if not listed:
            raise ValueError(f"{name}: the archive holds no file")
        _replace(files, root / name, work)
        _write_lock(root, {**lock, name: {"archives": kept, "files": listed}})
    if not resource.runs:
        say(f"{name} is of kind {resource.kind}, which has no engine here yet: it is kept for other programs")
    say(f"{name} lies in {root / name}, {len(listed)} files")
    return root / name


def _known(name: str) -> Resource:
    if name not in known():
        raise ValueError(f"there is no resource {name!r}; there are {', '.join(known())}")
    return known()[name]


def _sources(resource: Resource, archives: Sequence[Path]) -> Iterator[tuple[str, Path | None]]:
    """Each url with the file that stands for it: by its name where that fits, else by its place."""
    left = list(archives)
    if not resource.urls:
        yield from (("", archive) for archive in left)
    for url in resource.urls:
        fitting = next((one for one in left if one.name == _file_name(url)), left[0] if left else None)
        if fitting is not None:
            left.remove(fitting)
        yield url, fitting


def _file_name(url: str) -> str:
    return PurePosixPath(urllib.parse.unquote(urllib.parse.urlparse(url).path)).name


def _download(name: str, url: str, target: Path) -> Path:
    import http.client  # here and below, what only fetching needs: it would slow every start
    import urllib.request

    if urllib.parse.urlparse(url).scheme not in ("https", "http", "file"):
        raise ValueError(f"{name}: {url} is not an https address")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as source, target.open("wb") as sink:
            expected = source.headers.get("Content-Length")
            shutil.copyfileobj(source, sink, _CHUNK)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{name} could not be fetched from {url} ({reason}); where there is no network, "
            f"bring the file by other means and use `neuraxis fetch {name} --from FILE`"
        ) from error
    if expected and target.stat().st_size != int(expected):
        raise ValueError(f"{name}: {url} broke off after {target.stat().st_size} of {expected} bytes; try again")
    return target


def _unpack(name: str, archive: Path, target: Path, label: str) -> None:
    """Unpacks plain files and folders alone; a name that leads out of `target`, or a link, stops it.

    A file called *.onnx is no archive: it is kept as it is.
    """
    import tarfile
    import zipfile

    target.mkdir(parents=True, exist_ok=True)
    try:
        if label.endswith(".onnx"):
            with archive.open("rb") as graph:
                _write(_inside(name, target, label, False), graph)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as box:
                for entry in box.infolist():
                    if entry.flag_bits & 1:
                        raise ValueError(f"{name}: the archive is encrypted")
                    mode = entry.external_attr >> 16
                    odd = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
                    path = _inside(name, target, entry.filename, odd)
                    if not entry.is_dir():
                        with box.open(entry) as source:
                            _write(path, source)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tape:
                for member in tape:
                    path = _inside(name, target, member.name, not (member.isfile() or member.isdir()))
                    if member.isfile():
                        content = tape.extractfile(member)
                        assert content is not None
                        with content:
                            _write(path, content)
                while tape.fileobj and tape.fileobj.read(_CHUNK):
                    pass  # a checksum may stand behind the last file
        else:
            raise ValueError(f"{name}: {archive.name} is no zip or tar archive, or it is cut off")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{name}: the archive is broken ({error})") from error


def _inside(name: str, target: Path, entry: str, odd: bool) -> Path:
    path = PurePosixPath(entry)
    if odd or path.is_absolute() or ".." in path.parts or "\\" in entry or ":" in entry or "\0" in entry:
        raise ValueError(
            f"{name}: the archive holds {entry!r}, a link or a path that leads out of its folder; it is not used"
        )
    return target.joinpath(*path.parts)


def _write(path: Path, source: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)


def _replace(made: Path, target: Path, work: Path) -> None:
    """Puts a folder in its place by renaming; the old one, if any, is away before and gone after."""
    if target.exists():
        os.replace(target, work / "old")
    os.replace(made, target)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    with (root / ".fetching").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _read_lock(root: Path) -> dict[str, Any]:
    try:
        return json.loads((root / LOCK).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{root / LOCK} is not JSON ({error}); delete it and fetch anew") from error


def _write_lock(root: Path, content: Mapping[str, Any]) -> None:
    handle, path = tempfile.mkstemp(prefix=".lock.", dir=root)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.chmod(path, 0o644)
    os.replace(path, root / LOCK)


def _verify(name: str, where: Path, files: Mapping[str, str], remedy: str) -> None:
    for file, wanted in files.items():
        path = where / file
        if not path.is_file():
            raise ValueError(f"{name}: {path} is missing; {remedy}")
        about = path.stat()
        if _known_sha256(str(path), about.st_size, about.st_mtime_ns) != wanted:
            raise ValueError(f"{name}: {path} is not the file that was fetched first (its sha256 differs); {remedy}")


@functools.cache
def _known_sha256(path: str, size: int, mtime: int) -> str:
    """sha256 of a file, read once per process while size and time stay the same."""
    return _sha256(Path(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
