"""Tables of results in three forms: text by rich, HTML for notebooks, and what is common to both."""

import html
import io
from typing import NamedTuple

__all__ = ["Shown", "Table", "format_bytes", "to_html", "to_renderables", "to_text"]

TEXT_WIDTH = 120


class Table(NamedTuple):
    """One table to show."""

    title: str
    columns: tuple  # of (heading, "left" or "right")
    rows: list  # of tuples of str
    marked: frozenset = frozenset()  # positions of the rows to point out


class Shown:
    """Mixin: an object that `parts` describe looks well when printed, in a notebook and in a rich console."""

    def parts(self):
        """Return the `Table` and str objects that show this object, from top to bottom."""
        raise NotImplementedError

    def __str__(self):
        return to_text(self.parts())

    def __rich_console__(self, console, options):
        yield from to_renderables(self.parts())

    def _repr_html_(self):
        return to_html(self.parts())


def to_renderables(parts):
    """Yield rich's renderables of tables and texts."""
    from rich import box
    from rich import table as rich_table
    from rich.text import Text

    for number, part in enumerate(parts):
        if number:
            yield Text("")
        if isinstance(part, str):
            yield Text(part)
            continue
        if part.title:
            yield Text(part.title, style="bold")
        table = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for heading, justify in part.columns:
            table.add_column(heading, justify=justify, no_wrap=justify == "right", overflow="fold")
        for position, row in enumerate(part.rows):
            style = "bold" if position in part.marked else None
            table.add_row(*(Text(cell) for cell in row), style=style)
        yield table


def to_text(parts, width=TEXT_WIDTH):
    """Return tables and texts as plain text of at most so many columns."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(
        file=stream, width=width, highlight=False, markup=False, color_system=None, force_jupyter=False
    )
    for renderable in to_renderables(parts):
        console.print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def to_html(parts):
    """Return tables and texts as HTML without scripts and styles of its own beyond alignment."""
    pieces = ['<div class="fastfit">']
    for part in parts:
        if isinstance(part, str):
            pieces.append(f"<p>{html.escape(part).replace(chr(10), '<br>')}</p>")
            continue
        pieces.append("<table>")
        if part.title:
            pieces.append(
                f'<caption style="text-align:left;font-weight:bold">{html.escape(part.title)}</caption>'
            )
        cells = [_cell("th", heading, justify) for heading, justify in part.columns]
        pieces.append(f"<thead><tr>{''.join(cells)}</tr></thead><tbody>")
        for position, row in enumerate(part.rows):
            cells = [_cell("td", text, justify) for text, (_, justify) in zip(row, part.columns, strict=True)]
            style = ' style="font-weight:bold"' if position in part.marked else ""
            pieces.append(f"<tr{style}>{''.join(cells)}</tr>")
        pieces.append("</tbody></table>")
    return "".join([*pieces, "</div>"])


def _cell(tag, text, justify):
    escaped = html.escape(text).replace("\n", "<br>")
    return f'<{tag} style="text-align:{justify}">{escaped}</{tag}>'


def format_bytes(n_bytes):
    """Return bytes as a person reads them.

    Examples
    --------
    >>> from fastfit.inspection.tables import format_bytes
    >>> [format_bytes(n) for n in (12, 2048, 5_000_000)]
    ['12 B', '2.0 KiB', '4.8 MiB']
    """
    if n_bytes is None:
        return "?"
    power = min(max(int(n_bytes).bit_length() - 1, 0) // 10, 3)
    amount, unit = n_bytes / 1024**power, ("B", "KiB", "MiB", "GiB")[power]
    return f"{amount:.0f} {unit}" if amount >= 10 or power == 0 else f"{amount:.1f} {unit}"
