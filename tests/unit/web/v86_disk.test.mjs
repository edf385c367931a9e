// What a guest sees of a disk in v86: the drive's registers and memory, worked as a driver works them,
// without a processor between. Run by test_v86_disk.py, or: node --test tests/unit/web/v86_disk.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, mock, test } from "node:test";
import { adapterCases } from "../../../web/adapters/adapter-suite.mjs";
import { StateMismatchError, v86Disk } from "../../../web/adapters/v86-disk.mjs";
import { MachineHold } from "../../../web/adapters/v86-machine.mjs";
import { V86 } from "../../../web/node_modules/v86/build/libv86.mjs";

const GIB = 2 ** 30;
const SECTOR = 512;
const ERROR = 0x01;
const BUSY = 0x80;
const WASM = readFileSync(new URL("../../../web/node_modules/v86/build/v86.wasm", import.meta.url));

afterEach(() => mock.timers.reset());

/** A disk whose content is known at any offset, that does what a test tells it to. */
class ScriptedDisk {
  version = "one";
  readOnly = false;
  sectors = new Map();
  flushes = 0;
  calls = [];
  failures = [];
  gate = Promise.resolve();

  constructor(size = 6 * GIB) {
    this.size = size;
  }

  content(offset, length) {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += SECTOR) {
      const number = (offset + at) / SECTOR;
      bytes.set(this.sectors.get(number) ?? filled(number), at);
    }
    return bytes;
  }

  async read(offset, length, { signal } = {}) {
    await this.#begin("read", offset);
    signal?.throwIfAborted();
    return this.content(offset, length);
  }

  async write(offset, data) {
    const bytes = data.slice();
    await this.#begin("write", offset);
    for (let at = 0; at < bytes.length; at += SECTOR) {
      this.sectors.set((offset + at) / SECTOR, bytes.slice(at, at + SECTOR));
    }
  }

  async flush() {
    await this.#begin("flush", 0);
    this.flushes += 1;
  }

  async overlayDigest() {
    return JSON.stringify([this.version, ...this.sectors]);
  }

  async #begin(kind, offset) {
    this.calls.push([kind, offset]);
    const failure = this.failures.shift();
    await this.gate;
    if (failure) throw failure;
  }

  /** Requests from now on get their response when the returned function is called. */
  close() {
    let open = () => {};
    this.gate = new Promise((resolve) => (open = resolve));
    return open;
  }
}

function filled(number) {
  return new Uint8Array(SECTOR).fill(number % 251);
}

function named(name, message = name) {
  return Object.assign(new Error(message), { name });
}

/** A guest's driver for the first drive. */
class Driver {
  constructor(machine) {
    this.machine = machine;
    this.io = machine.v86.cpu.io;
  }

  /** 48 bits of address, or 28 with `short`. */
  command(code, sector, count, short = false) {
    const put = (port, value) => this.io.port_write8(port, value & 255);
    put(0x1f6, 0xe0 | (short ? sector / 2 ** 24 : 0));
    if (!short) {
      put(0x1f2, count >> 8);
      put(0x1f3, sector / 2 ** 24);
      put(0x1f4, sector / 2 ** 32);
      put(0x1f5, sector / 2 ** 40);
    }
    put(0x1f2, count);
    put(0x1f3, sector);
    put(0x1f4, sector >>> 8);
    put(0x1f5, sector >>> 16);
    put(0x1f7, code);
  }

  /** Starts a transfer to or from memory at 1 MiB. */
  dma(code, sector, count, toMemory) {
    const entry = new DataView(new ArrayBuffer(8));
    entry.setUint32(0, 1 << 20, true);
    entry.setUint16(4, count * SECTOR, true);
    entry.setUint8(7, 0x80);
    this.machine.write_memory(new Uint8Array(entry.buffer), 0x1000);
    this.io.port_write32(0xb404, 0x1000);
    this.io.port_write8(0xb400, toMemory ? 8 : 0);
    this.command(code, sector, count);
    this.io.port_write8(0xb400, toMemory ? 9 : 1);
  }

