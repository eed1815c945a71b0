"""The engine: planning, keys, demand, binding and failure, on a toy pipeline of plain functions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import toy

from neuraxis.engine import Family, Pipeline, Step, call, make_plan, run, to_run
from neuraxis.errors import GridMismatch, MethodError, UsageError
from neuraxis.signature import Method
from neuraxis.volume import Grid, Volume

GRID = Grid.of((2, 3, 4), np.diag([1.0, 2, 3, 1]))
ONES = Volume(np.ones(GRID.shape, np.float32), GRID)


def family(name, *functions):
    return Family(name, name, tuple(Method.of(f) for f in functions))


PIPELINE = Pipeline(
    "toy",
    "Toy",
    ("raw", "extra"),
    (
        Step(("doubled",), family("doubling", toy.double, toy.triple)),
        Step(("shifted",), family("shifting", toy.shift)),
        Step(("combined",), family("combining", toy.combine)),
        Step(("total",), family("total", toy.total)),
    ),
)


class Memory:
    """A store in memory."""

    def __init__(self):
        self.kept = {}

    def has(self, name, key):
        return self.kept.get(name, ("", None))[0] == key

    def load(self, name):
        return self.kept[name][1]

    def save(self, name, value, key, by):
        self.kept[name] = (key, value)
        return value


class Log:
    def __init__(self):
        self.ran, self.errors, self.warned, self.not_run = [], [], [], []

    def started(self, one):
        pass

    def finished(self, one, made, seconds, warned):
        self.ran.append(one.method.name)
        self.warned += warned

    def failed(self, one, error):
        self.errors.append((one.method.name, str(error)))

    def blocked(self, one, reason):
        self.not_run.append((one.method.name, reason))


def plan(targets=("total",), choice=None, knobs=None, given=None):
    return make_plan(PIPELINE, choice or {}, knobs or {}, given if given is not None else {"raw": "r1"}, targets)


def go(the_plan, store=None, values=None):
    store, log = store or Memory(), Log()
    run(the_plan, values or {"raw": ONES}, store, log)
    return store, log


def test_a_method_is_read_off_its_signature_and_docstring():
    method = Method.of(toy.double)
    assert (method.name, method.summary, method.dois) == ("double", "Doubles.", ("10.1000/xyz",))
    assert [(n.name, n.kind, n.optional) for n in method.needs] == [("raw", "Array", False), ("extra", "Array", True)]
    assert [(k.name, k.default, k.help) for k in method.knobs] == [("factor", 2.0, "What to multiply by; above 0.")]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("factor", "3", 3.0),
        ("mode", "b", "b"),
        ("count", "4", 4),
        ("flag", "yes", True),
        ("sizes", "1,2", (1.0, 2.0)),
        ("either", "auto", "auto"),
        ("either", "0.5", 0.5),
    ],
)
def test_knobs_are_read_from_text(name, text, value):
    assert Method.of(toy.triple).set({name: text})[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("factor", "x"), ("mode", "z"), ("count", "1.5"), ("flag", "2"), ("either", "maybe"), ("nothing", "1")],
)
def test_a_wrong_knob_is_refused_by_name(name, text):
    with pytest.raises(ValueError, match=name):
        Method.of(toy.triple).set({name: text})


def test_the_plan_wants_only_what_the_targets_need_and_says_what_is_skipped():
    fates = {
        one.method.name: (one.fate, one.reason) for one in plan(("combined",), given={"raw": "r", "extra": "e"}).steps
    }
    assert fates["total"][0] == "unwanted" and fates["combine"][0] == "run"
    without = {one.method.name: (one.fate, one.reason) for one in plan(("combined",), given={"extra": "e"}).steps}
    assert without["combine"] == ("skipped", "no raw; no raw") or without["combine"][0] == "skipped"
    assert plan(("combined",), given={"extra": "e"}).missing["combined"].startswith("no raw")


def test_single_step_methods_need_no_special_case():
    """`triple` does not ask for `extra`; an optional need that cannot be made is no obstacle."""
    assert plan(choice={"doubling": "triple"}).steps[0].takes == ("raw",)
    assert plan().steps[0].takes == ("raw",)
    assert plan(given={"raw": "r", "extra": "e"}).steps[0].takes == ("raw", "extra")


def test_the_default_is_the_first_method_that_the_data_allow():
    pipeline = Pipeline("p", "p", ("raw", "extra"), (Step(("x",), family("either", toy.needs_extra, toy.double)),))
    assert make_plan(pipeline, {}, {}, {"raw": "r", "extra": "e"}, ("x",)).steps[0].method.name == "needs_extra"
    assert make_plan(pipeline, {}, {}, {"raw": "r"}, ("x",)).steps[0].method.name == "double"
    asked = make_plan(pipeline, {"either": "needs_extra"}, {}, {"raw": "r"}, ("x",))
    assert asked.steps[0].fate == "skipped" and asked.missing == {"x": "no extra"}


def test_what_was_given_by_hand_is_taken_before_what_could_be_made():
    step = Step(("x",), family("f", toy.triple, toy.needs_extra), handed=("extra",))
    pipeline, keys = Pipeline("p", "P", ("raw", "extra"), (step,)), {"raw": "r", "extra": "e"}
    chosen = {handed: make_plan(pipeline, {}, {}, keys, ("x",), handed=handed).steps[0].method.name for handed in ((), ("extra",), ("raw",))}
    assert chosen == {(): "triple", ("extra",): "needs_extra", ("raw",): "triple"}
    assert make_plan(pipeline, {"f": "triple"}, {}, keys, ("x",), handed=("extra",)).steps[0].method.name == "triple"
    assert make_plan(pipeline, {}, {}, {"raw": "r"}, ("x",), handed=("extra",)).steps[0].method.name == "triple"


def test_second_run_computes_nothing_and_a_knob_recomputes_only_what_follows():
    store, log = go(plan())
    assert log.ran == ["double", "shift", "combine", "total"]
    assert go(plan(), store)[1].ran == []
    assert go(plan(knobs={"shifting.shift": {"by": 5}}), store)[1].ran == ["shift", "combine", "total"]
    assert go(plan(given={"raw": "other"}), store)[1].ran == ["double", "shift", "combine", "total"]


def test_what_only_a_cached_result_wanted_is_not_made():
    store, _ = go(plan())
    del store.kept["doubled"], store.kept["shifted"]
    assert to_run(plan(), store.has) == set()


def test_given_artifacts_replace_their_step():
    the_plan = plan(given={"raw": "r1", "doubled": "d1"})
    assert the_plan.steps[0].fate == "given"
    store, log = go(the_plan, values={"raw": ONES, "doubled": Volume(ONES.data * 7, GRID)})
    assert "double" not in log.ran and store.load("total") == 7 * 24 + 8 * 24


def test_mixed_grids_are_stopped():
    other = Volume(np.ones(GRID.shape, np.float32), Grid.of(GRID.shape, np.diag([1.0, 2, 3.1, 1])))
    the_plan = plan(given={"raw": "r", "doubled": "d"})
    _, log = go(the_plan, values={"raw": ONES, "doubled": other})
    assert log.errors[0][0] == "combine" and "one grid" in log.errors[0][1]
    with pytest.raises(GridMismatch):
        call(the_plan.steps[2], {"raw": ONES, "doubled": other, "shifted": ONES}, "cpu")


def test_a_failed_step_takes_down_only_what_needs_it():
    the_plan = plan(targets=("doubled", "total"), knobs={"shifting.shift": {"by": -1}})
    store, log = go(the_plan)
    assert log.ran == ["double"] and "doubled" in store.kept
    assert [name for name, _ in log.errors] == ["shift"] and [name for name, _ in log.not_run] == ["combine", "total"]
    assert "shifting (shift): by=-1" in log.errors[0][1] and log.not_run[1][1] == "no combined, because shifting failed"


def test_results_are_checked():
    step = Step(("x",), family("bad", toy.wrong_shape, toy.not_finite))
    for name, text in (("wrong_shape", "shape"), ("not_finite", "not finite")):
        one = make_plan(Pipeline("p", "p", ("raw",), (step,)), {"bad": name}, {}, {"raw": "r"}, ("x",)).steps[0]
        with pytest.raises(Exception, match=text):
            call(one, {"raw": ONES}, "cpu")


def test_warnings_of_methods_are_kept():
    one = make_plan(
        Pipeline("p", "p", ("raw",), (Step(("x",), family("w", toy.warner)),)), {}, {}, {"raw": "r"}, ("x",)
    ).steps[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call(one, {"raw": ONES}, "cpu")[1] == ["take care"]


def test_tensors_are_bound_without_copy_and_come_back_as_volumes():
    one = make_plan(
        Pipeline("p", "p", ("raw",), (Step(("x",), family("t", toy.tensor)),)), {}, {}, {"raw": "r"}, ("x",)
    ).steps[0]
    made, _ = call(one, {"raw": ONES}, "cpu")
    assert isinstance(made["x"], Volume) and made["x"].data.dtype == np.float32 and made["x"].data[0, 0, 0] == 2


def test_unknown_methods_and_a_step_that_asks_for_nothing_made_are_refused():
    with pytest.raises(UsageError, match="nope"):
        plan(choice={"doubling": "nope"})
    with pytest.raises(ValueError, match="doubled"):
        Pipeline("p", "p", ("raw",), (Step(("total",), family("combining", toy.combine)),)).check()
    PIPELINE.check()


def test_a_pipeline_may_lack_what_a_step_takes_lightly_and_can_do_without():
    Pipeline("p", "p", ("raw",), (Step(("x",), family("d", toy.double), lightly=("extra",)),)).check()
    with pytest.raises(ValueError, match="extra"):
        Pipeline("p", "p", ("raw",), (Step(("x",), family("d", toy.double)),)).check()
    with pytest.raises(ValueError, match="extra"):
        Pipeline("p", "p", ("raw",), (Step(("x",), family("n", toy.needs_extra), lightly=("extra",)),)).check()


def test_errors_that_are_no_value_error_are_told_too():
    one = make_plan(
        Pipeline("p", "p", ("raw",), (Step(("x",), family("c", toy.crash)),)), {}, {}, {"raw": "r"}, ("x",)
    ).steps[0]
    with pytest.raises(MethodError, match="KeyError"):
        call(one, {"raw": ONES}, "cpu")


def test_an_optional_input_that_failed_is_done_without_and_made_up_for_later():
    steps = (Step(("extra",), family("shifting", toy.shift)), Step(("doubled",), family("doubling", toy.double)))
    pipeline = Pipeline("toy", "Toy", ("raw",), steps)
    broken = make_plan(pipeline, {}, {"shifting.shift": {"by": -1}}, {"raw": "r1"}, ("extra", "doubled"))
    store, log = go(broken)
    assert [name for name, _ in log.errors] == ["shift"] and log.ran == ["double"]
    assert log.warned == ["made without extra, because shifting failed"]
    assert store.kept["doubled"][0] != broken.keys["doubled"]  # not taken for what it would be with all of its inputs
    assert to_run(broken, store.has)


def test_what_an_image_does_not_allow_is_no_failure_and_takes_down_only_what_needs_it():
    steps = (
        Step(("doubled",), family("doubling", toy.cannot)),
        Step(("shifted",), family("shifting", toy.shift)),
        Step(("combined",), family("combining", toy.combine)),
    )
    pipeline = Pipeline("toy", "Toy", ("raw",), steps)
    pipeline.check()
    the_plan = make_plan(pipeline, {}, {}, {"raw": "r1"}, ("combined", "shifted"))
    store, log = go(the_plan)
    assert not log.errors and log.ran == ["shift"] and "doubled" not in store.kept
    assert dict(log.not_run) == {"cannot": "this one is too small", "combine": "no doubled, because this one is too small"}
