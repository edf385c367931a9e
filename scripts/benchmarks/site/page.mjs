// The page of the bench: starts one client in a worker at a time and passes calls on to it.

/** @type {Worker | null} */
let worker = null;
let lastId = 0;
/** @type {Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>} */
const waiting = new Map();

/** Starts `client_NAME.mjs` in a fresh worker; ends the one before. */
globalThis.start = (/** @type {string} */ name) => {
  worker?.terminate();
  waiting.clear();
  worker = new Worker(new URL(`./client_${name}.mjs`, import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, value, error } }) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(new Error(error));
    else call?.resolve(value);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "no script"));
  };
};

/** Calls one of the client's operations. */
globalThis.call = (/** @type {string} */ operation, /** @type {unknown} */ values) =>
  new Promise((resolve, reject) => {
    const id = ++lastId;
    waiting.set(id, { resolve, reject });
    worker?.postMessage({ id, operation, values });
  });

/** Ends the client. */
globalThis.end = () => {
  worker?.terminate();
  worker = null;
};

globalThis.isReady = true;
