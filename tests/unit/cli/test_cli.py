"""The command `aero-disk`: what it prints, writes and returns, for a URL and for a file."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from aero_browser_disk.progress import TerminalBar
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images
from support.qemu import needs_qemu, qemu_img
from support.samples import IMAGE


def test_a_url_is_looked_at_listed_and_read(run, served, cache):
    url = served.url("disk.img")
    status, out, _ = run("info", url)
    assert status == 0
    assert b"8 MiB (8,388,608 bytes)" in out
    assert "FAT16 “VOL”".encode() in out or "FAT12 “VOL”".encode() in out
    status, out, _ = run("ls", url, "/1")
    assert status == 0
    assert [line.split()[-1] for line in out.decode().splitlines()] == ["big.bin", "hello.txt"]
    status, out, _ = run("cat", url, "/1/hello.txt")
    assert (status, out) == (0, b"hello\n")
    assert any(cache.rglob("blocks*"))


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
def test_a_disk_of_another_format_is_looked_into(run, volume, cache, tmp_path, kind):
    """As a file, and on a server."""
    made = tmp_path / "disk"
    qemu_img("convert", "-f", "raw", "-O", kind, volume, made)
    with ImageServer({"disk": made}) as server:
        for source in (made, server.url("disk")):
            status, out, _ = run("cat", source, "/1/hello.txt")
            assert (status, out) == (0, b"hello\n")
            status, out, _ = run("read", source, "0", "512")
            assert (status, out) == (0, volume.read_bytes()[:512])
            told = json.loads(run("info", source, "--json")[1])["format"]
            assert told.startswith({"vpc": "vhd"}.get(kind, kind))
            assert f"format    {told}" in run("info", source)[1].decode()
        cached = json.loads(run("list", "--json")[1])["entries"]
        assert [entry["format"] for entry in cached] == [told]
        server.behaviour = Behaviour(validators="none")
        assert json.loads(run("info", server.url("disk"), "--json")[1])["format"] == told
    assert json.loads(run("info", volume, "--json")[1])["format"] == "raw"


def test_bytes_go_to_a_file_or_a_pipe(run, volume, served, cache, tmp_path):
    data = volume.read_bytes()
    status, out, _ = run("read", served.url("disk.img"), "0x200", "6MiB")
    assert (status, out) == (0, data[512 : 512 + (6 << 20)])
    target = tmp_path / "part"
    assert run("read", volume, "1000", "77", "-o", target)[:2] == (0, b"")
    assert target.read_bytes() == data[1000:1077]
    assert run("read", volume, "510", "2", "--hex")[1] == (
        b"00000001fe  55 aa                                            U.\n"
    )


def test_a_file_is_taken_out_whole_or_not_at_all(run, served, cache, tmp_path):
    target = tmp_path / "big.bin"
    url = served.url("disk.img")
    assert run("cat", url, "/1/big.bin", "-o", target)[0] == 0
    assert target.read_bytes() == images.BIG
    other = tmp_path / "other.bin"
    assert run("cat", url, "/1/none", "-o", other)[0] == 1
    assert not other.exists()


def test_json_is_for_programs_errors_too(run, volume, served, cache):
    status, out, _ = run("ls", volume, "/1", "--json")
    entries = json.loads(out)["entries"]
    assert status == 0
    assert [(e["name"], e["kind"], e["size"]) for e in entries] == [
        ("big.bin", "file", len(images.BIG)),
        ("hello.txt", "file", 6),
    ]
    info = json.loads(run("info", served.url("disk.img"), "--json")[1])
    assert info["size"] == volume.stat().st_size
    assert info["volumes"][0]["label"] == "VOL"
    served.behaviour = Behaviour(status=404)
    status, out, err = run("info", served.url("other"), "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["error"]["name"] == "HttpStatusError"
    assert json.loads(out)["error"]["fields"]["status"] == 404


def test_the_whole_image_is_fetched_once(run, volume, served, cache):
    url = served.url("disk.img")
    status, out, err = run("prefetch", url)
    assert (status, err) == (0, "")
    assert b"8 MiB are cached" in out
    served.forget()
    assert run("read", url, "5MiB", "1MiB")[1] == volume.read_bytes()[5 << 20 : 6 << 20]
    assert all(request.method == "HEAD" for request in served.requests)
    status, _, err = run("prefetch", url, "--cache-limit", "1MiB")
    assert status == 2
    assert "--cache-limit" in err


def test_a_profile_of_a_boot_is_made_and_fetched(run, served, cache, tmp_path):
    url, reads, made = served.url("disk.img"), tmp_path / "reads", tmp_path / "profile"
    reads.write_text("0 512\n0x100000 40000\n0 4096\n")
    assert run("profile", url, "--reads", reads, "-o", made)[0] == 0
    profile = BootProfile.decode(made.read_bytes())
    first = (1 << 20) // profile.block_size
    assert profile.blocks[:3] == (0, first, first + 1)
    with_file = run("profile", url, "--reads", reads, "--file", "/1/big.bin")[1]
    assert len(BootProfile.decode(with_file).blocks) * profile.block_size > len(images.BIG)
    elsewhere = tmp_path / "elsewhere"
    assert run("prefetch", url, "--profile", made, "--cache", elsewhere)[0] == 0
    served.forget()
    run("read", url, "0x100000", "40000", "--cache", elsewhere)
    assert all(request.method == "HEAD" for request in served.requests)


def test_an_image_is_compared_with_its_digest_list(run, volume, served, cache, tmp_path):
    data = volume.read_bytes()
    right = tmp_path / "right.digests"
    right.write_bytes(digests_of([data]).encode())
    url = served.url("disk.img")
    assert run("verify", url, "--digests", right)[0] == 0
    copy = tmp_path / "copy.img"
    copy.write_bytes(data[:300_000] + b"!" + data[300_001:])
    copy.with_name("copy.img.digests").write_bytes(right.read_bytes())
    status, out, _ = run("verify", copy, "--json")
    assert status == 1
    assert json.loads(out)["wrong_at"] == [300_000 // 65536 * 65536]
    status, _, err = run("verify", url, "--digests", right, "--digests-sha256", "0" * 64)
    assert status == 1
    assert "SHA-256" in err


def test_what_cannot_be_meant_so_is_another_status(run, volume, served, cache):
    for arguments in (
        ("prefetch", volume),
        ("verify", served.url("disk.img")),
        ("profile", served.url("disk.img")),
        ("read", volume, "8MiB", "1"),
        ("read", volume, "0", "1", "--json"),
        ("cp", volume, "/", "x"),
        ("info", "ftp://x/y"),
        ("ls", volume, "1"),
        ("ls", volume, "--header", "A: b"),
        ("ls", served.url("disk.img"), "--block-size", "5"),
        ("prefetch", served.url("disk.img"), "--cache-limit", "1MiB"),
        ("nonsense",),
        ("read", volume, "x", "1"),
        ("info", served.url("disk.img"), "--header", "nonsense"),
    ):
        assert run(*arguments)[0] == 2, arguments
    for arguments in (("info", "/no/such/file"), ("ls", volume, "/7")):
        status, _, err = run(*arguments)
        assert status == 1
        assert err.startswith("aero-disk: ")
        assert "Traceback" not in err


def test_headers_are_sent_and_kept_in_a_file_if_need_be(run, served, cache, tmp_path):
    secrets = tmp_path / "headers"
    secrets.write_text("Authorization: Bearer t\n\n")
    run(
        "info",
        served.url("disk.img"),
        "--header",
        "X-A: b",
        "--header",
        f"@{secrets}",
    )
    assert all(r.headers["authorization"] == "Bearer t" for r in served.requests)
    assert all(r.headers["x-a"] == "b" for r in served.requests)


def test_names_of_an_image_do_not_steer_the_terminal(run, tmp_path, volume):
    data = bytearray(volume.read_bytes())
    at = data.index(b"HELLO   TXT")
    data[at : at + 11] = b"\x1b[31mX  TXT"
    hostile = tmp_path / "hostile.img"
    hostile.write_bytes(data)
    out = run("ls", hostile, "/1")[1]
    assert b"[31mx" in out.lower()
    assert b"\x1b" not in out


def test_whoever_reads_may_stop(volume):
    command = [sys.executable, "-m", "aero_browser_disk.cli.main", "read", str(volume), "0", "8MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_a_bar_shows_how_far_it_is_and_goes_away():
    screen, time = io.StringIO(), [0.0]
    shown = TerminalBar(screen, "fetching", now=lambda: time[0])
    for done in range(5):
        time[0] = float(done)
        shown.update(done << 20, 8 << 20)
    assert "50 %" in screen.getvalue()
    assert "1 MiB/s, 4 s left" in screen.getvalue()
    shown.close()
    assert screen.getvalue().rsplit("\r", 2)[1].strip() == ""
    assert screen.getvalue().endswith("\r")


def test_a_small_image_at_an_odd_size_is_read(run, cache):
    with ImageServer({"disk.img": IMAGE}) as server:
        assert run("read", server.url("disk.img"), "100", "5")[1] == IMAGE.read(100, 5)
        assert run("ls", server.url("disk.img"))[0] == 0
        assert run("ls", server.url("disk.img"), "/1")[0] == 1
