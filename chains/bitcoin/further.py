"""One decoder more, for whoever installed it: bitcoinlib reads what is about to leave.

It is never required (its licence is the AGPL) and never believed alone: it can only refuse. It runs
in a process of its own, since it reads its settings from the environment and keeps a folder of its
own: it gets an empty environment and a fresh folder.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile

from chains.bitcoin.tx import Tx
from core.errors import Reason, Refused, Unavailable

LIBRARY = "bitcoinlib"
TIMEOUT_S = 60
_FOLDER = "BCL_DATA_DIR"
_READ = """
import json, sys
from bitcoinlib.transactions import Transaction
tx = Transaction.parse_hex(sys.stdin.read().strip(), strict=False)
print(json.dumps({
    "id": tx.txid,
    "inputs": [[one.prev_txid.hex(), one.output_n_int] for one in tx.inputs],
    "outputs": [[one.value, one.lock_script.hex()] for one in tx.outputs],
}))
"""


def is_installed() -> bool:
    """Tell whether the optional library is there, without importing it."""
    return importlib.util.find_spec(LIBRARY) is not None


def check_further(raw: bytes, expected: Tx, *, python: str = sys.executable) -> None:
    """Return when the optional library reads the same payment.

    Refused: undecodable (it reads another one, or none). Unavailable: it does not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="decoder-") as folder:
        try:
            done = subprocess.run(
                [python, "-I", "-c", _READ],
                input=raw.hex(),
                env={_FOLDER: folder, "HOME": folder},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"decoder_timeout: {LIBRARY}") from error
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not last:
        raise Refused(Reason.UNDECODABLE, f"{LIBRARY} cannot read it: {done.stderr[-200:]}")
    if json.loads(last[0]) != _expected(expected):
        raise Refused(Reason.UNDECODABLE, f"{LIBRARY} reads another transaction")


def _expected(tx: Tx) -> dict[str, object]:
    return {
        "id": tx.tx_id,
        "inputs": [[one.outpoint.tx_id, one.outpoint.index] for one in tx.inputs],
        "outputs": [[one.amount, one.script.hex()] for one in tx.outputs],
    }
