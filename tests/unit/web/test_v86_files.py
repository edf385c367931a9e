"""Which files v86 can use: Debian's SeaBIOS in its variants, and what else may be there."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from lib.project import BIOS, NODE_MODULES, WEB

MODULE = WEB / "adapters" / "v86-files.mjs"
SEABIOS = BIOS.parent
WASM = NODE_MODULES / "v86" / "build" / "v86.wasm"
PAGE = b"<!doctype html><title>Not found</title>"

pytestmark = pytest.mark.skipif(
    not BIOS.exists(), reason="Debian's seabios is not here: scripts/setup fetches it"
)

LOAD = """
import { readFileSync } from "node:fs";
const { v86Files } = await import(%s);
try {
  const { wasm_fn, bios, vga_bios } = await v86Files(JSON.parse(readFileSync(0, "utf8")));
  console.log(JSON.stringify([typeof wasm_fn, bios.buffer.byteLength, vga_bios.buffer.byteLength]));
} catch (error) {
  console.log(JSON.stringify({ name: error.name, message: error.message }));
}
"""


def data_url(content: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def load(**content: bytes) -> object:
    files = {"bios": BIOS.read_bytes(), "vgaBios": (SEABIOS / "vgabios-stdvga.bin").read_bytes()}
    files |= content
    urls = {f"{name}Url": data_url(data) for name, data in files.items() if name != "wasm"}
    is_page = content.get("wasm") == PAGE
    kind = "text/html" if is_page else "application/wasm"
    urls["wasmUrl"] = data_url(content.get("wasm", WASM.read_bytes()), kind)
    script = LOAD % json.dumps(MODULE.as_uri())
    run = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(run, input=json.dumps(urls).encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def test_the_files_that_the_guide_names_are_taken() -> None:
    assert load() == ["function", 131072, 39936]
    assert load(bios=(SEABIOS / "bios-256k.bin").read_bytes()) == ["function", 262144, 39936]


@pytest.mark.parametrize(
    ("content", "problem", "wanted"),
    [
        ({"vgaBios": "vgabios.bin"}, "is for an ISA card", "vgabios-stdvga.bin"),
        ({"vgaBios": "vgabios-cirrus.bin"}, "is for another graphics card", "vgabios-stdvga.bin"),
        ({"vgaBios": "bios.bin"}, "is not a BIOS of a graphics card", "vgabios-stdvga.bin"),
        ({"vgaBios": PAGE}, "is not a BIOS of a graphics card", "vgabios-stdvga.bin"),
        ({"vgaBios": b""}, "is not a BIOS of a graphics card", "vgabios-stdvga.bin"),
        ({"bios": "vgabios-stdvga.bin"}, "is not a BIOS", "bios.bin"),
        ({"bios": PAGE}, "is not a BIOS", "bios.bin"),
        ({"wasm": PAGE}, "did not load", "v86.wasm"),
    ],
    ids=str,
)
def test_another_file_is_named_with_the_right_one(
    content: dict[str, str | bytes], problem: str, wanted: str
) -> None:
    found = load(
        **{
            name: data if isinstance(data, bytes) else Path(SEABIOS, data).read_bytes()
            for name, data in content.items()
        }
    )
    assert isinstance(found, dict)
    assert found["name"] == "EmulatorFileError"
    assert problem in found["message"]
    assert f"{wanted} of " in found["message"]
