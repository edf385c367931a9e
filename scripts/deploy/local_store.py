"""A local object store with a CDN and the service before it, filled with images and verified."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from deploy.verify_streaming import verify
from lib.local_object_store import LocalObjectStore
from lib.nginx_server import Nginx
from lib.project import ROOT
from lib.server_process import SERVICE_PROGRAM, ServerProcess

BUCKET = "images"
SAMPLE = "sample.img"
SAMPLE_SIZE = 8 * 1024 * 1024
PAGE = "https://app.example.com"


def fill(store: LocalObjectStore, images: list[Path]) -> list[str]:
    """Creates the bucket, which everybody may read, and uploads the images; returns their ids."""
    client: Any = get_session().create_client(
        "s3",
        endpoint_url=store.url,
        region_name=store.region,
        aws_access_key_id=store.keys.access_key,
        aws_secret_access_key=store.keys.secret_key,
        config=Config(request_checksum_calculation="when_required"),
    )
    try:
        client.create_bucket(Bucket=BUCKET)
        contents: dict[str, Path | bytes] = {image.name: image for image in images}
        if not contents:
            contents[SAMPLE] = random.Random(1).randbytes(SAMPLE_SIZE)  # noqa: S311 - any bytes
        for name, content in contents.items():
            if isinstance(content, bytes):
                client.put_object(Bucket=BUCKET, Key=name, Body=content)
            else:
                with content.open("rb") as file:
                    client.put_object(Bucket=BUCKET, Key=name, Body=file)
        entries = [{"id": name, "file": name, "public": True} for name in contents]
        manifest = json.dumps({"images": entries}, indent=2).encode()
        client.put_object(Bucket=BUCKET, Key="manifest.json", Body=manifest)
    finally:
        client.close()
    return list(contents)


def check(urls: list[str]) -> int:
    """Verifies every address; returns how many checks failed."""
    failed = 0
    for url in urls:
        print(url)
        for result in verify(url, PAGE):
            failed += not result.holds
            print(f"  {'ok  ' if result.holds else 'FAIL'} {result.name}: {result.found}")
    return failed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="local-store", description=__doc__)
    parser.add_argument(
        "images", nargs="*", type=Path, help="files to put there (a sample if none)"
    )
    parser.add_argument("--check", action="store_true", help="verify, and end")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="local-store-")))
        (folder / "objects").mkdir()
        (folder / "nginx").mkdir()
        store = stack.enter_context(LocalObjectStore(folder / "objects", public_bucket=BUCKET))
        names = fill(store, options.images)
        values = {
            "AERO_DISK_ENDPOINT": store.url.removeprefix("http://"),
            "AERO_DISK_BUCKET": BUCKET,
            "AERO_DISK_CACHE": str(folder / "nginx" / "cache"),
        }
        cdn = stack.enter_context(Nginx(folder / "nginx", "object-store", values))
        command: list[str | Path] = [SERVICE_PROGRAM, "serve", "--bucket", f"s3://{BUCKET}"]
        command += ["--port", "0"]
        command += ["--set", f'store.endpoint="{store.url}"']
        command += ["--set", f'store.region="{store.region}"']
        environment = {**os.environ, **store.keys.environment}
        service = stack.enter_context(ServerProcess(command, cwd=ROOT, env=environment))
        urls = [f"{cdn.url}/{name}" for name in names]
        urls += [f"{service.url}/disks/{name}/bytes" for name in names]
        if options.check:
            return 1 if check(urls) else 0
        print(json.dumps({"bucket": store.url, **store.keys.environment, "urls": urls}), flush=True)
        service.wait(None)  # until an interrupt
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
