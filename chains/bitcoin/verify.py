"""The last look before bytes leave: another library's script engine runs every input's script.

Nothing that fails here is ever sent, whatever made it: no node would take it, and the signatures in
it would be out.
"""

from __future__ import annotations

from collections.abc import Sequence

from btclib.exceptions import BTClibException
from btclib.script.engine import verify_transaction
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut

from chains.bitcoin.tx import TxOut
from core.errors import Reason, Refused


def check_signed(raw: bytes, spent: Sequence[TxOut]) -> None:
    """Return when a signed transaction may spend these coins, in the order of its inputs.

    Refused: bad_signature.
    """
    outputs = [LibraryTxOut(coin.amount, ScriptPubKey(coin.script)) for coin in spent]
    try:
        verify_transaction(outputs, library.Tx.parse(raw))
    except BTClibException as error:
        raise Refused(Reason.BAD_SIGNATURE, f"a second library refuses it: {error}") from error
