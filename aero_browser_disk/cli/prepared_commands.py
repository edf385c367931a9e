"""`pack`, `unpack`, `prune`: prepared images."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from ..errors import InvalidDocumentError
from ..formats.image_format import PREPARED
from ..formats.prepared.chunk_codec import DEFAULT_LEVEL
from ..formats.prepared.layout import PreparedLayout
from ..formats.prepared.manifest import DEFAULT_CHUNK, begins_manifest
from ..platform.signatures import load_signing_key
from ..streaming.prefetch import blocks_of
from ..streaming.prepared_files import server_layout
from ..streaming.remote_options import RemoteSettings
from ..transfer.image_pack import BOOT_BLOCK, PackOptions, pack_image
from ..transfer.pack_check import check_image, open_folder, unneeded_files
from ..units import format_bytes, format_percent
from .documents import load_headers, load_profile, load_reads
from .opening import add_source, byte_count, is_url, opened, opened_platform
from .output import UsageError, print_result, progress
from .parser import Commands
from .raw_files import write_raw_file


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    pack = commands.add("pack", "make a prepared image, which any web server serves", _pack)
    add_source(pack)
    add = pack.add_argument
    add("-o", "--output", type=Path, metavar="FOLDER", required=True, help="where it is written")
    add(
        "--chunk-size",
        type=byte_count,
        default=DEFAULT_CHUNK,
        metavar="SIZE",
        help="bytes of a chunk: a power of two from 4KiB to 8MiB (256KiB)",
    )
    add(
        "--level", type=int, default=DEFAULT_LEVEL, help="level of Zstandard, 1 to 22 (%(default)s)"
    )
    add("--store", action="store_true", help="do not compress")
    add(
        "--sector-size",
        type=int,
        metavar="BYTES",
        help="512, 2048 (CDs) or 4096 (that of the disk)",
    )
    boot = pack.add_mutually_exclusive_group()
    boot.add_argument(
        "--profile", type=Path, metavar="FILE", help="boot profile to write a boot bundle by"
    )
    boot.add_argument(
        "--boot",
        type=Path,
        metavar="TRACE",
        help="the same by a recorded boot: lines of OFFSET LENGTH, or a trace that the page saved",
    )
    add(
        "--sign", type=Path, metavar="KEY", help="Ed25519 private key (PEM) that signs the manifest"
    )
    add("--workers", type=int, metavar="N", help="threads that compress (one for each core)")
    add("--manifest", default="manifest.json", metavar="NAME", help="name of the manifest")
    _add_prune_options(pack)

    unpack = commands.add("unpack", "write the disk of a prepared image to a raw file", _unpack)
    add_source(unpack)
    unpack.add_argument("file", type=Path, metavar="FILE", help="the raw image")

    prune = commands.add("prune", "remove the files that no manifest in a folder needs", _prune)
    prune.add_argument("folder", type=Path, metavar="FOLDER", help="folder of prepared images")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _add_prune_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--prune", action="store_true", help="then remove the files that no manifest needs any more"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="with --prune: only say what would be removed"
    )


async def _pack(options: argparse.Namespace) -> int:
    if options.dry_run and not options.prune:
        raise UsageError("--dry-run is for --prune")
    async with opened(options) as disk:
        size = disk.info.size
        packing = PackOptions(
            chunk_size=options.chunk_size,
            level=None if options.store else options.level,
            sector_size=options.sector_size or disk.info.sector_size,
            boot_blocks=_boot_blocks(options, size),
            sign=_signer(options.sign),
            workers=options.workers,
            manifest_name=options.manifest,
        )
        with progress(options, "packing") as shown:
            packed = await pack_image(
                disk, options.output, packing, lambda done: shown.update(done, size)
            )
    manifest = packed.manifest
    pruned = await _remove_unneeded(options.output, options.dry_run) if options.prune else None
    result = {
        "manifest": str(options.output / options.manifest),
        "size": size,
        "image_version": manifest.image_version.hex(),
        "stored_chunks": manifest.stored_chunks,
        "stored_bytes": manifest.stored_bytes,
        "files_written": packed.files_written,
        "bytes_written": packed.bytes_written,
        "signed": manifest.signature is not None,
        "pruned": pruned,
    }
    share = format_percent(manifest.stored_bytes, size)
    text = (
        f"{format_bytes(size)} in {manifest.stored_chunks:,} chunks of "
        f"{format_bytes(manifest.stored_bytes)} ({share}); "
        f"wrote {packed.files_written:,} files, {format_bytes(packed.bytes_written)}"
    )
    if pruned is not None:
        text += f"\n{_pruned_text(pruned)}"
    print_result(options, result, text)
    return 0


def _boot_blocks(options: argparse.Namespace, size: int) -> tuple[int, ...]:
    """The blocks that a boot reads, in the block size of a boot bundle."""
    if options.profile is not None:
        profile = load_profile(options.profile)
        if profile.size != size:
            raise InvalidDocumentError("boot profile", "it is of an image of another size")
        return blocks_of(profile, BOOT_BLOCK)
    blocks: dict[int, None] = {}
    for offset, length in load_reads(options.boot) if options.boot is not None else ():
        if length > 0 and 0 <= offset < size:
            last = (min(offset + length, size) - 1) // BOOT_BLOCK
            blocks.update(dict.fromkeys(range(offset // BOOT_BLOCK, last + 1)))
    return tuple(blocks)


def _signer(path: Path | None) -> Callable[[bytes], bytes] | None:
    if path is None:
        return None
    try:
        return load_signing_key(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


async def _unpack(options: argparse.Namespace) -> int:
    async with opened(options) as disk:
        await write_raw_file(options, disk, options.file, "unpacking")
        size = disk.info.size
    print_result(options, {"file": str(options.file), "size": size}, "")
    return 0


async def _prune(options: argparse.Namespace) -> int:
    removed = await _remove_unneeded(options.folder, options.dry_run)
    print_result(options, removed, _pruned_text(removed))
    return 0


async def _remove_unneeded(folder: Path, is_dry_run: bool) -> dict[str, object]:
    files = await unneeded_files(folder)
    freed = sum(path.stat().st_size for path in files)
    if not is_dry_run:
        for path in files:
            path.unlink()
    names = [path.relative_to(folder).as_posix() for path in files]
    return {"files": names, "bytes": freed, "dry_run": is_dry_run}


def _pruned_text(pruned: dict[str, object]) -> str:
    files, freed = pruned["files"], pruned["bytes"]
    assert isinstance(files, list)
    assert isinstance(freed, int)
    said = "would remove" if pruned["dry_run"] else "removed"
    return f"{said} {len(files):,} files, {format_bytes(freed)}"


def is_manifest(source: str, format_name: str | None = None) -> bool:
    """Whether a command's source is the manifest of a prepared image; no request is made."""
    if is_url(source):
        return source.partition("?")[0].endswith(".json") or format_name == PREPARED.name
    if not source.endswith(".json"):
        return False
    path = Path(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return begins_manifest(file.read(1024))


async def verify_manifest(options: argparse.Namespace) -> int:
    """`verify` for a prepared image: checks every file, and the whole content by its version."""
    async with _manifest_layout(options) as layout:
        manifest = layout.manifest
        key = options.digests_key
        if key is not None and not await manifest.is_signed_by(bytes.fromhex(key)):
            raise InvalidDocumentError("manifest", "it is not signed by the key that was given")
        with progress(options, "verifying") as shown:
            found = await check_image(layout, lambda done: shown.update(done, manifest.size))
    text = f"{found.chunks:,} chunks of {format_bytes(found.bytes)} match"
    if found.wrong:
        text = f"{len(found.wrong)} files are missing or damaged, the first is {found.wrong[0]}"
    elif not found.is_whole:
        text = "every file is whole, but together they are not the version that the manifest names"
    result = {"chunks": found.chunks, "wrong": found.wrong, "is_whole": found.is_whole}
    print_result(options, result, text)
    return 0 if found.is_whole else 1


@contextlib.asynccontextmanager
async def _manifest_layout(options: argparse.Namespace) -> AsyncIterator[PreparedLayout]:
    """The image of a manifest that a command names; each file is read from where it is."""
    if not is_url(options.source):
        yield open_folder(Path(options.source))
        return
    settings = RemoteSettings(headers=dict(load_headers(options.header)) or None)
    if options.timeout is not None:
        settings = replace(settings, timeout_s=options.timeout)
    async with opened_platform(options) as platform:
        yield await server_layout(options.source, settings, platform)
