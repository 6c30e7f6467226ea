"""Rows as a table for a terminal and as Markdown for README, and the heading that names the machine."""

import math
import os

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.workload import OURS, REFERENCE
from fastfit.runtime.timing import format_ratio, format_seconds
from fastfit.system_info import describe_machine, describe_versions, load_average

_PEER_PACKAGES = ("scikit-learn-intelex", "lightgbm", "xgboost-cpu", "snapml", "torch")
_BUSY_LOAD_SHARE = 0.6
NOTHING = "-"


def heading(rounds, size):
    """Lines that say where and how the numbers were taken."""
    ours = ("fastfit", "numpy", "numba", "scikit-learn")
    lines = [
        f"Machine: {describe_machine()}",
        f"Versions: {describe_versions((*ours, *_PEER_PACKAGES))}",
        f"Libraries take turns in one process; medians of at least {rounds} turns; compilation excluded.",
        "'times as fast': the other library's time over fastfit's, the median over turns and the quartiles.",
    ]
    lines.append(
        "'scores': R2 or accuracy of fastfit's model, and below it of scikit-learn's, on rows not fitted."
    )
    if size == "quick":
        lines.append("Quick run: a tenth of the rows.")
    load = load_average()
    if load is not None and load > _BUSY_LOAD_SHARE * (os.cpu_count() or 1):
        lines.append(f"Caution: the machine was busy when this began (load average {load:.1f}).")
    return lines


def format_value(value, unit):
    """A probe's number or a time."""
    if math.isnan(value):
        return NOTHING
    if unit == "slope":
        return f"{value:.2f}"
    return format_seconds(value) if unit == "s" else f"{value:.1f} {unit}"


def format_score(score):
    """Five decimals at most, without trailing noise."""
    return f"{score:.4f}" if abs(score) < 1000 else f"{score:.4g}"


def _comparison(row):
    """Speed-up and its quartiles, or the difference, against scikit-learn."""
    if row.compare == "difference" and REFERENCE in row.seconds and OURS in row.seconds:
        difference = row.difference
        return f"{'+' if difference >= 0 else '-'}{format_value(abs(difference), row.unit)}", ""
    if row.compare == "ratio" and REFERENCE in row.ratios:
        ratio = row.ratios[REFERENCE]
        return format_ratio(ratio.median), f"{format_ratio(ratio.low)[:-1]}-{format_ratio(ratio.high)[:-1]}"
    return NOTHING, ""


def _best_peer(row):
    peer = row.best_peer()
    if peer is None:
        return NOTHING, ""
    name, ratio = peer
    return name, format_ratio(ratio.median)


def _scores(row):
    """fastfit's and scikit-learn's score, the peer's under them only if it is another model."""
    return tuple(format_score(row.scores[name]) if name in row.scores else "" for name in (OURS, REFERENCE))


def _gap(row):
    if OURS not in row.gaps:
        return NOTHING
    gap = row.gaps[OURS]
    return "0" if gap == 0 else f"{gap:.0e}"


def terminal_table(rows):
    """The one table: two lines a workload, so that it fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("workload", overflow="fold")
    table.add_column("fastfit", justify="right", no_wrap=True)
    table.add_column("scikit-\nlearn", justify="right", no_wrap=True)
    table.add_column("times as\nfast", justify="right", no_wrap=True)
    table.add_column("best\npeer", no_wrap=True)
    table.add_column("scores", justify="right", no_wrap=True)
    table.add_column("differ\nby", justify="right", no_wrap=True)
    for row in rows:
        speed_up, quartiles = _comparison(row)
        slower = row.compare == "ratio" and REFERENCE in row.ratios and row.ratios[REFERENCE].median < 1
        style = "bold red" if slower or row.problems else "bold green" if row.ratios else ""
        mark = Text("! " if row.problems else "", style="bold red")
        table.add_row(
            mark + Text(f"{row.name}\n", style="bold") + Text(row.shape, style="dim"),
            format_value(row.median(OURS), row.unit),
            format_value(row.median(REFERENCE), row.unit),
            Text.assemble((speed_up, style), (f"\n{quartiles}", "dim")),
            Text("\n".join(_best_peer(row)).strip()),
            "\n".join(_scores(row)).strip(),
            _gap(row),
        )
    return table


def markdown_table(rows):
    """The same as GitHub Markdown, one line a workload."""
    headings = ["workload", "fastfit", "scikit-learn", "times as fast", "best peer"]
    headings += ["score (scikit-learn's)", "models differ by"]
    lines = ["| " + " | ".join(headings) + " |", "|---|---:|---:|---:|---|---:|---:|"]
    for row in rows:
        speed_up, quartiles = _comparison(row)
        peer, peer_numbers = _best_peer(row)
        ours, theirs = _scores(row)
        cells = [
            f"{'**!** ' if row.problems else ''}{row.name}, {row.shape}",
            format_value(row.median(OURS), row.unit),
            format_value(row.median(REFERENCE), row.unit),
            f"**{speed_up}** ({quartiles})" if quartiles else speed_up,
            f"{peer} {peer_numbers}".strip(),
            f"{ours} ({theirs})" if theirs else NOTHING,
            _gap(row),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def footnotes(rows):
    """Peers that were left out, compile time, and why rows marked with '!' should not be trusted."""
    lines = []
    missing = sorted({library for row in rows for library in row.missing})
    if missing:
        lines.append(f"Peers not installed, left out: {', '.join(missing)}.")
    kernels = [row.kernels for row in rows if row.kernels is not None]
    parts = []
    if n_compiled := sum(k.n_compiled for k in kernels):
        parts.append(f"{n_compiled} compiled in {format_seconds(sum(k.compile_seconds for k in kernels))}")
    if n_loaded := sum(k.n_loaded for k in kernels):
        parts.append(f"{n_loaded} loaded from disk in {format_seconds(sum(k.load_seconds for k in kernels))}")
    if parts:
        lines.append(f"Kernels, before the timing: {', '.join(parts)}.")
    return lines + [f"! {row.name}, {row.shape}: {problem}" for row in rows for problem in row.problems]
