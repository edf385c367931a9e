"""The commands that the guide shows, run as they stand, one after the other."""

from __future__ import annotations

import shlex

from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images
from support.qemu import needs_qemu, qemu_img
from support.readme import GUIDE, blocks


@needs_qemu
def test_every_command_of_the_guide_does_what_it_says(run, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text("proc\n")
    disk = images.make_ext(tmp_path / "source.img", tree, "ext4", size=8 << 20)
    monkeypatch.chdir(tmp_path)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, "disk.qcow2")
    (tmp_path / "list").write_bytes(digests_of([disk.read_bytes()]).encode())
    (tmp_path / "reads").write_text("0 4096\n")
    texts = [b.text for b in blocks("sh") if b.page == GUIDE / "python.md"]
    lines = [line for text in texts for line in text.splitlines() if "aero-disk " in line]
    assert len(lines) > 20
    with ImageServer({"disk.img": disk}) as server:
        stand_for = {"SOURCE": str(disk), "URL": server.url("disk.img"), "TRACE": "reads"}
        stand_for |= {"FILE": "list", "TARGET": "copy"}
        for line in lines:
            words = [stand_for.get(word, word) for word in shlex.split(line, comments=True)[1:]]
            if words[0] == "mount":  # goes on until it is unmounted: test_mount has it
                continue
            status, _, err = run(*words)
            assert (status, err) == (0, ""), line
    assert (tmp_path / "copy" / "fstab").read_text() == "proc\n"
    assert (tmp_path / "disk.img").read_bytes() == disk.read_bytes()
    assert run("ls", "image:saved", "/1")[1].split() == [b"etc/", b"lost+found/"]
