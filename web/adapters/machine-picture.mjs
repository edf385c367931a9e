/** Pictures of a machine's screen. */

/** @typedef {import("./v86-machine.mjs").V86} V86 */

const THUMBNAIL_WIDTH = 192;

/**
 * The screen of a machine that is on. Rejects where the page's policy forbids `img-src data:`.
 * @param {V86} machine
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function pictureOf(machine) {
  const image = /** @type {HTMLImageElement} */ (machine.screen_make_screenshot());
  await image.decode();
  return draw(image, image.naturalWidth, image.naturalHeight);
}

/**
 * A small picture of the screen, as a data URL. Rejects like `pictureOf`.
 * @param {V86} machine
 */
export async function thumbnailOf(machine) {
  const screen = await pictureOf(machine);
  const height = Math.round((screen.height / screen.width) * THUMBNAIL_WIDTH);
  return draw(screen, THUMBNAIL_WIDTH, height).toDataURL("image/jpeg", 0.7);
}

/** @param {CanvasImageSource} image @param {number} width @param {number} height */
function draw(image, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d")?.drawImage(image, 0, 0, width, height);
  return canvas;
}
