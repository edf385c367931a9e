"""Finds the file of a CD from the address of its cue sheet."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from ..errors import InvalidUrlError
from ..formats.cue_sheet import MAX_CUE_SHEET, DataTrack, data_track
from ..platform.base import Platform
from ..remote.access import Access, ImageAddress, Renew, RenewedAccess
from ..remote.remote_image import Traffic
from ..remote.whole_files import WholeFiles
from .opening import opening_retries
from .remote_options import RemoteSettings


def is_cue_address(address: ImageAddress, format_name: str) -> bool:
    """Whether an address is treated as that of a cue sheet, decided without a request."""
    return format_name == "auto" and address.web_url.path.lower().endswith(".cue")


async def open_cue(
    address: ImageAddress, options: RemoteSettings, platform: Platform
) -> tuple[ImageAddress, RemoteSettings]:
    """The address of the data track's file, next to the sheet, and the options to open it with.

    Its cache is named by the sheet's address. Raises what the request does, and as `data_track`.
    """
    access = Access(address, platform.clock, options.renew, options.expires_at)
    files = WholeFiles(platform.http, access, Traffic())
    sheet = await opening_retries(options.retry, platform.clock).run(
        lambda: files.fetch("", MAX_CUE_SHEET)
    )
    track = data_track(bytes(sheet.data))
    renew = None if options.renew is None else _renewed(options.renew, track)
    return (
        _file_of(await access.address(), track),
        replace(options, format=track.format, renew=renew),
    )


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
