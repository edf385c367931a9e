"""Calls that open something: `await` returns it, `async with` also closes it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar


class Closing(Protocol):
    """Something with a `close` method, asynchronous or not."""

    def close(self) -> object:
        """Closes it; an awaitable result is awaited."""


Opened_co = TypeVar("Opened_co", bound=Closing, covariant=True)
Parameters = ParamSpec("Parameters")


class Opening(Coroutine[Any, Any, Opened_co], Generic[Opened_co]):
    """A call that opens something.

        disk = await open_disk(…)              # to be closed later
        async with open_disk(…) as disk: …     # closed at the end, after an exception too

    It works wherever a coroutine does. Nothing happens before it is awaited or entered.
    """

    def __init__(self, call: Coroutine[Any, Any, Opened_co]) -> None:
        self._call = call
        self._opened: Closing | None = None

    def __await__(self) -> Generator[Any, Any, Opened_co]:
        return self._call.__await__()

    async def __aenter__(self) -> Opened_co:
        opened = await self._call
        self._opened = opened
        return opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None
        await _close(self._opened)

    # A coroutine's own methods.

    def send(self, value: Any, /) -> Any:
        return self._call.send(value)

    def throw(self, *error: Any) -> Any:
        return self._call.throw(*error)

    def close(self) -> None:
        self._call.close()


def opening(
    function: Callable[Parameters, Coroutine[Any, Any, Opened_co]],
) -> Callable[Parameters, Opening[Opened_co]]:
    """Makes what a coroutine function opens usable with `async with`, too."""

    @wraps(function)
    def call(*args: Parameters.args, **options: Parameters.kwargs) -> Opening[Opened_co]:
        return Opening(function(*args, **options))

    return call


class ClosesOnExit:
    """A disk or the like that `async with` closes, with a `ResourceWarning` if it was never
    closed."""

    @property
    def _is_open(self) -> bool:
        """Whether `close` is still to be called."""
        return False

    def __del__(self) -> None:
        try:
            is_open = self._is_open
        except AttributeError:  # `__init__` failed
            return
        if is_open:
            message = (
                f"{type(self).__name__} was not closed: call close() (await it in code that "
                "awaits), or use with or async with"
            )
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _close(self)


async def _close(opened: object) -> None:
    closing = opened.close()  # type: ignore[attr-defined]
    if inspect.isawaitable(closing):
        await closing
