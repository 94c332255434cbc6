// Lectures kept on the device: killed browsers, damaged pieces, no network, withdrawal.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { executablePath } from "./chromium.mjs";
import { LECTURE, eventually, hear, until } from "./page-start.mjs";

const { chromium } = createRequire(import.meta.url)("playwright-core");

// A Chromium that can be killed like a phone kills it: a process of its own with a profile that stays.
async function browserOn(profile) {
  const flags = ["--headless=new", "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required", "--accept-lang=vi-VN,vi", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn(executablePath, flags, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  const lines = createInterface({ input: child.stderr });
  const address = await new Promise((done, failed) => {
    lines.on("line", (line) => line.startsWith("DevTools listening on ") && done(line.slice(22).trim()));
    child.once("exit", () => failed(new Error("Chromium ended")));
  });
  const browser = await chromium.connectOverCDP(address);
  const ended = new Promise((done) => child.once("exit", done));
  const kill = async () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It is gone.
    }
    await ended;
    await browser.close().catch(() => {});
  };
  return { page: async () => browser.contexts()[0].newPage(), kill };
}

// Smaller pieces, so that a lecture of seconds has enough of them.
const small = (e) => (/\.html/.test(e.path) ? { change: (body) => Buffer.from(body.toString().replace(/"piece":\d+/, '"piece":16000')) } : undefined);
const isPiece = (e, voice) => e.path === voice && e.range;
const keepIt = async (page) => {
  await page.click("#keep .act.main");
  await page.waitForSelector("#keep .hint:has-text('Cần tải')");
  await page.click("#keep .act.main");
};
const whole = (page) => page.waitForSelector("#keep .hint:has-text('Đã giữ trên máy')");

