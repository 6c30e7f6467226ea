"""The command line: ``fastfit demo``, ``tune``, ``warmup``, ``info`` and ``cache``.

`profile-batch-size` measures what batch sizes do.
Everything is imported when a command needs it, so that ``fastfit --help`` and mistakes answer at once.
"""

import argparse
import os
import platform
import sys

from fastfit import __version__

__all__ = ["main"]

_EXIT_BAD_USE = 2
_EXIT_INTERRUPTED = 130
_PIPE_WIDTH = 100
_MIN_DEMO_ROWS = 1000


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message):
        self.exit(_EXIT_BAD_USE, f"{self.prog}: error: {message}\n")


def _row_count(text):
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < _MIN_DEMO_ROWS:
        raise argparse.ArgumentTypeError(f"must be an integer of at least {_MIN_DEMO_ROWS}, got {text!r}")
    return count


def build_parser():
    """The commands and their arguments."""
    parser = _Parser(prog="fastfit", description="scikit-learn's estimators, fitted many times faster")
    parser.add_argument("--version", action="version", version=f"fastfit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser("demo", help="fit every estimator beside its scikit-learn counterpart")
    demo.add_argument(
        "--rows", type=_row_count, default=100_000, help="rows of the generated data (default: %(default)s)"
    )
    demo.set_defaults(run=_demo)

    tune = commands.add_parser("tune", help="search the hyperparameters of a model for a table")
    tune.add_argument("file", metavar="DATA.csv", help="a CSV file with a line of column names")
    tune.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    tune.add_argument(
        "--model", default="hist_gradient_boosting", help="family of models (default: %(default)s)"
    )
    tune.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=V1,V2,...",
        help="values to try of a hyperparameter; may be given several times (default: the model's own grid)",
    )
    tune.add_argument("--cv", type=int, default=5, metavar="K", help="number of folds (default: %(default)s)")
    tune.add_argument("--metric", help="a scorer of scikit-learn (default: accuracy, or R2)")
    tune.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="column to leave out")
    tune.add_argument("--out", metavar="FILE.joblib", help="where to keep the best model, fitted to all rows")
    tune.set_defaults(run=_tune)

    warmup = commands.add_parser("warmup", help="compile what the estimators need, ahead of time")
    warmup.add_argument("family", nargs="*", metavar="FAMILY", help="which estimators (default: all of them)")
    warmup.set_defaults(run=_warmup)

    _add_profile(commands)

    info = commands.add_parser("info", help="versions, processor, threads and cache")
    info.set_defaults(run=_info)

    cache = commands.add_parser("cache", help="show the cache of compiled kernels, or empty it")
    cache.add_argument("--clear", action="store_true", help="remove all compiled kernels")
    cache.set_defaults(run=_cache)
    return parser


def _add_profile(commands):
    profile = commands.add_parser(
        "profile-batch-size",
        help="measure what the batch size does to speed and learning",
        description="Train with several batch sizes in turns, and recommend one. Features are scaled to unit variance.",
    )
    profile.add_argument(
        "--data",
        required=True,
        help="digits, iris, wine, breast-cancer, diabetes, or a CSV file with a header",
    )
    profile.add_argument("--target", metavar="COL", help="column of the CSV file to predict")
    profile.add_argument("--drop", metavar="COL", nargs="+", default=[], help="columns to leave out")
    profile.add_argument(
        "--model", default="mlp", help="mlp, sgd, linear, or the name of an estimator (default: %(default)s)"
    )
    profile.add_argument(
        "--hidden", type=int, nargs="+", metavar="N", help="neurons of each hidden layer of mlp"
    )
    profile.add_argument("--learning-rate", type=float, metavar="RATE", help="to start from")
    profile.add_argument("--batch-sizes", type=_whole_numbers, nargs="+", metavar="N", help="to try")
    profile.add_argument("--epochs", type=int, help="passes over the data (default: 20)")
    profile.add_argument("--time-budget", type=float, metavar="SECONDS", help="of training for each fit")
    profile.add_argument("--target-loss", type=float, metavar="LOSS", help="training loss to reach")
    profile.add_argument("--target-score", type=float, metavar="SCORE", help="validation score to reach")
    profile.add_argument(
        "--repeats", type=int, default=3, help="fits of each batch size (default: %(default)s)"
    )
    profile.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    profile.add_argument("--plot", metavar="FILE.png", help="draw the profile into this file")
    profile.add_argument("--json", metavar="FILE.json", help="write the profile into this file")
    profile.set_defaults(run=_profile)


