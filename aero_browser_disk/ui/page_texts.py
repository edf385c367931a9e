"""The texts of the demo page around the panel, in one place so that they can be translated.

`panel_texts` has those of the panel itself. The page's markup carries the fixed ones too, so that
it is readable before a script runs; a test compares the two.
"""

from __future__ import annotations

from .question import Question

FIXED: dict[str, object] = {
    "purpose": "Open a disk image of any size from any web server, and download only the "
    "blocks you read.",
    "openHeading": "Open a disk",
    "workbench": "The open disk",
    "tabs": {
        "machine": "Machine",
        "files": "Files",
        "bytes": "Bytes",
        "activity": "Activity",
        "details": "Details",
    },
    "kept": "Where it is kept",
    "keeping": "Downloading the whole image",
    "keepingRate": "Downloading the whole image: {rate}/s, {left} left",
    "keepPause": "Pause",
    "remoteHeading": "An image on a web server",
    "libraryHeading": "Disks in this browser",
    "libraryEmpty": "None yet.",
    "drop": "Drop a disk image anywhere on this page. Nothing leaves this browser.",
    "overlay": "Save changes to",
    "noOverlay": "None (read-only)",
    "overlayHint": "The name of a new or existing overlay. Writes go to it; the image is not "
    "changed.",
    "saveTo": "Save to…",
    "outdated": "See what can be done",
    "settings": "Settings",
    "samples": "Samples",
    "samplesTry": "Open a sample",
    "samplesLoad": "Show the samples",
    "sampleBoot": "Boot",
    "import": "Import a file",
    "useFile": "Use a file where it is",
    "useFileAgain": "Use {name} again",
    "commitFile": "Write changes into the file…",
    "fileWritten": "The changes are in {name}",
    "fileChangedTitle": "{name} has changed since it was used here",
    "fileChanged": "Its size or the time of its last change is another one. An overlay over it as "
    "it was does not fit: reset it, or choose a new name for one.",
    "create": "New blank disk",
    "prune": "Free some space",
    "cancel": "Cancel",
    "zoom": "Zoom",
    "zoomIn": "Zoom in",
    "zoomOut": "Zoom out",
    "zoomAll": "Whole disk",
    "mapEmpty": "Each square will be a part of the disk.",
    "mapLabel": "Map of the disk",
    "mapKeys": "Arrow keys move from square to square, plus and minus zoom, Escape shows the "
    "whole disk.",
    "timeline": "The last minute",
    "saveTrace": "Save the trace",
    "saveProfile": "Save the boot profile",
    "browse": "Browse files",
    "checking": "Checking the address: {done} of {size}",
    "saving": "Reading {name}: {percent} %",
    "folders": "Folders",
    "readHeading": "Bytes at an offset",
    "boot": "Boot this disk",
    "resume": "Resume",
    "machineCopy": "Copy the text on the screen",
    "machinePaste": "Paste text as keys",
    "machineScreenshot": "Save a picture of the screen",
    "saved": "A machine of this disk was saved {date}.",
    "invite": "This link is to an image of {host}. Opening it turns on “Use remote image”: that "
    "server then sees your IP address, what you read, and when.",
    "inviteOpen": "Open and boot",
    "share": "Share",
    "dosbox": "Run in DOSBox",
    "dosboxHint": "For disks with DOS programs that do not boot by themselves.",
    "dosboxMachine": {
        "screen": "Screen of DOSBox. Keys go to it while it has the focus; Ctrl+Alt+G leaves it.",
        "controls": "DOSBox",
        "log": "What DOSBox has printed",
        "starting": "Starting DOSBox…",
        "running": "DOSBox is running.",
        "paused": "DOSBox is paused.",
        "failed": "DOSBox is stopped: drive {letter} failed.",
        "pause": "Pause",
        "resume": "Resume",
        "keys": "Use the keyboard",
        "fullscreen": "Full screen",
        "stop": "Switch off",
        "retry": "Try again",
        "notStarted": "DOSBox did not start",
        "notSaved": "What DOSBox has written could not be saved",
        "missing": "{url} did not load. DOSBox is not part of this page, as its licence is the "
        "GPL-2.0: put the folder “dist” of npm’s package “emulators” there.",
    },
    "footer": "Nothing is sent anywhere but to the server of the image that you open. "
    "Downloaded blocks stay in this browser until you clear them.",
    "guide": "Guide",
    "reference": "API reference",
    "source": "Source",
    "settingsHeading": "Settings",
    "settingsHint": "They apply to the next image you open, and are remembered in this browser.",
    "integrity": "Integrity",
    "integrityHint": "Every response is always checked against the version of the image. With "
    "a digest list (a file made by “aero-disk-service digest”), each block is also verified "
    "before it is cached or read. The list is not remembered.",
    "digestsChoose": "Choose a digest list",
    "digestsRemove": "Remove {name}",
    "done": "Done",
    "reset": "Reset to defaults",
    "lacks": {
        "isolation": "This page is not cross-origin isolated, so there is no shared memory: "
        "reads use messages, which is slower.",
        "save": "This browser cannot write to a file that you choose: exports are downloaded "
        "instead.",
    },
}

