"""The texts of the page's library, in one place so that they can be translated."""

from __future__ import annotations

from .question import Question

KINDS = {"image": "disk", "cd": "CD", "overlay": "overlay", "cache": "cache of a remote image"}
STATES = {
    "creating": "being created",
    "importing": "import incomplete",
    "recovered": "its name was lost: rename it",
}
DAMAGED = "damaged: {reason}"
IS_OPEN = "open"
USED_AT = "used {date}"
FROM_FORMAT = "from {format}"
USED = "{size} used"
IMPORTED = "{percent} imported"
USAGE = {
    "images": "Disks {size}",
    "overlays": "Overlays {size}",
    "caches": "Caches {size}",
    "free": "{size} free",
}

ACTIONS = {
    "open": "Open",
    "openOverlay": "Open",
    "use": "Use the address",
    "useOverlay": "Use the address",
    "overlay": "New overlay",
    "export": "Export",
    "exportOverlay": "Export",
    "exportChanges": "Export overlay",
    "importChanges": "Import overlay",
    "rename": "Rename",
    "duplicate": "Duplicate",
    "recover": "Recover",
    "resize": "Resize",
    "commit": "Commit",
    "reset": "Reset",
    "remove": "Delete",
    "forget": "Delete",
    "continue": "Continue",
}


ASKS = {
    "create": Question(
        title="New blank disk",
        text="It takes almost no space until something is written to it.",
        yes="Create",
    ),
    "overlay": Question(
        title="New overlay over {name}",
        text="Writes go to the overlay; {name} is not changed. It opens at once.",
        yes="Create and open",
    ),
    "export": Question(
        title="Export {name}",
        text="The whole disk as a file. Parts that were never written are quick.",
        yes="Export",
    ),
    "rename": Question(
        title="Rename {name}",
        text="",
        yes="Rename",
    ),
    "duplicate": Question(
        title="Duplicate {name}",
        text="The copy takes as much space as the original.",
        yes="Duplicate",
    ),
    "recover": Question(
        title="Recover {name}",
        text="{name} is damaged. What is intact of it is saved under another name; {name} is not "
        "changed.",
        yes="Recover",
    ),
    "resize": Question(
        title="Resize {name}",
        text="A larger disk gets zeros at its end. If data lies beyond a smaller size, you are "
        "asked first. {loss}",
        yes="Resize",
    ),
    "pad": Question(
        title="Add zeros at its end?",
        text="Its size is not a multiple of 512 bytes, the size of a sector, so it may be "
        "truncated. If it is complete, zeros can be added at its end.",
        yes="Add zeros",
    ),
    "media": Question(
        title="Import it as a CD or as a disk?",
        text="The file is the image of a CD and of a disk as well. A CD is read-only; what runs "
        "from a disk can write to it.",
        yes="Import",
    ),
    "cut": Question(
        title="Cut off data?",
        text="There is data beyond the new end. It will be permanently lost.",
        yes="Cut off",
    ),
    "dropOverlays": Question(
        title="Delete its overlays?",
        text="Overlays depend on this disk as it is now. They and everything written to them "
        "will be permanently lost.",
        yes="Delete them",
    ),
    "commit": Question(
        title="Commit {name} into {base}?",
        text="The changes in {name} are permanently written to {base}, and {name} is empty "
        "afterwards. Duplicate {base} first if you may want it back.",
        yes="Commit",
    ),
    "reset": Question(
        title="Reset {name}?",
        text="Everything written to it will be permanently lost: {size}. The base disk is not "
        "changed.",
        yes="Reset",
    ),
    "remove": Question(
        title="Delete {name}?",
        text="The disk and everything on it will be permanently lost: {size}. {loss}",
        yes="Delete",
    ),
    "removeOverlay": Question(
        title="Delete {name}?",
        text="Everything written to it will be permanently lost: {size}. The base disk is not "
        "changed. {loss}",
        yes="Delete",
    ),
    "removeMachine": Question(
        title="Delete the saved machine?",
        text="What is open in it will be lost. Its disk is not changed.",
        yes="Delete",
    ),
    "forget": Question(
        title="Delete the cache?",
        text="{size} of {name} will be downloaded again when needed. Nothing that you made is "
        "lost.",
        yes="Delete",
    ),
    "prune": Question(
        title="Free some space?",
        text="These caches will be deleted, {size} in all, and downloaded again when needed: "
        "{names}. Your disks and overlays stay.",
        yes="Delete the caches",
    ),
}
LOSES_OVERLAYS = "These overlays will be lost too: {names}."
PRUNE_NOTHING = "Nothing to free: there are no unused caches."

NAME_FIELD = "Name"
RECOVERED_NAME = "{name} (recovered)"
SIZE_FIELD = "Size"
SIZE_HINT = "For example 512 MiB or 40 GiB."
MEDIA_FIELD = "Import as"
MEDIA = {"cd": "CD, read-only", "disk": "Disk, read and write"}
COMPRESS_FIELD = "File"
COMPRESSIONS = {
    "": "Raw, as it is",
    "gzip": "Compressed with gzip",
    "zstd": "Compressed with Zstandard",
}

PROGRESS = {
    "import": "Importing {name}: {done} of {size}",
    "export": "Exporting {name}: {done} of {size}",
    "duplicate": "Copying {name}: {done} of {size}",
    "recover": "Recovering {name}: {done} of {size}",
    "commit": "Committing {name}: {done} of {size}",
    "commitFile": "Writing into {name}: {done} of {size}",
    "waiting": "then {name}",
    "rate": "{rate}/s, {left} left",
}

SAVED = {
    "text": "Machine saved {date}",
    "label": "Resume",
    "spoken": "Resume the machine of {name}",
    "gone": "A disk that is no longer here",
    "again": "Its cache was deleted: the image is opened again first.",
    "lost": "Its disk was deleted, so it cannot be resumed.",
    "remove": "Delete",
    "removeSpoken": "Delete the machine of {name}",
}
"""A machine that was saved for a disk; the page fills in the time."""

COMMIT_CUT = {
    "title": "{name} is not committed",
    "text": "All of it is still there. A part is already in the disk below it: commit it again "
    "before you use that disk by itself.",
}
"""A commit that was cancelled; the page fills in the name."""

RECOVERED = {
    "title": "Not all could be saved",
    "lost": "{bytes} bytes could not be read, and are zeros now. Damaged ranges: {ranges}.",
    "earlier": "The last changes could not be read: the disk is as it was before them.",
}
"""What recovering could not save; the page fills in the numbers."""
