"""A relay, the server that it relays, and another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..conftest import RunningService
from .relayed_server import (
    RelayedServer,
    serves,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def archive() -> Iterator[RelayedServer]:
    """The server of images."""
    with RelayedServer() as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RelayedServer]:
    """Another server, which is not on the list."""
    with RelayedServer() as server:
        yield server


@pytest.fixture(autouse=True)
def as_usual(archive: RelayedServer, elsewhere: RelayedServer) -> None:
    for server in (archive, elsewhere):
        server.behaviour = serves()
        server.requests.clear()


@pytest.fixture(scope="module", params=["uvicorn", "granian"])
def relay(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    archive: RelayedServer,
) -> Iterator[RunningService]:
    file = written(tmp_path_factory.mktemp("relay"), archive)
    with RunningService(None, "--config", str(file), "--server", request.param) as running:
        yield running