def _whole_numbers(text):
    """One number or several with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers, got {text!r}") from None


def main(arguments=None):
    """Run a command; returns the exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot show a character gets a question mark instead of a traceback.
        sys.stdout.reconfigure(errors="replace")
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone; stop without Python's own complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _complain(parser, "interrupted", _EXIT_INTERRUPTED)
    except (OSError, ValueError) as error:
        return _complain(parser, error, _EXIT_BAD_USE)
    return 0


def _complain(parser, message, code):
    text = " ".join(str(message).split())
    print(f"{parser.prog}: error: {text}", file=sys.stderr)
    return code


def _console():
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, markup=False, width=_PIPE_WIDTH)
    return console


def _progress(console):
    """A progress bar that leaves nothing behind, and shows nothing when the output is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    one_line = Column(no_wrap=True, overflow="ellipsis")
    text = TextColumn("{task.description}", markup=False, table_column=one_line)
    columns = [BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), text]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _table(*columns):
    """An empty table; each column is (heading, justification)."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=justify == "right", overflow="fold")
    return table


# ------------------------------------------------------------------------------------------------------ tune

_ROWS_SHOWN = 20


def _tune(options):
    import warnings
    from pathlib import Path

    from sklearn.exceptions import ConvergenceWarning

    from fastfit.tune import MODELS, make_search, parse_params, read_table

    if options.model not in MODELS:
        raise ValueError(f"no model {options.model!r}; there are {', '.join(MODELS)}")
    if options.out is not None and not Path(options.out).parent.is_dir():
        raise ValueError(f"--out {options.out}: there is no folder {Path(options.out).parent}")
    grid = parse_params(options.param)
    table = read_table(options.file, options.target, options.drop)
    search, grid = make_search(options.model, table, grid, cv=options.cv, metric=options.metric)
    console = _console()
    n_candidates = 1
    for values in grid.values():
        n_candidates *= len(values)
    kind = "classes" if table.is_classification else "numbers"
    console.print(
        f"{options.model} for {len(table.y)} rows of {len(table.names)} columns, {options.target}: {kind}",
        style="bold",
    )
    with _progress(console) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        task = progress.add_task("candidates on folds", total=n_candidates * options.cv)
        search._on_progress = lambda n_done: progress.advance(task, n_done)
        try:
            search.fit(table.X, table.y)
        except ValueError as error:
            # If all fits fail, scikit-learn's message ends with the error of one.
            raise ValueError(str(error).strip().splitlines()[-1]) from None
        del search._on_progress
    console.print(_scores_of_candidates(search, grid))
    console.print(f"best: {_describe_setting(search.best_params_)}  (score {search.best_score_:.4f})")
    console.print(str(search.sharing_report_), style="dim")
    if options.out is not None:
        import joblib

        joblib.dump(search.best_estimator_, options.out)
        console.print(f"kept in {options.out}")


def _scores_of_candidates(search, grid):
    """The candidates, the best first."""
    results = search.cv_results_
    table = _table(
        *((name, "right") for name in grid), ("score", "right"), ("+-", "right"), ("rank", "right")
    )
    order = results["rank_test_score"].argsort(kind="stable")[:_ROWS_SHOWN]
    for i in order:
        scores = results["mean_test_score"][i], results["std_test_score"][i]
        values = [str(value) for value in results["params"][i].values()]
        named = dict(zip((name.rsplit("__", 1)[-1] for name in results["params"][i]), values, strict=True))
        table.add_row(
            *(named[name] for name in grid),
            *(f"{score:.4f}" for score in scores),
            str(results["rank_test_score"][i]),
        )
    return table


