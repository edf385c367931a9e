// Calls whose caller blocks: what one thread puts into the memory of a call, and what the other finds there.
// Run by test_emscripten.py, or: node --test tests/unit/web/sync_calls.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { awaitResult, callMemory, putResult } from "../../../web/lib/sync-calls.mjs";

const isOpen = () => {};

test("values, bytes and errors come out as they went in", () => {
  const failure = { name: "NoSuchFileError", message: "ünknown", fields: { path: "/1/x" } };
  for (const result of [{ value: { entries: [1, "ü"] } }, { value: null }, { error: failure }]) {
    const memory = callMemory(100);
    putResult(memory, result);
    assert.deepEqual(awaitResult(memory, isOpen), result);
  }
  for (const bytes of [new Uint8Array(0), new Uint8Array([1, 2, 3])]) {
    const memory = callMemory(100);
    putResult(memory, { value: bytes });
    assert.deepEqual(awaitResult(memory, isOpen), { value: bytes });
  }
});

test("a result that does not fit says how much it needs", () => {
  const bytes = new Uint8Array(1000).fill(7);
  const small = callMemory(10);
  putResult(small, { value: bytes });
  const needed = awaitResult(small, isOpen);
  const memory = callMemory(needed);
  putResult(memory, { value: bytes });
  assert.deepEqual(awaitResult(memory, isOpen), { value: bytes });
});

test("who waits hears that nobody will respond", () => {
  const ended = () => {
    throw new Error("ended");
  };
  assert.throws(() => awaitResult(callMemory(10), ended), /ended/);
});
