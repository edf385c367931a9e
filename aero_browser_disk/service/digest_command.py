"""`aero-disk-service digest`: writes the digest list of an image, signed if there is a key."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from aero_browser_disk.errors import DiskError
from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.manifest import begins_manifest
from aero_browser_disk.platform.whole_file import whole_file
from aero_browser_disk.streaming.digest_list import DEFAULT_CHUNK_SIZE, digests_of, pin_of

from .stores.image_store import DIGESTS_ENDING

_CHUNK_LENGTH = 1 << 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    command.add_argument("image", type=Path, metavar="IMAGE", help="the file, or the manifest")
    command.add_argument(
        "--key", type=Path, metavar="FILE", help="Ed25519 private key (PEM) that signs the list"
    )
    command.add_argument(
        "--chunk-size",
        type=int,
        default=DEFAULT_CHUNK_SIZE,
        metavar="BYTES",
        help="power of two, not larger than the readers' blocks (default: %(default)s)",
    )


def make_digest_list(image: Path, signer: Ed25519PrivateKey | None, chunk_size: int) -> str:
    """Writes it next to the image and returns its pin; raises `OSError` and `ValueError`.

    The list of a prepared image, whose manifest is `image`, is of the disk that its chunks hold.
    """
    with image.open("rb") as file:
        is_prepared = begins_manifest(file.read(_CHUNK_LENGTH))
        file.seek(0)
        content = _disk(image) if is_prepared else iter(partial(file.read, _CHUNK_LENGTH), b"")
        try:
            digests = digests_of(content, chunk_size)
        except DiskError as error:
            raise ValueError(str(error)) from error
    if signer is not None:
        digests = replace(digests, signature=signer.sign(digests.signed_bytes))
    encoded = digests.encode()
    with whole_file(image.with_name(image.name + DIGESTS_ENDING)) as file:
        file.write(encoded)
    return pin_of(encoded)


def _disk(manifest: Path) -> Iterator[bytes]:
    """The bytes of a prepared image's disk; raises `DiskError`."""
    with asyncio.Runner() as runner:
        disk = runner.run(open_file_disk(manifest))
        for offset in range(0, disk.info.size, _CHUNK_LENGTH):
            yield runner.run(disk.read(offset, min(_CHUNK_LENGTH, disk.info.size - offset)))
        runner.run(disk.close())


def run(options: argparse.Namespace) -> int:
    """Runs the command; prints the pin and the public key as JSON, for readers."""
    signer = None if options.key is None else _read_key(options.key)
    pin = make_digest_list(options.image, signer, options.chunk_size)
    made = {"file": options.image.name + DIGESTS_ENDING, "sha256": pin, "signed": bool(signer)}
    if signer is not None:
        public = signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        made["public_key"] = public.hex()
    print(json.dumps(made))
    return 0


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        # Do not quote the file: it contains a secret.
        raise ValueError(f"{path} is not an Ed25519 private key in PEM without a password")  # noqa: TRY004
    return key
