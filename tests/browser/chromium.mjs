// One Chromium for many pages, quiet towards the network, and what every script here wants to know of a page.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

export const executablePath = process.env.CHROMIUM || "/usr/bin/chromium";

export function launch() {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--disable-quic",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

// A fresh profile, so that no cache and no remembered bandwidth leaks from one page to the next. `page.faults` collects
// everything that should not happen; `page.bytes()` is what came over the wire, headers included.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 960, height: 720 }, ...options });
  const page = await context.newPage();
  const faults = [];
  let bytes = 0;
  page.on("console", (m) => m.type() === "error" && faults.push(`console: ${m.text()}`));
  page.on("pageerror", (e) => faults.push(`script: ${e.message}`));
  page.on("crash", () => faults.push("the page crashed"));
  page.on("response", (r) => r.status() >= 400 && faults.push(`HTTP ${r.status()} for ${r.url()}`));
  page.on("requestfailed", (r) => {
    const why = r.failure()?.errorText || "failed";
    // A player stops its own requests when it seeks or changes level.
    if (why !== "net::ERR_ABORTED") faults.push(`${why} for ${r.url()}`);
  });
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.loadingFinished", (e) => (bytes += e.encodedDataLength));
  return Object.assign(page, { faults, bytes: () => bytes, shut: () => context.close() });
}

// `--name value` and `--flag` from a command line; the rest are addresses, or lines of stdin where the address is `-`.
export async function command(usage, names) {
  const given = process.argv.slice(2);
  const options = {};
  const urls = [];
  while (given.length) {
    const word = given.shift();
    const name = word.startsWith("--") ? word.slice(2) : null;
    if (name === null) urls.push(word);
    else if (!(name in names)) stop(`unknown option ${word}\n${usage}`);
    else if (names[name] === true) options[name] = true;
    else {
      options[name] = Number(given.shift());
      if (!Number.isFinite(options[name])) stop(`${word} takes a number\n${usage}`);
    }
  }
  if (urls.length === 1 && urls[0] === "-") {
    let text = "";
    for await (const piece of process.stdin) text += piece;
    urls.splice(0, 1, ...text.split("\n").map((l) => l.trim()).filter(Boolean));
  }
  if (!urls.length) stop(usage);
  const defaults = Object.fromEntries(Object.entries(names).filter(([, value]) => value !== true));
  return { options: { ...defaults, ...options }, urls };
}

function stop(text) {
  console.error(text);
  process.exit(2);
}

// Runs one measurement per address; one JSON line each; exit 1 if one of them has errors.
export async function each(urls, limitSeconds, measure) {
  let browser = await launch();
  let failed = 0;
  for (const url of urls) {
    let page;
    let timer;
    let line;
    const begun = Date.now();
    try {
      const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error(`not done within ${limitSeconds} s`)), limitSeconds * 1000)));
      const work = (async () => {
        page = await open(browser, { bypassCSP: measure.bypassCSP });
        return measure(page, url);
      })();
      work.catch(() => {});
      line = await Promise.race([work, late]);
    } catch (e) {
      line = { errors: [String(e.message || e).split("\n")[0]], ...(await state(page)) };
    }
    clearTimeout(timer);
    line.errors = [...new Set([...line.errors, ...(page?.faults || [])])];
    if (page) line.bytes = page.bytes();
    line = { url, ok: line.errors.length === 0, ...line, wall_s: (Date.now() - begun) / 1000 };
    console.log(JSON.stringify(line));
    if (!line.ok) failed += 1;
    await Promise.race([page?.shut().catch(() => {}), new Promise((r) => setTimeout(r, 5000))]);
    if (!browser.isConnected()) browser = await launch();
  }
  await browser.close();
  if (failed) {
    console.error(`${failed} of ${urls.length} failed`);
    process.exit(1);
  }
}

// Where playback stood when a measurement was given up.
function state(page) {
  const look = () => {
    const video = document.querySelector("video");
    const note = document.getElementById("note");
    return video ? { ended: video.ended, currentTime: video.currentTime, duration: video.duration, note: note?.textContent || undefined } : {};
  };
  return Promise.race([Promise.resolve(page?.evaluate(look)).catch(() => ({})), new Promise((r) => setTimeout(() => r({}), 2000))]);
}

// A plain hls.js on a package's master playlist, as any other site would have it: what is tested with it is the package.
function plain() {
  const video = document.getElementById("video");
  document.getElementById("play").onclick = () => {
    const hls = new window.Hls({ startLevel: 0, testBandwidth: false, maxBufferLength: 120, maxMaxBufferLength: 120, backBufferLength: 60, enableWorker: false, lowLatencyMode: false });
    window.rivulet = { hls };
    hls.on("hlsError", (_, e) => {
      if (!e.fatal) return;
      const note = document.getElementById("note");
      note.className = "retry";
      note.textContent = e.details;
    });
    hls.loadSource("master.m3u8");
    hls.attachMedia(video);
    video.play().catch(() => {});
  };
}
const plainPage = `<!doctype html><meta charset="utf-8"><title>plain</title><link rel="icon" href="data:,"><video id="video" controls playsinline width="640" height="360"></video>
<button id="play">Play</button><p id="note"></p><script src="plain-hls.js"></script><script>(${plain})()</script>`;
const vendored = new URL("../../player/vendor/hls.min.js", import.meta.url);

// Taps play and waits until media runs. An address that ends in a slash is a package; any other is a page, or a file that
// the browser plays by itself. The hook sees the player the moment it is made.
export async function start(page, url, hook) {
  if (url.endsWith("/")) {
    await page.route(url, (route) => route.fulfill({ contentType: "text/html", body: plainPage }));
    await page.route(`${url}plain-hls.js`, (route) => route.fulfill({ contentType: "text/javascript", body: readFileSync(vendored, "utf8") }));
  }
  if (hook) {
    await page.addInitScript(`(${function (hook) {
      let player;
      Object.defineProperty(window, "rivulet", {
        get: () => player,
        set: (value) => {
          player = value;
          hook(value.hls);
        },
      });
    }})(${hook})`);
  }
  const answer = await page.goto(url);
  if (answer && !answer.ok()) throw new Error(`HTTP ${answer.status()} for ${url}`);
  if (await page.locator("#play").count()) await page.click("#play");
  else if (!(await page.locator("video").count())) throw new Error("no player on this page");
  const settled = await page.waitForFunction(() => {
    const v = document.querySelector("video");
    const gaveUp = document.querySelector("#note.retry")?.textContent;
    return gaveUp || v.error?.message || (v.readyState >= 2 && v.duration > 0);
  }, null, { timeout: 0 });
  const outcome = await settled.jsonValue();
  if (outcome !== true) throw new Error(`does not start: ${outcome}`);
}
