"""The command in a shell: pipes that close, files that are full or closed, signals, odd names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images

STALL = 300_000
COMMAND = f"{sys.executable} -m aero_browser_disk.cli.main"


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Path:
    """An ext4 volume whose label is not ASCII."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "tree").mkdir()
    (folder / "tree" / "file").write_text("content\n")
    images.make_ext(folder / "disk.img", folder / "tree", "ext4", size=4 << 20)
    images.tool("tune2fs", "-L", "Völume", folder / "disk.img")
    return folder / "disk.img"


@pytest.fixture
def shell(disk, cache):
    """Runs a line of shell, in which `aero-disk` is the command and DISK the image."""

    def runs(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        text = line.replace("aero-disk", COMMAND).replace("DISK", str(disk))
        environment = {**os.environ, "PYTHONUNBUFFERED": "", **environment}
        done = subprocess.run(
            ["bash", "-c", text], capture_output=True, text=True, errors="replace", env=environment
        )
        assert "Traceback" not in done.stderr
        return done

    return runs


@pytest.mark.parametrize(
    "line",
    [
        "aero-disk ls DISK /1 >&-",
        "aero-disk read DISK 0 1MiB >&-",
        "aero-disk info DISK --json >/dev/full",
        "aero-disk --help >/dev/full",
    ],
)
def test_output_that_cannot_be_written_is_an_error(shell, line):
    done = shell(line)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("aero-disk: standard output: ")


def test_what_is_said_never_goes_to_standard_output(shell):
    done = shell("aero-disk ls nothing 2>&-")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_who_has_seen_enough_is_no_error_to_speak_of(shell):
    done = shell("aero-disk read DISK 0 4MiB | head -c 5 >/dev/null; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_every_terminal_shows_every_name(shell):
    done = shell("aero-disk ls DISK", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "V?lume" in done.stdout
    assert shell(r"aero-disk ls $'\xff'").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "DISK", "/1/\x1b[31m"),
        ("ls", "\x1b[31m"),
        ("import", "\x1b[31m"),
        ("overlay", "reset", "\x1b[31m"),
        ("\x1b[31m",),
        ("read", "DISK", "\x1b[31m", "1"),
        ("ls", "DISK", "/1/\udcff"),
    ],
)
def test_no_argument_steers_the_terminal(run, disk, arguments):
    status, _, err = run(*[str(disk) if word == "DISK" else word for word in arguments])
    assert status in (1, 2)
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing_unfinished(disk, cache, tmp_path, number):
    target = tmp_path / "out"
    target.mkdir()
    with ImageServer({"disk.img": disk}) as server:
        command = [*COMMAND.split(), "export", server.url("disk.img"), str(target / "file")]
        # The last of it never comes.
        server.behaviour = Behaviour(stall_after=STALL)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            server.wait_for(lambda s: any(r.bytes_sent == STALL for r in s.requests), 120)
            assert list(target.iterdir())
            process.send_signal(number)
            assert process.wait() == 128 + number
            assert process.stderr.read() == ""
    assert not list(target.iterdir())


def test_what_is_no_file_is_not_taken_for_one(run, volume, disk, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source, reason in ((tmp_path, "Is a directory"), (pipe, "It is a pipe")):
        for command in ("info", "import"):
            status, _, err = run(command, source)
            assert status == 1
            assert f"{source} cannot be read" in err
            assert reason in err
    for target in (tmp_path, tmp_path / "none" / "file"):
        for command in (("export", disk), ("cat", disk, "/1/file", "-o")):
            status, _, err = run(*command, target)
            assert status == 1
            assert str(target) in err
            assert ".part" not in err


def test_a_device_is_written_to_and_not_replaced(run, disk, tmp_path):
    assert run("export", disk, "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with (
        subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader,
        subprocess.Popen([*COMMAND.split(), "export", disk, pipe]) as writer,
    ):
        assert reader.stdout.read() == disk.read_bytes()
        assert writer.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("ls", "DISK", "x"), "PATH must be"),
        (("rename", "mine", "a\nb"), "NAME must be"),
        (("overlay", "create", "DISK", "a\nb"), "NAME must be"),
        (("import", "DISK", "--name", "a\nb"), "--name must be"),
    ],
)
def test_an_argument_is_called_as_the_command_calls_it(run, disk, arguments, named):
    run("import", disk, "--name", "mine")
    words = [str(disk) if word == "DISK" else word for word in arguments]
    status, _, err = run(*words)
    assert (status, named in err) == (2, True), err
    out = json.loads(run(*words, "--json")[1])
    assert out["error"]["message"].startswith(named)
