// Stands in the page behind the player, before the first bytes of the voice: asks for the first slide while they come. What it
// finds is there for the scripts that follow.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const key = `rivulet:${data.course}/${data.lecture}`;
  const recall = (key) => {
    try {
      return JSON.parse(localStorage.getItem(key)) || {};
    } catch (e) {
      // Storage is forbidden: every visit is the first.
      return {};
    }
  };
  const memory = recall(key);
  if (/[?&]embed\b/.test(location.search)) document.body.classList.add("embed");
  // A link may name a place; else where the learner left.
  const linked = /^#t=(\d+)$/.exec(location.hash);
  const left = linked ? Number(linked[1]) : memory.t > 5 ? memory.t : 0;
  const from = left < data.duration - 5 ? left : 0;
  const image = $("slide");
  const begun = performance.now();
  const R = (window.rivulet = {
    data, key, memory, from, begun,
    // A link on which a slide takes the voice's place: bits a second.
    thin: 45e3,
    bps: recall("rivulet").bps,
    // Until the first slide is there, the voice takes no more than it needs.
    seen: !data.slide,
    pump() {},
    more() {},
  });
  let wanted;
  R.show = () => {
    if (R.seen || image.src) return;
    // Which slides there are besides the first stands at the page's end.
    const slides = R.about ? R.about.slides : !from && [[0, data.slide]];
    if (!slides) return (wanted = true);
    const index = slides.reduce((found, s, i) => (s[0] <= from + 0.05 ? i : found), 0);
    image.onload = image.onerror = (e) => {
      R.seen = true;
      if (e.type === "load") R.shown = index;
      R.more();
      R.pump();
    };
    image.fetchPriority = "high";
    image.src = slides[index][1];
  };
  // Called where something has come that was left behind: more of the voice, or all else that is to be known.
  R.come = () => {
    const about = $("about");
    if (!about || R.about) return;
    R.about = JSON.parse(about.textContent);
    if (wanted) R.show();
    if (R.late) R.more();
  };
  R.thrifty = (navigator.connection && navigator.connection.saveData) || memory.kept;
  // What stands above took a second of its own: on such a link it waits for the voice.
  const [visit] = performance.getEntriesByType("navigation");
  const slow = (visit && begun - visit.responseStart > 800) || R.bps < R.thin;
  if (!slow && !R.thrifty) R.show();
})();
