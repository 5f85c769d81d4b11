"""The file of the latest trades and candles: what the API shows of them after a restart.

The journal holds commands, not trades, and a restart replays only what follows a snapshot. So the
tapes are a projection like the books: written whole after every snapshot, with the position of the
journal they belong to; a restart reads them and follows the journal from there. A file that is
damaged, or of another journal, is worth nothing and is passed over; then the list begins with what
is replayed. All numbers little-endian.

    header  magic @0, format u16 @4, markets u16 @6, epoch u64 @8, sequence u64 @16,
            running hash 32 B @24, CRC32C of all that follows @56, CRC32C of the header before @60
    market  market u16 @0, candles u16 @2, trades u32 @4; then its trades, then its candles
    trade   sequence u64 @0, n u32 @8, side of the taker u8 @12, time i64 @16, price i64 @24,
            lots i64 @32
    candle  start i64 @0, open i64 @8, high i64 @16, low i64 @24, close i64 @32, trades u32 @40,
            volume u128 @48
"""

from __future__ import annotations

import struct

from core.errors import Corrupt, Refused
from engine.blocks import GENESIS
from engine.crc32c import crc32c
from engine.events import Projected
from engine.files import Storage
from engine.history import Replay
from engine.marketdata import MarketData
from engine.recovery import EngineFactory
from engine.trades import Candle, TapeRows, TradeRow

NAME = "trades.tape"
FORMAT = 1
RECALLED_MAX = 1 << 20
"""No restart replays more commands than these for the sake of trades."""

_MAGIC = b"SRTP"
_HEADER = struct.Struct("<4sHHQQ32sI")
_CRC = struct.Struct("<I")
_MARKET = struct.Struct("<HHI")
_TRADE = struct.Struct("<QIB3xqqq")
_CANDLE = struct.Struct("<qqqqqI4x16s")


def keep(storage: Storage, data: MarketData) -> None:
    """Write the file after a snapshot. Unavailable: the one before is still there."""
    position, rows = data.tapes()
    if position is not None:
        write_tapes(storage, position, rows)


def recall(storage: Storage, data: MarketData, *, factory: EngineFactory) -> None:
    """Fill the tapes of market data that has just begun at the end of the journal.

    Corrupt: the journal is damaged on the way.
    """
    end = data.sequence
    kept, rows = read_tapes(storage) or (GENESIS, {})
    if kept.sequence > end:
        kept, rows = GENESIS, {}
    try:
        replay = Replay(storage, factory=factory, after=kept.sequence or end)
    except Refused:  # no snapshot is kept from before the file: begin at the newest
        replay = Replay(storage, factory=factory, after=end)
    if end - replay.position.sequence > RECALLED_MAX:
        return
    is_whole = replay.position in (GENESIS, kept)
    if replay.position == kept:
        data.restore(rows)
    for each in replay.blocks():
        if each.applied.projected == kept:
            data.restore(rows)
            is_whole = True
        elif each.applied.first_sequence > kept.sequence:
            if not is_whole:
                data.begin_tapes_at(each.applied.time_ns)
                is_whole = True
            data.recall(each.applied)


def write_tapes(storage: Storage, position: Projected, rows: TapeRows) -> None:
    """Replace the file, durably. Unavailable: the one before is still there."""
    parts = []
    for market_no, (trades, candles) in rows.items():
        parts.append(_MARKET.pack(market_no, len(candles), len(trades)))
        parts += [
            _TRADE.pack(sequence, n, side, time_ns, price, lots)
            for sequence, n, time_ns, price, lots, side in trades
        ]
        parts += [_packed(candle) for candle in candles]
    body = b"".join(parts)
    header = _HEADER.pack(
        _MAGIC, FORMAT, len(rows), position.epoch, position.sequence, position.hash, crc32c(body)
    )
    storage.write_atomic(NAME, header + _CRC.pack(crc32c(header)) + body)


def read_tapes(storage: Storage) -> tuple[Projected, TapeRows] | None:
    """Return the position of the file and what it holds. None: there is none, or it is damaged."""
    if NAME not in storage.names():
        return None
    data = storage.read(NAME)
    at = _HEADER.size + _CRC.size
    header, body = data[: _HEADER.size], data[at:]
    if len(data) < at or _CRC.unpack_from(data, _HEADER.size)[0] != crc32c(header):
        return None
    magic, format_no, markets, epoch, sequence, hash_, body_crc = _HEADER.unpack(header)
    if (magic, format_no) != (_MAGIC, FORMAT) or body_crc != crc32c(body):
        return None
    at, rows = 0, {}
    for _ in range(markets):
        market_no, candles, trades = _MARKET.unpack_from(body, at)
        at += _MARKET.size
        until = at + trades * _TRADE.size
        end = until + candles * _CANDLE.size
        rows[market_no] = (
            [_trade(row) for row in _TRADE.iter_unpack(body[at:until])],
            [_candle(row) for row in _CANDLE.iter_unpack(body[until:end])],
        )
        at = end
    if at != len(body):
        raise Corrupt(f"{NAME}: sound sums over {len(body)} bytes, of which {at} are explained")
    return Projected(epoch=epoch, sequence=sequence, hash=hash_), rows


def _trade(row: tuple[int, int, int, int, int, int]) -> TradeRow:
    sequence, n, side, time_ns, price, lots = row
    return sequence, n, time_ns, price, lots, side


def _packed(candle: Candle) -> bytes:
    return _CANDLE.pack(
        candle.start_ns,
        candle.open_ticks,
        candle.high_ticks,
        candle.low_ticks,
        candle.close_ticks,
        candle.trades,
        candle.volume_lots.to_bytes(16, "little"),
    )


def _candle(row: tuple[int, int, int, int, int, int, bytes]) -> Candle:
    start_ns, opened, high, low, closed, trades, volume = row
    return Candle(
        start_ns=start_ns,
        open_ticks=opened,
        high_ticks=high,
        low_ticks=low,
        close_ticks=closed,
        volume_lots=int.from_bytes(volume, "little"),
        trades=trades,
    )
