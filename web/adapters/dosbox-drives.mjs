/**
 * What DOSBox has to be told of a disk that it mounts: its kind, its geometry, and a partition table if the
 * disk is a volume without one.
 */

import { readOnly } from "../lib/disk-error.mjs";
import { mountDisk } from "./emscripten.mjs";

/** @typedef {import("./emscripten-nodes.mjs").EmscriptenFS} EmscriptenFS */
/** @typedef {import("./emscripten.mjs").SyncBlockDisk} SyncBlockDisk */
/** @typedef {{ cylinders: number, heads: number, sectors: number }} Geometry */
/** @typedef {{ heads: number, sectors: number }} Track */

/**
 * A drive of DOSBox, with a disk in it.
 * @typedef {object} DosboxDrive
 * @property {string} letter from a to z
 * @property {"hdd" | "floppy" | "iso"} kind as for `imgmount -t`
 * @property {Geometry | null} geometry of a hard disk
 * @property {Uint8Array | null} lead what to put in front of the disk: a partition table, or null
 * @property {boolean} needsX whether only DOSBox-X can mount it, as its volume is FAT32
 */

/** @typedef {{ size: number, readOnly?: boolean | undefined, sectorSize?: number | undefined, read: (offset: number, length: number) => Promise<Uint8Array> }} ReadableDisk */

const SECTOR = 512;
const CD_SECTOR = 2048;
/** Of what is put in front of a volume: a multiple of it, so that DOSBox's reads stay aligned with the cache's blocks. */
const LEAD = 64 * 1024;
/** DOSBox takes a smaller image for a floppy, which has no partition table. */
const SMALLEST_HARD_DISK = 2944 * 1024;
const TABLE_AT = 446;
const ENTRY_BYTES = 16;
const SIGNATURE_AT = 510;
const SIGNATURE = 0xaa55;
/** The type of the entry that protects a GPT. */
const GPT = 0xee;
const FAT32 = 0x0c;
const MAX_CYLINDERS = 65535;
const SMALL = { heads: 16, sectors: 63 };
const LARGE = { heads: 255, sectors: 63 };
/** Sectors of 1,024 cylinders of `SMALL`. */
const MAX_SMALL = 1024 * 16 * 63;
const FOLDER = "/disks";
const NAMES = { hdd: "disk.img", floppy: "floppy.img", iso: "disc.iso" };
const FLOPPY_DRIVES = ["a", "b"];
/** KiB of the floppies that DOSBox has a geometry for. */
const FLOPPIES = [160, 180, 200, 320, 360, 400, 720, 1200, 1440, 2880];

/**
 * The letter that DOS gives to a disk that is the only one: `d` to a CD, `a` to a floppy, `c` to any other.
 * @param {{ size: number, sectorSize?: number | undefined }} disk
 */
export function usualLetter({ size, sectorSize }) {
  return sectorSize === CD_SECTOR ? "d" : FLOPPIES.includes(size / 1024) ? "a" : "c";
}

/**
 * Examines a disk for a drive: reads its first sector, and that of its first volume.
 * @param {string} letter floppies are in `a` and `b`, hard disks and CDs in the others
 * @param {ReadableDisk} disk
 * @returns {Promise<DosboxDrive>} rejects with a `RangeError` if DOSBox cannot mount the disk there, and with a
 *   `ReadOnlyError` for one without an overlay
 */
export async function dosboxDrive(letter, disk) {
  if (!/^[a-z]$/.test(letter)) throw new RangeError(`${letter} is not a drive letter`);
  const plain = { letter, geometry: null, lead: null, needsX: false };
  if (disk.sectorSize === CD_SECTOR) return { ...plain, kind: "iso" };
  if (disk.readOnly) throw readOnly();
  if (FLOPPY_DRIVES.includes(letter)) {
    if (!FLOPPIES.includes(disk.size / 1024)) throw new RangeError(`DOSBox has no floppy of ${disk.size} bytes`);
    return { ...plain, kind: "floppy" };
  }
  const first = disk.size < SECTOR ? new Uint8Array(SECTOR) : await disk.read(0, SECTOR);
  const sectors = Math.floor(disk.size / SECTOR);
  const volume = fatOf(first);
  if (volume) {
    const track = isTrack(volume) ? volume : SMALL;
    const lead = leadOf(sectors, volume.type, track);
    const geometry = geometryOf(sectors + lead.length / SECTOR, track);
    return { letter, kind: "hdd", geometry, lead, needsX: volume.type === FAT32 };
  }
  const partition = partitionOf(first, sectors);
  if (!partition) throw new RangeError("the disk has neither a partition table nor a FAT volume");
  // DOSBox counts in the tracks of the volume, whatever the partition table says.
  const inside = fatOf(await disk.read(partition.start * SECTOR, SECTOR));
  const track = [inside, partition.track].find(isTrack) ?? (sectors > MAX_SMALL ? LARGE : SMALL);
  return { ...plain, kind: "hdd", geometry: geometryOf(sectors, track), needsX: inside?.type === FAT32 };
}

