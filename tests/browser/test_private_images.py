"""A private image, leased from the real service by a page that streams it, in Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import BrowserContext, Page, Route

from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from service.conftest import RunningService

DISK = SyntheticImage(8 << 20, seed=21)
ISSUER, AUDIENCE = "https://issuer.example", "disks"
OURS = ec.generate_private_key(ec.SECP256R1())

# A page of a program that knows its user's token. Nothing but leases carries it.
OPEN = """async ({ module, service, token, name }) => {
  const { openDisk } = await import(module);
  globalThis.leases = [];
  globalThis.renew = async () => {
    const response = await fetch(`${service}/v1/images/${name}/lease`, {
      method: "POST", headers: { Authorization: `Bearer ${token}` },
    });
    const lease = await response.json();
    leases.push(response.status);
    return { url: new URL(lease.url, service) };
  };
  const { url } = await renew();
  globalThis.address = url.href;
  globalThis.disk = await openDisk({
    url, renew: async () => {
      const grant = await renew();
      address = grant.url.href;
      return grant;
    },
    cacheKey: name, allowRemote: true, bootProfile: null, readAhead: false,
    concurrency: 2, maxRequestBytes: 256 << 10,
  });
  return disk.size;
}"""

READ = """async ({ offset, length }) => {
  const bytes = await disk.read(offset, length);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return { digest: Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join(""), leases };
}"""

# The clock of the service decides when a lease ends, so it is asked until then.
UNTIL_EXPIRED = """async () => {
  let response;
  do response = await fetch(address, { headers: { Range: "bytes=0-0" } });
  while (response.status === 206);
  return { status: response.status, code: (await response.json()).error.code };
}"""


class Keys:
    """The keys file of the service, which it reads again when told."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.number = 0
        self.rotate()

    def rotate(self) -> None:
        """Another key, and none of those before."""
        self.number += 1
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        name = f"k{self.number}"
        self.file.write_text(f'current = "{name}"\n[keys]\n{name} = "{secret}"\n')


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.toml")


@pytest.fixture(params=["uvicorn", "granian"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, site: SiteServer, keys: Keys
) -> Iterator[RunningService]:
    images = tmp_path / "images"
    images.mkdir()
    (images / "win.img").write_bytes(DISK.read(0, DISK.size))
    entry = {"id": "win", "file": "win.img", "public": False}
    (images / "manifest.json").write_text(json.dumps({"images": [entry]}))
    public = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "issuer.pem").write_bytes(public)
    configuration = tmp_path / "service.toml"
    configuration.write_text(f"""
        [server]
        kind = "{request.param}"
        [cors]
        allow_origins = ["{site.url.rstrip("/")}"]
        [authorization]
        signing_keys_file = "{keys.file}"
        lease_s = 5
        [authorization.jwt]
        issuer = "{ISSUER}"
        audience = "{AUDIENCE}"
        keys_file = "{tmp_path / "issuer.pem"}"
    """)
    with RunningService(images, "--config", str(configuration)) as running:
        yield running


def token(**changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": int(time.time()) + 600,
        "scope": "disk:read:win",
        **changes,
    }
    return jwt.encode(claims, OURS, "ES256")


def lines_of(service: RunningService) -> list[dict[str, Any]]:
    """The requests that it responded to so far."""
    service.ask("/healthz")
    lines = []
    while (line := service.event("request"))["route"] != "/healthz":
        lines.append(line)
    return lines


def open_disk(page: Page, site: SiteServer, service: RunningService, bearer: str) -> int:
    page.goto(site.url)
    size: int = page.evaluate(
        OPEN,
        {
            "module": f"{site.url.rstrip('/')}/aero-disk.mjs",
            "service": f"http://{service.host}:{service.port}",
            "token": bearer,
            "name": "win",
        },
    )
    return size


def read(page: Page, offset: int, length: int) -> list[int]:
    """Reads and compares every byte; the statuses of the leases so far."""
    found = page.evaluate(READ, {"offset": offset, "length": length})
    assert found["digest"] == hashlib.sha256(DISK.read(offset, length)).hexdigest()
    leases: list[int] = found["leases"]
    return leases


def test_leases_are_renewed_when_they_end_and_when_keys_change_in_mid_read(
    context: BrowserContext, site: SiteServer, service: RunningService, keys: Keys, console: Any
) -> None:
    console.allow("401")  # Chromium says so of each refusal
    page = context.new_page()
    bearer = token()
    assert open_disk(page, site, service, bearer) == DISK.size
    leases = read(page, 1000, 300_000)

    # A lease that ended: the read that meets it goes on with another.
    assert page.evaluate(UNTIL_EXPIRED) == {"status": 401, "code": "expired"}
    more_leases = read(page, 1_000_000, 500_000)
    assert len(more_leases) > len(leases)

    # While a read of many ranges is under way, the key that signed its lease goes out of use.
    ranges: list[str] = []

    def rotate_at_the_fifth(route: Route) -> None:
        ranges.append(parse_qs(urlsplit(route.request.url).query)["kid"][0])
        if len(ranges) == 5:
            keys.rotate()
            service.process.send_signal(signal.SIGHUP)
            service.event("reloaded")
        route.continue_()

    context.route("**/disks/win/bytes?*", rotate_at_the_fifth)
    leases = read(page, 2 << 20, 6 << 20)
    context.unroute_all()
    assert len(leases) > len(more_leases)
    assert set(leases) == {200}
    assert ranges[:5] == ["k1"] * 5
    assert ranges[-1] == "k2"
    lines = lines_of(service)
    assert 401 in [line["status"] for line in lines]
    # The addresses are short-lived, and still nobody reads them, or the token, in the log.
    assert bearer not in json.dumps(lines)
    assert "sig=" not in json.dumps(lines)


def test_who_may_not_read_is_told_so(
    context: BrowserContext, site: SiteServer, service: RunningService, console: Any
) -> None:
    console.allow("403")
    page = context.new_page()
    page.goto(site.url)
    response = page.evaluate(
        """async ({ url, token }) => {
          const headers = { Authorization: `Bearer ${token}` };
          const response = await fetch(url, { method: "POST", headers });
          return { status: response.status, code: (await response.json()).error.code };
        }""",
        {
            "url": f"http://{service.host}:{service.port}/v1/images/win/lease",
            "token": token(scope="disk:read:other"),
        },
    )
    assert response == {"status": 403, "code": "private_image"}
