"""Who may read private images: signed addresses, bearer tokens, a proxy's word, and leases."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aero_browser_disk.service.access.authorization import AuthRequest, RefusedError
from aero_browser_disk.service.access.issuer_keys import FetchedKeys, FileKeys
from aero_browser_disk.service.access.signed_urls import SignedUrls
from aero_browser_disk.service.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Answer, RunningService

PAGE = "https://app.example.com"
ORIGIN = {"Origin": PAGE}
MINE, OTHERS, OPEN = "/disks/mine/bytes", "/disks/others/bytes", "/disks/open/bytes"
PRIVATE = "private, no-store, no-transform"
ISSUER, AUDIENCE = "https://issuer.example.com", "disks"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(65537, 2048)


def new_secret() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


OLD_SECRET, NEW_SECRET = new_secret(), new_secret()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    entries = []
    for name, public in (("mine", False), ("others", False), ("open", True)):
        (images / name).write_bytes(name.encode() * 1000)
        entries.append({"id": name, "file": name, "public": public})
    (images / "manifest.json").write_text(json.dumps({"images": entries}))
    return images


def write_secrets(folder: Path, current: str, **keys: str) -> Path:
    file = folder.parent / "keys.toml"
    lines = [f'current = "{current}"', "[keys]", *(f'{k} = "{v}"' for k, v in keys.items())]
    file.write_text("\n".join(lines))
    return file


def jwk_set(**keys: Any) -> str:
    algorithms = {"RSA": "RS256", "ECPublicKey": "ES256", "Ed25519PublicKey": "EdDSA"}
    written = []
    for key_id, key in keys.items():
        public = key.public_key()
        name = next(
            a for kind, a in algorithms.items() if kind.lower() in str(type(public)).lower()
        )
        document = jwt.get_algorithm_by_name(name).to_jwk(public, as_dict=True)
        written.append({**document, "kid": key_id, "use": "sig"})
    return json.dumps({"keys": written})


Start = "Callable[..., RunningService]"


@pytest.fixture
def start(folder: Path, serve: Callable[..., RunningService]) -> Start:
    """Starts the service over `folder` with the authorities that the TOML names."""

    def begin(text: str, *options: str) -> RunningService:
        file = folder.parent / "service.toml"
        file.write_text(f'[cors]\nallow_origins = ["{PAGE}"]\n{text}')
        return serve(folder, "--config", str(file), *options)

    return begin


def signing(folder: Path) -> str:
    file = write_secrets(folder, "k1", k1=OLD_SECRET)
    return f'[authorization]\nsigning_keys_file = "{file}"\nlease_s = 120\n'


def bearing(folder: Path, keys: str) -> str:
    file = folder.parent / "jwks.json"
    file.write_text(keys)
    return (
        f'[authorization.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        f'keys_file = "{file}"\nleeway_s = 0\n'
    )


def token(
    key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", /, **changes: Any
) -> dict[str, str]:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": int(time.time()) + 600,
        "scope": "openid disk:read:mine",
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    headers = None if kid is None else {"kid": kid}
    encoded = jwt.encode(claims, key, algorithm, headers=headers)
    return {"Authorization": f"Bearer {encoded}"}


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """A page can read why, and no cache keeps it."""
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["vary"] == "Origin"
    assert "no-store" in answer.headers["cache-control"]
    assert ("www-authenticate" in answer.headers) == (status == 401)


# ── signed addresses ──


def sign(file: Path, image_id: str, **changes: Any) -> str:
    asked = {"lifetime_s": 60, "scope": "bytes"} | changes
    query, _ = SignedUrls(file).sign(image_id, **asked)
    return f"/disks/{image_id}/bytes?{query}"


def test_a_signed_address(folder: Path, start: Start) -> None:
    service = start(signing(folder))
    keys = folder.parent / "keys.toml"
    url = sign(keys, "mine")
    answer = service.ask(url, ORIGIN | {"Range": "bytes=0-3"})
    assert (answer.status, answer.body) == (206, b"mine")
    assert answer.headers["cache-control"] == PRIVATE
    assert answer.headers["access-control-allow-origin"] == PAGE
    query = urlsplit(url).query
    assert service.ask(f"/v1/images/mine?{query}").status == 200
    assert service.ask(url, {"If-None-Match": answer.headers["etag"]}).status == 304
    # For the bytes of this image, and nothing else.
    assert_refused(service.ask(f"/v1/images/mine/meta?{query}", ORIGIN), 403, "private_image")
    assert_refused(service.ask(f"{OTHERS}?{query}", ORIGIN), 401, "invalid_signature")
    wider = urlsplit(sign(keys, "mine", scope="read")).query
    assert service.ask(f"/v1/images/mine/meta?{wider}").json["id"] == "mine"
    # Without it there is no way in, and a page can read that.
    assert_refused(service.ask(MINE, ORIGIN), 401, "no_credentials")
    assert_refused(service.ask("/v1/images/mine/meta", ORIGIN), 401, "no_credentials")
    assert service.ask(MINE, ORIGIN, method="HEAD").status == 401


def test_the_command_that_signs(
    folder: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start(signing(folder))
    command = ["sign", "--config", str(folder.parent / "service.toml"), "--lifetime", "60"]
    assert main([*command, "mine"]) == 0
    url = capsys.readouterr().out.strip()
    assert service.ask(url, {"Range": "bytes=0-3"}).body == b"mine"
    for lifetime in ("0", "999999999999"):
        assert main([*command[:-1], lifetime, "mine"]) == 2
        assert f"--lifetime {lifetime}" in capsys.readouterr().err
    assert main([*command, "../mine"]) == 2
    assert "not an image id" in capsys.readouterr().err
    assert main(["sign", "mine", "--images", str(folder)]) == 2
    assert "signing_keys_file" in capsys.readouterr().err


def test_no_part_of_a_signed_address_can_be_changed(folder: Path, start: Start) -> None:
    service = start(signing(folder))
    query = {
        name: values[0]
        for name, values in parse_qs(
            urlsplit(sign(folder.parent / "keys.toml", "mine")).query
        ).items()
    }
    changes: list[dict[str, str]] = [
        {"exp": str(int(query["exp"]) + 1)},
        {"exp": "9" * 50},
        {"exp": ""},
        {"scope": "read"},
        {"scope": "everything"},
        {"for": "bob"},
        {"v": "2"},
        {"sig": ""},
        {"sig": "é"},
        {"sig": query["sig"][:-2]},
        {"sig": "A" * 43},
    ]
    for change in changes:
        answer = service.ask(f"{MINE}?{urlencode(query | change)}", ORIGIN)
        assert_refused(answer, 401, "invalid_signature")
    answer = service.ask(f"{MINE}?{urlencode(query | {'kid': 'k9'})}", ORIGIN)
    assert_refused(answer, 401, "unknown_key")
    # A second value does not count.
    assert service.ask(f"{MINE}?{urlencode(query)}&exp=1&sig=x").status == 200


async def test_a_signed_address_ends_to_the_second(folder: Path) -> None:
    file = write_secrets(folder, "k1", k1=OLD_SECRET)
    now = 1000.0
    urls = SignedUrls(file, lambda: now)
    query, expires_at = urls.sign("mine", 60, "bytes")
    assert expires_at == 1060
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    asked = AuthRequest({}, fields, "mine", trusted_proxy=False)
    now = 1059.9
    assert await urls.examine(asked)
    now = 1060.0
    with pytest.raises(RefusedError) as refused:
        await urls.examine(asked)
    assert refused.value.code == "expired"


def test_keys_are_rotated_without_a_restart(folder: Path, start: Start) -> None:
    service = start(signing(folder))
    keys = folder.parent / "keys.toml"
    old = sign(keys, "mine")

    def reload(current: str, **secrets: str) -> None:
        write_secrets(folder, current, **secrets)
        service.process.send_signal(signal.SIGHUP)
        service.event("reloaded")

    reload("k2", k1=OLD_SECRET, k2=NEW_SECRET)
    new = sign(keys, "mine")
    assert "kid=k2" in new
    assert [service.ask(url).status for url in (old, new)] == [200, 200]
    reload("k2", k2=NEW_SECRET)
    assert_refused(service.ask(old, ORIGIN), 401, "unknown_key")
    assert service.ask(new).status == 200
    # A file that is wrong changes nothing, and its secrets are not told.
    keys.write_text(f'current = "k3"\n[keys]\nk3 = "{OLD_SECRET[:20]}"\n')
    service.process.send_signal(signal.SIGHUP)
    reason = service.event("keys_rejected")["reason"]
    assert "keys.k3" in reason
    assert OLD_SECRET[:20] not in reason
    assert service.ask(new).status == 200


# ── bearer tokens ──


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed"), (EC, "ES256", None)],
)
def test_a_bearer_token(folder: Path, start: Start, key: Any, algorithm: str, kid: str) -> None:
    service = start(bearing(folder, jwk_set(rsa=RSA, ec=EC, ed=ED)))
    mine = token(key, algorithm, kid)
    answer = service.ask(MINE, mine | ORIGIN)
    assert (answer.status, answer.body[:4]) == (200, b"mine")
    assert answer.headers["cache-control"] == PRIVATE
    assert service.ask("/v1/images/mine/meta", mine).json["public"] is False
    assert_refused(service.ask(OTHERS, mine | ORIGIN), 403, "private_image")
    listed = service.ask("/v1/images", mine)
    assert [image["id"] for image in listed.json["images"]] == ["mine", "open"]
    assert listed.headers["cache-control"] == PRIVATE
    assert [image["id"] for image in service.ask("/v1/images").json["images"]] == ["open"]
    every = token(key, algorithm, kid, scope=["disk:read:*"])
    assert [service.ask(path, every).status for path in (MINE, OTHERS, OPEN)] == [200, 200, 200]


def test_pem_keys(folder: Path, start: Start) -> None:
    pem = "".join(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for key in (RSA, EC, ED)
    )
    service = start(bearing(folder, pem))
    for key, algorithm in ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")):
        assert service.ask(MINE, token(key, algorithm, None)).status == 200
    assert service.ask(MINE, token(STRANGER, "RS256", None)).status == 401


def hs256_with_the_public_key() -> dict[str, str]:
    """The classic: the public key as an HMAC secret."""
    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {"alg": "HS256", "kid": "rsa"},
            {"iss": ISSUER, "aud": AUDIENCE, "exp": 9999999999, "scope": "disk:read:*"},
        )
    )
    mac = base64.urlsafe_b64encode(hmac.digest(secret, head + b"." + body, "sha256")).rstrip(b"=")
    return {"Authorization": b".".join((b"Bearer " + head, body, mac)).decode()}


def test_tokens_that_prove_nothing(folder: Path, start: Start) -> None:
    service = start(bearing(folder, jwk_set(rsa=RSA, ec=EC)))
    now = int(time.time())
    for headers in (
        token(STRANGER),
        token(EC, "ES256", "rsa"),
        token(RSA, "RS256", "nothing"),
        token(RSA, "RS512"),
        token(None, "none"),
        token(aud="others"),
        token(aud=None),
        token(iss="https://evil.example.net"),
        token(iss=None),
        token(exp=None),
        token(nbf=now + 600),
        hs256_with_the_public_key(),
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Bearer " + "x" * 9000},
    ):
        answer = service.ask(MINE, headers | ORIGIN)
        assert_refused(answer, 401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert_refused(service.ask(MINE, token(exp=now - 1) | ORIGIN), 401, "expired")
    assert_refused(
        service.ask(MINE, {"Authorization": "Basic eDp5"} | ORIGIN), 401, "no_credentials"
    )
    for scope in ("", "disk:read", "disk:read:min", "disk:read:mine2", 7, ["x", 7]):
        assert_refused(service.ask(MINE, token(scope=scope) | ORIGIN), 403, "private_image")
    # Whom it does not know may read what is public, though no cache may keep it.
    answer = service.ask(OPEN, token(STRANGER))
    assert (answer.status, answer.headers["cache-control"]) == (200, PRIVATE)
    for headers in ({"Cookie": "a=b"}, {"Authorization": "Basic eDp5"}):
        assert service.ask(OPEN, headers).headers["cache-control"] == PRIVATE
    assert service.ask(OPEN).headers["cache-control"].startswith("public")


class Issuer:
    """Serves `keys` as its JWK set, and counts how often it was asked."""

    def __init__(self) -> None:
        self.keys = jwk_set(rsa=RSA)
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = issuer.keys.encode()
                self.send_response(200 if body else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


def test_keys_from_the_issuer(start: Start, issuer: Issuer) -> None:
    text = (
        f'[authorization.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        f'jwks_url = "{issuer.url}"\n'
    )
    service = start(text)
    assert issuer.asked == 0
    for subject in ("alice", "bob", "carol"):
        assert service.ask(MINE, token(sub=subject)).status == 200
    assert issuer.asked == 1
    # Strangers cannot make it ask for every key id that they think of.
    for number in range(5):
        assert service.ask(MINE, token(EC, "ES256", f"x{number}")).status == 401
    assert issuer.asked == 1
    issuer.keys = jwk_set(ec=EC)
    service.process.send_signal(signal.SIGHUP)
    service.event("reloaded")
    assert service.ask(MINE, token(EC, "ES256", "ec")).status == 200
    assert service.ask(MINE, token()).status == 401


def test_an_issuer_that_does_not_answer(start: Start, issuer: Issuer) -> None:
    issuer.keys = ""
    text = (
        f'[authorization.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        f'jwks_url = "{issuer.url}"\n'
    )
    service = start(text)
    answer = service.ask(MINE, token() | ORIGIN)
    assert_refused(answer, 503, "keys_unavailable")
    assert "retry-after" in answer.headers
    assert service.ask(OPEN, token()).status == 200


async def test_the_issuers_keys_are_kept_for_a_while(issuer: Issuer) -> None:
    now = 0.0
    fetched = FetchedKeys(issuer.url, 300, lambda: now)
    assert [*await fetched.keys("rsa")] == ["rsa"]
    now = 299
    await fetched.keys("rsa")
    assert issuer.asked == 1
    # A key id that it does not know may be a new one.
    issuer.keys = jwk_set(rsa=RSA, ec=EC)
    assert [*await fetched.keys("ec")] == ["rsa", "ec"]
    await fetched.keys("unknown")
    assert issuer.asked == 2
    now += 31
    await fetched.keys("unknown")
    assert issuer.asked == 3
    # An issuer that is down for a while changes nothing; for long, the keys are old news.
    issuer.keys = ""
    now += 301
    assert "rsa" in await fetched.keys("rsa")
    assert "rsa" in await fetched.keys("another")
    assert issuer.asked == 4
    now += 300
    with pytest.raises(RefusedError) as refused:
        await fetched.keys("rsa")
    assert refused.value.status == 503
    issuer.keys = jwk_set(rsa=RSA)
    now += 31
    assert "rsa" in await fetched.keys("rsa")


async def test_all_who_ask_at_once_wait_for_the_issuers_keys(issuer: Issuer) -> None:
    """Not the first alone: a player's first reads come together."""
    fetched = FetchedKeys(issuer.url, 300)
    for keys in await asyncio.gather(*[fetched.keys("rsa") for _ in range(5)]):
        assert [*keys] == ["rsa"]
    assert issuer.asked == 1


