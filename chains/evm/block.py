"""A block proven by its own hash: header, transactions, receipts, withdrawals.

The header's fields are hashed again; the lists it commits to are encoded again and their trie
roots compared. So whatever one node says about a block whose hash is agreed is either what the
chain says or `IncompleteBlock`: an empty list of logs, a receipt with another status or amount,
a missing transaction are all seen. What a header does not commit to (traces, `from`) is judged
elsewhere. Source: Yellow Paper 4.4; EIP-2718, 2930, 1559, 4895, 4844, 7685, 7702.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from eth_hash.auto import keccak

from chains.evm import parse
from chains.evm.parse import BlockContents, Header, Json, Log, Tx
from chains.evm.rlp import Item, encode, encode_int
from chains.evm.signature import recover_loose
from chains.evm.trie import ordered_root
from core.errors import Refused, Unavailable

BLOOM_BYTES = 256

# Name and fixed size of every header field in hashing order; None is a quantity, 0 is data of any
# size.
_HEADER_FIELDS: tuple[tuple[str, int | None], ...] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", BLOOM_BYTES),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", 0),
    ("mixHash", 32),
    ("nonce", 8),
)
# Added by forks, in this order: a header has the first few of them.
_FORK_FIELDS: tuple[tuple[str, int | None], ...] = (
    ("baseFeePerGas", None),  # London
    ("withdrawalsRoot", 32),  # Shanghai
    ("blobGasUsed", None),  # Cancun
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),
    ("requestsHash", 32),  # Prague
)


class IncompleteBlock(Unavailable):
    """A node's answer contradicts the block's hash, or itself: never read as 'no payments'."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"incomplete_block: {detail}")


def parse_header(answer: object) -> Header:
    """Read a header and prove it by its hash. IncompleteBlock: the fields do not hash to `hash`."""
    block = parse.mapping(answer, "block")
    items = [_header_item(block, name, size) for name, size in _HEADER_FIELDS]
    for name, size in _FORK_FIELDS:
        if block.get(name) is None:
            break
        items.append(_header_item(block, name, size))
    claimed = parse.hash_text(block.get("hash"), "hash")
    if "0x" + keccak(encode(items)).hex() != claimed:
        raise IncompleteBlock(f"the header does not hash to {claimed}")
    withdrawals_root = block.get("withdrawalsRoot")
    base_fee = block.get("baseFeePerGas")
    return Header(
        hash=claimed,
        parent_hash=parse.hash_text(block.get("parentHash"), "parentHash"),
        height=parse.quantity(block.get("number"), "number", limit=parse.HEIGHT_LIMIT),
        time_s=parse.quantity(block.get("timestamp"), "timestamp", limit=1 << 63),
        miner=parse.address(block.get("miner"), "miner"),
        bloom=parse.data(block.get("logsBloom"), "logsBloom", size=BLOOM_BYTES),
        transactions_root=parse.data(block.get("transactionsRoot"), "transactionsRoot", size=32),
        receipts_root=parse.data(block.get("receiptsRoot"), "receiptsRoot", size=32),
        withdrawals_root=None
        if withdrawals_root is None
        else parse.data(withdrawals_root, "withdrawalsRoot", size=32),
        base_fee=0 if base_fee is None else parse.quantity(base_fee, "baseFeePerGas"),
    )


def verify_contents(header: Header, block: object, receipts: object) -> BlockContents:
    """Prove a full block and its receipts against an already proven header.

    IncompleteBlock: null, another block, a count or a root that differs.
    """
    if block is None or receipts is None:
        raise IncompleteBlock("the node does not have the block it was asked for")
    answer = parse.mapping(block, "block")
    if parse.hash_text(answer.get("hash"), "hash") != header.hash:
        raise IncompleteBlock("another block was answered")
    txs = [parse.mapping(tx, "transaction") for tx in _list(answer, "transactions")]
    rows = [parse.mapping(row, "receipt") for row in parse.sequence(receipts, "receipts")]
    if len(txs) != len(rows):
        raise IncompleteBlock(f"{len(rows)} receipts for {len(txs)} transactions")
    raws = [transaction_bytes(tx) for tx in txs]
    if ordered_root(raws) != header.transactions_root:
        raise IncompleteBlock("the transactions do not give transactionsRoot")
    tx_ids = ["0x" + keccak(raw).hex() for raw in raws]
    logs = [_logs(row, tx_id) for row, tx_id in zip(rows, tx_ids, strict=True)]
    blooms = [bloom_of(each) for each in logs]
    encoded = [_receipt_bytes(*parts) for parts in zip(rows, logs, blooms, strict=True)]
    if ordered_root(encoded) != header.receipts_root:
        raise IncompleteBlock("the receipts do not give receiptsRoot")
    if _union(blooms) != header.bloom:
        raise IncompleteBlock("the logs do not give logsBloom")
    transactions: list[Tx] = []
    gas_before = 0
    for tx, row, tx_id, tx_logs in zip(txs, rows, tx_ids, logs, strict=True):
        gas_after = parse.quantity(row.get("cumulativeGasUsed"), "cumulativeGasUsed")
        if gas_after < gas_before:
            raise IncompleteBlock("cumulative gas falls")
        transactions.append(_tx(tx, row, tx_id, tx_logs, gas_after - gas_before, header))
        gas_before = gas_after
    return BlockContents(header, tuple(transactions), _withdrawals(header, answer))


