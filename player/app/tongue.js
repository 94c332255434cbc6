// The page's words and the author's titles in the learner's language: the one chosen on this device, else those that the browser
// asks for, else the course's. Words of another language are a small file that nothing waits for; it is remembered, so that the next
// page begins with it, without a network too.
const root = document.documentElement;
const primary = (tag) => tag.split("-")[0];
// What the author writes. The page came with words in `spoken`, which need no file; where there are none in his language they are others.
const author = root.lang;
const came = { words: { ...words }, decimal: data.decimal };
let spoken = Object.keys(data.languages).find((tag) => !data.languages[tag]);
// Those who show words of the script's own show them anew.
const hears = [];
const wishes = () => [device.language, ...navigator.languages].filter(Boolean).flatMap((l) => [l, primary(l)]);
const chosen = () => wishes().find((l) => l in data.languages) || spoken;

function languageName(tag, within) {
  try {
    return new Intl.DisplayNames([within], { type: "language" }).of(tag);
  } catch (e) {
    return tag;
  }
}

function titles() {
  for (const e of document.querySelectorAll("[data-titles]")) {
    const others = JSON.parse(e.dataset.titles);
    const lang = wishes().find((l) => others[l] || l === primary(author));
    e.own ??= e.textContent;
    Object.assign(e, others[lang] ? { textContent: others[lang], lang } : { textContent: e.own, lang: author });
  }
}

// What a screen reader takes the page for: our words, and among them what the author wrote. And what the page is called.
function pronounce() {
  root.lang = primary(author) === spoken ? author : spoken;
  for (const e of document.querySelectorAll("bdi:not([lang])")) e.lang = author;
  const [title, course] = [...document.querySelectorAll("h1, header bdi")].reverse().map((e) => e.textContent);
  document.title = course ? `${title} · ${course}` : title;
  if (data.title) Object.assign(data, { title, courseTitle: course || "" });
}

// The templates of src/pages, filled as it fills them: `{word}`, `{s40}` seconds, `{b9000000}` bytes, `{n3}` lectures, `{1.5}`.
// Nothing where a word is missing: those that are kept may be older than the page.
function fill(template, said) {
  let whole = true;
  const word = (name) => said[name] || said.page[name] || (whole = false);
  const units = (n, unit) => `${n}\u00a0${word(unit)}`;
  const length = (s) => {
    if (s < 100) return units(s, "second");
    const m = Math.round(s / 60);
    const [h, rest] = [Math.floor(m / 60), m % 60];
    return h ? units(h, "hour") + (rest ? ` ${units(String(rest).padStart(2, "0"), "minute")}` : "") : units(rest, "minute");
  };
  const price = (b) => `${b > 99e5 ? Math.ceil(b / 1e6) : number(Math.ceil(b / 1e5) / 10, 1)}\u00a0MB`;
  const text = template.replace(/{([\w.]+)}/g, (_, name) => {
    const [, sort, n] = /^([sbn]?)([\d.]+)$/.exec(name) || [];
    if (!n) return word(name);
    return { s: length, b: price, n: () => units(n, n === "1" ? "lecture" : "lectures"), "": () => n.replace(".", data.decimal) }[sort](Number(n));
  });
  return whole && text;
}

// A language's words; none: those that the page came with.
function speak(tag, said) {
  spoken = tag;
  Object.assign(words, came.words, said && said.page);
  data.decimal = said ? said.decimal : came.decimal;
  for (const e of document.querySelectorAll("[data-w]")) {
    const names = ["placeholder", "aria-label", "title"].filter((n) => e.hasAttribute(n));
    e.own ??= names.length ? e.getAttribute(names[0]) : e.textContent;
    const text = (said && fill(e.dataset.w, said)) || e.own;
    for (const n of names) e.setAttribute(n, text);
    if (!names.length) e.textContent = text;
  }
  pronounce();
  for (const show of hears) show();
}

async function translate() {
  titles();
  const tag = chosen();
  const uri = data.languages[tag];
  pronounce();
  if (!uri) return tag === spoken || speak(tag);
  const kept = recall("rivulet:words");
  if (kept.tag === tag) speak(tag, kept.said);
  if (kept.uri === uri) return;
  try {
    while (short()) await new Promise((done) => setTimeout(done, 1000));
    const answer = await fetch(uri);
    const said = answer.ok && (await answer.json());
    if (!said.page) throw new Error(uri);
    remember("rivulet:words", { tag, uri, said });
    // Another may have been chosen meanwhile.
    if (tag === chosen()) speak(tag, said);
  } catch (e) {
    addEventListener("online", translate, { once: true });
  }
}

// At the end of the page, where nothing else moves.
function languageMenu() {
  const tags = Object.keys(data.languages);
  const select = make("select", {}, ...tags.map((tag) => make("option", { value: tag, lang: tag, textContent: languageName(tag, tag) })));
  const name = make("span", { textContent: words.language });
  name.dataset.w = "{language}";
  select.value = chosen();
  select.onchange = () => {
    saveDevice({ language: select.value });
    translate();
  };
  (document.querySelector("footer") || document.querySelector("main")).append(make("p", { id: "tongue" }, make("label", {}, name, " ", select)));
}

// The player stands before the voice's bytes: there it has no templates.
const spared = { "#player": "player", "#zoom": "enlarge", "#play b": R.clock === video && data.lecture !== undefined ? "watch" : "play", "#seek": "position", "#previous": "previous_slide", "#back": "back", "#forward": "forward", "#next": "next_slide" };
for (const [place, word] of Object.entries(spared)) {
  const e = document.querySelector(place);
  if (e) e.dataset.w = `{${word}}`;
}
languageMenu();
translate();
