// How a lecture starts, goes on, and is found again.

import assert from "node:assert/strict";

export const LECTURE = "khoa/bai.html";

// Taps play; resolves when the voice's energy is heard, not merely when the element says that it plays.
export async function hear(page) {
  await page.evaluate(() => {
    const audio = document.getElementById("audio");
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaElementSource(audio).connect(analyser).connect(context.destination);
    context.resume();
    const samples = new Float32Array(analyser.fftSize);
    window.loud = () => {
      analyser.getFloatTimeDomainData(samples);
      return Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length) > 0.003;
    };
  });
  await page.click("#play");
  await page.waitForFunction(() => window.loud());
}
export const now = (page) => page.evaluate(() => window.rivulet.clock.currentTime);
export const until = (page, t) => page.waitForFunction((t) => window.rivulet.clock.currentTime >= t, t);
export const shown = (page) => page.evaluate(() => document.querySelector("#strip [aria-current] small")?.textContent);
// Until what a promise in the page gives is true; waitForFunction takes the promise itself for true.
export const eventually = (page, ask, argument) =>
  page.evaluate(`(async () => { while (!(await (${ask})(${JSON.stringify(argument)}))) await new Promise((r) => setTimeout(r, 50)); })()`);
const kind = (entry) => (entry.path.match(/\.(html|webp|js|mp4|m3u8|json|vtt)/) || [])[1];

// Byte ranges of a file as they were answered; asserts that no byte was sent twice, and returns their sum.
export function once(log, path) {
  const ranges = log.filter((e) => e.path === path).map((e) => {
    const [, from] = e.range.match(/bytes=(\d+)-/).map(Number);
    return [from, from + e.bytes];
  }).sort((a, b) => a[0] - b[0]);
  ranges.forEach((r, i) => assert(i === 0 || r[0] >= ranges[i - 1][1], `bytes ${r} of ${path} were sent before (${ranges[i - 1]})`));
  return ranges.reduce((sum, r) => sum + r[1] - r[0], 0);
}

