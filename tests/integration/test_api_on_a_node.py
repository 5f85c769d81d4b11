"""W12 through the API on a real node: nothing is held for a destination nobody should pay."""

from __future__ import annotations

import pytest

from chains.base import NATIVE
from chains.fake import FakeWorld
from custody import catalogue
from custody.access import Role
from tests.support.api import Caller, api_of, problem_of
from tests.support.evm import CHAIN, ETHER, listed, minted
from tests.support.house import GAS, HOT
from tests.support.threats import OUTSIDE, Scene, Stage


@pytest.fixture
def scene(stage: Stage) -> Scene:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    return stage(listed(token.address))


def bad_destinations(scene: Scene, own: str) -> dict[str, tuple[str, str]]:
    token = next(asset for asset in scene_assets(scene) if asset != NATIVE)
    swapped = OUTSIDE[:2] + OUTSIDE[2:].swapcase()
    return {
        "wrong letter case": (swapped, "invalid_address"),
        "one letter wrong": (OUTSIDE.replace("C", "c", 1), "invalid_address"),
        "too short": (OUTSIDE[:-1], "invalid_address"),
        "too long": (OUTSIDE + "0", "invalid_address"),
        "no prefix": (OUTSIDE[2:], "invalid_address"),
        "another chain's": ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "invalid_address"),
        "a name": ("vitalik.eth", "invalid_address"),
        "trailing space": (OUTSIDE + " ", "invalid_address"),
        "cyrillic": (OUTSIDE.replace("C", "С", 1), "invalid_address"),
        "full width": ("０ｘ" + OUTSIDE[2:], "invalid_address"),
        "zero": ("0x" + "0" * 40, "forbidden_destination"),
        "burn": ("0x000000000000000000000000000000000000dEaD", "forbidden_destination"),
        "precompile": ("0x" + "0" * 39 + "1", "forbidden_destination"),
        "the token itself": (token, "forbidden_destination"),
        "own deposit address": (own, "own_address"),
        "a contract that refuses": (scene.contracts.deploy("Receiver", 1).address,
                                    "forbidden_destination"),
        "a contract that burns all": (scene.contracts.deploy("Receiver", 2).address,
                                      "forbidden_destination"),
        "own hot wallet": (scene.house.own_address(HOT), "own_address"),
        "own gas wallet, lower case": (scene.house.own_address(GAS).lower(), "own_address"),
    }  # fmt: skip


def scene_assets(scene: Scene) -> list[str]:
    with scene.house.platform.db.read() as conn:
        return [asset.spec.key for asset in catalogue.all_assets(conn)]


def test_a_bad_destination_on_a_real_chain_holds_nothing(scene: Scene) -> None:
    alice = scene.customer("alice")
    scene.contracts.pay(alice.address, ETHER)
    scene.go()
    with api_of(scene.house, FakeWorld()) as front:
        caller: Caller = front.caller(Role.CUSTOMER, str(alice.number))
        asked = {"asset": f"{CHAIN}/{NATIVE}", "amount": "0.5"}
        for name, (destination, code) in bad_destinations(scene, alice.address).items():
            body = {**asked, "destination": destination}
            problem_of(caller.post("/v1/withdrawals", body, key="w12"), 422, code), name
        front.settle()
        (balance,) = caller.get("/v1/balances").json()["data"]
        assert (balance["available"], balance["withdrawing"]) == (balance["total"], "0")
        with front.running():
            body = {**asked, "destination": OUTSIDE.lower()}
            good = caller.post("/v1/withdrawals", body, key="w12")
        assert (good.status_code, good.json()["destination"]) == (201, OUTSIDE)
    scene.assert_equations_hold()