  readDma(sector, count = 1) {
    this.dma(0x25, sector, count, true);
  }

  writeDma(sector, bytes) {
    this.machine.write_memory(bytes, 1 << 20);
    this.dma(0x35, sector, bytes.length / SECTOR, false);
  }

  /** Through the data port; v86 says that it is done before the disk has it. */
  writePio(sector, bytes) {
    this.command(0x34, sector, bytes.length / SECTOR);
    for (let at = 0; at < bytes.length; at += 2) {
      this.io.port_write16(0x1f0, bytes[at] | (bytes[at + 1] << 8));
    }
  }

  identify() {
    this.command(0xec, 0, 0, true);
    return Array.from({ length: 256 }, () => this.io.port_read16(0x1f0));
  }

  reset() {
    this.io.port_write8(0x3f6, 4);
    this.io.port_write8(0x3f6, 0);
  }

  memory(length) {
    return this.machine.read_memory(1 << 20, length).slice();
  }

  get status() {
    return this.io.port_read8(0x1f7);
  }

  get error() {
    return this.io.port_read8(0x1f1);
  }

  get dmaIsActive() {
    return (this.io.port_read8(0xb402) & 1) === 1;
  }
}

async function machineWith(disk, options) {
  const hda = await v86Disk(disk, options);
  const machine = new V86({
    wasm_fn: async (imports) => (await WebAssembly.instantiate(WASM, imports)).instance.exports,
    memory_size: 16 << 20,
    vga_memory_size: 1 << 20,
    hda,
    disable_speaker: true,
    autostart: false,
  });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
  hda.attach(machine);
  disk.calls.length = 0;
  return { hda, machine, guest: new Driver(machine), hold: MachineHold.of(machine) };
}

function heard(target, type) {
  return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
}

/** Lets everything happen that needs no timer. */
function settled() {
  return new Promise((resolve) => setImmediate(resolve));
}

test("a read beyond 4 GiB gets the bytes of that place", async () => {
  const { hda, guest } = await machineWith(new ScriptedDisk());
  const sector = (5 * GIB) / SECTOR + 3;
  guest.readDma(sector, 2);
  await heard(hda, "activity");
  assert.deepEqual(guest.memory(1024), new Uint8Array([...filled(sector), ...filled(sector + 1)]));
  assert.equal(guest.status & (BUSY | ERROR), 0);
});

test("what the disk has at hand is there when the command was given", async () => {
  const disk = new ScriptedDisk();
  disk.tryRead = (offset, target) => {
    if (offset !== 9 * SECTOR) return false;
    target.set(filled(9));
    return true;
  };
  const { hda, guest } = await machineWith(disk);
  guest.readDma(9);
  assert.deepEqual(guest.memory(SECTOR), filled(9));
  assert.deepEqual(disk.calls, []);
  assert.deepEqual(hda.get_from_cache(9 * SECTOR, SECTOR), filled(9));
  assert.equal(hda.get_from_cache(10 * SECTOR, SECTOR), undefined);
});

test("the first sector is there for the geometry, and no older than the last write", async () => {
  const { hda } = await machineWith(new ScriptedDisk());
  assert.deepEqual(hda.get_from_cache(0, SECTOR), filled(0));
  hda.set(0, filled(7), () => {});
  assert.equal(hda.get_from_cache(0, SECTOR), undefined);
});

test("a read sees a write that is still under way", async () => {
  const disk = new ScriptedDisk();
  const { hda } = await machineWith(disk);
  disk.tryRead = () => assert.fail("what is at hand is older than the write");
  const open = disk.close();
  hda.set(4 * SECTOR, filled(77), () => {});
  const read = new Promise((resolve) => hda.get(3 * SECTOR, 3 * SECTOR, resolve));
  await settled();
  assert.deepEqual(disk.calls, [["write", 4 * SECTOR]]);
  open();
  assert.deepEqual(await read, new Uint8Array([...filled(3), ...filled(77), ...filled(5)]));
});

