// Playing, seeking, speed, keys, what the device is told, and the learner's place.
const PLAY = "M8 5v14l11-7z";
const PAUSE = "M7 5h3v14H7zM14 5h3v14h-3z";
let dragging = false;
let waiting = false;

// Where the learner is, or will be when the clock can be set.
const position = () => R.pending ?? clock.currentTime;
function seek(t, play) {
  R.look = true;
  const to = Math.min(Math.max(0, t), Math.max(0, data.duration - 0.2));
  if (R.pending === null) clock.currentTime = to;
  else R.pending = to;
  tick();
  if (play && clock.paused) toggle();
}
function toggle() {
  if (!R.started) return R.start();
  if (clock.paused) clock.play().catch(() => ($("play").hidden = false));
  else clock.pause();
}
const step = (by) => {
  const i = slideAt(position());
  // Back within a slide goes to its beginning first.
  const to = by < 0 && slides[i] && position() - slides[i][0] > 4 ? i : i + by;
  if (slides[to]) seek(slides[to][0]);
};
const jump = (by) => seek(position() + by);

function tick() {
  const t = position();
  if (!dragging) {
    $("seek").value = t;
    $("now").textContent = time(t);
    $("seek").setAttribute("aria-valuetext", `${time(t)} / ${time(data.duration)}`);
  }
  if (R.started || R.look) showSlide(slideAt(t));
  prefetch();
  showLine(t);
  if (R.started && Math.abs(t - (R.memory.t || 0)) > 4) keepPlace();
}
function keepPlace() {
  // A clock that was not set yet says 0.
  if (!R.started || R.pending !== null) return;
  const t = Math.floor(clock.currentTime);
  save({ t, most: Math.max(R.memory.most || 0, t), done: R.memory.done || clock.ended });
  if (R.bps) saveDevice({ bps: Math.round(R.bps) });
}

function tellDevice() {
  const session = navigator.mediaSession;
  if (!session || !window.MediaMetadata) return;
  // The slide that is there already: a poster would cost bytes.
  const artwork = picture.naturalWidth ? [{ src: picture.src, type: "image/webp" }] : [];
  session.metadata = new MediaMetadata({ title: data.title, artist: data.presenter || "", album: data.courseTitle, artwork });
  const actions = {
    play: () => clock.paused && toggle(),
    pause: () => clock.pause(),
    seekbackward: () => jump(-10),
    seekforward: () => jump(30),
    previoustrack: () => step(-1),
    nexttrack: () => step(1),
    seekto: (e) => seek(e.seekTime),
  };
  for (const [name, handler] of Object.entries(actions)) {
    try {
      session.setActionHandler(name, handler);
    } catch (e) {
      // This browser does not know it.
    }
  }
}
function tellPosition() {
  const session = navigator.mediaSession;
  if (!session || !session.setPositionState || !(clock.duration > 0) || !isFinite(clock.duration)) return;
  session.setPositionState({ duration: clock.duration, playbackRate: clock.playbackRate, position: Math.min(clock.currentTime, clock.duration) });
}

const SHORT = {
  " ": toggle, k: toggle, j: () => jump(-10), l: () => jump(30), ArrowLeft: () => jump(-10), ArrowRight: () => jump(30),
  p: () => step(-1), n: () => step(1), z: () => enlarge(), c: () => nextCaptions(),
  "<": () => changeSpeed(-1), ">": () => changeSpeed(1),
};
function changeSpeed(by) {
  const select = $("speed");
  select.selectedIndex = Math.min(select.options.length - 1, Math.max(0, select.selectedIndex + by));
  select.onchange();
}

function controls() {
  for (const id of ["toggle", "back", "forward", "seek", "mode", "speed", "saver"]) $(id).disabled = false;
  $("previous").disabled = $("next").disabled = slides.length < 2;
  $("toggle").onclick = toggle;
  $("back").onclick = () => jump(-10);
  $("forward").onclick = () => jump(30);
  $("previous").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  // Also where the slide has not come: the price is said then.
  $("zoom").hidden = !slides.length;
  $("zoom").onclick = enlarge;
  picture.onclick = enlarge;
  video.onclick = toggle;
  const range = $("seek");
  range.oninput = () => {
    dragging = true;
    $("now").textContent = time(range.value);
  };
  range.onchange = () => {
    dragging = false;
    seek(Number(range.value));
  };
  const speed = $("speed");
  speed.onchange = () => {
    clock.playbackRate = clock.defaultPlaybackRate = Number(speed.value);
    save({ speed: clock.playbackRate });
  };
  if (R.memory.speed) {
    speed.value = String(R.memory.speed);
    if (speed.selectedIndex < 0) speed.value = "1";
    clock.playbackRate = clock.defaultPlaybackRate = Number(speed.value);
  }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, dialog")) return;
    if (e.key === " " && e.target.closest("button, a")) return;
    const action = SHORT[e.key];
    if (!action) return;
    e.preventDefault();
    action();
  });
  addEventListener("hashchange", () => {
    const place = /^#t=(\d+)$/.exec(location.hash);
    if (place) seek(Number(place[1]));
  });
  const draw = () => {
    const playing = !clock.paused && !clock.ended;
    $("toggle").querySelector("path").setAttribute("d", playing ? PAUSE : PLAY);
    for (const name of ["aria-label", "title"]) $("toggle").setAttribute(name, playing ? words.pause : words.play);
    tellPosition();
  };
  hears.push(draw, tellDevice);
  for (const name of ["play", "pause", "ended", "ratechange", "seeked"]) clock.addEventListener(name, draw);
  clock.addEventListener("play", () => ($("play").hidden = true));
  clock.addEventListener("timeupdate", tick);
  clock.addEventListener("seeking", tick);
  clock.addEventListener("waiting", () => {
    waiting = true;
    // A moment of it is not worth a word.
    setTimeout(() => waiting && clock.readyState <= 2 && !clock.paused && say(words.waiting), 800);
  });
  for (const name of ["playing", "pause", "seeked"]) {
    clock.addEventListener(name, () => {
      if (waiting && clock.readyState > 2) say("");
      waiting = waiting && clock.readyState <= 2;
    });
  }
  clock.addEventListener("ended", keepPlace);
  clock.addEventListener("pause", keepPlace);
  addEventListener("pagehide", keepPlace);
  document.addEventListener("visibilitychange", keepPlace);
  R.tell = (what) => {
    if (!what) return say("");
    // While there is sound, nobody needs to know.
    if (clock.readyState > 2 && R.have() - clock.currentTime > 5) return;
    if (what === "refused") {
      say(words.broken, words.reload, () => location.reload());
      checkStore();
    } else say(words.lost, words.retry, () => R.retry && R.retry());
  };
  const fail = () => !R.hls && clock.error && say(words.broken, words.reload, () => location.reload());
  clock.addEventListener("error", fail);
  if (R.from) say(`${words.resumed} ${time(R.from)}.`, words.restart, () => (say(""), seek(0)), 12);
  // It may have happened before this script came.
  fail();
  tellDevice();
  draw();
}