# ── the map ───────────────────────────────────────────────────────────────────────────────────────

LEGEND = {
    "missing": "not cached",
    "stored": "cached",
    "fetched": "being fetched",
    "read": "just read",
    "profile": "in the boot profile",
}
LEGEND_LOCAL = LEGEND | {"missing": "empty", "stored": "written"}
MAP_NOTHING = "No disk is open"
MAP_TITLE = "{name}, {size}"
MAP_HINT = "One square is {cell}."
MAP_PART = "{start} to {stop}, one square is {cell}."
CELL = "{start} – {stop}: {states}"
CELL_STATES = {
    "fetched": "being fetched",
    "read": "just read",
    "missing": "not cached",
    "partly": "partly cached",
    "stored": "cached",
    "profile": "in the boot profile",
}

CELL_STATES_LOCAL = {"missing": "empty", "partly": "partly written", "stored": "written"}

# ── the timeline ──────────────────────────────────────────────────────────────────────────────────

TRACKS = {"reads": "Reads", "requests": "Requests", "downloaded": "Downloaded"}
COUNT_RATE = "{count:,}/s"
BYTES_RATE = "{size}/s"

# ── the whole image ───────────────────────────────────────────────────────────────────────────────

KEEP_ALL = "Download the whole image"
KEEP_ALL_PAUSE = "Pause the download"
KEEP_ALL_DONE = "Fully downloaded"

# ── samples ───────────────────────────────────────────────────────────────────────────────────────

SAMPLES_OFF = (
    "From {host}. Either button turns on “Use remote image”: that server then sees your IP "
    "address, what you read, and when."
)
SAMPLES_ON = "From {host}."
SAMPLES_FAILED = "{host} did not send its list. Press a button to try again."
SAMPLE_BOOT = "Boot {name}"
SAMPLES_SHOWN = "From {host}. Choose one to open it."
SAMPLES_NONE = "{host} has none."

# ── files ─────────────────────────────────────────────────────────────────────────────────────────

FILES_CLOSED = "Open a disk to browse its partitions and folders."
FILES_READY = "Only the blocks of the folders you open are read."
FILES_COLUMNS = ("Name", "Size", "Changed")
FILES_EMPTY = "This folder is empty."
FILES_NONE = "No readable partition or file system was found on this disk."
FILES_COUNT = "{entries} here."
FILES_MORE = "The first {entries} of more."
FILES_TOP = "Disk"
FILES_VOLUME = "Partition {name}"
FILES_WHERE = "partition {volume}, {kind}"
DOWNLOAD = "Download {name}"