def _tx(tx: Json, row: Json, tx_id: str, logs: tuple[Log, ...], gas: int, header: Header) -> Tx:
    if parse.hash_text(tx.get("hash"), "transaction hash") != tx_id:
        raise IncompleteBlock(f"transaction {tx_id} is named otherwise")
    if parse.hash_text(row.get("transactionHash"), "transactionHash") != tx_id:
        raise IncompleteBlock(f"the receipt of {tx_id} is another's")
    return Tx(
        tx_id=tx_id,
        sender=sender_of(tx),
        to=parse.optional_address(tx.get("to"), "to"),
        value=parse.quantity(tx.get("value"), "value"),
        input=parse.data(tx.get("input"), "input"),
        nonce=parse.quantity(tx.get("nonce"), "nonce", limit=1 << 64),
        succeeded=parse.quantity(row.get("status"), "status", limit=2) == 1,
        gas_used=gas,
        fee=gas * _gas_price(tx, header.base_fee) + _blob_fee(tx, row),
        logs=logs,
    )


def _gas_price(tx: Json, base_fee: int) -> int:
    """Return what each gas cost, from proven fields; effectiveGasPrice is not proven."""
    if _tx_type(tx) < 2:
        return parse.quantity(tx.get("gasPrice"), "gasPrice")
    highest = parse.quantity(tx.get("maxFeePerGas"), "maxFeePerGas")
    tip = parse.quantity(tx.get("maxPriorityFeePerGas"), "maxPriorityFeePerGas")
    return min(highest, base_fee + tip)


def _blob_fee(tx: Json, row: Json) -> int:
    if _tx_type(tx) != 3:
        return 0
    gas = parse.quantity(row.get("blobGasUsed"), "blobGasUsed")
    return gas * parse.quantity(row.get("blobGasPrice"), "blobGasPrice")


def transaction_bytes(tx: Json) -> bytes:
    """Encode a JSON transaction as the block holds it.

    IncompleteBlock: an unknown type, which is never skipped.
    """
    kind, unsigned, signature = _parts(tx)
    return (bytes((kind,)) if kind else b"") + encode([*unsigned, *signature])


