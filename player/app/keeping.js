// Keeping lectures: what it takes, fetching it piece by piece, checking, deleting. One piece is fetched at a time and stored
// before the next is asked for, so that a browser that is killed has at most one to ask for again.
const worker = () => data.worker && window.isSecureContext && navigator.serviceWorker;
let registered;
function shell() {
  registered ??= navigator.serviceWorker.register(data.worker).then(() => navigator.serviceWorker.ready);
  registered.catch(() => (registered = null));
  return registered;
}
// Has the service worker keep these pages and scripts; resolves when it does. The first stays as it is now if it is to be held.
async function keepShell(addresses, hold) {
  const registration = await shell();
  const channel = new MessageChannel();
  const answered = new Promise((done, failed) => (channel.port1.onmessage = (e) => (e.data === "kept" ? done() : failed(new Error(e.data)))));
  const keep = addresses.map((a) => new URL(a, location).href);
  registration.active.postMessage({ keep, hold: hold && keep[0] }, [channel.port2]);
  return answered;
}

const hex = (bytes) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");
const digest = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));
// The digest in a content-addressed name: of all of it, or of its beginning.
const named = (uri) => /([0-9a-f]{16,64})\.\w+$/.exec(uri)[1];

// What a lecture's page asks to be kept, and its bytes.
async function needs(address) {
  const answer = await fetch(address, { cache: "no-cache" });
  if (!answer.ok) throw Object.assign(new Error(`${answer.status} ${address}`), { refused: answer.status });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Pages of earlier versions have fewer of them.
  const blocks = (...ids) => Object.assign({}, ...ids.map((id) => page.getElementById(id)).map((e) => e && JSON.parse(e.textContent)));
  const [about, voice] = [blocks("data", "about"), blocks("voice", "rest")];
  const files = [...about.slides.map((s) => [s[1], s[2]]), ...about.captions.map((c) => [c[1], c[2]]), about.package];
  if (about.search) files.push([about.search, 0]);
  const runs = pieces(voice, about.piece);
  const parts = [...files.map((f) => [pieceName(f[0], 0), f[1]]), ...runs.map((r) => [pieceName(voice.uri, r[0]), r[1] - r[0]])];
  const bytes = parts.reduce((sum, p) => sum + p[1], 0);
  return { id: `${about.course}/${about.lecture}`, address, about, voice, files, runs, parts, bytes };
}

// Ends at once where the learner pauses, and where nothing has come for half a minute.
async function part(uri, from, to, cache, job) {
  const stop = (job.stop = new AbortController());
  const options = { cache, signal: stop.signal };
  if (to) options.headers = { Range: `bytes=${from}-${to - 1}` };
  let quiet;
  const patience = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => stop.abort(), 30000);
  };
  try {
    patience();
    const answer = await fetch(uri, options);
    if (!answer.ok) throw Object.assign(new Error(`${answer.status} ${uri}`), { refused: answer.status });
    const got = [];
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      patience();
      got.push(value);
    }
    const bytes = await new Blob(got).arrayBuffer();
    return to && answer.status === 200 ? bytes.slice(from, to) : bytes;
  } finally {
    clearTimeout(quiet);
  }
}

// Fetches until the check is passed; a part that arrives damaged three times is given up.
function obtain(uri, from, to, right, job) {
  let damaged = 0;
  return insist(job, async () => {
    const bytes = await part(uri, from, to, damaged ? "reload" : "default", job);
    if (await right(bytes)) return bytes;
    damaged += 1;
    job.say(words.damaged);
    if (damaged > 2) throw Object.assign(new Error(words.damaged), { refused: true });
  });
}

// Tries until something comes, for as long as the link takes; nothing where the learner stopped it.
async function insist(job, attempt) {
  for (let tries = 0; !job.stopped; ) {
    try {
      const got = await attempt();
      if (got) return got;
    } catch (e) {
      if (e.refused) throw e;
      if (job.stopped) return;
      job.say(words.lost);
      tries += 1;
      await new Promise((done) => {
        const timer = setTimeout(done, Math.min(30000, 1000 * 2 ** tries));
        job.again = () => (clearTimeout(timer), done());
        addEventListener("online", job.again, { once: true });
      });
    }
  }
}

const put = (uri, from, bytes) => stored("pieces", "readwrite", (s) => s.put(bytes, pieceName(uri, from)));
const keyOf = (id) => `rivulet:${id}`;

