"""The texts of the page's library, in one place so that they can be translated."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {"image": "disk", "cd": "CD", "overlay": "overlay", "cache": "cache of a remote image"}
STATES = {
    "creating": "being made",
    "importing": "import not finished",
    "recovered": "its name was lost: rename it",
}
DAMAGED = "damaged: {reason}"
IS_OPEN = "open"
USED_AT = "used {date}"
FROM_FORMAT = "was {format}"
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
    "exportChanges": "Save changes",
    "importChanges": "Load changes",
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


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done, and the words that agree to it."""

    title: str
    text: str
    yes: str


ASKS = {
    "create": Question(
        title="A new blank disk",
        text="It takes next to no room until something is written to it.",
        yes="Make it",
    ),
    "overlay": Question(
        title="A new overlay over {name}",
        text="It takes what is written from now on; {name} stays as it is. It opens at once.",
        yes="Open it",
    ),
    "export": Question(
        title="Export {name}",
        text="The whole disk as a file. Parts that were never written go quickly.",
        yes="Export",
    ),
    "rename": Question(
        title="Rename {name}",
        text="",
        yes="Rename",
    ),
    "duplicate": Question(
        title="Duplicate {name}",
        text="The copy takes as much room as the original.",
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
        text="A larger disk has zeros at its end. A smaller one is refused while something "
        "is written beyond its end. {loss}",
        yes="Resize",
    ),
    "pad": Question(
        title="Add zeros at its end?",
        text="Its size is no multiple of 512 bytes, the size of a sector, so it may have been cut "
        "off. If it is as it should be, zeros can be added at its end.",
        yes="Add zeros",
    ),
    "cut": Question(
        title="Cut off what is there?",
        text="Something is written beyond the new end. It is lost for good.",
        yes="Cut it off",
    ),
    "dropOverlays": Question(
        title="Lose its overlays?",
        text="Overlays lie over this disk and hold what differs from it as it is now. They, and "
        "all that was written to them, are lost for good.",
        yes="Lose them",
    ),
    "commit": Question(
        title="Commit {name} into {base}?",
        text="What {name} holds is written to {base} for good, and {name} is empty "
        "afterwards. Make a copy of {base} first if you may want it back.",
        yes="Commit",
    ),
    "reset": Question(
        title="Reset {name}?",
        text="Everything written to it is lost for good: {size}. The disk beneath is not touched.",
        yes="Reset it",
    ),
    "remove": Question(
        title="Delete {name}?",
        text="The disk and all that is on it are lost for good: {size}. {loss}",
        yes="Delete it",
    ),
    "removeOverlay": Question(
        title="Delete {name}?",
        text="Everything written to it is lost for good: {size}. The disk beneath is not "
        "touched. {loss}",
        yes="Delete it",
    ),
    "forget": Question(
        title="Delete the cache?",
        text="{size} of {name} are downloaded again when they are needed. Nothing that you "
        "made is lost.",
        yes="Delete it",
    ),
    "prune": Question(
        title="Free some space?",
        text="These caches go, {size} in all, and are downloaded again when they are needed:"
        " {names}. Your disks and overlays stay.",
        yes="Delete the caches",
    ),
}
LOSES_OVERLAYS = "Lost with it: {names}."
PRUNE_NOTHING = "There is nothing to free: no cache is kept that could go."

NAME_FIELD = "Name"
RECOVERED_NAME = "{name} (recovered)"
SIZE_FIELD = "Size"
SIZE_HINT = "Such as 512 MiB or 40 GiB."
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
}

RECOVERED = {
    "title": "Not all could be saved",
    "lost": "{bytes} bytes in {ranges} places could not be read, and are zeros now.",
    "earlier": "The last changes could not be read: the disk is as it was before them.",
}
"""What recovering could not save; the page fills in the numbers."""
