"""The harness that the benchmark tables come from, on estimators whose times and scores are known."""

import json
import math
import time

import numpy as np
import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.data import Data, classification, iris_classes, regression
from benchmarks.memory import peak_growth
from benchmarks.probes import run_script
from benchmarks.runner import Row, run
from benchmarks.workload import (
    Build,
    Probe,
    Workload,
    coefficient_gap,
    ours_and_sklearn,
    prediction_gap,
    score_shortfall,
)
from fastfit.runtime.timing import Ratio, format_ratio, format_seconds, paired_ratio, time_in_turns


class Dummy:
    """An estimator that takes a known time and predicts with known coefficients."""

    def __init__(self, seconds=0.0, coefficient=1.0, n_epochs=1):
        self.seconds = seconds
        self.coefficient = coefficient
        self.n_epochs = n_epochs

    def fit(self, X, y):
        time.sleep(self.seconds)
        self.coef_ = np.full(X.shape[1], self.coefficient)
        self.intercept_ = 0.0
        self.n_iter_ = self.n_epochs
        return self

    def predict(self, X):
        return X @ self.coef_

    def score(self, X, y):
        return self.coefficient


def dummy_data(n_samples, n_features):
    X = np.ones((n_samples, n_features))
    return Data(X, X.sum(axis=1), X, X.sum(axis=1))


def missing_library():
    raise ImportError("no such library")


def dummy_workload(ours, theirs, name="dummy", **options):
    peers = options.pop("peers", {})
    estimators = {"fastfit": lambda: ours, "scikit-learn": lambda: theirs, **peers}
    return Workload(name, dummy_data, 100, 3, estimators, **options)


def rendered(rows, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.terminal_table(rows))
    return console.export_text()


def test_paired_ratio_uses_pairs_not_medians():
    # The machine was twice as slow during the second turn; the ratio was 3 in every turn.
    assert paired_ratio([3.0, 6.0, 3.0], [1.0, 2.0, 1.0]) == Ratio(3.0, 3.0, 3.0)
    assert paired_ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == Ratio(3.0, 2.0, 4.0)
    assert paired_ratio([5.0], [2.0]) == Ratio(2.5, 2.5, 2.5)


@pytest.mark.parametrize(("numerator", "denominator"), [([], []), ([1.0], [1.0, 2.0])])
def test_paired_ratio_refuses_what_is_not_paired(numerator, denominator):
    with pytest.raises(ValueError, match="equal length"):
        paired_ratio(numerator, denominator)


def test_turns_alternate_and_samples_are_long_enough():
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.002))}
    seconds = time_in_turns(functions, rounds=3, max_rounds=3, min_sample=0.001)
    assert [len(samples) for samples in seconds.values()] == [3, 3]
    # Each sample repeats its own function; compressed, the order is the calibration's a b, then three turns.
    order = [name for index, name in enumerate(calls) if index == 0 or calls[index - 1] != name]
    assert order == ["a", "b"] * 4
    assert 0.002 <= min(seconds["b"]) < 0.05
    assert calls.count("a") > 1000, "a fast function must be repeated to fill a sample"


def test_short_functions_take_more_turns_and_long_ones_do_not():
    short = time_in_turns({"a": lambda: None}, rounds=2, max_rounds=5, fill=10.0, min_sample=0.0)
    assert len(short["a"]) == 5
    long = time_in_turns({"a": lambda: time.sleep(0.01)}, rounds=2, max_rounds=50, fill=0.0, min_sample=0.0)
    assert len(long["a"]) == 2


def test_garbage_collector_is_left_as_it_was():
    import gc

    states = []
    time_in_turns({"a": lambda: states.append(gc.isenabled())}, rounds=1, max_rounds=1, min_sample=0.0)
    assert not any(states)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (123.4, "123 s"),
        (1.0, "1.00 s"),
        (0.9999, "1.00 s"),
        (0.0123, "12.3 ms"),
        (9.999e-4, "1.00 ms"),
        (0.0, "0.00 µs"),
    ],
)
def test_seconds_in_words(seconds, text):
    assert format_seconds(seconds) == text


def test_ratio_in_words():
    assert [format_ratio(ratio) for ratio in (0.5, 9.996, 12.34, 432.1)] == [
        "0.50x",
        "10.0x",
        "12.3x",
        "432x",
    ]


def test_row_has_the_ratio_of_the_times():
    row = run(dummy_workload(Dummy(0.002), Dummy(0.01)), rounds=3)
    assert row.problems == []
    assert row.ratios["scikit-learn"].median == pytest.approx(5.0, rel=0.5)
    assert row.median("fastfit") >= 0.002
    assert row.gaps == {"fastfit": 0.0}
    assert row.best_peer() is None


