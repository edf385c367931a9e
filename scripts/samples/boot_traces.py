"""Records the boots that the bench replays anew. Needs what debian_image needs.

Another Debian gives another trace, so results before and after are not to be compared.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.workloads import TRACES
from lib.project import BIOS, GRUB_RESCUE_IMAGE, NODE_MODULES, SCRIPTS
from samples.debian_image import make_debian_image

PROMPT = "root@debian:~#"
MENU = "GNU GRUB"
GRUB_TRACE = TRACES / "grub-rescue.json.gz"
DEBIAN_TRACE = TRACES / "debian-boot.json.gz"


def record(image: Path, bios: Path, until: str, trace: Path) -> None:
    """Boots an image in v86 until it shows a text, and writes what it read.

    Traces of the same reads differ only in the times.
    """
    recorded = boot(image, bios, [until])
    reads = [[offset, length, round(ms, 1)] for offset, length, ms in recorded["reads"]]
    text = json.dumps({"size": recorded["size"], "reads": reads}, separators=(",", ":")).encode()
    trace.write_bytes(gzip.compress(text, mtime=0))


def boot(image: Path, bios: Path, until: Sequence[str], typed: Sequence[str] = ()) -> Any:
    """Boots an image in v86 and returns what `record_boot.mjs` recorded.

    Whenever the next text of `until` is shown, the next line of `typed` is typed. `until` has one
    more than `typed`.
    """
    with tempfile.TemporaryDirectory() as made:
        raw = Path(made, "trace.json")
        recorder = SCRIPTS / "samples" / "record_boot.mjs"
        command: list[str | Path] = ["node", recorder, NODE_MODULES / "v86", bios, image, raw]
        command += [f"--until={text}" for text in until] + [f"--type={line}" for line in typed]
        subprocess.run(command, check=True)
        return json.loads(raw.read_bytes())


def debian_trace(image: Path) -> Path:
    """The reads of this particular image when it boots; recorded once, which takes some minutes.

    Two images made by the same recipe do not have their files at the same offsets.
    """
    trace = image.with_suffix(".boot.json.gz")
    if not trace.exists():
        print("recording what Debian reads when it boots (minutes)", file=sys.stderr, flush=True)
        record(image, BIOS.parent, PROMPT, trace)
    return trace


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="boot_traces", description=__doc__)
    parser.add_argument("--bios", type=Path, default=BIOS.parent, help="bios.bin and the VGA BIOS")
    bios: Path = parser.parse_args().bios
    record(GRUB_RESCUE_IMAGE, bios, MENU, GRUB_TRACE)
    record(make_debian_image(), bios, PROMPT, DEBIAN_TRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