def _describe_setting(setting):
    return ", ".join(f"{name.rsplit('__', 1)[-1]}={value}" for name, value in setting.items())


# ------------------------------------------------------------------------------------------------------ demo


def _demo(options):
    from fastfit.runtime.compile import compile_statistics
    from fastfit.system_info import describe_machine, describe_versions

    console = _console()
    console.print(f"fastfit beside scikit-learn on {describe_machine()}", style="bold")
    console.print(describe_versions(), style="dim")
    before = compile_statistics()
    lines = _compare_all(console, options.rows)
    console.print()
    console.print(_describe_compiling(before, compile_statistics()))
    console.print()
    console.print(_scores_and_times(lines))
    console.print()
    console.print(
        "Scores: R2 (numbers) or accuracy (classes) on a quarter of the rows, kept back. Fit times: medians "
        "of fits in turns, without compiling. Both libraries got the same data, settings and random_state. "
        "The data called regression and classification are generated.",
        style="dim",
    )
    console.print()
    console.print(_set_and_learned(lines))


def _compare_all(console, n_rows):
    """Load the data, compile, then compare, with one progress bar."""
    from fastfit import demo

    names = list(dict.fromkeys(case.data for case in demo.CASES))
    data, lines = {}, []
    with _progress(console) as progress:
        bar = progress.add_task("", total=len(names) + 2 * len(demo.CASES))
        for name in names:
            progress.update(bar, description=f"data: {name}")
            data[name] = demo.load(name, n_rows)
            progress.advance(bar)
        for case in demo.CASES:
            progress.update(bar, description=f"compiling: {case.name}")
            demo.compile_case(case, data[case.data])
            progress.advance(bar)
        for case in demo.CASES:
            progress.update(bar, description=f"fitting: {case.name}, {case.data}")
            lines.append(demo.compare(case, data[case.data]))
            progress.advance(bar)
    return lines


def _describe_compiling(before, after):
    from fastfit.runtime.compile import cache_directory
    from fastfit.runtime.timing import format_seconds

    n_compiled, n_loaded = after.n_compiled - before.n_compiled, after.n_loaded - before.n_loaded
    parts = []
    if n_compiled:
        seconds = format_seconds(after.compile_seconds - before.compile_seconds)
        kept = " (once; then they are kept on disk)" if cache_directory() is not None else ""
        parts.append(f"{_kernels(n_compiled)} compiled in {seconds}{kept}")
    if n_loaded:
        seconds = format_seconds(after.load_seconds - before.load_seconds)
        parts.append(f"{_kernels(n_loaded)} loaded from disk in {seconds}")
    return f"Compiling, before the fits: {', '.join(parts) or 'nothing to do'}"


def _kernels(count):
    return "1 kernel" if count == 1 else f"{count} kernels"


def _scores_and_times(lines):
    from rich.text import Text

    from fastfit.runtime.timing import format_ratio, format_seconds

    scores = ("score\nfastfit", "scikit-\nlearn", "differ\nby")
    times = ("fit time\nfastfit", "scikit-\nlearn", "times\nas fast")
    table = _table(
        ("data, rows x columns\n  estimator", "left"), *((name, "right") for name in scores + times)
    )
    shown = None
    for line in lines:
        if line.data is not shown:
            shown = line.data
            table.add_row(
                Text(f"{shown.name}, {_count(shown.X.shape[0])} x {shown.X.shape[1]}", style="bold")
            )
        faster = line.speed_up.median >= 1
        table.add_row(
            "  " + line.case.name.replace(", ", ",\n    "),
            *(f"{score:.4f}" for score in line.scores),
            _difference(*line.scores),
            *map(format_seconds, line.seconds),
            Text(format_ratio(line.speed_up.median), style="bold green" if faster else "bold red"),
        )
    return table


