/**
 * What DOSBox has to be told of a disk that it mounts: its kind, its geometry, and a partition table if the
 * disk is a volume without one.
 */

import { readOnly } from "../lib/disk-error.mjs";
import { fatOf, FAT32, geometryOf, isTrack, LARGE, leadOf, MAX_SMALL, partitionOf, SECTOR, SMALL } from "./dosbox-geometry.mjs";
import { mountDisk } from "./emscripten.mjs";
import { PartitionedVolume } from "./partitioned-volume.mjs";

/** @typedef {import("./emscripten-nodes.mjs").EmscriptenFS} EmscriptenFS */
/** @typedef {import("./sync-file.mjs").SyncBlockDisk} SyncBlockDisk */
/** @typedef {import("./dosbox-geometry.mjs").Geometry} Geometry */

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

const CD_SECTOR = 2048;
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
