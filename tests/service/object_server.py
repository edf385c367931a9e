"""A place for each test in the object store that all tests of a session share."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from aero_browser_disk.service.stores.bucket import BucketAddress

if TYPE_CHECKING:
    from lib.local_object_store import LocalObjectStore


# It keeps what it reads of the service's description, which takes a second.
_SESSION = botocore.session.Session()


class Bucket:
    """A part of a bucket, below `prefix`, changed not through what is under test."""

    # One for all: SeaweedFS sets aside several volumes for each.
    name = "images"

    def __init__(self, server: LocalObjectStore, prefix: str) -> None:
        self.server = server
        self.prefix = prefix
        self.client: Any = _SESSION.create_client(
            "s3",
            endpoint_url=server.url,
            region_name=server.region,
            aws_access_key_id=server.keys.access_key,
            aws_secret_access_key=server.keys.secret_key,
            config=Config(request_checksum_calculation="when_required"),
        )
        with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=self.name)
        self.address = BucketAddress(
            f"s3://{self.name}/{self.prefix}", endpoint=server.url, region=server.region
        )

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"{self.prefix}/{name}", Body=data)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"{self.prefix}/{name}")

    def keys(self, prefix: str) -> list[str]:
        """What is there below it, by name."""
        below = f"{self.prefix}/{prefix}"
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=below).get("Contents", ())
        return [item["Key"].removeprefix(f"{self.prefix}/") for item in listed]

    def unfinished(self) -> list[str]:
        """The multipart uploads that were begun and did not end."""
        listed = self.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix)
        return [upload["UploadId"] for upload in listed.get("Uploads", ())]

    def connections(self) -> int:
        """Connections to the server that are open now, by whomever."""
        port = f"{int(self.server.url.rpartition(':')[2]):04X}"
        lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
        fields = [line.split() for line in lines]
        return sum(field[2].endswith(f":{port}") and field[3] == "01" for field in fields)

    @property
    def options(self) -> tuple[str, ...]:
        """What makes the service read its images from here."""
        address = self.address
        return (
            *("--bucket", address.url),
            *("--set", f'store.endpoint="{address.endpoint}"'),
            *("--set", f'store.region="{address.region}"'),
        )

    def close(self) -> None:
        self.client.close()
