"""Ten thousand random paths agree between libraries; `make campaign ARGS=paths` takes 10^5."""

from __future__ import annotations

import pytest

from tests.support.paths import CHUNK, disagreements

CHUNKS = 4


@pytest.mark.parametrize("number", range(CHUNKS))
def test_random_paths_agree_between_libraries(number: int) -> None:
    assert CHUNKS * CHUNK == 10_000
    assert disagreements(CHUNK, number) == []


def test_a_wrong_step_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.keys.bip32 import PrivateNode
    from custody.keys.slip10 import EdwardsNode

    for kind, word in ((PrivateNode, "secp256k1"), (EdwardsNode, "edwards")):
        child = kind.child

        def wrong(node: object, index: int, right: object = child) -> object:
            return right(node, index ^ 1)  # type: ignore[operator]

        with monkeypatch.context() as patched:
            patched.setattr(kind, "child", wrong)
            found = disagreements(40, 1)
        assert any(word in line for line in found)
