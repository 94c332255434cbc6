// One visit to a page in Chromium, for benches/player.py: what a learner hears and sees, and when. A JSON line on stdout.
//
//   node player.mjs '{"url": ..., "tap": true, "profile": DIR, "watch_s": 0, "limit_s": 90, "flags": [...]}'
//
// With "mode": "auto" (or "=720p") the page is told to begin with video; with "log": true the line has every request's times;
// with "warm": true the browser has shown a page and made a sound before, as on a phone that is in use.
//
// Time zero is the request for the page. Sound is speech energy that the element renders (a copy of its stream, measured), not
// `playing`. A slide is a picture of at least 960 pixels' width in its natural size (the lecture has 1280), decoded and painted.

import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

const { chromium } = createRequire(new URL("../tests/browser/package.json", import.meta.url))("playwright-core");
const { url, tap, profile, watch_s, limit_s, flags, mode, log, warm } = JSON.parse(process.argv[2]);

// The one place that knows the page's names.
const PLAY = "[data-play], #play";
const SLIDE = "#slide, [data-slide], img.slide, .slide img";

function watch({ slides, play: tapped, mode }) {
  if (window !== window.top) return;
  // As if the learner had chosen it at an earlier visit.
  if (mode && location.protocol !== "data:") localStorage.setItem(`rivulet:${location.pathname.replace(/^\/|\.html$/g, "")}`, JSON.stringify({ mode }));
  const LOUD = 0.003; // -50 dBFS: voices are at -16 LUFS, noise of a quiet room below -60.
  const LEGIBLE = 960;
  const seen = (window.bench = { sound: null, slide: null, picture: null, stalls: 0, stall_s: 0, played_s: 0, ended: false, ways: {} });
  const now = () => performance.timeOrigin + performance.now();
  const elements = new Map();
  let context;

  function listen(element) {
    if (elements.has(element)) return;
    const state = { element, at: 0, analysers: [] };
    elements.set(element, state);
    context ||= new AudioContext();
    context.resume();
    const stream = element.captureStream();
    const hear = (track) => {
      if (track.kind !== "audio") return;
      const analyser = context.createAnalyser();
      analyser.fftSize = 1024;
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      state.analysers.push(analyser);
    };
    stream.getTracks().forEach(hear);
    stream.addEventListener("addtrack", (e) => hear(e.track));
    if (element instanceof HTMLVideoElement) {
      const frame = (_, meta) => {
        const picture = { at: now(), size: `${meta.width}x${meta.height}` };
        seen.picture ||= picture;
        if (meta.width >= LEGIBLE) seen.slide ||= picture;
        else element.requestVideoFrameCallback(frame);
      };
      element.requestVideoFrameCallback(frame);
    }
  }
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    listen(this);
    return play.call(this);
  };
  document.addEventListener("play", (e) => listen(e.target), true);

  // What is seen while it plays: a rung, where the page shows its video over the slide.
  function way() {
    const R = window.rivulet;
    if (!R || !R.hls || !R.video.classList.contains("on")) return "voice and slides";
    return (R.data.rungs[R.hls.currentLevel] || ["?"])[0];
  }

  const wave = new Float32Array(1024);
  function loud(analyser) {
    analyser.getFloatTimeDomainData(wave);
    return Math.sqrt(wave.reduce((sum, s) => sum + s * s, 0) / wave.length) > LOUD;
  }
  const asked = new WeakSet();
  function look() {
    for (const image of document.querySelectorAll(slides)) {
      if (asked.has(image) || !image.complete || image.naturalWidth < LEGIBLE || !image.getClientRects().length) continue;
      asked.add(image);
      const painted = () => (seen.slide ||= { at: now(), size: `${image.naturalWidth}x${image.naturalHeight}` });
      image.decode().then(() => requestAnimationFrame(() => requestAnimationFrame(painted)), () => asked.delete(image));
    }
  }

  let last = performance.now();
  let still = 0;
  setInterval(() => {
    const passed = (performance.now() - last) / 1000;
    last += passed * 1000;
    if (!seen.slide) look();
    if (!seen.offered && document.querySelector(tapped)?.hidden === false) seen.offered = { at: now() };
    let moved = 0;
    for (const state of elements.values()) {
      const { element, analysers } = state;
      if (element.muted || element.volume === 0) continue;
      if (!seen.sound && analysers.some(loud)) seen.sound = { at: now(), position_s: element.currentTime, main: (seen.main = element.tagName) };
      if (element.currentTime > state.at) moved = Math.max(moved, element.currentTime - state.at);
      state.at = element.currentTime;
      if (seen.sound && (element.ended || (element.duration > 0 && element.currentTime > element.duration - 0.3))) seen.ended = true;
    }
    if (!seen.sound || seen.ended) return;
    // The clock of media moves in steps: a stand of a quarter of a second is a stall.
    if (moved > 0) {
      seen.played_s += moved;
      seen.ways[way()] = (seen.ways[way()] || 0) + moved;
      still = 0;
      return;
    }
    if (still < 0.25 && still + passed >= 0.25) {
      seen.stalls += 1;
      seen.stall_s += still;
    }
    still += passed;
    if (still >= 0.25) seen.stall_s += passed;
  }, 20);
}

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  viewport: { width: 412, height: 760 },
  deviceScaleFactor: 2,
  // Reads the course's language.
  locale: "vi-VN",
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic",
    "--autoplay-policy=no-user-gesture-required", ...flags],
});
const page = context.pages()[0] || (await context.newPage());
const faults = [];
page.on("pageerror", (e) => faults.push(`script: ${e.message}`));
page.on("crash", () => faults.push("the page crashed"));
await page.addInitScript(watch, { slides: SLIDE, play: PLAY, mode });

