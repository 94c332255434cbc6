// Runs inside the page of cadence.mjs: one player, a list of seeks, and what became of each. Nothing is imported: the
// page holds hls.js, Shaka Player or video.js already, and the plan comes from the server.

const plan = await (await fetch("plan")).json();
const video = document.querySelector("video");
const notes = {}; // what players did by themselves, and errors they got over: name -> times
const fatal = [];
const note = (name) => (notes[name] = (notes[name] || 0) + 1);
const state = () => ({ at: video.currentTime, seeking: video.seeking, ready: video.readyState, paused: video.paused, shows: shown(), buffered: Array.from(video.buffered, (_, i) => [video.buffered.start(i), video.buffered.end(i)].map((s) => s.toFixed(3)).join("-")) });
const rest = (ms) => new Promise((r) => setTimeout(r, ms));

// Each returns a function that takes another rung for what is loaded next. Only hls.js is made to: in the instant of a seek,
// forcing a rung on the others, or one on hls.js that gives up its buffer (`currentLevel`), broke them at every cadence.
const players = {
  async hls() {
    const hls = new Hls(plan.small ? { maxBufferLength: 12, maxMaxBufferLength: 12, backBufferLength: 10 } : {});
    hls.on("hlsError", (_, d) => (d.fatal ? fatal.push(`${d.details} ${d.reason || d.error?.message || ""}`) : note(d.details)));
    hls.on("hlsLevelSwitched", () => note("rung changed"));
    hls.loadSource(plan.master);
    hls.attachMedia(video);
    return (n) => (hls.nextLoadLevel = n % hls.levels.length);
  },
  async shaka() {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.configure({ abr: { enabled: false } });
    player.addEventListener("error", ({ detail: e }) => (e.severity === 2 ? fatal.push(`Shaka ${e.category}.${e.code} ${e.data?.[0] || ""}`) : note(`Shaka ${e.code}`)));
    for (const name of ["gapjumped", "stalldetected"]) player.addEventListener(name, () => note(name));
    player.addEventListener("variantchanged", () => note("rung changed"));
    await player.load(plan.master);
    return () => {};
  },
  async vjs() {
    if (plan.small) [videojs.Vhs.GOAL_BUFFER_LENGTH, videojs.Vhs.MAX_GOAL_BUFFER_LENGTH] = [12, 12];
    const player = videojs(video, { html5: { vhs: { overrideNative: true } } });
    player.on("error", () => fatal.push(`video.js ${player.error()?.code} ${player.error()?.message}`));
    player.on("warn", () => note("warn"));
    player.ready(() => player.tech(true).on("usage", ({ name }) => /skip|waiting|underflow|stall|exclude|rendition/.test(name || "") && note(name)));
    player.src({ src: plan.master, type: "application/vnd.apple.mpegurl" });
    return () => {};
  },
};

// The number of the picture that is shown now (fixtures/sparse.py), or -1 where there is none to be read.
const canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [64, 36];
const paint = canvas.getContext("2d", { willReadFrequently: true });
function shown() {
  paint.drawImage(video, 0, 0, 64, 36);
  const pixels = paint.getImageData(0, 0, 64, 36).data;
  let bits = 0;
  for (let i = 0; i < 16; i += 1) {
    const [x, y] = [16 * (i % 4) + 8, Math.round(6.4 * Math.floor(i / 4) + 3.2)];
    const light = pixels[4 * (64 * y + x) + 1];
    if (Math.abs(light - 128) < 40) return -1;
    bits = (bits << 1) | (light > 128);
  }
  const number = bits >> 4;
  return (bits & 15) === ((number ^ (number >> 4) ^ (number >> 8) ^ 6) & 15) ? number : -1;
}

// Whether the picture on the screen is one that stands at the current time. The screen may be behind by 0.3 s (a busy
// machine), and a picture may come 0.1 s early: clocks are read one after the other.
function right() {
  const number = shown();
  if (number < 0) return false;
  const now = 1000 * video.currentTime;
  const [from, to] = [plan.pictures_ms[number], plan.pictures_ms[number + 1] ?? Infinity];
  return from <= now + 100 && to >= now - 300;
}

// How much sound was decoded so far: bytes in Chromium; in Firefox, moments in which the speaker's wire carried any.
let heard = () => video.webkitAudioDecodedByteCount;
async function wire() {
  if (video.webkitAudioDecodedByteCount !== undefined || plan.untapped) return;
  const audio = new AudioContext();
  // Firefox without a sound device never starts its clock; the sums then say that nobody listened.
  await Promise.race([audio.resume(), rest(3000)]);
  if (audio.state !== "running") return note("nobody listened: no sound device");
  const meter = audio.createAnalyser();
  audio.createMediaElementSource(video).connect(meter).connect(audio.destination);
  const samples = new Float32Array(2048);
  let moments = 0;
  setInterval(() => {
    meter.getFloatTimeDomainData(samples);
    if (samples.some((s) => Math.abs(s) > 0.003)) moments += 1;
  }, 50);
  heard = () => moments;
}

// Until `done()`, at most `seconds`; how many milliseconds it took, or null.
async function until(done, seconds) {
  const begun = performance.now();
  while (!done()) {
    if (performance.now() - begun > 1000 * seconds || fatal.length) return null;
    await rest(20);
  }
  return performance.now() - begun;
}

async function seek({ to, quick, paused, rung }, turn) {
  const row = { to, from: video.currentTime };
  if (rung !== undefined) turn(rung);
  const sound = heard();
  for (const at of quick || []) {
    video.currentTime = at;
    await rest(60);
  }
  if (paused) {
    video.pause();
    video.currentTime = to;
    // A learner who moves the slider of a halted lecture must see the slide.
    row.still_ms = await until(() => !video.seeking && Math.abs(video.currentTime - to) < 0.3 && right(), plan.limit_s);
    if (row.still_ms === null) row.paused_shows = shown();
    video.play();
  } else {
    video.currentTime = to;
  }
  const begun = performance.now();
  let frame = false;
  video.requestVideoFrameCallback(() => (frame = true));
  const ms = await until(() => !video.seeking && video.currentTime >= to + 0.5 && video.currentTime < to + plan.limit_s + 1, plan.limit_s);
  if (ms === null) return { ...row, stalled: { ...state(), frame } };
  row.resumed_ms = Math.max(0, ms - 500);
  // Not at once: a browser that is one repaint behind is not wrong.
  const late = await until(right, 3);
  row.picture_ms = performance.now() - begun;
  row.frame = frame;
  if (late === null) row.wrong = { shows: shown(), at: video.currentTime };
  else row.late_ms = late;
  if (heard() !== undefined && heard() <= sound && (await until(() => heard() > sound, 3)) === null) row.silent = true;
  return row;
}

const rows = [];
const say = (more) => fetch("said", { method: "POST", body: JSON.stringify({ rows, notes, fatal, ...more }) });
try {
  video.addEventListener("error", () => fatal.push(`media error ${video.error?.code} ${video.error?.message || ""}`));
  video.addEventListener("waiting", () => note("waiting"));
  const turn = await players[plan.player]();
  await wire();
  video.play().catch(() => {});
  if ((await until(() => video.currentTime > 0.3, 30)) === null) throw new Error(`does not start: ${fatal.join("; ") || JSON.stringify(state())}`);
  let stalls = 0;
  for (const one of plan.seeks) {
    const row = await seek(one, turn);
    rows.push(row);
    stalls += row.stalled ? 1 : 0;
    if (fatal.length || stalls >= plan.most_stalls) break;
  }
  await say({ sound: heard() });
} catch (e) {
  await say({ broke: String(e.stack || e) });
}
