"""Serves the demo page and the images to try it with, on two origins; or checks that it works."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

from aero_browser_disk.testing.site_server import SiteServer
from demo_check import check_demo
from image_service import ImageService
from project import CACHE, ROOT
from sample_image import make_samples
from site_build import build_site


def images_in(folder: Path) -> list[Path]:
    """The files of a folder that may be images, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--images", type=Path, metavar="DIR", help="your images (default: samples)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=0, help="the page's port (default: a free one)")
    parser.add_argument(
        "--check", action="store_true", help="open and read an image in headless Chromium instead"
    )
    options = parser.parse_args()
    if options.images and not (options.images.is_dir() and images_in(options.images)):
        parser.error(f"there is no image in {options.images}")
    images = images_in(options.images) if options.images else make_samples(CACHE / "samples")
    build_site(ROOT / "dist")
    with ExitStack() as stack:
        site = stack.enter_context(SiteServer(ROOT / "dist", host=options.host, port=options.port))
        origins = ("*",) if is_wildcard(options.host) else origins_of(site)
        service = stack.enter_context(ImageService(images[0].parent, options.host, origins))
        if options.check:
            result = check_demo(site.url, service, images[0])
            print(json.dumps(result))
            return 0 if result["ok"] else 1
        tell(site, service, images)
        # Ctrl-C and a plain kill both end it in order.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            service.wait()
        except KeyboardInterrupt:
            return 0
    return 1


def origins_of(site: SiteServer) -> tuple[str, ...]:
    """The names by which a user of this machine may open the page."""
    return site.origin, f"http://localhost:{site.port}"


def is_wildcard(host: str) -> bool:
    """Whether the page can be opened by names that are not known here."""
    return host in {"", "0.0.0.0", "::"}  # noqa: S104 - it is the user who chose so


def tell(site: SiteServer, service: ImageService, images: list[Path]) -> None:
    """Prints what to open."""
    first = urlencode({"image": service.image_url(images[0])})
    print(f"\nOpen {site.url}?{first}")
    print('Turn on "Use remote image" and press Open. These addresses can be entered there:')
    for image in images:
        print(f"    {service.image_url(image)}")
    print("Ctrl-C ends it.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
