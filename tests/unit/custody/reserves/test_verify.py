"""What a stranger can check offline, and everything that must not pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import BlockRef
from core.errors import Corrupt, Reason, Refused
from core.ids import AssetNo, ChainId
from custody.catalogue import Asset
from custody.reserves import verify
from custody.reserves.assets import (
    FinalBlock,
    Holding,
    OwnAddress,
    challenges,
    collect_proofs,
)
from custody.reserves.merkle_sum import Commitment, Leaf, Node, Tree, salt_of, sums_bytes
from custody.reserves.report import proof_file, seal
from custody.reserves.verify import Refuted, check_proof, check_report
from tests.unit.custody.reserves import cases

DAY_NS = 86_400 * 10**9
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def case() -> cases.Case:
    return cases.case()


def refutation(data: bytes) -> str:
    with pytest.raises(Refuted) as refuted:
        check_report(data)
    return str(refuted.value)


def test_an_honest_report_holds_and_every_customer_is_in_it(case: cases.Case) -> None:
    report = check_report(case.sealed.data)
    balances = {
        no: check_proof(report, proof_file(case.sealed, case.draft.tree, no))["balances"]
        for no in (1, 2, 3)
    }
    assert balances == {1: [str(6 * 10**18), "0"], 2: [str(3 * 10**18), "700"], 3: ["0", "500"]}


def test_nobody_with_nothing_has_a_leaf(case: cases.Case) -> None:
    assert check_report(case.sealed.data).leaf_count == 3
    with pytest.raises(Refused, match="unknown_customer"):
        proof_file(case.sealed, case.draft.tree, 4)


def test_the_same_cut_gives_the_same_bytes(case: cases.Case) -> None:
    assert cases.case().sealed.data == case.sealed.data


def set_at(*path: str | int, value: str) -> Change:
    def change(body: dict[str, Any]) -> None:
        target: Any = body
        for step in path[:-1]:
            target = target[step]
        assert target[path[-1]] != value
        target[path[-1]] = value

    return change


def several(*changes: Change) -> Change:
    def change(body: dict[str, Any]) -> None:
        for each in changes:
            each(body)

    return change


def drop(name: str, index: int) -> Change:
    return lambda body: body[name].pop(index)


def repeat(name: str) -> Change:
    return lambda body: body[name].append(dict(body[name][-1]))


# The hash and the signatures are made right again: the operator lies with the keys in hand.
LIES = [
    (set_at("sheet", 1, "customer_balances", value="1199"), "tree = customers"),
    (set_at("sheet", 0, "pending_withdrawals", value="0"), "tree = customers"),
    (set_at("sheet", 1, "on_chain", value="1238"), "addresses = on chain"),
    (set_at("sheet", 1, "unswept", value="1201"), "on chain = custody"),
    (set_at("sheet", 0, "equity", value="1"), "equity = its lines"),
    (set_at("sheet", 0, "net", value="1"), "equity = its lines"),
    (set_at("sheet", 1, "assets", value="1208"), "assets = their lines"),
    (set_at("sheet", 1, "liabilities", value="1202"), "liabilities = their lines"),
    (set_at("sheet", 1, "overdrawn", value="1"), "overdrawn customers"),
    (
        several(set_at("sheet", 1, "fee_income", value="5"), set_at("sheet", 1, "net", value="5")),
        "assets − liabilities = equity",
    ),
    (
        several(
            set_at("sheet", 1, "in_transit", value="50"),
            set_at("sheet", 1, "assets", value="1257"),
        ),
        "assets − liabilities = equity",
    ),
    (set_at("tree", "sums", 1, value="1100"), "the root is another"),
    (set_at("tree", "leaf_count", value="2"), "the root is another"),
    (set_at("entity", value="Other"), "the root is another"),
    (set_at("engine", "sequence", value="1235"), "the root is another"),
    (set_at("ledger", 1, "position", value="13"), "the root is another"),
    (set_at("assets", 0, "scale", value="17"), "the root is another"),
    (set_at("blocks", 0, "height", value="121"), "height off the rule"),
    (set_at("blocks", 0, "height_step", value="50"), "height off the rule"),
    (set_at("in_flight", 0, "amount", value="31"), "on chain = custody"),
    (set_at("in_flight", 0, "kind", value="residual"), "not of the form"),
    (drop("in_flight", 0), "on chain = custody"),
    (repeat("in_flight"), "a line twice"),
    (repeat("addresses"), "an address is listed twice"),
    (repeat("assets"), "no asset, or one twice"),
    (repeat("blocks"), "one network twice"),
    (drop("sheet", 1), "not one line per asset"),
    (drop("ledger", 1), "ledger"),
    (drop("blocks", 0), "a chain without a block"),
    (set_at("number", value="2"), "only report 1"),
    (set_at("previous", value="1" * 64), "only report 1"),
    (set_at("sheet", 1, "hot", value="-0"), "not of the form"),
    (set_at("sheet", 1, "unidentified", value="-3"), "not of the form"),
    (set_at("tree", "sums", 1, value="-600"), "not of the form"),
    (set_at("tree", "sums", 0, value=str(1 << 128)), "a sum outside"),
]


@pytest.mark.parametrize(("lie", "words"), LIES)
def test_a_lie_is_refuted_even_when_the_liar_signs_it_again(
    case: cases.Case, lie: Change, words: str
) -> None:
    assert words in refutation(cases.resealed(case.sealed.data, lie, sign_again=True))


def test_signing_again_without_a_lie_changes_nothing(case: cases.Case) -> None:
    # The control of the test above: what refutes there is the lie.
    same = cases.resealed(case.sealed.data, lambda body: None, sign_again=True)
    assert same == case.sealed.data


def test_v06_reserves_above_liabilities_are_not_enough_equality_is_asked(case: cases.Case) -> None:
    def richer(body: dict[str, Any]) -> None:
        for place in (("sheet", 1, "on_chain"), ("addresses", -1, "balances", -1, "amount")):
            target: Any = body
            for step in place[:-1]:
                target = target[step]
            target[place[-1]] = str(int(target[place[-1]]) + 10**9)

    lie = cases.resealed(case.sealed.data, richer, sign_again=True)
    assert "on chain = custody in the books + in flight" in refutation(lie)


def test_v06_liabilities_of_another_hour_do_not_fit_the_signed_block(case: cases.Case) -> None:
    later = set_at("blocks", 0, "hash", value="0x" + "cd" * 32)
    assert refutation(cases.resealed(case.sealed.data, later, sign_again=True))


def test_v07_a_signature_for_an_older_report_is_stale(case: cases.Case) -> None:
    younger = cases.draft(header=cases.header(at_ns=cases.DATE_NS + DAY_NS))
    old = dict(zip_proofs(case))
    with pytest.raises(Refused) as refused:
        collect_proofs(younger, lambda _chain, address, _challenge: old[address])
    assert refused.value.reason is Reason.BAD_SIGNATURE
    whole = json.loads(cases.case(header=cases.header(at_ns=cases.DATE_NS + DAY_NS)).sealed.data)
    whole["control"] = json.loads(case.sealed.data)["control"]
    assert "did not sign this challenge" in refutation(rehashed(whole))


def zip_proofs(case: cases.Case) -> list[tuple[str, bytes]]:
    whole = json.loads(case.sealed.data)
    lines = [line["address"] for line in whole["body"]["addresses"]]
    return [(a, bytes.fromhex(p)) for a, p in zip(lines, whole["control"], strict=True)]


def rehashed(whole: dict[str, Any]) -> bytes:
    whole.pop("hash", None)
    return verify.canonical(whole | {"hash": hashlib.sha256(verify.canonical(whole)).hexdigest()})


def test_v07_the_challenge_names_who_when_where_and_what(case: cases.Case) -> None:
    own, challenge = challenges(case.draft)[0]
    lines = challenge.decode("ascii").split("\n")
    assert lines == [
        "strongroom proof of control v1",
        "entity: Demo",
        "snapshot: por_1",
        "date: 2026-11-18T11:06:40Z",
        f"final block: anvil 120 0x{'ab' * 32}",
        f"commitment: {case.draft.commitment.hex()}",
        f"address: anvil {own.address}",
        "pledged: no",
    ]


def test_v07_an_address_of_somebody_else_is_refuted(case: cases.Case) -> None:
    swap = set_at("addresses", 0, "address", value=cases.address_of("nobody"))
    lie = cases.resealed(case.sealed.data, swap, sign_again=True)
    assert "did not sign this challenge" in refutation(lie)


def test_v07_an_address_in_another_case_is_another_text_and_refuted(case: cases.Case) -> None:
    def lower(body: dict[str, Any]) -> None:
        body["addresses"][0]["address"] = body["addresses"][0]["address"].lower()

    lie = cases.resealed(case.sealed.data, lower, sign_again=True)
    assert "did not sign this challenge" in refutation(lie)


def test_v07_signatures_of_two_addresses_cannot_be_exchanged(case: cases.Case) -> None:
    whole = json.loads(case.sealed.data)
    whole["control"] = whole["control"][::-1]
    assert "did not sign this challenge" in refutation(rehashed(whole))


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_missing_or_surplus_proof_is_refuted(case: cases.Case, count: int) -> None:
    whole = json.loads(case.sealed.data)
    whole["control"] = (whole["control"] * 2)[:count]
    assert "not one proof of control per address" in refutation(rehashed(whole))


def test_v07_a_token_that_is_not_listed_cannot_be_counted(case: cases.Case) -> None:
    def counterfeit(body: dict[str, Any]) -> None:
        body["addresses"][0]["balances"].append({"asset": "2", "amount": "5"})

    lie = cases.resealed(case.sealed.data, counterfeit, sign_again=True)
    assert "an asset outside the list" in refutation(lie)


def test_v07_pledged_money_is_said_in_the_signed_challenge() -> None:
    pledge = "pledged to Bank X until 2027"
    held = [replace(h, own=replace(h.own, encumbrance=pledge)) for h in cases.holdings()]
    case = cases.case(holdings=held)
    assert all(f"pledged: {pledge}".encode() in text for _, text in challenges(case.draft))
    silent = cases.resealed(
        case.sealed.data, set_at("addresses", 0, "encumbrance", value=""), sign_again=False
    )
    assert "did not sign this challenge" in refutation(silent)
    assert pledge in verify.describe(check_report(case.sealed.data))


def test_a_proof_under_another_report_or_with_another_balance_is_refuted(case: cases.Case) -> None:
    report = check_report(case.sealed.data)
    honest = json.loads(proof_file(case.sealed, case.draft.tree, 2))
    changes: list[dict[str, Any]] = [
        {"report": "0" * 64},
        {"customer": "1"},
        {"salt": "0" * 64},
        {"index": str(int(honest["index"]) ^ 1)},
        {"index": "3"},
        {"balances": [honest["balances"][0], "699"]},
        {"balances": [honest["balances"][0], "-700"]},
        {"balances": honest["balances"][:1]},
        {"path": honest["path"][:1]},
        {"path": honest["path"] + honest["path"][:1]},
        {"path": honest["path"][::-1]},
    ]
    for change in changes:
        with pytest.raises(Refuted):
            check_proof(report, verify.canonical(honest | change))
    assert check_proof(report, verify.canonical(honest))["customer"] == "2"


def test_v02_a_sibling_with_a_smaller_sum_is_refuted(case: cases.Case) -> None:
    report = check_report(case.sealed.data)
    for no in (1, 2, 3):
        proof = json.loads(proof_file(case.sealed, case.draft.tree, no))
        for level, node in enumerate(proof["path"]):
            for asset, total in enumerate(node["sums"]):
                for forged in {"0", str(max(0, int(total) - 1)), str(int(total) + 1)} - {total}:
                    lie = json.loads(json.dumps(proof))
                    lie["path"][level]["sums"][asset] = forged
                    with pytest.raises(Refuted, match=r"not under the report's root|not empty"):
                        check_proof(report, verify.canonical(lie))


def test_a_leaf_hidden_behind_the_last_one_is_refuted(case: cases.Case) -> None:
    report = check_report(case.sealed.data)
    rows = [(10, 0), (20, 0), (30, 0), (40, 0)]
    leaves = [Leaf(no, salt_of(cases.SECRET, no), row) for no, row in enumerate(rows)]
    tree = Tree.build(report.context, 2, leaves)
    node = tree.commitment.top
    honest = replace(report, leaf_count=4, top=node.hash + sums_bytes(node.sums))
    hidden = replace(honest, leaf_count=3)
    beside = tree.leaves[2].customer_no
    assert check_proof(honest, proof_file(case.sealed, tree, beside))
    with pytest.raises(Refuted, match="not empty behind the last"):
        check_proof(hidden, proof_file(case.sealed, tree, beside))


def test_sums_without_leaves_are_refuted(case: cases.Case) -> None:
    def empty(body: dict[str, Any]) -> None:
        top = Node(bytes(32), tuple(map(int, body["tree"]["sums"])))
        root = Commitment(verify.context_of(body), 0, top).root
        body["tree"] |= {"leaf_count": "0", "top": top.hash.hex(), "root": root.hex()}

    lie = cases.resealed(case.sealed.data, empty, sign_again=True)
    assert "sums without leaves" in refutation(lie)


def test_a_place_has_one_number_even_in_a_tree_of_one(case: cases.Case) -> None:
    report = check_report(case.sealed.data)
    tree = Tree.build(report.context, 2, [Leaf(1, salt_of(cases.SECRET, 1), (5, 6))])
    node = tree.commitment.top
    alone = replace(report, leaf_count=1, top=node.hash + sums_bytes(node.sums))
    proof = json.loads(proof_file(case.sealed, tree, 1))
    assert check_proof(alone, verify.canonical(proof))["index"] == "0"
    with pytest.raises(Refuted, match="a place outside the tree"):
        check_proof(alone, verify.canonical(proof | {"index": "1"}))


def test_an_address_holds_assets_of_its_own_chain_only() -> None:
    other = ChainId("other")
    books = cases.books()
    listed = Asset(AssetNo(3), replace(cases.ASSETS[0].spec, chain=other))
    block = FinalBlock(other, "1:0xdef", BlockRef(7, "0x07"))
    totals = {**books.totals, (cases.K.HOT, 3): 5, (cases.K.EQUITY, 3): 5}
    cut = replace(books.cut, blocks=(*books.cut.blocks, block))
    books = replace(books, assets=(*books.assets, listed), totals=totals, cut=cut)
    for chain, fits in ((other, True), (cases.CHAIN, False)):
        own = OwnAddress(chain, cases.address_of("stranger"), "eip191")
        draft = cases.draft(books=books, holdings=(*cases.holdings(), Holding(own, ((3, 5),))))
        proofs = collect_proofs(draft, cases.prove)
        if fits:
            assert check_report(seal(draft, proofs).data).leaf_count == 3
        else:
            with pytest.raises(Corrupt, match="another chain's asset"):
                seal(draft, proofs)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe",
        b"1" * 10_000,
        b'{"body":NaN}\n',
    ],
)
def test_nonsense_is_refuted_not_a_crash(data: bytes) -> None:
    assert refutation(data)


def test_a_number_where_a_text_belongs_is_refuted(case: cases.Case) -> None:
    whole = json.loads(case.sealed.data)
    whole["body"]["number"] = 1
    assert "file.body.number" in refutation(rehashed(whole))
