"""The public half of the keys as a file: only what the signer attested to is believed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.accounts_file import (
    AccountLine,
    AttestedAccount,
    attest_account,
    check_accounts,
    parse_accounts,
    render_accounts,
)
from custody.keys.attestation import AttestationKey
from custody.keys.secret import Secret
from custody.keys.signers import ACCOUNTS, KeyRef
from custody.keys.signers.local import LocalSigner
from tests.unit.custody.keys.guardroom import SEED
from tests.unit.custody.keys.networks import traits

ALPHA, BETA = ChainId("alpha"), ChainId("beta")
KEY = AttestationKey(Secret(bytes(32)))
SIGNER = LocalSigner(SEED, traits())


def accounts(chain: ChainId = ALPHA, key: AttestationKey = KEY) -> list[AttestedAccount]:
    """Return every account of a chain, attested."""
    return [
        attest_account(key, AccountLine(chain, "net", name, SIGNER.account_xpub(name)))
        for name in ACCOUNTS
    ]


def reason_of(one: AttestedAccount) -> Reason:
    """Return why a chain with this account in its file is refused."""
    with pytest.raises(Refused) as caught:
        check_accounts(KEY.public_key, [*accounts()[1:], one], ALPHA, "net")
    return caught.value.reason


def test_a_file_gives_the_keys_of_one_chain_and_the_private_side_has_the_same() -> None:
    data = render_accounts([*accounts(), *accounts(BETA)])
    keys = check_accounts(KEY.public_key, parse_accounts(data), ALPHA, "net")
    assert set(keys) == set(ACCOUNTS)
    for name in ACCOUNTS:
        assert keys[name].public_key_checked(5) == SIGNER.public_key(KeyRef(name, 5))
    assert check_accounts(KEY.public_key, parse_accounts(data), ChainId("gone"), "net") == {}


def test_nothing_of_a_line_can_be_changed() -> None:
    one, other = accounts()[:2]
    for line in (
        replace(one.line, xpub=other.line.xpub),
        replace(one.line, account="cold"),
        replace(one.line, network="other"),
    ):
        assert reason_of(AttestedAccount(line, one.attestation)) is Reason.BAD_ATTESTATION
    assert reason_of(replace(one, attestation=other.attestation)) is Reason.BAD_ATTESTATION
    stranger = AttestationKey(Secret(bytes([1]) * 32))
    assert reason_of(accounts(key=stranger)[0]) is Reason.BAD_ATTESTATION


def test_keys_that_derive_from_nothing_public_are_listed_one_by_one() -> None:
    edwards = LocalSigner(SEED, traits(curve="ed25519"))
    keys = tuple(edwards.public_key(KeyRef("deposits", index)) for index in range(3))
    listed = attest_account(KEY, AccountLine(ALPHA, "net", "deposits", public_keys=keys))
    data = render_accounts([listed, *accounts()[1:]])
    assert parse_accounts(data)[0] == listed
    found = check_accounts(KEY.public_key, parse_accounts(data), ALPHA, "net")["deposits"]
    for read in (found.public_key, found.public_key_checked, found.public_key_again):
        assert [read(index) for index in range(3)] == list(keys)
        for index in (3, -1, True, 1 << 31):
            with pytest.raises(Refused, match="unknown_key"):
                read(index)
    fewer = replace(listed.line, public_keys=keys[:2])
    assert reason_of(AttestedAccount(fewer, listed.attestation)) is Reason.BAD_ATTESTATION


def test_another_network_and_no_extended_key_are_refused_though_attested() -> None:
    line = accounts()[0].line
    assert reason_of(attest_account(KEY, replace(line, network="main"))) is Reason.WRONG_NETWORK
    assert reason_of(attest_account(KEY, replace(line, xpub="xpub"))) is Reason.MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("version = 1", "version = 2"),
        lambda text: text.replace('account = "hot"', 'account = "petty cash"'),
        lambda text: text.replace('account = "hot"', 'account = "gas"'),
        lambda text: text.replace("attestation", "signature"),
        lambda text: text.replace("network", "net"),
        lambda text: text + "\n[more]\n",
        lambda text: text.replace('chain = "alpha"', "chain = 1"),
        lambda text: text + 'é = "1"\n',
        lambda text: text.upper(),
        lambda text: text.replace('xpub = "', 'public_keys = "'),
        lambda text: re.sub('xpub = ".*"', "public_keys = []", text),
        lambda text: re.sub('xpub = ".*"', 'public_keys = ["AB"]', text),
        lambda text: re.sub(
            'xpub = (".*")', r'xpub = \1\npublic_keys = ["' + "ab" * 32 + '"]', text
        ),
        lambda _text: "",
    ],
)
def test_another_shape_is_refused(change: object) -> None:
    text = render_accounts(accounts()).decode()
    with pytest.raises(Refused) as caught:
        parse_accounts(change(text).encode())  # type: ignore[operator]
    assert caught.value.reason in (Reason.MALFORMED, Reason.UNKNOWN_VERSION)
