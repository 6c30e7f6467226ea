"""The command line as people meet it: in a terminal, in a pipe, and with mistakes in what they type."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from fastfit import __version__, cli, demo, warmup
from fastfit.runtime.timing import Ratio

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@pytest.fixture
def small_demo(monkeypatch):
    """Only the cases on the small bundled data, one for each estimator."""
    cases = [case for case in demo.CASES if case.data not in ("regression", "classification")]
    monkeypatch.setattr(demo, "CASES", tuple({case.path: case for case in cases}.values()))


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache that this test may empty."""
    monkeypatch.setenv("FASTFIT_CACHE_DIR", str(tmp_path))
    return tmp_path


def run_process(*arguments, **environment):
    command = [sys.executable, "-m", "fastfit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def run_in_terminal(*arguments, columns=80):
    """Run the command in a pseudo-terminal and return (exit code, everything written to it)."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "fastfit", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        chunks = []
        try:
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
        except OSError:
            # Linux says so when the other end has been closed.
            pass
        finally:
            os.close(ours)
    return process.returncode, b"".join(chunks).decode()


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"fastfit {__version__}\n"


def test_without_a_command_the_commands_are_listed(capsys):
    assert cli.main([]) == 0
    output = capsys.readouterr().out
    for command in ("demo", "warmup", "info", "cache"):
        assert re.search(rf"^    {command} ", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dmeo"], "invalid choice: 'dmeo'"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["demo", "--rows", "many"], "must be an integer of at least 1000, got 'many'"),
        (["demo", "--rows", "-5"], "must be an integer of at least 1000, got '-5'"),
        (["warmup", "nonsense"], f"unknown family 'nonsense'; there are: {', '.join(warmup.FAMILIES)}"),
        (["cache", "--clean"], "unrecognized arguments: --clean"),
        (["info", "extra"], "unrecognized arguments: extra"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, complaint, capsys):
    try:
        code = cli.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("fastfit")


def test_a_bad_environment_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setenv("FASTFIT_NUM_THREADS", "lots")
    assert cli.main(["info"]) == 2
    error = capsys.readouterr().err
    assert "FASTFIT_NUM_THREADS" in error
    assert error.count("\n") == 1


def test_interrupt_is_one_line(monkeypatch, capsys):
    def interrupted(chosen, on_start=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "run_tasks", interrupted)
    assert cli.main(["warmup"]) == 130
    assert capsys.readouterr().err == "fastfit: error: interrupted\n"


def test_info_says_what_results_depend_on(capsys):
    assert cli.main(["info"]) == 0
    output = capsys.readouterr().out
    for name in ("python", "fastfit", "numpy", "numba", "llvmlite", "scikit-learn", "processor", "threads"):
        assert re.search(rf"^{name} +\S", output, re.MULTILINE), name
    assert re.search(r"^vector width +(128|256|512) bits: \d+ float32 or \d+ float64", output, re.MULTILINE)
    assert re.search(r"^threads +\d+, limited by \S", output, re.MULTILINE)
    assert not CONTROL.search(output)


def test_info_names_the_limit_that_binds(monkeypatch, capsys):
    monkeypatch.setenv("FASTFIT_NUM_THREADS", "1")
    assert cli.main(["info"]) == 0
    assert "1, limited by " in capsys.readouterr().out


def test_cache_is_shown_and_emptied(own_cache, capsys):
    directory = cli_cache_directory()
    directory.mkdir(parents=True, mode=0o755)
    (directory / "kernel-0.bin").write_bytes(b"x" * 2048)
    assert cli.main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert str(directory) in shown
    assert "kernels kept: 1 " in shown
    assert "2.0 KiB" in shown
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == "Removed 2.0 KiB of compiled kernels\n"
    assert not directory.exists()
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == "Removed 0 bytes of compiled kernels\n"


def cli_cache_directory():
    from fastfit.runtime.compile import cache_directory

    return cache_directory()


def test_cache_switched_off(monkeypatch, capsys):
    monkeypatch.setenv("FASTFIT_CACHE", "0")
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out.startswith("cache: off")


def test_warmup_reports_what_it_did(monkeypatch, capsys):
    done = []
    monkeypatch.setitem(
        warmup.FAMILIES, "small", lambda: iter([warmup.Task("one", lambda: done.append(1))] * 3)
    )
    assert cli.main(["warmup", "small"]) == 0
    assert done == [1, 1, 1]
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"0 kernels compiled, 0 loaded from the cache, in \S+ (s|ms|µs)", first)
    assert second.startswith("Cache: ")


@pytest.mark.slow
def test_every_task_of_every_family_runs_and_the_second_time_nothing_is_compiled():
    chosen = warmup.tasks()
    assert len({task.name for task in chosen}) > 3
    warmup.run_tasks(chosen)
    again = warmup.run_tasks(chosen)
    assert (again.n_compiled, again.n_loaded) == (0, 0)


def test_demo_in_a_pipe(small_demo, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["demo", "--rows", "1000"]) == 0
    output = capsys.readouterr().out
    assert not CONTROL.search(output), "no colours and no progress bar in a pipe"
    assert max(map(len, output.splitlines())) <= 80
    assert re.search(r"^Compiling, before the fits: ", output, re.MULTILINE)
    number, duration = r" +-?\d\.\d{4}", r" +\d[\d.]* (?:s|ms|µs)"
    linear = ("LinearRegression", "SGDRegressor", "SGDClassifier")
    trees = ("DecisionTreeClassifier", "DecisionTreeRegressor", "RandomForestClassifier")
    for name in linear + trees:
        assert re.search(rf"^  {name}{number * 2} +\S+{duration * 2} +[\d.]+x$", output, re.MULTILINE), output
    for word in (
        "hyperparameters you set",
        "parameters learned by fit",
        "random_state = 0",
        "coef_",
        "n_iter_",
        "tree_ (31 nodes, depth 8)",
        "estimators_ (100 of",
    ):
        assert word in output


def test_demo_scores_agree_with_scikit_learn():
    case = next(case for case in demo.CASES if case.data == "breast cancer")
    data = demo.load(case.data, 1000)
    line = demo.compare(case, data, rounds=1)
    assert line.scores[0] == pytest.approx(line.scores[1], abs=1e-12)
    assert min(line.seconds) > 0
    assert isinstance(line.speed_up, Ratio)


@pytest.mark.parametrize(("longest", "n_fits"), [(0.0, 1), (60.0, 4)])
def test_a_long_fit_is_timed_once(monkeypatch, longest, n_fits):
    fitted = []

    class Counter:
        def fit(self, X, y):
            fitted.append(self)
            return self

        def score(self, X, y):
            time.sleep(0.001)
            return 1.0

    monkeypatch.setattr(demo, "_LONG_FIT", longest)
    monkeypatch.setattr(
        demo,
        "time_in_turns",
        lambda calls, rounds, **options: {
            name: [call() and 1.0 for _ in range(rounds)] for name, call in calls.items()
        },
    )
    monkeypatch.setattr(demo.Case, "build", lambda self, package: Counter())
    X, y = np.zeros((10, 2)), np.zeros(10)
    line = demo.compare(demo.CASES[0], demo.Split("data", X, y, X, y), rounds=3)
    assert len(fitted) == 2 * n_fits
    assert line.scores == (1.0, 1.0)


def test_demo_tables_name_data_and_estimators_that_exist():
    for case in demo.CASES:
        assert case.data in demo.DATA_SETS
        ours, theirs = case.build("fastfit"), case.build("sklearn")
        assert isinstance(ours, type(theirs))
        assert set(case.shown) <= set(ours.get_params())


def test_every_class_is_among_the_few_rows_that_compile(monkeypatch):
    seen = []

    class Recorder:
        def fit(self, X, y):
            seen.append(set(y))
            return self

        def predict(self, X):
            return X

    case = demo.CASES[0]
    monkeypatch.setattr(demo.Case, "build", lambda self, package: Recorder())
    X, y = np.zeros((1000, 2)), np.repeat(np.arange(10), 100)
    demo.compile_case(case, demo.Split("sorted classes", X, y, X, y))
    assert seen == [set(range(10))]


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [(0.5, 0.5, "0"), (0.5, 0.5 + 1e-12, "0"), (0.51, 0.5, "+0.0100"), (0.5, 0.500002, "-2e-06")],
)
def test_difference_of_scores(ours, theirs, text):
    assert cli._difference(ours, theirs) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (2048, "2.0 KiB"),
        (50 * 1024**2, "50 MiB"),
        (3 * 1024**4, "3072 GiB"),
    ],
)
def test_bytes_in_words(n_bytes, text):
    assert cli._bytes(n_bytes) == text


def test_process_in_a_pipe_with_a_plain_encoding():
    finished = run_process("info", PYTHONIOENCODING="ascii")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert not CONTROL.search(finished.stdout)


def test_process_whose_reader_leaves_early():
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "fastfit", "info"]
    finished = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert finished.returncode == 1
    assert finished.stderr == ""


@pytest.mark.slow
def test_terminal_gets_a_progress_bar_that_is_wiped():
    code, output = run_in_terminal("warmup", "linear")
    assert code == 0, output
    assert "\x1b[?25h" in output, "the cursor must be shown again"
    assert re.search(r"\d+/\d+", output), "the bar counts"
    last = output.replace("\r", "").rstrip().splitlines()[-2:]
    assert "kernels compiled" in last[0]
    assert last[1].startswith("Cache: ")
