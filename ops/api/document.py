"""The OpenAPI document and the page that shows it, made from the table of operations.

The page asks no other server for anything, and its Content-Security-Policy lets it ask none.
"""

import base64
import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from ops.api.body import Body, Nothing
from ops.api.call import Operation
from ops.api.guard import SCOPES
from ops.api.problem import MEDIA_TYPE

_ALWAYS = (400, 401, 403, 429, 500, 503)
_MEANINGS = {
    400: "no JSON, or no HTTP", 401: "no token that counts", 403: "the token has not this scope", 404: "not there",
    408: "the body came too slowly", 409: "in conflict with what is", 413: "too large", 415: "of another media type",
    422: "a field says what cannot be", 429: "too many wrong tokens came from this address",
    500: "a fault of ours", 503: "not now: see Retry-After",
}  # fmt: skip
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object", "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}  # fmt: skip


def document(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Make the OpenAPI document."""
    models: dict[type[Body], None] = {}
    for operation in operations:
        for group in (*operation.bodies.values(), (operation.query,)):
            models.update(dict.fromkeys(group))
    references, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    named = {model: references[model, "validation"] for model in models}
    paths: dict[str, Any] = {}
    for operation in operations:
        parameters = schemas["$defs"][operation.query.__name__] if operation.query is not Nothing else {}
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, named, parameters)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "danepipe", "version": version("danepipe"),
            "description": "Mail into the queue, an operator's hand on it, and questions to it.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "danepipe token add NAME --scope SCOPE; scopes: "
                    + "; ".join(f"{name}: {meaning}" for name, meaning in SCOPES.items()),
                }
            },
        },
    }  # fmt: skip


def _operation(operation: Operation, named: dict[Any, Any], query: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, meaning in operation.gives.items():
        content = {} if status == 204 else {"content": {"application/json": {"schema": dict(operation.answer)}}}
        responses[str(status)] = {"description": meaning, **content}
    for status in sorted({*_ALWAYS, *operation.problems}):
        schema = {"$ref": "#/components/schemas/Problem"}
        responses[str(status)] = {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    made: dict[str, Any] = {
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`.",
        "operationId": operation.method.lower() + re.sub(r"[^a-z0-9]+", "_", operation.path).rstrip("_"),
        "responses": responses,
    }
    parameters = [
        _parameter("path", name, "", {"type": "string"}, required=True)
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    for name, schema in query.get("properties", {}).items():
        parameters.append(
            _parameter("query", name, schema.get("description", ""), schema, required=name in query.get("required", ()))
        )
    for name, meaning in operation.headers.items():
        parameters.append(_parameter("header", name.lstrip("*"), meaning, {"type": "string"}, required=False))
    if parameters:
        made["parameters"] = parameters
    if operation.bodies:
        made["requestBody"] = {
            "required": True,
            "content": {
                media: _content([named[model] for model in models]) for media, models in operation.bodies.items()
            },
        }
    return made


def _parameter(place: str, name: str, meaning: str, schema: Any, *, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "description": meaning, "required": required, "schema": schema}


def _content(references: list[Any]) -> dict[str, Any]:
    if not references:
        return {"schema": {"type": "string", "format": "binary"}}
    return {"schema": references[0] if len(references) == 1 else {"oneOf": references}}


def page() -> tuple[bytes, str]:
    """Give the page that shows the document, and its Content-Security-Policy."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    sources = []
    for kind in ("script", "style"):
        found = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = hashlib.sha256((found[1] if found else "").encode()).digest()
        sources.append(f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'")
    return text.encode(), "; ".join(["default-src 'none'", "connect-src 'self'", "base-uri 'none'", *sources])
