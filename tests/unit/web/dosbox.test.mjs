// What a guest in DOSBox sees of a mounted disk: DOSBox runs here, over disks in memory whose content
// test_dosbox.py made with mkfs.fat, sfdisk and genisoimage. Run by that file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { dosboxDrive, mountCommand, mountDrive, usualLetter } from "../../../web/adapters/dosbox-drives.mjs";
import { keyOf } from "../../../web/page/dosbox-keys.mjs";

const require = createRequire(import.meta.url);
const dosbox = require("../../../web/node_modules/emulators/dist/wdosbox.js");
const folder = process.env.DOS_IMAGES;

/** A disk in memory that fails as a test tells it to. */
class MemoryDisk {
  blockSize = 16384;
  readOnly = false;
  fails = () => null;

  constructor(bytes, sectorSize = 512) {
    this.bytes = bytes;
    this.size = bytes.length;
    this.sectorSize = sectorSize;
  }

  async read(offset, length) {
    assert.ok(offset + length <= this.size);
    return this.bytes.slice(offset, offset + length);
  }

  readSync(offset, target) {
    this.#check("read", offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  writeSync(offset, data) {
    this.#check("write", offset, data.length);
    this.bytes.set(data, offset);
  }

  flushSync() {}

  #check(kind, offset, length) {
    assert.ok(offset >= 0 && offset + length <= this.size, `${kind} of ${length} bytes at ${offset}`);
    const name = this.fails(kind, offset);
    if (name) throw Object.assign(new Error(name), { name });
  }
}

function image(name, sectorSize) {
  return new MemoryDisk(new Uint8Array(readFileSync(`${folder}/${name}`)), sectorSize);
}

/** Runs commands in DOSBox with these disks; returns what it printed, and what failed. */
async function run(disks, commands) {
  const drives = await Promise.all(Object.entries(disks).map(([letter, disk]) => dosboxDrive(letter, disk)));
  const lines = ["[autoexec]", "@echo off", ...drives.map(mountCommand), ...commands, "exit"];
  const errors = [];
  let printed = "";
  await new Promise((resolve) => {
    const send = (name) => module.messageHandler({ data: { name, props: { sessionId: "test" } } });
    const module = {
      postMessage(name, { message }) {
        if (name === "ws-ready") setTimeout(() => boot()); // it is still in its own call here
        if (name === "ws-exit") resolve();
        if (name !== "ws-stdout") return;
        printed += message;
      },
      onRuntimeInitialized: () => module.callMain(["test"]),
    };
    const boot = () => {
      drives.forEach((drive) => mountDrive(module.FS, drive, disks[drive.letter], (error) => {
        errors.push(error.name); // returning repeats the call
      }));
      module.FS.createPath("/home/web_user", ".jsdos", true, true);
      module.FS.writeFile("/home/web_user/.jsdos/dosbox.conf", lines.join("\n"));
      send("wc-run");
    };
    dosbox(module);
  });
  return { printed, errors, drives };
}

for (const [name, geometry, lead] of [
  ["volume.img", { cylinders: 514, heads: 2, sectors: 32 }, 64 << 10],
  ["small.img", { cylinders: 166, heads: 2, sectors: 18 }, 1536 << 10],
  ["disk.img", { cylinders: 1056, heads: 2, sectors: 32 }, null],
]) {
  test(`${name}: the guest runs a program, and what it writes is on the disk`, async () => {
    const disk = image(name);
    const { printed, errors, drives } = await run({ c: disk }, ["c:", "hello", "type data.txt", "echo written in DOS> new.txt", "type new.txt"]);
    assert.deepEqual(drives[0].geometry, geometry);
    assert.equal(drives[0].lead?.length ?? null, lead);
    assert.match(printed, /the program ran[^]*text on the disk[^]*written in DOS/);
    assert.deepEqual(errors, []);
    assert.ok(Buffer.from(disk.bytes).includes("written in DOS"));
    assert.ok(!Buffer.from(readFileSync(`${folder}/${name}`)).includes("written in DOS"));
  });
}

