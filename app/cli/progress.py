"""Progress bars on standard error, for people only: none when it is no terminal, none with -q."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from app.cli.output import Talk

Told = Callable[[int], None]


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Told]:
    """Yield what to call with how much is done; a total that nobody knows is None."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    is_off = Talk.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_off) as bars:
        task = bars.add_task(what, total=total)

        def told(done: int) -> None:
            bars.update(task, completed=done)

        yield told
