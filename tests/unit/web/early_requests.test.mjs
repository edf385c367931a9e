// The requests that are sent while Python starts, against a real server. Run by test_early_requests.py, or:
// node --test tests/unit/web/early_requests.test.mjs
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, afterEach, before, test } from "node:test";
import { EarlyRequests, fetchOrTake, MAX_REQUESTS } from "../../../web/lib/early-requests.mjs";

const PLAIN = { method: "GET", headers: {}, credentials: "same-origin" };

/** Requests as the server saw them, and those that it does not respond to yet. */
const seen = [];
const held = [];
const closed = [];
let files = {};
let holds = () => false;
let server;
let origin;

/** The folders of the origin's private storage, by their paths. */
let folders = new Set();
const folderAt = (path) => ({
  getDirectoryHandle: async (name) => {
    if (folders.has(`${path}/${name}`)) return folderAt(`${path}/${name}`);
    throw new DOMException("there is no such folder", "NotFoundError");
  },
});

before(async () => {
  Object.defineProperty(globalThis, "navigator", { value: { storage: { getDirectory: async () => folderAt("") } } });
  server = createServer((request, response) => {
    seen.push({ method: request.method, path: request.url, headers: request.headers });
    response.on("close", () => !response.writableFinished && closed.push(request.url));
    const respond = () => send(request, response);
    if (holds(request.url)) held.push(respond);
    else respond();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${server.address().port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

afterEach(() => {
  seen.length = held.length = closed.length = 0;
  holds = () => false;
  folders = new Set();
});

function send(request, response) {
  const file = files[request.url.split("?")[0]];
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (!file) response.writeHead(404).end("none");
  else if (range) {
    const part = file.subarray(Number(range[1]), Number(range[2]) + 1);
    response.writeHead(206, { "Content-Length": part.length }).end(part);
  } else response.writeHead(200, { "Content-Length": file.length }).end(request.method === "HEAD" ? "" : file);
}

const nameOf = (data) => createHash("sha256").update(data).digest("hex");
const pathOf = (data) => `/chunks/${nameOf(data).slice(0, 2)}/${nameOf(data)}`;

/** The files of a prepared image with a boot bundle of these parts. */
function prepared(parts, blockSize = 16384) {
  const listed = parts.map((part) => ({ sha256: nameOf(part), length: part.length, kind: "raw", runs: [] }));
  const bundle = Buffer.from(JSON.stringify({ block_size: blockSize, parts: listed }));
  const manifest = Buffer.from(JSON.stringify({ boot: { sha256: nameOf(bundle), length: bundle.length } }));
  files = { "/manifest.json": manifest, [pathOf(bundle)]: bundle };
  for (const part of parts) files[pathOf(part)] = part;
  return ["/manifest.json", pathOf(bundle), ...parts.map(pathOf)];
}

const opening = (values, functions = {}) =>
  EarlyRequests.of({ operation: "disk.open", values: { allowRemote: true, ...values }, functions });
/** Waits for what sets no event; the runner's time-out bounds it. */
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
const requested = () => seen.map(({ path }) => path);
const text = async (url, options = PLAIN) => new Response((await fetchOrTake(url, options)).body).text();

const PARTS = ["first", "second", "third", "fourth", "fifth"].map((word) => Buffer.from(word));

test("the manifest, the bundle's document and its parts are requested in order, each once", async () => {
  const paths = prepared(PARTS);
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => seen.length === paths.length);
  assert.deepEqual(requested().slice(0, 2), paths.slice(0, 2));
  assert.deepEqual(new Set(requested()), new Set(paths));
  early.pythonBegins();
  for (const path of paths) assert.equal(await text(origin + path), String(files[path]));
  assert.equal(seen.length, paths.length, "Python's requests were answered by these");
  assert.equal(await text(`${origin}/manifest.json`), String(files["/manifest.json"]));
  assert.equal(seen.length, paths.length + 1, "a second request is sent");
  early.end();
});

test("parts come so many at a time, and Python sends the rest once it asks for one", async () => {
  const paths = prepared(PARTS);
  holds = (path) => pathOf(PARTS[0]) === path || pathOf(PARTS[1]) === path;
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => held.length === MAX_REQUESTS);
  assert.equal(seen.length, 2 + MAX_REQUESTS);
  early.pythonBegins();
  const first = text(origin + pathOf(PARTS[0]));
  for (const respond of held) respond();
  assert.equal(await first, "first");
  assert.equal(await text(origin + pathOf(PARTS[1])), "second");
  await early.done;
  assert.deepEqual(requested(), paths.slice(0, 2 + MAX_REQUESTS));
  early.end();
});

test("Python sends what was not sent when it begins", async () => {
  prepared(PARTS);
  holds = (path) => path === "/manifest.json";
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => held.length === 1);
  early.pythonBegins();
  const manifest = text(`${origin}/manifest.json`);
  held[0]();
  assert.equal(await manifest, String(files["/manifest.json"]));
  await early.done;
  assert.deepEqual(requested(), ["/manifest.json"]);
  early.end();
});

test("the query goes along, as do headers and credentials, and another request gets another response", async () => {
  const paths = prepared([PARTS[0]]);
  const headers = { Authorization: "Bearer abc" };
  const early = opening({ url: `${origin}/manifest.json?key=1`, headers, credentials: "omit" });
  await until(() => seen.length === paths.length);
  assert.deepEqual(requested(), paths.map((path) => `${path}?key=1`));
  assert.ok(seen.every((request) => request.headers.authorization === "Bearer abc"));
  await text(`${origin}/manifest.json?key=1`, { ...PLAIN, credentials: "omit" }); // without the header
  await text(`${origin}/manifest.json?key=1`, { ...PLAIN, headers }); // with other credentials
  assert.equal(seen.length, paths.length + 2);
  await text(`${origin}/manifest.json?key=1`, { ...PLAIN, headers, credentials: "omit" });
  assert.equal(seen.length, paths.length + 2);
  early.end();
});

test("of any other image its headers and its first block", async () => {
  files = { "/disk.img": Buffer.alloc(20000, "x"), "/small.img": Buffer.from("small") };
  const early = opening({ url: `${origin}/disk.img` });
  await until(() => seen.length === 2);
  assert.deepEqual(seen.map(({ method, headers }) => [method, headers.range]), [["HEAD", undefined], ["GET", "bytes=0-16383"]]);
  const head = await fetchOrTake(`${origin}/disk.img`, { ...PLAIN, method: "HEAD" });
  assert.equal(head.headers.get("content-length"), "20000");
  assert.equal((await text(`${origin}/disk.img`, { ...PLAIN, headers: { Range: "bytes=0-16383" } })).length, 16384);
  const small = opening({ url: `${origin}/small.img`, blockSize: 4096 });
  await until(() => seen.length === 4);
  assert.equal(seen[3].headers.range, "bytes=0-4");
  early.end();
  small.end();
});

test("of a format with a name the headers only, and of a cue sheet nothing", async () => {
  files = { "/disk.qcow2": Buffer.alloc(20000) };
  const qcow2 = opening({ url: `${origin}/disk.qcow2`, format: "qcow2" });
  const cue = opening({ url: `${origin}/cd.cue` });
  await Promise.all([qcow2.done, cue.done]);
  assert.deepEqual(seen.map(({ method, path }) => [method, path]), [["HEAD", "/disk.qcow2"]]);
  qcow2.end();
  cue.end();
});

test("nothing is requested without consent, or where Python may begin otherwise", async () => {
  prepared(PARTS);
  const url = `${origin}/manifest.json`;
  const soon = Date.now() / 1000 + 20;
  for (const values of [
    { allowRemote: undefined },
    { allowRemote: false },
    { allowRemote: "yes" },
    { url: undefined, image: "local" },
    { url: url.replace("//", "//user:word@") },
    { url: `${url}#part` },
    { url: `${url}?` },
    { url: ` ${url}` },
    { url: "ftp://127.0.0.1/manifest.json" },
    { digests: new Uint8Array() },
    { blockSize: "many" },
    { headers: { "X-Number": 5 } },
  ]) {
    assert.equal(opening({ url, ...values }), null, JSON.stringify(values));
  }
  assert.equal(opening({ url, expiresAt: soon }, { renew: 1 }), null);
  assert.equal(EarlyRequests.of({ operation: "saves.open", values: { url, allowRemote: true }, functions: {} }), null);
  assert.deepEqual(seen, []);
});

test("nothing is requested of an image that has a cache", async () => {
  prepared(PARTS);
  const url = `${origin}/manifest.json`;
  for (const [identity, values] of [[url, {}], ["my-key", { cacheKey: "my-key" }]]) {
    const name = nameOf(identity).slice(0, 32);
    folders = new Set(["/aero-browser-disk", "/aero-browser-disk/cache", `/aero-browser-disk/cache/${name}`]);
    await opening({ url, ...values }).done;
  }
  assert.deepEqual(seen, []);
});

test("what Python did not ask for is aborted at the end, and asked for again", async () => {
  prepared(PARTS);
  holds = (path) => path === pathOf(PARTS[0]) || path === pathOf(PARTS[1]);
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => held.length === 2);
  early.pythonBegins();
  const taken = text(origin + pathOf(PARTS[0]));
  early.end();
  await until(() => closed.length === 1);
  assert.deepEqual(closed, [pathOf(PARTS[1])], "not the one that Python waits for");
  for (const respond of held) respond();
  assert.equal(await taken, "first");
  holds = () => false;
  assert.equal(await text(`${origin}/manifest.json`), String(files["/manifest.json"]));
  assert.equal(requested().filter((path) => path === "/manifest.json").length, 2);
});

test("a request that Python aborts is aborted", async () => {
  prepared(PARTS);
  holds = () => true;
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => held.length === 1);
  const controller = new AbortController();
  const taken = fetchOrTake(`${origin}/manifest.json`, { ...PLAIN, signal: controller.signal });
  controller.abort();
  await assert.rejects(taken, { name: "AbortError" });
  await until(() => closed.length === 1);
  early.end();
});

