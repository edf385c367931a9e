"""The page's own views: the library, the files of a disk, the doctor's findings, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.doctor.diagnosis import Diagnosis, Finding
from aero_browser_disk.file_systems import Entry, Listing
from aero_browser_disk.library.catalog import LibraryEntry, LibraryUsage
from aero_browser_disk.remote.image_catalog import CatalogImage
from aero_browser_disk.ui import library_texts
from aero_browser_disk.ui.doctor_view import diagnosis_view
from aero_browser_disk.ui.files_view import MOST_ROWS, files_view
from aero_browser_disk.ui.library_view import library_view, prune_view
from aero_browser_disk.ui.page_view import boot_part, map_part, samples_part, share_part

HOST = "https://disks.example"
USAGE = LibraryUsage(2**30, 2**40, 2**29, 2**20, 2**28)


def plain(view: object) -> Any:
    """The view as the page gets it: plain values only."""
    return json.loads(json.dumps(view))


# ── the library ───────────────────────────────────────────────────────────────────────────────────


def entry(kind: str = "image", name: str = "work", **changes: Any) -> LibraryEntry:
    values: dict[str, Any] = {
        "id": f"{kind}s/{name}",
        "kind": kind,
        "name": name,
        "size": 4 * 2**30,
        "used_bytes": 2**30,
        "version": "v",
        "created_at": 0.0,
        "used_at": 1_700_000_000.0,
        "state": "ready",
        "media": "disk",
        "format": "raw",
        "is_open": False,
    }
    return LibraryEntry(**{**values, **changes})


def actions_of(row: Any) -> list[str]:
    return [action["name"] for action in row["actions"]]


def test_a_disk_says_what_it_is_how_full_and_what_can_be_done() -> None:
    (row,) = plain(library_view([entry()], USAGE))["rows"]

    assert row["facts"] == "disk · 4 GiB · used 2023-11-14"
    assert row["used"] == {"value": 2**30, "max": 4 * 2**30, "text": "1 GiB used"}
    assert actions_of(row) == [
        *("open", "overlay", "importChanges", "export", "rename", "duplicate", "resize", "remove")
    ]


def test_overlays_are_with_what_they_lie_over() -> None:
    image = entry()
    overlay = entry("overlay", "mine", base=image.id, base_name="work")
    (row,) = plain(library_view([overlay, image], USAGE))["rows"]

    (over,) = row["overlays"]
    assert over["name"] == "mine"
    assert actions_of(over) == [
        *("openOverlay", "exportOverlay", "commit", "exportChanges", "reset", "remove")
    ]
    assert plain(library_view([overlay, image], None))["overlays"] == ["mine"]


def test_what_is_damaged_or_lost_its_name_says_so_and_can_be_repaired() -> None:
    damaged = entry(damage="its journal breaks off")
    recovered = entry("image", "recovered-0123", state="recovered")
    (row, found) = plain(library_view([damaged, recovered], USAGE))["rows"]
    assert "damaged: its journal breaks off" in row["facts"]
    assert actions_of(row)[0] == "recover"
    assert row["actions"][0]["ask"]["fields"][0]["value"] == "work (recovered)"
    assert "its name was lost" in found["facts"]
    assert actions_of(found) == ["rename", "remove"]


def test_every_action_that_loses_something_asks_and_says_what() -> None:
    image = entry()
    overlay = entry("overlay", "mine", base=image.id, base_name="work")
    cache = entry("cache", f"{HOST}/x.img")
    (row, cached) = plain(library_view([overlay, image, cache], USAGE))["rows"]
    asks = {
        (name, action["name"]): action["ask"]
        for name, found in (("work", row), ("mine", row["overlays"][0]), ("cache", cached))
        for action in found["actions"]
    }

    lost = asks["work", "remove"]
    assert lost["danger"]
    assert "permanently lost: 1 GiB" in lost["text"]
    assert "These overlays will be lost too: mine." in lost["text"]
    assert "permanently lost: 1 GiB" in asks["mine", "reset"]["text"]
    assert "permanently lost: 1 GiB" in asks["mine", "remove"]["text"]
    assert "permanently" in asks["mine", "commit"]["text"]
    assert "Nothing that you made is lost" in asks["cache", "forget"]["text"]
    assert all(
        ask["danger"]
        for (_, name), ask in asks.items()
        if name in {"remove", "reset", "commit", "forget"}
    )


def test_what_is_open_can_neither_be_changed_nor_opened_again() -> None:
    (row,) = plain(library_view([entry(is_open=True)], USAGE))["rows"]

    assert "open" in row["facts"]
    assert all(action["disabled"] for action in row["actions"] if action["name"] != "export")


def test_a_broken_import_is_continued_or_removed() -> None:
    half = entry(state="importing", done=2**31)
    (row,) = plain(library_view([half], USAGE))["rows"]

    assert actions_of(row) == ["continue", "remove"]
    assert row["used"]["text"] == "50 % imported"


@pytest.mark.parametrize(
    ("name", "actions"),
    [(f"{HOST}/x.img", ["use", "importChanges", "forget"]), (f"{HOST}/x.img?…", ["forget"])],
)
def test_an_address_that_was_opened_can_be_used_again_unless_part_of_it_is_hidden(
    name: str, actions: list[str]
) -> None:
    (row,) = plain(library_view([entry("cache", name)], USAGE))["rows"]

    assert actions_of(row) == actions


def test_an_empty_library_where_nothing_can_be_stored() -> None:
    view = plain(library_view([], None))

    assert (view["rows"], view["usage"]) == ([], "")


def test_usage_is_said_by_kind_and_only_of_what_is_there() -> None:
    assert plain(library_view([], USAGE))["usage"] == (
        "Disks 512 MiB · Overlays 1 MiB · Caches 256 MiB · 1,023 GiB free"
    )
    nothing = LibraryUsage(180, 10 * 2**30, 0, 0, 0)
    assert plain(library_view([], nothing))["usage"] == "9.99 GiB free"


def test_consent_is_asked_for_every_error_that_takes_a_flag() -> None:
    consents = plain(library_view([], USAGE))["consents"]
    flags = {name: consent["flag"] for name, consent in consents.items()}
    assert flags == {
        "OddSizeError": "pad",
        "HybridImageError": "media",
        "DataCutError": "cut",
        "HasOverlaysError": "dropOverlays",
    }


def test_pruning_asks_only_when_something_would_go() -> None:
    assert plain(prune_view([])) == {"ask": None, "text": library_texts.PRUNE_NOTHING}
    ask = plain(prune_view([entry("cache", HOST), entry("cache", "b")]))["ask"]
    assert ask["danger"]
    assert f"2 GiB in all, and downloaded again when needed: {HOST}, b." in ask["text"]


def test_no_text_of_the_library_is_left_unfilled() -> None:
    entries = [
        entry(),
        entry("image", "cd", media="cd", format="iso"),
        entry("overlay", "o", base="images/work", base_name="work"),
        entry("overlay", "p", base="cache/x", base_name=f"{HOST}/x.img"),
        entry("cache", f"{HOST}/x.img", size=None),
    ]
    view = plain(library_view(entries, USAGE))
    for template in ("progress", "recovered", "saved", "commitCut"):
        del view[template]  # templates, which the page fills

    assert "{" not in "".join(texts_in(view))


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in texts_in(item)]


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def test_folders_come_first_then_names_without_regard_to_case() -> None:
    names = [
        Entry("b.txt", "file", 10),
        Entry("Zoo", "folder"),
        Entry("A.txt", "file", 2**20, 1_700_000_000.0),
        Entry("etc", "folder"),
    ]
    view = plain(files_view("/1/", Listing(tuple(names))))

    assert [row["name"] for row in view["rows"]] == ["etc", "Zoo", "A.txt", "b.txt"]
    assert view["rows"][0]["path"] == "/1/etc/"
    first_file = view["rows"][2]
    assert (first_file["size"], first_file["changed"]) == ("1 MiB", "2023-11-14 22:13")
    assert first_file["saves"]
    assert view["text"] == "4 entries here."


def test_the_way_back_leads_to_each_folder_above() -> None:
    view = plain(files_view("/2/usr/lib/", Listing(())))

    assert [(crumb["name"], crumb["path"]) for crumb in view["crumbs"]] == [
        ("Disk", "/"),
        ("Partition 2", "/2/"),
        ("usr", "/2/usr/"),
        ("lib", "/2/usr/lib/"),
    ]
    assert view["text"] == "This folder is empty."


def test_a_volume_that_cannot_be_read_says_why() -> None:
    volumes = (
        Entry("1", "volume", 2**20, description="ext4", label="root"),
        Entry("2", "volume", 2**20, description="swap", cannot="it has no files"),
    )
    first, second = plain(files_view("/", Listing(volumes)))["rows"]

    assert (first["name"], first["note"], first["opens"]) == ("Partition 1", "ext4, root", True)
    assert (second["note"], second["opens"], second["saves"]) == (
        "swap: it has no files",
        False,
        False,
    )


def test_names_of_an_image_are_shown_without_what_does_not_print() -> None:
    tricky = Entry("invoice\u202efdp.exe\n", "file", 1)
    link = Entry("link", "link", target="../\u200b\x1b[31m")
    first, second = plain(files_view("/1/", Listing((tricky, link))))["rows"]

    assert first["name"] == "invoice\ufffdfdp.exe\ufffd"
    assert first["path"] == f"/1/{tricky.name}"
    assert "\x1b" not in second["note"]


def test_a_date_that_cannot_be_is_left_out() -> None:
    (row,) = plain(files_view("/1/", Listing((Entry("x", "file", 1, 1e300),))))["rows"]

    assert row["changed"] == ""


def test_a_huge_folder_says_that_there_is_more() -> None:
    many = tuple(Entry(f"{number}", "file", 1) for number in range(MOST_ROWS + 5))
    view = plain(files_view("/1/", Listing(many)))

    assert len(view["rows"]) == MOST_ROWS
    assert view["text"] == "The first 2,000 entries of more."


def test_a_disk_without_volumes_says_so() -> None:
    assert "No readable partition" in plain(files_view("/", Listing(())))["text"]


# ── the doctor ────────────────────────────────────────────────────────────────────────────────────


def test_what_prevents_streaming_comes_before_what_is_right() -> None:
    found = Diagnosis(
        f"{HOST}/x.img",
        (
            Finding("scheme", "ok", "https"),
            Finding("etag", "note", "no ETag", "kept for a session"),
            Finding("ranges", "fails", "200", "no ranges", {"nginx": "a;", "other": "b"}),
        ),
        4096,
        3,
        2048,
    )
    view = plain(diagnosis_view(found))

    assert view["title"] == "This address cannot be streamed."
    assert view["cost"] == "Checked using 3 requests, 2 KiB downloaded."
    assert [finding["code"] for finding in view["findings"]] == ["ranges", "etag"]
    assert [finding["code"] for finding in view["right"]] == ["scheme"]
    assert view["findings"][0]["remedy"] == [
        {"server": "nginx", "line": "a;"},
        {"server": "other", "line": "b"},
    ]


# ── around the panel ──────────────────────────────────────────────────────────────────────────────


def test_samples_are_not_shown_where_no_service_is_known() -> None:
    assert samples_part("", None, remote=True)["shown"] is False
    assert samples_part("http://[::1", None, remote=True)["shown"] is False


def test_a_service_is_asked_for_samples_only_with_consent() -> None:
    off = samples_part(f"{HOST}:8443/v1/images?token=TOKEN", None, remote=False)
    assert (off["shown"], off["isAsked"]) == (True, False)
    assert off["hint"].startswith(
        "From disks.example:8443. Either button turns on “Use remote image”"
    )

    image = CatalogImage(f"{HOST}/disks/a/bytes", "A", "first", 2**20)
    shown = samples_part(f"{HOST}/v1/images", [image], remote=True)
    assert shown["images"] == [
        {
            "url": image.url,
            "name": "A",
            "note": "first",
            "size": "1 MiB",
            "spoken": "Boot A",
        }
    ]


def test_the_machine_says_whether_what_it_writes_lasts() -> None:
    read_only = DiskInfo(4096, "v", 4096, read_only=True)
    writable = DiskInfo(4096, "v", 4096, read_only=False)

    assert boot_part("", None)["disabled"] is True
    assert "cannot write" in str(boot_part("x.img", read_only)["hint"])
    assert "cannot write" not in str(boot_part("x.img", writable)["hint"])
    for info, stays in ((read_only, False), (writable, True)):
        question = plain(boot_part("x.img", info))["asks"]["close"]
        assert (question["title"], question["danger"]) == ("Close x.img?", True)
        assert ("written to its disk stays" in question["text"]) is stays
    assert map_part("x.img", read_only)["title"] == "x.img, 4 KiB"


def test_a_link_to_an_image_has_nothing_secret_and_is_refused_otherwise() -> None:
    assert share_part("work", "", "")["shown"] is False  # a local disk

    plain_link = plain(share_part("a.img", f"{HOST}/a b.img", "my work"))
    assert plain_link["query"] == "image=https%3A%2F%2Fdisks.example%2Fa+b.img&overlay=my+work&boot"
    assert [field["name"] for field in plain_link["ask"]["fields"]] == ["link"]
    for url in (
        "https://me:PASSWORD@disks.example/a.img",
        f"{HOST}/a.img?X-Amz-Signature=SECRET",
        f"{HOST}/a.img#SECRET",
    ):
        refused = plain(share_part("a.img", url, ""))
        assert (refused["shown"], refused["query"]) == (True, "")
        assert (refused["ask"]["fields"], refused["ask"]["isNotice"]) == ([], True)
        assert "SECRET" not in str(refused)
        assert "PASSWORD" not in str(refused)
