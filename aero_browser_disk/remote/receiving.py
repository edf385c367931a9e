"""Receives a response as it arrives, in the way that suits the platform's HTTP client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial

from ..errors import NetworkError
from ..platform.base import HttpClient, PushingHttp, Receiver
from ..platform.stall_limit import StallLimit
from .access import ImageAddress

Receive = Callable[[ImageAddress, Mapping[str, str], Receiver], Awaitable[None]]
"""Sends a GET to an address with more headers; returns once `receiver` has all of the response.

Raises `NetworkError`, also when nothing comes for as long as the address allows, and what the
receiver raises.
"""


def receive_by(http: HttpClient) -> Receive:
    """The function that receives by this client."""
    if isinstance(http, PushingHttp) and http.may_push():
        return partial(_receive_pushed, http)
    return partial(_receive_asked, http)


@contextlib.asynccontextmanager
async def stall_limit(address: ImageAddress) -> AsyncIterator[StallLimit]:
    """Raises `NetworkError` when nothing moves for as long as the address allows."""
    with _stalls_reported(address):
        async with StallLimit(address.timeout_s) as limit:
            yield limit


@contextlib.contextmanager
def _stalls_reported(address: ImageAddress) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise NetworkError(address.shown, f"nothing came for {address.timeout_s:g} s") from error


async def _receive_pushed(
    http: PushingHttp, address: ImageAddress, headers: Mapping[str, str], receiver: Receiver
) -> None:
    sent = {**address.headers, **headers}
    with _stalls_reported(address):
        await http.push(address.url, sent, address.credentials, address.timeout_s, receiver)


async def _receive_asked(
    http: HttpClient, address: ImageAddress, headers: Mapping[str, str], receiver: Receiver
) -> None:
    sent = {**address.headers, **headers}
    response = None
    try:
        async with stall_limit(address) as limit:
            response = await http.request("GET", address.url, sent, address.credentials)
            limit.moved()
            receiver.head(response.status, response.headers)
            while (chunk := await response.read()) is not None:
                limit.moved()
                receiver.chunk(chunk)
    finally:
        if response is not None:
            response.abort()
