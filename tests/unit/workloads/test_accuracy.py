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
    for run in accuracy.whole_runs():
        ceiling = use_of(run.accelerator_id).matmul_ceiling
        if ceiling is not None and run.precision in ("bf16", "fp16"):
            assert (run.use or 0) <= ceiling, run.name


# Out of reach with every published run counted, and why: docs/explanation/accuracy.md. One row decides each.
OUT_OF_REACH = {"hours from a prior: within 35 %", "hours, stack named: within 15 %"}


def test_all_bars_but_the_named_ones_are_met() -> None:
    found = accuracy.measure()
    bars = {bar.name: bar for bar in accuracy.bars(found)}
    assert {name for name, bar in bars.items() if not bar.met} == OUT_OF_REACH
    assert len(found.whole.values) - round(found.whole.within(0.35) * len(found.whole.values)) == 5
    assert len(found.stacks.values) - round(found.stacks.within(0.15) * len(found.stacks.values)) == 13


def test_no_run_is_left_out_of_the_score() -> None:
    named = [run.name for run in runs() if run.kind == "full" and run.use]
    assert len(named) == len(accuracy.measure().whole.values)
    assert {"GPT-3 175B", "YaLM-100B", "Amazon Titan 200B"} <= set(named)


def test_one_run_of_an_accelerator_counts_half() -> None:
    run = next(run for run in runs() if run.name == "GPT-3 175B")
    without, with_it = prior(accuracy.asked(run), [x for x in runs() if x is not run]), prior(accuracy.asked(run))
    assert isclose(with_it.use, ((run.use or 0) * without.use) ** 0.5, rel_tol=1e-6)
    assert with_it.flag == without.flag == "borrowed"
    assert with_it.low < (run.use or 0) < with_it.high


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
