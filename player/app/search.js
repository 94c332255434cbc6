// Searches the words of slides and captions: of this lecture at once, of the course when asked. The words are small files
// that are fetched when the learner begins to type, or kept with the lecture.
const texts = new Map();
function text(name) {
  if (!texts.has(name)) {
    const read = wordsOf(name);
    texts.set(name, read);
    read.catch(() => texts.delete(name));
  }
  return texts.get(name);
}
// Words of lectures that the course no longer holds go.
async function keepWords(list) {
  const cache = await caches.open("rivulet-shell-1");
  const folder = new URL("./", location).href;
  await cache.put(`${folder}search.json`, new Response(JSON.stringify(list))).catch(() => {});
  const listed = list.lectures.map((l) => folder + l[2]);
  for (const { url } of await cache.keys()) if (url.startsWith(`${folder}search-`) && !listed.includes(url)) await cache.delete(url);
}
// What was fetched once stays with the shell, so that it is found without a network; what changes is asked for first.
async function wordsOf(name, changes) {
  const cache = await Promise.resolve(window.caches && caches.open("rivulet-shell-1")).catch(() => null);
  const address = new URL(name, location).href;
  const kept = async () => {
    const bytes = !changes && window.indexedDB && (await piece(name, 0).catch(() => null));
    const answer = bytes ? new Response(bytes) : cache && (await cache.match(address));
    return answer && answer.json();
  };
  const known = !changes && (await kept());
  if (known) return known;
  try {
    const answer = await fetch(address, changes ? { cache: "no-cache" } : {});
    if (!answer.ok) throw new Error(`${answer.status} ${name}`);
    const copy = answer.clone();
    const read = await answer.json();
    if (cache) await cache.put(address, copy).catch(() => {});
    return read;
  } catch (e) {
    const old = changes && (await kept());
    if (old) return old;
    throw e;
  }
}

// Without signs of direction: a part of a text would begin what it does not end.
const straight = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
// Where the folded words stand in the text: [from, to], or null. Folding can shorten text, so letters are counted one by one.
function find(haystack, needle) {
  const letters = [...straight(haystack).normalize("NFC")];
  const folded = letters.map(fold);
  const at = folded.join("").indexOf(needle);
  if (at < 0) return null;
  let from = 0;
  for (let n = 0; n + folded[from].length <= at; from += 1) n += folded[from].length;
  let to = from;
  for (let n = 0; n < needle.length && to < letters.length; to += 1) n += folded[to].length;
  return [letters.slice(Math.max(0, from - 40), from).join(""), letters.slice(from, to).join(""), letters.slice(to, to + 60).join("")];
}
function matches(lecture, needle) {
  const found = [];
  lecture.slides.forEach(([t, title, body], i) => {
    const hit = find(`${title}\n${body.startsWith(title) ? body.slice(title.length) : body}`.replace(/\s+/g, " "), needle);
    if (hit) found.push([t, hit, `${words.slide} ${i + 1}`]);
  });
  for (const [t, line] of lecture.cues) {
    const hit = find(line, needle);
    if (hit) found.push([t, hit, words.in_captions]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 30);
}
function row(t, hit, where, id) {
  const line = make("bdi", { lang: author }, hit[0], make("mark", { textContent: hit[1] }), hit[2]);
  const link = make("a", { href: id ? `${encodeURIComponent(id)}.html#t=${Math.floor(t)}` : `#t=${Math.floor(t)}` }, line, make("small", { textContent: `${time(t)} · ${where}` }));
  if (!id) {
    link.onclick = (e) => {
      e.preventDefault();
      seek(t, R.started);
      $("player").scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
    };
  }
  return make("li", {}, link);
}

function searching() {
  const form = $("search");
  if (!form) return;
  const [query, found, results] = ["query", "found", "results"].map($);
  let asked = 0;
  const all = async () => {
    const { lectures } = await wordsOf("search.json", true);
    return lectures.filter((l) => l[2]);
  };
  async function run(course) {
    const needle = fold(query.value.trim().replace(/\s+/g, " "));
    const mine = (asked += 1);
    if (needle.length < 2) {
      results.replaceChildren();
      found.replaceChildren();
      return;
    }
    const rows = [];
    let missed = false;
    const miss = () => ((missed = true), []);
    if (data.lecture) {
      const hits = await text(data.search).then((lecture) => matches(lecture, needle)).catch(miss);
      for (const [t, hit, where] of hits) rows.push(row(t, hit, where));
    }
    for (const [id, title, name] of course ? await all().catch(miss) : []) {
      if (id === data.lecture) continue;
      const hits = await text(name).then((lecture) => matches(lecture, needle)).catch(miss);
      for (const [t, hit, where] of hits) rows.push(row(t, hit, `${straight(title)} · ${where}`, id));
      if (mine !== asked) return;
    }
    if (mine !== asked) return;
    results.replaceChildren(...rows);
    // What is known is shown, and that it may not be all.
    const said = rows.length ? `${rows.length} ${words.found}` : words.none;
    found.replaceChildren(missed ? `${rows.length ? `${said}. ` : ""}${words.failed}` : said);
    if (!course && data.course) found.append(" ", act(words.in_course, () => run(true)));
  }
  let timer;
  query.oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(() => run(!data.lecture), 250);
  };
  form.onsubmit = (e) => {
    e.preventDefault();
    clearTimeout(timer);
    run(!data.lecture);
  };
  query.disabled = false;
}
