// What goes wrong on the way and in browsers: servers that answer something else, databases and players that refuse.

import assert from "node:assert/strict";
import { LECTURE, hear, now, shown, until } from "./page-start.mjs";

const note = (page, words) => page.waitForFunction((words) => document.querySelector("#note").textContent.includes(words), words);
const ready = (page) => page.waitForFunction(() => !document.querySelector("#toggle").disabled);
// Long waits of the page end at once and are written down, so that no test takes minutes or asserts seconds.
const quick = (page) => page.addInitScript(() => {
  const later = window.setTimeout;
  window.waits = [];
  window.setTimeout = (act, ms, ...more) => {
    const long = [1000, 2000, 4000, 8000, 16000, 32000, 60000].includes(ms);
    if (long) window.waits.push(ms);
    return later(act, long ? 50 : ms, ...more);
  };
});
// What was remembered before the first visit.
const remembered = (page, id, memory) => page.addInitScript(([key, text]) => localStorage.getItem(key) || localStorage.setItem(key, text), [`rivulet:${id}`, JSON.stringify(memory)]);
const broken = [/Failed to load|ERR_|HTTP (404|503)|status of/];

export const tests = {
  "seeking back after the end was fetched plays on": async ({ page }) => {
    const p = await page("khoa/ca.html#t=60");
    await hear(p);
    await p.waitForFunction(() => window.rivulet.have() > 79);
    await p.evaluate(() => (window.rivulet.clock.currentTime = 30));
    await until(p, 30.5);
    // The end stays known.
    await p.evaluate(() => (window.rivulet.clock.currentTime = 78));
    await p.waitForFunction(() => window.rivulet.clock.ended);
  },

  "a sign-in page instead of the voice is not asked for without rest": async ({ site, page }) => {
    let portal = true;
    site.rule = (e) => (portal && e.range ? { answer: "<html>".padEnd(3000, "login "), type: "text/html" } : undefined);
    const p = await page();
    await quick(p);
    await p.goto(`${site.url}khoa/ca.html`);
    await hear(p);
    await p.waitForFunction(() => window.waits.filter((ms) => ms === 16000).length > 1);
    const waits = await p.evaluate(() => window.waits);
    const asked = site.log.filter((e) => e.range).length;
    assert.deepEqual(waits.slice(0, 5), [1000, 2000, 4000, 8000, 16000]);
    assert(asked <= waits.length + 1, `${asked} requests, ${waits.length} waits`);
    portal = false;
    await until(p, 12);
    // Bytes that are no media end it: they are not fetched again.
    const q = await page("khoa/ca.html");
    await ready(q);
    site.rule = (e) => (e.range ? { answer: "\0".repeat(540000), type: "video/mp4" } : undefined);
    await q.click("#play");
    await note(q, "Không phát được");
    const before = site.log.length;
    await q.evaluate(async () => {
      for (let i = 0; i < 3; i += 1) await window.rivulet.pump();
    });
    assert.equal(site.log.length, before);
    return { expected: broken };
  },

  "without MSE the place is kept until it can be gone to": async ({ site, page }) => {
    let release;
    const held = new Promise((done) => (release = done));
    site.rule = (e) => (e.range ? { hold: held } : undefined);
    const p = await page();
    await p.addInitScript(() => delete window.MediaSource);
    await remembered(p, "khoa/bai", { t: 21, most: 21 });
    await p.goto(site.url + LECTURE);
    await ready(p);
    assert.match(await shown(p), /^4/);
    await p.click("#play");
    await p.evaluate(() => dispatchEvent(new Event("pagehide")));
    await p.reload();
    assert.equal(await p.evaluate(() => JSON.parse(localStorage.getItem("rivulet:khoa/bai")).t), 21);
    await ready(p);
    assert.match(await shown(p), /^4/);
    // A tap on another slide is what the learner wants now.
    await p.click("#strip li:nth-child(2) button");
    assert.match(await shown(p), /^2/);
    release();
    await p.waitForFunction(() => !window.rivulet.clock.paused && window.rivulet.clock.readyState > 2);
    await until(p, 5.5);
    assert((await now(p)) < 13, `it plays at ${await now(p)}`);
    assert.match(await shown(p), /^2/);
  },

  "a lecture without sound goes on where the learner left, and at the place of a link": async ({ site, page }) => {
    site.rule = (e) => (/ca\.html/.test(e.path) ? { change: (body) => Buffer.from(body.toString().replace(/(id="voice">)[^<]*/, "$1{}")) } : undefined);
    for (const [address, memory, from] of [["khoa/ca.html", { t: 41, most: 41 }, 41], ["khoa/ca.html#t=62", {}, 62]]) {
      const p = await page();
      await remembered(p, "khoa/ca", memory);
      await p.goto(site.url + address);
      await ready(p);
      await p.click("#play");
      await p.waitForFunction(() => window.rivulet.video.currentTime > 0.3);
      const t = await now(p);
      assert(t >= from && t < from + 15, `it goes on at ${t}, not ${from}`);
      await until(p, from + 1);
    }
  },

  "a database that does not answer or refuses takes only the keeping away": async ({ site, page }) => {
    for (const refuses of [false, true]) {
      const p = await page();
      await p.addInitScript((refuses) => {
        IDBFactory.prototype.open = () => {
          if (refuses) throw new DOMException("no", "SecurityError");
          return {};
        };
        // The limit for the database passes at once.
        const later = window.setTimeout;
        window.setTimeout = (act, ms, ...more) => later(act, ms === 10001 ? 500 : ms, ...more);
      }, refuses);
      await p.goto(site.url + LECTURE);
      await hear(p);
      await ready(p);
      await p.click("#strip li:nth-child(2) button");
      await p.waitForFunction(() => document.querySelector("#slide").alt.includes("2"));
      await p.waitForSelector("#keep .hint:has-text('MP4')");
      assert.match(await p.getAttribute("#keep a.act", "href"), /\.mp4$/);
    }
  },

  "a player that refuses byte ranges is played the AAC file": async ({ site, page }) => {
    for (const refuses of ["addSourceBuffer", "appendBuffer"]) {
      const p = await page();
      await remembered(p, "khoa/bai", { t: 21, most: 21 });
      await p.addInitScript((refuses) => {
        const all = refuses === "addSourceBuffer" ? MediaSource.prototype : SourceBuffer.prototype;
        all[refuses] = () => {
          throw new DOMException("no", "QuotaExceededError");
        };
      }, refuses);
      await p.goto(site.url + LECTURE);
      await hear(p);
      await until(p, 22);
      assert.match(await p.evaluate(() => window.rivulet.audio.currentSrc), /\.(mp4|m3u8)$/);
    }
  },

  "a slide that is missing is asked for less and less, one that is gone no more": async ({ site, page }) => {
    const asked = () => {
      const paths = site.log.filter((e) => /webp$/.test(e.path)).map((e) => e.path);
      return Math.max(...paths.map((path) => paths.filter((p) => p === path).length));
    };
    for (const status of [404, 503]) {
      site.log.length = 0;
      site.rule = (e) => (/webp$/.test(e.path) ? { status } : undefined);
      const p = await page();
      // No time passes for who waits by this clock.
      await p.addInitScript(() => (performance.now = () => 1000));
      await p.goto(site.url + LECTURE);
      await ready(p);
      await p.click("#play");
      await p.waitForFunction(() => window.rivulet.clock.currentTime > 1);
      // As the clock does, many times.
      await p.evaluate(async () => {
        for (let i = 0; i < 40; i += 1) {
          window.rivulet.clock.dispatchEvent(new Event("timeupdate"));
          await new Promise((r) => setTimeout(r, 20));
        }
      });
      assert(asked() <= 2, `${asked()} requests for a slide that answers ${status}`);
      if (status === 404) continue;
      site.rule = () => undefined;
      await p.evaluate(() => dispatchEvent(new Event("online")));
      await p.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0);
    }
    return { expected: broken };
  },
};
