"""The OpenAPI document: everything except image bytes, generated from the service's routes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.routing import Route

from ..configuration import Configuration
from .api import IMAGE_ID, Endpoint, ErrorDocument
from .routing import Resource

_PATTERNS: Final = {
    "id": IMAGE_ID,
    "upload": "^[0-9a-f]{32}$",
    "server": "^[a-z0-9-]{1,63}$",
    "save": "^[0-9a-f]{32}$",
    "sha256": "^[0-9a-f]{64}$",
    "generation": "^[1-9][0-9]{0,17}$",
}
# Responses that every counted operation may send.
_ALWAYS: Final = {
    400: "There is no Host header, or more than one.",
    405: "The method is not allowed; Allow lists the others.",
    414: "The URL is too long.",
    429: "The client reached a limit; Retry-After says when to try again.",
    431: "The headers are too large.",
    500: "The service failed.",
    503: "The store does not respond, or the image is being written.",
}
# Of any form: what is not a list of tags matches nothing.
_IF_NONE_MATCH: Final = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
_IF_MATCH: Final = _IF_NONE_MATCH | {"name": "If-Match"}
_BYTES: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_Model = tuple[type[BaseModel], JsonSchemaMode]


def document(configuration: Configuration, routes: Sequence[Route]) -> dict[str, Any]:
    """The document, for the service as it is configured."""
    endpoints = [
        (route.path, method, handler)
        for route in routes
        if isinstance(route.endpoint, Resource)
        for method, handler in route.endpoint.handlers.items()
        if isinstance(handler, Endpoint)
    ]
    models: set[_Model] = {(ErrorDocument, "serialization")}
    for _, _, endpoint in endpoints:
        if endpoint.response is not None:
            models.add((endpoint.response, "serialization"))
        if endpoint.body is not None:
            models.add((endpoint.body, "validation"))
    schemas, defined = models_json_schema(
        sorted(models, key=lambda model: model[0].__name__),
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, endpoint in endpoints:
        paths.setdefault(path, {})[method.lower()] = _operation(path, endpoint, schemas)
    components: dict[str, Any] = {"schemas": defined["$defs"]}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "aero-disk-service", "version": "1"},
        "servers": [
            {"url": (configuration.server.public_url or "") + (configuration.base_path or "/")}
        ],
        "paths": paths,
        "components": components,
    }
    if configuration.authorization.jwt is not None:
        schemes = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        components["securitySchemes"] = schemes
        found["security"] = [{}, {"bearer": []}]
    return found


def _operation(
    path: str, endpoint: Endpoint, schemas: Mapping[Any, dict[str, Any]]
) -> dict[str, Any]:
    """One operation; without `response` its response has no body."""

    def content(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        return {"application/json": {"schema": schemas[model, mode]}}

    responses: dict[str, Any] = {str(endpoint.status): {"description": endpoint.summary}}
    if endpoint.response is not None:
        responses[str(endpoint.status)]["content"] = content(endpoint.response, "serialization")
    elif endpoint.sends_bytes:
        responses[str(endpoint.status)]["content"] = _BYTES
    for status, description in sorted((_ALWAYS | dict(endpoint.refusals)).items()):
        responses[str(status)] = {"description": description}
        if status >= 400:
            responses[str(status)]["content"] = content(ErrorDocument, "serialization")
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": _PATTERNS[name]},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    if endpoint.is_conditional or endpoint.needs_condition:
        parameters.append(_IF_NONE_MATCH)
    if endpoint.needs_condition:
        parameters.append(_IF_MATCH)
    parameters += [
        {"name": name, "in": "query", "schema": schema} for name, schema in endpoint.query.items()
    ]
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    }
    if endpoint.body is not None:
        body = {"required": True, "content": content(endpoint.body, "validation")}
        operation["requestBody"] = body
    elif endpoint.takes_bytes:
        operation["requestBody"] = {"required": True, "content": _BYTES}
    return operation
