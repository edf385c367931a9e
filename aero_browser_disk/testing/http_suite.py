"""The checks that every `HttpClient` must pass, against a real server.

Subclass `HttpSuite`, make a client, and name the class `Test...` for pytest (with pytest-asyncio),
or hand it to `suite_runner`. The server is an `ImageServer` that serves `HTTP_SUITE_IMAGES`, in
this process or another; it is steered by its control addresses, so that a suite in a browser can
do it too.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import NetworkError
from .http_checks import (
    HTTP_SUITE_IMAGES,
    IMAGE,
    NAME,
    WAIT_S,
    HttpChecks,
    RefusalError,
    Taker,
    network_error,
    outcome_of,
    read_at_least,
    read_body,
)

if TYPE_CHECKING:
    pass

__all__ = ["HTTP_SUITE_IMAGES", "CrossOriginHttpSuite", "HttpSuite"]


class HttpSuite(HttpChecks):
    """The checks. Each is an `async def` without arguments and runs on an instance of its own."""

    # ── responses ──

    async def test_status_and_headers(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", self._url(), {"Range": "bytes=10-19"})
            assert response.status == 206
            assert response.headers["content-range"] == f"bytes 10-19/{IMAGE.size}"
            assert response.headers["content-length"] == "10"
            assert response.headers["etag"].startswith('"')
            assert "ETag" not in list(response.headers)
            assert all(name == name.lower() for name in response.headers)
            assert await read_body(response) == IMAGE.read(10, 10)

    async def test_any_status_is_a_response(self) -> None:
        async with self._client() as client:
            for status in (401, 403, 404, 410, 416, 429, 500, 503):
                await self._behave(status=status)
                response = await client.request("GET", self._url())
                assert response.status == status
                assert str(status).encode() in await read_body(response)

    async def test_a_name_that_is_missing(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", f"{self.origin}/missing")
            assert response.status == 404
            response.abort()

    async def test_what_is_asked_is_what_is_sent(self) -> None:
        async with self._client() as client:
            url = f"{self._url()}?a=1&b=%20#fragment"
            response = await client.request("GET", url, {"Range": "bytes=5-6", "X-Test": "yes"})
            response.abort()
            (request,) = await self._requests(arrived=1)
            assert (request["method"], request["query"]) == ("GET", "a=1&b=%20")
            assert (request["range"], request["headers"]["x-test"]) == ("bytes=5-6", "yes")

    async def test_head(self) -> None:
        async with self._client() as client:
            response = await client.request("HEAD", self._url())
            assert (response.status, response.headers["content-length"]) == (200, str(IMAGE.size))
            assert await response.read() is None
            (request,) = await self._requests(finished=1)
            assert request["method"] == "HEAD"

    async def test_no_cache_responds(self) -> None:
        async with self._client() as client:
            await self._behave(cache_control="public, max-age=3600")
            for _ in range(3):
                response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
                assert await read_body(response) == IMAGE.read(0, 10)
            requests = await self._requests(finished=3)
            assert [request["status"] for request in requests] == [206] * 3

    # ── bodies ──

    async def test_chunks_make_up_the_body(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", self._url())
            chunks: list[memoryview] = []  # kept to the end: each view is the caller's
            while (chunk := await response.read()) is not None:
                assert len(chunk) > 0
                chunks.append(chunk)
            assert b"".join(chunks) == IMAGE.read(0, IMAGE.size)
            assert await response.read() is None

    async def test_chunks_come_while_the_body_is_on_its_way(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=100_000)
            response = await client.request("GET", self._url())
            first = await read_at_least(response, 100_000)
            assert first == IMAGE.read(0, 100_000)
            await self._command("release")
            assert await read_body(response) == IMAGE.read(100_000, IMAGE.size)

    async def test_an_empty_body(self) -> None:
        async with self._client() as client:
            await self._behave(short_by=10)
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert await read_body(response) == b""

    async def test_a_body_of_unknown_length(self) -> None:
        async with self._client() as client:
            await self._behave(chunked=True)
            response = await client.request("GET", self._url())
            assert await read_body(response) == IMAGE.read(0, IMAGE.size)

    async def test_requests_at_once(self) -> None:
        async with self._client() as client:

            async def part(number: int) -> None:
                start, stop = number * 100_000, (number + 1) * 100_000
                asked = {"Range": f"bytes={start}-{stop - 1}"}
                response = await client.request("GET", self._url(), asked)
                assert await read_body(response) == IMAGE.read(start, 100_000)

            await asyncio.gather(*map(part, range(12)))

    async def test_a_stalled_request_holds_up_no_other(self) -> None:
        async with self._client() as client:
            await self._behave(once={"stall_after": 1000})
            stalled = await client.request("GET", self._url())
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert await read_body(response) == IMAGE.read(0, 10)
            stalled.abort()

    # ── giving up ──

    async def test_abort_frees_the_connection(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=100_000)
            response = await client.request("GET", self._url())
            await read_at_least(response, 1)
            response.abort()
            response.abort()
            (request,) = await self._requests(finished=1)
            assert request["aborted"]

    async def test_abort_before_the_body_is_read(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=1000)
            response = await client.request("GET", self._url())
            response.abort()
            (request,) = await self._requests(finished=1)
            assert request["aborted"]

    async def test_abort_after_the_end(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            await read_body(response)
            response.abort()
            again = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert await read_body(again) == IMAGE.read(0, 10)

    async def test_abort_ends_a_read_that_waits(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=1000)
            response = await client.request("GET", self._url())
            await read_at_least(response, 1000)
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            response.abort()
            await asyncio.wait({reading}, timeout=WAIT_S)
            assert reading.done(), "the read still waits"
            assert reading.exception() is not None or reading.result() is None

    async def test_cancelling_a_request_aborts_it(self) -> None:
        async with self._client() as client:
            await self._behave(stall=True)
            asking = asyncio.ensure_future(client.request("GET", self._url()))
            await self._requests(arrived=1)
            asking.cancel()
            assert await outcome_of(asking) is asyncio.CancelledError
            (request,) = await self._requests(finished=1)
            assert request["aborted"]

    async def test_cancelling_a_read_leaves_the_response_to_be_aborted(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=1000)
            response = await client.request("GET", self._url())
            await read_at_least(response, 1000)
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            reading.cancel()
            assert await outcome_of(reading) is asyncio.CancelledError
            response.abort()
            (request,) = await self._requests(finished=1)
            assert request["aborted"]

    # ── broken off ──

    async def test_a_reset_body(self) -> None:
        async with self._client() as client:
            await self._behave(reset_after=100_000)
            await self._check_breaks_off(client)

    async def test_a_body_that_ends_too_early(self) -> None:
        async with self._client() as client:
            await self._behave(close_after=100_000)
            await self._check_breaks_off(client)

    async def test_a_chunked_body_that_ends_too_early(self) -> None:
        async with self._client() as client:
            await self._behave(close_after=100_000, chunked=True)
            await self._check_breaks_off(client)

    async def test_a_reset_before_the_response(self) -> None:
        async with self._client() as client:
            await self._behave(reset=True)
            error = await network_error(client, self._url())
            assert error.url.startswith(self.origin)

    async def test_a_refused_connection(self) -> None:
        async with self._client() as client:
            await network_error(client, f"{self.refusing_origin}/{NAME}")

    async def test_a_client_recovers(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            await read_body(response)
            await self._behave(reset=True)
            await network_error(client, self._url())
            await self._behave()
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert await read_body(response) == IMAGE.read(0, 10)

    async def test_errors_hide_what_is_secret_in_a_url(self) -> None:
        async with self._client() as client:
            url = f"{self.refusing_origin}/{NAME}?token=secret#also-secret"
            error = await network_error(client, url)
            assert "secret" not in f"{error} {error.fields()}"

    # ── handed over ──

    async def test_a_response_is_handed_over_as_it_comes(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=100_000)
            taker = Taker(enough=100_000)
            receiving = asyncio.ensure_future(self._receive(client, taker, "bytes=10-299999"))
            await asyncio.wait_for(taker.has_enough.wait(), WAIT_S)
            assert (taker.status, taker.headers["content-length"]) == (206, "299990")
            await self._command("release")
            await receiving
            assert taker.body == IMAGE.read(10, 299_990)

    async def test_an_empty_body_is_handed_over(self) -> None:
        async with self._client() as client:
            await self._behave(short_by=10)
            taker = Taker()
            await self._receive(client, taker, "bytes=0-9")
            assert (taker.status, bytes(taker.body)) == (206, b"")

    async def test_a_receiver_may_refuse_a_response(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=1000)
            for taker in (Taker(refuses="head"), Taker(refuses="chunk")):
                await self._command("forget")
                try:
                    await self._receive(client, taker, "bytes=0-99999")
                except RefusalError:
                    (request,) = await self._requests(finished=1)
                    assert request["aborted"]
                else:
                    raise AssertionError("the refusal was not passed on")

    async def test_what_breaks_off_is_handed_over_as_far_as_it_goes(self) -> None:
        async with self._client() as client:
            for breaks in ("reset_after", "close_after"):
                await self._behave(None, **{breaks: 100_000})
                taker = Taker()
                await self._check_receiving_fails(client, taker, self._url())
                assert taker.body == IMAGE.read(0, len(taker.body))
            await self._behave(reset=True)
            await self._check_receiving_fails(client, Taker(), self._url())
            await self._check_receiving_fails(client, Taker(), f"{self.refusing_origin}/{NAME}")

    async def test_a_silent_host_is_not_waited_for(self) -> None:
        async with self._client() as client:
            for behaviour in ({"stall": True}, {"stall_after": 1000}):
                await self._behave(None, **behaviour)
                error = await self._check_receiving_fails(client, Taker(), self._url(), 0.2)
                assert "nothing came for 0.2 s" in str(error)
                (request,) = await self._requests(finished=1)
                assert request["aborted"]

    async def test_cancelling_what_is_handed_over_aborts_it(self) -> None:
        async with self._client() as client:
            await self._behave(stall_after=1000)
            taker = Taker(enough=1000)
            receiving = asyncio.ensure_future(self._receive(client, taker, "bytes=0-99999"))
            await asyncio.wait_for(taker.has_enough.wait(), WAIT_S)
            receiving.cancel()
            assert await outcome_of(receiving) is asyncio.CancelledError
            (request,) = await self._requests(finished=1)
            assert request["aborted"]
            assert taker.body == IMAGE.read(0, 1000)

    # ── redirects ──

    async def test_redirects_are_followed(self) -> None:
        async with self._client() as client:
            for target in (f"/{NAME}?there", f"{self.other_origin}/{NAME}?there"):
                for status in (301, 302, 303, 307, 308):
                    await self._behave(
                        once={"redirect_status": status, "redirect_to": target},
                    )
                    await self._command("forget")
                    response = await client.request("GET", self._url(), {"Range": "bytes=7-9"})
                    assert (response.status, await read_body(response)) == (206, IMAGE.read(7, 3))
                    first, second = await self._requests(finished=2)
                    assert (first["status"], second["query"]) == (status, "there")

    async def test_a_redirect_takes_no_credentials_elsewhere(self) -> None:
        async with self._client() as client:
            elsewhere = f"{self.other_origin}/{NAME}"
            for name in ("Authorization", "authorization", "aUTHORIZATION"):
                await self._command("forget")
                await self._behave(once={"redirect_status": 302, "redirect_to": elsewhere})
                response = await client.request("GET", self._url(), {name: "Bearer secret"})
                response.abort()
                first, second = await self._requests(arrived=2)
                assert first["headers"]["authorization"] == "Bearer secret"
                assert second["headers"]["host"] == urlsplit(self.other_origin).netloc
                assert "authorization" not in second["headers"]

    async def test_redirects_without_end(self) -> None:
        async with self._client() as client:
            await self._behave(redirect_status=302, redirect_to=f"/{NAME}")
            await network_error(client, self._url())


class CrossOriginHttpSuite(HttpSuite):
    """More checks for a client in a browser, on a page of another origin than `origin`."""

    async def test_a_host_without_cors(self) -> None:
        async with self._client() as client:
            await self._behave(cors="none")
            await network_error(client, self._url())

    async def test_a_host_that_refuses_the_preflight(self) -> None:
        async with self._client() as client:
            await self._behave(preflight_status=403)
            try:
                response = await client.request("GET", self._url(), {"X-Test": "yes"})
            except NetworkError:
                assert await self._requests() == []
            else:
                response.abort()
                raise AssertionError(f"there was a response, {response.status}")

    async def test_a_host_that_hides_its_headers(self) -> None:
        async with self._client() as client:
            await self._behave(cors="hidden")
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert response.status == 206
            assert not {"etag", "content-range", "accept-ranges"} & set(response.headers)
            assert await read_body(response) == IMAGE.read(0, 10)

    async def test_a_single_range_needs_no_preflight(self) -> None:
        async with self._client() as client:
            response = await client.request("GET", self._url(), {"Range": "bytes=0-9"})
            assert await read_body(response) == IMAGE.read(0, 10)
            every = json.loads(await self.send("GET", f"{self.origin}/_control/requests", None))
            assert [request["method"] for request in every["requests"]] == ["GET"]