async function keep(wanted, job) {
  const { id, about, voice } = wanted;
  const entry = { id, address: new URL(wanted.address, location).href, title: about.title, release: about.release, bytes: wanted.bytes, done: 0, paused: false, whole: false };
  const note = () => stored("lectures", "readwrite", (s) => s.put(entry));
  const before = (await stored("lectures", "readonly", (s) => s.get(id))) || {};
  entry.names = [...new Set([...(before.names || []), ...wanted.parts.map((p) => p[0])])];
  // The first page comes at once; a newer one takes its place when all that it names is here.
  const shelter = () => keepShell([wanted.address, about.app, `../${encodeURIComponent(about.course)}/index.html`], true);
  entry.shell = before.shell;
  await note();
  remember(keyOf(id), { ...recall(keyOf(id)), kept: true });
  if (id === R.id) R.memory.kept = true;
  if (!before.shell) await shelter();
  entry.shell = true;
  wordsOf("search.json", true).catch(() => {});
  const step = async (bytes) => {
    entry.done = Math.min(entry.bytes, entry.done + bytes);
    await note();
    job.progress(entry);
  };
  for (const [uri, bytes] of wanted.files) {
    if (job.stopped) break;
    if (!(await hasPiece(uri, 0))) {
      const right = async (b) => (await digest(b)).startsWith(named(uri));
      const got = await obtain(uri, 0, 0, right, job);
      if (got) await put(uri, 0, got);
    }
    if (!job.stopped) await step(bytes);
  }
  let segments;
  for (const [from, to] of wanted.runs) {
    if (job.stopped) break;
    if (!(await hasPiece(voice.uri, from))) {
      segments ??= JSON.parse(new TextDecoder().decode(await piece(about.package[0], 0))).voices.find((v) => v.segments[0].offset === voice.first).segments;
      const right = async (b) => {
        for (const s of segments) {
          if (s.offset < from || s.offset >= to) continue;
          if ((await digest(b.slice(s.offset - from, s.offset - from + s.bytes))) !== s.sha256) return false;
        }
        return b.byteLength === to - from;
      };
      const got = await obtain(voice.uri, from, to, right, job);
      if (got) await put(voice.uri, from, got);
    }
    if (!job.stopped) await step(to - from);
  }
  if (before.shell && !job.stopped) await shelter();
  Object.assign(entry, job.stopped ? { paused: job.stopped === "paused" } : { whole: true, done: entry.bytes });
  await note();
  return entry.whole;
}

