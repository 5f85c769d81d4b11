"""Between an asynchronous route and the engine: commands, questions, and books that catch up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool

from app.api.guard import Shop
from core.errors import OutcomeUnknown, Unavailable
from custody.db import Database
from engine.base import Engine
from engine.types import ConfigCommand, Event, OrderCommand

T = TypeVar("T")

POLL_MS, POLL_MS_MAX = 5, 50


async def command(shop: Shop, asked: OrderCommand | ConfigCommand) -> list[Event]:
    """Return what a command caused, once it is durable.

    Unavailable: it did not happen. OutcomeUnknown: it may have happened, or may yet.
    """
    answer = shop.context.sequencer.submit(asked)
    waiting = asyncio.wrap_future(answer)
    waiting.add_done_callback(_look_at)
    wait_s = shop.context.outcome_wait_ms / 1_000
    done, _ = await asyncio.wait({waiting}, timeout=wait_s)
    if done:
        return waiting.result()
    if answer.cancel():
        raise Unavailable("the sequencer is busy")
    raise OutcomeUnknown("the sequencer did not answer in time")


@contextlib.contextmanager
def reading(shop: Shop) -> Iterator[Engine]:
    """Give the engine to ask. Unavailable: it stopped, and another process may lead by now."""
    sequencer = shop.context.sequencer
    if sequencer.failure is not None:
        raise Unavailable("the engine stopped")
    with sequencer.reading() as engine:
        yield engine


async def with_books(shop: Shop, read: Callable[[sa.Connection], T]) -> T:
    """Read the books once they have followed everything the engine did before this question.

    Unavailable: they are behind for longer than a request may wait.
    """
    sequencer = shop.context.sequencer
    wanted = sequencer.log.last_sequence
    async for _ in tries(shop):
        if sequencer.log.projected_sequence >= wanted:
            return await run_in_threadpool(_read, shop.context.platform.db, read)
    raise Unavailable("the books are behind the engine")


async def tries(shop: Shop) -> AsyncIterator[None]:
    """Yield at once and then again and again, ever more slowly, while a request may wait."""
    loop = asyncio.get_running_loop()
    until_s, pause_ms = loop.time() + shop.context.outcome_wait_ms / 1_000, POLL_MS
    while True:
        yield
        left_s = until_s - loop.time()
        if left_s <= 0:
            return
        await asyncio.sleep(min(left_s, pause_ms / 1_000))
        pause_ms = min(POLL_MS_MAX, pause_ms + POLL_MS)


def _read(db: Database, read: Callable[[sa.Connection], T]) -> T:
    with db.read() as conn:
        return read(conn)


def _look_at(future: asyncio.Future[list[Event]]) -> None:
    """Take note of an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
