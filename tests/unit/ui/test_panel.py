"""The image panel, as its user sees it."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aero_browser_disk import errors
from aero_browser_disk.disk import DiskInfo, DiskStats, Notice
from aero_browser_disk.ui import panel_texts
from aero_browser_disk.ui.panel import LARGEST_READ, Panel

PLAIN = "https://images.example/debian/disk.img"
SECRET = "https://me:PASSWORD@images.example/disk.img?token=TOKEN#FRAGMENT"
SHOWN = "https://…@images.example/disk.img?…#…"
INFO = DiskInfo(size=4 * 2**30, version='"v1"', block_size=65536, read_only=True)


def stats(**changes: Any) -> DiskStats:
    values: dict[str, Any] = {
        "requests": 3,
        "requests_in_flight": 0,
        "bytes_downloaded": 1572864,
        "blocks_downloaded": 24,
        "bytes_read": 4096,
        "hits": 3,
        "misses": 1,
        "cached_bytes": 1572864,
        "cached_blocks": 24,
        "cache_limit_bytes": 2**30,
        "storage": "opfs",
        "notices": (),
    }
    return DiskStats(**{**values, **changes})


def view_of(panel: Panel) -> Any:
    """The view as the page gets it: through JSON."""
    return json.loads(json.dumps(panel.view()))


def ready(url: str = PLAIN) -> Panel:
    panel = Panel()
    panel.set_remote(True)
    panel.set_url(url)
    return panel


def opened(url: str = PLAIN, **changes: Any) -> Panel:
    panel = ready(url)
    panel.opening()
    panel.opened(INFO, stats(**changes))
    return panel


# ── the gate ──────────────────────────────────────────────────────────────────────────────────────


def test_remote_images_are_off_at_first() -> None:
    panel = Panel()

    assert not panel.remote
    assert view_of(panel)["remote"]["checked"] is False
    assert view_of(panel)["open"]["disabled"] is True
    assert view_of(panel)["status"]["text"] == "Remote images are off."


def test_turning_remote_images_off_closes_a_remote_image_and_no_other() -> None:
    assert view_of(Panel())["remote"]["closes"] is False
    assert view_of(opened())["remote"]["closes"] is True

    local = ready()
    local.opening(local="work")
    local.opened(INFO, stats())
    assert view_of(local)["remote"]["closes"] is False


def test_a_save_that_is_looked_at_has_its_own_name_and_no_link_to_its_image() -> None:
    panel = ready()
    panel.opening(save="work")
    assert view_of(panel)["status"]["text"] == "Opening “work” (a save of disk.img)…"
    panel.opened(INFO, stats())
    view = view_of(panel)
    assert view["status"]["text"] == "“work” (a save of disk.img) is open: 4 GiB."
    assert view["share"]["shown"] is False
    panel.closed()
    panel.opening()
    panel.opened(INFO, stats())
    assert view_of(panel)["status"]["text"] == "disk.img is open: 4 GiB."
    assert view_of(panel)["share"]["shown"] is True


def test_an_overlay_over_an_older_version_can_be_looked_into_while_it_is_open() -> None:
    panel = ready()
    panel.opening(overlay="work")
    panel.opened(INFO, stats())
    assert view_of(panel)["saves"]["isOutdated"] is False
    panel.progress(stats(notices=("older-version",)))
    assert view_of(panel)["saves"]["isOutdated"] is True


def test_remote_images_are_off_at_every_later_visit_too() -> None:
    earlier = opened()
    panel = Panel()

    panel.restore({**earlier.remembered(), "remote": True})

    assert not panel.remote
    assert view_of(panel)["url"]["value"] == PLAIN
    assert view_of(panel)["open"]["disabled"] is True


def test_the_warning_has_its_three_lines_before_anything_is_turned_on() -> None:
    untrusted, privacy, licence = view_of(Panel())["texts"]["warning"]

    assert "untrusted" in untrusted
    assert "sees your IP address" in privacy
    assert "what you read, and when" in privacy
    assert "own or are licensed to use" in licence


@pytest.mark.parametrize(
    ("remote", "url", "why_not"),
    [
        (False, PLAIN, "Remote images are off."),
        (True, "", "Enter the address of an image."),
        (True, "   ", "Enter the address of an image."),
        (True, PLAIN, None),
        (True, SECRET, None),
    ],
)
def test_open_takes_a_press_only_when_it_can_work(
    remote: bool, url: str, why_not: str | None
) -> None:
    panel = Panel()
    panel.set_remote(remote)
    panel.set_url(url)

    assert view_of(panel)["open"]["disabled"] is (why_not is not None)
    assert view_of(panel)["status"]["text"] == (why_not or "Ready to open.")


@pytest.mark.parametrize("is_open", [False, True])
def test_turning_remote_images_off_closes_what_is_open(is_open: bool) -> None:
    panel = ready()
    panel.opening()
    if is_open:
        panel.opened(INFO, stats())
    before = panel.must_close

    panel.set_remote(False)

    assert (before, panel.must_close) == (False, True)
    panel.closed()
    assert view_of(panel)["phase"] == "closed"


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_address_is_shown_redacted_once_it_is_being_opened() -> None:
    panel = ready(SECRET)
    assert view_of(panel)["url"]["value"] == SECRET  # it is still being edited

    panel.opening()
    assert view_of(panel)["url"]["value"] == SHOWN

    panel.opened(INFO, stats())
    assert view_of(panel)["url"]["value"] == SHOWN
    assert panel.url == SECRET


def test_the_field_says_that_a_secret_address_is_not_remembered() -> None:
    assert "not remembered" in view_of(ready(SECRET))["url"]["hint"]
    assert view_of(ready(SECRET))["url"]["secret"] is True
    assert "remembered" not in view_of(ready(PLAIN))["url"]["hint"]


def test_a_secret_address_is_not_remembered_and_a_plain_one_is_once_it_was_opened() -> None:
    assert opened(SECRET).remembered() == {}
    assert ready(PLAIN).remembered() == {}
    assert opened(PLAIN).remembered() == {"url": PLAIN}
    assert view_of(opened(PLAIN))["remembered"] == {"url": PLAIN}


def test_a_secret_address_can_be_opened_again_after_closing_without_typing_it() -> None:
    panel = opened(SECRET)

    panel.closed()
    panel.set_url(view_of(panel)["url"]["value"])

    assert view_of(panel)["url"]["value"] == SHOWN
    assert panel.url == SECRET
    assert view_of(panel)["open"]["disabled"] is False


def test_a_redacted_address_that_was_edited_cannot_be_opened() -> None:
    panel = opened(SECRET)
    panel.closed()

    panel.set_url(SHOWN.replace("disk", "other"))

    assert view_of(panel)["open"]["disabled"] is True
    assert "Paste the whole address" in view_of(panel)["url"]["hint"]


def test_a_secret_address_that_failed_can_be_corrected() -> None:
    panel = ready(SECRET)
    panel.opening()

    panel.failed(errors.HttpStatusError(SHOWN, 403))

    assert view_of(panel)["url"]["value"] == SECRET


@pytest.mark.parametrize(
    "remembered",
    [
        {},
        {"url": SECRET},
        {"url": 7},
        {"url": "javascript:alert(1)"},
        {"url": "https://host/?a=b"},
        {"other": PLAIN},
    ],
)
def test_nothing_but_a_plain_address_is_taken_back(remembered: dict[str, object]) -> None:
    panel = Panel()

    panel.restore(remembered)

    assert view_of(panel) == view_of(Panel())


def test_what_was_typed_while_starting_wins_over_what_was_remembered() -> None:
    panel = Panel()
    panel.set_url("https://images.example/new.img")

    panel.restore({"url": PLAIN})

    assert panel.url == "https://images.example/new.img"


def test_no_representation_of_the_state_shows_the_address() -> None:
    assert "PASSWORD" not in repr(opened(SECRET).state)
    assert "TOKEN" not in repr(opened(SECRET).state)


# ── opening, reading, closing ─────────────────────────────────────────────────────────────────────


def test_while_opening_it_can_be_given_up_and_the_address_stands() -> None:
    panel = ready()

    panel.opening()
    panel.set_url("https://elsewhere.example/")

    view = view_of(panel)
    assert view["phase"] == "opening"
    assert view["busy"] is True
    assert view["status"] == {"text": "Opening disk.img…", "tone": "busy"}
    assert view["url"]["readOnly"] is True
    assert view["open"]["disabled"] is True
    assert view["close"]["disabled"] is False
    assert panel.url == PLAIN


def test_an_open_image_tells_its_facts() -> None:
    view = view_of(opened())

    assert view["status"] == {"text": "disk.img is open: 4 GiB.", "tone": "good"}
    assert [(row["label"], row["value"], row["note"]) for row in view["image"]] == [
        ("Size", "4 GiB", "4,294,967,296 bytes"),
        ("Block size", "64 KiB", "65,536 blocks"),
        ("Version", '"v1"', ""),
        ("Access", "read-only", ""),
    ]
    assert view["read"]["disabled"] is False
    assert view["clearCache"]["disabled"] is False


def test_the_indicator_tells_what_was_downloaded_and_what_is_cached() -> None:
    view = view_of(opened(requests_in_flight=2, cached_bytes=2**28, cached_blocks=4096))

    assert view["cache"] == {
        "value": 2**28,
        "max": 2**32,
        "text": "256 MiB in 4,096 blocks",
        "share": "6.2 % of the image",
        "limit": "25 % of the limit of 1 GiB",
        "note": "Stored in this browser. It survives a reload.",
    }
    assert [(row["label"], row["value"], row["note"]) for row in view["activity"]] == [
        ("Downloaded", "1.5 MiB", "24 blocks"),
        ("Requests", "3", "2 in flight"),
        ("Hit rate", "75 %", "3 of 4 block reads"),
        ("Read", "4 KiB", ""),
    ]
    assert view["busy"] is True


def test_what_was_kept_of_an_older_version_is_told():
    rows = view_of(opened(kept_bytes=3 * 2**20))["activity"]
    assert (rows[0]["label"], rows[0]["note"]) == ("Downloaded", "3 MiB kept of an older version")


def test_before_the_first_read_there_is_no_hit_rate() -> None:
    rows = view_of(opened(hits=0, misses=0))["activity"]

    assert rows[2] == {"label": "Hit rate", "value": "–", "note": ""}


def test_a_cache_of_all_blocks_fills_the_meter_and_no_more() -> None:
    cache = view_of(opened(cached_bytes=INFO.size + 512))["cache"]

    assert (cache["value"], cache["max"]) == (INFO.size, INFO.size)
    assert cache["share"] == "100 % of the image"


def test_a_cache_limit_of_zero_is_an_empty_meter() -> None:
    cache = view_of(opened(cached_bytes=0, cached_blocks=0, cache_limit_bytes=0))["cache"]

    assert (cache["value"], cache["limit"]) == (0, "0 % of the limit of 0 bytes")


def test_a_read_is_said_while_it_runs_and_when_it_is_done() -> None:
    panel = opened()

    panel.reading(1024, 65536)
    assert view_of(panel)["status"] == {"text": "Reading disk.img…", "tone": "busy"}
    assert view_of(panel)["read"]["disabled"] is True
    assert view_of(panel)["clearCache"]["disabled"] is True

    panel.read(stats(requests=4))
    view = view_of(panel)
    assert view["status"] == {"text": "Read 64 KiB of disk.img.", "tone": "good"}
    assert view["read"]["range"] == {"offset": 1024, "length": 65536}
    assert view["activity"][1]["value"] == "4"


def test_a_failed_read_leaves_the_image_open_and_shows_no_bytes() -> None:
    panel = opened()
    panel.reading(0, 512)

    panel.failed(errors.OutOfRangeError(0, 512, 100))

    view = view_of(panel)
    assert view["phase"] == "open"
    assert view["status"] == {"text": "The read failed. The image is still open.", "tone": "bad"}
    assert view["error"]["title"] == "Outside the disk"
    assert view["read"] == {"disabled": False, "hint": view["read"]["hint"], "range": None}

    panel.reading(0, 50)
    assert view_of(panel)["error"] is None


def test_a_failed_opening_leaves_nothing_open() -> None:
    panel = ready()
    panel.opening()

    panel.failed(errors.HttpStatusError(PLAIN, 404))

    view = view_of(panel)
    assert view["phase"] == "closed"
    assert view["status"] == {"text": "The image was not opened.", "tone": "bad"}
    assert view["open"]["disabled"] is False
    assert view["error"] == {
        "name": "HttpStatusError",
        "title": "The server refused",
        "text": f"{PLAIN} returned status 404. There is no image at this address: check the "
        "spelling.",
    }
    panel.set_url(PLAIN + "x")
    assert view_of(panel)["error"] is None


def test_the_cause_of_a_failure_is_looked_for_next_to_its_message() -> None:
    panel = ready()
    assert view_of(panel)["diagnose"] == {
        "disabled": False,
        "isAtFailure": False,
        "isUnderWay": False,
        "label": "Check this address",
    }
    panel.opening()
    panel.failed(errors.HttpStatusError(PLAIN, 404))
    shown = view_of(panel)["diagnose"]
    assert (shown["isAtFailure"], shown["label"]) == (True, "Find the cause")
    panel.set_remote(False)  # nothing may be asked of the server
    assert not view_of(panel)["diagnose"]["isAtFailure"]


def test_an_address_that_is_none_marks_the_field() -> None:
    panel = ready("ftp://host/disk.img")
    panel.opening()

    panel.failed(errors.InvalidUrlError("ftp://host/disk.img", "it does not start with https://."))

    assert view_of(panel)["url"]["invalid"] is True


def test_clearing_the_cache_is_said() -> None:
    panel = opened()

    panel.cleared(stats(cached_bytes=0, cached_blocks=0))

    assert view_of(panel)["status"]["text"] == "The cache of this image was cleared."
    assert view_of(panel)["cache"]["text"] == "0 bytes in 0 blocks"


def test_closing_leaves_nothing_of_the_image_but_its_address() -> None:
    panel = opened()
    panel.reading(0, 512)
    panel.read(stats())

    panel.closed()

    assert view_of(panel) == {**view_of(ready()), "remembered": {"url": PLAIN}}


def test_counters_that_come_late_do_not_open_anything() -> None:
    panel = opened()
    panel.closed()

    panel.progress(stats())

    assert view_of(panel)["activity"][0]["value"] == "–"


# ── what is typed to read ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("offset", "length", "meant"),
    [
        ("0", "64 KiB", (0, 65536)),
        ("0x200", "512", (512, 512)),
        (512, 1, (512, 1)),
        ("1 GiB", "128 MiB", (2**30, LARGEST_READ)),
    ],
)
def test_what_a_range_means(offset: object, length: object, meant: tuple[int, int]) -> None:
    assert Panel().read_range(offset, length) == meant


@pytest.mark.parametrize(
    ("offset", "length", "said"),
    [
        ("", "512", "Offset must be a number of bytes, such as 512, 0x200 or 64 KiB, not “ ”."),
        ("-1", "512", "not “-1”."),
        ("0", "much", "Length must be a number of bytes"),
        ("0", "0", "Length must be from 1 byte to 128 MiB, not “0”."),
        ("0", "129 MiB", "not “129 MiB”."),
        (True, 1, "Offset must be"),
        (None, 1, "Offset must be"),
    ],
)
def test_a_range_that_means_nothing_is_said(offset: object, length: object, said: str) -> None:
    panel = opened()

    with pytest.raises(errors.InvalidOptionError) as raised:
        panel.read_range(offset, length)
    panel.failed(raised.value)

    assert said in view_of(panel)["error"]["text"]


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_notice_of_a_disk_has_its_text() -> None:
    codes = get_args(Notice)
    view = view_of(opened(notices=codes))

    assert [notice["code"] for notice in view["notices"]] == list(codes)
    assert all(notice["title"] and notice["text"] for notice in view["notices"])


def error_classes() -> list[type[errors.DiskError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.DiskError)
    ]


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_has_a_title_of_its_own(kind: type[errors.DiskError]) -> None:
    assert kind in panel_texts._ERROR_TITLES


def test_the_gate_error_speaks_to_the_user_of_the_page() -> None:
    text = panel_texts.error_texts(errors.RemoteImagesDisabledError())["text"]

    assert "Turn on “Use remote image” first" in text
    assert "allow_remote" not in text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (PLAIN, "disk.img"),
        ("https://disks.example/disks/win%20xp/bytes", "win xp"),
        ("https://disks.example/bytes", "bytes"),
        ("https://host.example/my%20disk.img", "my disk.img"),
        ("https://host.example", "host.example"),
        ("https://host.example/", "host.example"),
        ("https://host.example/images/", "images"),
        (SECRET, "disk.img"),
        ("https://host.example/%E2%80%AEgmi", "\ufffdgmi"),
    ],
)
def test_what_an_image_is_called(url: str, name: str) -> None:
    assert view_of(opened(url))["status"]["text"] == f"{name} is open: 4 GiB."


# ── in any order ──────────────────────────────────────────────────────────────────────────────────


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, what must hold of the view holds."""

    @initialize()
    def start(self) -> None:
        self.panel = Panel()

    @rule(enabled=st.booleans())
    def remote(self, enabled: bool) -> None:
        self.panel.set_remote(enabled)
        if self.panel.must_close:
            self.panel.closed()

    @rule(url=st.sampled_from([PLAIN, SECRET, SHOWN, "", "ftp://host/?TOKEN", "https://a:TOKEN@"]))
    def url(self, url: str) -> None:
        self.panel.set_url(url)

    @rule(url=st.sampled_from([PLAIN, SECRET]))
    def restore(self, url: str) -> None:
        self.panel.restore({"url": url})

    @rule(works=st.booleans())
    def open(self, works: bool) -> None:
        if view_of(self.panel)["open"]["disabled"]:
            return
        self.panel.opening()
        self.holds()
        if works:
            self.panel.opened(INFO, stats())
        else:
            self.panel.failed(errors.HttpStatusError(SHOWN, 500))

    @rule(works=st.booleans())
    def read(self, works: bool) -> None:
        if view_of(self.panel)["read"]["disabled"]:
            return
        self.panel.reading(0, 512)
        self.holds()
        if works:
            self.panel.read(stats())
        else:
            self.panel.failed(errors.ImageChangedError(SHOWN, "a", "b"))

    @rule()
    def close(self) -> None:
        self.panel.closed()

    @rule(notice=st.sampled_from(get_args(Notice)))
    def progress(self, notice: Notice) -> None:
        self.panel.progress(stats(notices=(notice,)))

    @invariant()
    def holds(self) -> None:
        view = view_of(self.panel)
        kept = json.dumps(view["remembered"])
        assert not any(secret in kept for secret in ("PASSWORD", "TOKEN", "FRAGMENT", "…"))
        if view["phase"] != "closed":
            assert view["remote"]["checked"]
            assert "PASSWORD" not in json.dumps(view)
            assert "TOKEN" not in json.dumps(view)
        assert view["close"]["disabled"] is (view["phase"] == "closed")
        assert view["read"]["disabled"] or view["phase"] == "open"
        assert view["open"]["disabled"] or view["phase"] == "closed"
        assert view["status"]["text"]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_in_any_field_gives_a_view_or_a_disk_error(url: str, count: str) -> None:
    panel = ready(url)
    json.dumps(panel.view())
    panel.opening()
    json.dumps(panel.view())
    try:
        panel.read_range(count, count)
    except errors.InvalidOptionError as error:
        panel.failed(error)
        json.dumps(panel.view())


# ── what was saved ────────────────────────────────────────────────────────────────────────────────


def test_a_packed_disk_says_what_was_saved() -> None:
    panel = ready()
    panel.opening()
    panel.opened(INFO, stats(bytes_downloaded=500_000), packed=True)
    row = view_of(panel)["activity"][0]
    assert (row["value"], row["note"]) == ("488 KiB", "of 1.5 MiB, packed")

    assert view_of(opened())["activity"][0]["note"] == "24 blocks"
    panel.progress(stats(kept_bytes=1 << 20))
    assert "kept" in view_of(panel)["activity"][0]["note"]
