/** Partition tables, FAT volumes and their geometry, as DOSBox takes them. */

/** @typedef {{ cylinders: number, heads: number, sectors: number }} Geometry */
/** @typedef {{ heads: number, sectors: number }} Track */

export const SECTOR = 512;
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
export const FAT32 = 0x0c;
const MAX_CYLINDERS = 65535;
export const SMALL = { heads: 16, sectors: 63 };
export const LARGE = { heads: 255, sectors: 63 };
/** Sectors of 1,024 cylinders of `SMALL`. */
export const MAX_SMALL = 1024 * 16 * 63;

/**
 * The BIOS parameter block of a FAT volume, or null.
 * @param {Uint8Array} sector
 * @returns {(Track & { type: number }) | null}
 */
export function fatOf(sector) {
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
export function partitionOf(sector, sectors) {
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
export function isTrack(track) {
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
export function geometryOf(sectors, { heads, sectors: perTrack }) {
  const cylinders = Math.min(MAX_CYLINDERS, Math.max(1, Math.ceil(sectors / (heads * perTrack))));
  return { cylinders, heads, sectors: perTrack };
}

/**
 * What is in front of a volume: a partition table, and zeros.
 * @param {number} count sectors of the volume
 * @param {number} type
 * @param {Track} track
 */
export function leadOf(count, type, track) {
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