export const tests = {
  "a browser killed ten times while it keeps a lecture fetches no piece twice; then it plays without a network": async ({ site }) => {
    const profile = await mkdtemp(join(tmpdir(), "rivulet-page-"));
    let browser;
    try {
      let voice;
      const complete = [];
      let asked = () => {};
      site.rule = (e) => {
        if (!voice || !isPiece(e, voice)) return small(e);
        const [, from, to] = e.range.match(/bytes=(\d+)-(\d+)/).map(Number);
        return asked(from, to);
      };
      const begin = async () => {
        browser = await browserOn(profile);
        const page = await browser.page();
        await page.goto(site.url + "khoa/ca.html");
        await page.waitForSelector("#keep .act");
        voice ??= await page.evaluate(() => new URL(window.rivulet.voice.uri, location).pathname);
        return page;
      };
      let page = await begin();
      for (let n = 0; n < 10; n += 1) {
        // One piece gets through, the next is cut in its middle, and there the browser dies.
        const cut = new Promise((done) => {
          let through = 0;
          asked = (from, to) => {
            through += 1;
            if (through < 2) return void complete.push([from, to]);
            return { cutAfter: Math.floor((to - from) / 2), cut: false, onCut: done };
          };
        });
        if (n === 0) await keepIt(page);
        await cut;
        await browser.kill();
        page = await begin();
      }
      asked = (from, to) => void complete.push([from, to]);
      // It goes on by itself.
      await whole(page);
      const froms = complete.map((c) => c[0]);
      assert.equal(new Set(froms).size, froms.length, `fetched twice: ${froms.sort((a, b) => a - b)}`);
      assert(froms.length >= 10, `only ${froms.length} pieces`);

      await browser.kill();
      site.down = true;
      browser = await browserOn(profile);
      page = await browser.page();
      await page.goto(site.url + "khoa/ca.html");
      await hear(page);
      await until(page, 1);
      for (const t of [70, 25]) {
        await page.evaluate((t) => (window.rivulet.clock.currentTime = t), t);
        await until(page, t + 0.5);
      }
      await page.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0);
      return { say: `${froms.length} pieces` };
    } finally {
      if (browser) await browser.kill();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  },

  "a second visit starts from the kept shell; a page that is gone says so": async ({ site, page }) => {
    const p = await page(LECTURE);
    await hear(p);
    await eventually(p, async () => (await (await caches.open("rivulet-shell-1")).keys()).length >= 2);
    // Pages and scripts are not answered any more; media are.
    site.rule = (e) => (/html|app-/.test(e.path) ? { status: 503 } : undefined);
    const q = await p.context().newPage();
    await q.goto(site.url + LECTURE);
    await hear(q);
    await q.waitForFunction(() => !document.querySelector("#mode").disabled);
    await q.close();
    // Withdrawn: the page, its blobs and its line in the list are gone, and only this device has the page.
    site.rule = (e) => {
      if (/search\.json/.test(e.path)) return { change: () => Buffer.from('{"lectures":[["ca","Ca","",0]]}') };
      return /html|blobs/.test(e.path) ? { status: 404 } : undefined;
    };
    await p.goto(site.url + LECTURE);
    await p.click("#play");
    await p.waitForFunction(() => /rút lại/.test(document.querySelector("#note").textContent));
    assert.equal(await p.evaluate(async () => (await (await caches.open("rivulet-shell-1")).keys()).filter((k) => k.url.endsWith("bai.html")).length), 0);
    return { expected: [/404|503/] };
  },

  "a kept lecture plays offline after it was published anew, and changes when all of the new one is here": async ({ site, page }) => {
    const p = await page(LECTURE);
    await keepIt(p);
    await whole(p);
    const count = () => new Promise((done) => {
      indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("pieces").objectStore("pieces").count().onsuccess = (r) => done(r.target.result));
    });
    const before = await p.evaluate(count);
    const app = await p.evaluate(() => new URL(window.rivulet.data.app, location).pathname);
    // Published anew: another script, and the first slide has another picture.
    site.rule = (e) => {
      if (/bai\.html/.test(e.path)) {
        return { change: (body) => {
          const text = body.toString().replaceAll(app.slice(1), "app-0123456789abcdef.js");
          return Buffer.from(text.replace(/("slides":\[\[0\.0,")[^"]*/, (_, a) => a + /"poster":"([^"]*)/.exec(text)[1]));
        } };
      }
      if (/0123456789abcdef/.test(e.path)) return { as: app };
      return undefined;
    };
    await p.goto(site.url + LECTURE);
    await hear(p);
    await p.waitForSelector("#keep .act:has-text('Tải tiếp')");
    site.down = true;
    await p.goto(site.url + LECTURE);
    await hear(p);
    await until(p, 1);
    await p.waitForFunction(() => !document.querySelector("#toggle").disabled && document.querySelector("#slide").naturalWidth > 0);
    assert.equal(await p.evaluate(() => new URL(window.rivulet.data.app, location).pathname), app);
    site.down = false;
    await p.click("#keep .act:has-text('Tải tiếp')");
    await whole(p);
    site.down = true;
    await p.goto(site.url + LECTURE);
    await hear(p);
    await until(p, 1);
    await p.waitForFunction(() => !document.querySelector("#toggle").disabled && document.querySelector("#slide").naturalWidth > 0);
    assert.match(await p.evaluate(() => window.rivulet.data.app), /0123456789abcdef/);
    // What only the old one had, one picture, is deleted when the new one has been seen with a network.
    site.down = false;
    await p.goto(site.url + LECTURE);
    await hear(p);
    await eventually(p, `async () => (await (${count})()) === ${before}`);
    return { expected: [/ERR_|Failed to load/] };
  },

  "a page is kept with its script or not at all, and scripts are not the first to go": async ({ site, page }) => {
    const p = await page(LECTURE);
    await hear(p);
    const shell = () => caches.open("rivulet-shell-1").then((c) => c.keys()).then((keys) => keys.map((k) => new URL(k.url).pathname));
    await eventually(p, async () => (await (await caches.open("rivulet-shell-1")).keys()).length >= 2);
    const app = await p.evaluate(() => new URL(window.rivulet.data.app, location).pathname);
    const without = site.log.length;
    site.rule = (e) => {
      if (/bai\.html/.test(e.path)) return { change: (body) => Buffer.from(body.toString().replaceAll(app.slice(1), "app-0123456789abcdef.js")) };
      return /0123456789abcdef/.test(e.path) ? { status: 503 } : undefined;
    };
    // The page that was kept is answered; behind it the new one is fetched, whose script does not come.
    await p.goto(site.url + LECTURE);
    await p.waitForFunction(() => !document.querySelector("#toggle").disabled);
    while (!site.log.slice(without).some((e) => /0123456789abcdef/.test(e.path) || (/bai\.html/.test(e.path) && e.done))) await p.waitForTimeout(50);
    site.down = true;
    await p.goto(site.url + LECTURE);
    await p.waitForFunction(() => !document.querySelector("#toggle").disabled);
    site.down = false;
    site.rule = () => undefined;
    // A hundred pages later.
    await p.evaluate(async () => {
      const cache = await caches.open("rivulet-shell-1");
      for (let i = 0; i < 101; i += 1) await cache.put(new URL(`x${i}.html`, location).href, new Response(""));
    });
    await p.goto(site.url + LECTURE);
    await eventually(p, async () => (await (await caches.open("rivulet-shell-1")).keys()).length <= 101);
    assert((await p.evaluate(shell)).includes(app), "the script went first");
    return { expected: [/ERR_|Failed to load|503/] };
  },

  "the course is searched without a network: what was kept is found, and that it may not be all is said": async ({ site, page }) => {
    site.rule = (e) => (/search\.json/.test(e.path) ? { change: (body) => {
      const list = JSON.parse(body);
      list.lectures.push(["khac", "Khác", "search-0000000000000000.json", 0]);
      return Buffer.from(JSON.stringify(list));
    } } : undefined);
    const p = await page(LECTURE);
    await keepIt(p);
    await whole(p);
    await eventually(p, async () => !!(await caches.match(new URL("search.json", location).href)));
    site.down = true;
    await p.goto(`${site.url}khoa/index.html`);
    await p.waitForFunction(() => !document.querySelector("#query").disabled);
    await p.fill("#query", "duong tho");
    await p.waitForSelector("#results li");
    assert.match(await p.textContent("#found"), /^1 kết quả\. Không tải được/);
    // Words of a lecture that is no longer in the list go from the device.
    await p.evaluate(async () => (await caches.open("rivulet-shell-1")).put(new URL("search-1111111111111111.json", location).href, new Response("{}")));
    site.down = false;
    await p.goto(`${site.url}khoa/index.html`);
    await eventually(p, async () => !(await caches.match(new URL("search-1111111111111111.json", location).href)));
    return { expected: [/ERR_|Failed to load/] };
  },

  "a piece that arrives damaged is fetched again, and one that stays so is refused": async ({ site, page }) => {
    let bad = 1;
    let tries = 0;
    const p = await page(LECTURE);
    const voice = await p.evaluate(() => new URL(window.rivulet.voice.uri, location).pathname);
    const spoil = (body) => {
      body[body.length >> 1] ^= 1;
      return body;
    };
    site.rule = (e) => (isPiece(e, voice) && ((tries += 1), bad-- > 0) ? { change: spoil } : undefined);
    await keepIt(p);
    await whole(p);
    assert.equal(tries, 2);
    await p.click("#keep .act");
    await p.click("#keep .act:has-text('Chạm lần nữa')");
    await p.waitForSelector("#keep .act.main:has-text('Giữ lại')");
    assert.equal(await p.evaluate(async () => (await indexedDB.databases()).length), 1);
    // Another phone, another copy in the cache: this one stays damaged.
    [bad, tries] = [99, 0];
    const q = await page(LECTURE);
    await keepIt(q);
    await q.waitForSelector("#keep .act:has-text('Tải tiếp')");
    assert.equal(tries, 3);
    assert.match(await q.textContent("#keep .hint"), /hỏng/);
    assert.equal(await q.evaluate((voice) => new Promise((done) => {
      indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("pieces").objectStore("pieces").getAllKeys().onsuccess = (r) => done(r.target.result.filter((k) => k.startsWith(voice)).length));
    }), voice), 0);
  },

  "a kept lecture goes when the pointer says that it was withdrawn, though the list still has it": async ({ site, page }) => {
    const p = await page("khoa/index.html");
    const box = p.locator(".module").first();
    await box.locator(".act.main").click();
    await box.locator(".hint:has-text('Cần tải')").waitFor();
    await box.locator(".act.main").click();
    const marked = () => p.waitForSelector("li[data-lecture=bai] .marks:has-text('trên máy')");
    await marked();
    const kept = () => new Promise((done) => {
      indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("lectures").objectStore("lectures").getAllKeys().onsuccess = (r) => done(r.target.result.includes("khoa/bai")));
    });
    // One that was withdrawn and brought back before this copy was made stays; so it does after an answer that is no pointer.
    for (const tombstones of ['[{"lecture":"bai","release":1,"restored":1},{"lecture":"ca","release":1}]', "null"]) {
      let asked = 0;
      site.rule = (e) => (/courses\/khoa\/current\.json$/.test(e.path) ? ((asked += 1), { change: () => Buffer.from(`{"withdrawn":${tombstones}}`) }) : undefined);
      await p.goto(`${site.url}khoa/index.html`);
      await marked();
      await p.waitForLoadState("networkidle");
      assert.deepEqual([asked, await p.evaluate(kept)], [1, true]);
    }
    // Gone: whether it is away, or came back after this copy was made.
    site.rule = (e) => (/courses\/khoa\/current\.json$/.test(e.path) ? { change: () => Buffer.from('{"withdrawn":[{"lecture":"bai","release":1,"restored":99}]}') } : undefined);
    await p.goto(`${site.url}khoa/index.html`);
    await eventually(p, `async () => !(await (${kept})())`);
    await p.waitForFunction(() => !document.querySelector("li[data-lecture=bai] .marks"));
  },

  "a module is kept from the course page, and a lecture that was withdrawn is dropped": async ({ site, page }) => {
    const p = await page("khoa/index.html");
    const box = p.locator(".module").first();
    await box.locator(".act.main").click();
    await box.locator(".hint:has-text('Cần tải')").waitFor();
    await box.locator(".act.main").click();
    await box.locator(".hint:has-text('Đã giữ trên máy')").waitFor();
    await p.waitForSelector("li[data-lecture=bai] .marks:has-text('trên máy')");
    site.down = true;
    await p.goto(`${site.url}${LECTURE}`);
    await hear(p);
    await until(p, 0.5);
    site.down = false;
    // An answer that is no list, as a café's sign-in page gives, takes nothing away.
    const count = () => new Promise((done) => {
      indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("pieces").objectStore("pieces").count().onsuccess = (r) => done(r.target.result));
    });
    let asked = 0;
    site.rule = (e) => (/search\.json$/.test(e.path) ? ((asked += 1), { change: () => Buffer.from("<html>Wi-Fi</html>") }) : undefined);
    await p.goto(`${site.url}khoa/index.html`);
    await p.waitForSelector("li[data-lecture=bai] .marks:has-text('trên máy')");
    await p.waitForLoadState("networkidle");
    assert.equal(asked, 1);
    assert((await p.evaluate(count)) > 3);
    site.rule = (e) => (/search\.json$/.test(e.path) ? { change: () => Buffer.from('{"lectures":[["ca","Ca","",0]]}') } : undefined);
    await p.goto(`${site.url}khoa/index.html`);
    await eventually(p, () => new Promise((done) => {
      indexedDB.open("rivulet").onsuccess = (e) => (e.target.result.transaction("pieces").objectStore("pieces").count().onsuccess = (r) => done(r.target.result === 0));
    }));
    return { expected: [/ERR_|Failed to load/] };
  },

  "where there is no service worker, the page says so and offers the small file": async ({ page, site }) => {
    const p = await page();
    await p.addInitScript(() => Object.defineProperty(Navigator.prototype, "serviceWorker", { get: () => undefined }));
    await p.goto(site.url + LECTURE);
    await p.waitForSelector("#keep .hint:has-text('MP4')");
    assert.match(await p.getAttribute("#keep a.act", "href"), /\.mp4$/);
    await hear(p);
  },

  "what the browser could not play from the device is not offered to be kept": async ({ page, site }) => {
    const p = await page();
    await p.addInitScript(() => delete window.MediaSource);
    await p.goto(site.url + LECTURE);
    await p.click("#play");
    await p.waitForSelector("#keep .hint:has-text('MP4')");
    assert.match(await p.getAttribute("#keep a.act", "href"), /\.mp4$/);
    const list = await page();
    await list.addInitScript(() => delete window.MediaSource);
    await list.goto(site.url + "khoa/index.html");
    await list.waitForSelector(".module .hint:has-text('MP4')");
    assert.equal(await list.locator(".module .act").count(), 0);
  },

  "pausing stops what is on its way, and going on fetches the rest": async ({ page, site }) => {
    let release;
    const held = new Promise((done) => (release = done));
    let asked;
    const voice = new Promise((done) => (asked = done));
    site.rule = (e) => (/\.mp4$/.test(e.path) && e.range ? (asked(), { hold: held }) : undefined);
    const p = await page("khoa/ca.html");
    await p.click("#keep button:has-text('Giữ')");
    await p.click("#keep button:has-text('Bắt đầu')");
    await voice;
    await p.click("#keep button:has-text('Tạm dừng')");
    await p.waitForSelector("#keep button:has-text('Tải tiếp')");
    release();
    site.rule = () => undefined;
    await p.click("#keep button:has-text('Tải tiếp')");
    await p.waitForSelector("#keep .hint:has-text('Đã giữ trên máy')");
    return { expected: [/abort/i] };
  },
};
