// chunkd's SourceView over HTTP, in chunks, cached in memory. It keeps nothing between visits.
import { SourceCache, SourceChunk } from "./chunkd/middleware/index.js";
import { SourceView } from "./chunkd/source/index.js";
import { SourceHttp } from "./chunkd/source-http/index.js";
import { crc32, replay, serve } from "./client.mjs";

/** @type {SourceView} */
let view;

const read = (/** @type {number} */ offset, /** @type {number} */ length) =>
  view.fetch(offset, length);

serve({
  async open({ url, chunk }) {
    const layers = [new SourceChunk({ size: chunk }), new SourceCache({ size: 1 << 30 })];
    view = new SourceView(new SourceHttp(url), layers);
    await view.head();
  },
  replay: ({ reads }) => replay(reads, read),
  async check({ ranges }) {
    const sums = [];
    for (const [offset, length] of ranges) {
      sums.push(crc32(new Uint8Array(await read(offset, length))));
    }
    return sums;
  },
  close() {},
});
