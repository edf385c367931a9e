"""Rounds of the public API against a model: `python -m support.rounds --minutes 60` (from tests/).

A round that finds something ends the run, with its kind, its seed and what it did:
`python -m support.rounds --kind remote --seed 123` repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from aero_browser_disk.errors import DiskError
from aero_browser_disk.platform.cpython import CpythonHttp
from aero_browser_disk.testing.failing_files import PowerCutError
from aero_browser_disk.testing.image_server import ImageServer
from support.device_round import DeviceRound
from support.library_round import LibraryRound
from support.overlay_round import OverlayRound
from support.remote_round import PreparedRound, RemoteRound
from support.storms import KilledError, Round

Kind = Callable[[int, ImageServer, CpythonHttp], Round]
KINDS: dict[str, Kind] = {
    "remote": RemoteRound,
    "prepared": PreparedRound,
    "library": LibraryRound,
    "overlay": OverlayRound,
}
if os.geteuid() == 0:  # who may mount
    KINDS["device"] = DeviceRound


class Finding(Exception):  # noqa: N818 - what a run is for
    """What a round found."""

    def __init__(self, kind: str, seed: int, log: list[str]) -> None:
        steps = "\n".join(log)
        super().__init__(f"round {kind} {seed}:\n{steps}")


def play(kind: str, seed: int) -> None:
    """One round; raises `Finding`."""
    lost: list[BaseException] = []

    def hear(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, DiskError | PowerCutError | KilledError):
            lost.append(error or RuntimeError(context["message"]))

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(hear)
        with ImageServer({}) as server:
            http = CpythonHttp(threads=4)
            made.append(KINDS[kind](seed, server, http))
            try:
                await made[0].run()
            finally:
                await http.close()

    made: list[Round] = []
    try:
        asyncio.run(run())
        gc.collect()  # so that tasks say what nobody has heard
    except (Exception, PowerCutError) as error:  # noqa: BLE001 - whatever it is, it is a finding
        lost.append(error)
    if lost:
        raise Finding(kind, seed, made[0].machine.log if made else []) from lost[-1]


def seeds(first: int | None) -> Iterator[int]:
    """Numbers of rounds, from one that nobody has tried."""
    chance = random.Random(secrets.randbits(64) if first is None else first)
    while True:
        yield chance.randrange(1 << 48)


def main(arguments: list[str] | None = None) -> None:
    """Plays rounds for a while; raises the first finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=sorted(KINDS), help="this kind only")
    parser.add_argument("--seed", type=int, help="this round only")
    parser.add_argument("--rounds", type=int, default=1 << 60, help="at most so many")
    parser.add_argument("--minutes", type=float, default=60, help="at most so long")
    given = parser.parse_args(arguments)
    kinds = [given.kind] if given.kind else sorted(KINDS)
    if given.seed is not None:
        for kind in kinds:
            play(kind, given.seed)
        return
    until = time.monotonic() + given.minutes * 60
    played = 0
    for seed in seeds(None):
        if played >= given.rounds or time.monotonic() > until:
            break
        play(kinds[played % len(kinds)], seed)
        played += 1
        if played % 200 == 0:
            print(f"{played} rounds", flush=True)
    print(f"{played} rounds, no finding", flush=True)


if __name__ == "__main__":
    main()
