"""The names that programs may import. Who changes one tells users so in the change log."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib

import pytest

import aero_browser_disk
from building import api_reference
from lib.project import ROOT, WEB
from support.readme import blocks

PUBLIC = {
    "aero_browser_disk": """
        BootProfile Diagnosis DigestList Disk DiskError DiskFile DiskInfo DiskStats
        ExportFile Finding RenewedAccess Library LibraryDisk LibraryEntry LibraryUsage Notice
        Platform Recovery RemoteOptions RetryPolicy StreamingDisk __version__ current_platform
        diagnose errors cpython_platform open_disk
    """,
    "aero_browser_disk.errors": """
        BaseChangedError BrokenResponseError CannotWaitError DamagedDiskError
        DamagedFileSystemError DamagedImageError DataCutError DiskClosedError DiskError
        EmptyImageError
        HasOverlaysError HttpStatusError HybridImageError ImageBusyError ImageChangedError
        IntegrityError
        InvalidDocumentError InvalidOptionError InvalidResponseError InvalidUrlError
        MissingPartError NameTakenError NetworkError NoSuchFileError NoSuchImageError OddSizeError
        OutOfRangeError RangeNotSupportedError ReadOnlyError RecoveredOverlayError
        RemoteImagesDisabledError
        RenewalError SignaturesUnavailableError SourceChangedError SourceError StorageBusyError
        StorageError
        StorageFullError StorageUnavailableError UnfinishedImportError
        UnknownFileSystemError UnreadableFileError UnreadableHeaderError
        UnreadableImageError UnsupportedImageError UnversionedBaseError
        DamagedSaveError NoSuchSaveError SaveBaseError SaveConflictError SaveRefusedError
        SaveTooLargeError UnreadableSaveError RebaseRefusedError MissingBaseError
        SaveKeyError EncryptionUnavailableError
    """,
    "aero_browser_disk.file_systems": (
        "AsyncFilePath AsyncImageFile BUFFER_SIZE DiskFiles Entry Extent ImageFile Listing "
        "NOT_A_FILE PureFilePath"
    ),
    "aero_browser_disk.formats": (
        "FORMAT_NAMES HEAD_LENGTH ImageFormat ImageLayout LayoutDisk LayoutReader Segment "
        "TAIL_LENGTH Treatment data_ranges open_layout recognise segments"
    ),
    "aero_browser_disk.integrations.obspec": "AsyncFileRanges FileRanges",
    "aero_browser_disk.notebook": "NotebookBar Progress fetch_all progress",
    "aero_browser_disk.platform": """
        Channel Channels Clock File FileFacts HttpClient HttpResponse Lock Locks
        MemoryChannels MemoryLocks MemoryStorage Platform Storage StorageEstimate
        cache_folder current_platform data_folder cpython_platform
    """,
    "aero_browser_disk.saves": """
        BackgroundPush DiskSave Pushed Rebase RebasePlan SaveGeneration SaveInfo SaveLayer
        SaveServer SaveShare
    """,
    "aero_browser_disk.sync": "Disk FilePath Files Library open_disk open_library",
    "aero_browser_disk.testing": """
        Behaviour CrossOriginHttpSuite DiskSuite FailingStorage HTTP_SUITE_IMAGES HttpSuite
        ImageServer PowerCutError Request SiteServer StorageSuite SyntheticImage
        WritableDiskSuite check_names check_suite run_suite
    """,
}


def names_of(module: str) -> list[str]:
    found = importlib.import_module(module)
    if module == "aero_browser_disk.errors":  # a family without a list
        return sorted(n for n, kind in vars(found).items() if isinstance(kind, type))
    return sorted(found.__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_these(module):
    assert names_of(module) == sorted(PUBLIC[module].split())


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_resolve(module):
    for name in names_of(module):
        assert getattr(importlib.import_module(module), name) is not None


def test_the_reference_is_of_what_is_public():
    assert set(api_reference.MODULES) == set(PUBLIC)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_what_the_pages_import_is_public(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aero_browser_disk"):
            assert {alias.name for alias in node.names} <= set(PUBLIC[node.module].split())
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert {n for n in names if n.startswith("aero_browser_disk")} <= set(PUBLIC)


def test_the_version_is_the_same_everywhere():
    version = aero_browser_disk.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert json.loads((WEB / "package.json").read_bytes())["version"] == version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]  # hatchling reads it from the package


def test_importing_the_package_loads_nothing_that_it_rarely_needs():
    rare = {"http.client", "http.server", "aero_browser_disk.testing", "aero_browser_disk.cli"}
    code = "import sys, aero_browser_disk; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not rare & set(done.stdout.split())
