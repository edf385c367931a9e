/** How fast work goes on, and how long it takes still. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rate, duration } from "../../../web/page/rate.mjs";

test("a rate is known after a second, and is that of the last ten", () => {
  let now = 0;
  const rate = new Rate(() => now);
  assert.equal(rate.perSecond, null);
  rate.note(50); // an import that goes on where it was
  assert.equal(rate.secondsLeft(100), null);
  now = 500;
  rate.note(55);
  assert.equal(rate.perSecond, null);
  now = 1000;
  rate.note(60);
  assert.equal(rate.perSecond, 10);
  assert.equal(rate.secondsLeft(100), 4);
  for (now = 2000; now <= 40_000; now += 1000) rate.note(60 + now / 1000);
  assert.equal(rate.perSecond, 1);
});

test("work that stands still has no end in sight", () => {
  let now = 0;
  const rate = new Rate(() => now);
  for (now = 0; now <= 2000; now += 1000) rate.note(7);
  assert.equal(rate.perSecond, 0);
  assert.equal(rate.secondsLeft(100), null);
});

test("durations are said in the two largest units", () => {
  const said = [0.2, 59.1, 125, 3600, 3725].map(duration);
  assert.deepEqual(said, ["1 s", "1 min 0 s", "2 min 5 s", "1 h 0 min", "1 h 2 min"]);
});
