"""`/v1/saves`: saves, their manifests and generations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from aero_browser_disk.remote.byte_ranges import EntityTag

from ..cleaning import Cleaning
from ..http.api import OF_BODY, OF_CACHED, AnyObject, Endpoint, parsed, read_body, respond
from ..http.exchange import Exchange
from ..http.metrics import Metrics
from ..http.preconditions import matches, not_modified
from ..http.response import PRIVATE, HttpError
from ..http.routing import Resource
from .bodies import Bodies
from .manifest_change import MAX_CHANGE_BYTES, ManifestChange
from .save_access import OF_SAVE, REFUSED, SaveAccess
from .save_documents import NewSave, SaveDocument, SaveList, describe_save, quoted
from .save_manifest import MAX_MANIFEST_BYTES, SaveManifest, WrongManifestError, parse_manifest
from .save_records import Condition
from .save_tables import ConflictError, Save
from .saves import Saves

_LISTED: Final = 100
_MAX_LISTED: Final = 1000
_CURSOR: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)_([0-9a-f]{32})")
_GENERATION: Final = re.compile(r"[1-9][0-9]{0,17}")
_LIST_QUERY: Final[Mapping[str, Mapping[str, object]]] = {
    "base": {"type": "string", "description": "Only saves with this version of a base."},
    "limit": {"type": "integer", "minimum": 1, "maximum": _MAX_LISTED, "default": _LISTED},
    "after": {"type": "string", "pattern": f"^{_CURSOR.pattern}$"},
}
_ONE: Final = "/v1/saves/{save}"


class SaveGateway:
    """Serves saves to their owners, and to those who have a link for reading.

    `cleaning` removes what is dropped.
    """

    def __init__(
        self,
        saves: Saves,
        access: SaveAccess,
        bodies: Bodies,
        cleaning: Cleaning,
        metrics: Metrics | None = None,
    ) -> None:
        self._saves = saves
        self._access = access
        self._bodies = bodies
        self._cleaning = cleaning
        self._metrics = metrics
        taken = {409: "The client has a save of this name; id names it."}
        document, switching = (
            SaveDocument,
            OF_SAVE
            | OF_BODY
            | {
                409: "Chunks are missing: missing names them.",
                411: "The length is missing.",
                412: "Another generation is current; save describes it.",
                428: "If-Match or If-None-Match is missing.",
            },
        )
        kept = {409: "The generation is current."}
        wrong = {400: "A parameter is wrong."}
        list_ = Endpoint(self.list, "listSaves", SaveList, REFUSED | wrong, query=_LIST_QUERY)
        create = Endpoint(
            self.create, "createSave", document, REFUSED | OF_BODY | taken, NewSave, status=201
        )
        show = Endpoint(self.show, "showSave", document, OF_SAVE)
        remove = Endpoint(self.remove, "removeSave", None, OF_SAVE, status=204)
        read = Endpoint(
            self.manifest, "getSaveManifest", AnyObject, OF_SAVE | OF_CACHED, is_conditional=True
        )
        switch = Endpoint(
            self.switch, "pushSaveManifest", document, switching, SaveManifest, needs_condition=True
        )
        change = Endpoint(
            self.change,
            "changeSaveManifest",
            document,
            switching,
            ManifestChange,
            needs_condition=True,
        )
        drop = Endpoint(
            self.remove_generation, "removeSaveGeneration", None, OF_SAVE | kept, status=204
        )
        self.routes = [
            Route("/v1/saves", Resource(GET=list_, POST=create)),
            Route(_ONE, Resource(GET=show, DELETE=remove)),
            Route(f"{_ONE}/manifest", Resource(GET=read, PUT=switch, POST=change)),
            Route(f"{_ONE}/generations/{{generation}}", Resource(DELETE=drop)),
        ]

    async def create(self, exchange: Exchange) -> Response:
        """Begins a save, without a generation."""
        owner = self._access.owner(exchange, "write")
        self._cleaning.begin()
        asked = await read_body(exchange, NewSave)
        save = await self._access.run(lambda: self._saves.create(owner, asked.name, asked.base))
        location = {"Location": f"saves/{save.save_id}"}
        return respond(describe_save(save, 0, []), PRIVATE | location, status=201)

    async def list(self, exchange: Exchange) -> Response:
        """The client's own saves, newest first."""
        owner = self._access.owner(exchange, "read")
        query = exchange.request.query
        limit, after = _limit(query), _cursor(query)
        found = await self._access.run(
            lambda: self._saves.of_owner(owner, limit + 1, after, query.get("base"))
        )
        listed, more = found[:limit], len(found) > limit
        last = listed[-1][0] if more else None
        following = None if last is None else f"{last.updated_at!r}_{last.save_id}"
        saves = [describe_save(save, stored) for save, stored in listed]
        return respond(SaveList(saves=saves, next=following), PRIVATE)

    async def show(self, exchange: Exchange) -> Response:
        """One save, and its generations."""
        save, is_shared = await self._access.readable(exchange)
        return respond(await self._document(save, is_shared=is_shared), PRIVATE)

    async def remove(self, exchange: Exchange) -> Response:
        """Deletes a save with everything that is stored of it."""
        save = await self._access.own(exchange, "delete")
        await self._access.run(lambda: self._saves.remove(save))
        self._cleaning.begin(at_once=True)
        return Response(status_code=204, headers=PRIVATE)

    async def manifest(self, exchange: Exchange) -> Response:
        """A manifest: of the current generation, or of `generation`."""
        save, is_shared = await self._access.readable(exchange)
        number = _generation(exchange.request.query.get("generation"), save.generation)
        if is_shared and number != save.generation:
            raise _no_such_generation()
        found = await self._access.run(lambda: self._saves.manifest(save, number))
        if found is None:
            raise _no_such_generation()
        generation, data = found
        fields = {"ETag": quoted(generation.etag), **PRIVATE}
        unchanged = not_modified(exchange, fields, EntityTag(generation.etag))
        return unchanged or Response(data, 200, fields, "application/json")

    async def switch(self, exchange: Exchange) -> Response:
        """Makes a manifest the current generation, if that is still the one named."""
        save = await self._access.own(exchange, "write")
        condition = _condition(exchange.request.headers)
        async with self._bodies.receive(exchange, save.owner, MAX_MANIFEST_BYTES) as data:
            return await self._switch(save, data, condition)

    async def change(self, exchange: Exchange) -> Response:
        """Makes the next generation of the current one, if that is still the one named."""
        save = await self._access.own(exchange, "write")
        condition = _condition(exchange.request.headers)
        async with self._bodies.receive(exchange, save.owner, MAX_CHANGE_BYTES) as body:
            change = parsed(body, ManifestChange)
            if save.etag == change.sha256:  # the response to it was lost
                self._count("repeated")
                return await self._switched(save, 200)
            before = None
            if condition(save.etag):
                before = await self._access.run(lambda: self._saves.manifest(save))
            if before is None or before[0].etag != save.etag:
                self._count("conflict")
                raise await self._conflict(save)
            try:
                data = await self._access.run(lambda: change.apply(before[1]))
            except WrongManifestError as error:
                self._count("refused")
                raise HttpError(400, "wrong_manifest", str(error)) from None
            return await self._switch(save, data, condition)

    async def _switch(self, save: Save, data: bytes, condition: Condition) -> Response:
        try:
            manifest = await self._access.run(lambda: parse_manifest(data))
        except WrongManifestError as error:
            self._count("refused")
            raise HttpError(400, "wrong_manifest", str(error)) from None
        try:
            now, switched = await self._access.run(
                lambda: self._saves.switch(save, manifest, data, condition)
            )
        except ConflictError as error:
            self._count("conflict")
            raise await self._conflict(error.save) from None
        self._count("switched" if switched else "repeated")
        self._cleaning.begin(at_once=True)
        return await self._switched(now, 201 if switched and now.generation == 1 else 200)

    async def _switched(self, now: Save, status: int) -> Response:
        assert now.etag is not None
        fields = {"ETag": quoted(now.etag), **PRIVATE}
        return respond(await self._document(now), fields, status)

    async def remove_generation(self, exchange: Exchange) -> Response:
        """Deletes a generation that is not current."""
        save = await self._access.own(exchange, "delete")
        number = _generation(exchange.request.parameters["generation"], 0)
        if not await self._access.run(lambda: self._saves.remove_generation(save, number)):
            raise _no_such_generation()
        self._cleaning.begin(at_once=True)
        return Response(status_code=204, headers=PRIVATE)

    async def _document(self, save: Save, *, is_shared: bool = False) -> SaveDocument:
        now, stored, kept = await self._access.run(lambda: self._saves.describe(save))
        if is_shared:
            # What it was before is its owner's.
            kept = [generation for generation in kept if generation.generation == now.generation]
            stored = sum(generation.stored_bytes for generation in kept)
        return describe_save(now, stored, kept)

    async def _conflict(self, save: Save) -> HttpError:
        document = await self._document(save)
        message = "Another generation is current than the request expects."
        fields = {} if document.etag is None else {"ETag": document.etag}
        described = document.model_dump(mode="json")
        return HttpError(412, "precondition_failed", message, fields, save=described)

    def _count(self, result: str) -> None:
        if self._metrics:
            self._metrics.pushed(result)


