"""The Idempotency-Key header on routes, and answers that are replayed to the byte."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

from app.api import problems
from custody.idempotency import Answer

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Yours, made before sending and kept for every retry; never expires",
    ),
]


def replay(answer: Answer, *, is_replayed: bool) -> Response:
    """Return a stored answer as the response; a repeated one says so in a header."""
    media_type = "application/json" if answer.status < 400 else problems.MEDIA_TYPE
    headers = {"Idempotency-Replayed": "true"} if is_replayed else {}
    return Response(answer.body, answer.status, headers=headers, media_type=media_type)
