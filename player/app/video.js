// Video beside the voice. The voice is the clock: it is never touched. hls.js plays the pictures, muted, and is held to
// the clock by small changes of its speed. Where the link does not carry them, voice and slides go on alone, and the
// video comes back when there is reason to think that it stays.
const own = clock === video;
// "slides", "auto", or "=" and a rung's name.
let mode = "slides";
let hls = null;
let starting = false;
// Why the video is away although it is wanted, until when, and how long the next time.
let away = "";
let until = 0;
let pause = 15;
let behind = 0;
let stepped = 0;
let loading = true;
let good = 0;

function script() {
  return (R.library ??= new Promise((done, failed) => {
    const element = make("script", { src: data.hls });
    element.onload = done;
    element.onerror = () => {
      element.remove();
      R.library = null;
      failed(new Error("hls.js"));
    };
    document.head.append(element);
  }));
}

const patient = (first, all, retries) => ({
  default: {
    maxTimeToFirstByteMs: first,
    maxLoadTimeMs: all,
    timeoutRetry: { maxNumRetry: retries, retryDelayMs: 500, maxRetryDelayMs: 4000 },
    errorRetry: {
      maxNumRetry: retries,
      retryDelayMs: 1000,
      maxRetryDelayMs: 16000,
      // hls.js takes a request that failed without a status for one refused by CORS; on a thin link it is a broken connection.
      shouldRetry: (policy, count, late, answer, retry) => retry || (count < policy.maxNumRetry && !!answer && answer.code === 0),
    },
  },
});

function config() {
  const bps = Math.min(5e6, Math.max(30e3, R.bps || device.bps || 150e3));
  // What has been seen is seldom gone back to; what is ahead may never be seen.
  const [seconds, bytes] = R.saver ? [4, 200e3] : [60, 6e6];
  return {
    // The lowest rung first: a picture soon, then better.
    startLevel: 0,
    abrEwmaDefaultEstimate: bps,
    // It would be thrown away; on a thin link that is seconds and money.
    testBandwidth: false,
    maxBufferLength: seconds,
    maxMaxBufferLength: R.saver ? 30 : 120,
    maxBufferSize: bytes,
    backBufferLength: 30,
    lowLatencyMode: false,
    // CMAF needs no remuxing: a worker would parse the library a second time.
    enableWorker: false,
    // A slide must stay readable when the player is small: zooming in is the learner's right.
    capLevelToPlayerSize: false,
    maxStarvationDelay: 8,
    maxLoadingDelay: 8,
    startPosition: position(),
    manifestLoadPolicy: patient(30e3, 60e3, 3),
    playlistLoadPolicy: patient(30e3, 60e3, 6),
    fragLoadPolicy: patient(30e3, 240e3, 10),
  };
}

function level() {
  if (!hls || !hls.levels.length) return;
  const rung = mode[0] === "=" && data.rungs.find((r) => `=${r[0]}` === mode);
  // Levels of the video's own playlist stand in the order of the rungs.
  // With the saver on, a rung whose single segment of 10 s is too much to have ahead is not played.
  const fits = R.saver ? Math.max(0, data.rungs.filter((r) => (r[4] * 10) / 8 < 250e3).length - 1) : -1;
  let index = rung ? data.rungs.indexOf(rung) : -1;
  if (R.saver && index > fits) index = fits;
  // A better picture is wanted at once, at the price of what is there already; else that is shown first.
  if (index > hls.currentLevel) hls.nextLevel = index;
  else if (hls.manualLevel !== index) hls.loadLevel = index;
  hls.autoLevelCapping = fits;
}

async function openVideo() {
  if (hls || starting) return;
  starting = true;
  try {
    // What cannot play it is not fetched: 190 kB.
    const able = window.ManagedMediaSource || window.MediaSource;
    if (able || own) await script();
    const Hls = window.Hls;
    if (!own && !(able && Hls.isSupported())) {
      $("mode").value = "slides";
      setMode("slides");
      return say(words.video_broken, "", null, 8);
    }
    if (!Hls.isSupported()) return openNative();
    if (mode === "slides" && !own) return;
    hls = R.hls = new Hls(config());
    let repairs = 0;
    hls.on(Hls.Events.MANIFEST_PARSED, level);
    hls.on(Hls.Events.FRAG_BUFFERED, () => saveDevice({ bps: Math.round(hls.bandwidthEstimate) }));
    hls.on(Hls.Events.ERROR, (_, e) => {
      if (!e.fatal) return;
      if (e.type === Hls.ErrorTypes.MEDIA_ERROR && repairs < 3) {
        repairs += 1;
        hls.recoverMediaError();
      } else if (own) {
        const again = () => (say(""), hls.levels.length ? hls.startLoad(position()) : hls.loadSource(source()));
        if (e.type === Hls.ErrorTypes.NETWORK_ERROR) {
          say(words.lost, words.retry, again);
          addEventListener("online", again, { once: true });
        } else say(words.broken, words.reload, () => location.reload());
      } else giveWay(words.video_down);
    });
    loading = true;
    hls.loadSource(source());
    hls.attachMedia(video);
    video.hidden = false;
    video.muted = !own;
  } catch (e) {
    if (own) return say(words.lost, words.retry, openVideo);
    // Unless the learner went back to slides meanwhile.
    if (mode !== "slides") giveWay(words.video_broken);
  } finally {
    starting = false;
  }
}
const source = () => (own ? data.master : data.video);

// A browser that plays HLS by itself and has no MSE.
function openNative() {
  if (!video.canPlayType("application/vnd.apple.mpegurl")) return say(words.unsupported);
  video.src = source();
  video.hidden = false;
  video.muted = !own;
}

