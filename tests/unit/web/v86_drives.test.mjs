// Two floppies, two disks and a CD in one machine: a boot sector that reads and writes them through the BIOS, and the
// CD's registers. Run by test_v86_disk.py, which names SeaBIOS's files in BIOS and VGA_BIOS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { v86Disk } from "../../../web/adapters/v86-disk.mjs";
import { BIOS, READ, SECTOR, WRITE, boot, bootSector, call } from "./small_machine.mjs";

const CD_SECTOR = 2048;
const FLOPPY = 1440 << 10;

/** A disk in memory with a letter in every byte; reads fail as often as a test wants. */
class MemoryDisk {
  version = "one";
  readOnly = false;
  failures = 0;

  constructor(size, letter) {
    this.size = size;
    this.bytes = new Uint8Array(size).fill(letter.charCodeAt(0));
  }

  async read(offset, length) {
    assert.ok(offset + length <= this.size);
    if (offset > 0 && this.failures-- > 0) throw Object.assign(new Error("no network"), { name: "NetworkError" });
    return this.bytes.slice(offset, offset + length);
  }

  async write(offset, data) {
    if (this.full) throw Object.assign(new Error("full"), { name: "StorageFullError" });
    this.bytes.set(data, offset);
  }

  async overlayDigest() {
    return "digest";
  }
}

const CONTENT = [0xb0, 0x45, 0x72, 0x03, 0xa0, 0x00, 0x80]; // mov al, 'E'; jc +3; mov al, [0x8000]
const RESULT = [0xb0, 0x45, 0x72, 0x02, 0xb0, 0x2e]; // mov al, 'E'; jc +2; mov al, '.'

test("two floppies and two disks at once are read and written", { skip: !BIOS }, async () => {
  const disks = { fda: new MemoryDisk(FLOPPY, "a"), fdb: new MemoryDisk(FLOPPY, "b"), hda: new MemoryDisk(5_000_000 - (5_000_000 % SECTOR), "h"), hdb: new MemoryDisk(8 << 20, "i") };
  disks.fdb.readOnly = true;
  const cd = new MemoryDisk(20 * CD_SECTOR, "c");
  disks.fda.bytes.set(
    bootSector(
      call(READ, 0, CONTENT), call(READ, 1, CONTENT), call(READ, 0x80, CONTENT), call(READ, 0x81, CONTENT),
      call(WRITE, 0, RESULT), call(WRITE, 1, RESULT), call(WRITE, 0x80, RESULT),
    ),
  );
  const wrapped = {};
  for (const [name, disk] of Object.entries(disks)) wrapped[name] = await v86Disk(disk, { floppy: name.startsWith("fd") });
  const { machine, printed } = await boot({ ...wrapped, cdrom: await v86Disk(Object.assign(cd, { readOnly: true })) });
  assert.equal(await printed, "abhi.E.$"); // the second floppy is write-protected
  await Promise.all(Object.values(wrapped).map((drive) => drive.flush()));
  await machine.destroy();
  // What was read last was written: the second disk's letter.
  const third = (disk) => String.fromCharCode(disk.bytes[2 * SECTOR], disk.bytes[3 * SECTOR - 1], disk.bytes[3 * SECTOR]);
  assert.deepEqual(Object.values(disks).map(third), ["iia", "bbb", "iih", "iii"]);
});

test("a floppy that cannot be read is tried again or an error for the guest, and a full one is an error", { skip: !BIOS }, async () => {
  const disk = new MemoryDisk(FLOPPY, "a");
  disk.bytes.set(bootSector(call(READ, 0, CONTENT), call(READ, 0, CONTENT), call(WRITE, 0, RESULT)));
  const fda = await v86Disk(disk, { floppy: true });
  const failures = [];
  const refused = [];
  fda.addEventListener("failure", ({ failure }) => {
    failures.push([failure.kind, failure.canRefuse]);
    // The first is worth another try; the second, a new request of the guest, is not.
    if (failures.length === 1) queueMicrotask(() => failure.retry());
    else failure.refuse();
  });
  fda.addEventListener("refused", ({ failure }) => refused.push(failure.kind));
  disk.failures = 2;
  disk.full = true;
  const { machine, printed } = await boot({ fda });
  const text = await printed;
  await machine.destroy();
  assert.match(text, /^[aE]aE\$$/); // the BIOS itself may try again
  assert.deepEqual(failures, [["read", true], ["read", true]]);
  assert.ok(refused.length >= 1 && refused.every((kind) => kind === "write"));
  assert.ok(!disk.bytes.subarray(SECTOR).some((byte) => byte !== 0x61));
});

test("sizes that v86 would show as something else are refused with the reason", async () => {
  const floppy = new MemoryDisk(FLOPPY - SECTOR, "a");
  await assert.rejects(v86Disk(floppy, { floppy: true }), { name: "RangeError", message: /no floppy of 1474048 bytes/ });
  // One that was not announced: v86 would insert a floppy of zeros.
  const { machine } = await boot({}, { run: false });
  const disk = await v86Disk(floppy);
  assert.throws(() => disk.insert(machine, "fda"), /no floppy of 1474048 bytes/);
  await machine.destroy();
  await assert.rejects(v86Disk({ size: 2 ** 41, version: "", read: async () => {} }), /counts sectors in 32 bits/);
});

test("a CD is changed while the machine runs, and the guest is told", async () => {
  const cds = ["x", "y"].map((letter, number) => Object.assign(new MemoryDisk((20 + number) * CD_SECTOR + 100, letter), { readOnly: true, sectorSize: CD_SECTOR }));
  const [first, second] = await Promise.all(cds.map((disk) => v86Disk(disk)));
  const { machine } = await boot({ cdrom: first }, { run: false });
  const { io } = machine.v86.cpu;
  const packet = async (...bytes) => {
    const put = (port, value) => io.port_write8(port, value);
    put(0x176, 0xa0);
    put(0x174, CD_SECTOR & 255);
    put(0x175, CD_SECTOR >> 8);
    put(0x177, 0xa0);
    const whole = [...bytes, ...Array(12 - bytes.length).fill(0)];
    for (let at = 0; at < 12; at += 2) io.port_write16(0x170, whole[at] | (whole[at + 1] << 8));
    while (io.port_read8(0x177) & 0x80) await new Promise((resolve) => setImmediate(resolve));
    return io.port_read8(0x177) & 1 ? null : io.port_read16(0x170);
  };
  const read = () => packet(0x28, 0, 0, 0, 0, 3, 0, 0, 1);
  const letters = (letter) => letter.charCodeAt(0) * 257;
  while ((await packet(0x00)) === null) await packet(0x03, 0, 0, 0, 18); // after power on
  assert.equal(await read(), letters("x"));
  machine.eject_cdrom();
  assert.equal(await packet(0x00), null); // not ready
  second.insert(machine, "cdrom");
  let notices = 0;
  while ((await packet(0x00)) === null) {
    await packet(0x03, 0, 0, 0, 18);
    notices += 1;
    assert.ok(notices < 5);
  }
  assert.ok(notices > 0);
  assert.equal(await read(), letters("y"));
  assert.throws(() => second.insert(machine, "hda"), TypeError);
  await machine.destroy();
});
