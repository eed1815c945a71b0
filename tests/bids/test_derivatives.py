"""What is written is there whole, with all that belongs to it, or counts as not there."""

import numpy as np
import pytest

from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import derivatives
from neuraxis.bids.derivatives import UnitStore
from neuraxis.engine import PlannedStep
from neuraxis.pipelines import CORD_ANAT, QSM
from neuraxis.volume import Grid, Volume


class Killed(BaseException):
    pass


def _store(out):
    entities = {"sub": "01"}
    return UnitStore(out, out / "work", entities, "", 3.0, (0.01,), (), "MEGRE", "sub-01_MEGRE", ())


def _by(pipeline, name):
    step = next(one for one in pipeline.steps if name in one.makes)
    return PlannedStep(step, step.by.methods[0], {}, "run")


@pytest.mark.parametrize(
    ("pipeline", "name", "count"),
    [(QSM, "combined_magnitude", 4), (QSM, "chi", 2), (CORD_ANAT, "levels", 3)],
)
def test_killed_between_any_two_files_it_is_made_again(tmp_path, monkeypatch, pipeline, name, count):
    """Twins and label tables belong to an artifact: none may be missing once it counts as there."""
    grid, write = Grid.of((4, 5, 6), np.diag([1.0, 1.0, 1.0, 1.0])), derivatives.write_atomically
    data = np.ones(grid.shape, np.int16 if ARTIFACTS[name].names else np.float32)
    value, by, sets = Volume(data, grid), _by(pipeline, name), []
    for killed_after in range(count + 1):
        out = tmp_path / str(killed_after)
        done = []

        def dying(path, content, done=done, last=killed_after):
            if len(done) == last:
                raise Killed
            done.append(path)
            write(path, content)

        monkeypatch.setattr(derivatives, "write_atomically", dying)
        if killed_after < count:
            with pytest.raises(Killed):
                _store(out).save(name, value, "key", by)
            assert not _store(out).has(name, "key")
        else:
            _store(out).save(name, value, "key", by)
            assert _store(out).has(name, "key")
        monkeypatch.setattr(derivatives, "write_atomically", write)
        if not _store(out).has(name, "key"):
            _store(out).save(name, value, "key", by)
        sets.append({path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()})
    assert all(one == sets[-1] for one in sets) and len(sets[-1]) == count
