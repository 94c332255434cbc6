// Plays pages with captions in Chromium and says which cues the player shows: for each captions track of hls.js the cues that
// were loaded, and whether the first one is active in its middle. One JSON line for each address; exit 1 if a track has none.

import { command, each, start } from "./chromium.mjs";

const usage = `usage: node captions.mjs [--limit SECONDS] URL... | -
  --limit   seconds for each address (60)`;

const { options, urls } = await command(usage, { limit: 60 });

// Runs in the page, for the track of one index.
async function look(index) {
  const video = document.querySelector("video");
  const hls = window.rivulet.hls;
  const until = (what, ms) =>
    new Promise((done) => {
      const end = performance.now() + ms;
      const timer = setInterval(() => {
        const got = what();
        if (got || performance.now() > end) {
          clearInterval(timer);
          done(got);
        }
      }, 50);
    });
  hls.subtitleDisplay = true;
  hls.subtitleTrack = index;
  const language = hls.subtitleTracks[index].lang;
  const track = await until(() => [...video.textTracks].find((t) => t.language === language && t.cues?.length), 10000);
  if (!track) return { language, errors: [`no cue of ${language} was loaded`] };
  const cues = [...track.cues].map((c) => [c.startTime, c.endTime, c.text]);
  video.pause();
  video.currentTime = (cues[0][0] + cues[0][1]) / 2;
  const shown = await until(() => track.activeCues?.length > 0 && track.activeCues[0].text, 10000);
  return { language, cues, shown, errors: shown === cues[0][2] ? [] : [`${language}: the first cue is not shown in its middle`] };
}

async function measure(page, url) {
  await start(page, url);
  const count = await page.evaluate(() => window.rivulet.hls.subtitleTracks.length);
  const tracks = [];
  for (let i = 0; i < count; i += 1) tracks.push(await page.evaluate(look, i));
  const errors = tracks.flatMap((t) => t.errors);
  if (!count) errors.push("the player offers no captions");
  return { tracks: tracks.map(({ errors, ...t }) => t), errors };
}

await each(urls, options.limit, measure);
