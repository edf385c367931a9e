// The least that a synchronous read through another worker can be: `bare_responses.mjs` reads a file for each request.

export class BareRoundTrip {
  /** @param {number} size of the file */
  static async start(size) {
    const memory = new SharedArrayBuffer(4096 + (1 << 20));
    const worker = new Worker(new URL("./bare_responses.mjs", import.meta.url), { type: "module" });
    const ready = new Promise((resolve) => (worker.onmessage = resolve));
    worker.postMessage({ memory, size });
    await ready;
    return new BareRoundTrip(worker, memory);
  }

  /** @param {Worker} worker @param {SharedArrayBuffer} memory */
  constructor(worker, memory) {
    this.worker = worker;
    this.words = new Int32Array(memory, 0, 1024);
    this.buffer = new Uint8Array(memory, 4096);
  }

  /** @param {number} offset @param {Uint8Array} target */
  read(offset, target) {
    const { words, buffer } = this;
    words[1] = offset;
    words[2] = target.length;
    Atomics.store(words, 3, 0);
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
    Atomics.wait(words, 3, 0);
    target.set(buffer.subarray(0, target.length));
  }

  async end() {
    const ended = new Promise((resolve) => (this.worker.onmessage = resolve));
    this.worker.postMessage(null);
    await ended;
    this.worker.terminate();
  }
}
