// The bare copy loop: a Blob into a sync access handle and back, with nothing else around it.

/** @type {FileSystemSyncAccessHandle} */
let file;

const operations = {
  async open() {
    const root = await navigator.storage.getDirectory();
    file = await (await root.getFileHandle("bare-copy", { create: true })).createSyncAccessHandle();
    file.truncate(0);
    file.flush();
  },

  /** All of a Blob into the file, so many bytes at a time. */
  async copyIn(/** @type {{ blob: Blob, step: number }} */ { blob, step }) {
    for (let at = 0; at < blob.size; at += step) {
      const chunk = new Uint8Array(await blob.slice(at, at + step).arrayBuffer());
      if (file.write(chunk, { at }) !== chunk.length) throw new Error("a short write");
    }
    file.flush();
  },

  /** The next chunk of the file. */
  async copyOut(/** @type {{ at: number, step: number }} */ { at, step }) {
    const chunk = new Uint8Array(Math.min(step, file.getSize() - at));
    file.read(chunk, { at });
    return chunk;
  },

  async close() {
    file.close();
    await (await navigator.storage.getDirectory()).removeEntry("bare-copy");
  },
};

self.onmessage = async ({ data: { id, operation, values } }) => {
  try {
    const value = await operations[/** @type {keyof typeof operations} */ (operation)](values);
    self.postMessage({ id, value }, { transfer: value ? [value.buffer] : [] });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
