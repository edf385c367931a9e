"""The sample disk is one that common tools take, and the same each time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lib.provisioning import SYSTEM_PATH
from samples.sample_image import PARTITION_START, make_sample_disk

MIB = 1 << 20
SIZE = 24 * MIB


def run(*command: str | Path) -> str:
    """What a tool says; it fails the test unless the tool is content."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": SYSTEM_PATH}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "sample.img"
    make_sample_disk(path, SIZE)
    return path


def test_has_the_size_that_was_asked_for(disk):
    assert disk.stat().st_size == SIZE


def test_sfdisk_finds_one_partition_to_the_end(disk):
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    assert table["label"] == "dos"
    (partition,) = table["partitions"]
    assert partition["start"] * 512 == PARTITION_START
    assert (partition["start"] + partition["size"]) * 512 == SIZE
    assert partition["type"] == "e"


def test_fsck_finds_a_clean_file_system(disk, tmp_path):
    partition = tmp_path / "partition"
    partition.write_bytes(disk.read_bytes()[PARTITION_START:])
    run("fsck.vfat", "-n", partition)


def test_its_files_can_be_read(disk):
    text = run("mtype", "-i", f"{disk}@@{PARTITION_START}", "::README.TXT")
    assert text.startswith("This is a sample disk")


def test_is_the_same_each_time(disk, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    again = tmp_path / "again.img"
    make_sample_disk(again, SIZE)
    assert again.read_bytes() == disk.read_bytes()