def _count(number):
    return f"{number // 1000}k" if number >= 10_000 and number % 1000 == 0 else str(number)


def _difference(ours, theirs):
    """What fastfit's score has over scikit-learn's; 0 where rounding is all there is."""
    difference = ours - theirs
    if abs(difference) < 1e-9:
        return "0"
    return f"{difference:+.4f}" if abs(difference) >= 5e-5 else f"{difference:+.0e}"


def _set_and_learned(lines):
    """For each estimator, what the user set and what its fit learned."""
    from rich.text import Text

    from fastfit import demo

    left = [
        (heading, "left") for heading in ("estimator", "hyperparameters you set", "parameters learned by fit")
    ]
    table = _table(*left)
    seen = set()
    for line in lines:
        name = type(line.estimator).__name__
        if name not in seen:
            seen.add(name)
            set_texts, learned_texts = demo.describe_parameters(line)
            heading = Text.assemble((name, "bold"), f"\non {line.data.name}")
            table.add_row(heading, "\n".join(set_texts), "\n".join(learned_texts), end_section=True)
    return table


# ------------------------------------------------------------------------------------------ profile-batch-size


def _profile(options):
    import json

    from fastfit.inspection import batch_size_profile

    # Whatever can be wrong is found before the work is done.
    _check_writable(options.plot, options.json)
    if options.plot:
        _check_plots()
    X, y, estimator = _profile_inputs(options)
    console = _console()
    with _progress(console) as progress:
        bar = progress.add_task("", total=None)
        profile = batch_size_profile(
            estimator,
            X,
            y,
            batch_sizes=options.batch_sizes and [size for sizes in options.batch_sizes for size in sizes],
            epochs=options.epochs,
            time_budget=options.time_budget,
            target_loss=options.target_loss,
            target_score=options.target_score,
            n_repeats=options.repeats,
            random_state=options.seed,
            on_progress=lambda n_done, n_all, text: progress.update(
                bar, completed=n_done, total=n_all, description=text
            ),
        )
    console.print(profile)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(profile.to_dict(), file, indent=2, allow_nan=False)
            file.write("\n")
        console.print(f"Written: {options.json}", soft_wrap=True)
    if options.plot:
        _draw_profile(profile, options.plot)
        console.print(f"Drawn: {options.plot}", soft_wrap=True)


def _profile_inputs(options):
    """Return scaled features, the target and the estimator that the options ask for."""
    from sklearn.preprocessing import StandardScaler

    from fastfit.inspection.data_files import load_table

    X, y, is_classification = load_table(options.data, options.target, options.drop)
    return StandardScaler().fit_transform(X), y, _profile_estimator(options, is_classification)


def _profile_estimator(options, is_classification):
    import fastfit

    kind = "Classifier" if is_classification else "Regressor"
    names = {"mlp": f"MLP{kind}", "sgd": f"SGD{kind}", "linear": "LinearRegression"}
    name = names.get(options.model, options.model)
    if not name.endswith(("Classifier", "Regressor", "Regression")) or name not in fastfit.__all__:
        raise ValueError(
            f"unknown model {options.model!r}; there are mlp, sgd, linear, and fastfit's estimators."
        )
    if is_classification != name.endswith("Classifier"):
        what = "classes" if is_classification else "numbers"
        raise ValueError(f"the target holds {what}, which {name} does not predict.")
    settings = {"random_state": options.seed}
    if options.hidden is not None:
        if not name.startswith("MLP"):
            raise ValueError(f"--hidden is for mlp; {name} has no hidden layers.")
        settings["hidden_layer_sizes"] = tuple(options.hidden)
    if options.learning_rate is not None:
        rates = {"MLP": "learning_rate_init", "SGD": "eta0"}
        settings[rates.get(name[:3], "learning_rate")] = options.learning_rate
    return getattr(fastfit, name)(**settings)


