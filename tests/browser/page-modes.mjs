// Video beside the voice: in step with it, away when the link is weak, and never at the voice's cost.

import assert from "node:assert/strict";
import { hear, until } from "./page-start.mjs";

// Watches the voice's clock against the wall's: the largest step by which it falls behind between two looks, in ms, and
// whether it ever stopped or jumped.
function watchVoice() {
  const audio = window.rivulet.audio;
  const seen = (window.seen = { gap: 0, events: [], off: [] });
  for (const name of ["waiting", "pause", "seeking", "stalled"]) audio.addEventListener(name, () => seen.events.push(name));
  let [wall, media] = [performance.now(), audio.currentTime];
  setInterval(() => {
    const [w, m] = [performance.now(), audio.currentTime];
    seen.gap = Math.max(seen.gap, w - wall - 1000 * (m - media));
    [wall, media] = [w, m];
    if (document.getElementById("video").className === "on") seen.off.push(1000 * window.rivulet.off);
  }, 50);
}

export const tests = {
  "50 changes of mode leave no gap in the voice and the picture in its place": async ({ page }) => {
    const p = await page("khoa/ca.html");
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#mode").disabled);
    // The player's library is fetched once; what is measured is the changing.
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => document.querySelector("#video").className === "on");
    await p.evaluate(watchVoice);
    const values = await p.locator("#mode option").evaluateAll((all) => all.map((o) => o.value));
    let seed = 7;
    for (let i = 0; i < 50; i += 1) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      await p.selectOption("#mode", values[i % 2 ? 0 : 1 + (Math.floor(seed / 65536) % (values.length - 1))]);
      // Random moments: some before the picture has come, some after.
      await p.waitForTimeout(seed % 700);
    }
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => document.querySelector("#video").className === "on");
    const { gap, events, off, played } = await p.evaluate(() => {
      const ranges = window.rivulet.audio.played;
      return { ...window.seen, played: ranges.length };
    });
    assert.deepEqual(events, [], "the voice stopped");
    assert.equal(played, 1, "the voice jumped");
    assert(gap <= 100, `${gap} ms without voice`);
    const worst = Math.max(...off.map(Math.abs));
    assert(worst < 500, `the picture is ${worst} ms from the voice`);
    const ordered = off.map(Math.abs).sort((a, b) => a - b);
    return { say: `voice fell back ${gap.toFixed(0)} ms at most, picture off ${ordered[Math.floor(ordered.length / 2)].toFixed(0)} ms in the median, ${worst.toFixed(0)} at most` };
  },

  "the picture is held within 80 ms of the voice, at other speeds too": async ({ page }) => {
    const p = await page("khoa/ca.html");
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#mode").disabled);
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => document.querySelector("#video").className === "on");
    const medians = [];
    for (const speed of ["1", "1.5"]) {
      await p.selectOption("#speed", speed);
      // Ten looks in a row within the limit, whenever they come.
      const off = await p.evaluate(() => new Promise((done) => {
        const looks = [];
        const timer = setInterval(() => {
          if (document.getElementById("video").className === "on" && window.rivulet.off !== null) looks.push(Math.abs(1000 * window.rivulet.off));
          const last = looks.slice(-10);
          if ((last.length === 10 && Math.max(...last) < 80) || looks.length > 150) {
            clearInterval(timer);
            done(last);
          }
        }, 100);
      }));
      assert(Math.max(...off) < 80, `off by ${off} at ${speed}`);
      medians.push(Math.round(off.sort((a, b) => a - b)[5]));
    }
    return { say: `${medians} ms` };
  },

  "a link that fails takes the video away, not the voice, and brings it back": async ({ site, page }) => {
    const p = await page("khoa/ca.html");
    await hear(p);
    await p.waitForFunction(() => window.rivulet.have() > 70);
    const pictures = await p.evaluate(() => window.rivulet.data.video.length > 0);
    assert(pictures);
    // Segments of pictures are held; voice, playlists and scripts come.
    let weak = true;
    let release;
    const held = new Promise((done) => (release = done));
    site.rule = (e) => (weak && /\.mp4$/.test(e.path) && e.range ? { hold: held } : undefined);
    await p.evaluate(watchVoice);
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => window.rivulet.steps() > 0);
    assert.match(await p.textContent("#note"), /Đường truyền yếu/);
    assert(await p.locator("#slide").isVisible());
    weak = false;
    release();
    await p.evaluate(() => (document.getElementById("speed").value = "1"));
    await p.waitForFunction(() => document.querySelector("#video").className === "on");
    assert.deepEqual(await p.evaluate(() => window.seen.events), [], "the voice stopped");
    return { expected: [/ERR_/] };
  },

  "with the saver on, at most 1 MB is fetched ahead": async ({ site, page }) => {
    const p = await page("khoa/ca.html");
    await hear(p);
    await p.waitForFunction(() => !document.querySelector("#saver").disabled);
    await p.check("#saver");
    await p.selectOption("#mode", "auto");
    await p.waitForFunction(() => document.querySelector("#video").className === "on");
    await p.selectOption("#speed", "2");
    await until(p, 30);
    const [t, about] = await p.evaluate(() => [window.rivulet.clock.currentTime, new URL(window.rivulet.data.package[0], location).href]);
    // What came over the wire, by the package's own table of segments: the bytes of all that begins after the playhead.
    const asked = site.log.slice();
    const table = await (await fetch(about)).json();
    const ahead = { voice: 0, pictures: 0, slides: 0 };
    let pictures = 0;
    for (const track of [...table.rungs, ...table.voices]) {
      const name = `${track.rate_hz ? "a" : "v"}-${track.name}.mp4`;
      const sum = track.rate_hz ? "voice" : "pictures";
      const log = asked.filter((e) => e.path.includes(table.files[name].sha256) && e.range).map((e) => [Number(e.range.match(/\d+/)[0]), e.bytes]);
      let begins = 0;
      for (const s of track.segments) {
        const got = log.reduce((n, [from, bytes]) => n + Math.max(0, Math.min(from + bytes, s.offset + s.bytes) - Math.max(from, s.offset)), 0);
        if (begins > t) ahead[sum] += got;
        if (sum === "pictures") pictures += got;
        begins += s.duration / (track.rate_hz || 90000);
      }
    }
    for (const s of table.slides) if (s.start_s > t) ahead.slides += asked.filter((e) => e.path.includes(table.files[s.file].sha256)).reduce((n, e) => n + e.bytes, 0);
    const sum = ahead.voice + ahead.slides + ahead.pictures;
    assert(pictures > 0 && ahead.voice > 0, JSON.stringify(ahead));
    assert(sum <= 1e6, JSON.stringify(ahead));
    return { say: `${Math.round(sum / 1e3)} kB ahead (${Object.entries(ahead).map(([k, v]) => `${k} ${Math.round(v / 1e3)}`).join(", ")})` };
  },
};
