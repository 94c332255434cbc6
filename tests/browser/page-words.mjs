// What can be read: search, captions, names that an author should not have written, and who reads by ear or keyboard.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { copyOf } from "./page-course.mjs";
import { serveStore } from "./page-server.mjs";
import { LECTURE, eventually, hear, now, shown, until } from "./page-start.mjs";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

const phone = { bypassCSP: true, viewport: { width: 320, height: 640 } };
async function ofAxe(page) {
  const p = await page(undefined, phone);
  await p.addInitScript(axe);
  return p;
}
// Everything that axe knows, and that each thing to tap is 24 px large or stands alone (WCAG 2.2), which it leaves out unless told.
async function violations(page, what) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const found = await page.evaluate(async () => {
      const result = await window.axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } });
      return result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join(", ")}`);
    });
    assert.deepEqual(found, [], `${what} ${colorScheme}`);
  }
  await thumbs(page, what);
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} is wider than the phone`);
}
const alive = (page) => page.waitForFunction(() => !document.querySelector("#mode:disabled") && (!document.querySelector("#keep") || document.querySelector("#keep .act")));
// As it comes, with a learner at it, and with a slide enlarged.
async function inUse(page, what) {
  await alive(page);
  await violations(page, what);
  if (await page.locator("#cc").count()) await page.selectOption("#cc", "vi");
  if (await page.locator("#query").isVisible()) {
    await page.fill("#query", "suy");
    await page.waitForSelector("#results li");
  }
  await hear(page);
  await until(page, 1);
  await violations(page, `${what} in use`);
  await page.click("#zoom");
  await page.waitForSelector("dialog img");
  await violations(page, `${what} enlarged`);
}
// What the learner taps while he listens is as large as a thumb wants it.
async function thumbs(page, what) {
  const small = await page.evaluate(() => {
    const seen = [...document.querySelectorAll("button, select, input, .cards li > a, .up, .steps a, .out a, main li > a")].filter((e) => e.checkVisibility());
    // The whole of a row, or of what a label says, can be tapped.
    const place = (e) => (e.matches(".cards a") ? e.closest("li") : e.matches("label input") ? e.closest("label") : e).getBoundingClientRect();
    return seen.filter((e) => place(e).height < 44 || place(e).width < 44).map((e) => `${e.tagName} ${e.id || e.textContent} ${Math.round(place(e).width)}x${Math.round(place(e).height)}`);
  });
  assert.deepEqual(small, [], what);
}

