// Plays pages to their end in Chromium and says how it went: one JSON line for each address on stdout, exit 1 if one failed.
//
// A page of up to ten minutes plays whole, at 16 times its speed. A longer one is hopped through in some 60 seeks, each inside
// what is buffered, so that every segment is still fetched and appended in order.

import { command, each, start } from "./chromium.mjs";

const usage = `usage: node play.mjs [--limit SECONDS] [--whole] [--cycle] URL... | -
  --limit   seconds for each address (180)
  --whole   never hop: decode every frame, at 16 times the speed
  --cycle   take another rung for every segment, so that all are played and all changes between them`;

const { options, urls } = await command(usage, { limit: 180, whole: true, cycle: true });

function watch(hls) {
  const log = (window.log = { levels: [], warnings: [], errors: [] });
  const text = (d) => `hls.js ${d.details}${d.reason ? `: ${d.reason}` : ""}${d.error ? ` (${d.error.message})` : ""}`;
  // At 16 times the speed a busy machine's decoder runs dry, and a track may begin a frame late. Everything else is a fault,
  // even where hls.js gets round it: of a bad segment it takes another rung.
  const expected = ["bufferStalledError", "bufferNudgeOnStall", "bufferSeekOverHole"];
  // What --cycle itself does: a rung that is set while the next segment comes stops that request, or has the segment fetched from
  // that rung too, when it is there already. One that adds nothing the first time it comes is a fault.
  const there = new Map();
  const ours = (d) => window.cycle && (d.details === "aborted" || (d.details === "bufferAppendNoProgress" && d.frag.type === "main" && there.has(d.frag.sn) && there.get(d.frag.sn) !== d.frag.level));
  hls.on("hlsError", (_, d) => {
    if (d.fatal) log.fatal = true;
    (!d.fatal && (expected.includes(d.details) || ours(d)) ? log.warnings : log.errors).push(text(d));
  });
  hls.on("hlsFragBuffered", (_, d) => {
    if (d.frag.type !== "main") return;
    if (!there.has(d.frag.sn)) there.set(d.frag.sn, d.frag.level);
    const level = hls.levels[d.frag.level];
    const name = `${level.width}x${level.height} ${level.codecs || level.videoCodec || ""}`.trim();
    if (!log.levels.includes(name)) log.levels.push(name);
    // Within one codec of the voice, as hls.js itself does.
    const same = hls.levels.map((l, i) => i).filter((i) => hls.levels[i].audioCodec === level.audioCodec);
    if (window.cycle) hls.nextLoadLevel = same[(same.indexOf(d.frag.level) + 1) % same.length];
  });
}

// Runs in the page until the end, or until nothing moves.
function playToEnd({ whole, stuckSeconds }) {
  const video = document.querySelector("video");
  const hopping = !whole && video.duration > 600;
  const hop = video.duration / 60;
  let stalls = 0;
  let seeking = false;
  video.addEventListener("seeking", () => (seeking = true));
  video.addEventListener("playing", () => (seeking = false));
  video.addEventListener("waiting", () => {
    if (!seeking && video.duration - video.currentTime > 0.5) stalls += 1;
  });
  video.playbackRate = hopping ? 4 : 16;
  video.play();
  return new Promise((done) => {
    let at = -1;
    let moved = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      if (video.currentTime !== at) [at, moved] = [video.currentTime, now];
      const fatal = window.log?.fatal;
      const stuck = now - moved > stuckSeconds * 1000;
      if (video.ended || video.error || fatal || stuck) {
        clearInterval(timer);
        const errors = [];
        if (video.error) errors.push(`media error ${video.error.code}: ${video.error.message}`);
        else if (stuck && !video.ended) errors.push(`stuck at ${at.toFixed(2)} s of ${video.duration.toFixed(2)} s for ${stuckSeconds} s`);
        done({ errors, stalls, hopped: hopping });
        return;
      }
      if (!hopping || video.seeking || seeking) return;
      for (let i = 0; i < video.buffered.length; i += 1) {
        const end = video.buffered.end(i);
        // Never into what is not there yet: half a second before its end, playing fetches it.
        const to = Math.min(at + hop, end - 0.5);
        if (video.buffered.start(i) <= at && at < end && to > at + 1) video.currentTime = to;
      }
    }, 250);
  });
}

function result() {
  const video = document.querySelector("video");
  const hls = window.rivulet?.hls;
  const quality = video.getVideoPlaybackQuality();
  return {
    ended: video.ended,
    currentTime: video.currentTime,
    duration: video.duration,
    levels: window.log?.levels || [],
    levels_offered: hls ? hls.levels.length : 0,
    audio_track: hls ? hls.audioTracks[hls.audioTrack]?.groupId : undefined,
    wants_sound: hls ? hls.audioTracks.length > 0 || hls.levels.some((l) => l.audioCodec) : false,
    audio_decoded_bytes: video.webkitAudioDecodedByteCount,
    frames: quality.totalVideoFrames,
    frames_dropped: quality.droppedVideoFrames,
    warnings: window.log?.warnings || [],
    faults: window.log?.errors || [],
  };
}

await each(urls, options.limit, async (page, url) => {
  if (options.cycle) await page.addInitScript("window.cycle = true");
  await start(page, url, watch);
  const played = await page.evaluate(playToEnd, { whole: options.whole, stuckSeconds: 20 });
  const { faults, wants_sound, ...line } = await page.evaluate(result);
  const errors = [...played.errors, ...faults];
  if (!line.ended) errors.push("did not play to the end");
  if (!(line.frames > 0)) errors.push("no picture was decoded");
  if (wants_sound && !(line.audio_decoded_bytes > 0)) errors.push("no sound was decoded");
  return { ...line, stalls: played.stalls, hopped: played.hopped, errors };
});