test("writes to one place keep their order, and others do not wait for them", async () => {
  const disk = new ScriptedDisk();
  const { hda } = await machineWith(disk);
  const open = disk.close();
  hda.set(0, filled(1), () => {});
  hda.set(0, filled(2), () => {});
  hda.set(SECTOR, filled(3), () => {});
  await settled();
  assert.deepEqual(disk.calls, [["write", 0], ["write", SECTOR]]);
  open();
  await hda.flush();
  assert.deepEqual(disk.content(0, 1024), new Uint8Array([...filled(2), ...filled(3)]));
});

test("bytes written through the data port are those of their command", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest } = await machineWith(disk);
  const open = disk.close();
  guest.writePio(20, filled(1));
  guest.writePio(30, filled(2)); // v86 has both in the same buffer
  open();
  await hda.flush();
  assert.deepEqual(disk.content(20 * SECTOR, SECTOR), filled(1));
  assert.deepEqual(disk.content(30 * SECTOR, SECTOR), filled(2));
});

test("a failed read stops the machine until it works when tried again", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  disk.failures = [named("NetworkError", "nobody is there"), named("NetworkError", "still nobody")];
  guest.readDma(8);
  const { failure } = await heard(hda, "failure");
  assert.deepEqual([failure.kind, failure.offset, failure.message], ["read", 8 * SECTOR, "nobody is there"]);
  assert.ok(hold.isHeld && guest.dmaIsActive);

  failure.retry();
  const { failure: second } = await heard(hda, "failure");
  assert.equal(second.message, "still nobody");
  assert.ok(hold.isHeld);

  hda.retry();
  await heard(hda, "arrived");
  assert.deepEqual(guest.memory(SECTOR), filled(8));
  assert.ok(!hold.isHeld && !guest.dmaIsActive);
  assert.deepEqual(hda.failures, []);
});

test("instead of trying again the guest can be shown a bad sector", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  disk.failures = [named("ImageChangedError")];
  guest.readDma(8);
  const { failure } = await heard(hda, "failure");
  assert.ok(failure.canRefuse);
  failure.refuse();
  assert.equal(guest.status & (BUSY | ERROR), ERROR);
  assert.equal(guest.error, 0x40);
  assert.ok(!hold.isHeld && !guest.dmaIsActive);

  guest.readDma(9);
  await heard(hda, "activity");
  assert.deepEqual(guest.memory(SECTOR), filled(9));
});

test("too few bytes are a failure", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest } = await machineWith(disk);
  disk.read = async (_, length) => new Uint8Array(length - 1);
  guest.readDma(8);
  const { failure } = await heard(hda, "failure");
  assert.match(failure.message, /511 bytes instead of 512/);
});

for (const [name, disk] of [
  ["a full disk", Object.assign(new ScriptedDisk(), { failures: [named("StorageFullError")] })],
  ["a read-only disk", Object.assign(new ScriptedDisk(), { readOnly: true })],
]) {
  test(`${name} is a write error for the guest`, async () => {
    const failures = disk.failures.splice(0);
    const { hda, guest, hold } = await machineWith(disk);
    disk.failures = failures;
    guest.writeDma(50, filled(1));
    const { failure } = await heard(hda, "refused");
    assert.equal(failure.kind, "write");
    assert.equal(guest.status & (BUSY | ERROR), ERROR);
    assert.equal(guest.error, 0x04);
    assert.ok(!hold.isHeld && !guest.dmaIsActive);
    assert.deepEqual(disk.content(50 * SECTOR, SECTOR), filled(50));
  });
}

test("a write that v86 has called done stops the machine until there is free space", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  disk.failures = [named("StorageFullError")];
  guest.writePio(50, filled(1));
  const { failure } = await heard(hda, "failure");
  assert.ok(hold.isHeld && !failure.canRefuse);
  assert.throws(() => failure.refuse(), TypeError);
  failure.retry();
  await heard(hda, "arrived");
  assert.deepEqual(disk.content(50 * SECTOR, SECTOR), filled(1));
});

