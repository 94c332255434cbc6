// The slide on the stage, those to come, the strip of all, and one alone in full size.
const slides = data.slides || [];
const stage = $("stage");
const picture = $("slide");
let current = -1;
let wantedSlide = -1;
let marked = -1;
const urls = new Map();
const slideAt = (t) => slides.reduce((found, s, i) => (s[0] <= t + 0.05 ? i : found), 0);

// An address that shows without the network where the slide is kept.
async function slideUrl(i) {
  if (!urls.has(i)) {
    await known;
    const bytes = R.kept && (await piece(slides[i][1], 0).catch(() => null));
    urls.set(i, bytes ? URL.createObjectURL(new Blob([bytes], { type: "image/webp" })) : slides[i][1]);
  }
  return urls.get(i);
}
// Fetched and decoded, so that it can be shown at once.
const ready = new Map();
// What did not come: how often, and when it may be asked for again. What is gone is not, unless the learner asks.
const missing = new Map();
const gone = (i) => [404, 410].includes(performance.getEntriesByName(new URL(slides[i][1], location).href).pop()?.responseStatus);
const rests = (i) => missing.has(i) && (performance.now() < missing.get(i)[1] || gone(i));
addEventListener("online", () => missing.clear());
function load(i, asked) {
  if (!ready.has(i)) {
    if (rests(i) && !asked) return Promise.reject(new Error("slide"));
    const image = new Image();
    const loaded = slideUrl(i).then((url) => ((image.src = url), image.decode()));
    ready.set(i, loaded.then(() => image));
    loaded.catch(() => {
      ready.delete(i);
      urls.delete(i);
      const [n] = missing.get(i) || [0];
      missing.set(i, [n + 1, performance.now() + Math.min(60e3, 2e3 * 2 ** n)]);
    });
  }
  return ready.get(i);
}
const slideName = (i) => `${words.slide} ${i + 1} ${words.of} ${slides.length}${slides[i][5] ? `: ${slides[i][5]}` : ""}`;

// The one before stays until this one can be seen.
async function showSlide(i) {
  if (i === wantedSlide || !slides[i]) return;
  if (!ready.has(i) && short()) return;
  wantedSlide = i;
  if (i !== marked) markStrip((marked = i));
  try {
    const image = await load(i);
    if (wantedSlide !== i) return;
    picture.src = image.src;
    picture.alt = slideName(i);
    current = i;
  } catch (e) {
    // Tried again by the clock.
    if (wantedSlide === i) wantedSlide = -1;
  }
}

// Slides that will soon be needed, one at a time, behind the voice: as far ahead as it is, within a share of what may be fetched ahead.
let fetching = false;
async function prefetch() {
  if (fetching || !R.started || current < 0 || (R.have && R.have() - clock.currentTime < 15 && R.have() < data.duration - 1)) return;
  fetching = true;
  let ahead = 0;
  const until = clock.currentTime + R.ahead;
  for (let i = wantedSlide + 1; i > 0 && i < slides.length && slides[i][0] < until; i += 1) {
    ahead += slides[i][2];
    if (ahead > (R.saver ? 120e3 : 300e3)) break;
    if (!ready.has(i) && !rests(i)) {
      await load(i).catch(() => {});
      break;
    }
  }
  fetching = false;
}

const strip = $("strip");
function buildStrip() {
  if (!strip) return;
  slides.forEach((s, i) => {
    const title = make("bdi", { lang: author, textContent: s[5] });
    const button = make("button", { type: "button", onclick: () => seek(s[0], true) }, title, make("small", { textContent: `${i + 1} · ${time(s[0])}` }));
    strip.append(make("li", {}, button));
  });
  nameSlides();
}
// Those without a title are called by their numbers.
function nameSlides() {
  if (current >= 0) picture.alt = slideName(current);
  if (!strip) return;
  strip.querySelectorAll("bdi").forEach((e, i) => slides[i][5] || Object.assign(e, { lang: root.lang, textContent: `${words.slide} ${i + 1}` }));
}
hears.push(nameSlides);
function markStrip(i) {
  if (!strip) return;
  const before = strip.querySelector("[aria-current]");
  if (before) before.removeAttribute("aria-current");
  const item = strip.children[i];
  if (!item) return;
  item.firstChild.setAttribute("aria-current", "true");
  if (!strip.matches(":focus-within")) strip.scrollTo({ left: item.offsetLeft - (strip.clientWidth - item.clientWidth) / 2, behavior: calm ? "auto" : "smooth" });
}

// The slide alone, pixel for pixel. Where it was not fetched yet, its price comes first.
function enlarge() {
  const i = slideAt(position());
  const slide = slides[i];
  if (!slide) return;
  const image = make("img", { alt: slideName(i), width: slide[3], height: slide[4] });
  const pan = make("div", { className: "pan", tabIndex: 0 });
  const fits = () => Math.min(pan.clientWidth / slide[3], pan.clientHeight / slide[4]);
  let scale = 0;
  const resize = (to) => {
    scale = Math.min(4, Math.max(fits(), to));
    image.style.width = `${slide[3] * scale}px`;
    image.style.height = "auto";
  };
  const close = act(words.close, () => dialog.close());
  const larger = act("+", () => resize(scale * 1.5));
  const smaller = act("−", () => resize(scale / 1.5));
  larger.setAttribute("aria-label", words.bigger);
  smaller.setAttribute("aria-label", words.smaller);
  const about = make("span", { textContent: `${slide[3]} × ${slide[4]} · ${size(slide[2])}` });
  const dialog = make("dialog", { onclose: () => dialog.remove() }, make("div", { className: "acts" }, close, smaller, larger, about), pan);
  dialog.setAttribute("aria-label", slideName(i));
  document.body.append(dialog);
  dialog.showModal();
  const show = async () => {
    try {
      image.src = (await load(i, true)).src;
      pan.replaceChildren(image);
      resize(1 / devicePixelRatio);
    } catch (e) {
      pan.replaceChildren(act(words.retry, show));
    }
  };
  if (ready.has(i) || R.kept) show();
  else pan.replaceChildren(act(`${words.show} · ${size(slide[2])}`, show, true));
}
