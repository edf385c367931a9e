// What a guest sees of time. The page's clock, which v86 follows, is moved by the tests. Run by test_v86_disk.py, which
// names SeaBIOS's files in BIOS and VGA_BIOS.
import assert from "node:assert/strict";
import { test } from "node:test";

const now = performance.now.bind(performance);
let ahead = 0;
let still = null;
performance.now = () => (still ?? now()) + ahead; // before v86 takes it

const { v86Disk } = await import("../../../web/adapters/v86-disk.mjs");
const { MachineHold } = await import("../../../web/adapters/v86-machine.mjs");
const { BIOS, READ, SECTOR, boot, bootSector, call } = await import("./small_machine.mjs");

const LATE_MS = 40_000; // SeaBIOS waits 32 seconds for a disk
const HARD_DISK = 0x80;
const BIG_SECONDS = 2 ** 32 / 1e9; // of v86's time-stamp counter
const NOTE = [0x0f, 0x31, 0x66, 0x89, 0x16, 0x00, 0x7e]; // rdtsc; mov [0x7e00], edx
// mov al, 'E'; jc +11; rdtsc; sub edx, [0x7e00]; mov al, '0'; add al, dl
const ELAPSED = [0xb0, 0x45, 0x72, 0x0b, 0x0f, 0x31, 0x66, 0x2b, 0x16, 0x00, 0x7e, 0xb0, 0x30, 0x00, 0xd0];

/** A disk that responds to each read but that of its first sector when `respond` is called. */
class LateDisk {
  version = "one";
  size = 1 << 20;
  readOnly = true;
  respond = () => {};

  constructor(sector) {
    this.first = sector;
  }

  async read(offset, length) {
    if (offset > 0) await new Promise((respond) => (this.respond = respond));
    const bytes = new Uint8Array(length);
    if (offset === 0) bytes.set(this.first);
    return bytes;
  }
}

test("the guest's clock stands still while a response is late", { skip: !BIOS }, async () => {
  const disk = new LateDisk(bootSector([...NOTE, ...call(READ, HARD_DISK, ELAPSED)], [...NOTE, ...call(READ, HARD_DISK, ELAPSED)]));
  const hda = await v86Disk(disk, { patienceMs: 20 });
  const { machine, printed } = await boot({ hda });
  hda.addEventListener("waiting", async () => {
    const hold = MachineHold.of(machine);
    await hold.hold("test"); // it has stopped
    ahead += LATE_MS;
    await hold.release("test");
    disk.respond();
  });
  const text = await printed;
  await machine.destroy();
  assert.ok(LATE_MS / 1000 / BIG_SECONDS > 9);
  assert.match(text, /^[0-5][0-5]\$$/);
});

test("a BIOS that loses the processor while it measures its clock does not think it slow", async () => {
  const { machine } = await boot({ hda: await v86Disk(new LateDisk(new Uint8Array(SECTOR))) }, { run: false });
  const { io } = machine.v86.cpu;
  still = now();
  const hasEnded = () => Boolean(io.port_read8(0x61) & 0x20);
  for (let times = 0; times < 2; times++) {
    io.port_write8(0x61, (io.port_read8(0x61) & ~2) | 1);
    io.port_write8(0x43, 0xb0); // timer 2 counts down once
    io.port_write8(0x42, 0x00);
    io.port_write8(0x42, 0x80); // 27 ms
    ahead += 200;
    assert.ok(!hasEnded());
    ahead += 200;
    assert.ok(hasEnded());
  }
  await machine.destroy();
});
