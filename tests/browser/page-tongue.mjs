// In whose words the page speaks: the learner's where there are some, the course's until they come and where they do not.

import assert from "node:assert/strict";
import { LECTURE, eventually, hear } from "./page-start.mjs";

const isWords = (e) => /words-\w+-[0-9a-f]{16}\.json$/.test(e.path);
const alive = (page) => page.waitForFunction(() => !document.querySelector("#mode:disabled") && (!document.querySelector("#keep") || document.querySelector("#keep .act")));
const speaks = (page, lang) => page.waitForFunction((lang) => document.documentElement.lang === lang && document.querySelector("#tongue select")?.value === lang, lang);
// All that a learner reads or is read: texts, and what stands for them, with the language that each is in.
const read = (page) => page.evaluate(() => {
  const of = (e) => e.closest("[lang]").lang;
  const found = [["title", document.title, ""]];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    if (n.nodeType === Node.TEXT_NODE) {
      if (n.data.trim() && !n.parentElement.closest("script, noscript, style")) found.push([n.data.trim(), of(n.parentElement)]);
    } else for (const name of ["aria-label", "title", "placeholder", "alt"]) if (n.getAttribute(name)) found.push([name, n.getAttribute(name), of(n)]);
  }
  return found.map((f) => f.join("|"));
});
const vietnamese = /[ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ]/i;

