// What is kept on this device, in IndexedDB: `lectures` says what, `pieces` holds the bytes, by address and offset. A piece
// is there whole and checked, or it is not there.
let opened;
function database() {
  return (opened ??= new Promise((done, failed) => {
    // Some browsers never answer.
    setTimeout(failed, 10001, new Error("database"));
    const request = indexedDB.open("rivulet", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("lectures", { keyPath: "id" });
      request.result.createObjectStore("pieces");
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  }));
}
// One transaction; resolves when it is on the disk.
async function stored(name, mode, work) {
  const db = await database();
  return new Promise((done, failed) => {
    const transaction = db.transaction(name, mode, { durability: "strict" });
    const request = work(transaction.objectStore(name));
    transaction.oncomplete = () => done(request && request.result);
    transaction.onabort = transaction.onerror = () => failed(transaction.error);
  });
}
const keptLectures = () => stored("lectures", "readonly", (s) => s.getAll());
const pieceName = (uri, from) => `${new URL(uri, location).pathname}#${from}`;
const piece = (uri, from) => stored("pieces", "readonly", (s) => s.get(pieceName(uri, from)));
const hasPiece = async (uri, from) => (await stored("pieces", "readonly", (s) => s.getKey(pieceName(uri, from)))) !== undefined;

// Bytes of a file that is kept whole, else of the network.
async function content(uri) {
  await known;
  if (R.kept) {
    const bytes = await piece(uri, 0).catch(() => null);
    if (bytes) return bytes;
  }
  const answer = await fetch(uri);
  if (!answer.ok) throw new Error(`${answer.status} ${uri}`);
  return answer.arrayBuffer();
}

// Runs of whole segments of a voice, each about a piece long: [from, to].
function pieces(voice, most) {
  const found = [];
  let from = voice.first;
  let to = from;
  for (const bytes of voice.sizes) {
    if (to > from && to + bytes - from > most) {
      found.push([from, to]);
      from = to;
    }
    to += bytes;
  }
  if (to > from) found.push([from, to]);
  return found;
}

// When it is known what is kept of this lecture, where something may be.
let known;
async function findKept() {
  R.kept = (await stored("lectures", "readonly", (s) => s.get(R.id))) || null;
  if (!R.kept) {
    if (R.memory.kept) save({ kept: false });
    return;
  }
  const plan = pieces(R.voice, data.piece);
  R.local = async (from, to) => {
    const run = plan.find((p) => p[0] <= from && from < p[1]);
    const bytes = run && (await piece(R.voice.uri, run[0]).catch(() => null));
    return bytes ? new Uint8Array(bytes).subarray(from - run[0], Math.min(to, run[1]) - run[0]) : null;
  };
}