/**
 * Mounts a disk in the file system of a DOSBox that is about to run.
 *
 * DOSBox takes a failed read for a successful one, and seeks to a wrong place after a failed write. So it must
 * not see a failure: the call is repeated when `onFailure` returns, which blocks the thread until then.
 * @param {EmscriptenFS} FS
 * @param {DosboxDrive} drive of `dosboxDrive`
 * @param {SyncBlockDisk} disk
 * @param {(error: Error) => void} onFailure returns when the call is worth repeating
 */
export function mountDrive(FS, { letter, kind, lead }, disk, onFailure) {
  const steady = repeating(disk, onFailure);
  const image = lead ? new PartitionedVolume(steady, lead) : steady;
  return mountDisk(FS, image, `${FOLDER}/${letter}`, { name: NAMES[kind] });
}

/**
 * @param {SyncBlockDisk} disk
 * @param {(error: Error) => void} onFailure
 * @returns {SyncBlockDisk} one whose reads and writes do not fail
 */
function repeating(disk, onFailure) {
  const repeat = (/** @type {() => void} */ work) => {
    for (;;) {
      try {
        return work();
      } catch (error) {
        onFailure(error instanceof Error ? error : new Error(String(error)));
      }
    }
  };
  return {
    size: disk.size,
    blockSize: disk.blockSize,
    readOnly: disk.readOnly || !disk.writeSync,
    tryRead: (offset, target) => disk.tryRead?.(offset, target) ?? false,
    readSync: (offset, target) => repeat(() => disk.readSync(offset, target)),
    writeSync: (offset, data) => repeat(() => disk.writeSync?.(offset, data)),
    flushSync: () => disk.flushSync?.(),
  };
}

/**
 * The line of a dosbox.conf that gives the guest a mounted disk.
 * @param {DosboxDrive} drive
 */
export function mountCommand({ letter, kind, geometry }) {
  const size = geometry ? ` -size ${SECTOR},${geometry.sectors},${geometry.heads},${geometry.cylinders}` : "";
  return `imgmount ${letter} ${FOLDER}/${letter}/${NAMES[kind]} -t ${kind}${size}`;
}

/**
 * A volume with a partition table in front of it. The table can be read, and not be written.
 * @internal
 * @implements {SyncBlockDisk}
 */
export class PartitionedVolume {
  #volume;
  #lead;

  /**
   * @param {SyncBlockDisk} volume
   * @param {Uint8Array} lead
   */
  constructor(volume, lead) {
    this.#volume = volume;
    this.#lead = lead;
    this.size = lead.length + volume.size;
    this.blockSize = volume.blockSize;
    this.readOnly = volume.readOnly || !volume.writeSync;
  }

  /** @param {number} offset @param {Uint8Array} target */
  tryRead(offset, target) {
    const inside = this.#inLead(offset, target);
    if (inside === target.length) return true;
    return this.#volume.tryRead?.(offset + inside - this.#lead.length, target.subarray(inside)) ?? false;
  }

  /** @param {number} offset @param {Uint8Array} target */
  readSync(offset, target) {
    const inside = this.#inLead(offset, target);
    if (inside < target.length) this.#volume.readSync(offset + inside - this.#lead.length, target.subarray(inside));
  }

