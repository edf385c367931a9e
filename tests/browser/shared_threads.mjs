// Threads that read and write one disk at random and check every byte of what they read.
//
// A sector says which one it is and which version of it; all its other bytes follow from that. Each
// thread writes sectors of its own and reads those of all. `acked` holds, for each sector, the last
// version whose write was acknowledged when a read began: what is read must not be older, and what is
// read twice must not become older.

const SECTOR = 512;

/** @typedef {{ disk: any, acked: Int32Array, thread: number, threads: number, rounds: number, mayWait: boolean }} Work */

export function fill(bytes, sector, version) {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, 2);
  for (let at = 8; at < SECTOR; at++) bytes[at] = sector * 31 + version * 17 + at * 7;
  words[0] = sector;
  words[1] = version;
}

export function versionIn(bytes, sector) {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, 2);
  const version = words[1];
  if (version === 0 && words[0] === 0) {
    if (bytes.some((byte) => byte !== 0)) throw new Error(`sector ${sector} is neither new nor old`);
    return 0;
  }
  if (words[0] !== sector) throw new Error(`sector ${sector} has the bytes of ${words[0]}`);
  const expected = new Uint8Array(SECTOR);
  fill(expected, sector, version);
  for (let at = 0; at < SECTOR; at++) {
    if (bytes[at] !== expected[at]) throw new Error(`byte ${at} of sector ${sector} is wrong`);
  }
  return version;
}

function randomOf(seed) {
  let state = seed * 2654435761;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export async function run({ disk, acked, thread, threads, rounds, mayWait }) {
  const random = randomOf(thread + 1);
  const sectors = acked.length;
  const done = { reads: 0, tried: 0, found: 0, writes: 0, refused: 0, sectors: 0 };
  for (let round = 0; round < rounds; round++) {
    const first = random(4) ? random(128) : random(sectors); // some are read and written often
    const count = 1 + random(Math.min(sectors - first, random(16) ? 6 : 1200));
    if (random(5)) await read(first, count);
    else await write(first - (first % threads) + thread, random(4) + 1);
  }
  return done;

  async function read(first, count) {
    const least = Array.from({ length: count }, (_, at) => Atomics.load(acked, first + at));
    let bytes = new Uint8Array(count * SECTOR);
    done.tried++;
    if (disk.tryRead(first * SECTOR, bytes)) done.found++;
    else if (!mayWait || !random(4)) bytes = await disk.read(first * SECTOR, bytes.length);
    else disk.readSync(BigInt(first * SECTOR), bytes);
    done.reads++;
    for (let at = 0; at < count; at++) {
      const found = versionIn(bytes.subarray(at * SECTOR, (at + 1) * SECTOR), first + at);
      if (found < least[at]) {
        throw new Error(`sector ${first + at} is of version ${found} after ${least[at]}`);
      }
      done.sectors++;
    }
  }

  async function write(sector, count) {
    for (; count-- > 0 && sector < sectors; sector += threads) {
      const bytes = new Uint8Array(SECTOR);
      const version = Atomics.load(acked, sector) + 1;
      fill(bytes, sector, version);
      done.writes++;
      if (mayWait && random(3)) disk.writeSync(sector * SECTOR, bytes);
      else if (!random(2) || !disk.tryWrite(sector * SECTOR, bytes)) {
        done.refused++;
        await disk.write(sector * SECTOR, bytes);
      }
      Atomics.store(acked, sector, version);
    }
  }
}