if (warm) {
  await page.goto("data:text/html,<!doctype html><p>1</p>");
  await page.evaluate(async () => {
    const context = new AudioContext();
    const silence = new ConstantSourceNode(context, { offset: 0 });
    silence.connect(context.destination);
    silence.start();
    await new Promise((done) => setTimeout(done, 2000));
    await context.close();
  });
}

// Bytes as the network brought them, with the time of each piece.
const devtools = await context.newCDPSession(page);
const requests = new Map();
let zero;
await devtools.send("Network.enable");
devtools.on("Network.requestWillBeSent", (e) => {
  zero ||= { monotonic: e.timestamp, wall: e.wallTime };
  if (!requests.has(e.requestId)) requests.set(e.requestId, { url: e.request.url, type: e.type, range: e.request.headers.Range, asked: e.timestamp, pieces: [], total: null });
});
const piece = (id, at, bytes) => requests.get(id)?.pieces.push([at, bytes]);
devtools.on("Network.responseReceived", (e) => {
  piece(e.requestId, e.timestamp, e.response.encodedDataLength);
  const request = requests.get(e.requestId);
  if (request) Object.assign(request, { connection: e.response.connectionId, headers: e.response.encodedDataLength, timing: e.response.timing });
});
devtools.on("Network.dataReceived", (e) => piece(e.requestId, e.timestamp, e.encodedDataLength));
devtools.on("Network.loadingFinished", (e) => {
  const request = requests.get(e.requestId);
  if (request) Object.assign(request, { total: e.encodedDataLength, finished: e.timestamp });
});
devtools.on("Network.loadingFailed", (e) => Object.assign(requests.get(e.requestId) || {}, { failed: true }));
// Of what is packed Chromium tells the length at its end alone: such a one counts whole from its first byte on.
const arrived = ({ pieces, total, finished }, until) => {
  const whole = total !== null && (finished <= until || (pieces[0]?.[0] <= until && !pieces.slice(1).some(([, bytes]) => bytes)));
  return whole ? total : pieces.reduce((sum, [at, bytes]) => sum + (at <= until ? bytes : 0), 0);
};

let gave_up;
const left = ((end) => () => Math.max(1, end - Date.now()))(Date.now() + limit_s * 1000);
try {
  await page.goto(url, { waitUntil: "commit", timeout: left() });
  if (tap) await page.locator(PLAY).first().click({ timeout: left() });
  await page.waitForFunction(() => window.bench.sound && (window.bench.slide || window.bench.ended), null, { polling: 100, timeout: left() });
} catch (e) {
  gave_up = String(e.message || e).split("\n")[0];
}
if (watch_s && !gave_up) {
  const until = ({ watch_s }) => window.bench.ended || window.bench.played_s + window.bench.stall_s >= watch_s;
  await page.waitForFunction(until, { watch_s }, { polling: 250, timeout: left() }).catch((e) => (gave_up = String(e.message).split("\n")[0]));
}
// All of the page's code and style, whenever it comes: what stands in the page, packed as the page is, and what it has fetched.
const isCode = (r) => r.type === "Script" || r.type === "Stylesheet";
while (!gave_up && left() > 1 && [...requests.values()].some((r) => isCode(r) && r.total === null && !r.failed)) await new Promise((done) => setTimeout(done, 50));
const written = await page.evaluate(() => {
  const runs = (e) => !e.src && (!e.type || /javascript|module/.test(e.type));
  return [...document.querySelectorAll("script, style")].filter(runs).map((e) => e.textContent).join("\n");
}).catch(() => "");
const inline = written ? gzipSync(written).length : 0;
const seen = await page.evaluate(() => window.bench).catch(() => ({}));
const after = (mark) => (mark && zero ? mark.at / 1000 - zero.wall : null);
const sound_s = after(seen.sound);
const until = sound_s === null ? Infinity : zero.monotonic + sound_s;
const sum = (test, when = until) => [...requests.values()].filter(test).reduce((total, r) => total + arrived(r, when), 0);
// Seconds from the request for the page.
const told = ({ url, range, asked, pieces, total, finished, connection, headers, timing }) => {
  const at = (t) => (t === undefined ? null : Math.round(1000 * (t - zero.monotonic)) / 1000);
  const made = timing && timing.connectStart >= 0 ? [at(timing.requestTime + timing.connectStart / 1000), at(timing.requestTime + timing.connectEnd / 1000)] : null;
  return { url, range, asked_s: at(asked), connected_s: made, answered_s: at(pieces[0]?.[0]), finished_s: at(finished), bytes: total, headers, connection };
};
console.log(JSON.stringify({
  sound_s,
  position_s: seen.sound?.position_s ?? null,
  offered_s: after(seen.offered),
  picture_s: after(seen.picture),
  picture: seen.picture?.size || null,
  slide_s: after(seen.slide),
  slide: seen.slide?.size || null,
  bytes_before_sound: sum(() => true),
  code: inline + sum((r) => isCode(r), Infinity),
  requests_before_sound: [...requests.values()].filter((r) => r.pieces[0]?.[0] <= until).length,
  bytes: sum(() => true, Infinity),
  stalls: seen.stalls ?? 0,
  stall_s: seen.stall_s ?? 0,
  played_s: seen.played_s ?? 0,
  ended: seen.ended ?? false,
  ways: seen.ways ?? {},
  ...(log && { log: [...requests.values()].map(told) }),
  gave_up: gave_up || null,
  faults,
}));
await context.close();
