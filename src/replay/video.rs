//! Video beside the voice: when hls.js is fetched, what it loads, when the pictures step aside and come back. The rules are those
//! of `player/app/video.js`; every constant names its place there.

use super::abr::{Abr, Now};
use super::net::Request;
use super::session::{Clock, For, VOICE_AND_SLIDES, Visit, token};

/// `spare`: the voice has to be so far ahead, and to come back the link has to carry so many times the lowest rung and a voice.
const SPARE_S: f64 = 30.0;
const COME_BACK: f64 = 2.0;
const VOICE_BPS: f64 = 24e3;
/// `follow`: pictures wait while less of the voice is ahead; and go when there were none for so long.
const VOICE_FIRST_S: f64 = 8.0;
const GIVE_WAY_S: f64 = 12.0;
/// `giveWay`: how long they stay away, twice as long each time, half as long again after so much without trouble.
const AWAY_S: (f64, f64) = (15.0, 240.0);
const GOOD_S: f64 = 30.0;
const FOLLOW_S: f64 = 0.1;
const WATCH_S: f64 = 1.0;
/// `config`: a rate to begin with, within bounds; seconds and bytes to have ahead.
const BEGIN_BPS: f64 = 150e3;
const BPS: (f64, f64) = (30e3, 5e6);
const BUFFER_S: (f64, f64) = (60.0, 120.0);
const BUFFER_BYTES: f64 = 6e6;
/// A request without a first byte is made again after so long.
const PATIENCE_S: f64 = 30.0;
/// What Chromium takes to compile the library, and from a segment's last byte to its first picture.
const COMPILE_S: f64 = 0.2;
const SHOW_S: f64 = 0.15;

/// Where hls.js is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Closed,
    Script,
    Master,
    Playlist(usize),
    Idle,
    Segment { level: usize, index: usize },
}

pub(super) struct Video {
    stage: Stage,
    script: bool,
    /// What a browser has once, it has: the multivariant playlist, each rung's, and its initialization section.
    master: bool,
    abr: Abr,
    /// Bits a second that ranges of the voice brought.
    pub voice_bps: Option<f64>,
    known: Vec<bool>,
    begun: Vec<bool>,
    /// Of each segment, the rung that is there.
    there: Vec<Option<usize>>,
    next: usize,
    request: Option<Request>,
    asked_at: f64,
    first_at: Option<f64>,
    loading: bool,
    away: bool,
    until: f64,
    pause: f64,
    behind: f64,
    good: f64,
    /// Pictures are seen from then on.
    seen_from: f64,
}

impl Video {
    pub fn new(rungs: usize, segments: usize) -> Video {
        Video {
            stage: Stage::Closed,
            script: false,
            master: false,
            abr: Abr::new(BEGIN_BPS),
            voice_bps: None,
            known: vec![false; rungs],
            begun: vec![false; rungs],
            there: vec![None; segments],
            next: 0,
            request: None,
            asked_at: 0.0,
            first_at: None,
            loading: true,
            away: false,
            until: 0.0,
            pause: AWAY_S.0,
            behind: 0.0,
            good: 0.0,
            seen_from: 0.0,
        }
    }

    /// A range of the voice has come.
    pub fn heard(&mut self, bytes: u64, seconds: f64) {
        let bps = bytes as f64 * 8.0 / seconds.max(1e-3);
        if bytes > 8_000 {
            self.voice_bps = Some(self.voice_bps.map_or(bps, |before| 0.6 * before + 0.4 * bps));
        }
    }
}