# ── boot ──────────────────────────────────────────────────────────────────────────────────────────

BOOT_CLOSED = "Open a disk to boot a PC from it, here in the page."
BOOT_READY = "Starts v86, an emulated PC, from this disk. Its writes go to the overlay."
BOOT_READ_ONLY = (
    "Starts v86, an emulated PC, from this disk. The disk is open read-only: the PC cannot write "
    "to it."
)
NO_BOOT_CODE = (
    "This disk has no boot code, so the PC will find nothing to start. DOSBox runs its programs "
    "if it is a disk of DOS."
)
_LOST = "What is open in it will be lost, as when a PC is unplugged."
_SAVE = "Press “Save and pause” first to resume it later."
_SWITCHED_OFF = f"The machine that runs from it will be switched off. {_LOST} {{stays}}{_SAVE}"
BOOT_STAYS = "What it has written to its disk stays. "
BOOT_DRIVE = Question(
    title="Boot it as a CD or as a disk?",
    text="The image is that of a CD and of a disk as well. A system that does not start from one "
    "may start from the other.",
    yes="Boot",
)
BOOT_DRIVE_FIELD = "Boot as"
BOOT_DRIVES = {"cdrom": "CD", "hda": "Disk"}
BOOT_ASKS = {
    "stop": Question(
        title="Switch the machine off?",
        text=f"{_LOST} {{stays}}{_SAVE}",
        yes="Switch off",
    ),
    "close": Question(
        title="Close {name}?",
        text=_SWITCHED_OFF,
        yes="Switch off and close",
    ),
    "dosbox": Question(
        title="Run {name} in DOSBox?",
        text=_SWITCHED_OFF,
        yes="Switch off and run",
    ),
    "stopDosbox": Question(
        title="Switch DOSBox off?",
        text=f"{_LOST} {{stays}}",
        yes="Switch off",
    ),
    "closeDosbox": Question(
        title="Close {name}?",
        text=f"DOSBox runs from it and will be switched off. {_LOST} {{stays}}",
        yes="Switch off and close",
    ),
    "commitFile": Question(
        title="Write the changes into {name}?",
        text="The browser makes a copy of the file, which takes its place at the end. That needs "
        "as much free space as the file. Until then, and if you cancel, the file stays as it is. "
        "Afterwards its old content is gone, and the overlay is empty.",
        yes="Write",
    ),
    "start": Question(
        title="Boot anew?",
        text="A machine is saved for this disk. It can no longer be resumed once the new one has "
        "written to the disk.",
        yes="Boot",
    ),
}

# ── a link ────────────────────────────────────────────────────────────────────────────────────────

SHARE = Question(
    title="Share {name}",
    text="Who follows this link can open the image in their browser, and boots it. Nothing of what "
    "you wrote or saved is in it.",
    yes="Copy",
)
SHARE_REFUSED = Question(
    title="No link to {name}",
    text="Its address has a user name, a query or a fragment, where secrets are: a link would give "
    "them away.",
    yes="OK",
)
SHARE_LINK = "Link"

# ── the doctor ────────────────────────────────────────────────────────────────────────────────────

DIAGNOSE = "Check this address"
DIAGNOSE_STOP = "Stop the check"
FIND_OUT_WHY = "Find the cause"
DIAGNOSIS_GOOD = "This address can be streamed."
DIAGNOSIS_BAD = "This address cannot be streamed."
DIAGNOSIS_COST = "Checked using {requests}, {bytes} downloaded."
DIAGNOSIS_RIGHT = "Checks passed: {count}"
DIAGNOSIS_REMEDY = "What to add to the server"
LEVELS = {"fails": "Problem", "note": "Warning", "ok": "OK"}
SERVERS = {
    "nginx": "nginx",
    "s3": "S3 (CORS configuration)",
    "cloudfront": "CloudFront",
    "caddy": "Caddy",
    "service": "aero-disk-service",
}
