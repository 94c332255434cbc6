// What goes wrong on the way and in browsers: servers that answer something else, databases and players that refuse.

import { hear, until } from "./page-start.mjs";

export const tests = {
  "seeking back after the end was fetched plays on": async ({ page }) => {
    const p = await page("khoa/ca.html#t=60");
    await hear(p);
    await p.waitForFunction(() => window.rivulet.have() > 79);
    await p.evaluate(() => (window.rivulet.clock.currentTime = 30));
    await until(p, 30.5);
    // The end stays known.
    await p.evaluate(() => (window.rivulet.clock.currentTime = 78));
    await p.waitForFunction(() => window.rivulet.clock.ended);
  },
};