test("a write that failed otherwise is kept and tried again", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest } = await machineWith(disk);
  disk.failures = [named("StorageError")];
  guest.writeDma(50, filled(1));
  const { failure } = await heard(hda, "failure");
  assert.ok(guest.dmaIsActive);
  failure.retry();
  await heard(hda, "arrived");
  assert.equal(guest.status & (BUSY | ERROR), 0);
  assert.deepEqual(disk.content(50 * SECTOR, SECTOR), filled(1));
});

test("the drive says that it has a write cache", async () => {
  const { hda, guest } = await machineWith(new ScriptedDisk());
  const words = guest.identify();
  assert.ok(words[82] & 32 && words[85] & 32);
  assert.ok(hda.passesFlushes);
});

for (const code of [0xe7, 0xea]) {
  test(`a flush by command ${code.toString(16)} ends when all is durable`, async () => {
    const disk = new ScriptedDisk();
    const { hda, guest } = await machineWith(disk);
    const open = disk.close();
    guest.writePio(50, filled(1));
    guest.command(code, 0, 0);
    await settled();
    assert.equal(guest.status & BUSY, BUSY);
    assert.equal(disk.flushes, 0);
    open();
    await hda.flush();
    await settled();
    assert.equal(guest.status & (BUSY | ERROR), 0);
    assert.equal(disk.flushes, 1);
    assert.deepEqual(disk.calls, [["write", 50 * SECTOR], ["flush", 0]]);
  });
}

test("the guest can be told that its flush failed", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  guest.writeDma(50, filled(1));
  await heard(hda, "activity");
  disk.failures = [named("StorageError")];
  guest.command(0xea, 0, 0);
  const { failure } = await heard(hda, "failure");
  assert.ok(hold.isHeld && guest.status & BUSY);
  failure.refuse();
  await settled();
  assert.equal(guest.status & (BUSY | ERROR), ERROR);
});

test("what was written is made durable in the background, a second after the last write", async () => {
  const disk = new ScriptedDisk();
  const { hda } = await machineWith(disk);
  mock.timers.enable({ apis: ["setTimeout"] });
  hda.set(0, filled(1), () => {});
  await settled();
  mock.timers.tick(999);
  await settled();
  assert.equal(disk.flushes, 0);
  mock.timers.tick(1);
  await settled();
  assert.equal(disk.flushes, 1);
  mock.timers.tick(60_000);
  await settled();
  assert.equal(disk.flushes, 1);
});

test("a guest that writes all the time has what it wrote made durable every five seconds", async (context) => {
  const disk = new ScriptedDisk();
  const { hda } = await machineWith(disk);
  mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  context.mock.method(performance, "now", () => now);
  for (; now < 20_000; now += 500) {
    hda.set(0, filled(1), () => {});
    await settled();
    mock.timers.tick(500);
    await settled();
  }
  assert.equal(disk.flushes, 4);
});

test("the machine pauses while a response is late, and has it before it goes on", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  mock.timers.enable({ apis: ["setTimeout"] });
  const open = disk.close();
  guest.readDma(8);
  mock.timers.tick(4999);
  assert.ok(!hold.isHeld);
  const waits = heard(hda, "waiting");
  mock.timers.tick(1);
  await waits;
  assert.ok(hold.isHeld);
  const arrived = heard(hda, "arrived").then(() => guest.memory(SECTOR));
  open();
  assert.deepEqual(await arrived, filled(8));
  assert.ok(!hold.isHeld);
});

test("a machine that was paused meanwhile stays paused", async () => {
  const disk = new ScriptedDisk();
  const { hda, machine, guest, hold } = await machineWith(disk);
  await hold.run();
  assert.ok(machine.is_running());
  disk.failures = [named("NetworkError")];
  guest.readDma(8);
  const { failure } = await heard(hda, "failure");
  await hold.hold("the user");
  failure.retry();
  await heard(hda, "arrived");
  await settled();
  assert.ok(!machine.is_running());
  await hold.release("the user");
  assert.ok(machine.is_running());
  await machine.destroy();
});

