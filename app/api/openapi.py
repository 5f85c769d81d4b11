"""The OpenAPI document and a page to read it: made from the routes, complete with every problem."""

from __future__ import annotations

import html
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from app.api.problems import MEDIA_TYPE, Problem
from app.api.roles import ROLES

PROBLEM_STATUSES = (400, 401, 403, 404, 409, 413, 422, 429, 500, 503)
PUBLIC_STATUSES = (400, 500)
_ABOUT = (
    "Custody and settlement. Amounts, prices and quantities are decimal strings. Errors are problem"
    " documents (RFC 9457); route on their code."
)


def serve(app: FastAPI) -> None:
    """Add /openapi.json and /docs."""

    @cache
    def document() -> dict[str, Any]:
        return make(app)

    async def openapi_json(_request: Request) -> Response:
        from fastapi.responses import JSONResponse

        return JSONResponse(document())

    async def docs(_request: Request) -> Response:
        return Response(page(document()), media_type="text/html; charset=utf-8")

    app.add_route("/openapi.json", openapi_json, methods=["GET"])
    app.add_route("/docs", docs, methods=["GET"])


def make(app: FastAPI) -> dict[str, Any]:
    """Return the document: routes, roles, and the problems that each route can answer."""
    document = get_openapi(
        title=app.title, version=app.version, description=_ABOUT, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for framework_own in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework_own, None)
    shape = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= shape.pop("$defs", {})
    schemas["Problem"] = shape
    components["securitySchemes"] = {
        "api_key": {"type": "http", "scheme": "bearer", "description": "<key id>.<secret>"}
    }
    components["responses"] = {
        "Problem": {
            "description": "Not done; see code",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, ROLES[method.upper(), path])
    return document


def page(document: dict[str, Any]) -> str:
    """Return the document as one plain page without scripts."""
    rows = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            cells = (
                f"<code>{method.upper()} {html.escape(path)}</code>",
                html.escape(", ".join(operation["x-roles"]) or "everybody, without a key"),
                html.escape(operation.get("description", "")),
            )
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Strongroom API</title>"
        "<style>body{font-family:sans-serif;margin:2em}td{padding:.3em 1em;vertical-align:top}"
        "tr:nth-child(odd){background:#8881}:root{color-scheme:light dark}</style>"
        f"<h1>Strongroom API</h1><p>{html.escape(_ABOUT)}</p>"
        "<p>The whole document: <a href=/openapi.json>/openapi.json</a></p>"
        "<table><thead><tr><th>Request<th>Roles<th>What</thead><tbody>"
        + "".join(rows)
        + "</tbody></table>"
    )


def _complete(operation: dict[str, Any], roles: frozenset[str]) -> None:
    operation["x-roles"] = sorted(roles)
    if roles:
        operation["security"] = [{"api_key": []}]
    responses = operation["responses"]
    if "422" in responses:
        del responses["422"]  # the framework's own shape, which we never answer with
    for status in PROBLEM_STATUSES if roles else PUBLIC_STATUSES:
        responses.setdefault(str(status), {"$ref": "#/components/responses/Problem"})
