"""The operation of the doctor: why an address can or cannot be streamed from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from ..doctor.diagnosis import diagnose
from ..errors import InvalidOptionError
from ..platform.base import Credentials, Platform
from ..platform.failures import Value
from .operations import Operation, checked, plain

_CREDENTIALS: Mapping[Value, Credentials] = {
    "omit": "omit",
    "same-origin": "same-origin",
    "include": "include",
}


class DoctorOperations:
    """The operation of JavaScript's `diagnose`."""

    def __init__(self, platform: Callable[[], Awaitable[Platform]]) -> None:
        self._platform = platform

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {"doctor.diagnose": self._diagnose}

    async def _diagnose(
        self,
        url: Value,
        allowRemote: Value = False,
        headers: Value = None,
        credentials: Value = "same-origin",
        timeoutS: Value = 10.0,
    ) -> dict[str, Value]:
        if not isinstance(url, str):
            raise InvalidOptionError("url", url, "text")
        if headers is not None and not isinstance(headers, Mapping):
            raise InvalidOptionError("headers", headers, "an object of texts")
        if credentials not in _CREDENTIALS:
            raise InvalidOptionError("credentials", credentials, "omit, same-origin or include")
        seconds = checked("timeoutS", timeoutS, (int, float), "a number of seconds")
        assert isinstance(seconds, int | float)
        found = await diagnose(
            url,
            allow_remote=allowRemote is True,
            headers=headers,
            credentials=_CREDENTIALS[credentials],
            timeout_s=float(seconds),
            platform=await self._platform(),
        )
        return {
            **plain(found),
            "findings": [asdict(finding) for finding in found.findings],
            "isStreamable": found.is_streamable,
            "fault": found.fault,
        }