async def test_the_issuers_keys_count_though_who_asked_went_away(issuer: Issuer) -> None:
    """As a repeated request does that could not be answered at once, and a client that leaves."""
    fetched = FetchedKeys(issuer.url, 300)
    asking = fetched.keys("rsa")
    asking.send(None)
    asking.close()
    assert [*await fetched.keys("rsa")] == ["rsa"]
    assert issuer.asked == 1


@pytest.mark.parametrize("keys", ["", "{}", '{"keys": []}', "[]", '{"keys": [1]}', "-----BEGIN X"])
def test_keys_that_are_none(tmp_path: Path, keys: str) -> None:
    (tmp_path / "keys").write_text(keys)
    with pytest.raises(ValueError, match=r"JWK|PEM|key"):
        FileKeys(tmp_path / "keys")


# ── mTLS that a proxy ended ──

PROXIED = """
[server]
trusted_proxies = ["{network}"]
[authorization.proxy_identity.subjects]
"CN=reader" = ["mine"]
"CN=admin" = ["*"]
"""


def certificate(subject: str, verified: str = "SUCCESS") -> dict[str, str]:
    return {"X-Client-Subject": subject, "X-Client-Verify": verified}


def test_a_certificate_that_the_proxy_checked(start: Start) -> None:
    service = start(PROXIED.format(network="127.0.0.0/8"))
    answer = service.ask(MINE, certificate("CN=reader"))
    assert (answer.status, answer.headers["cache-control"]) == (200, PRIVATE)
    assert service.ask(OTHERS, certificate("CN=admin")).status == 200
    assert service.ask(OPEN, certificate("CN=admin")).headers["cache-control"] == PRIVATE
    assert_refused(service.ask(OTHERS, certificate("CN=reader") | ORIGIN), 403, "private_image")
    assert_refused(service.ask(MINE, certificate("CN=nobody") | ORIGIN), 403, "private_image")
    for verified in ("NONE", "FAILED:expired", ""):
        answer = service.ask(MINE, certificate("CN=admin", verified) | ORIGIN)
        assert_refused(answer, 401, "invalid_certificate")
    assert_refused(service.ask(MINE, certificate("") | ORIGIN), 401, "no_credentials")