test("a read that the guest gave up by a reset is given up, and its response ignored", async () => {
  const disk = new ScriptedDisk();
  const { hda, guest, hold } = await machineWith(disk);
  const open = disk.close();
  guest.readDma(8);
  guest.reset();
  const { status } = guest;
  open();
  await settled();
  assert.equal(guest.status, status);
  assert.deepEqual(guest.memory(SECTOR), new Uint8Array(SECTOR));
  assert.ok(!hold.isHeld && !hda.failures.length);
});

test("a state holds which disk and which content, and goes back to the same only", async () => {
  const disk = new ScriptedDisk();
  const { hda, machine } = await machineWith(disk);
  hda.set(0, filled(1), () => {});
  await assert.rejects(machine.save_state(), /flushForState\(\) first/);
  await hda.flushForState();
  const state = await machine.save_state();
  await machine.restore_state(state);
  assert.ok(JSON.stringify(hda.get_state()).length < 10_000);

  const same = await machineWith(Object.assign(new ScriptedDisk(), { sectors: new Map(disk.sectors) }));
  await same.machine.restore_state(state);

  const other = await machineWith(Object.assign(new ScriptedDisk(), { ...disk, version: "two" }));
  await assert.rejects(other.machine.restore_state(state), StateMismatchError);

  hda.set(0, filled(2), () => {});
  await hda.flushForState();
  await assert.rejects(machine.restore_state(state), StateMismatchError);
});

test("a writable disk without overlayDigest cannot be part of a state", async () => {
  const disk = new ScriptedDisk();
  disk.overlayDigest = undefined;
  const { hda, machine } = await machineWith(disk);
  await hda.flushForState();
  await assert.rejects(machine.save_state(), /no overlayDigest\(\)/);
});

test("flushForState makes writes durable and waits for those under way", async () => {
  const disk = new ScriptedDisk();
  const { hda } = await machineWith(disk);
  const open = disk.close();
  hda.set(0, filled(1), () => {});
  const flushing = hda.flushForState();
  open();
  await flushing;
  assert.deepEqual(disk.calls, [["write", 0], ["flush", 0], ["read", 0]]);
  hda.get_buffer((buffer) => assert.equal(buffer, undefined));
});

test("a disk has whole sectors, one at least, and no more than v86 can count", async () => {
  assert.equal((await v86Disk(new ScriptedDisk(SECTOR * 3 + 100))).byteLength, SECTOR * 3);
  await assert.rejects(v86Disk(new ScriptedDisk(511)), RangeError);
  await assert.rejects(v86Disk(new ScriptedDisk(2 ** 41)), RangeError);
});

test("a disk that cannot be read at all is no disk for v86", async () => {
  const disk = new ScriptedDisk();
  disk.failures = [named("NetworkError")];
  await assert.rejects(v86Disk(disk), { name: "NetworkError" });
});

/** A driver that reports what the drive does, as the guest of the suite for adapters. */
async function guestOf(disk) {
  const { hda, guest } = await machineWith(disk);
  hda.addEventListener("failure", ({ failure }) => failure.refuse());
  const done = async (what) => {
    while (guest.status & BUSY || guest.dmaIsActive) await settled();
    if (guest.status & ERROR) throw new Error(`the drive has an error: ${what}`);
  };
  return {
    unit: SECTOR,
    size: hda.byteLength,
    async read(offset, length) {
      guest.readDma(offset / SECTOR, length / SECTOR);
      await done("read");
      return guest.memory(length);
    },
    async write(offset, data) {
      guest.writeDma(offset / SECTOR, data);
      await done("write");
    },
    async flush() {
      guest.command(0xea, 0, 0);
      await done("flush");
    },
  };
}

for (const { name, run } of adapterCases(guestOf)) test(name, { timeout: 60_000 }, run);