export const tests = {
  "an English learner reads English words, which nothing waited for, and keeps them": async ({ site, page }) => {
    let release;
    const held = new Promise((done) => (release = done));
    site.rule = (e) => (isWords(e) ? { hold: held } : undefined);
    const p = await page(LECTURE, { locale: "en-US" });
    await hear(p);
    await p.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0);
    await alive(p);
    // All lives, in the course's words.
    assert.equal(await p.getAttribute("#toggle", "aria-label"), "Tạm dừng");
    assert.match(await p.textContent("#keep .act"), /Giữ lại/);
    const before = await read(p);
    // The voice and the slide are there before the words are asked for.
    const order = await p.evaluate(() => performance.getEntriesByType("resource").sort((a, b) => a.startTime - b.startTime).map((e) => (e.name.match(/(webp|app-|words-)/) || [])[1]));
    assert.deepEqual(order.filter((o) => o).slice(0, 2), ["webp", "app-"]);
    release();
    await p.waitForFunction(() => document.documentElement.lang === "en");
    assert.equal(await p.getAttribute("#toggle", "aria-label"), "Pause");
    assert.equal(await p.getAttribute("#query", "placeholder"), "Search");
    assert.deepEqual(await p.locator("#speed option").allTextContents(), ["0.75×", "1×", "1.25×", "1.5×", "1.75×", "2×"]);
    assert.match(await p.locator("#mode option").first().textContent(), /^Voice and slides · \d\.\d\sMB$/);
    assert.deepEqual(await p.locator("#cc option").allTextContents(), ["Off", "Vietnamese"]);
    assert.match(await p.textContent("#keep .act"), /^Keep · /);
    // What is left of the author's language is the author's, and marked as his; what is not is ours.
    const after = await read(p);
    assert.equal(after.length, before.length);
    for (const line of after) {
      const lang = line.slice(line.lastIndexOf("|") + 1);
      if (vietnamese.test(line) && !/^(title|alt)\|/.test(line)) assert.equal(lang, "vi", line);
    }
    assert.deepEqual(after.filter((line) => line.endsWith("|en") && vietnamese.test(line) && !/^alt/.test(line)), []);
    assert(after.includes("Cardiac emergencies|en") && after.some((l) => l.startsWith("Nhồi máu cơ tim") && l.endsWith("|vi")));
    assert.equal(site.log.filter(isWords).length, 1);
    assert(site.log.filter(isWords).every((e) => /words-en/.test(e.path)));
    // The next page begins with them and asks for nothing, the course's page too.
    site.rule = (e) => (isWords(e) ? { status: 503 } : undefined);
    for (const address of [LECTURE, "khoa/index.html"]) {
      await p.goto(site.url + address);
      await alive(p);
      assert.equal(await p.evaluate(() => document.documentElement.lang), "en");
    }
    await p.waitForSelector(".module h3:has-text('Keep this module')");
    assert.match(await p.textContent(".facts"), /^3\slectures · 3\smin$/);
    assert.equal(site.log.filter(isWords).length, 1);
  },

  "the language that is chosen stays on the device, and the course's own comes back as it was": async ({ site, page }) => {
    const p = await page(LECTURE);
    await alive(p);
    const own = await read(p);
    assert.equal(site.log.filter(isWords).length, 0, "nothing is fetched for who reads the course's language");
    await p.selectOption("#tongue select", "en");
    await speaks(p, "en");
    assert.notDeepEqual(await read(p), own);
    await p.reload();
    await alive(p);
    await speaks(p, "en");
    await p.selectOption("#tongue select", "vi");
    await speaks(p, "vi");
    assert.deepEqual(await read(p), own);
    await p.reload();
    await alive(p);
    assert.deepEqual(await read(p), own);
    // Who reads neither has the course's.
    const q = await page(LECTURE, { locale: "fr-FR" });
    await alive(q);
    assert.deepEqual(await read(q), own);
    assert.equal(site.log.filter(isWords).length, 1);
  },

  "without a network the page speaks the learner's language; words that did not come are asked for again": async ({ site, page }) => {
    site.rule = (e) => (isWords(e) ? { answer: "<html>Wi-Fi</html>", type: "text/html" } : undefined);
    const p = await page(LECTURE, { locale: "en-US" });
    await hear(p);
    await alive(p);
    assert.equal(await p.evaluate(() => document.documentElement.lang), "vi");
    site.rule = () => undefined;
    await p.evaluate(() => dispatchEvent(new Event("online")));
    await speaks(p, "en");
    await eventually(p, async () => (await (await caches.open("rivulet-shell-1")).keys()).length >= 2);
    site.down = true;
    await p.goto(site.url + LECTURE);
    await alive(p);
    await speaks(p, "en");
    assert.match(await p.textContent("#play"), /Play the lecture/);
    // Words of another version: what they lack is said in the course's.
    await p.evaluate(() => {
      const kept = JSON.parse(localStorage.getItem("rivulet:words"));
      delete kept.said.mode;
      delete kept.said.minute;
      delete kept.said.second;
      delete kept.said.page.keep;
      localStorage.setItem("rivulet:words", JSON.stringify({ ...kept, uri: "../words-en-0123456789abcdef.json" }));
    });
    // What the browser has of them by itself is gone, too.
    await p.route(/words-/, (route) => route.abort());
    await p.goto(site.url + LECTURE);
    await alive(p);
    assert.equal(await p.textContent("[data-w='{mode}']"), "Cách xem");
    assert.equal(await p.textContent("[data-w='{speed}']"), "Speed");
    assert.match(await p.textContent("#keep .act"), /^Giữ lại/);
    assert.deepEqual((await read(p)).filter((line) => line.includes("undefined") || /\{\w/.test(line)), []);
    return { expected: [/ERR_|Failed to load/] };
  },

  "the script fills templates as the pages are made": async ({ site, page }) => {
    const template = "{s3900}, {s3600}, {s420}, {s149}, {s99}; {b1}, {b9900000}, {b9900001}, {b119000001}; {n1}, {n12}; {1.25}; {video_way} (720p)";
    site.rule = (e) => (/bai\.html/.test(e.path) ? { change: (body) => Buffer.from(body.toString().replace(/data-w="\{release\}[^"]*"/, `data-w="${template}"`)) } : undefined);
    const p = await page(LECTURE, { locale: "en-US" });
    await alive(p);
    await speaks(p, "en");
    const said = (await p.textContent("footer > span:last-of-type")).replaceAll("\u00a0", " ");
    assert.equal(said, "1 h 05 min, 1 h, 7 min, 2 min, 99 s; 0.1 MB, 9.9 MB, 10 MB, 120 MB; 1 lecture, 12 lectures; 1.25; Video (720p)");
  },
};
