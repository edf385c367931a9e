"""Saves: overlays on a server, pushed from one device and pulled on another.

- `save_server`: a server and what is there. `disk_save`: an open overlay and its save;
  `background_push`: pushes by themselves.

- `rebase`: moves an overlay to a new version of its image. `base_changes` finds what changed,
  `dependence` what of it matters, and `pinned_base` reads the old version from what is cached.

What saves are made of: `save_requests` sends requests, and `save_documents` reads responses;
`save_manifest`, `save_map` and `packing` are the format, and `encryption` encrypts it if asked;
`content_index`, `content_scan` and `push_record` find what changed; `chunk_upload` sends it;
`saved_content`, `pull`, `chunk_cache` and `save_layer` read it.
"""

from __future__ import annotations

from .background_push import BackgroundPush
from .disk_save import DiskSave
from .pushed import Pushed
from .rebase import Rebase, RebasePlan
from .save_documents import SaveGeneration, SaveInfo, SaveShare
from .save_layer import SaveLayer
from .save_server import SaveServer

__all__ = [
    "BackgroundPush",
    "DiskSave",
    "Pushed",
    "Rebase",
    "RebasePlan",
    "SaveGeneration",
    "SaveInfo",
    "SaveLayer",
    "SaveServer",
    "SaveShare",
]
