"""The texts of the page's dialog for saves. Fetched with the rest of it, when it is first used."""

from __future__ import annotations

_FIXED: dict[str, object] = {
    "heading": "Save to a server",
    "intro": "What you wrote to “{overlay}” is sent to that server, and nothing else of this "
    "disk. Nothing is sent before you press a button here.",
    "address": "Address of the saves",
    "addressHint": "Such as https://images.example.org/v1/saves",
    "token": "Access token",
    "tokenHint": "If the server needs one. Forgotten when you leave this page.",
    "passphrase": "Passphrase",
    "passphraseHint": "Optional: encrypts the save before it leaves this browser. Nobody can "
    "replace a lost one. Forgotten when you leave this page.",
    "name": "Name of the save",
    "push": "Save now",
    "list": "Show the saves there",
    "cancel": "Cancel",
    "done": "Close",
    "never": "Nothing was sent yet.",
    "before": "It was sent to “{save}” on {server} before.",
    "pushing": "Saving: {done} of {size}",
    "pushed": "Saved at {time} as generation {generation} of “{save}”: {sent} sent.",
    "unchanged": "Nothing changed since generation {generation} of “{save}”.",
    "cancelled": "Stopped. The next push goes on from there.",
    "listing": "Asking the server…",
    "listed": "Saves on {server}",
    "none": "No saves there.",
    "row": "{time} · {size} · {device}",
    "fits": "Fits this image.",
    "other": "Made over another version of the image, or another image: {image}.",
    "generation": "Generation {generation}: {time} · {size} · {device}",
    "generations": "Earlier generations",
    "noEarlier": "None are kept.",
    "take": "Take into a new overlay",
    "look": "Look at it",
    "overlayName": "Name of the new overlay",
    "takeTitle": "Take “{save}”?",
    "takeText": "It is downloaded into a new overlay, which is opened then. “{overlay}” stays "
    "as it is, in the list of disks.",
    "takeYes": "Take it",
    "taking": "Downloading: {done} of {size}",
    "lookTitle": "Look at “{save}”?",
    "lookText": "The disk that is open is closed, and the save is opened over the same image, "
    "to be read only. “{overlay}” stays as it is.",
    "lookYes": "Look",
    "conflictTitle": "Another device has saved since",
    "conflict": "There: generation {theirsGeneration}, {theirsTime}, by {theirsDevice}. Here: "
    "based on generation {mineGeneration}, {mineTime}, {mineDevice}. Nothing was changed on "
    "either side.",
    "noTime": "no time known",
    "keepMine": "Keep mine as a new save",
    "keepTitle": "Keep mine as a new save",
    "keepText": "“{save}” stays as the other device left it.",
    "keepYes": "Save",
    "takeTheirs": "Take theirs",
    "lookTheirs": "Look at theirs",
    "movedTitle": "The image has a new version",
    "moved": "“{overlay}” fits the version before. It is kept as it is, and never used with "
    "other bytes.",
    "planMove": "It can be moved to the new version: nothing changed that it depends on. "
    "{updated} of the image that it never wrote to will be those of the new version.",
    "planCurrent": "The version that it fits can be read: open it again.",
    "planStuck": {
        "size": "It cannot be moved: the new version has another size.",
        "no-digests": "Whether it can be moved is not known: there are no digests of both "
        "versions.",
        "needed": "It cannot be moved: {needed} of the image changed that it depends on.",
    },
    "planImage": "A local image can be made of it: all of its version is here, or unchanged.",
    "planMissing": "No local image can be made of it: {missing} of its version are neither "
    "here nor on the server: {ranges}.",
    "planElse": "Where the server has the version before under another address, open that "
    "one. The overlay can be exported from the list of disks.",
    "closeFirstTitle": "Close the disk to see what can be done?",
    "closeFirstText": "“{overlay}” is open over the version before. It is closed while the two "
    "versions are compared. Nothing in it changes.",
    "closeFirstYes": "Close it",
    "digestsText": "Digest lists of both versions tell whether it can be moved. They have to come "
    "from whoever publishes the image: nothing here can prove that they are of these versions.",
    "digestsBefore": "Digest list of the version before",
    "digestsPresent": "Digest list of the new version",
    "compare": "Compare",
    "move": "Move it",
    "makeImage": "Make a local image",
    "imageName": "Name of the image",
    "imageText": "The new image has what you wrote over the version before. The overlay stays.",
    "imageYes": "Make it",
    "movedDone": "It was moved. Open the image with it again.",
    "imageDone": "“{name}” is in the list of disks.",
}


def save_texts() -> dict[str, object]:
    """All of them, by name."""
    return dict(_FIXED)