test("a body that is too long is cut one byte or more after what is allowed, as Python does", async () => {
  prepared([PARTS[0]]);
  files[pathOf(PARTS[0])] = Buffer.from("first and more, much more");
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => seen.length === 3);
  const found = await text(origin + pathOf(PARTS[0]));
  assert.ok(found.startsWith("first ") && found.length > PARTS[0].length);
  early.end();
});

test("a failure is Python's to see, and ends the early requests", async () => {
  files = {};
  const early = opening({ url: `${origin}/manifest.json` });
  await until(() => seen.length === 1);
  const response = await fetchOrTake(`${origin}/manifest.json`, PLAIN);
  assert.equal(response.status, 404);
  prepared([PARTS[0]]);
  files["/manifest.json"] = Buffer.from(JSON.stringify({ boot: { sha256: "../../secret" } }));
  const other = opening({ url: `${origin}/manifest.json` });
  await Promise.all([early.done, other.done]);
  assert.deepEqual(requested(), ["/manifest.json", "/manifest.json"]);
  early.end();
  other.end();
});

test("a boot bundle of smaller blocks than the cache's is not requested", async () => {
  const paths = prepared(PARTS, 4096);
  const early = opening({ url: `${origin}/manifest.json` });
  await early.done;
  assert.deepEqual(requested(), paths.slice(0, 2));
  early.end();
});