def _condition(headers: Mapping[str, str]) -> Callable[[str | None], bool]:
    """Which current etag the request expects (RFC 9110 §13.1); raises the 400 and the 428."""
    expected, refused = headers.get("if-match"), headers.get("if-none-match")
    if expected is None and refused is None:
        message = "Send If-Match with the etag of the current manifest, or If-None-Match: *."
        raise HttpError(428, "precondition_required", message)
    if refused is not None and refused.strip() != "*":
        raise HttpError(400, "wrong_condition", "If-None-Match must be *; else send If-Match.")
    return partial(_holds, expected, is_first=refused is not None)


def _holds(expected: str | None, etag: str | None, *, is_first: bool) -> bool:
    if is_first and etag is not None:
        return False
    if expected is None:
        return True
    return etag is not None and matches(expected, EntityTag(etag), strong=True)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(_LISTED))
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= _MAX_LISTED:
        raise HttpError(400, "wrong_parameter", f"limit must be 1 to {_MAX_LISTED}.")
    return int(text)


def _cursor(query: Mapping[str, str]) -> tuple[float, str] | None:
    text = query.get("after")
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise HttpError(400, "wrong_parameter", "after must be `next` of the page before.")
    return float(match[1]), match[2]


def _generation(text: str | None, default: int) -> int:
    """The number; raises the 404 for what is none."""
    if text is None:
        return default
    if not _GENERATION.fullmatch(text):
        raise _no_such_generation()
    return int(text)


def _no_such_generation() -> HttpError:
    return HttpError(404, "no_such_generation", "The save has no such generation.")
