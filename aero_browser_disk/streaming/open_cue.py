"""Finds the file of a CD from the address of its cue sheet."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from ..errors import InvalidUrlError, NetworkError
from ..formats.cue_sheet import MAX_CUE_SHEET, DataTrack, data_track
from ..platform.base import Platform
from ..remote.access import Access, ImageAddress, Renew, RenewedAccess
from ..remote.remote_image import Traffic
from ..remote.whole_files import WholeFiles
from .cache_folder import CacheFolder
from .kept_files import MANIFEST
from .opening import opening_retries
from .remote_options import RemoteSettings


def is_cue_address(address: ImageAddress, format_name: str) -> bool:
    """Whether an address is treated as that of a cue sheet, decided without a request."""
    return format_name == "auto" and address.web_url.path.lower().endswith(".cue")


async def open_cue(
    address: ImageAddress,
    options: RemoteSettings,
    platform: Platform,
    folder: CacheFolder,
    *,
    trusts_freshness: bool,
) -> tuple[ImageAddress, RemoteSettings]:
    """The address of the data track's file, next to the sheet, and the options to open it with.

    The cache of the disk, `folder`, is named by the sheet's address. The sheet is stored there, and
    used while what is cached is fresh, or offline. Raises what the request does, and as
    `data_track`.
    """
    access = Access(address, platform.clock, options.renew, options.expires_at)
    kept = await folder.open_kept()
    known = kept.manifest
    is_fresh = trusts_freshness and folder.store.fresh_until > platform.clock.now()
    sheet = (
        known
        if is_fresh and known is not None
        else await _current(platform, access, options, known)
    )
    track = data_track(sheet)
    kept.keep(MANIFEST, sheet)
    renew = None if options.renew is None else _renewed(options.renew, track)
    return (
        _file_of(await access.address(), track),
        replace(options, format=track.format, renew=renew),
    )


async def _current(
    platform: Platform, access: Access, options: RemoteSettings, known: bytes | None
) -> bytes:
    """The sheet as the server has it; the `known` one while the server cannot be reached."""
    files = WholeFiles(platform.http, access, Traffic())
    try:
        found = await opening_retries(options.retry, platform.clock).run(
            lambda: files.fetch("", MAX_CUE_SHEET)
        )
    except NetworkError:
        if known is None:
            raise
        return known
    return bytes(found.data)


def _file_of(address: ImageAddress, track: DataTrack) -> ImageAddress:
    """The address of the track's file; the query is sent along."""
    return address.sibling(f"./{quote(track.file, safe='')}{address.web_url.query}")


def _renewed(renew: Renew, track: DataTrack) -> Renew:
    """Renews access to the track's file: what the caller renews is that to the sheet."""

    async def renew_file() -> RenewedAccess:
        renewed = await renew()
        try:
            address = ImageAddress.parse(renewed.url)
        except InvalidUrlError:
            return renewed  # who asked for it says what is wrong with it
        return replace(renewed, url=_file_of(address, track).url)

    return renew_file
