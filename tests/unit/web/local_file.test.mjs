// What `openDisk` makes of its `file`. Node has no handles and asks nobody, so they are made up here.
import assert from "node:assert/strict";
import { test } from "node:test";

import { blobOf } from "../../../web/lib/local-file.mjs";

class Handle {
  name = "disk.img";
  file = new File(["bytes"], "disk.img");
  async getFile() {
    return this.file;
  }
}
globalThis.FileSystemFileHandle = Handle;

const handleThat = (operations) => Object.assign(new Handle(), operations);

test("files and blobs are taken as they are", async () => {
  for (const file of [new Blob(["a"]), new File(["a"], "a")]) assert.equal(await blobOf(file), file);
});

test("a handle leads to its file, once the user allows it", async () => {
  const asked = [];
  const handle = handleThat({ requestPermission: async (wanted) => (asked.push(wanted), "granted") });
  assert.equal(await blobOf(handle), handle.file);
  assert.deepEqual(asked, [{ mode: "read" }]);
  const withoutQuestions = new Handle(); // in Firefox and Safari
  assert.equal(await blobOf(withoutQuestions), withoutQuestions.file);
});

test("a handle that is not allowed, or leads nowhere, is an error that says so", async () => {
  const fails = (name) => async () => {
    throw new DOMException("The message of a browser.", name);
  };
  const reasons = new Map([
    [{ requestPermission: async () => "denied" }, /disk\.img cannot be read: .* not allowed to read it\.$/],
    [{ requestPermission: async () => "prompt" }, /not allowed/],
    [{ requestPermission: fails("SecurityError") }, /only after a click/],
    [{ getFile: fails("NotFoundError") }, /moved or removed/],
    [{ getFile: fails("NotAllowedError") }, /: The message of a browser\.$/],
  ]);
  for (const [operations, message] of reasons) {
    await assert.rejects(blobOf(handleThat(operations)), { name: "SourceError", message });
  }
});

test("anything else is an invalid option", async () => {
  for (const file of [null, "disk.img", new Uint8Array(1), {}, new Response("a")]) {
    await assert.rejects(blobOf(file), { name: "InvalidOptionError", option: "file" });
  }
});