test("floppies, a hard disk and a CD at once", async () => {
  const disks = { a: image("small.img"), b: image("small.img"), c: image("disk.img"), d: image("disc.iso", 2048) };
  const { printed, errors } = await run(disks, ["a:", "hello", "echo on b> b:\\new.txt", "copy d:\\data.txt c:\\copied.txt", "type c:\\copied.txt"]);
  assert.match(printed, /the program ran[^]*text on the disk/);
  assert.deepEqual(errors, []);
  assert.ok(Buffer.from(disks.b.bytes).includes("on b"));
  assert.ok(!Buffer.from(disks.a.bytes).includes("on b"));
});

test("DOSBox says itself that it has no FAT32, which only DOSBox-X has", async () => {
  const { printed, errors, drives } = await run({ c: image("fat32.img") }, []);
  assert.ok(printed.includes("Can't create drive from file"));
  assert.deepEqual(errors, []);
  assert.deepEqual(drives[0].geometry, { cylinders: 513, heads: 8, sectors: 32 });
  assert.ok(drives[0].needsX);
  for (const name of ["volume.img", "disk.img"]) assert.ok(!(await dosboxDrive("c", image(name))).needsX, name);
});

test("a disk alone has the letter that DOS gives it", () => {
  const letters = [image("small.img"), image("disc.iso", 2048), image("disk.img"), image("fat32.img")].map(usualLetter);
  assert.deepEqual(letters, ["a", "d", "c", "c"]);
});

test("the keys of a keyboard are those of js-dos", () => {
  const keys = ["KeyA", "KeyZ", "Digit0", "F1", "F12", "Numpad9", "Enter", "ShiftRight"].map(keyOf);
  assert.deepEqual(keys, [65, 90, 48, 290, 301, 329, 257, 344]);
  for (const code of ["", "F13", "KeyÄ", "MetaLeft", "Numpad"]) assert.equal(keyOf(code), undefined);
});

test("DOSBox never sees a failure: it waits, and goes on with the disk's bytes", async () => {
  const disk = image("volume.img");
  const at = Buffer.from(disk.bytes).indexOf("text on the disk");
  let failures = 3;
  disk.fails = (kind, offset) => {
    const isContent = kind === "read" && offset <= at && at < offset + disk.blockSize;
    return isContent && failures-- > 0 ? "NetworkError" : null;
  };
  const { printed, errors } = await run({ c: disk }, ["c:", "type data.txt", "copy data.txt copy.txt", "type copy.txt"]);
  assert.deepEqual(errors, Array(3).fill("NetworkError"));
  assert.equal(printed.split("text on the disk").length, 3);
  failures = 2;
  disk.fails = (kind) => (kind === "write" && failures-- > 0 ? "StorageFullError" : null);
  const again = await run({ c: disk }, ["c:", "echo one> one.txt", "echo two> two.txt", "type one.txt", "type two.txt", "dir"]);
  assert.deepEqual(again.errors, ["StorageFullError", "StorageFullError"]);
  assert.match(again.printed, /one\r\ntwo\r\n/);
  assert.match(again.printed, /ONE +TXT[^]*TWO +TXT/);
});

test("what DOSBox cannot mount is refused with the reason", async () => {
  const empty = new MemoryDisk(new Uint8Array(4 << 20));
  const protective = new MemoryDisk(new Uint8Array(4 << 20));
  protective.bytes.set([0, 0, 2, 0, 0xee, 255, 255, 255, 1, 0, 0, 0, 255, 255, 255, 255], 446);
  protective.bytes.set([0x55, 0xaa], 510);
  for (const disk of [empty, protective, new MemoryDisk(new Uint8Array(100))]) {
    await assert.rejects(dosboxDrive("c", disk), /neither a partition table nor a FAT volume/);
  }
  await assert.rejects(dosboxDrive("a", image("volume.img")), { name: "RangeError", message: /no floppy of 16777216 bytes/ });
  await assert.rejects(dosboxDrive("c:", image("volume.img")), /c: is not a drive letter/);
  await assert.rejects(dosboxDrive("c", Object.assign(image("volume.img"), { readOnly: true })), { name: "ReadOnlyError" });
  const failing = image("volume.img");
  failing.read = async () => Promise.reject(new Error("the server is gone"));
  await assert.rejects(dosboxDrive("c", failing), /the server is gone/);
});
