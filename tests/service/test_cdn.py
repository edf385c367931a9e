"""What lets a viewer read from CloudFront, checked as AWS publishes the algorithm."""

from __future__ import annotations

import base64
import json
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from aero_browser_disk.service.access.cloudfront import CdnAddress, CloudFront
from support.prepared import prepared_files

from .conftest import put_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

    Ask = Callable[..., tuple[Any, list[str]]]

RSA = generate_private_key(public_exponent=65537, key_size=2048)
TOKENS = Ed25519PrivateKey.generate()
PAGE = "https://app.example.com"
CDN = "https://d111.cloudfront.net"


def decode(text: str) -> bytes:
    """Base64 as CloudFront has it."""
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


def let_in(policy: bytes, signature: str, url: str, now: float) -> bool:
    """Whether CloudFront would: the signature is the key's, and the policy allows it now."""
    try:
        RSA.public_key().verify(decode(signature), policy, PKCS1v15(), SHA1())
    except InvalidSignature:
        return False
    (statement,) = json.loads(policy)["Statement"]
    until = statement["Condition"]["DateLessThan"]["AWS:EpochTime"]
    return statement["Resource"] == url and now < until


def opens(url: str, now: float) -> bool:
    """The same for a signed URL with a canned policy, which is not in it."""
    parts = urlsplit(url)
    fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert fields["Key-Pair-Id"] == "K2JCJMDEHXQW5F"
    plain = parts._replace(query="").geturl()
    condition = f'{{"DateLessThan":{{"AWS:EpochTime":{fields["Expires"]}}}}}'
    policy = f'{{"Statement":[{{"Resource":"{plain}","Condition":{condition}}}]}}'
    return let_in(policy.encode(), fields["Signature"], plain, now)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "cloudfront.pem").write_bytes(pem)
    return tmp_path / "cloudfront.pem"


@pytest.fixture
def cloudfront(key_file: Path) -> CloudFront:
    return CloudFront(CdnAddress(CDN, "K2JCJMDEHXQW5F"), key_file)


def test_cookies(cloudfront: CloudFront) -> None:
    cookies = cloudfront.cookies("sub/win 7.img", 1_800_000_000)
    assert cookies["CloudFront-Key-Pair-Id"] == "K2JCJMDEHXQW5F"
    policy = decode(cookies["CloudFront-Policy"])
    signature = cookies["CloudFront-Signature"]
    url = f"{CDN}/sub/win%207.img"
    assert let_in(policy, signature, url, 1_799_999_999)
    assert not let_in(policy, signature, url, 1_800_000_000)
    assert not let_in(policy, signature, f"{CDN}/other.img", 1_799_999_999)
    forged = policy.replace(b"1800000000", b"1900000000")
    assert not let_in(forged, signature, url, 1_799_999_999)


def test_signed_urls(cloudfront: CloudFront) -> None:
    url = cloudfront.signed_url("disk.img", 1_800_000_000)
    assert url.startswith(f"{CDN}/disk.img?")
    assert opens(url, 1_799_999_999)
    assert not opens(url, 1_800_000_001)
    assert not opens(url.replace("Expires=18", "Expires=19"), 1_799_999_999)
    assert not opens(url.replace("disk.img", "else.img"), 1_799_999_999)


def test_a_folder(cloudfront: CloudFront) -> None:
    """A prepared image is many files, whose addresses have the query of the manifest's."""
    cookies = cloudfront.cookies("win 7/manifest.json", 1_800_000_000, "win 7")
    policy = decode(cookies["CloudFront-Policy"])
    signature = cookies["CloudFront-Signature"]
    assert let_in(policy, signature, f"{CDN}/win%207/*", 1_799_999_999)
    url = cloudfront.signed_url("win 7/manifest.json", 1_800_000_000, "win 7")
    assert url.startswith(f"{CDN}/win%207/manifest.json?")
    fields = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert decode(fields["Policy"]) == policy
    assert let_in(policy, fields["Signature"], f"{CDN}/win%207/*", 1_799_999_999)


def test_what_is_no_key(tmp_path: Path) -> None:
    pem = TOKENS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other.pem").write_bytes(pem)
    (tmp_path / "junk.pem").write_text("secret junk")
    for name in ("other.pem", "junk.pem"):
        with pytest.raises(ValueError, match="not an RSA private key") as refused:
            CloudFront(CdnAddress(CDN, "K"), tmp_path / name)
        assert "secret junk" not in str(refused.value)


