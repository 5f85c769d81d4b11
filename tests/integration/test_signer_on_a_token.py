"""The signer's process over keys in a token: from the first file of accounts to a mined payment."""

from __future__ import annotations

import contextlib
from pathlib import Path

from app.auditing import open_auditor
from app.devsetup import make_dev
from app.opening import open_platform
from custody.keys.audit import audit
from custody.keys.log_file import whole_log
from custody.keys.service import sign_one
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import start_anvil
from infra.devnet.servers import free_port
from tests.support.signer_alone import Alone
from tests.support.tokens import process_token


def test_a_token_pays_what_officers_approve_and_its_log_holds(tmp_path: Path) -> None:
    hsm = process_token()
    token = {"module": str(hsm.module), "label": hsm.label, "pin_file": str(hsm.pin_file)}
    with start_anvil() as node, contextlib.ExitStack() as stack:
        setup = make_dev(
            tmp_path / "dev", node, http_port=free_port(),
            overrides={"signer": {"backend": "pkcs11", "pkcs11": token}},
        )  # fmt: skip
        (setup.folder / "secrets" / "keystore").unlink()
        platform = open_platform(setup.settings())
        stack.callback(platform.close)
        alone = Alone(setup, node, platform)
        stack.callback(alone.process.kill)
        Deployer(node).pay(alone.hot, 10**18)
        alone.start()
        with contextlib.closing(alone.client()) as client:
            client.check()
            for _ in range(2):
                request = alone.request(alone.nonce())
                signature = sign_one(client, request)
                assert sign_one(client, request) == signature
                alone.land(request, signature)
            assert alone.nonce() == 2
            with open_auditor(setup.settings()) as auditor:
                assert audit(list(whole_log(client)), auditor) == []
        assert alone.process.stop() == 0
