"""Imports what the memory snapshot is to hold. Runs in Pyodide, once, when the snapshot is made.

The files of the wheel are not in a snapshot, so it holds every module that the worker can need.
"""

import gc
import importlib
import pkgutil

import aero_browser_disk

# Not for the worker: the service, test equipment, the command line, notebooks, CPython's own files
# and sockets. They bring in much of the standard library: 6 of 30 MiB when they were in.
LEFT_OUT = (
    "service",
    "testing",
    "cli",
    "cli_commands",
    "notebook",
    "platform.host",
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


def is_left_out(name: str) -> bool:
    """Whether a module of the package is not for the worker."""
    inner = name.removeprefix("aero_browser_disk.")
    return any(inner == left or inner.startswith(f"{left}.") for left in LEFT_OUT)


def import_all() -> None:
    """Imports the modules."""
    prefix = f"{aero_browser_disk.__name__}."
    for found in pkgutil.walk_packages(aero_browser_disk.__path__, prefix):
        if not is_left_out(found.name):
            importlib.import_module(found.name)
    for name in LAZY:
        importlib.import_module(name)
    importlib.invalidate_caches()
    gc.collect()
    gc.freeze()  # what is there at the start is not looked through at each collection


import_all()
