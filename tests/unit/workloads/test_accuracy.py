"""The bars of accuracy, and that no prior is above what the hardware can do."""

from math import isclose

from cloudaccel.facts.accelerators import by_id
from cloudaccel.facts.loader import read_table
from cloudaccel.workloads.goodput import lost_share, mean_time_between_failures_h, spot_lost_share
from cloudaccel.workloads.priors import intervals, precision_gain, prior
from cloudaccel.workloads.runs import runs, use_of
from tests.benchmarks import accuracy


def test_no_prior_is_above_the_matmul_ceiling_of_its_chip() -> None:
    for run in runs():
        if run.use is None:
            continue
        asked = accuracy.asked(run)
        ceiling = use_of(run.accelerator_id).matmul_ceiling
        if ceiling is not None:
            limit = ceiling * precision_gain(by_id(run.accelerator_id), asked.precision)
            found = prior(asked)
            assert found.use <= limit + 1e-9, run.name
            assert found.high <= limit + 1e-9, run.name


def test_no_published_16_bit_whole_run_is_above_the_ceiling() -> None:
    for run in accuracy.whole_runs(everything=True):
        ceiling = use_of(run.accelerator_id).matmul_ceiling
        if ceiling is not None and run.precision in ("bf16", "fp16"):
            assert (run.use or 0) <= ceiling, run.name


def test_hours_from_a_prior() -> None:
    errors = accuracy.leave_one_out(accuracy.whole_runs(), "")
    assert errors.middle <= 0.16
    assert errors.within(0.25) >= 0.75
    assert errors.within(0.35) >= 0.90
    assert accuracy.coverage(errors) >= 0.80


def test_hours_with_the_stack_named() -> None:
    errors = accuracy.leave_one_out([run for run in accuracy.whole_runs() if run.stack], "", stack=True)
    assert errors.within(0.15) >= 0.60


def test_hours_calibrated() -> None:
    errors = accuracy.calibrated("", lambda run: bool(run.downtime) and not accuracy.derived(run))
    assert errors.within(0.12) >= 0.90


def test_step_rates() -> None:
    assert accuracy.leave_one_out(accuracy.step_rows(), "").within(0.20) >= 0.80


def test_memory() -> None:
    assert accuracy.activations().within(0.02) == 1
    assert accuracy.peak_memory("lora").within(0.08) == 1
    assert accuracy.peak_memory("qlora").within(0.25) == 1


def test_serving_rates() -> None:
    dense, *others = accuracy.serving_sets(accuracy.served())
    assert dense.middle <= 0.15
    assert dense.within(0.25) >= 0.80
    assert {errors.name: errors.middle for errors in others if errors.middle > 0.30} == {}


def test_intervals_are_those_of_the_runs_table() -> None:
    shown = intervals()
    for kind, rows in (("whole", accuracy.whole_runs()), ("step", accuracy.step_rows())):
        low, high = accuracy.interval(accuracy.leave_one_out(rows, ""))
        assert all(isclose(*pair, abs_tol=0.001) for pair in zip(shown[kind], (low, high), strict=True))
    assert shown["borrowed"][0] < shown["whole"][0] < 1 < shown["whole"][1] < shown["borrowed"][1]


def test_a_row_is_never_predicted_from_itself() -> None:
    run = next(run for run in runs() if run.name == "BLOOM-176B")
    others = [x for x in runs() if x is not run]
    assert run not in prior(accuracy.asked(run), others).nearest


def test_every_run_has_source_and_date() -> None:
    for name in ("training_runs.csv", "inference_runs.csv"):
        for row in read_table(name):
            assert row["source"], row
            assert row["as_of"], row


def test_goodput_by_young_and_daly() -> None:
    hours = mean_time_between_failures_h(16_384, 4.7e-4)
    assert isclose(hours, 3.1, abs_tol=0.1)
    assert isclose(1 - lost_share(hours, 10 / 3600, 5 / 60), 0.93, abs_tol=0.01)
    assert isclose(1 - lost_share(mean_time_between_failures_h(1024, 4.7e-4), 5 / 60, 0.25), 0.94, abs_tol=0.01)
    assert isclose(spot_lost_share(0.01, 1), 0.03, abs_tol=0.01)
    assert isclose(spot_lost_share(0.05, 8), 0.30, abs_tol=0.03)
    assert spot_lost_share(0.0, 8) == 0


def test_the_page_in_docs_is_of_today() -> None:
    text = accuracy.DOCUMENT.read_text(encoding="utf-8")
    assert accuracy.document(text) == text, "run python -m tests.benchmarks.accuracy --write"
