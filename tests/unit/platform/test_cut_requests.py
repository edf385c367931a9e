"""A request that is cancelled while a thread sends it: nothing of it is sent afterwards."""

from __future__ import annotations

import gc
import http.client

import pytest

from aero_browser_disk.platform.cpython.http_client import _Connection
from aero_browser_disk.platform.web_url import parse_web_url


class CutInBetween(_Connection):
    """Is cut by another thread just before the request is sent, once it has a socket."""

    checks = 0

    def _give_up_if_cut(self) -> None:
        super()._give_up_if_cut()
        self.checks += 1
        if self.checks == 1:
            self.cut()


def test_a_request_that_is_cut_does_not_connect_once_more(server) -> None:
    url = parse_web_url(server.url("disk.img"))
    assert url is not None
    connection = CutInBetween(url)
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.exchange("GET", url.target, {})
    del connection
    gc.collect()  # a socket that is left is a ResourceWarning, and so an error
    assert server.requests == []
