"""The texts of the demo page around the panel, in one place so that they can be translated.

`panel_texts` has those of the panel itself. The page's markup carries the fixed ones too, so that
it is readable before a script runs; a test compares the two.
"""

from __future__ import annotations

FIXED: dict[str, object] = {
    "purpose": "Open a disk image of any size, from any web server, and download only the blocks "
    "you touch.",
    "openHeading": "What can I open?",
    "doingHeading": "What is it doing?",
    "insideHeading": "What is inside?",
    "bootHeading": "Does it boot?",
    "remoteHeading": "An image on a web server",
    "libraryHeading": "Disks in this browser",
    "libraryEmpty": "None yet. Drop an image here, choose a file, or make a blank disk. Nothing "
    "leaves this browser.",
    "overlay": "Keep changes in",
    "noOverlay": "nothing: read-only",
    "overlayHint": "The name of an overlay, new or old: it takes what is written, and the image "
    "stays as it is.",
    "settings": "Settings",
    "samples": "Samples",
    "samplesTry": "Open a sample",
    "samplesLoad": "Show the samples",
    "import": "Import a file",
    "create": "New blank disk",
    "prune": "Free some space",
    "cancel": "Cancel",
    "zoom": "Zoom",
    "zoomIn": "Zoom in",
    "zoomOut": "Zoom out",
    "zoomAll": "Whole disk",
    "mapEmpty": "Each square will be a piece of the disk.",
    "mapLabel": "Map of the disk",
    "mapKeys": "Arrow keys go from square to square, plus and minus zoom, Escape shows the whole "
    "disk.",
    "timeline": "The last minute",
    "saveTrace": "Save the trace",
    "saveProfile": "Save the boot profile",
    "browse": "Browse files",
    "saving": "Reading {name}: {percent} %",
    "folders": "Folders",
    "readHeading": "Bytes at an offset",
    "boot": "Boot it",
    "guide": "Guide and API reference",
    "footer": "Nothing is sent anywhere but to the host of the image that you open. What is read "
    "stays in this browser until you clear it.",
    "settingsHeading": "Settings",
    "settingsHint": "For the next image that is opened. Kept in this browser.",
    "integrity": "Integrity",
    "integrityHint": "Every answer is checked against the version of the image in any case. With "
    "a digest list (a file that “aero-disk-service digest” makes) each block is proved before it "
    "is kept or read. The list is not remembered.",
    "digestsChoose": "Choose a digest list",
    "digestsRemove": "Do without {name}",
    "done": "Done",
    "reset": "Reset to defaults",
    "lacks": {
        "isolation": "This page is not cross-origin isolated, so there is no shared memory: reads "
        "go by messages, which is slower.",
        "save": "This browser cannot write to a file that you choose: what is exported is "
        "downloaded instead.",
    },
}

# ── the map ───────────────────────────────────────────────────────────────────────────────────────

LEGEND = {
    "missing": "not here",
    "held": "kept here",
    "fetched": "being fetched",
    "read": "just read",
    "profile": "in the boot profile",
}
LEGEND_LOCAL = LEGEND | {"missing": "empty", "held": "written"}
MAP_NOTHING = "No disk is open"
MAP_TITLE = "{name}, {size}"
MAP_HINT = "One square is {cell}."
MAP_PART = "{start} to {stop}, one square is {cell}."
CELL = "{start} – {stop}: {states}"
CELL_STATES = {
    "fetched": "being fetched",
    "read": "just read",
    "missing": "not here",
    "partly": "kept in part",
    "held": "kept here",
    "profile": "in the boot profile",
}

CELL_STATES_LOCAL = {"missing": "empty", "partly": "written in part", "held": "written"}

# ── the timeline ──────────────────────────────────────────────────────────────────────────────────

LANES = {"reads": "Reads", "requests": "Requests", "downloaded": "Downloaded"}
COUNT_RATE = "{count:,}/s"
BYTES_RATE = "{size}/s"

# ── the whole image ───────────────────────────────────────────────────────────────────────────────

KEEP_ALL = "Download all of it"
KEEP_ALL_PAUSE = "Pause the download"
KEEP_ALL_DONE = "All of it is here"

# ── samples ───────────────────────────────────────────────────────────────────────────────────────

SAMPLES_OFF = (
    "{host} has some. To open one turns “Use remote image” on: that host sees your address, what "
    "you read and when."
)
SAMPLES_ON = "{host} has some. It is asked for its list when you press the button."
SAMPLES_SHOWN = "From {host}. Press one to open it."
SAMPLES_NONE = "{host} has none."

# ── files ─────────────────────────────────────────────────────────────────────────────────────────

FILES_CLOSED = "Open a disk to look into its partitions and folders."
FILES_READY = "Only the blocks that hold the folders you open are read."
FILES_COLUMNS = ("Name", "Size", "Changed")
FILES_EMPTY = "This folder is empty."
FILES_NONE = "No partition or file system that can be read was found on this disk."
FILES_COUNT = "{entries} here."
FILES_MORE = "The first {entries}; there are more."
FILES_TOP = "Disk"
FILES_VOLUME = "Partition {name}"
FILES_WHERE = "partition {volume}, {kind}"
DOWNLOAD = "Download {name}"

# ── boot ──────────────────────────────────────────────────────────────────────────────────────────

BOOT_CLOSED = "Open a disk to start a PC with it, here in the page."
BOOT_READY = "Starts v86, an emulated PC, with this disk. What it writes goes to the overlay."
BOOT_READ_ONLY = (
    "Starts v86, an emulated PC, with this disk. It is open read-only: what the PC writes is "
    "forgotten when it stops."
)

# ── the doctor ────────────────────────────────────────────────────────────────────────────────────

DIAGNOSE = "Check this address"
FIND_OUT_WHY = "Find out why"
DIAGNOSIS_GOOD = "This address can be streamed."
DIAGNOSIS_BAD = "This address cannot be streamed."
DIAGNOSIS_COST = "Found out with {requests}, {bytes} downloaded."
DIAGNOSIS_RIGHT = "As it should be: {count}"
DIAGNOSIS_REMEDY = "What to add to the server"
LEVELS = {"fails": "Prevents it", "note": "Could be better", "ok": "Right"}
SERVERS = {
    "nginx": "nginx",
    "s3": "S3 (CORS configuration)",
    "cloudfront": "CloudFront",
    "caddy": "Caddy",
    "service": "aero-disk-service",
}
