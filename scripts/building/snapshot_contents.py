"""Imports the modules for the memory snapshot. Runs in Pyodide, when the snapshot is made.

The files of the wheel are not in a snapshot, so it contains every module that the worker may need.
"""

import importlib
import pkgutil
import sys

# Not for the worker: the service, test equipment, the command line, notebooks, CPython's own files
# and sockets. They bring in much of the standard library: 6 of 30 MiB when they were in.
LEFT_OUT = (
    "service",
    "testing",
    "cli",
    "integrations",
    "sync",
    "file_systems.waiting_files",
    "notebook",
    "platform.background_loop",
    "platform.cpython",
    "platform.daemon_threads",
    "platform.ada",
    "__main__",
)
# Imported inside functions of the standard library and of ours.
LAZY = (
    "asyncio.timeouts",
    "asyncio.taskgroups",
    "traceback",
    "linecache",
    "json",
    "zlib",
    "pyodide.ffi",
)


def import_all(package: str) -> None:
    """Imports a package and its modules, except those that are left out."""
    importlib.import_module(package)
    for found in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
        if found.name.removeprefix("aero_browser_disk.") in LEFT_OUT:
            continue
        if found.ispkg:
            import_all(found.name)
        else:
            importlib.import_module(found.name)


import_all("aero_browser_disk")
for name in LAZY:
    importlib.import_module(name)
