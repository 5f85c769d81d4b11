"""Accounts of the layout: a wallet's successive keys have names and numbers of their own."""

from __future__ import annotations

import pytest

from core.errors import Reason, Refused
from custody.keys.signers.base import (
    ACCOUNT_NUMBERS,
    ACCOUNT_STRIDE,
    ACCOUNTS,
    GENERATIONS_MAX,
    account_of,
    generation_of,
    wallet_of,
)


def test_every_account_has_one_name_and_one_number() -> None:
    assert len(ACCOUNT_NUMBERS) == len(set(ACCOUNT_NUMBERS.values())) == 64
    assert max(ACCOUNT_NUMBERS.values()) < 256
    assert {name: ACCOUNT_NUMBERS[name] for name in ACCOUNTS} == dict(ACCOUNTS)
    assert max(ACCOUNTS.values()) < ACCOUNT_STRIDE


def test_names_are_put_together_and_taken_apart() -> None:
    for wallet in ACCOUNTS:
        for generation in range(1, GENERATIONS_MAX + 1):
            name = account_of(wallet, generation)
            assert (wallet_of(name), generation_of(name)) == (wallet, generation)
    assert account_of("hot", 1) == "hot"
    assert account_of("hot", 2) == "hot.2"


@pytest.mark.parametrize(
    ("wallet", "generation"), [("hot", 0), ("hot", 17), ("hot.2", 1), ("savings", 2), ("hot", -1)]
)
def test_there_are_no_other_accounts(wallet: str, generation: int) -> None:
    with pytest.raises(Refused) as caught:
        account_of(wallet, generation)
    assert caught.value.reason is Reason.UNKNOWN_KEY