export const tests = {
  "search finds words without their accents, in this lecture and in the course": async ({ site, page }) => {
    const p = await page(LECTURE);
    await p.waitForFunction(() => !document.querySelector("#query").disabled);
    const results = () => p.locator("#results bdi").allTextContents();
    for (const [typed, found] of [["suy ho hap", "suy hô hấp"], ["DO DO bao hoa", "Đo độ bão hòa"], ["nhồi máu", "nhồi máu"]]) {
      await p.fill("#query", typed);
      await p.waitForFunction((found) => [...document.querySelectorAll("#results mark")].some((m) => found.toLowerCase().includes(m.textContent.toLowerCase())), found);
      assert((await results()).some((r) => r.toLowerCase().includes(found.toLowerCase())), `${typed}: ${await results()}`);
    }
    assert.equal(site.log.filter((e) => /search/.test(e.path)).length, 1, "one small file, once");
    await p.fill("#query", "do do bao hoa");
    await p.waitForFunction(() => document.querySelectorAll("#results li").length === 1);
    await p.click("#results a");
    assert.equal(Math.floor(await now(p)), 20);
    await p.fill("#query", "khong co dau");
    await p.waitForSelector("#found:has-text('Không tìm thấy')");
    // From the course's page a result opens the lecture at its place.
    const c = await page("khoa/index.html");
    await c.fill("#query", "duong tho");
    await c.click("#results a");
    await c.waitForURL(/bai\.html#t=4$/);
    await hear(c);
    assert((await now(c)) >= 4);
  },

  "the slide strip, the keys and the full size": async ({ page }) => {
    const p = await page(LECTURE);
    await p.waitForFunction(() => !document.querySelector("#next").disabled);
    await hear(p);
    await p.click("#strip li:nth-child(3) button");
    await p.waitForFunction(() => document.querySelector("#strip li:nth-child(3) [aria-current]"));
    await p.click("#next");
    assert.match(await shown(p), /^4/);
    await p.keyboard.press("p");
    assert.match(await shown(p), /^3/);
    await p.keyboard.press("k");
    assert(await p.evaluate(() => window.rivulet.clock.paused));
    await p.click("#zoom");
    await p.waitForFunction(() => document.querySelector("dialog img")?.naturalWidth === 1280);
    await p.keyboard.press("Escape");
    // Closing is told in a task of its own.
    await p.waitForFunction(() => !document.querySelector("dialog"));
  },

  "a still that is not there yet says its kB, and is asked for when the learner agrees": async ({ site, page }) => {
    const pictures = (name) => site.log.filter((e) => e.path.endsWith(name));
    const price = (bytes) => `${Math.ceil(bytes / 1e3)}\u00a0kB`;
    // Opens the slide by a tap; the price is there and the slide was not asked for; then at the second tap it comes, once, as long as was said.
    // Those to come may be fetched behind the voice at any time.
    const enlarge = async (p, tap, slide) => {
      const before = pictures(slide).length;
      await tap();
      const offer = p.locator("dialog .pan button");
      await offer.waitFor();
      const said = [await offer.textContent(), await p.textContent("dialog .acts span")];
      // Whatever the page had begun to ask for would have arrived before the answer to this.
      await p.evaluate(() => fetch("search.json"));
      assert.equal(pictures(slide).length, before, "a still was asked for before the learner agreed");
      await offer.click();
      await p.waitForFunction(() => document.querySelector("dialog img")?.complete && document.querySelector("dialog img").naturalWidth > 0);
      const came = pictures(slide).slice(before);
      assert.equal(came.length, 1, came.map((e) => e.path).join(" "));
      for (const text of said) assert(text.endsWith(price(came[0].bytes)), `${text}, and ${came[0].bytes} bytes came`);
      const [natural, shows, source] = await p.evaluate(() => [document.querySelector("dialog img").naturalWidth, document.querySelector("dialog .acts span").textContent, window.rivulet.data.slides[0][3]]);
      assert.deepEqual([natural, source], [1280, 1280], "the recording's own resolution");
      assert(shows.startsWith("1280 × 720"), shows);
    };
    const name = (p, i) => p.evaluate((i) => window.rivulet.data.slides[i][1].split("/").pop(), i);
    // With the browser's data saver on nothing is fetched before the learner taps play.
    const p = await page();
    await p.addInitScript(() => Object.defineProperty(navigator, "connection", { value: { saveData: true } }));
    await p.goto(site.url + LECTURE);
    await p.waitForFunction(() => !document.querySelector("#next").disabled);
    await enlarge(p, () => p.click("#zoom"), await name(p, 0));
    assert.equal(pictures(".webp").length, 1);
    // A slide that the link did not bring while the one before stands there: the tap on that asks for it.
    const q = await page(LECTURE);
    await q.waitForFunction(() => !document.querySelector("#next").disabled && document.querySelector("#slide").naturalWidth > 0);
    site.rule = (e) => (/webp$/.test(e.path) ? { status: 404 } : undefined);
    const third = await name(q, 2);
    await q.click("#strip li:nth-child(3) button");
    await q.evaluate(() => window.rivulet.clock.pause());
    await q.waitForFunction((third) => performance.getEntriesByType("resource").some((e) => e.name.endsWith(third) && e.responseStatus === 404), third);
    site.rule = () => undefined;
    await enlarge(q, () => q.click("#slide"), third);
    return { expected: [/404/] };
  },

  "hostile names change no markup and run no script": async ({ site, page }) => {
    const bad = '</script><img src=x onerror="window.hacked=9"><b>\\u202e';
    const text = JSON.stringify(bad).slice(1, -1).replaceAll("<", "\\u003c").replaceAll(">", "\\u003e");
    site.rule = (e) => {
      if (/bai\.html$/.test(e.path)) return { change: (body) => Buffer.from(body.toString().replace(/("slides":\[\[[^\]]*,")[^"]*("\])/, (_, a, b) => a + text + b)) };
      if (/search-.*json$/.test(e.path)) return { change: () => Buffer.from(JSON.stringify({ slides: [[0, bad, `${bad} tim`]], cues: [[1, `tim ${bad}`]] })) };
      if (/vtt$/.test(e.path)) return { change: () => Buffer.from(`WEBVTT\n\n00:00:00.000 --> 00:00:39.000\n${bad} &lt;img src=x onerror=window.hacked=8&gt;\n`) };
      return undefined;
    };
    // A longer voice stands in more pieces.
    const count = (p) => p.evaluate(() => [[...document.scripts].filter((s) => s.className !== "voice" && s.textContent !== "rivulet.come()").length, document.querySelectorAll("img").length, document.querySelectorAll("b").length]);
    const plain = await page("khoa/ca.html");
    await plain.waitForFunction(() => !document.querySelector("#mode").disabled);
    const normal = await count(plain);
    for (const address of [LECTURE, "khoa/xau.html"]) {
      const p = await page(address);
      await p.waitForFunction(() => !document.querySelector("#mode").disabled);
      await hear(p);
      if (await p.locator("#cc").count()) {
        await p.selectOption("#cc", "vi");
        await p.waitForFunction(() => document.querySelector("#line").textContent);
        await p.fill("#query", "tim");
        await p.waitForSelector("#results li");
      }
      assert.deepEqual(await count(p), normal, address);
      assert.equal(await p.evaluate(() => window.hacked), undefined);
      assert(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${address} is wider than the phone`);
    }
    const list = await page("khoa/index.html");
    assert.equal(await list.evaluate(() => window.hacked), undefined);
    assert.equal(await list.locator(".cards li").count(), 3);
    // Nor does a name turn around what we say behind it.
    const straight = await list.locator("li[data-lecture=xau] [data-w='{s30}']").evaluate((e) => {
      const at = (from, to) => {
        const range = document.createRange();
        range.setStart(e.firstChild, from);
        range.setEnd(e.firstChild, to);
        return range.getBoundingClientRect();
      };
      const n = e.textContent.length;
      return [e.textContent, at(0, 1).left < at(n - 1, n).left && at(0, 1).top === at(n - 1, n).top];
    });
    assert.deepEqual(straight, ["30\u00a0giây", true]);
  },

  "axe finds nothing on a course's pages, light and dark, still and in use": async ({ page, site }) => {
    const p = await ofAxe(page);
    for (const address of ["", "index.html", "khoa/index.html", "khoa/ca.html", "khoa/xau.html"]) {
      await p.goto(site.url + address);
      await alive(p);
      await violations(p, address);
    }
    await p.goto(site.url + LECTURE);
    await inUse(p, LECTURE);
  },

  "axe finds nothing in a frame, on a package's page and where a lecture was withdrawn": async ({ page, site, rivulet, store, out }) => {
    const { copy, withdraw } = copyOf(store, out);
    const [changed, alone] = await Promise.all([serveStore(rivulet, copy), serveStore(rivulet, join(out, "package"))]);
    try {
      const p = await ofAxe(page);
      await p.goto(`${site.url}${LECTURE}?embed`);
      await inUse(p, "embed");
      const q = await ofAxe(page);
      await q.goto(alone.url);
      await inUse(q, "package");
      // One that is kept is deleted by the page that says so.
      const r = await ofAxe(page);
      await r.goto(`${changed.url}khoa/xau.html`);
      await r.click("#keep .act");
      await r.click("#keep .act.main");
      await r.waitForSelector("#keep .hint:has-text('Đã giữ trên máy')");
      withdraw(rivulet, "xau");
      await r.evaluate(() => navigator.serviceWorker.getRegistration().then((worker) => worker.unregister()));
      await r.goto(`${changed.url}khoa/xau.html`);
      assert.match(await r.textContent("main"), /đã được gỡ bỏ/);
      await violations(r, "withdrawn");
      await eventually(r, () => new Promise((done) => {
        indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("lectures").objectStore("lectures").count().onsuccess = (c) => done(c.target.result === 0));
      }));
    } finally {
      await Promise.all([changed.close(), alone.close()]);
    }
  },

  "axe finds nothing on pages without JavaScript": async ({ page, site }) => {
    // Axe is a script itself: it looks at the page as it is without any, which a browser that runs none must show just so.
    const bare = (body) => Buffer.from(body.toString().replace(/<script[^]*?<\/script>/g, "").replace(/<\/?noscript>/g, "").replaceAll("@media (scripting:none)", "@media all"));
    for (const address of ["index.html", "khoa/index.html", LECTURE, "khoa/ca.html"]) {
      const without = await page(address, { ...phone, javaScriptEnabled: false });
      site.rule = (e) => (/html$/.test(e.path) ? { change: bare } : undefined);
      const p = await ofAxe(page);
      await p.goto(site.url + address);
      site.rule = () => undefined;
      assert.equal(await p.innerText("body"), await without.innerText("body"), address);
      await violations(p, `${address} without JavaScript`);
    }
  },

  "nothing moves while the page comes to life, nor when it changes its language": async ({ page, site }) => {
    let most = 0;
    for (const locale of ["vi-VN", "en-US"]) most = Math.max(most, await moves(await page(undefined, { locale }), site, locale.slice(0, 2)));
    return { say: `layout shift ${most.toFixed(4)}` };
  },
};

async function moves(p, site, lang) {
  await p.addInitScript(() => {
    window.moved = 0;
    new PerformanceObserver((list) => {
      for (const e of list.getEntries()) if (!e.hadRecentInput) window.moved += e.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  await p.goto(site.url + LECTURE);
  await p.waitForFunction(() => !document.querySelector("#mode").disabled && document.querySelector("#keep .act"));
  await hear(p);
  await p.waitForFunction((lang) => document.documentElement.lang === lang, lang);
  await until(p, 6);
  const moved = await p.evaluate(() => window.moved);
  assert(moved < 0.02, `layout shift ${moved} in ${lang}`);
  return moved;
}
