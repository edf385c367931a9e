// The suite for adapters passes one that does everything right, and finds each mistake by the case that is about it.
// Run by test_emscripten.py, or: node --test tests/unit/web/adapter_suite.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { adapterCases } from "../../../web/adapters/adapter-suite.mjs";

/** The plainest adapter: the guest's calls are the disk's. */
function plain(disk) {
  return {
    size: disk.size,
    read: (offset, length) => disk.read(offset, length),
    async write(offset, data) {
      if (disk.readOnly) throw new Error("read-only");
      await disk.write(offset, data);
    },
    flush: () => disk.flush(),
  };
}

async function failing(connect) {
  const found = [];
  for (const { name, run } of adapterCases(connect)) await run().catch(() => found.push(name.replace("adapter: ", "")));
  return found;
}

test("an adapter without mistakes passes, and one that only reads", async () => {
  assert.deepEqual(await failing(plain), []);
  assert.deepEqual(await failing((disk) => ({ ...plain(disk), write: undefined, flush: undefined })), []);
});

const MISTAKES = {
  "zeros for a failed read": [
    (disk) => ({ ...plain(disk), read: (offset, length) => disk.read(offset, length).catch(() => new Uint8Array(length)) }),
    "a read that fails is an error for the guest",
  ],
  "offsets of 32 bits": [
    (disk) => ({ ...plain(disk), read: (offset, length) => disk.read(offset >>> 0, length) }),
    "reads have the bytes of their place",
  ],
  "a cache of its own that nobody empties": [
    (disk) => {
      const cached = new Map();
      const read = async (offset, length) => {
        const key = `${offset} ${length}`;
        if (!cached.has(key)) cached.set(key, await disk.read(offset, length));
        return cached.get(key);
      };
      return { ...plain(disk), read };
    },
    "what another thread changed is read",
  ],
  "writes that are reported before they are done": [
    (disk) => ({ ...plain(disk), write: (offset, data) => void disk.write(offset, data).catch(() => {}) }),
    "a write that fails with a StorageFullError",
  ],
  "a buffer that is used too late": [
    (disk) => {
      let last = Promise.resolve();
      const write = (offset, data) => {
        if (disk.readOnly) throw new Error("read-only");
        last = Promise.resolve().then(() => disk.writeSync(offset, data));
        last.catch(() => {});
      };
      return { ...plain(disk), write, flush: () => last.then(() => disk.flush()) };
    },
    "the guest may use its buffer again",
  ],
  "a flush that does nothing": [(disk) => ({ ...plain(disk), flush: () => {} }), "what the guest flushed is durable"],
  "writes to a read-only disk": [
    (disk) => ({ ...plain(disk), write: (offset, data) => disk.write(offset, data) }),
    "a read-only disk is not written to",
  ],
  "another size": [(disk) => ({ ...plain(disk), size: disk.size - 1 }), "the guest sees the whole disk"],
  "a failed flush that is hidden": [
    (disk) => ({ ...plain(disk), flush: () => disk.flush().catch(() => {}) }),
    "a flush that fails is an error",
  ],
};

for (const [mistake, [connect, expected]] of Object.entries(MISTAKES)) {
  test(`the suite finds ${mistake}`, async () => {
    const found = await failing(connect);
    assert.ok(found.some((name) => name.startsWith(expected)), `${expected} is not among ${found.join("; ")}`);
  });
}
