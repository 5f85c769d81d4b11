"""Lists and providers are asked over https only, and nothing of another form is believed."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.screening_sources import REPLY_BYTES_MAX, HttpProvider, read_list
from app.secure_url import is_secure
from app.settings_screening import (
    ScreeningSettings,
    open_providers,
    problems_of_screening,
    screening_terms,
    threshold_usd,
)
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody.keys.secret import Secret
from custody.screening.cases import Answer, Outcome, Question
from tests.unit.custody.screening.samples import plain

QUESTION = Question("case_1", ChainId("fake"), "native", "f00", 12)


class Server(HTTPServer):
    """Answers everything with what it was told, and keeps what it was asked."""

    status: int = 200
    body: bytes = b"{}"
    delay_s: float = 0
    asked: list[tuple[dict[str, str], bytes]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ask"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((dict(self.headers), self.rfile.read(length)))
        time.sleep(self.server.delay_s)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def provider(server: Server, timeout_ms: int = 5_000) -> HttpProvider:
    return HttpProvider(server.url, Secret(b"token-1"), timeout_ms)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_provider_is_asked_with_its_token_and_answers(server: Server, outcome: Outcome) -> None:
    server.body = json.dumps({"outcome": outcome, "reference": "r-1"}).encode()
    assert provider(server).ask(QUESTION) == Answer(outcome, "r-1")
    ((headers, body),) = server.asked
    assert headers["Authorization"] == "Bearer token-1"
    assert json.loads(body)["amount"] == "12"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"outcome": "allow", "reference": "r"}'),
        (302, b'{"outcome": "allow", "reference": "r"}'),
        (200, b""),
        (200, b"[]"),
        (200, b"null"),
        (200, b'"allow"'),
        (200, b'{"outcome": "allow"}'),
        (200, b'{"outcome": "ALLOW", "reference": "r"}'),
        (200, b'{"outcome": "allow", "reference": ""}'),
        (200, b'{"outcome": "allow", "reference": 7}'),
        (200, b'{"outcome": "allow", "reference": "\\n"}'),
        (200, b'{"outcome": "allow", "reference": "r", "more": 1}'),
        (200, b'{"outcome": "allow", "reference": "r"}' + b" " * REPLY_BYTES_MAX),
    ],
)
def test_an_answer_of_another_form_is_none(server: Server, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    with pytest.raises(Unavailable):
        provider(server).ask(QUESTION)


def test_a_provider_that_is_too_slow_or_away_has_not_answered(server: Server) -> None:
    server.body = b'{"outcome": "allow", "reference": "r"}'
    server.delay_s = 0.5
    with pytest.raises(Unavailable, match="no answer"):
        provider(server, timeout_ms=100).ask(QUESTION)
    with pytest.raises(Unavailable, match="no answer"):
        HttpProvider("http://127.0.0.1:1/ask", None, 1_000).ask(QUESTION)


def test_a_list_is_read_from_a_file_or_a_url_by_its_hash(server: Server, tmp_path: Path) -> None:
    server.body = data = plain()
    file = tmp_path / "sdn.xml"
    file.write_bytes(data)
    for source in (str(file), server.url):
        found = read_list(source)
        assert found.sha256 == hashlib.sha256(data).digest()
        assert found.list.parties == 3


def test_a_list_that_comes_in_part_or_not_at_all_is_none(server: Server, tmp_path: Path) -> None:
    server.body = plain()[:-10]
    with pytest.raises(Refused) as caught:
        read_list(server.url)
    assert caught.value.reason is Reason.MALFORMED
    server.status = 503
    with pytest.raises(Unavailable, match="503"):
        read_list(server.url)
    with pytest.raises(Unavailable):
        read_list("http://127.0.0.1:1/list")
    for source, reason in (
        (str(tmp_path / "none"), Reason.NOT_FOUND),
        ("http://lists.example/sdn.xml", Reason.FORBIDDEN),
        ("ftp://127.0.0.1/sdn.xml", Reason.FORBIDDEN),
    ):
        with pytest.raises(Refused) as caught:
            read_list(source)
        assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://lists.example/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://lists.example/x", False),
        ("http://127.0.0.1.lists.example/x", False),
        ("https://user:word@lists.example/x", False),
        ("https://", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_only_https_and_this_machine_are_asked(url: str, *, secure: bool) -> None:
    assert is_secure(url) is secure


def test_settings_say_who_is_asked_and_from_which_value_on(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("s3cr3t\n")
    (tmp_path / "one").chmod(0o600)
    chosen = ScreeningSettings(
        provider_urls=("one=https://one.example/ask",),
        provider_tokens_folder=tmp_path,
        jurisdiction="us",
        list_required=True,
    )
    assert problems_of_screening(chosen) == []
    terms = screening_terms(chosen)
    assert (terms.providers, terms.travel_threshold_usd) == (("one",), 3_000 * 10**6)
    assert terms.list_required
    (made,) = open_providers(chosen).values()
    assert made.token == Secret(b"s3cr3t")
    assert "s3cr3t" not in repr(made)
    assert threshold_usd("") is None
    assert threshold_usd("eu") == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"list_url": "http://lists.example"}, "list_url"),
        ({"provider_urls": ("one=http://one.example",)}, "provider_urls"),
        ({"provider_urls": ("https://one.example",)}, "provider_urls"),
        ({"provider_urls": ("a=https://a.example", "a=https://b.example")}, "a name stands twice"),
        ({"jurisdiction": "atlantis"}, "jurisdiction"),
        ({"provider_timeout_ms": 0}, "provider_timeout_ms"),
        ({"list_age_max_s": 1}, "list_age_max_s"),
    ],
)
def test_wrong_settings_stop_the_start(changes: dict[str, Any], name: str) -> None:
    (problem,) = problems_of_screening(ScreeningSettings(**changes))
    assert name in problem
