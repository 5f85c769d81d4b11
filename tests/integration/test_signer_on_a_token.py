"""The signer's process over keys in a token: from the first file of accounts to a mined payment."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from typer.testing import CliRunner

from app.auditing import open_auditor
from app.cli.main import app
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


def test_a_token_pays_its_log_holds_and_its_anchor_knows_yesterdays_store(tmp_path: Path) -> None:
    hsm = process_token()
    token = {
        "module": str(hsm.module), "label": hsm.label, "pin_file": str(hsm.pin_file),
        "anchor": f"test-{tmp_path.name}",
    }  # fmt: skip
    with start_anvil() as node, contextlib.ExitStack() as stack:
        setup = make_dev(
            tmp_path / "dev", node, http_port=free_port(),
            overrides={"signer": {"backend": "pkcs11", "pkcs11": token}},
        )  # fmt: skip
        (setup.folder / "secrets" / "keystore").unlink()
        made = CliRunner().invoke(app, ["--config", str(setup.config_file), "keys", "anchor"])
        assert made.exit_code == 0, made.output
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
        store = setup.folder / "signer"
        shutil.copytree(store, tmp_path / "yesterday")
        alone.start()
        alone.pay()
        assert alone.process.stop() == 0
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "yesterday", store)
        code, said = alone.ended(alone.child(setup.config_file))
        assert (code, "stale_signer" in said) == (5, True), said
