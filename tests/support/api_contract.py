"""Holds every answer against the OpenAPI document: status, media type and shape are declared."""

from __future__ import annotations

import re
from typing import Any

from httpx import Response

from app.api.problems import MEDIA_TYPE, Problem

OUTSIDE = {"/openapi.json", "/docs"}


class Contract:
    """The document, and which of its answers were really seen."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        self._paths = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))), path)
            for path in document["paths"]
        ]

    def check(self, response: Response) -> None:
        """AssertionError when the answer is not in the document."""
        path, method = response.request.url.path, response.request.method
        if path in OUTSIDE:
            return
        if response.status_code >= 400 and method != "HEAD":
            assert response.headers["content-type"] in (MEDIA_TYPE, "application/json")
        if method != "HEAD" and response.headers["content-type"] == MEDIA_TYPE:
            problem = Problem.model_validate_json(response.text)
            assert problem.status == response.status_code
        operations = self._operations(path)
        if operations is None:
            assert response.status_code == 404, (path, response.text)
            return
        operation = operations.get(method.lower())
        if operation is None:
            assert response.status_code == 405, (method, path, response.text)
            return
        declared = operation["responses"].get(str(response.status_code))
        assert declared is not None, (method, path, response.status_code, response.text)
        declared = self._resolve(declared)
        media = response.headers["content-type"].partition(";")[0]
        assert media in declared["content"], (method, path, media, declared)
        schema = declared["content"][media].get("schema")
        if media == "application/json" and schema:
            self.conforms(response.json(), schema)
        self.seen.add((method, operations["x-path"], response.status_code))

    def conforms(self, value: Any, schema: dict[str, Any], where: str = "$") -> None:
        """AssertionError when a value is not of a schema: the part of JSON Schema that we use."""
        schema = self._resolve(schema)
        if "anyOf" in schema:
            assert any(self._fits(value, each) for each in schema["anyOf"]), (where, value)
            return
        kinds = {
            "object": dict, "array": list, "string": str,
            "integer": int, "boolean": bool, "null": type(None),
        }  # fmt: skip
        kind = schema.get("type")
        if kind is not None:
            assert type(value) is kinds[kind], (where, value, schema)
        if "enum" in schema:
            assert value in schema["enum"], (where, value)
        if "const" in schema:
            assert value == schema["const"], (where, value)
        if kind == "object":
            self._object(value, schema, where)
        if kind == "array" and "items" in schema:
            for n, each in enumerate(value):
                self.conforms(each, schema["items"], f"{where}[{n}]")

    def _object(self, value: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        known = schema.get("properties", {})
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, (where, missing)
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(known), (where, set(value) - set(known))
        for name, each in value.items():
            if name in known:
                self.conforms(each, known[name], f"{where}.{name}")

    def _fits(self, value: Any, schema: dict[str, Any]) -> bool:
        try:
            self.conforms(value, schema)
        except AssertionError:
            return False
        return True

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            found: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def _operations(self, path: str) -> dict[str, Any] | None:
        for pattern, template in self._paths:
            if pattern.fullmatch(path):
                return {**self.document["paths"][template], "x-path": template}
        return None