function closeVideo() {
  video.classList.remove("on");
  if (hls) hls.destroy();
  hls = R.hls = null;
  video.hidden = true;
  behind = 0;
}

// Voice and slides alone for a while: 15 s, then twice as long each time, up to four minutes.
function giveWay(why) {
  if (own) return;
  closeVideo();
  away = why;
  good = 0;
  stepped += 1;
  until = performance.now() + 1000 * pause;
  pause = Math.min(240, pause * 2);
  say(why);
}

// Whether the link has something to spare: voice well ahead, and lately twice what the lowest rung takes.
function spare() {
  const ahead = R.have ? R.have() - clock.currentTime : 60;
  const enough = ahead > 30 || R.have() >= data.duration - 1;
  const lowest = data.rungs[0] ? data.rungs[0][3] : 100e3;
  return enough && (!away || !R.bps || R.bps > 2 * (lowest + 24e3));
}

// Ten times a second: hold the pictures to the voice.
function follow() {
  if (own || !hls) return;
  const hidden = document.hidden;
  const ahead = R.have ? R.have() - clock.currentTime : 60;
  // The voice comes first: pictures wait while it is short, and where nobody looks.
  const want = !hidden && (ahead > 8 || R.have() >= data.duration - 1);
  if (want !== loading && hls.media) {
    loading = want;
    if (want) hls.startLoad(clock.currentTime);
    else hls.stopLoad();
  }
  if (hidden || clock.paused || clock.seeking || clock.readyState < 3) {
    if (!video.paused && (hidden || clock.paused || clock.readyState < 3)) video.pause();
    if (clock.paused && !clock.seeking && !video.seeking && video.readyState > 0 && Math.abs(video.currentTime - clock.currentTime) > 0.1) video.currentTime = clock.currentTime;
    if (clock.seeking && !video.seeking) video.currentTime = clock.currentTime;
    video.classList.toggle("on", video.readyState > 1 && !video.seeking && Math.abs(video.currentTime - clock.currentTime) < 0.5);
    return;
  }
  const off = video.currentTime - clock.currentTime;
  const shown = video.readyState > 2 && !video.seeking;
  if (shown && video.paused) video.play().catch(() => {});
  if (shown && Math.abs(off) > 0.4) {
    // What a seek takes is added, so that the picture lands on the voice.
    video.currentTime = clock.currentTime + 0.1 * clock.playbackRate;
  } else {
    const nudge = Math.abs(off) < 0.015 ? 0 : Math.max(-0.12, Math.min(0.12, 0.8 * off));
    const rate = Math.round(1000 * clock.playbackRate * (1 - nudge)) / 1000;
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }
  video.classList.toggle("on", shown && Math.abs(off) < 0.4);
  R.off = shown ? off : null;
  behind = shown ? 0 : behind + 0.1;
  if (shown) {
    if (away) say((away = ""));
    good += 0.1;
    // Half a minute without trouble: the next pause is shorter again.
    if (good > 30) [good, pause] = [0, Math.max(15, pause / 2)];
  } else if (video.seeking && video.readyState < 2 && !inBuffer(clock.currentTime)) {
    const ends = video.currentTime;
    if (clock.currentTime - ends > 6) video.currentTime = clock.currentTime;
  }
  // No picture for 12 s while the voice runs: the link does not carry it.
  if (behind > 12) giveWay(words.video_down);
}
function inBuffer(t) {
  const b = video.buffered;
  for (let i = 0; i < b.length; i += 1) if (b.start(i) <= t && t < b.end(i)) return true;
  return false;
}

// Once a second: whether the video should be there.
function watch() {
  if (own || mode === "slides" || hls || starting || !R.started || document.hidden || navigator.onLine === false) return;
  if (performance.now() < until || !spare() || clock.ended) return;
  openVideo();
}

function setMode(to) {
  mode = to;
  R.mode = to;
  if (to === "slides") {
    closeVideo();
    away = "";
    say("");
  } else {
    until = 0;
    pause = 15;
    level();
    watch();
  }
  save({ mode: to });
}

function videoModes() {
  const select = $("mode");
  R.saver = device.saver ?? !!(navigator.connection && navigator.connection.saveData);
  // With the saver on a megabyte ahead in all: 0.27 MB of voice, 0.12 of slides, and of pictures 0.2 and a segment.
  const economy = () => (R.ahead = R.saver ? 90 : 240);
  economy();
  $("saver").checked = R.saver;
  $("saver").onchange = () => {
    R.saver = $("saver").checked;
    saveDevice({ saver: R.saver });
    economy();
    if (hls) {
      Object.assign(hls.config, config());
      level();
    }
  };
  if (!data.video && !own) for (const option of [...select.options]) if (option.value !== "slides") option.remove();
  if (own) for (const option of [...select.options]) if (option.value[0] === "s") option.remove();
  select.onchange = () => setMode(select.value);
  if (R.memory.mode) select.value = R.memory.mode;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  R.steps = () => stepped;
  if (own) {
    mode = select.value;
    const begin = R.start;
    R.start = () => {
      begin();
      say(words.video_loading);
      openVideo().then(() => {
        video.classList.add("on");
        video.addEventListener("loadeddata", () => say(""), { once: true });
        return video.play();
      }).catch(() => {});
    };
    if (R.started) R.start();
    return;
  }
  if (select.value !== "slides") setMode(select.value);
  setInterval(follow, 100);
  setInterval(watch, 1000);
}