  /** @param {number} offset @param {Uint8Array} data */
  writeSync(offset, data) {
    if (offset < this.#lead.length) throw readOnly();
    this.#volume.writeSync?.(offset - this.#lead.length, data);
  }

  flushSync() {
    this.#volume.flushSync?.();
  }

  /**
   * Copies what of a range is in front of the volume.
   * @param {number} offset
   * @param {Uint8Array} target
   * @returns {number} how many bytes that are
   */
  #inLead(offset, target) {
    const found = this.#lead.subarray(offset, offset + target.length);
    target.set(found);
    return found.length;
  }
}

/**
 * The BIOS parameter block of a FAT volume, or null.
 * @param {Uint8Array} sector
 * @returns {(Track & { type: number }) | null}
 */
function fatOf(sector) {
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  const word = (/** @type {number} */ at) => view.getUint16(at, true);
  const [perCluster = 0, tables = 0, media = 0] = [13, 16, 21].map((at) => sector[at]);
  const reserved = word(14);
  const isFat =
    word(SIGNATURE_AT) === SIGNATURE && word(11) === SECTOR && perCluster > 0 && (perCluster & (perCluster - 1)) === 0 &&
    reserved > 0 && (tables === 1 || tables === 2) && (media === 0xf0 || media >= 0xf8);
  const total = word(19) || view.getUint32(32, true);
  const perTable = word(22) || view.getUint32(36, true);
  if (!isFat || !total || !perTable) return null;
  const clusters = (total - reserved - tables * perTable - Math.ceil((word(17) * 32) / SECTOR)) / perCluster;
  const isFat32 = word(22) === 0;
  return { heads: word(26), sectors: word(24), type: isFat32 ? FAT32 : clusters < 4085 ? 0x01 : 0x06 };
}

/**
 * The first partition of a partition table, which is the one that DOSBox mounts; null if there is none.
 * @param {Uint8Array} sector
 * @param {number} sectors of the disk
 * @returns {{ start: number, track: Track } | null}
 */
function partitionOf(sector, sectors) {
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  if (view.getUint16(SIGNATURE_AT, true) !== SIGNATURE) return null;
  for (let at = TABLE_AT; at < SIGNATURE_AT; at += ENTRY_BYTES) {
    const start = view.getUint32(at + 8, true);
    const [flag, type, lastHead, lastSector] = /** @type {[number, number, number, number]} */ ([0, 4, 5, 6].map((field) => sector[at + field]));
    if (view.getUint32(at + 12, true) === 0) continue;
    if ((flag & 0x7f) !== 0 || type === 0 || type === GPT || start === 0 || start >= sectors) return null;
    return { start, track: { heads: lastHead + 1, sectors: lastSector & 63 } };
  }
  return null;
}

/** @param {Track | null} track */
function isTrack(track) {
  return track !== null && track.heads >= 1 && track.heads <= 255 && track.sectors >= 1 && track.sectors <= 63;
}

/**
 * Head, sector and cylinder in the three bytes of a partition table, at most 254, 63 and 1,023.
 * @param {number} number of the sector
 * @param {Track} track
 */
function chsOf(number, { heads, sectors }) {
  const cylinder = Math.floor(number / (heads * sectors));
  if (cylinder > 1023) return [254, 255, 255];
  const sector = (number % sectors) + 1;
  return [Math.floor(number / sectors) % heads, ((cylinder >> 2) & 0xc0) | sector, cylinder & 0xff];
}

/** @param {number} sectors @param {Track} track @returns {Geometry} that has all the sectors */
function geometryOf(sectors, { heads, sectors: perTrack }) {
  const cylinders = Math.min(MAX_CYLINDERS, Math.max(1, Math.ceil(sectors / (heads * perTrack))));
  return { cylinders, heads, sectors: perTrack };
}

/**
 * What is in front of a volume: a partition table, and zeros.
 * @param {number} count sectors of the volume
 * @param {number} type
 * @param {Track} track
 */
function leadOf(count, type, track) {
  const length = Math.max(LEAD, LEAD * Math.ceil((SMALLEST_HARD_DISK - count * SECTOR) / LEAD));
  const start = length / SECTOR;
  const lead = new Uint8Array(length);
  const view = new DataView(lead.buffer);
  lead.set([0x80, ...chsOf(start, track), type, ...chsOf(start + count - 1, track)], TABLE_AT);
  view.setUint32(TABLE_AT + 8, start, true);
  view.setUint32(TABLE_AT + 12, count, true);
  view.setUint16(SIGNATURE_AT, SIGNATURE, true);
  return lead;
}
