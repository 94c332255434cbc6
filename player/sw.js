// Keeps the shell: pages that were opened or are to be kept, and the scripts they use. Media never pass through here: the
// Cache API takes no partial answers, and voice and slides are kept elsewhere.
const SHELL = "rivulet-shell-1";
// Addresses of kept lectures' pages: those change when all pieces that the new one names are here, and their page says so.
const HELD = "rivulet-held-1";
// Beyond so many the oldest page goes; 100 are some 4 MB.
const MOST = 100;
const root = new URL("./", self.location).pathname;
const name = (url) => url.pathname.slice(root.length);
const isScript = (url) => /^(app|hls)-[0-9a-f]{16}\.js$/.test(name(url));
const isPage = (url) => /^[^/]+\/[^/]+\.html$/.test(name(url)) || /^([^/]+\/)?(index\.html)?$/.test(name(url));
// One entry a page, whatever stands behind the question mark.
const plain = (url) => url.origin + url.pathname.replace(/\/$/, "/index.html");

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function refresh(address) {
  const cache = await caches.open(SHELL);
  // Scripts never change under their names: the browser's own copy will do.
  const answer = await fetch(address, { cache: isScript(new URL(address)) ? "default" : "no-cache" });
  if (answer.ok && !answer.redirected) {
    // A page without its script does nothing.
    const app = !isScript(new URL(address)) && /app-[0-9a-f]{16}\.js/.exec(await answer.clone().text());
    if (app) await script(new URL(app[0], self.location).href);
    await cache.put(address, answer.clone());
    const pages = (await cache.keys()).filter((r) => isPage(new URL(r.url)));
    for (let i = 0; i < pages.length - MOST; i += 1) if (!(await held(pages[i]))) await cache.delete(pages[i]);
  } else if (answer.status === 404 || answer.status === 410) await cache.delete(address);
  return answer;
}

async function script(address) {
  if (await (await caches.open(SHELL)).match(address)) return;
  const answer = await refresh(address);
  if (!answer.ok) throw new Error(String(answer.status));
}
const held = async (address) => (await caches.open(HELD)).match(address);

async function reply(event, url) {
  const cache = await caches.open(SHELL);
  const address = plain(url);
  const kept = await cache.match(address);
  if (kept) {
    // A page names its release and things that never change: the last one seen is right to play. The next visit has the new one.
    if (!isScript(url) && !(await held(address))) event.waitUntil(refresh(address).catch(() => {}));
    return kept;
  }
  return isScript(url) ? refresh(address) : fetch(event.request);
}

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin || !url.pathname.startsWith(root)) return;
  if (isScript(url) || (event.request.mode === "navigate" && isPage(url))) event.respondWith(reply(event, url));
});

self.addEventListener("message", (event) => {
  const { keep, hold, drop } = event.data;
  const work = async () => {
    if (drop) for (const name of [SHELL, HELD]) await (await caches.open(name)).delete(plain(new URL(drop)));
    for (const address of keep || []) {
      const url = new URL(address);
      const at = plain(url);
      if (isScript(url)) {
        await script(at);
        continue;
      }
      if (address !== hold && (await held(at))) continue;
      const answer = await refresh(at);
      if (!answer.ok) throw new Error(String(answer.status));
      if (address === hold) await (await caches.open(HELD)).put(at, new Response());
    }
  };
  const said = work().then(() => "kept", (e) => String(e.message));
  event.waitUntil(said.then((text) => event.ports[0] && event.ports[0].postMessage(text)));
});
