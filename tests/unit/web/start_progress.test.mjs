// The bytes that are counted while Python is downloaded. Run by test_start_progress.py, or:
// node --test tests/unit/web/start_progress.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { StartProgress } from "../../../web/lib/start-progress.mjs";

const SIZES = { wasm: 1000, snapshot: 500 };

/** A response whose body comes when a test says so. */
class Download {
  #controller;
  constructor(headers = {}) {
    const start = (controller) => (this.#controller = controller);
    this.response = new Response(new ReadableStream({ start }), { headers });
  }
  send(bytes) {
    this.#controller.enqueue(new Uint8Array(bytes));
  }
  end() {
    this.#controller.close();
  }
  fail() {
    this.#controller.error(new Error("the connection broke"));
  }
}

/** Counts both files; `last` waits until as many bytes were reported. */
function counting() {
  const reports = [];
  const waiting = [];
  const progress = new StartProgress(SIZES, (loaded, total) => {
    reports.push([loaded, total]);
    for (const one of waiting) if (one.loaded === loaded && one.total === total) one.resolve();
  });
  progress.expect("wasm");
  progress.expect("snapshot");
  const until = (loaded, total) =>
    new Promise((resolve) => {
      if (reports.some((report) => report[0] === loaded && report[1] === total)) resolve();
      else waiting.push({ loaded, total, resolve });
    });
  return { progress, reports, until };
}

const bodyOf = async (response) => (await response.arrayBuffer()).byteLength;

test("the bytes of all files count, and whoever reads a file gets all of it", async () => {
  const { progress, reports, until } = counting();
  progress.begin();
  const wasm = new Download();
  const snapshot = new Download();
  progress.count("wasm", wasm.response);
  progress.count("snapshot", snapshot.response);
  const read = Promise.all([bodyOf(wasm.response), bodyOf(snapshot.response)]);
  wasm.send(600);
  await until(600, 1500);
  snapshot.send(500);
  snapshot.end();
  await until(1100, 1500);
  wasm.send(400);
  wasm.end();
  await until(1500, 1500);
  assert.deepEqual(await read, [1000, 500]);
  assert.deepEqual(reports[0], [0, 1500]);
});

test("a compressed file counts by what crosses the network", async () => {
  const { progress, until } = counting();
  progress.begin();
  const wasm = new Download({ "Content-Length": "300", "Content-Encoding": "br" });
  progress.count("wasm", wasm.response);
  const read = bodyOf(wasm.response);
  wasm.send(500); // decompressed: half of the file
  await until(150, 800);
  wasm.send(500);
  wasm.end();
  await until(300, 800);
  assert.equal(await read, 1000);
});

test("a file that is longer than in the build does not count more than once", async () => {
  const { progress, reports, until } = counting();
  progress.begin();
  const wasm = new Download();
  progress.count("wasm", wasm.response);
  const read = bodyOf(wasm.response);
  wasm.send(1700);
  await until(1000, 1500);
  wasm.end();
  await read;
  assert.ok(reports.every(([loaded]) => loaded <= 1000));
});

test("what came before it was known that there is a download counts once it is", async () => {
  const { progress, reports, until } = counting();
  const wasm = new Download();
  progress.count("wasm", wasm.response);
  const read = bodyOf(wasm.response);
  wasm.send(1000);
  wasm.end();
  await read;
  assert.deepEqual(reports, []);
  progress.begin();
  await until(1000, 1500);
});

test("once Python has started all is there, and that is reported once", async () => {
  const { progress, reports } = counting();
  progress.begin();
  progress.finish();
  progress.finish();
  assert.deepEqual(reports, [[0, 1500], [1500, 1500]]);
});

test("where nothing was downloaded the start is not reported", () => {
  const { progress, reports } = counting();
  progress.finish();
  assert.deepEqual(reports, []);
});

test("nothing is reported or counted after the end", async () => {
  const { progress, reports } = counting();
  const wasm = new Download();
  progress.count("wasm", wasm.response);
  progress.end();
  progress.begin();
  progress.count("snapshot", new Download().response);
  wasm.send(1000);
  wasm.end();
  assert.equal(await bodyOf(wasm.response), 1000);
  assert.deepEqual(reports, []);
});

test("a download that breaks is the reader's to report", async () => {
  const { progress, reports, until } = counting();
  progress.begin();
  const wasm = new Download();
  progress.count("wasm", wasm.response);
  const read = bodyOf(wasm.response);
  wasm.send(600);
  await until(600, 1500);
  wasm.fail();
  await assert.rejects(read, /the connection broke/);
  assert.deepEqual(reports.at(-1), [600, 1500]);
});

test("an error page is not counted, and neither is a file of unknown length", () => {
  const { progress, reports } = counting();
  progress.begin();
  progress.count("wasm", new Response("no such file", { status: 404 }));
  progress.count("another", new Response("text"));
  assert.deepEqual(reports, [[0, 1500]]);
});

test("at most a hundred steps are reported, each further than the one before", async () => {
  const { progress, reports, until } = counting();
  progress.begin();
  for (const [name, size] of Object.entries(SIZES)) {
    const download = new Download();
    progress.count(name, download.response);
    const read = bodyOf(download.response);
    for (let sent = 0; sent < size; sent++) download.send(1);
    download.end();
    await read;
  }
  await until(1500, 1500);
  assert.ok(reports.length <= 101);
  for (const [index, [loaded]] of reports.entries()) assert.ok(index === 0 || loaded > reports[index - 1][0]);
});
