// Plays one lecture. Nothing is fetched before the learner taps play: not the player, not a playlist, not a byte of
// media. Then hls.js where the browser has Media Source Extensions, the browser's own HLS elsewhere (iPhone).
(function () {
  "use strict";
  var box = document.getElementById("player");
  if (!box) return;
  var video = document.getElementById("video");
  var button = document.getElementById("play");
  var note = document.getElementById("note");
  var words = box.dataset;
  var MEMORY = "rivulet.bps";

  // Bits a second that this link gave last time. 150 kbit/s before we know: hls.js would assume 500, and an EDGE link
  // that believes it stalls at once. A lucky cached burst must not promise more than 5 Mbit/s next time.
  function remembered() {
    var bps = 0;
    try {
      bps = Number(localStorage.getItem(MEMORY));
    } catch (e) {
      /* storage may be forbidden; then every visit is the first */
    }
    return bps > 0 ? Math.min(5e6, Math.max(3e4, bps)) : 150e3;
  }
  function remember(bps) {
    try {
      if (bps > 0) localStorage.setItem(MEMORY, String(Math.round(bps)));
    } catch (e) {
      /* as above */
    }
  }

  function say(text, retry) {
    note.textContent = text || "";
    note.hidden = !text;
    note.className = retry ? "note retry" : "note";
    note.onclick = retry || null;
  }

  // hls.js gives up at once where a request fails without a status, taking it for a refusal by CORS. On a lossy link that
  // is a connection that broke.
  function unlessRefused(policy, count, late, answer, retry) {
    return retry || (count < policy.maxNumRetry && !!answer && answer.code === 0);
  }

  function patient(firstByteMs, totalMs, retries) {
    return {
      default: {
        maxTimeToFirstByteMs: firstByteMs,
        maxLoadTimeMs: totalMs,
        timeoutRetry: { maxNumRetry: retries, retryDelayMs: 500, maxRetryDelayMs: 4000 },
        errorRetry: { maxNumRetry: retries, retryDelayMs: 1000, maxRetryDelayMs: 16000, shouldRetry: unlessRefused },
      },
    };
  }

  function config() {
    return {
      // The lowest rung first: sound soon, then better.
      startLevel: 0,
      abrEwmaDefaultEstimate: remembered(),
      // The test fragment is thrown away; on a thin link that is seconds and money.
      testBandwidth: false,
      // Two minutes ahead ride out most outages of the measured 3G traces; more is wasted when the learner leaves.
      maxBufferLength: 120,
      maxMaxBufferLength: 120,
      // Small phones have little memory.
      backBufferLength: 60,
      lowLatencyMode: false,
      // CMAF needs no remuxing, so a worker would only parse the player a second time.
      enableWorker: false,
      // A slide must stay readable when the player is small: zooming in is the learner's right.
      capLevelToPlayerSize: false,
      maxStarvationDelay: 8,
      maxLoadingDelay: 8,
      // A radio that wakes up or stalls takes longer than the 10 s that hls.js gives a first byte.
      // At the start a learner waits for an answer and may tap again; later, what is buffered plays while we try for two minutes.
      manifestLoadPolicy: patient(30e3, 60e3, 3),
      playlistLoadPolicy: patient(30e3, 60e3, 6),
      fragLoadPolicy: patient(30e3, 240e3, 10),
    };
  }

  function withHls(Hls) {
    var hls = new Hls(config());
    var repairs = 0;
    // For the browser's console and for our tests; no page code reads it.
    window.rivulet = { hls: hls };
    hls.on(Hls.Events.FRAG_BUFFERED, function () {
      remember(hls.bandwidthEstimate);
    });
    hls.on(Hls.Events.ERROR, function (_, data) {
      if (!data.fatal) return;
      if (data.type === Hls.ErrorTypes.NETWORK_ERROR) {
        var again = function () {
          window.removeEventListener("online", again);
          say("");
          if (hls.levels.length) hls.startLoad(video.currentTime);
          else hls.loadSource(words.src);
        };
        window.addEventListener("online", again);
        say(words.offline, again);
      } else if (data.type === Hls.ErrorTypes.MEDIA_ERROR && repairs < 3) {
        repairs += 1;
        hls.recoverMediaError();
      } else {
        hls.destroy();
        say(words.broken, function () {
          location.reload();
        });
      }
    });
    hls.loadSource(words.src);
    hls.attachMedia(video);
    begin();
  }

  function begin() {
    say("");
    button.hidden = true;
    video.hidden = false;
    video.focus();
    var playing = video.play();
    // Refused when the player took so long that the tap is forgotten: the learner taps the picture's own button.
    if (playing) playing.catch(function () {});
  }

  function load() {
    button.disabled = true;
    say(words.loading);
    var script = document.createElement("script");
    script.src = words.hls;
    script.onload = function () {
      if (window.Hls && window.Hls.isSupported()) withHls(window.Hls);
      else say(words.unsupported);
    };
    script.onerror = function () {
      script.remove();
      button.disabled = false;
      say(words.offline, load);
    };
    document.head.appendChild(script);
  }

  button.hidden = false;
  button.addEventListener("click", function () {
    if (window.MediaSource) {
      load();
    } else if (video.canPlayType("application/vnd.apple.mpegurl")) {
      video.src = words.src;
      video.onerror = function () {
        say(words.broken, function () {
          location.reload();
        });
      };
      begin();
    } else {
      say(words.unsupported);
    }
  });
})();
