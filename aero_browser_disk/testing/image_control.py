"""A test server steered over HTTP, for tests in another process or language.

Run `python -m aero_browser_disk.testing.image_server FILE... [--synthetic NAME=SIZE[:SEED]]
[--port N]`; it prints `{"event": "listening", "url": ...}` and serves each file by its name. Then:

- `GET /_control/requests[?image=NAME]`: the fields of `Request` for each request, `max_in_flight`
  and `in_flight`. With `arrived=N` or `finished=N` the response waits for so many of them, at most
  `timeout_s` (10), and is then 504.
- `POST /_control/behaviour` with `{"behaviour": {...}, "image": NAME}`: the fields of `Behaviour`
  from now on; without `image` for the whole server; `"behaviour": null` ends an image's own. With
  `"times": N` only for the next N requests, narrowed by `"method"` and `"range"` (the header).
- `POST /_control/replace?image=NAME` with the new bytes as the body (not JSON), or with
  `{"image": NAME, "size": N, "seed": N}` as JSON: another version.
- `POST /_control/release`: stalled responses go on. `POST /_control/forget`: requests are
  forgotten.

An invalid command gets a 400 and `{"error": ...}`. These requests are not counted, and any
page may send them: it is for tests, on this machine only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import parse_qs

from .behaviour import Behaviour
from .image_response import Body, RequestHead, ServedResponse
from .synthetic_image import SyntheticImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from .image_content import ServedImage
    from .request_log import Request

CONTROL_PATH = "/_control/"
MAX_CONTROL_BODY = 64 << 20
_ANY_PAGE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "no-store",
}


class ControlledServer(Protocol):
    """The part of an `ImageServer` that control requests use."""

    behaviour: Behaviour

    @property
    def requests(self) -> list[Request]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def max_in_flight(self) -> int: ...
    def image(self, name: str) -> ServedImage: ...
    def image_requests(self, name: str) -> list[Request]: ...
    def release(self) -> None: ...
    def forget(self) -> None: ...
    def fail_next(
        self,
        behaviour: Behaviour,
        times: int = 1,
        only_when: Callable[[RequestHead], bool] | None = None,
        image: str | None = None,
    ) -> None: ...
    async def until(self, predicate: Callable[[Self], bool], timeout_s: float = 10.0) -> None: ...


async def respond_to_command(
    server: ControlledServer, head: RequestHead, body: bytes
) -> ServedResponse:
    """Handles a control request."""
    if head.method == "OPTIONS":
        return ServedResponse(204, _ANY_PAGE, Body(), head_only=True)
    options = {name: values[0] for name, values in parse_qs(head.query).items()}
    name = options.get("image")
    commands: dict[str, Callable[[], dict[str, Any] | None]] = {
        "GET requests": lambda: _report(server, name),
        "POST behaviour": lambda: _set_behaviour(server, _command(body)),
        "POST replace": lambda: _replace(server, name, body),
        "POST release": server.release,
        "POST forget": server.forget,
    }
    command_name = f"{head.method} {head.path.removeprefix(CONTROL_PATH)}"
    command = commands.get(command_name)
    if command is None:
        return _json(404, {"error": f"there is no {head.method} {head.path}"})
    try:
        if command_name == "GET requests":
            await _wait(server, name, options)
        return _json(200, command() or {})
    except TimeoutError as error:
        return _json(504, {"error": str(error), **_report(server, name)})
    except KeyError as error:
        return _json(400, {"error": f"there is no image or field {error}"})
    except (TypeError, ValueError) as error:
        return _json(400, {"error": str(error)})


async def _wait(server: ControlledServer, name: str | None, options: dict[str, str]) -> None:
    arrived, finished = int(options.get("arrived", 0)), int(options.get("finished", 0))

    def enough(server: ControlledServer) -> bool:
        requests = _requests(server, name)
        over = sum(request.is_finished for request in requests)
        return len(requests) >= arrived and over >= finished

    if not enough(server):
        await server.until(enough, float(options.get("timeout_s", 10)))


def _requests(server: ControlledServer, name: str | None) -> list[Request]:
    return server.requests if name is None else server.image_requests(name)


def _report(server: ControlledServer, name: str | None) -> dict[str, Any]:
    return {
        "requests": [request.to_json() for request in _requests(server, name)],
        "in_flight": server.in_flight,
        "max_in_flight": server.max_in_flight,
    }


def _set_behaviour(server: ControlledServer, command: dict[str, Any]) -> None:
    fields, name = command.get("behaviour", {}), command.get("image")
    behaviour = None if fields is None else Behaviour.from_json(fields)
    if "times" in command:
        method, range_text = command.get("method"), command.get("range")
        server.fail_next(
            behaviour or Behaviour(),
            times=int(command["times"]),
            only_when=lambda head: (
                head.method in ([method] if method else ["GET", "HEAD"])
                and head.headers.get("range") == (range_text or head.headers.get("range"))
            ),
            image=name,
        )
    elif name is not None:
        server.image(name).behaviour = behaviour
    else:
        server.behaviour = behaviour or Behaviour()


def _replace(server: ControlledServer, name: str | None, body: bytes) -> None:
    if name is not None:
        server.image(name).replace(body)
    else:
        command = _command(body)
        made_up = SyntheticImage(int(command["size"]), int(command.get("seed", 0)))
        server.image(command["image"]).replace(made_up)


def _command(body: bytes) -> dict[str, Any]:
    command = json.loads(body)
    if isinstance(command, dict):
        return command
    raise ValueError(f"the body must be a JSON object, not {command!r}")


def _json(status: int, value: object) -> ServedResponse:
    text = json.dumps(value).encode()
    headers = {
        **_ANY_PAGE,
        "Content-Type": "application/json",
        "Content-Length": str(len(text)),
    }
    return ServedResponse(status, headers, Body(before=text))
