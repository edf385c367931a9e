// The other side of the bare round trip: woken by Atomics.waitAsync, it reads a file into shared
// memory. It does so for one client, without a table, versions or errors.
const NAME = "bare-responses";

self.onmessage = async ({ data }) => {
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle(NAME, { create: true });
  const file = await handle.createSyncAccessHandle();
  const chunk = new Uint8Array(1 << 20).fill(7);
  for (let at = 0; at < data.size; at += chunk.length) file.write(chunk, { at });
  file.flush();
  const words = new Int32Array(data.memory, 0, 1024);
  const buffer = new Uint8Array(data.memory, 4096);
  self.onmessage = async () => {
    file.close();
    await root.removeEntry(NAME);
    self.postMessage(null);
  };
  self.postMessage(null);
  for (let rung = 0; ; rung = Atomics.load(words, 0)) {
    if (rung) {
      file.read(buffer.subarray(0, words[2]), { at: words[1] });
      Atomics.store(words, 3, 1);
      Atomics.notify(words, 3);
    }
    const waiting = Atomics.waitAsync(words, 0, rung);
    if (waiting.async) await waiting.value;
  }
};
