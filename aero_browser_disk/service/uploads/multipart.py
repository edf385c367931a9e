"""Multipart uploads in an S3 bucket: begun and ended here, while clients send the parts.

Every call blocks; raises `StoreError` when the bucket fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from ..stores.bucket import BucketAddress
from ..stores.image_store import StoreError

_GONE: Final = ("NoSuchUpload", "NoSuchKey", "404", "NotFound")


class UploadGoneError(Exception):
    """The bucket does not know the multipart upload, or no longer."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the bucket has."""

    length: int
    etag: str


class Multipart:
    """Multipart uploads below `address`; clients reach the bucket at `public_endpoint`, if given.

    Raises `ValueError` unless it is a bucket of S3 and there are credentials.
    """

    def __init__(self, address: BucketAddress, public_endpoint: str | None = None) -> None:
        if not address.url.startswith("s3://") or address.anonymous:
            raise ValueError("uploads need a bucket of S3, and credentials that may write to it")
        self._bucket = address.bucket
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self._client = _client(address.endpoint, address.region)
        self._signer = _client(public_endpoint, address.region) if public_endpoint else self._client

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()
        self._signer.close()

    def begin(self, key: str, content_type: str) -> str:
        """Begins a multipart upload; returns its id."""
        with _errors_mapped():
            begun = self._client.create_multipart_upload(
                **self._at(key), ContentType=content_type, CacheControl="no-transform"
            )
        return str(begun["UploadId"])

    def part_url(self, key: str, multipart_id: str, number: int, length: int, life_s: int) -> str:
        """A URL to PUT the part to, valid for `life_s` seconds; it must have `length` bytes."""
        url: str = self._signer.generate_presigned_url(
            "upload_part",
            Params={
                **self._at(key),
                "UploadId": multipart_id,
                "PartNumber": number,
                "ContentLength": length,
            },
            ExpiresIn=life_s,
        )
        return url

    def parts(self, key: str, multipart_id: str) -> dict[int, Part]:
        """The parts that the bucket has, by number; raises `UploadGoneError`."""
        parts: dict[int, Part] = {}
        with _errors_mapped():
            pages = self._client.get_paginator("list_parts").paginate(
                **self._at(key), UploadId=multipart_id
            )
            for page in pages:
                for part in page.get("Parts", ()):
                    parts[part["PartNumber"]] = Part(part["Size"], part["ETag"])
        return parts

    def complete(self, key: str, multipart_id: str, parts: Mapping[int, Part]) -> None:
        """Assembles the object from its parts; raises `UploadGoneError`."""
        listed = [{"PartNumber": number, "ETag": parts[number].etag} for number in sorted(parts)]
        with _errors_mapped():
            self._client.complete_multipart_upload(
                **self._at(key), UploadId=multipart_id, MultipartUpload={"Parts": listed}
            )

    def abort(self, key: str, multipart_id: str) -> None:
        """Discards the parts; does nothing if that was done already."""
        with suppress(UploadGoneError), _errors_mapped():
            self._client.abort_multipart_upload(**self._at(key), UploadId=multipart_id)

    def size(self, key: str) -> int | None:
        """Bytes of the object, None when it is not there."""
        with suppress(UploadGoneError), _errors_mapped():
            return int(self._client.head_object(**self._at(key))["ContentLength"])
        return None

    def remove(self, key: str) -> None:
        """Removes the object; does nothing if it is not there."""
        with _errors_mapped():
            self._client.delete_object(**self._at(key))

    def begun(self, folder: str) -> list[tuple[str, str, float]]:
        """Key, id and start (seconds since the epoch) of those below `folder` under way."""
        found = []
        with _errors_mapped():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix + folder
            )
            for page in pages:
                for upload in page.get("Uploads", ()):
                    key = upload["Key"].removeprefix(self._prefix)
                    found.append((key, upload["UploadId"], upload["Initiated"].timestamp()))
        return found

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}


def _client(endpoint: str | None, region: str | None) -> Any:
    config = Config(
        # The checksums that botocore adds by itself would become part of what a URL signs.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=30,
        retries={"max_attempts": 3, "mode": "standard"},
        s3={"addressing_style": "path"} if endpoint else None,
    )
    return get_session().create_client(
        "s3", endpoint_url=endpoint, region_name=region, config=config
    )


@contextmanager
def _errors_mapped() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _GONE:
            raise UploadGoneError from None
        raise StoreError(f"the bucket refused: {error}") from error
    except BotoCoreError as error:
        raise StoreError(f"the bucket: {error}") from error
