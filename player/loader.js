// Stands in the page behind the first two seconds or so of the voice, so that all of it comes in a server's first ten packets.
// It plays those at the tap, the seconds that stand behind it when they have come, fetches the rest of the script after the first
// slide, and feeds the voice in byte ranges from then on: nothing is fetched twice, and nothing is thrown away.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const R = window.rivulet;
  const { data, memory, from } = R;
  const voice = JSON.parse($("voice").textContent);
  const [audio, video, play] = ["audio", "video", "play"].map($);
  const heard = voice.uri || voice.native;
  // What has come since: this script, and three bytes for four letters of the voice when they are packed. What comes in no time
  // says nothing.
  const took = performance.now() - R.begun;
  const rate = took > 500 ? (6 * `${voice.init}${voice.head}`.length + 20e3) / (took / 1000) : R.bps;
  const thin = rate < R.thin;
  Object.assign(R, {
    voice, audio, video,
    clock: heard ? audio : video,
    // Seconds of voice to have ahead. Half a minute rides out a tunnel, four minutes most of an outage.
    ahead: 240,
    // Most bytes in one request: enough that round trips do not matter, little enough to lose.
    chunk: 65536,
    // Bits a second that arrived lately; 0: not known.
    bps: 0,
    started: false,
    // Where it is to go on when the clock can be set; null: it was set.
    pending: from,
    // Gives bytes that are kept on the device, from and up to; set by the rest of the script.
    local: null,
    // Hears what goes wrong ("lost", "refused") and that it goes on ("").
    tell() {},
    more,
  });
  R.clock.addEventListener("loadedmetadata", () => {
    if (R.pending) R.clock.currentTime = R.pending;
    R.pending = null;
  });

  // Pieces of the voice that have come whole, and who waits for the next; after them it is told where segments lie.
  let came = 0;
  let next = () => {};
  // A page that was cut short ends without a word: the learner is offered to ask for it again.
  // Stopped first: what still hangs would be taken for the answer, and waited for.
  const reload = () => (window.stop(), location.reload());
  const cut = () => {
    R.start = reload;
    play.hidden = false;
  };
  let late = setTimeout(cut, 30000);
  const { come } = R;
  R.come = () => {
    come();
    clearTimeout(late);
    if (R.start === reload) R.start = begin;
    if (R.about) return;
    late = setTimeout(cut, 30000);
    const rest = $("rest");
    if (rest) Object.assign(voice, JSON.parse(rest.textContent));
    else came += 1;
    next();
  };

  function more() {
    if (R.asked || (R.late = !R.about)) return;
    R.asked = true;
    const script = document.createElement("script");
    script.src = data.app;
    script.onerror = () => {
      script.remove();
      R.asked = false;
      setTimeout(more, 5000);
    };
    document.head.append(script);
  }

  // A thin link brings the voice first: the slide is asked for when what follows the page's is there.
  let fed;
  const show = () => (fed || !(thin && R.have)) && R.show();
  const enough = () => {
    if (fed) return;
    fed = true;
    if (!R.thrifty || R.started) R.show();
  };

  function feed() {
    const { hz, first } = voice;
    const offsets = [first];
    const starts = [0];
    let last = 0;
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const head = bytes(voice.head);
    const source = new MediaSource();
    const wait = (ms) => new Promise((done) => {
      const timer = setTimeout(done, ms);
      R.retry = () => (clearTimeout(timer), done());
    });
    let buffer;
    // The file's next byte to append.
    let at = first;
    let running = false;
    let moved = false;
    let stop;
    let tries = 0;
    const segment = () => {
      let i = 0;
      while (i < last && offsets[i + 1] <= at) i += 1;
      return i;
    };
    // The segment in which what is buffered from the clock on ends.
    const place = () => {
      let end = audio.currentTime;
      for (let i = 0, b = audio.buffered; i < b.length; i += 1) if (b.start(i) - 0.3 <= end && b.end(i) > end) end = b.end(i);
      let i = 0;
      while (i < last && starts[i + 1] <= end + 0.05) i += 1;
      return i;
    };
    const change = (act) => new Promise((done, failed) => {
      buffer.onupdateend = done;
      buffer.onerror = failed;
      act();
    });
    const append = async (part) => {
      for (;;) {
        try {
          return await change(() => buffer.appendBuffer(part));
        } catch (e) {
          if (e.name !== "QuotaExceededError") throw e;
          if (audio.currentTime > 60) await change(() => buffer.remove(0, audio.currentTime - 30));
          await wait(2000);
        }
      }
    };
    async function fetched(to) {
      const kept = R.local && (await R.local(at, to));
      if (kept) {
        await append(kept);
        at += kept.length;
        return;
      }
      stop = new AbortController();
      let quiet;
      // A radio that wakes up may be silent for 20 s.
      const patience = () => {
        clearTimeout(quiet);
        quiet = setTimeout(() => stop.abort(), 30000);
      };
      patience();
      const begun = performance.now();
      const before = at;
      try {
        const answer = await fetch(voice.uri, { headers: { Range: `bytes=${at}-${to - 1}` }, signal: stop.signal });
        if (!answer.ok) throw answer.status;
        const says = (name) => answer.headers.get(name);
        const whole = answer.status === 200;
        // A café's sign-in page answers everything, and so may a server that knows no ranges.
        if (whole ? /html/.test(says("Content-Type")) || (!says("Content-Encoding") && says("Content-Length") && says("Content-Length") < to) : !`${says("Content-Range")}`.startsWith(`bytes ${at}-`)) throw Error("another file");
        let skip = whole ? at : 0;
        const reader = answer.body.getReader();
        while (at < to && !moved) {
          const { done, value } = await reader.read();
          if (done) break;
          patience();
          const part = value.subarray(skip, skip + to - at);
          skip = Math.max(0, skip - value.length);
          if (part.length) await append(part);
          at += part.length;
          if (part.length && tries) R.tell((tries = 0) || "");
        }
        if (at === before && !moved) throw Error("nothing");
      } finally {
        clearTimeout(quiet);
        if (at < to) stop.abort();
        const seconds = (performance.now() - begun) / 1000;
        const bps = (8 * (at - before)) / seconds;
        if (at - before > 8000) R.bps = R.bps ? 0.6 * R.bps + 0.4 * bps : bps;
      }
    }
    R.pump = async () => {
      if (running || !buffer || R.pending) return;
      running = true;
      try {
        await pumping();
      } finally {
        running = false;
        enough();
      }
    };
    async function pumping() {
      for (;;) {
        // What cannot be appended is not asked for again.
        if (audio.error || source.readyState === "closed") return R.tell("refused");
        let k = segment();
        const i = place();
        if (moved) {
          moved = false;
          if (at < offsets[i] || at > offsets[Math.min(i + 1, last)]) {
            // Closed by its end: the next append opens it again.
            if (source.readyState === "open") buffer.abort();
            at = offsets[i];
          }
        } else if (at === offsets[k] && i > k) at = offsets[i];
        k = segment();
        if (k >= last) {
          if (source.readyState === "open") source.endOfStream();
          break;
        }
        // Kept on the device: the rest of the script knows where.
        if (memory.kept && !R.local) break;
        const left = starts[k] - audio.currentTime;
        // While the first slide comes the voice has what it needs, and no more: on a thin link enough to outlast the slide.
        const first = !(R.seen && R.started);
        if (left > R.ahead || (left > (thin ? 12 : 5) && first)) break;
        let to = k + 1;
        while (to < last && offsets[to + 1] - at <= (first ? R.chunk / 8 : R.chunk) && starts[to] - audio.currentTime < R.ahead) to += 1;
        try {
          await fetched(offsets[to]);
          enough();
        } catch (e) {
          if (moved || audio.error) continue;
          tries += 1;
          R.tell(typeof e === "number" ? "refused" : "lost");
          await wait(Math.min(16000, 500 * 2 ** tries));
        }
      }
    }
    R.have = () => starts[segment()];
    R.fetched = () => at;
    audio.addEventListener("seeking", () => {
      const i = place();
      if (at >= offsets[i] && at <= offsets[Math.min(i + 1, last)]) return R.pump();
      moved = true;
      if (stop) stop.abort();
      if (R.retry) R.retry();
      R.pump();
    });
    audio.addEventListener("timeupdate", () => R.pump());
    addEventListener("online", () => R.retry && R.retry());
    source.addEventListener("sourceopen", async () => {
      // Until these are in, nothing else is appended.
      running = true;
      try {
        source.duration = data.duration;
        buffer = source.addSourceBuffer(voice.type);
        for (const part of [bytes(voice.init), head]) await change(() => buffer.appendBuffer(part));
        at = first + head.length;
        const pieces = document.getElementsByClassName("voice");
        for (let n = 0; n < came || !voice.sizes; ) {
          if (n < came) {
            const piece = bytes(pieces[n++].textContent);
            await change(() => buffer.appendBuffer(piece));
            at += piece.length;
          } else await new Promise((done) => (next = done));
        }
        voice.sizes.forEach((n, i) => {
          offsets.push(offsets[i] + n);
          starts.push(starts[i] + voice.ticks[i] / hz);
        });
        last = voice.sizes.length;
      } catch (e) {
        // It promised more than it does.
        R.have = R.fetched = 0;
        R.pending = R.pending ?? audio.currentTime;
        return plain();
      }
      running = false;
      R.pump();
      offer();
      if (!thin) enough();
    }, { once: true });
    audio.src = URL.createObjectURL(source);
  }

  // On a thin link the tap is offered when all of the voice in the page is there: else it would begin, and stop again.
  const offer = () => (play.hidden = R.started);
  // As the browser does it by itself.
  function plain() {
    offer();
    if (!voice.native) return;
    audio.preload = "none";
    audio.src = voice.native[audio.canPlayType("application/vnd.apple.mpegurl") ? 0 : 1];
    if (R.started) R.start();
  }
  if (voice.uri && window.MediaSource && MediaSource.isTypeSupported(voice.type)) feed();
  else if (heard) plain();
  const begin = () => {
    R.started = true;
    play.hidden = true;
    R.pump();
    show();
    if (!heard) return more();
    // Refused if the tap is forgotten: then the learner taps again.
    const playing = audio.play();
    if (playing) playing.catch(() => (play.hidden = !audio.paused));
  };
  R.start = begin;
  play.onclick = () => R.start();
  if (!(thin && R.have)) offer();
  if (R.thrifty || R.seen) more();
  if (!R.thrifty) show();
  setTimeout(more, 10000);
})();
