"""Serves the demo page and the images to try it with, on two origins; or checks that it works."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from aero_browser_disk.testing.site_server import SiteServer
from building.site import build_site
from lib.image_service import CATALOG_ROUTE, ImageService
from lib.page_headers import page_headers
from lib.project import BIOS, CACHE, GRUB_RESCUE_IMAGE, VGA_BIOS
from samples.boot_profiles import offer_boot_profile, withdraw_boot_profile
from samples.boot_traces import GRUB_TRACE, debian_trace
from samples.debian_image import DebianImageError, make_debian_image
from samples.emulator import can_boot, write_dosbox, write_emulator
from samples.prepared_samples import prepare_sample
from samples.sample_image import make_samples

SAMPLES = CACHE / "samples"
DEBIAN_NAME = "debian.img"


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
        "--debian",
        action="store_true",
        help="with a Debian that boots, made in some minutes",
    )
    parser.add_argument("--bios", type=Path, metavar="FILE", default=BIOS)
    parser.add_argument("--vga-bios", type=Path, metavar="FILE", default=VGA_BIOS)
    parser.add_argument(
        "--check", action="store_true", help="open and read an image in headless Chromium instead"
    )
    options = parser.parse_args()
    if options.images and options.debian:
        parser.error("--debian goes with the samples, not with images of yours")
    if options.images and not (options.images.is_dir() and images_in(options.images)):
        parser.error(f"there is no image in {options.images}")
    traces: dict[str, Path] = {}
    try:
        images = images_in(options.images) if options.images else samples(options.debian, traces)
    except DebianImageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    # Images of the user's are left as they are.
    prepared = [] if options.images else [prepare_sample(i, traces.get(i.name)) for i in images]
    # A separate folder: another build or demo may replace the files in dist/ at any time.
    with TemporaryDirectory(prefix="aero-disk-demo-") as folder:
        return serve(options, images, prepared, traces, Path(folder, "site"))


def serve(
    options: argparse.Namespace,
    images: list[Path],
    prepared: list[Path],
    traces: dict[str, Path],
    built: Path,
) -> int:
    """Builds the page in `built` and serves it and the images, or checks that it works.

    `prepared` are the folders of the same images as prepared ones, in the same order, if any.
    """
    build_site(built, documented=True)
    write_dosbox(built)
    if can_boot(options.bios, options.vga_bios):
        write_emulator(built, options.bios, options.vga_bios)
    else:
        wanted = f"{BIOS.name} and {VGA_BIOS.name} of SeaBIOS (Debian's package seabios)"
        print(f"demo: nothing boots: name {wanted} by --bios, --vga-bios", file=sys.stderr)
    with ExitStack() as stack:
        site = stack.enter_context(
            SiteServer(built, host=options.host, port=options.port, headers=page_headers())
        )
        origins = ("*",) if is_wildcard(options.host) else origins_of(site)
        service = stack.enter_context(ImageService(images[0].parent, options.host, origins))
        for image in images:
            if trace := traces.get(image.name):
                # The check counts requests after a reload, when a profile may still be fetched.
                withdraw_boot_profile(image)
                if not options.check:
                    offer_boot_profile(service, image, trace)
        if options.check:
            from demo_site.check import check_demo  # only the check needs a browser

            result = check_demo(site.url, service, images[0], *prepared[:1])
            print(json.dumps(result))
            return 0 if result["ok"] else 1
        bootable = [image for image in images if image.name in traces]
        announce(site, service, images, prepared, bootable)
        # Both Ctrl-C and a plain kill end it cleanly.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            service.wait(None)
        except KeyboardInterrupt:
            return 0
    return 1


def samples(with_debian: bool, traces: dict[str, Path]) -> list[Path]:
    """The sample images, Debian first if requested; adds their recorded boots to `traces`, by name.

    Raises `DebianImageError`.
    """
    images = make_samples(SAMPLES)
    traces[GRUB_RESCUE_IMAGE.name] = GRUB_TRACE
    if with_debian:
        made = make_debian_image()
        debian = SAMPLES / DEBIAN_NAME
        debian.unlink(missing_ok=True)
        debian.hardlink_to(made)  # the service follows no symbolic link out of its folder
        traces[DEBIAN_NAME] = debian_trace(made)
        images = [debian, *(image for image in images if image != debian)]
    return images


def origins_of(site: SiteServer) -> tuple[str, ...]:
    """The host names by which a user of this machine may open the page."""
    return site.origin, f"http://localhost:{site.port}"


def is_wildcard(host: str) -> bool:
    """Whether the page can be opened by host names that are unknown here."""
    return host in {"", "0.0.0.0", "::"}  # noqa: S104 - the user's choice


def announce(
    site: SiteServer,
    service: ImageService,
    images: list[Path],
    prepared: list[Path],
    bootable: list[Path],
) -> None:
    """Prints the URL to open: the page, with a bootable image if there is one."""
    catalog = service.url + CATALOG_ROUTE
    first = (bootable or images)[0]
    query = urlencode({"image": service.image_url(first), "catalog": catalog})
    print(f"\nOpen {site.url}?{query}")
    then = ', press Open, then "Boot this disk"' if bootable else " and press Open"
    print(f'Turn on "Use remote image"{then}. These addresses can be entered there:')
    for image in images:
        print(f"    {service.image_url(image)}")
    if prepared:
        print("The same disks, prepared (compressed):")
    for folder in prepared:
        print(f"    {service.manifest_url(folder)}")
    print("Ctrl-C ends it.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
