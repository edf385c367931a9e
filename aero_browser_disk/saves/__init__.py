"""Saves: overlays on a server, pushed from one device and pulled on another.

- `save_server`: a server and what is there. `disk_save`: an open overlay and its save.

What both are made of: `save_requests` sends the requests; `save_manifest`, `save_map` and
`packing` are the format; `content_index`, `content_scan` and `push_record` find what changed;
`chunk_upload` sends it; `saved_content` and `pull` read it; `sealing` is the place of encryption.
"""

from __future__ import annotations

from .disk_save import DiskSave, Pushed
from .save_server import SaveGeneration, SaveInfo, SaveServer, SaveShare

__all__ = ["DiskSave", "Pushed", "SaveGeneration", "SaveInfo", "SaveServer", "SaveShare"]
