"""Prepares Python's memory for the snapshot, once everything is imported. Runs in Pyodide.

`/served/library.zip` is the standard library that the browser can fetch.
"""

import gc
import importlib
import linecache
import re
import sys
import typing
import zipimport
from pathlib import Path
from typing import Any


def use_served_library() -> None:
    """Replaces the library that modules were loaded from by the one that the browser can fetch.

    Its directory is read now: the browser fetches the file when something is imported from it.
    """
    (archive,) = [path for path in sys.path if path.endswith(".zip")]
    Path(archive).write_bytes(Path("/served/library.zip").read_bytes())
    importlib.invalidate_caches()
    importing: Any = zipimport
    importing._zip_directory_cache.clear()
    importer: Any = sys.path_importer_cache[archive]
    importer._get_files()


use_served_library()
linecache.clearcache()
re.purge()
for clear in getattr(typing, "_cleanups", ()):
    clear()
python: Any = sys
python._clear_internal_caches()
gc.collect()
gc.freeze()  # collections then skip the objects that exist at the start