def test_best_peer_is_the_fastest_and_the_missing_are_named():
    peers = {"slow": lambda: Dummy(0.02), "fast": lambda: Dummy(0.006), "absent": missing_library}
    row = run(dummy_workload(Dummy(0.002), Dummy(0.01), peers=peers), rounds=2)
    name, ratio = row.best_peer()
    assert name == "fast"
    assert ratio.median == pytest.approx(3.0, rel=0.5)
    assert row.missing == ["absent"]
    assert "Peers not installed, left out: absent." in report.footnotes([row])


def test_time_is_divided_by_epochs():
    row = run(
        dummy_workload(Dummy(0.004, n_epochs=1), Dummy(0.02, n_epochs=5), per=lambda e: e.n_iter_), rounds=3
    )
    assert row.ratios["scikit-learn"].median == pytest.approx(1.0, rel=0.5)


@pytest.mark.parametrize("gap", [coefficient_gap, prediction_gap, score_shortfall])
def test_disagreeing_models_are_flagged(gap):
    row = run(
        dummy_workload(Dummy(coefficient=0.9), Dummy(coefficient=1.0), gap=gap, tolerance=1e-3), rounds=1
    )
    assert row.gaps["fastfit"] == pytest.approx(0.1)
    assert row.problems == ["fastfit and scikit-learn disagree by 0.1 (allowed 0.001)"]
    assert "! dummy" in rendered([row])
    assert "**!** dummy" in report.markdown_table([row])
    assert any(line.startswith("! dummy") and "disagree by 0.1" in line for line in report.footnotes([row]))


def test_as_good_is_judged_at_the_real_size_only():
    workload = dummy_workload(Dummy(coefficient=0.9), Dummy(coefficient=1.0), gap=score_shortfall)
    assert run(workload, size="quick", rounds=1).problems == []
    assert len(run(workload, size="full", rounds=1).problems) == 1


def test_a_peer_with_a_model_of_its_own_is_judged_by_its_score():
    def worse():
        return Dummy(coefficient=0.9)

    options = {"gap": coefficient_gap, "peers": {"peer": worse}}
    strict = run(dummy_workload(Dummy(), Dummy(), **options), rounds=1)
    assert strict.problems == ["peer and scikit-learn disagree by 0.1 (allowed 0.001)"]
    assert run(dummy_workload(Dummy(), Dummy(), peer_tolerance=0.2, **options), rounds=1).problems == []
    far = run(dummy_workload(Dummy(), Dummy(), peer_tolerance=0.05, **options), rounds=1)
    assert far.problems == ["peer and scikit-learn disagree by 0.1 (allowed 0.05)"]
    ours = run(
        dummy_workload(Dummy(coefficient=0.9), Dummy(), peer_tolerance=0.2, gap=coefficient_gap), rounds=1
    )
    assert ours.problems == ["fastfit and scikit-learn disagree by 0.1 (allowed 0.001)"]


def test_a_long_workload_takes_few_turns():
    workload = dummy_workload(Dummy(0.3), Dummy(0.3), max_rounds=2)
    assert len(run(workload, rounds=7).seconds["fastfit"]) == 2
    assert len(run(workload, rounds=1).seconds["fastfit"]) == 1


def test_a_better_score_is_no_shortfall():
    row = run(dummy_workload(Dummy(coefficient=1.1), Dummy(coefficient=1.0), gap=score_shortfall), rounds=1)
    assert row.problems == []


def test_a_gap_that_is_not_a_number_is_flagged():
    row = run(dummy_workload(Dummy(coefficient=math.nan), Dummy(), gap=coefficient_gap), rounds=1)
    assert "disagree by nan" in row.problems[0]


def test_a_failing_workload_is_one_flagged_row():
    def broken():
        raise RuntimeError("out of luck\nand more lines")

    row = run(dummy_workload(Dummy(), Dummy(), call=lambda estimator, data: broken()), rounds=1)
    assert row.problems == ["failed: RuntimeError: out of luck"]
    assert row.ratios == {}
    assert "! dummy" in rendered([row])


def test_missing_fastfit_is_a_failure_not_a_gap_in_the_table():
    workload = Workload("dummy", dummy_data, 10, 2, {"fastfit": missing_library, "scikit-learn": Dummy})
    assert "ImportError" in run(workload, rounds=1).problems[0]


def test_probe_takes_libraries_in_turns_and_checks_its_limit():
    seen = []

    def measure(library, size):
        seen.append((library, size))
        return {"fastfit": 3.0, "scikit-learn": 1.0}[library]

    probe = Probe("probe", measure, compare="difference", limit=1.5, repeats=2)
    row = run(probe, size="quick", rounds=5)
    assert seen == [("fastfit", "quick"), ("scikit-learn", "quick")] * 2
    assert row.difference == 2.0
    assert row.problems == ["above its limit of 1.5 s"]
    assert "+2.00 s" in rendered([row])


@pytest.mark.parametrize(
    ("ours", "problems"), [(2.0, []), (2.5, ["above its limit of 2 times scikit-learn's"])]
)
def test_limit_of_a_compared_probe_is_a_multiple(ours, problems):
    probe = Probe(
        "probe",
        lambda library, size: {"fastfit": ours}.get(library, 1.0),
        unit="%",
        compare="ratio",
        limit=2.0,
    )
    assert run(probe, rounds=1).problems == problems


