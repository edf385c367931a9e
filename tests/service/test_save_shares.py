"""Who may do what with a save: scopes, links, and what others get to know of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from aero_browser_disk.service.saves.share_links import is_signed, sign_share

from .conftest import Answer, RunningService
from .save_client import (
    BASE,
    EVERY_SCOPE,
    PRIVATE,
    SaveClient,
    etag_of,
    manifest_of,
    name_of,
    save_options,
    token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK, OTHER = b"one" * 1000, b"other" * 1000
NUMBERS = itertools.count()
NOWHERE = "/v1/saves/" + "0" * 32


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("shares")
    (folder / "images").mkdir()
    public = ["--set", 'server.public_url="https://disks.example.com"', "--base-path", "/base"]
    with RunningService(folder / "images", *save_options(folder), *public) as running:
        yield running


class BelowBase(SaveClient):
    """Asks a service whose paths begin with `/base`."""

    def ask(self, path: str, *arguments: Any, **options: Any) -> Answer:
        return super().ask(f"/base{path}", *arguments, **options)


@pytest.fixture
def ann(service: RunningService) -> SaveClient:
    return BelowBase(service, f"ann-{next(NUMBERS)}")


@pytest.fixture
def nobody(service: RunningService) -> SaveClient:
    return BelowBase(service, None)


def share(client: SaveClient, save: str, lifetime_s: int = 60) -> str:
    """The query of a new link."""
    answer = client.ask(f"{save}/shares", {"lifetime_s": lifetime_s})
    assert answer.status == 201, answer.body
    url = urlsplit(answer.json["url"])
    assert (url.scheme, url.netloc, url.path) == ("https", "disks.example.com", f"/base{save}")
    return f"?{url.query}"


def every_request(save: str, query: str = "") -> list[tuple[str, str, Any, dict[str, str]]]:
    """Method, path, body and headers of all that can be done with a save."""
    other = f"{save}/chunks/{name_of(OTHER)}{query}"
    lifetime = {"lifetime_s": 60}
    return [
        ("GET", f"{save}{query}", None, {}),
        ("GET", f"{save}/manifest{query}", None, {}),
        ("GET", f"{save}/chunks/{name_of(CHUNK)}{query}", None, {}),
        ("POST", f"{save}/chunks{query}", {"sha256": []}, {}),
        ("PUT", other, OTHER, {}),
        ("PUT", f"{save}/manifest{query}", manifest_of(OTHER), {"If_Match": "*"}),
        ("POST", f"{save}/shares{query}", lifetime, {}),
        ("DELETE", f"{save}/shares{query}", None, {}),
        ("DELETE", f"{save}/generations/1{query}", None, {}),
        ("DELETE", f"{save}{query}", None, {}),
    ]


READS, WRITES, SHARES, DELETES = range(3), range(3, 6), range(6, 8), range(8, 10)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (EVERY_SCOPE, [*range(10)]),
        ("disk:read", [*READS]),
        ("disk:write", [*READS, *WRITES]),
        ("openid disk:share", [*READS, *SHARES]),
        ("disk:delete", [*READS, *DELETES]),
        ("disk:read:* disk:upload disk:writer", []),
        ("", []),
    ],
)
def test_each_scope_allows_its_own(ann: SaveClient, scope: str, allowed: list[int]) -> None:
    save = ann.create()
    ann.push(save, CHUNK, before=ann.push(save, OTHER))
    for number, (method, path, body, headers) in enumerate(every_request(save)):
        answer = ann.ask(path, body, method=method, scope=scope, **headers)
        if number in allowed:
            assert answer.status < 300, (path, answer.body)
        else:
            assert ann.code(answer) == (403, "not_allowed"), path
    created = ann.ask("/v1/saves", {"name": "new", "base": BASE}, scope=scope)
    assert created.status == (201 if READS[0] in allowed and 4 in allowed else 403)
    assert ann.ask("/v1/saves", scope=scope).status == (200 if allowed else 403)


def test_a_token_without_a_subject_has_no_saves(service: RunningService) -> None:
    headers = {"Authorization": f"Bearer {token(None)}"}
    answer = service.ask("/base/v1/saves", headers)
    assert (answer.status, answer.json["error"]["code"]) == (403, "not_allowed")


def test_without_credentials_it_says_so(ann: SaveClient, nobody: SaveClient) -> None:
    save = ann.create()
    for path in (save, NOWHERE):
        for method, target, body, headers in every_request(path):
            answer = nobody.ask(target, body, method=method, **headers)
            assert nobody.code(answer) == (401, "no_credentials"), target
            assert answer.headers["www-authenticate"] == 'Bearer realm="saves"'


def test_others_learn_nothing(ann: SaveClient, service: RunningService) -> None:
    """Each request about somebody's save has the same response as one about none."""
    bob = BelowBase(service, "bob")
    save = ann.create()
    manifest = ann.push(save, CHUNK)
    links = [share(ann, save), "?share=1.99999999999." + "A" * 43, "?share=x", "?share="]
    for query in ("", *links[1:]):
        pairs = zip(every_request(save, query), every_request(NOWHERE, query), strict=True)
        for (method, path, body, headers), (_, nowhere, _, _) in pairs:
            answer = bob.ask(path, body, method=method, **headers)
            same = bob.ask(nowhere, body, method=method, **headers)
            assert bob.code(answer) == (404, "no_such_save"), path
            varying = {"date", "x-request-id"}
            for one in (answer, same):
                for name in varying:
                    one.headers.pop(name)
            assert (answer.headers, answer.body) == (same.headers, same.body), path
    assert bob.ask("/v1/saves").json == {"saves": []}
    assert ann.ask(f"{save}/manifest").body == manifest


