// A lecture on somebody else's site: the stable playlist, in a player that is not ours.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const vendored = readFileSync(new URL("../../player/vendor/hls.min.js", import.meta.url));
const theirs = (address) => `<!doctype html><meta charset="utf-8"><title>theirs</title><link rel="icon" href="data:,"><video id="video" muted></video>
<script src="hls.js"></script><script>
const hls = new Hls({ enableWorker: false });
hls.on("hlsError", (_, e) => e.fatal && (window.failed = e.details));
hls.loadSource(${JSON.stringify(address)});
hls.attachMedia(document.getElementById("video"));
document.getElementById("video").play();
</script>`;

export const tests = {
  "the stable playlist plays in hls.js on a page of another origin": async ({ site, page }) => {
    const other = createServer((asked, answer) => (asked.url === "/hls.js" ? answer.setHeader("Content-Type", "text/javascript").end(vendored) : answer.setHeader("Content-Type", "text/html").end(theirs(`${site.url}khoa/ca.m3u8`))));
    await new Promise((done) => other.listen(0, "127.0.0.1", done));
    try {
      const p = await page();
      const url = `http://127.0.0.1:${other.address().port}/`;
      assert.notEqual(new URL(url).origin, new URL(site.url).origin);
      await p.goto(url);
      await p.waitForFunction(() => window.failed || document.getElementById("video").currentTime > 2);
      assert.equal(await p.evaluate(() => window.failed), undefined);
      assert((await p.evaluate(() => document.getElementById("video").videoHeight)) > 0);
      assert(site.log.some((e) => /khoa\/ca\.m3u8$/.test(e.path)) && site.log.some((e) => /\.mp4$/.test(e.path) && e.range));
    } finally {
      other.closeAllConnections();
      other.close();
    }
  },
};
