/** Under which name a machine is saved. Run by test_machine_states.py, which gives versions of disks in VERSIONS. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { stateName } from "../../../web/adapters/machine-states.mjs";

/** @type {Record<string, string[]>} for each disk its versions, before and after writes */
const versions = JSON.parse(process.env.VERSIONS ?? "{}");

for (const [disk, all] of Object.entries(versions)) {
  test(`${disk} keeps the name of its saved machine when it is written`, () => {
    assert.equal(new Set(all).size, 3);
    assert.equal(new Set(all.map(stateName)).size, 1);
  });
}

test("other disks have other names", () => {
  const names = Object.values(versions).map(([version]) => stateName(version));
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length > 2);
});
