"""Test equipment for this package and for programs that use it. Standard library only.

- `image_server`: a real HTTP server for images that counts, shapes and breaks its responses; also a
  command, `python -m aero_browser_disk.testing.image_server`, steered over HTTP.
- `behaviour`: the faults and shapes that it knows.
- `synthetic_image`: images of any size whose bytes cost nothing to keep.
- `site_server`: a static server for a page, with or without cross-origin isolation.
- `failing_files`: files that fail, tear and forget as real ones do when the power goes.
- `disk_suite`, `storage_suite`, `http_suite`: what every implementation of a protocol must pass.
- `suite_runner`: runs a suite where pytest cannot, such as in a browser's worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .disk_suite import DiskSuite
    from .failing_files import FailingStorage, PowerCutError
    from .http_suite import HTTP_SUITE_IMAGES, CrossOriginHttpSuite, HttpSuite
    from .image_server import ImageServer
    from .request_log import Request
    from .site_server import SiteServer
    from .storage_suite import StorageSuite
    from .suite_runner import check_names, check_suite, run_suite
    from .synthetic_image import SyntheticImage
    from .writable_disk_suite import WritableDiskSuite

__all__ = [
    "HTTP_SUITE_IMAGES",
    "Behaviour",
    "CrossOriginHttpSuite",
    "DiskSuite",
    "FailingStorage",
    "HttpSuite",
    "ImageServer",
    "PowerCutError",
    "Request",
    "SiteServer",
    "StorageSuite",
    "SyntheticImage",
    "WritableDiskSuite",
    "check_names",
    "check_suite",
    "run_suite",
]

_MODULES = {
    "Behaviour": "behaviour",
    "CrossOriginHttpSuite": "http_suite",
    "DiskSuite": "disk_suite",
    "FailingStorage": "failing_files",
    "HTTP_SUITE_IMAGES": "http_suite",
    "HttpSuite": "http_suite",
    "ImageServer": "image_server",
    "PowerCutError": "failing_files",
    "Request": "request_log",
    "SiteServer": "site_server",
    "StorageSuite": "storage_suite",
    "SyntheticImage": "synthetic_image",
    "WritableDiskSuite": "writable_disk_suite",
    "check_names": "suite_runner",
    "check_suite": "suite_runner",
    "run_suite": "suite_runner",
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: `python -m` warns about a module that its package has imported, and a
    # suite that runs in Pyodide needs no servers.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
