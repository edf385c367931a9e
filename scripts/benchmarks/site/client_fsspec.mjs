// fsspec's HTTP file in Pyodide. Its asynchronous one needs aiohttp, which needs sockets and threads;
// in Pyodide fsspec has a synchronous one over XMLHttpRequest. It keeps nothing between visits.
import { serve } from "./client.mjs";

const CODE = `
import time, zlib
from fsspec.implementations.http_sync import HTTPFileSystem

def open_file(url, chunk):
    global file
    # Its default, one window of 5 MiB, downloads most of it again after each jump.
    options = {"cache_type": "blockcache", "cache_options": {"maxblocks": 1 << 16}}
    file = HTTPFileSystem(skip_instance_cache=True).open(url, block_size=chunk, **options)

def read(offset, length):
    file.seek(offset)
    data = file.read(length)
    assert len(data) == length
    return data

def replay(reads):
    owed_s = waited = 0.0
    start = time.perf_counter()
    for offset, length, think_ms in reads:
        owed_s += think_ms / 1000
        if owed_s >= 0.008:
            before = time.perf_counter()
            time.sleep(owed_s)
            owed_s -= time.perf_counter() - before
        before = time.perf_counter()
        read(offset, length)
        waited += time.perf_counter() - before
    return [(time.perf_counter() - start) * 1000, waited * 1000]

def check(ranges):
    return [zlib.crc32(read(offset, length)) for offset, length in ranges]
`;

const started = (async () => {
  const site = new URL("../", import.meta.url);
  const { loadPyodide } = await import(new URL("pyodide/pyodide.mjs", site).href);
  const indexURL = new URL("pyodide/", site).href;
  const pyodide = await loadPyodide({ indexURL, packages: ["micropip"] });
  const { wheel } = await (await fetch(new URL("fsspec.json", import.meta.url))).json();
  await pyodide.pyimport("micropip").install(new URL(wheel, import.meta.url).href);
  pyodide.runPython(CODE);
  return pyodide;
})();

serve({
  async open({ url, chunk }) {
    (await started).globals.get("open_file")(url, chunk);
  },
  async replay({ reads }) {
    const pyodide = await started;
    const [ms, waitMs] = pyodide.globals.get("replay")(pyodide.toPy(reads)).toJs();
    return { ms, waitMs };
  },
  async check({ ranges }) {
    const pyodide = await started;
    return pyodide.globals.get("check")(pyodide.toPy(ranges)).toJs();
  },
  close() {},
});
