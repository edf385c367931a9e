"""Finds the bases of overlays whose records were damaged."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ImageBusyError, StorageError
from ..records.folders import LibraryFolders
from ..records.record import CACHES, IMAGES, OVERLAYS, SECTORS, read_record
from ..writable.sector_store import SectorStore


async def find_bases(
    folders: LibraryFolders, known: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """Notes the bases of overlays whose records were damaged, as far as they can be found.

    An overlay's file has the version of its base, and most records have the version of their image.
    `known` adds folders with their names and versions.
    """
    overlays = await folders.all(OVERLAYS)
    lost = [f for f, record in overlays.items() if record.state == "recovered" and not record.base]
    if not lost:
        return
    bases = {folder: (r.name, r.version or "") for folder, r in overlays.items()}
    bases |= {
        folder: (r.name, r.version or "") for folder, r in (await folders.all(IMAGES)).items()
    }
    for name in await folders.storage.list(CACHES):
        record = await read_record(folders.storage, f"{CACHES}/{name}")
        if record is not None:
            bases[f"{CACHES}/{name}"] = record.name, record.version or ""
    bases |= known or {}
    for folder in lost:
        wanted = await _base_version(folders, folder)
        for base, (name, version) in bases.items():
            if wanted and base != folder and _same_disk(wanted, version):
                await folders.update(folder, base=base, base_name=name)
                break


async def _base_version(folders: LibraryFolders, folder: str) -> str:
    """The version of the base that an overlay was made over; empty when that cannot be read."""
    try:
        async with folders.claimed(folder, folder):
            store = await SectorStore.open(folders.storage, f"{folder}/{SECTORS}")
    except (StorageError, ImageBusyError):
        return ""
    if store is None:
        return ""
    store.close()
    return store.contents.base or ""


def _same_disk(version: str, other: str) -> bool:
    """Whether two versions are of the same disk here, or the same version of one elsewhere."""
    if version == other:
        return True
    kind, _, rest = version.partition(":")
    identity = rest.partition(":")[0]
    return kind in ("local", "overlay") and other.startswith(f"{kind}:{identity}:")
