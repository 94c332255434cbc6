// The learner's page in Chromium: what it asks for and when, that the voice never stops, that nothing is fetched twice, and
// that it works without the network. A course is published by the binary under test and served by it, behind a proxy that
// fails when told to. Order, bytes and requests are asserted, never seconds. One line a test; exit 1 if one failed.
//
//   node page.mjs RIVULET FIXTURES OUT [NAME...]     only tests whose names contain one of NAME

import { command, launch, open } from "./chromium.mjs";
import { publish } from "./page-course.mjs";
import { serveStore } from "./page-server.mjs";
import * as start from "./page-start.mjs";
import * as modes from "./page-modes.mjs";
import * as offline from "./page-offline.mjs";
import * as other from "./page-other.mjs";
import * as faults from "./page-faults.mjs";
import * as words from "./page-words.mjs";
import * as tongue from "./page-tongue.mjs";

const { urls } = await command("usage: node page.mjs RIVULET FIXTURES OUT [NAME...]", {});
const [rivulet, fixtures, out, ...only] = urls;
const store = publish(rivulet, fixtures, out);
const browser = await launch();
let failed = 0;
let ran = 0;

async function run([name, test]) {
  const site = await serveStore(rivulet, store);
  const pages = [];
  const begun = Date.now();
  const tools = {
    site,
    // For tests that change a store: a copy of it, and who changes and serves it.
    rivulet, store, out, fixtures,
    // A page in a browser of its own, whose learner reads the course's language; what should not happen in it fails the test.
    page: async (address, options = {}) => {
      const page = await open(browser, { viewport: { width: 360, height: 640 }, hasTouch: true, locale: "vi-VN", ...options });
      pages.push(page);
      if (address !== undefined) await page.goto(site.url + address, { waitUntil: "domcontentloaded" });
      return page;
    },
  };
  ran += 1;
  try {
    let timer;
    const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error("not done within 300 s")), 300000)));
    const told = await Promise.race([test(tools), late]).finally(() => clearTimeout(timer));
    const faults = pages.flatMap((p) => p.faults).filter((f) => !(told?.expected || []).some((e) => e.test(f)));
    if (faults.length) throw new Error(faults.slice(0, 3).join("; "));
    console.log(`ok   ${name}${told?.say ? `: ${told.say}` : ""} (${Date.now() - begun} ms)`);
  } catch (e) {
    failed += 1;
    console.log(`FAIL ${name}: ${e.message.split("\n").slice(0, 4).join(" | ")}`);
    console.log(`     asked: ${site.log.slice(-12).map((l) => `${l.path.slice(-24)} ${l.range || ""}`).join(", ")}`);
  }
  for (const page of pages) await Promise.race([page.shut().catch(() => {}), new Promise((r) => setTimeout(r, 3000))]);
  await site.close();
}

// What watches clocks runs alone; the rest waits most of the time for playback, so several run at once.
const chosen = (module) => Object.entries(module.tests).filter(([name]) => !only.length || only.some((o) => name.includes(o)));
for (const test of chosen(modes)) await run(test);
const queue = [offline, start, faults, words, tongue, other].flatMap(chosen);
await Promise.all([1, 2, 3].map(async () => {
  for (let test = queue.shift(); test; test = queue.shift()) await run(test);
}));
await browser.close();
console.log(`page: ${ran - failed} passed, ${failed} failed`);
process.exit(failed || !ran ? 1 : 0);
