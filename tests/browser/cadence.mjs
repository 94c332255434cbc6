// Seeks through a lecture with few and irregular pictures in hls.js, Shaka Player and video.js, in Chromium and Firefox, and
// holds every seek against what must follow: the clock runs on half a second past the target, the picture shown is the one
// that stands at that time (each carries its number: fixtures/sparse.py), and sound goes on. docs/cadence.md says what was
// found. One JSON line for each player, browser and audio group; exit 1 if a seek failed or a player broke.

import { spawn } from "node:child_process";
import { createReadStream, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { command, executablePath, launch, open } from "./chromium.mjs";

const usage = `usage: node cadence.mjs [--seeks N] [--seed N] [--limit SECONDS] [--jobs N] [--chromium | --firefox]
                        [--opus | --aac] [--hls] [--shaka] [--vjs] [--rows] PACKAGE TRUTH.json
  --seeks     for each player, browser and audio group (20)
  --limit     seconds within which a seek must have resumed (15; the usual is 0.1 to 0.5)
  --jobs      players at a time (1)
  --rows      every seek, not just the sums
  --untapped  Firefox: do not listen. Its sound then goes to the device, as at a learner's, and is not tested`;
const names = { seeks: 20, seed: 7, limit: 15, jobs: 1, ...Object.fromEntries(["chromium", "firefox", "opus", "aac", "hls", "shaka", "vjs", "rows", "untapped"].map((n) => [n, true])) };
const { options, urls } = await command(usage, names);
const [directory, truthFile] = urls;
if (!truthFile || !existsSync(join(directory, "master.m3u8"))) {
  console.error(usage);
  process.exit(2);
}
const truth = JSON.parse(readFileSync(truthFile, "utf8"));
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const firefox = process.env.FIREFOX || "/usr/bin/firefox-esr";
const libraries = {
  hls: join(here, "../../player/vendor/hls.min.js"),
  shaka: join(modules, "shaka-player/dist/shaka-player.compiled.js"),
  vjs: join(modules, "video.js/dist/video.min.js"),
};
const chosen = (all) => (all.some((n) => options[n]) ? all.filter((n) => options[n]) : all);

// A small seeded generator (mulberry32), so that a run can be repeated.
function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Where to seek: anywhere, around segment boundaries, around pictures, into the longest gap, near the end, small steps
// either way; some in a row without waiting, some while paused, some with a change of rung.
function seeks(count, seed) {
  const next = random(seed);
  const end = truth.length_ms / 1000;
  const playlist = readFileSync(join(directory, readFileSync(join(directory, "master.m3u8"), "utf8").match(/^v-.*$/m)[0]), "utf8");
  const boundaries = [];
  for (const [, seconds] of playlist.matchAll(/^#EXTINF:([\d.]+)/gm)) boundaries.push((boundaries.at(-1) || 0) + Number(seconds));
  boundaries.pop();
  const pictures = truth.pictures_ms.map((ms) => ms / 1000);
  const widest = pictures.map((at, i) => [at, (pictures[i + 1] ?? end) - at]).sort((a, b) => b[1] - a[1]).slice(0, 4);
  const pick = (list) => list[Math.floor(next() * list.length)];
  let last = 0;
  const place = () => {
    const kind = next();
    if (kind < 0.34) return next() * end;
    if (kind < 0.48) return pick(boundaries) - 0.01 - 0.3 * next();
    if (kind < 0.6) return pick(boundaries) + (next() < 0.3 ? 0 : 0.2 * next());
    if (kind < 0.7) return pick(pictures) + 0.1 * (next() - 0.5);
    if (kind < 0.82) {
      const [at, long] = pick(widest);
      return at + long * next();
    }
    if (kind < 0.88) return end - 0.7 - 1.5 * next();
    return last + (next() < 0.5 ? -1 : 1) * (0.5 + 8 * next());
  };
  const target = () => (last = Math.round(1000 * Math.min(Math.max(place(), 0), end - 0.7)) / 1000);
  return Array.from({ length: count }, () => {
    const one = { to: target() };
    if (next() < 0.1) one.quick = Array.from({ length: 2 + Math.floor(3 * next()) }, target);
    if (one.quick) one.to = target();
    if (next() < 0.12) one.paused = true;
    if (next() < 0.35) one.rung = Math.floor(12 * next());
    return one;
  });
}

// One server for all runs: /NUMBER/ is the page of a run, below it its plan, its player, and the package with one audio group.
const runs = [];
const page = `<!doctype html><meta charset="utf-8"><title>cadence</title><link rel="icon" href="data:,"><style>video{width:640px;height:360px}</style><video playsinline></video><script src="player.js"></script><script type="module" src="page.js"></script>`;
const types = { m3u8: "application/vnd.apple.mpegurl", mp4: "video/mp4", js: "text/javascript" };

// The master playlist as it is, without the variants and renditions of the other groups.
function master(group) {
  const lines = readFileSync(join(directory, "master.m3u8"), "utf8").split("\n");
  const kept = [];
  for (let i = 0; i < lines.length; i += 1) {
    const other = lines[i].match(/^#EXT-X-MEDIA:.*GROUP-ID="(\w+)"|^#EXT-X-STREAM-INF:.*AUDIO="(\w+)"/);
    if (other && (other[1] || other[2]) !== group) i += other[2] ? 1 : 0;
    else kept.push(lines[i]);
  }
  return kept.join("\n");
}

function send(file, request, response) {
  const size = statSync(file).size;
  const asked = request.headers.range?.match(/^bytes=(\d+)-(\d*)$/);
  const [from, to] = asked ? [Number(asked[1]), Math.min(Number(asked[2] || size - 1), size - 1)] : [0, size - 1];
  const headers = { "content-type": types[file.split(".").pop()] || "application/octet-stream", "content-length": to - from + 1, "accept-ranges": "bytes", "cache-control": "no-store" };
  if (asked) headers["content-range"] = `bytes ${from}-${to}/${size}`;
  response.writeHead(asked ? 206 : 200, headers);
  createReadStream(file, { start: from, end: to }).on("error", () => response.destroy()).pipe(response);
}

const server = createServer((request, response) => {
  const [, number, ...path] = new URL(request.url, "http://x").pathname.split("/");
  const run = runs[number];
  const name = path.join("/");
  const text = (type, body) => response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(body);
  if (!run) response.writeHead(404).end();
  else if (name === "") text("text/html", page);
  else if (name === "plan") text("application/json", JSON.stringify(run.plan));
  else if (name === "page.js") send(join(here, "cadence-page.js"), request, response);
  else if (name === "player.js") send(libraries[run.player], request, response);
  else if (name === "p/master.m3u8") text(types.m3u8, master(run.group));
  else if (name === "said") {
    let body = "";
    request.on("data", (piece) => (body += piece));
    request.on("end", () => {
      response.writeHead(204).end();
      run.heard(JSON.parse(body));
    });
  } else {
    const file = normalize(join(directory, name.replace(/^p\//, "")));
    if (file.startsWith(normalize(directory)) && existsSync(file)) send(file, request, response);
    else response.writeHead(404).end();
  }
});
await new Promise((r) => server.listen(0, "127.0.0.1", r));
const base = `http://127.0.0.1:${server.address().port}`;

// Opens an address in a browser of its own kind; returns how to close it, and what went wrong besides.
let shared;
const browsers = {
  async chromium(url) {
    shared ??= launch();
    const tab = await open(await shared, {});
    await tab.goto(url);
    return { faults: tab.faults, close: () => tab.shut() };
  },
  // Firefox needs no driver: the page says all there is to say. Every run has a process and a profile of its own.
  async firefox(url) {
    const profile = await mkdtemp(join(tmpdir(), "rivulet-firefox-"));
    const prefs = {
      "media.autoplay.default": 0, "media.autoplay.blocking_policy": 0, "media.cubeb.sandbox": false, "media.suspend-background-video.enabled": false,
      "browser.shell.checkDefaultBrowser": false, "browser.startup.homepage_override.mstone": "ignore", "browser.aboutwelcome.enabled": false, "datareporting.policy.dataSubmissionEnabled": false,
      "toolkit.telemetry.enabled": false, "app.normandy.enabled": false, "app.update.enabled": false, "extensions.update.enabled": false, "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false, "browser.safebrowsing.update.enabled": false, "browser.sessionstore.resume_from_crash": false, "media.gmp-manager.updateEnabled": false,
    };
    writeFileSync(join(profile, "user.js"), Object.entries(prefs).map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});\n`).join(""));
    const child = spawn(firefox, ["--headless", "--no-remote", "--profile", profile, url], { stdio: "ignore", detached: true });
    const ended = new Promise((r) => child.on("exit", r).on("error", r));
    const kill = () => {
      try {
        process.kill(-child.pid);
      } catch {
        // It is gone already.
      }
    };
    process.on("exit", kill);
    return {
      faults: [],
      close: async () => {
        kill();
        process.off("exit", kill);
        await ended;
        await rm(profile, { recursive: true, force: true, maxRetries: 5 });
      },
    };
  },
};

const worst = (list) => (list.length ? Math.round(Math.max(...list)) : null);
const median = (list) => (list.length ? Math.round([...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]) : null);

function sums(run, said, faults) {
  const rows = said.rows || [];
  const of = (key) => rows.map((r) => r[key]).filter((v) => typeof v === "number");
  const failed = rows.filter((r) => r.stalled || r.wrong || r.silent || r.still_ms === null);
  const errors = [...(said.fatal || []), ...(said.broke ? [said.broke] : []), ...faults];
  if (rows.length < options.seeks) errors.push(`ended after ${rows.length} of ${options.seeks} seeks`);
  const line = {
    ok: !failed.length && !errors.length, browser: run.browser, player: run.player, group: run.group, seeks: rows.length,
    stalls: rows.filter((r) => r.stalled).length, wrong: rows.filter((r) => r.wrong).length, wrong_paused: rows.filter((r) => r.still_ms === null).length, silent: rows.filter((r) => r.silent).length,
    median_ms: median(of("resumed_ms")), worst_ms: worst(of("resumed_ms")), late_ms: worst(of("late_ms")), paused_ms: median(of("still_ms")), worst_paused_ms: worst(of("still_ms")),
    recoveries: said.notes || {}, sound: said.sound, errors: [...new Set(errors)], failed: failed.slice(0, 5),
  };
  return options.rows ? { ...line, rows } : line;
}

async function execute(run, index) {
  const small = run.group === "aac";
  run.plan = { ...truth, player: run.player, master: "p/master.m3u8", small, untapped: options.untapped, limit_s: options.limit, most_stalls: 12, seeks: seeks(options.seeks, options.seed + 101 * index) };
  let timer;
  const said = new Promise((r) => (run.heard = r));
  // Every seek may take its limit and some, but most take under two seconds; a page that is silent for longer is dead.
  const late = new Promise((r) => (timer = setTimeout(() => r({ broke: "the page never answered" }), 1000 * (45 + 4 * options.seeks + 12 * options.limit))));
  let opened = { faults: [], close() {} };
  let heard;
  try {
    opened = await browsers[run.browser](`${base}/${runs.indexOf(run)}/`);
    heard = await Promise.race([said, late]);
  } catch (e) {
    heard = { broke: String(e.message || e) };
  }
  clearTimeout(timer);
  const line = sums(run, heard, opened.faults);
  console.log(JSON.stringify(line));
  await Promise.race([opened.close(), new Promise((r) => setTimeout(r, 10000))]);
  return line.ok;
}

const skipped = [];
const here_is = { chromium: executablePath, firefox };
const present = chosen(["chromium", "firefox"]).filter((b) => existsSync(here_is[b]) || !skipped.push(`${b}: no ${here_is[b]} (Debian package ${b === "firefox" ? "firefox-esr" : b})`));
const players = chosen(["hls", "shaka", "vjs"]).filter((p) => existsSync(libraries[p]) || !skipped.push(`${p}: no ${libraries[p]} (npm ci --prefix tests/browser)`));
console.error(`cadence: seed ${options.seed}, ${options.seeks} seeks each of ${players.join(", ")} in ${present.join(", ")}`);
for (const what of skipped) console.error(`cadence: SKIPPED, NOT TESTED: ${what}`);
for (const browser of present) for (const player of players) for (const group of chosen(["opus", "aac"])) runs.push({ browser, player, group });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
const queue = runs.map((run, i) => [run, i]);
let failures = 0;
await Promise.all(
  Array.from({ length: options.jobs }, async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const ok = await execute(...job);
      failures += ok ? 0 : 1;
    }
  }),
);
await (await shared)?.close();
server.close();
server.closeAllConnections();
console.error(`cadence: ${runs.length - failures} passed, ${failures} failed, ${skipped.length} skipped`);
process.exit(failures || !runs.length ? 1 : 0);