impl Visit<'_> {
    /// The page's script is there, and video was chosen.
    pub(super) fn begin_video(&mut self) {
        self.watch();
        self.net.wake(self.net.now() + FOLLOW_S, token::FOLLOW);
    }

    fn voice_ahead(&self) -> f64 {
        self.have() - self.position()
    }
    fn voice_is_whole(&self) -> bool {
        self.have() >= self.lecture.duration_s() - 1.0
    }

    /// Once a second: whether the video should be there.
    pub(super) fn watch(&mut self) {
        self.net.wake(self.net.now() + WATCH_S, token::WATCH);
        let now = self.net.now();
        let spare = self.voice_ahead() > SPARE_S || self.voice_is_whole();
        let lowest = self.lecture.rungs.first().map_or(100e3, |r| r.average_bps);
        let Some(v) = &mut self.video else { return };
        let enough = !v.away || v.voice_bps.is_none_or(|bps| bps > COME_BACK * (lowest + VOICE_BPS));
        if v.stage != Stage::Closed || self.clock == Clock::Before || now < v.until || !spare || !enough || self.lecture.rungs.is_empty() {
            return;
        }
        v.stage = Stage::Script;
        match v.script {
            true => self.open(),
            false => self.fetch(self.lecture.library_bytes),
        }
    }

    fn fetch(&mut self, bytes: u64) {
        let request = self.ask(For::Video, bytes);
        let now = self.net.now();
        if let Some(v) = &mut self.video {
            (v.request, v.asked_at, v.first_at) = (Some(request), now, None);
        }
    }

    /// A new hls.js. What it remembers is the rate.
    fn open(&mut self) {
        let at = self.position();
        let segments = self.lecture.segments_s.len();
        let next = self.segment_of(at);
        let Some(v) = &mut self.video else { return };
        let begin = v.voice_bps.unwrap_or(v.abr.bps()).clamp(BPS.0, BPS.1);
        v.abr = Abr::new(begin);
        (v.next, v.loading, v.behind) = (next, true, 0.0);
        v.there = vec![None; segments];
        v.stage = if v.master { Stage::Idle } else { Stage::Master };
        match v.master {
            true => self.load_pictures(),
            false => self.fetch(self.lecture.playlist_bytes),
        }
    }

    fn segment_of(&self, at: f64) -> usize {
        self.segment_starts.partition_point(|s| *s <= at + 1e-6).saturating_sub(1).min(self.lecture.segments_s.len().saturating_sub(1))
    }

    pub(super) fn video_body(&mut self, request: Request, bytes: u64, done: bool) {
        let now = self.net.now();
        let Some(v) = self.video.as_mut().filter(|v| v.request == Some(request)) else { return };
        if bytes > 0 {
            v.first_at.get_or_insert(now);
        }
        if !done {
            return;
        }
        v.request = None;
        match v.stage {
            Stage::Script => {
                v.script = true;
                self.net.wake(now + COMPILE_S, token::COMPILED);
                return;
            }
            Stage::Master => (v.master, v.stage) = (true, Stage::Idle),
            Stage::Playlist(level) => {
                (v.known[level], v.abr.playlist_s, v.stage) = (true, now - v.asked_at, Stage::Idle);
            }
            Stage::Segment { level, index } => {
                v.abr.loaded(v.first_at.unwrap_or(now) - v.asked_at, now - v.asked_at, bytes);
                v.abr.level = level;
                v.there[index] = Some(level);
                (v.next, v.stage, v.seen_from) = (index + 1, Stage::Idle, now + SHOW_S);
            }
            Stage::Closed | Stage::Idle => return,
        }
        self.load_pictures();
    }

    pub(super) fn compiled(&mut self) {
        self.open();
    }

    /// Seconds of pictures ahead of the voice's clock; none where the clock is in a gap.
    fn pictures_ahead(&self) -> f64 {
        let Some(v) = &self.video else { return 0.0 };
        let position = self.position();
        let mut end = position;
        for i in self.segment_of(position)..self.lecture.segments_s.len() {
            if v.there[i].is_none() {
                break;
            }
            end = self.segment_starts[i + 1];
        }
        end - position
    }

    /// The next thing that hls.js fetches, where one is due.
    fn load_pictures(&mut self) {
        let (position, ahead) = (self.position(), self.pictures_ahead());
        let here = self.segment_of(position);
        let count = self.lecture.segments_s.len();
        let Some(v) = &mut self.video else { return };
        if v.stage != Stage::Idle || !v.loading || v.request.is_some() {
            return;
        }
        // The clock has gone by: the picture is sought where the voice is.
        if v.next < here {
            v.next = here;
        }
        while v.next < count && v.there[v.next].is_some() {
            v.next += 1;
        }
        if v.next >= count {
            return;
        }
        let last = v.next.saturating_sub(1);
        let segment_s = if v.known.contains(&true) { self.lecture.segments_s[last] } else { 0.0 };
        let level = match v.known.contains(&true) {
            true => v.abr.choose(&Now { rungs: &self.lecture.rungs, known: &v.known, buffer_s: ahead, segment_s }),
            false => 0,
        };
        let rung = &self.lecture.rungs[level];
        let most = (8.0 * BUFFER_BYTES / rung.peak_bps.max(1.0)).clamp(BUFFER_S.0, BUFFER_S.1);
        if ahead >= most {
            return;
        }
        let (stage, bytes) = match v.known[level] {
            false => (Stage::Playlist(level), rung.playlist_bytes),
            true => (Stage::Segment { level, index: v.next }, rung.bytes[v.next]),
        };
        let begins = v.known[level] && !std::mem::replace(&mut v.begun[level], v.known[level]);
        v.stage = stage;
        // Beside the segment, not before it.
        if begins {
            self.ask(For::Shell, rung.init_bytes);
        }
        self.fetch(bytes);
    }

    /// The rung that is seen now, or voice and slides.
    pub(super) fn way(&self) -> &str {
        let Some(v) = self.video.as_ref().filter(|v| v.stage != Stage::Closed) else { return VOICE_AND_SLIDES };
        match v.there.get(self.segment_of(self.position())).copied().flatten() {
            Some(level) if self.net.now() >= v.seen_from || self.pictures_ahead() > 1.0 => &self.lecture.rungs[level].name,
            _ => VOICE_AND_SLIDES,
        }
    }

    /// Ten times a second: pictures are held to the voice, and go where the link does not carry them.
    pub(super) fn follow(&mut self) {
        let now = self.net.now();
        self.net.wake(now + FOLLOW_S, token::FOLLOW);
        let want = self.voice_ahead() > VOICE_FIRST_S || self.voice_is_whole();
        let seen = self.way() != VOICE_AND_SLIDES;
        let playing = matches!(self.clock, Clock::Playing { .. });
        let Some(v) = &mut self.video else { return };
        if matches!(v.stage, Stage::Closed | Stage::Script) {
            return;
        }
        let silent = v.request.is_some() && v.first_at.is_none() && now - v.asked_at > PATIENCE_S;
        let stop = silent || v.loading && !want;
        if let Some(request) = v.request.take_if(|_| stop) {
            self.net.cancel(request);
            if matches!(v.stage, Stage::Segment { .. } | Stage::Playlist(_)) {
                v.stage = Stage::Idle;
            }
        }
        v.loading = want;
        if playing {
            match seen {
                true => {
                    v.away = false;
                    (v.behind, v.good) = (0.0, v.good + FOLLOW_S);
                    if v.good > GOOD_S {
                        (v.good, v.pause) = (0.0, (v.pause / 2.0).max(AWAY_S.0));
                    }
                }
                false => v.behind += FOLLOW_S,
            }
        }
        if v.behind > GIVE_WAY_S {
            return self.give_way();
        }
        let master = v.stage == Stage::Master && v.request.is_none();
        match master {
            true => self.fetch(self.lecture.playlist_bytes),
            false => self.load_pictures(),
        }
    }

    fn give_way(&mut self) {
        let now = self.net.now();
        let Some(v) = &mut self.video else { return };
        if let Some(request) = v.request.take() {
            self.net.cancel(request);
        }
        (v.stage, v.away, v.good, v.behind) = (Stage::Closed, true, 0.0, 0.0);
        v.until = now + v.pause;
        v.pause = (2.0 * v.pause).min(AWAY_S.1);
        self.found.gave_way += 1;
    }
}
