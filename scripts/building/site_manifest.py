"""The list of a site's files with their digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

MANIFEST = "manifest.json"


def write_manifest(site: Path) -> str:
    """Writes `manifest.json`: `{"build", "files": {path: {"bytes", "sha256"}}}`; returns the build.

    `build` is one digest over everything, so it identifies this state of the site. The manifest
    itself and its compressed siblings are not in it.
    """
    files = {
        path.relative_to(site).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(site.rglob("*"))
        if path.is_file() and path != site / MANIFEST
    }
    build = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    text = json.dumps({"build": build, "files": files}, indent=1)
    (site / MANIFEST).write_text(text + "\n")
    return build
