// Measures what a viewer would see and hear of a flash-and-click lecture: how far each click lies from its flash, in
// milliseconds of media time, positive where the sound is late. One JSON line for each address; exit 1 beyond the limit.
//
// Picture: requestVideoFrameCallback gives each frame's own media time; the flash is where the mean brightness rises past the
// middle. Sound: an AudioWorklet keeps every sample behind the decoder; the click is where it rises past a quarter of
// the loudest. A sample's media time comes from pairs of AudioContext.currentTime and video.currentTime; Chromium renders
// blocks of 10 to 20 ms, so of all pairs the low tenth is taken, where the block was fresh: good to about 5 ms.

import { command, each, start } from "./chromium.mjs";

const usage = `usage: node sync.mjs [--limit SECONDS] [--seconds N] [--within MS] [--level N] URL... | -
  --limit     seconds for each address (60)
  --seconds   how much to listen to (12)
  --within    most milliseconds that the median may be off (40)
  --level     play this rung of hls.js's list only
An address of a plain .mp4 is played by the browser itself: the yardstick.`;

const { options, urls } = await command(usage, { limit: 60, seconds: 12, within: 40, level: -1 });

async function record({ seconds, level }) {
  // Context times, in seconds, at which sound rises after at least 0.3 s of quiet.
  function clicks(blocks, rate) {
    let loudest = 0;
    for (const [, mono] of blocks) for (const s of mono) loudest = Math.max(loudest, Math.abs(s));
    if (!(loudest > 0.01)) return [];
    const found = [];
    let quiet = 0;
    for (const [frame, mono] of blocks) {
      mono.forEach((sample, i) => {
        if (Math.abs(sample) > loudest / 4) {
          if (quiet > 0.3 * rate) found.push((frame + i) / rate);
          quiet = 0;
        } else quiet += 1;
      });
    }
    return found;
  }

  const video = document.querySelector("video");
  const hls = window.rivulet?.hls;
  if (hls && level >= 0) hls.currentLevel = level;
  video.pause();
  const audio = new AudioContext();
  const code = `registerProcessor("tape", class extends AudioWorkletProcessor {
    process([input]) {
      if (input.length) {
        const mono = new Float32Array(128);
        for (const channel of input) for (let i = 0; i < 128; i += 1) mono[i] += channel[i] / input.length;
        this.port.postMessage([currentFrame, mono], [mono.buffer]);
      }
      return true;
    }
  })`;
  await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const tape = new AudioWorkletNode(audio, "tape");
  const blocks = [];
  tape.port.onmessage = (e) => blocks.push(e.data);
  audio.createMediaElementSource(video).connect(tape).connect(audio.destination);
  await audio.resume();

  const canvas = new OffscreenCanvas(16, 9);
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const frames = [];
  const look = (_, frame) => {
    paint.drawImage(video, 0, 0, 16, 9);
    const pixels = paint.getImageData(0, 0, 16, 9).data;
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) sum += 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
    frames.push([frame.mediaTime, (sum * 4) / pixels.length]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);

  video.playbackRate = 1;
  const from = video.currentTime;
  await video.play();
  const pairs = [];
  let stalls = 0;
  video.addEventListener("waiting", () => (stalls += 1));
  await new Promise((done) => {
    const timer = setInterval(() => {
      if (!video.paused && video.currentTime > from + 0.5) pairs.push([audio.currentTime, video.currentTime - audio.currentTime]);
      if (video.ended || video.error || video.currentTime >= from + seconds) {
        clearInterval(timer);
        video.pause();
        setTimeout(done, 300);
      }
    }, 7);
  });
  const size = hls ? `${video.videoWidth}x${video.videoHeight}` : undefined;
  return { clicks: clicks(blocks, audio.sampleRate), frames, pairs, stalls, size, error: video.error?.message };
}

// Media times at which brightness rises past the middle. Where the frame before was not seen, the flash may have begun in it.
function flashes(frames) {
  const lights = frames.map((f) => f[1]);
  const [dark, light] = [Math.min(...lights), Math.max(...lights)];
  if (!(light - dark > 60)) return [];
  const middle = (dark + light) / 2;
  const gaps = frames.slice(1).map((f, i) => f[0] - frames[i][0]).sort((a, b) => a - b);
  const usual = gaps[Math.floor(gaps.length / 2)];
  return frames
    .filter((f, i) => i > 0 && f[1] > middle && frames[i - 1][1] <= middle && f[0] - frames[i - 1][0] < usual * 1.5)
    .map((f) => f[0]);
}

// From context time to media time around one instant; not a number where playback halted close by and the clocks slid.
function shiftAt(pairs, t) {
  const near = pairs.filter(([at]) => Math.abs(at - t) < 0.6).map(([, shift]) => shift).sort((a, b) => a - b);
  if (near.length < 20) return NaN;
  const low = near[Math.floor(near.length / 10)];
  return near[Math.floor(near.length * 0.9)] - low < 0.02 ? low : NaN;
}

async function measure(page, url) {
  await start(page, url);
  const tape = await page.evaluate(record, options);
  const errors = tape.error ? [tape.error] : [];
  const seen = flashes(tape.frames);
  const heard = tape.clicks.map((t) => t + shiftAt(tape.pairs, t)).filter(Number.isFinite);
  const offsets = seen
    .map((flash) => heard.map((click) => click - flash).sort((a, b) => Math.abs(a) - Math.abs(b))[0])
    .filter((d) => d !== undefined && Math.abs(d) < 0.5)
    .map((d) => Math.round(d * 10000) / 10);
  const ordered = [...offsets].sort((a, b) => a - b);
  const median = ordered[Math.floor(ordered.length / 2)];
  if (offsets.length < 3) errors.push(`only ${offsets.length} pairs of ${seen.length} flashes and ${heard.length} clicks`);
  else if (Math.abs(median) > options.within) errors.push(`sound is ${median} ms from the picture, more than ${options.within} ms`);
  return { median_ms: median, offsets_ms: offsets, flashes: seen.length, clicks: heard.length, stalls: tape.stalls, size: tape.size, errors };
}
// The tape is a script of ours inside a page that allows none.
measure.bypassCSP = true;

await each(urls, options.limit, measure);