@pytest.fixture
def viewer(
    tmp_path: Path, key_file: Path, serve: Callable[..., RunningService]
) -> tuple[RunningService, Ask]:
    """A service, and what asks it for a lease of an image with a token for `images`."""
    public_key = TOKENS.public_key()
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys.pem").write_bytes(pem)
    images = tmp_path / "images"
    images.mkdir()
    (images / "disk.img").write_bytes(bytes(512))
    entries = [
        {"id": "mine", "file": "disk.img", "public": False},
        {"id": "all", "file": "disk.img", "public": True},
        {"id": "packed", "file": "sub/m.json", "public": False, "layout": "prepared"},
        {"id": "above", "file": "m.json", "public": False, "layout": "prepared"},
    ]
    for folder in (images, images / "sub"):
        put_files(folder, {"m.json": prepared_files(bytes(4096), 4096)["manifest.json"]})
    (images / "manifest.json").write_text(json.dumps({"images": entries}))
    settings = {
        "authorization.jwt.issuer": "https://issuer.example.com",
        "authorization.jwt.audience": "disks",
        "authorization.jwt.keys_file": str(tmp_path / "keys.pem"),
        "cdn.url": CDN,
        "cdn.key_pair_id": "K2JCJMDEHXQW5F",
        "cdn.private_key_file": str(key_file),
        "cdn.cookie_domain": "example.com",
        "cdn.lifetime_s": 600,
    }
    pairs = [("--set", f"{name}={json.dumps(value)}") for name, value in settings.items()]
    flags = [flag for pair in pairs for flag in pair]
    service = serve(images, *flags, "--allow-origin", PAGE)

    def ask(image_id: str, body: object = None, images: str = "mine") -> tuple[Any, list[str]]:
        claims = {
            "sub": "ann",
            "iss": "https://issuer.example.com",
            "aud": "disks",
            "exp": int(time.time()) + 60,
            "scope": f"disk:read:{images}",
        }
        token = jwt.encode(claims, TOKENS, algorithm="EdDSA")
        connection = service.connect()
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", f"/v1/images/{image_id}/cdn", data, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.getheader("Cache-Control") == "private, no-store, no-transform"
        cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
        return (response.status, answer), cookies

    return service, ask


def test_a_viewer_gets_cookies_or_an_address(viewer: tuple[RunningService, Ask]) -> None:
    service, ask = viewer
    (status, lease), cookies = ask("mine")
    assert (status, lease["kind"], lease["url"]) == (200, "cookies", f"{CDN}/disk.img")
    jar = SimpleCookie()
    for cookie in cookies:
        jar.load(cookie)
    for morsel in jar.values():
        assert morsel["path"] == "/disk.img"
        # SameSite's values have any case (RFC 6265bis §5.6.7).
        same_site = morsel["samesite"].lower()
        assert (morsel["secure"], morsel["httponly"], same_site) == (True, True, "none")
        assert (morsel["domain"], morsel["max-age"]) == ("example.com", "600")
    policy = decode(jar["CloudFront-Policy"].value)
    signature = jar["CloudFront-Signature"].value
    assert let_in(policy, signature, lease["url"], time.time() + 590)
    assert not let_in(policy, signature, lease["url"], time.time() + 610)

    (status, lease), cookies = ask("mine", {"kind": "url"})
    assert (status, cookies) == (200, [])
    assert opens(lease["url"], time.time() + 590)
    (status, lease), cookies = ask("all")
    assert (lease, cookies) == (
        {"url": f"{CDN}/disk.img", "kind": "public", "expires_at": None},
        [],
    )
    for answer, cookies in (ask("mine", images="other"), ask("mine", {"kind": "x"}), ask("no")):
        assert answer[0] in (400, 403, 404)
        assert cookies == []
    assert service.ask("/v1/images/mine/cdn", method="POST", body=b"").status == 401


def test_a_lease_of_a_prepared_image_is_for_its_folder(viewer: tuple[RunningService, Ask]) -> None:
    _, ask = viewer
    (status, lease), cookies = ask("packed", images="*")
    assert (status, lease["url"]) == (200, f"{CDN}/sub/m.json")
    jar = SimpleCookie()
    for cookie in cookies:
        jar.load(cookie)
    assert {morsel["path"] for morsel in jar.values()} == {"/sub"}
    policy = decode(jar["CloudFront-Policy"].value)
    assert let_in(policy, jar["CloudFront-Signature"].value, f"{CDN}/sub/*", time.time())
    # Nobody gets all of the bucket.
    answer, cookies = ask("above", images="*")
    assert (answer[0], answer[1]["error"]["code"], cookies) == (409, "no_folder", [])
