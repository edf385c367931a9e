"""Prepares Python's memory for the snapshot, once everything is imported. Runs in Pyodide.

`/served/library.zip` is the standard library that the browser can fetch, `/served/later.zip` the
modules of this package that are not in the snapshot.
"""

import gc
import importlib
import linecache
import pkgutil
import re
import sys
import typing
import zipimport
from pathlib import Path
from typing import Any

LATER = "/lib/aero-browser-disk-later.zip"  # python.mjs makes this file


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


def use_later_modules() -> None:
    """Makes the packages in the snapshot find their other modules in the archive."""
    Path(LATER).write_bytes(Path("/served/later.zip").read_bytes())
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] == "aero_browser_disk" and hasattr(module, "__path__"):
            folder = f"{LATER}/{name.replace('.', '/')}"
            module.__path__.append(folder)
            importer: Any = pkgutil.get_importer(folder)
            importer._get_files()


use_served_library()
use_later_modules()
linecache.clearcache()
re.purge()
for clear in getattr(typing, "_cleanups", ()):
    clear()
python: Any = sys
python._clear_internal_caches()
gc.collect()
gc.freeze()  # collections then skip the objects that exist at the start
