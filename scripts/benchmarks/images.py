"""Imports and exports of the library, against a bare JavaScript loop that copies the same bytes."""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks.results import Measure
from lib.project import SCRIPTS

MIB = 1 << 20
SIZE = 512 * MIB
STEP = 4 * MIB
ROUNDS = 5

PAGE = """async ({ source, step }) => {
  document.body.append(
    Object.assign(document.createElement("input"), { type: "file", id: "bench-file" }));
  const { library } = await import("../aero-disk.mjs");
  const worker = new Worker(
    URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
  const waiting = new Map();
  worker.onmessage = ({ data: { id, value, error } }) => {
    waiting.get(id)[error ? 1 : 0](error ? new Error(error) : value);
    waiting.delete(id);
  };
  let last = 0;
  const bare = (operation, values) => new Promise((...both) => {
    waiting.set(++last, both);
    worker.postMessage({ id: last, operation, values });
  });
  const timed = async (work) => {
    const start = performance.now();
    await work();
    return performance.now() - start;
  };
  let length = 0;
  const sink = () => new WritableStream({ write: (chunk) => void (length += chunk.length) });
  const file = () => document.querySelector("#bench-file").files[0];
  globalThis.benchImages = {
    bareIn: async () => {
      await bare("open");
      return timed(() => bare("copyIn", { blob: file(), step }));
    },
    bareOut: async () => {
      const ms = await timed(async () => {
        const writer = sink().getWriter();
        for (let at = 0; at < file().size; at += step) {
          await writer.write(await bare("copyOut", { at, step }));
        }
        await writer.close();
      });
      await bare("close");
      return ms;
    },
    ourIn: () => timed(() => library.import(file(), { name: "bench" })),
    ourOut: async (compress) => {
      length = 0;
      const ms = await timed(() => library.export("bench", { to: sink(), compress }));
      if (!compress && length !== file().size) throw new Error("the export is short");
      return ms;
    },
    forget: () => library.remove("bench"),
  };
}"""


def images(page: Page, site_url: str, rounds: int = ROUNDS) -> list[Measure]:
    """Imports and exports noise, alternating with the bare loop. Needs a profile on disk."""
    page.goto(f"{site_url}bench/index.html")  # no library list, which follows changes
    source = (SCRIPTS / "benchmarks" / "site" / "bare_copy.mjs").read_text()
    page.evaluate(PAGE, {"source": source, "step": STEP})
    times: dict[str, list[float]] = {name: [] for name in ("bareIn", "ourIn", "bareOut", "ourOut")}
    packed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        page.set_input_files("#bench-file", noise(Path(folder, "bench.img")))
        for turn in range(rounds + 1):
            for name, seconds in times.items():
                ms = _call(page, name)
                if turn:  # the first turn starts Python
                    seconds.append(ms / 1000)
            if turn == rounds:
                packed = [_call(page, "ourOut", kind) / 1000 for kind in ("gzip", "zstd")]
            _call(page, "forget")
    rate = {name: SIZE / 1e6 / statistics.median(seconds) for name, seconds in times.items()}
    return [
        Measure("import of a file", rate["ourIn"], "MB/s", rate["bareIn"], 0.8, at_least=True),
        Measure("export of an image", rate["ourOut"], "MB/s", rate["bareOut"], 0.8, at_least=True),
        Measure("export, gzip", SIZE / 1e6 / packed[0], "MB/s"),
        Measure("export, zstd", SIZE / 1e6 / packed[1], "MB/s"),
    ]


def noise(path: Path) -> Path:
    """A file without zeros to skip, which does not compress."""
    chance = random.Random(1)  # noqa: S311 - the same each time
    block = chance.randbytes(MIB)
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            file.write(number.to_bytes(8, "little") + block[8:])
    return path


def _call(page: Page, name: str, *values: Any) -> float:
    call = "([name, values]) => globalThis.benchImages[name](...values)"
    ms: float = page.evaluate(call, [name, list(values)]) or 0.0
    return ms
