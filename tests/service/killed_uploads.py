"""Operations on uploads in processes of their own, killed after any of their steps.

Run as a program: one operation a line on standard input, how its process ended on standard output.
A step is a call to the database or to the bucket.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from aero_browser_disk.service.stores.bucket import BucketAddress
from aero_browser_disk.service.uploads.multipart import Multipart
from aero_browser_disk.service.uploads.upload_records import UploadRecords
from aero_browser_disk.service.uploads.uploads import UploadRequest, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME_S = 3600


class Steps:
    """Kills the process once so many were taken."""

    def __init__(self, left: int) -> None:
        self._left = left

    def taken(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Stepping:
    """What it wraps; each call of a method is a step."""

    def __init__(self, wrapped: object, steps: Steps) -> None:
        self._wrapped = wrapped
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._wrapped, name)

        def step(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            self._steps.taken()
            return result

        return step


def run(records: UploadRecords, multipart: Multipart, asked: dict[str, Any]) -> None:
    steps = Steps(asked["steps"])
    later_s = 2 * LIFETIME_S if asked["operation"] == "clean_up" else 0
    uploads = Uploads(
        Stepping(records, steps),  # type: ignore[arg-type]
        Stepping(multipart, steps),  # type: ignore[arg-type]
        5 << 20,
        LIFETIME_S,
        clock=lambda: time.time() + later_s,
    )
    upload = records.get(asked["upload"])
    if asked["operation"] == "begin":
        uploads.begin(UploadRequest(asked["upload"], "ann", 512, public=False, name="x"))
    elif asked["operation"] == "clean_up":
        uploads.clean_up()
    else:
        getattr(uploads, asked["operation"])(upload)


def obey(run: Callable[[dict[str, Any]], None]) -> None:
    """Runs what is asked for on standard input, each in a process of its own."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            run(json.loads(line))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def main(database: str, url: str, endpoint: str, region: str) -> None:
    records = UploadRecords(database)
    # What is connected belongs to one process.
    records.close()
    multipart = Multipart(BucketAddress(url, endpoint, region))
    obey(lambda asked: run(records, multipart, asked))


class KilledProgram:
    """Runs a program that obeys, with these arguments."""

    def __init__(self, program: str, *arguments: str) -> None:
        command = [sys.executable, program, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()

    def run(self, **asked: Any) -> bool:
        """Whether it was killed, after so many `steps`, before it was through."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL), status
        return status != 0


class KilledUploads:
    """Runs this program; the credentials are in the environment."""

    def __init__(self, database: str, address: BucketAddress) -> None:
        assert address.endpoint is not None
        assert address.region is not None
        where = (address.url, address.endpoint, address.region)
        self._program = KilledProgram(__file__, database, *where)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._program.__exit__(*raised)

    def run(self, operation: str, upload: str, steps: int) -> bool:
        """Whether it was killed, after so many steps, before it was through.

        `upload` is the id of the upload, of the image to begin one.
        """
        return self._program.run(operation=operation, upload=upload, steps=steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
