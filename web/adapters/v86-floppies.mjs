/** Which floppies v86 knows. It would show others as zeros. */

const SECTOR = 512;
/** Their sectors. */
const FLOPPIES = [
  320, 360, 400, 640, 720, 800, 820, 840, 1280, 1440, 1600, 1640, 1660, 1760, 2080, 2240, 2400, 2880, 2952, 2988, 3200, 3360,
  3444, 3486, 3520, 3680, 3840, 5760, 6240, 6400, 7040, 7680,
];

/** Throws a `RangeError` for a floppy that v86 does not know. @param {number} size in bytes */
export function checkFloppy(size) {
  if (!FLOPPIES.includes(size / SECTOR)) throw noFloppy(size);
}

/** @param {number} size in bytes */
export function noFloppy(size) {
  return new RangeError(`v86 has no floppy of ${size} bytes: the image has to be a whole one, as 1474560 bytes`);
}