export const tests = {
  "the voice is heard from the page's own bytes, while all else is held back": async ({ site, page }) => {
    let release;
    const held = new Promise((done) => (release = done));
    site.rule = (e) => (kind(e) === "html" ? undefined : { hold: held });
    const p = await page(LECTURE);
    await hear(p);
    const sent = site.log.map((e) => e.bytes).reduce((a, b) => a + b);
    assert(sent <= 60000, `${sent} bytes before the first sound`);
    // The page, then the slide; the voice asks for more when it plays. On a slow machine the rest of the script is asked for too.
    assert.deepEqual(site.log.slice(0, 2).map(kind), ["html", "webp"]);
    assert(site.log.slice(2).every((e) => kind(e) === "mp4" || /app-/.test(e.path)), site.log.map((e) => e.path).join(" "));
    release();
    await p.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0 && document.querySelector("#slide").src);
    await p.waitForFunction(() => !document.querySelector("#toggle").disabled);
    const order = site.log.map(kind);
    assert(order.indexOf("js") > order.indexOf("webp"));
    assert(!site.log.some((e) => /hls-|m3u8|json|vtt/.test(e.path)), "a player or a playlist was fetched without need");
    return { say: `${sent} bytes` };
  },

  "on a processor six times as slow: little work before the voice, nothing moves, everything is there": async ({ site, page }) => {
    let release;
    const held = new Promise((done) => (release = done));
    site.rule = (e) => (kind(e) === "html" ? undefined : { hold: held });
    const p = await page();
    const devtools = await p.context().newCDPSession(p);
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: 6 });
    for (const [method, how] of [["Performance.enable"], ["Profiler.enable"], ["Profiler.startPreciseCoverage", { callCount: true, detailed: false }]]) await devtools.send(method, how);
    await p.addInitScript(() => {
      window.moved = 0;
      new PerformanceObserver((list) => {
        for (const e of list.getEntries()) if (!e.hadRecentInput) window.moved += e.value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    await p.goto(site.url + LECTURE, { waitUntil: "domcontentloaded" });
    await hear(p);
    // Work is counted, as no clock here is the phone's: calls of the page's functions and layouts until the voice is heard.
    const { result } = await devtools.send("Profiler.takePreciseCoverage");
    const calls = result.filter((s) => s.url.startsWith(site.url)).flatMap((s) => s.functions).reduce((sum, f) => sum + f.ranges[0].count, 0);
    const { metrics } = await devtools.send("Performance.getMetrics");
    const layouts = metrics.find((m) => m.name === "LayoutCount").value;
    const bytes = await p.evaluate(() => [window.rivulet.voice.init, window.rivulet.voice.head, ...[...document.querySelectorAll("script.voice")].map((s) => s.textContent)].reduce((sum, text) => sum + atob(text).length, 0));
    // One for each byte that is unpacked.
    assert(calls > 0 && calls < bytes + 1000, `${calls} calls for ${bytes} bytes`);
    assert(layouts <= 25, `${layouts} layouts`);
    release();
    await p.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0 && !document.querySelector("#mode").disabled);
    assert(await p.evaluate(() => !window.rivulet.clock.paused && window.rivulet.clock.played.length === 1), "the voice stopped or jumped");
    await p.evaluate(() => (document.querySelector("#strip li:nth-child(3) button").click(), null));
    await p.waitForFunction(() => document.querySelector("#slide").alt.includes("3") && document.querySelector("#slide").complete);
    assert.match(await shown(p), /^3/);
    await p.fill("#query", "suy ho hap");
    await p.waitForSelector("#results mark");
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => document.querySelector("#video").className === "on" || window.rivulet.clock.ended);
    assert.equal(await p.getAttribute("#video", "class"), "on");
    const moved = await p.evaluate(() => window.moved);
    assert(moved < 0.02, `layout shift ${moved}`);
    return { say: `${calls} calls, ${layouts} layouts, layout shift ${moved.toFixed(4)}` };
  },

  "the first slide is asked for while the page still comes; on a link that was thin before, after the voice": async ({ site, page }) => {
    // The page stops in the middle of the voice's first bytes, before the loader.
    site.rule = (e) => (kind(e) === "html" ? { cutAfter: 8000, cut: false } : undefined);
    const p = await page();
    await p.goto(site.url + LECTURE, { waitUntil: "commit" });
    await p.waitForFunction(() => document.querySelector("#slide")?.naturalWidth > 0);
    assert.deepEqual(site.log.map(kind), ["html", "webp"]);
    assert.equal(await p.evaluate(() => window.rivulet.voice), undefined);
    site.rule = () => undefined;
    const q = await page();
    await q.addInitScript(() => localStorage.setItem("rivulet", JSON.stringify({ bps: 30000 })));
    await q.goto(site.url + LECTURE);
    await hear(q);
    await q.waitForFunction(() => document.querySelector("#slide").naturalWidth > 0);
    // As the page asks: on two connections either may be the first to arrive.
    const asked = await q.evaluate(() => performance.getEntriesByType("resource").sort((a, b) => a.startTime - b.startTime).map((e) => e.name.slice(-4)));
    assert.deepEqual(asked.slice(0, 2), [".mp4", "webp"]);
  },

  "titles are shown in the learner's language where the author gave them": async ({ page }) => {
    for (const [locale, title] of [["en-US", "Cardiac emergencies"], ["vi-VN", "Cấp cứu tim mạch"], ["fr-FR", "Cấp cứu tim mạch"]]) {
      const p = await page("khoa/index.html", { locale });
      await p.waitForFunction((title) => document.querySelector("h1").textContent.startsWith(title), title);
    }
  },

  "a page that was cut short offers to begin again": async ({ site, page }) => {
    // In the voice behind the loader, and silent from there on.
    site.rule = (e) => (kind(e) === "html" ? { cutAfter: 18500, cut: false } : undefined);
    const p = await page();
    await p.clock.install();
    await p.goto(site.url + LECTURE, { waitUntil: "commit" });
    await p.click("#play");
    await p.waitForFunction(() => window.rivulet.audio.currentTime > 0.2);
    site.rule = () => undefined;
    await p.clock.fastForward(31000);
    await p.click("#play");
    await p.waitForSelector("#about", { state: "attached" });
  },

  "a lecture plays to its end, each byte of voice and each slide fetched once": async ({ site, page }) => {
    const p = await page(LECTURE);
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#speed").disabled);
    await p.selectOption("#speed", "2");
    const voice = await p.evaluate(() => new URL(window.rivulet.voice.uri, location).pathname);
    await p.waitForFunction(() => window.rivulet.audio.ended);
    const head = await p.evaluate(() => {
      const pieces = [...document.querySelectorAll("script.voice")].map((s) => s.textContent);
      return [window.rivulet.voice.head, ...pieces].map((text) => atob(text).length).reduce((a, b) => a + b);
    });
    const total = await p.evaluate(() => window.rivulet.voice.sizes.reduce((a, b) => a + b));
    assert.equal(once(site.log, voice) + head, total);
    const pictures = site.log.filter((e) => kind(e) === "webp").map((e) => e.path);
    assert.equal(new Set(pictures).size, pictures.length, "a slide was fetched twice");
    assert.equal(pictures.length, await p.evaluate(() => window.rivulet.data.slides.length));
    assert.equal(await shown(p), await p.evaluate(() => document.querySelector("#strip li:last-child small").textContent));
  },

  "seeking fetches what is sought and nothing again": async ({ site, page }) => {
    const p = await page("khoa/ca.html");
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#seek").disabled);
    // Small requests, so that there is something left to seek to.
    await p.evaluate(() => {
      window.rivulet.ahead = 8;
      window.rivulet.chunk = 9000;
    });
    const voice = await p.evaluate(() => new URL(window.rivulet.voice.uri, location).pathname);
    for (const t of [60, 12, 40, 2, 70, 41, 13]) {
      await p.evaluate((t) => {
        const range = document.getElementById("seek");
        range.value = t;
        range.dispatchEvent(new Event("input"));
        range.dispatchEvent(new Event("change"));
      }, t);
      await until(p, t + 0.5);
    }
    once(site.log, voice);
  },

  "the learner's place, speed, mode and captions are found again": async ({ site, page }) => {
    const p = await page(LECTURE);
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#speed").disabled);
    await p.selectOption("#speed", "1.5");
    await p.selectOption("#cc", "vi");
    await p.selectOption("#mode", "=floor").catch(() => p.selectOption("#mode", "auto"));
    const mode = await p.inputValue("#mode");
    await p.evaluate(() => (window.rivulet.clock.currentTime = 21));
    await until(p, 22);
    // As after a crash: nothing is told to the page.
    const state = await p.context().storageState();
    site.log.length = 0;
    const again = await page(LECTURE, { storageState: state });
    await hear(again);
    const t = await now(again);
    assert(t >= 16 && t < 36, `it goes on at ${t}`);
    await again.waitForFunction(() => !document.querySelector("#speed").disabled);
    assert.deepEqual([await again.inputValue("#speed"), await again.inputValue("#mode"), await again.inputValue("#cc")], ["1.5", mode, "vi"]);
    assert.equal(await again.evaluate(() => window.rivulet.audio.playbackRate), 1.5);
    await again.waitForFunction(() => document.querySelector("#line").textContent.includes("Đo độ bão hòa") || window.rivulet.clock.currentTime > 26);
  },

  "a lost link is said, and the lecture goes on by itself": async ({ site, page }) => {
    const p = await page("khoa/ca.html");
    await p.evaluate(() => {
      window.rivulet.ahead = 8;
      window.rivulet.chunk = 9000;
    });
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#seek").disabled);
    site.down = true;
    await p.evaluate(() => (window.rivulet.clock.currentTime = 50));
    await p.waitForFunction(() => /Mất kết nối/.test(document.querySelector("#note").textContent));
    site.down = false;
    await p.click("#note button");
    await until(p, 50.5);
    await p.waitForFunction(() => document.querySelector("#note").hidden);
    return { expected: [/ERR_EMPTY_RESPONSE|ERR_CONNECTION|ERR_FAILED|ERR_SOCKET|Failed to load/] };
  },

  "an answer that is cut off goes on where it was cut": async ({ site, page }) => {
    let cuts = 0;
    site.rule = (e) => (kind(e) === "mp4" && cuts++ < 3 ? { cutAfter: 7000 } : undefined);
    const p = await page(LECTURE);
    const voice = await p.evaluate(() => new URL(window.rivulet.voice.uri, location).pathname);
    await hear(p);
    await p.waitForFunction(() => window.rivulet.have && window.rivulet.have() > 39);
    assert(cuts > 3);
    once(site.log, voice);
    return { expected: [/ERR_/] };
  },

  "where Opus or byte ranges cannot be fed, the AAC file plays": async ({ site, page }) => {
    const p = await page();
    await p.addInitScript(() => delete window.MediaSource);
    await p.goto(site.url + LECTURE);
    await hear(p);
    await until(p, 1);
    assert.match(await p.evaluate(() => window.rivulet.audio.currentSrc), /\.(mp4|m3u8)$/);
  },

  "without a script there are the small file and the author's files": async ({ page }) => {
    const p = await page(LECTURE, { javaScriptEnabled: false });
    const hrefs = await p.locator("main a[download]").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
    assert(hrefs.some((h) => h.endsWith(".mp4")) && hrefs.some((h) => h.endsWith(".vtt")), hrefs.join(" "));
    assert(await p.locator("noscript").first().isVisible());
    assert(!(await p.locator("#controls").isVisible()));
  },

  "in a frame there is the player alone": async ({ page }) => {
    const p = await page(`${LECTURE}?embed`);
    assert(await p.locator("#stage").isVisible());
    assert(await p.locator(".out a").isVisible());
    for (const gone of ["header", "footer", "#keep"]) assert(!(await p.locator(gone).isVisible()), gone);
    // Its title is for who reads by ear.
    const { width, height } = await p.locator("h1").boundingBox();
    assert(width <= 1 && height <= 1, `${width} x ${height}`);
  },
};
