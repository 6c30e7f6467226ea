"""``python -m benchmarks [FAMILY ...]``: one table of paired ratios for each family."""

import argparse
import functools
import importlib
import json
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_THREAD_VARIABLES = ("FASTFIT_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def families():
    """Names of the families that have a table: every ``bench_<family>.py`` with workloads."""
    found = sorted(path.stem.removeprefix("bench_") for path in _HERE.glob("bench_*.py"))
    return [family for family in found if family != "kernels"]


def parse_arguments(arguments=None):
    """Command line of ``python -m benchmarks``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("family", nargs="*", help=f"what to run: {', '.join(families())} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns to take at least (default: 7)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="run only what has TEXT in its name or shape"
    )
    parser.add_argument("--no-probes", action="store_true", help="leave out imports, first fits and memory")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--full", action="store_true", help="measure peak memory on 2 GB instead of 400 MB")
    parser.add_argument("--threads", type=int, help="threads that every library may use")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for README")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every sample to FILE")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.family) - set(families()))
    if unknown:
        parser.error(f"unknown family {unknown[0]!r}; there are {', '.join(families())}")
    if options.rounds < 1 or (options.threads is not None and options.threads < 1):
        parser.error("--rounds and --threads must be at least 1")
    return options


def main(arguments=None):
    """Run the families and print their table; exit code 1 if a row failed or its models disagree."""
    options = parse_arguments(arguments)
    if options.threads is not None:
        # Before NumPy and its BLAS are imported, which read these once.
        os.environ.update({name: str(options.threads) for name in _THREAD_VARIABLES})
    from rich.console import Console

    from benchmarks import report

    size = "quick" if options.quick else "huge" if options.full else "full"
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=120)
    lines = report.heading(options.rounds, size)
    rows = _measure(console, options, size)
    if not rows:
        print(f"no benchmark has {options.only!r} in its name or shape", file=sys.stderr)
        return 2
    if options.markdown:
        print("\n\n".join([*lines, report.markdown_table(rows), *report.footnotes(rows)]))
    else:
        for line in lines:
            console.print(line, highlight=False, markup=False)
        console.print()
        console.print(report.terminal_table(rows))
        console.print()
        for line in report.footnotes(rows):
            console.print(line, highlight=False, markup=False)
    if options.json is not None:
        options.json.write_text(
            json.dumps({"heading": lines, "rows": [row.to_dict() for row in rows]}, indent=1)
        )
    return int(any(row.problems for row in rows))


def _measure(console, options, size):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from benchmarks import runner

    items = _items(options)
    text = TextColumn("{task.description}", markup=False)
    columns = [text, BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn()]
    rows = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        whole = progress.add_task("all benchmarks", total=len(items))
        for item in items:
            task = progress.add_task(item.name, total=runner.n_steps(item, options.rounds))
            on_step = functools.partial(progress.advance, task)
            rows.append(runner.run(item, size=size, rounds=options.rounds, on_step=on_step))
            progress.remove_task(task)
            progress.advance(whole)
    return rows


def _items(options):
    """The chosen entries of the chosen families' tables."""
    items = []
    for family in options.family or families():
        module = importlib.import_module(f"benchmarks.bench_{family}")
        items += module.WORKLOADS
        items += [] if options.no_probes else module.PROBES
    wanted = options.only.lower()
    return [item for item in items if wanted in f"{item.name}, {item.describe_shape()}".lower()]


if __name__ == "__main__":
    sys.exit(main())
