// What can be read: search, captions, names that an author should not have written, and who reads by ear or keyboard.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { LECTURE, hear, now, shown, until } from "./page-start.mjs";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

async function violations(page, what) {
  const found = await page.evaluate(async () => {
    const result = await window.axe.run(document, { resultTypes: ["violations"] });
    return result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join(", ")}`);
  });
  assert.deepEqual(found, [], what);
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

  "the slide strip, the keys and the full size": async ({ site, page }) => {
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
    assert.equal(await p.locator("dialog").count(), 0);
    // In video mode the still was not fetched: its price comes first.
    const v = await page("khoa/ca.html");
    await v.evaluate(() => localStorage.setItem("rivulet:khoa/ca", JSON.stringify({ t: 60, mode: "auto" })));
    let stop = false;
    site.rule = (e) => (stop && /webp$/.test(e.path) ? { status: 503 } : undefined);
    await v.reload();
    await v.waitForFunction(() => !document.querySelector("#next").disabled);
    stop = false;
    await v.evaluate(() => document.getElementById("zoom").click());
    await v.waitForSelector("dialog");
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
  },

  "axe finds nothing, light and dark, still and in use": async ({ page, site }) => {
    for (const colorScheme of ["light", "dark"]) {
      const options = { colorScheme, bypassCSP: true, viewport: { width: 320, height: 640 } };
      for (const address of ["index.html", "khoa/index.html", LECTURE, "khoa/ca.html"]) {
        const p = await page(undefined, options);
        await p.addInitScript(axe);
        await p.goto(site.url + address);
        const lecture = address.endsWith("bai.html");
        if (lecture) await p.waitForFunction(() => !document.querySelector("#mode").disabled && document.querySelector("#keep .act"));
        await violations(p, `${address} ${colorScheme}`);
        assert(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${address} is wider than 320 px`);
        if (!lecture) continue;
        await p.selectOption("#cc", "vi");
        await p.fill("#query", "suy");
        await p.waitForSelector("#results li");
        await hear(p);
        await until(p, 1);
        await violations(p, `${address} ${colorScheme} in use`);
        await p.click("#zoom");
        await p.waitForSelector("dialog img");
        await violations(p, `${address} ${colorScheme} enlarged`);
      }
    }
  },

  "nothing moves while the page comes to life": async ({ page }) => {
    const p = await page();
    await p.addInitScript(() => {
      window.moved = 0;
      new PerformanceObserver((list) => {
        for (const e of list.getEntries()) if (!e.hadRecentInput) window.moved += e.value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    await p.goto(new URL(LECTURE, (await page("index.html")).url()).href);
    await p.waitForFunction(() => !document.querySelector("#mode").disabled && document.querySelector("#keep .act"));
    await hear(p);
    await until(p, 6);
    const moved = await p.evaluate(() => window.moved);
    assert(moved < 0.02, `layout shift ${moved}`);
    return { say: `layout shift ${moved.toFixed(4)}` };
  },
};
