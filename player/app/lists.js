// The course's page, what is seen and kept in it; and the beginning of all.
async function marks() {
  const items = document.querySelectorAll("li[data-lecture]");
  if (!items.length) return;
  const kept = window.indexedDB ? await keptLectures().catch(() => []) : [];
  const lengths = new Map(data.lectures.map((l) => [l[0], l[1]]));
  for (const item of items) {
    const id = `${data.course}/${item.dataset.lecture}`;
    const memory = recall(`rivulet:${id}`);
    const said = [];
    const share = Math.min(1, (memory.most || 0) / (lengths.get(item.dataset.lecture) || 1));
    if (memory.done || share > 0.95) said.push(`✓ ${words.done}`);
    else if (share > 0.01) said.push(`${Math.round(100 * share)}\u00a0% ${words.seen}`);
    if (kept.some((l) => l.id === id && l.whole)) said.push(`↓ ${words.offline_mark}`);
    const before = item.querySelector(".marks");
    if (before) before.remove();
    if (said.length) item.append(make("small", { className: "marks", textContent: said.join(" · ") }));
  }
}

function coursePage() {
  marks();
  hears.push(marks);
  searching();
  addEventListener("pageshow", marks);
  for (const box of document.querySelectorAll(".module")) {
    const items = [...box.parentElement.querySelectorAll("li[data-lecture]")];
    const here = data.lectures.filter((l) => l[2] && items.some((i) => i.dataset.lecture === l[0]));
    keeper(box, here.map((l) => ({ id: `${data.course}/${l[0]}`, address: `${encodeURIComponent(l[0])}.html`, bytes: l[2] }))).catch(() => {});
  }
  if (worker() && window.indexedDB) contact().then((gone) => gone.length && marks()).catch(() => {});
}

// A page and what is kept may be older than the store's present state.
async function checkStore() {
  if (!worker() || !window.indexedDB || !(await contact().catch(() => [])).includes(R.id)) return;
  clock.pause();
  R.tell = () => {};
  say(words.withdrawn);
}

async function lecturePage() {
  R.seen = true;
  buildStrip();
  if (picture && slides[0]) picture.style.aspectRatio = `${slides[0][3]} / ${slides[0][4]}`;
  R.findKept = findKept;
  const found = window.indexedDB && data.course ? findKept() : Promise.reject();
  const settled = found.catch(() => (R.memory.kept = false)).then(() => R.pump());
  if (R.memory.kept) known = settled;
  if (R.shown !== undefined) {
    ready.set(R.shown, Promise.resolve(picture));
    urls.set(R.shown, picture.src);
  }
  videoModes();
  controls();
  captions();
  searching();
  // With the browser's data saver on, the first slide waits for the tap.
  R.look = R.shown !== undefined || R.memory.kept || !(navigator.connection && navigator.connection.saveData);
  tick();
  if ($("keep")) {
    const bytes = [...slides, ...data.captions, [0, 0, data.package[1]]].reduce((sum, s) => sum + s[2], data.voiceBytes);
    keeper($("keep"), [{ id: R.id, address: location.pathname, bytes }]).catch(() => {});
    // When the voice is well ahead: the shell for the next visit, and what the store says of lectures that are kept.
    const later = setInterval(async () => {
      if (!R.started || (R.have && R.have() - clock.currentTime < 60 && R.have() < data.duration - 1)) return;
      clearInterval(later);
      if (!worker()) return;
      (R.kept ? renew() : keepShell([location.href.split(/[?#]/)[0], data.app])).catch(() => {});
      checkStore();
    }, 2000);
  }
}

if (data.lecture !== undefined) lecturePage();
else coursePage();