// A kept lecture may have been published anew: what it names and is here already takes the old one's place; what costs
// bytes is offered by the button that goes on with a download. Until then the old one plays.
async function renew() {
  const wanted = await needs(location.href.split(/[?#]/)[0]);
  const entry = await stored("lectures", "readonly", (s) => s.get(R.id));
  if (!entry || !entry.whole) return;
  const here = wanted.parts.filter((p) => entry.names.includes(p[0]));
  if (here.length === wanted.parts.length) {
    await keepShell([wanted.address, wanted.about.app], true);
    // What only an older one needed goes when it is no longer played.
    if (wanted.about.package[0] !== data.package[0]) return;
    const names = here.map((p) => p[0]);
    await erasePieces(R.id, entry.names.filter((n) => !names.includes(n)));
    return void (await stored("lectures", "readwrite", (s) => s.put({ ...entry, names })));
  }
  const done = here.reduce((sum, p) => sum + p[1], 0);
  await stored("lectures", "readwrite", (s) => s.put({ ...entry, bytes: wanted.bytes, done, whole: false, paused: true }));
  await R.showKept();
}

// Deletes those pieces of a lecture that no other has.
async function erasePieces(id, names) {
  const shared = new Set((await keptLectures()).filter((l) => l.id !== id).flatMap((l) => l.names));
  await stored("pieces", "readwrite", (s) => void names.filter((n) => !shared.has(n)).forEach((n) => s.delete(n)));
}
// Forgets a lecture and what only it has.
async function drop(id) {
  const gone = (await keptLectures()).find((l) => l.id === id);
  if (!gone) return;
  await erasePieces(id, gone.names);
  await stored("lectures", "readwrite", (s) => void s.delete(id));
  remember(keyOf(id), { ...recall(keyOf(id)), kept: false });
  const registration = worker() && (await navigator.serviceWorker.getRegistration());
  if (registration && registration.active) registration.active.postMessage({ drop: gone.address });
}

// Asks the store what the course holds now, and what was withdrawn from it, which its list may not know yet; what it no longer
// holds is deleted here, and the ids of that are returned. An answer that is no list says nothing. A page that came from the
// network needs no answer unless something is kept.
async function contact() {
  const mine = (await keptLectures()).filter((l) => l.id.startsWith(`${data.course}/`));
  if (data.lecture && navigator.serviceWorker.controller) mine.push({ id: R.id, release: data.release });
  if (!mine.length) return [];
  const ask = (address, name) => fetch(address, { cache: "no-cache" }).then((a) => a.ok && a.json()).then((a) => Array.isArray(a[name]) && a).catch(() => false);
  const pointer = `../courses/${encodeURIComponent(data.course)}/current.json`;
  const [list, current] = await Promise.all([ask("search.json", "lectures"), ask(pointer, "withdrawn")]);
  const is = (l, lecture) => l.id === `${data.course}/${lecture}`;
  // A lecture that was brought back is another one than the copy of before.
  const buried = (l) => current && current.withdrawn.some((t) => is(l, t.lecture) && !(l.release >= t.restored));
  const gone = mine.filter((l) => (list && !list.lectures.some((row) => is(l, row[0]))) || buried(l)).map((l) => l.id);
  for (const id of gone) await drop(id);
  if (list) await keepWords(list);
  return gone;
}

// The part of a page that keeps some lectures (`id`, `address`, `bytes`): what it takes, how far it is, and what can be done.
async function keeper(box, items) {
  const line = make("p", { className: "hint" });
  const bar = make("progress", { hidden: true, max: 1, value: 0 });
  const acts = make("div", { className: "acts" });
  line.setAttribute("role", "status");
  box.append(line, bar, acts);
  // What is said now, to be said again in other words.
  let said = () => {};
  hears.push(() => said());
  const without = () => {
    said = without;
    line.textContent = words.no_worker;
    // A list has no such file: its lectures do.
    if (!data.floor) line.textContent = words.no_worker_list;
    else acts.replaceChildren(make("a", { className: "act", href: data.floor[0], download: data.floor[2], textContent: `MP4 · ${size(data.floor[1])}` }));
  };
  // What is kept is fed to the player: a browser that takes no pieces of Opus would only have it on the device.
  if (!worker() || !window.indexedDB || !window.MediaSource || !MediaSource.isTypeSupported('audio/mp4; codecs="opus"')) return without();
  const all = items.reduce((sum, i) => sum + i.bytes, 0);
  let job;
  const show = async () => {
    const kept = await keptLectures();
    const mine = items.map((i) => kept.find((l) => l.id === i.id));
    const done = mine.reduce((sum, l) => sum + (l ? l.done : 0), 0);
    const bytes = mine.reduce((sum, l, i) => sum + (l ? l.bytes : items[i].bytes), 0);
    const whole = mine.every((l) => l && l.whole);
    said = () => show().catch(() => {});
    bar.setAttribute("aria-label", words.keeping);
    bar.hidden = whole || !(job || done);
    bar.value = bytes ? done / bytes : 0;
    acts.replaceChildren();
    if (whole) line.textContent = `${words.kept} (${size(bytes)}).`;
    else if (job) {
      line.textContent = `${words.keeping}: ${size(done)} / ${size(bytes)}`;
      acts.append(act(words.stop, () => ((job.stopped = "paused"), job.stop && job.stop.abort(), job.again && job.again())));
    } else if (done) {
      line.textContent = `${size(done)} / ${size(bytes)}`;
      acts.append(act(words.go_on, begin, true));
    } else acts.append(act(`${words.keep} · ${size(all)}`, ask, true));
    if (!job && mine.some((l) => l)) {
      const erase = act(words.delete, async () => {
        if (erase.textContent !== words.sure) return void (erase.textContent = words.sure);
        for (const i of items) await drop(i.id);
        if (R.findKept) await R.findKept();
        line.textContent = "";
        await show();
        marks();
      });
      acts.append(erase);
    }
    return mine;
  };
  // What it takes and what room there is, before anything is fetched.
  const ask = async () => {
    said = ask;
    const { quota = 0, usage = 0 } = (navigator.storage && (await navigator.storage.estimate())) || {};
    const room = quota - usage;
    line.textContent = `${words.size_is} ${size(all)}. ${words.room_is} ${size(room)}.`;
    if (room < 1.1 * all + 1e6) line.textContent += ` ${words.no_room}`;
    else acts.replaceChildren(act(words.begin, begin, true));
  };
  const begin = () => {
    if (job) return;
    const mine = (job = { stopped: "", say: (text) => (line.textContent = text), progress: () => void show() });
    const work = async () => {
      if (navigator.storage && navigator.storage.persist) navigator.storage.persist();
      await show();
      // All are noted before the first is fetched: a browser that is killed goes on with the next.
      const noted = (await keptLectures()).map((l) => l.id);
      for (const { id, address, bytes } of items) {
        const entry = { id, address: new URL(address, location).href, bytes, done: 0, paused: false, whole: false, names: [] };
        if (!noted.includes(id)) await stored("lectures", "readwrite", (s) => s.put(entry));
      }
      for (const i of items) {
        const wanted = await insist(mine, () => needs(i.address));
        if (wanted) await keep(wanted, mine);
      }
      // Those that were not begun are paused with the one that was.
      if (mine.stopped) {
        const left = (await keptLectures()).filter((l) => !l.whole && items.some((i) => i.id === l.id));
        for (const l of left) await stored("lectures", "readwrite", (s) => s.put({ ...l, paused: mine.stopped === "paused" }));
      }
    };
    // One tab at a time fetches.
    const name = `keep ${items.map((i) => i.id)}`;
    const locked = navigator.locks ? navigator.locks.request(name, { ifAvailable: true }, (lock) => lock && work()) : work();
    return locked
      .then(() => "", (e) => (e.name === "QuotaExceededError" ? words.no_room : e.message === words.damaged ? e.message : words.failed))
      .then(async (failure) => {
        job = null;
        await show();
        if (failure) line.textContent = failure;
        if (R.findKept) await R.findKept();
        marks();
      });
  };
  R.showKept = show;
  const mine = await show().catch(without);
  // The tab was closed, or the browser killed: go on, unless the learner had paused it.
  if (mine && mine.some((l) => l && !l.whole && !l.paused)) begin();
}