def sender_of(tx: Json) -> bytes:
    """Return who signed a transaction. IncompleteBlock: nobody did."""
    kind, unsigned, signature = _parts(tx)
    v, r, s = (int.from_bytes(part, "big") for part in signature)
    if kind:
        signed, parity = bytes((kind,)) + encode(unsigned), v
    elif v in (27, 28):
        signed, parity = encode(unsigned), v - 27
    else:  # EIP-155 puts the chain id into v
        signed, parity = encode([*unsigned, encode_int((v - 35) // 2), b"", b""]), (v - 35) % 2
    try:
        return recover_loose(keccak(signed), r=r, s=s, parity=parity)
    except Refused as error:
        raise IncompleteBlock("a transaction has no valid signature") from error


def _parts(tx: Json) -> tuple[int, list[Item], list[bytes]]:
    """Return (type, unsigned fields, signature fields) of a JSON transaction."""
    kind = _tx_type(tx)
    number = _numbers(tx)
    to = parse.optional_address(tx.get("to"), "to") or b""
    payload = parse.data(tx.get("input"), "input")
    if kind == 0:
        head = number("nonce", "gasPrice", "gas")
        return kind, [*head, to, *number("value"), payload], number("v", "r", "s")
    fees = ("gasPrice",) if kind == 1 else ("maxPriorityFeePerGas", "maxFeePerGas")
    items: list[Item] = [*number("chainId", "nonce", *fees, "gas"), to, *number("value")]
    items += [payload, _access_list(tx)]
    if kind == 3:
        hashes = _list(tx, "blobVersionedHashes")
        items += number("maxFeePerBlobGas")
        items.append([parse.data(each, "blobVersionedHashes", size=32) for each in hashes])
    elif kind == 4:
        items.append([_authorization(each) for each in _list(tx, "authorizationList")])
    parity = tx.get("yParity", tx.get("v"))
    return (
        kind,
        items,
        [
            encode_int(parse.quantity(parity, "yParity", limit=2)),
            *number("r", "s"),
        ],
    )


def _tx_type(tx: Json) -> int:
    kind = parse.quantity(tx.get("type"), "type")
    if kind > 4:
        raise IncompleteBlock(f"transaction type {kind} is not known")
    return kind


def _numbers(source: Json) -> Callable[..., list[bytes]]:
    """Return what picks quantities of a JSON object as the encoder wants them."""
    return lambda *names: [encode_int(parse.quantity(source.get(name), name)) for name in names]


def _access_list(tx: Json) -> list[Item]:
    entries = [parse.mapping(each, "accessList") for each in _list(tx, "accessList")]
    return [
        [
            parse.address(entry.get("address"), "accessList"),
            [parse.data(key, "storageKeys", size=32) for key in _list(entry, "storageKeys")],
        ]
        for entry in entries
    ]


def _authorization(answer: object) -> list[Item]:
    entry = parse.mapping(answer, "authorizationList")
    number = _numbers(entry)
    parity = entry.get("yParity", entry.get("v"))
    return [
        *number("chainId"),
        parse.address(entry.get("address"), "authorizationList"),
        *number("nonce"),
        encode_int(parse.quantity(parity, "yParity")),
        *number("r", "s"),
    ]


def _receipt_bytes(row: Json, logs: Sequence[Log], bloom: bytes) -> bytes:
    items: list[Item] = [
        *_numbers(row)("status", "cumulativeGasUsed"),
        bloom,
        [[log.emitter, list(log.topics), log.data] for log in logs],
    ]
    kind = _tx_type(row)
    return (bytes((kind,)) if kind else b"") + encode(items)


def _logs(row: Json, tx_id: str) -> tuple[Log, ...]:
    return tuple(
        Log(
            emitter=parse.address(log.get("address"), "log address"),
            topics=_topics(log),
            data=parse.data(log.get("data"), "log data"),
            tx_id=tx_id,
            place=place,
        )
        for place, log in enumerate(parse.mapping(each, "log") for each in _list(row, "logs"))
    )


def _topics(log: Json) -> tuple[bytes, ...]:
    return tuple(parse.data(topic, "topic", size=32) for topic in _list(log, "topics"))


def _withdrawals(header: Header, block: Json) -> tuple[bytes, ...]:
    if header.withdrawals_root is None:
        return ()
    rows = [parse.mapping(each, "withdrawal") for each in _list(block, "withdrawals")]
    encoded = [
        encode(
            [
                *_numbers(row)("index", "validatorIndex"),
                parse.address(row.get("address"), "withdrawal address"),
                *_numbers(row)("amount"),
            ]
        )
        for row in rows
    ]
    if ordered_root(encoded) != header.withdrawals_root:
        raise IncompleteBlock("the withdrawals do not give withdrawalsRoot")
    return tuple(parse.address(row.get("address"), "withdrawal address") for row in rows)


def _list(source: Json, name: str) -> list[object]:
    return parse.sequence(source.get(name), name)


def _header_item(block: Json, name: str, size: int | None) -> bytes:
    if size is None:
        return encode_int(parse.quantity(block.get(name), name))
    return parse.data(block.get(name), name, size=size or None)


@lru_cache(maxsize=1 << 16)
def _bloom_bits(value: bytes) -> int:
    digest = keccak(value)
    bits = 0
    for start in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[start : start + 2], "big") & 0x7FF)
    return bits


def bloom_of(logs: Iterable[Log]) -> bytes:
    """Return the 2048-bit filter over emitters and topics. Source: Yellow Paper 4.4.1."""
    bits = 0
    for log in logs:
        bits |= _bloom_bits(log.emitter)
        for topic in log.topics:
            bits |= _bloom_bits(topic)
    return bits.to_bytes(BLOOM_BYTES, "big")


def may_contain(bloom: bytes, value: bytes) -> bool:
    """Tell whether a filter may hold an emitter or topic; False is certain."""
    wanted = _bloom_bits(value)
    return int.from_bytes(bloom, "big") & wanted == wanted


def _union(blooms: Sequence[bytes]) -> bytes:
    bits = 0
    for bloom in blooms:
        bits |= int.from_bytes(bloom, "big")
    return bits.to_bytes(BLOOM_BYTES, "big")