def test_nobody_else_may_say_whose_certificate_it_was(start: Start) -> None:
    service = start(PROXIED.format(network="203.0.113.0/24"))
    assert_refused(service.ask(MINE, certificate("CN=admin") | ORIGIN), 401, "no_credentials")


# ── leases ──


def test_a_lease(folder: Path, start: Start) -> None:
    service = start(signing(folder) + bearing(folder, jwk_set(rsa=RSA)))
    before = time.time()
    answer = service.ask("/v1/images/mine/lease", token() | ORIGIN, method="POST")
    assert answer.status == 200
    assert answer.headers["cache-control"] == PRIVATE
    assert answer.headers["access-control-allow-origin"] == PAGE
    lease = answer.json
    assert lease["expires_in_s"] == 120
    expires_at = int(parse_qs(urlsplit(lease["url"]).query)["exp"][0])
    assert before + 119 <= expires_at <= time.time() + 120
    url = lease["url"]
    assert service.ask(url, {"Range": "bytes=0-3"}).body == b"mine"
    assert service.ask(url.replace("mine", "others")).status == 401
    # It does not renew itself, and gives nothing to those who may not read.
    renewal = f"/v1/images/mine/lease?{urlsplit(url).query}"
    assert_refused(service.ask(renewal, ORIGIN, method="POST"), 403, "no_lease")
    refused = service.ask("/v1/images/others/lease", token() | ORIGIN, method="POST")
    assert_refused(refused, 403, "private_image")
    assert_refused(
        service.ask("/v1/images/mine/lease", ORIGIN, method="POST"), 401, "no_credentials"
    )
    assert service.ask("/v1/images/nothing/lease", token(), method="POST").status == 404
    assert service.ask("/v1/images/mine/lease", token()).status == 405
    everybodys = service.ask("/v1/images/open/lease", method="POST").json
    assert everybodys == {"url": OPEN, "expires_at": None, "expires_in_s": None}
    preflight = ORIGIN | {"Access-Control-Request-Method": "POST"}
    answer = service.ask("/v1/images/mine/lease", preflight, method="OPTIONS")
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_a_lease_is_below_the_base_path_and_the_public_url(folder: Path, start: Start) -> None:
    text = signing(folder) + bearing(folder, jwk_set(rsa=RSA))
    options = ("--base-path", "/a/b", "--set", 'server.public_url="https://disks.example.com"')
    service = start(text, *options)
    lease = service.ask("/a/b/v1/images/mine/lease", token(), method="POST").json
    assert lease["url"].startswith("https://disks.example.com/a/b/disks/mine/bytes?")
    assert service.ask(lease["url"].removeprefix("https://disks.example.com")).status == 200


def test_no_secret_is_logged(folder: Path, start: Start) -> None:
    metrics = '[metrics]\nenabled = true\ntoken = "a-token-of-some-length"\n'
    text = signing(folder) + bearing(folder, jwk_set(rsa=RSA)) + metrics
    service = start(text)
    bearer = token()
    lease = service.ask("/v1/images/mine/lease", bearer, method="POST").json["url"]
    service.ask(lease)
    service.ask(MINE, token(STRANGER))
    service.ask(lease.replace("exp=", "exp=9"))
    measured = {"Authorization": "Bearer a-token-of-some-length"}
    said = service.ask("/metrics", measured).body.decode()
    for _ in range(5):
        said += json.dumps(service.event("request"))
    signature = parse_qs(urlsplit(lease).query)["sig"][0]
    for secret in (signature, bearer["Authorization"][7:], OLD_SECRET, "a-token-of", "sig="):
        assert secret not in said