def test_a_link_reads_what_is_current_and_nothing_else(ann: SaveClient, nobody: SaveClient) -> None:
    save, private = ann.create(), ann.create("private")
    first = ann.push(save, CHUNK)
    second = ann.push(save, OTHER, before=first)
    ann.push(private, CHUNK)
    query = share(ann, save)
    shown = nobody.ask(f"{save}{query}")
    assert shown.headers["cache-control"] == PRIVATE
    assert (shown.json["generation"], shown.json["etag"]) == (2, etag_of(second))
    assert [kept["generation"] for kept in shown.json["generations"]] == [2]
    assert shown.json["stored_bytes"] == len(second) + len(OTHER)
    assert nobody.ask(f"{save}/manifest{query}").body == second
    assert nobody.ask(f"{save}/manifest{query}&generation=2").body == second
    old = nobody.ask(f"{save}/manifest{query}&generation=1")
    assert nobody.code(old) == (404, "no_such_generation")
    assert nobody.ask(f"{save}/chunks/{name_of(OTHER)}{query}").body == OTHER
    # It follows the save.
    third = ann.push(save, CHUNK, before=second)
    assert nobody.ask(f"{save}/manifest{query}").body == third
    for method, path, body, headers in every_request(save, query)[3:]:
        answer = nobody.ask(path, body, method=method, **headers)
        assert nobody.code(answer) == (401, "no_credentials"), path
    for method, path, _, _ in every_request(private, query)[:3]:
        assert nobody.code(nobody.ask(path, method=method)) == (404, "no_such_save")
    assert nobody.ask(f"/v1/saves{query}").status == 401
    assert ann.ask(save).json["generation"] == 3


def test_ending_links_ends_all_of_them(ann: SaveClient, nobody: SaveClient) -> None:
    save, other = ann.create(), ann.create("other")
    links, elsewhere = [share(ann, save), share(ann, save, 3600)], share(ann, other)
    for query in links:
        assert nobody.ask(f"{save}{query}").status == 200
    assert ann.ask(f"{save}/shares", method="DELETE").status == 204
    for query in links:
        assert nobody.code(nobody.ask(f"{save}{query}")) == (404, "no_such_save")
    assert nobody.ask(f"{other}{elsewhere}").status == 200
    renewed = share(ann, save)
    assert nobody.ask(f"{save}{renewed}").status == 200
    assert nobody.ask(f"{save}{links[0]}").status == 404
    # Also when there are none.
    assert ann.ask(f"{save}/shares", method="DELETE").status == 204
    assert ann.ask(f"{save}/shares", method="DELETE").status == 204
    ann.ask(save, method="DELETE")
    assert nobody.code(nobody.ask(f"{save}{renewed}")) == (404, "no_such_save")


def test_a_link_that_was_changed_is_none(ann: SaveClient, nobody: SaveClient) -> None:
    save = ann.create()
    signed = dict(parse_qsl(share(ann, save)[1:]))["share"]
    version, expires, mac = signed.split(".")
    for changed in (
        f"{version}.{int(expires) + 1}.{mac}",
        f"{version}.0{expires}.{mac[::-1]}",
        f"2.{expires}.{mac}",
        f"{version}.{expires}.{mac[:-1]}",
        f"{version}.{expires}.{mac[:-2]}{'AB' if mac[-2:] != 'AB' else 'BA'}",
        signed[:-3],
        f"{signed} ",
    ):
        answer = nobody.ask(f"{save}?share={changed.replace(' ', '%20')}")
        assert nobody.code(answer) == (404, "no_such_save"), changed
    past = nobody.ask(f"{save}?share={version}.1.{mac}")
    assert nobody.code(past) == (401, "share_expired")
    # Also of a save that never was: it shows nothing.
    past = nobody.ask(f"{NOWHERE}?share={version}.1.{mac}")
    assert nobody.code(past) == (401, "share_expired")


@pytest.mark.parametrize(
    "body", [{}, {"lifetime_s": 0}, {"lifetime_s": 366 * 86400 + 1}, {"lifetime_s": "60"}]
)
def test_wrong_links(ann: SaveClient, body: dict[str, Any]) -> None:
    save = ann.create()
    assert ann.code(ann.ask(f"{save}/shares", body)) == (400, "wrong_body")


def test_a_signature_is_of_one_save_key_and_time() -> None:
    key, other = "0" * 64, "1" * 64
    signed = sign_share("a" * 32, key, 100)
    assert is_signed(signed, "a" * 32, key)
    assert not is_signed(signed, "b" * 32, key)
    assert not is_signed(signed, "a" * 32, other)
    assert not is_signed(signed.replace("100", "101"), "a" * 32, key)
