"""The parts of the page around the panel, each as plain values with its texts ready to show."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from ..disk import DiskInfo, DiskStats
from ..platform.redaction import may_be_kept
from ..platform.web_url import parse_web_url
from ..remote.image_catalog import CatalogImage
from ..units import format_bytes
from . import page_texts as texts

Part = dict[str, object]


def map_part(name: str, info: DiskInfo | None, *, is_local: bool = False) -> Part:
    """The texts around the map of the open disk."""
    legend = texts.LEGEND_LOCAL if is_local else texts.LEGEND
    if info is None:
        return {"title": texts.MAP_NOTHING, "legend": legend}
    title = texts.MAP_TITLE.format(name=name, size=format_bytes(info.size))
    return {"title": title, "legend": legend}


def keeping_part(info: DiskInfo | None, stats: DiskStats | None, *, is_kept: bool) -> Part:
    """The button that downloads the whole image."""
    if info is None or stats is None or not stats.cache_limit_bytes:
        return {"label": texts.KEEP_ALL, "disabled": True, "on": False}
    if stats.cached_bytes >= info.size:
        return {"label": texts.KEEP_ALL_DONE, "disabled": True, "on": False}
    label = texts.KEEP_ALL_PAUSE if is_kept else texts.KEEP_ALL
    return {"label": label, "disabled": False, "on": is_kept}


def diagnose_part(*, is_possible: bool, has_failed: bool, is_under_way: bool) -> Part:
    """The button of the doctor, which also stops it: below the failure, else at the address."""
    label = texts.FIND_OUT_WHY if has_failed else texts.DIAGNOSE
    return {
        "disabled": not is_possible,
        "isAtFailure": is_possible and has_failed,
        "label": texts.DIAGNOSE_STOP if is_under_way else label,
        "isUnderWay": is_under_way,
    }


def files_part(*, is_open: bool) -> Part:
    """Whether the files of a disk can be looked at."""
    hint = texts.FILES_READY if is_open else texts.FILES_CLOSED
    return {"disabled": not is_open, "hint": hint}


def boot_part(name: str, info: DiskInfo | None) -> Part:
    """Whether a machine can be started, and what is asked before something of it is lost."""
    if info is None:
        return {"disabled": True, "hint": texts.BOOT_CLOSED, "asks": {}}
    return {
        "disabled": False,
        "hint": texts.BOOT_READ_ONLY if info.read_only else texts.BOOT_READY,
        "asks": {
            action: asked.view(
                name=name,
                stays="" if info.read_only else texts.BOOT_STAYS,
                danger=True,
            )
            for action, asked in texts.BOOT_ASKS.items()
        },
    }


def boot_drive_question() -> Part:
    """Asks which drive an image belongs in that is both a CD's and a disk's."""
    choices = [{"value": drive, "label": label} for drive, label in texts.BOOT_DRIVES.items()]
    field = {"name": "drive", "label": texts.BOOT_DRIVE_FIELD, "hint": "", "value": ""}
    return texts.BOOT_DRIVE.view(fields=[{**field, "choices": choices}])


def share_part(name: str, url: str, overlay: str) -> Part:
    """The question that offers a link to an image; without a link if its address has secrets.

    `query` is that of the link to this page, which opens the image and boots it.
    """
    if not url:
        return {"shown": False, "query": "", "ask": None}
    if not may_be_kept(url):
        refused = {**texts.SHARE_REFUSED.view(name=name), "isNotice": True}
        return {"shown": True, "query": "", "ask": refused}
    query = urlencode({"image": url, **({"overlay": overlay} if overlay else {})})
    field: Part = {"name": "link", "label": texts.SHARE_LINK, "hint": "", "value": ""}
    return {
        "shown": True,
        "query": f"{query}&boot",
        "ask": texts.SHARE.view(name=name, fields=[{**field, "choices": []}]),
    }


def saves_part(overlay: str, image: str, *, is_open: bool, is_outdated: bool) -> Part:
    """Whether an overlay can be saved to a server, or fits another version of its image.

    `image` is its base, "" for one at an address.
    """
    return {
        "overlay": overlay,
        "image": image,
        "shown": bool(overlay) and is_open,
        "isOutdated": bool(overlay) and is_outdated,
    }


def samples_part(
    catalog: str,
    images: Sequence[CatalogImage] | None,
    *,
    remote: bool,
    has_failed: bool = False,
) -> Part:
    """The images of the service that the page was given; none before it is asked.

    `has_failed`: it was asked and has not sent its list.
    """
    host = _host(catalog)
    if not host:
        return {"shown": False, "hint": "", "isAsked": False, "images": []}
    if images is None:
        hint = texts.SAMPLES_ON if remote else texts.SAMPLES_OFF
        if has_failed and remote:
            hint = texts.SAMPLES_FAILED
    else:
        hint = texts.SAMPLES_SHOWN if images else texts.SAMPLES_NONE
    return {
        "shown": True,
        "hint": hint.format(host=host),
        "isAsked": images is not None,
        "images": [
            {
                "url": image.url,
                "name": image.name,
                "note": image.description,
                "size": format_bytes(image.size),
                "spoken": texts.SAMPLE_BOOT.format(name=image.name),
            }
            for image in (images or ())
        ],
    }


def _host(url: str) -> str:
    """The host and port of an address; "" when it has none."""
    parsed = parse_web_url(url)
    return "" if parsed is None else parsed.host