def test_terminal_table_fits_80_columns():
    rows = [
        Row(
            "LinearRegression of a long name",
            "500k x 50, 20 targets",
            seconds={"fastfit": [1.234], "scikit-learn": [123.4], "sklearnex": [0.001]},
            ratios={"scikit-learn": Ratio(100.0, 90.5, 110.2), "sklearnex": Ratio(10.0, 9.0, 11.0)},
            scores={"fastfit": 0.98765, "scikit-learn": 0.98765},
            gaps={"fastfit": 1.25e-12},
        )
    ]
    text = rendered(rows)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("1.23 s", "123 s", "100x", "90.5-110", "sklearnex", "10.0x", "0.9877", "1e-12"):
        assert part in text


def test_markdown_has_one_line_a_row_and_equal_columns():
    rows = [run(dummy_workload(Dummy(), Dummy(), name=name), rounds=1) for name in ("one", "two|parts")]
    lines = report.markdown_table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_sizes():
    workload = Workload("w", regression, 500_000, 50, {}, note="float32")
    assert workload.shape() == workload.shape("huge") == (500_000, 50)
    assert workload.shape("quick") == (50_000, 50)
    assert workload.shape("tiny") == (240, 8)
    assert workload.describe_shape() == "500k x 50, float32"
    iris = Workload("w", iris_classes, 150, 4, {}, fixed_size=True)
    assert iris.shape("tiny") == iris.shape() == (150, 4)
    assert iris.make_data("quick").X.shape == (150, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_generated_data(dtype):
    data = regression(1000, 5, n_targets=2, dtype=dtype)
    assert data.X.dtype == data.y.dtype == dtype
    assert data.X.shape == (1000, 5)
    assert data.y.shape == (1000, 2)
    assert len(data.X_test) == 200
    assert regression(1000, 5, dtype=dtype).y.ndim == 1
    classes = classification(100, 5, n_classes=10, dtype=dtype)
    assert sorted(set(classes.y)) == list(range(10))


def test_build_imports_when_called_and_names_what_is_missing():
    pair = ours_and_sklearn("linear_model:SGDRegressor", alpha=0.5, ours={"batch_size": 8})
    assert pair["fastfit"].params == {"alpha": 0.5, "batch_size": 8}
    assert pair["scikit-learn"]().alpha == 0.5
    with pytest.raises(ImportError):
        Build("no_such_library.linear:Model")()


def test_peak_growth_sees_an_allocation():
    n_bytes = 64_000_000
    growth = peak_growth(lambda: np.ones(n_bytes // 8).sum())
    assert 0.8 * n_bytes < growth < 2.0 * n_bytes
    assert peak_growth(lambda: None) < 8_000_000


def test_scripts_report_numbers_and_failures():
    assert run_script("print('ignored'); print(1.5, 2)") == [1.5, 2.0]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_script("1 / 0")


def test_command_prints_a_table_and_writes_samples(monkeypatch, capsys, tmp_path):
    slow, fast = (
        dummy_workload(Dummy(), Dummy(0.002), name="slow one"),
        dummy_workload(Dummy(), Dummy(), name="other"),
    )
    monkeypatch.setattr(command, "_items", lambda options: [slow, fast])
    file = tmp_path / "rows.json"
    assert command.main(["--rounds", "1", "--json", str(file)]) == 0
    output = capsys.readouterr().out
    assert "Machine: " in output
    assert "slow one" in output
    assert "\x1b" not in output, "a pipe must not get colours or a progress bar"
    saved = json.loads(file.read_text())
    assert [row["workload"] for row in saved["rows"]] == ["slow one", "other"]
    assert set(saved["rows"][0]["samples"]) == {"fastfit", "scikit-learn"}


def test_command_fails_on_a_flagged_row(monkeypatch, capsys):
    bad = dummy_workload(Dummy(coefficient=2.0), Dummy(), gap=coefficient_gap)
    monkeypatch.setattr(command, "_items", lambda options: [bad])
    assert command.main(["--rounds", "1", "--markdown"]) == 1
    assert "disagree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["nonsense"], "unknown family 'nonsense'"), (["--rounds", "0"], "at least 1")],
)
def test_command_refuses_bad_arguments(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.parse_arguments(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("text", ["sgdclassifier", "500k x 50", "first fit"])
def test_only_selects_by_name_and_shape(text):
    chosen = command._items(command.parse_arguments(["linear", "--only", text]))
    assert chosen
    assert all(text in f"{item.name} {item.describe_shape()}".lower() for item in chosen)


def test_probes_can_be_left_out():
    chosen = command._items(command.parse_arguments(["linear", "--no-probes"]))
    assert chosen
    assert all(isinstance(item, Workload) for item in chosen)