def _check_writable(*paths):
    for path in filter(None, paths):
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise ValueError(f"no such folder for {path}: {folder}")
        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder")


def _check_plots():
    """Load matplotlib without a window, or say that it is missing."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'fastfit[plot]'") from None
    matplotlib.use("agg")


def _draw_profile(profile, path):
    from fastfit.inspection import BatchSizeProfileDisplay

    BatchSizeProfileDisplay.from_profile(profile).figure_.savefig(path, dpi=120)


# ---------------------------------------------------------------------------------------- warmup, info, cache


def _warmup(options):
    from fastfit import warmup
    from fastfit.runtime.timing import format_seconds

    unknown = [family for family in options.family if family not in warmup.FAMILIES]
    if unknown:
        raise ValueError(f"unknown family {unknown[0]!r}; there are: {', '.join(warmup.FAMILIES)}")
    console = _console()
    tasks = warmup.tasks(options.family)
    with _progress(console) as progress:
        bar = progress.add_task("", total=len(tasks), completed=-1)
        report = warmup.run_tasks(tasks, lambda name: progress.update(bar, description=name, advance=1))
    console.print(
        f"{_kernels(report.n_compiled)} compiled, {report.n_loaded} loaded from the cache, "
        f"in {format_seconds(report.seconds)}"
    )
    console.print(f"Cache: {_cache_text()}", soft_wrap=True)


def _cache_text():
    from fastfit.runtime.compile import cache_directory

    return str(cache_directory() or "off; code is compiled anew in every process")


def _info(options):
    from rich.table import Table

    from fastfit.runtime.cpu import VECTOR_BYTES, cache_sizes
    from fastfit.runtime.threads import explain_budget
    from fastfit.system_info import processor, versions

    budget = explain_budget()
    caches = ", ".join(f"L{level} {_bytes(size)}" for level, size in enumerate(cache_sizes(), 1) if size)
    rows = [
        *versions().items(),
        ("system", platform.platform(terse=True)),
        ("processor", processor()),
        (
            "vector width",
            f"{8 * VECTOR_BYTES} bits: {VECTOR_BYTES // 4} float32 or {VECTOR_BYTES // 8} float64",
        ),
        ("data caches", caches or "unknown"),
        ("threads", f"{budget.n_threads}, limited by {budget.bound_by}"),
        *((f"  {name}", str(n_threads)) for name, n_threads in budget.limits),
        *_cache_rows(),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    _console().print(grid)


def _cache_rows():
    """Where compiled code is kept and how much there is."""
    from fastfit.runtime.cache import cache_size
    from fastfit.runtime.compile import cache_directory

    directory = cache_directory()
    if directory is None:
        return [("cache", "off (FASTFIT_CACHE=0, or nowhere to write)")]
    n_files = len(list(directory.glob("*.bin"))) if directory.is_dir() else 0
    return [
        ("cache", str(directory)),
        ("  kernels kept", f"{n_files} for this version and processor"),
        ("  size", f"{_bytes(cache_size())} for all versions and processors"),
    ]


def _bytes(n_bytes):
    power = min(max(n_bytes.bit_length() - 1, 0) // 10, 3)
    amount, unit = n_bytes / 1024**power, ("bytes", "KiB", "MiB", "GiB")[power]
    return f"{amount:.0f} {unit}" if amount >= 10 or power == 0 else f"{amount:.1f} {unit}"


def _cache(options):
    from fastfit.runtime.cache import clear_cache

    console = _console()
    if options.clear:
        console.print(f"Removed {_bytes(clear_cache())} of compiled kernels")
    else:
        for name, value in _cache_rows():
            console.print(f"{name}: {value}", soft_wrap=True)
