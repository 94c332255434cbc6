//! One learner's visit: the rules of `player/first.js`, `player/loader.js` and `player/app/` over a simulated network. Whoever changes the page's
//! rules changes them here: every constant names its place.

use super::lecture::Lecture;
use super::net::{Ask, Event, Net, Request};
use super::pipe::Link;
use super::video::Video;
use super::{How, Session};
use crate::pages::media::HEAD_FIRST;
use std::collections::BTreeMap;

/// `loader.js`: the script comes after the first slide, or after so long.
const APP_LATEST_S: f64 = 10.0;
/// `first.js`: the slide is asked for before the voice has come, unless what stands above took 0.8 s from the answer's headers on;
/// those come a TLS record before the page's first bytes can be read, which is where this begins. `loader.js`: a link is thin that
/// brought the first voice slower than this, where that took long enough to say anything.
const ABOVE_S: f64 = 0.4;
const THIN_BPS: f64 = 45e3;
const TOOK_LEAST_S: f64 = 0.5;
/// `lists.js`: when the voice is so far ahead the shell is kept, looked at every two seconds: the worker, a page that did not
/// change, and the list of what the course holds.
const SHELL_AFTER_S: f64 = 60.0;
const SHELL_EVERY_S: f64 = 2.0;
const SHELL_BYTES: [u64; 3] = [1_000, 0, 300];
/// `slides.js`: on a thin link a slide is asked for when so much of the voice is ahead.
const SLIDE_AFTER_S: f64 = 8.0;
/// How often media elements tell their place.
const TICK_S: f64 = 0.25;

/// Headers, as Chromium sends and `serve` answers them.
const PAGE_UP: u64 = 700;
const PAGE_DOWN: u64 = 851;
const FILE_UP: u64 = 600;
const FILE_DOWN: u64 = 430;
/// What Chromium takes from the last byte of the loader to the first sound, tapped as soon as it can be, on an idle computer of two
/// cores; of it so much lies behind the loader's first line, and of what a slower device takes more this share before it. From a
/// slide's last byte to its picture. Measured behind the emulator (docs/replay.md).
pub const BEGIN_S: f64 = 0.65;
const TAPPED_S: f64 = 0.6;
const LOADER_SHARE: f64 = 0.6;
const LOADER_LEAST_S: f64 = 0.04;
const PAINT_S: f64 = 0.05;
/// And from the last byte of the script to its first line that fetches something.
const APP_S: f64 = 0.2;
/// A dry media element goes on when it has this much again.
const RESUME_S: f64 = 0.3;
/// A stand that is shorter is none: the clock of media moves in steps (`benches/player.mjs`).
const STALL_LEAST_S: f64 = 0.25;
/// Start-up beyond this is stall, where shares are counted.
pub const START_FREE_S: f64 = 15.0;
/// A session is given up when it lasts so many times its content, and so long at least.
const GIVE_UP_TIMES: f64 = 5.0;
const GIVE_UP_S: f64 = 1_800.0;

pub(super) const VOICE_AND_SLIDES: &str = "voice and slides";

pub(super) mod token {
    pub const BEGIN: u32 = 0;
    pub const TICK: u32 = 1;
    pub const APP: u32 = 2;
    pub const QUIET: u32 = 3;
    pub const SHELL: u32 = 4;
    pub const PAINT: u32 = 5;
    pub const RETRY: u32 = 6;
    pub const GIVE_UP: u32 = 7;
    pub const FOLLOW: u32 = 8;
    pub const WATCH: u32 = 9;
    pub const COMPILED: u32 = 10;
    pub const LOADER: u32 = 11;
    pub const APP_RUNS: u32 = 12;
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum For {
    Page,
    Slide(usize),
    App,
    Voice { from: u64 },
    Shell,
    Video,
}

/// The voice's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Clock {
    Before,
    Playing { since: f64, from: f64 },
    Dry { since: f64, at: f64 },
    Over,
}

pub(super) struct Visit<'a> {
    pub lecture: &'a Lecture,
    pub net: Net,
    pub asked: BTreeMap<Request, For>,
    /// Where segments begin, in bytes and in seconds; the end last.
    pub offsets: Vec<u64>,
    pub starts: Vec<f64>,
    pub content_s: f64,
    pub begin_s: f64,
    pub clock: Clock,
    /// The next byte of the voice.
    pub at: u64,
    pub range: Option<Request>,
    pub asked_at: f64,
    pub heard_at: f64,
    pub waits: bool,
    pub tries: i32,
    pub ticking: bool,
    pub seen: bool,
    /// When the first of the page was there, and what stands above the voice; whether the loader was, the voice behind it, and all.
    pub page_begun: Option<f64>,
    pub above: Option<f64>,
    pub loader: bool,
    pub rest: bool,
    pub page: bool,
    /// Bytes of the voice that have come in the page; whether all of them have been given to the player.
    pub in_page: u64,
    pub appended: bool,
    pub thin: bool,
    pub app: bool,
    pub app_asked: bool,
    pub app_waits: bool,
    /// Slides that are there or on their way.
    pub slides: Vec<bool>,
    pub prefetching: Option<Request>,
    /// Where the segments of pictures begin, the end last.
    pub segment_starts: Vec<f64>,
    pub video: Option<Video>,
    /// Up to where it is told what was seen.
    pub told: f64,
    pub found: Session,
}

/// Plays a lecture once over a link; `seed` chooses the packets that are lost.
pub fn play(lecture: &Lecture, link: &Link, how: &How, seed: u64) -> Session {
    let lecture = &lecture.lasting(how.seconds.unwrap_or(0.0));
    let (mut offsets, mut starts) = (vec![0], vec![0.0]);
    for (bytes, seconds) in &lecture.voice {
        offsets.push(offsets[offsets.len() - 1] + bytes);
        starts.push(starts[starts.len() - 1] + seconds);
    }
    let mut segment_starts = vec![0.0];
    for seconds in &lecture.segments_s {
        segment_starts.push(segment_starts[segment_starts.len() - 1] + seconds);
    }
    let whole = lecture.duration_s();
    let mut visit = Visit {
        lecture,
        net: Net::new(link, seed),
        asked: BTreeMap::new(),
        offsets,
        starts,
        content_s: how.seconds.unwrap_or(whole).min(whole),
        begin_s: how.device_s.unwrap_or(BEGIN_S),
        clock: Clock::Before,
        at: 0,
        range: None,
        asked_at: 0.0,
        heard_at: 0.0,
        waits: false,
        tries: 0,
        seen: lecture.slides.is_empty(),
        page_begun: None,
        above: None,
        loader: false,
        rest: false,
        page: false,
        in_page: 0,
        appended: false,
        thin: false,
        ticking: false,
        app: false,
        app_asked: false,
        app_waits: false,
        slides: vec![false; lecture.slides.len()],
        prefetching: None,
        segment_starts,
        video: how.video.then(|| Video::new(lecture.rungs.len(), lecture.segments_s.len())),
        told: 0.0,
        found: Session::default(),
    };
    visit.run();
    // One round trip to learn the server's address.
    visit.found.clone().moved(link.rtt_s())
}

impl Visit<'_> {
    fn run(&mut self) {
        self.ask(For::Page, self.lecture.page_bytes);
        self.net.wake((GIVE_UP_TIMES * self.content_s).max(GIVE_UP_S), token::GIVE_UP);
        while let Some(event) = self.net.next() {
            self.advance();
            match event {
                Event::Wake(token::GIVE_UP) => break,
                Event::Wake(token) => self.woken(token),
                Event::Body { request, bytes, done } => self.body(request, bytes, done),
            }
            self.resume();
            if self.clock == Clock::Over {
                break;
            }
        }
        if let Clock::Dry { since, .. } = self.clock {
            self.stalled(self.net.now() - since);
        }
        self.found.bytes = self.net.received();
    }

    pub(super) fn ask(&mut self, what: For, body: u64) -> Request {
        let (headers_up, headers_down) = if what == For::Page { (PAGE_UP, PAGE_DOWN) } else { (FILE_UP, FILE_DOWN) };
        let priority = match what {
            For::Page | For::Voice { .. } | For::Video => 2,
            For::Slide(_) => 1,
            For::App | For::Shell => 0,
        };
        let request = self.net.ask(Ask { headers_up, headers_down, body, priority });
        self.asked.insert(request, what);
        request
    }

    pub(super) fn position(&self) -> f64 {
        match self.clock {
            Clock::Before => 0.0,
            Clock::Playing { since, from } => from + self.net.now() - since,
            Clock::Dry { at, .. } => at,
            Clock::Over => self.content_s,
        }
    }

    /// Brings the clock to this moment: it may have run dry, or to the end, since the last event.
    fn advance(&mut self) {
        let Clock::Playing { since, from } = self.clock else { return };
        let seen = self.position().min(self.buffered()).min(self.content_s);
        if seen > self.told {
            let way = self.way().to_string();
            *self.found.rung_seconds.entry(way).or_default() += seen - self.told;
            self.told = seen;
        }
        let (position, end) = (self.position(), self.buffered());
        if position >= self.content_s && end >= self.content_s - 1e-6 {
            self.found.played_s += self.content_s - from;
            self.clock = Clock::Over;
        } else if position > end {
            self.found.played_s += end - from;
            self.clock = Clock::Dry { since: since + end - from, at: end };
        }
    }
    fn resume(&mut self) {
        let Clock::Dry { since, at } = self.clock else { return };
        let end = self.buffered();
        if end - at >= RESUME_S || end >= self.content_s - 1e-6 {
            self.stalled(self.net.now() - since);
            self.clock = Clock::Playing { since: self.net.now(), from: at };
            self.tick_later();
        }
    }
    fn stalled(&mut self, seconds: f64) {
        if seconds >= STALL_LEAST_S {
            self.found.stalls += 1;
            self.found.stall_s += seconds;
        }
    }

    fn body(&mut self, request: Request, bytes: u64, done: bool) {
        let Some(what) = self.asked.get(&request).copied() else { return };
        if what == For::Page {
            self.page(bytes);
        }
        match what {
            For::Voice { from } => {
                self.heard_at = self.net.now();
                self.at = from + bytes;
                self.tries = 0;
                if done {
                    self.range = None;
                    if !self.seen {
                        self.first();
                    }
                    let seconds = self.net.now() - self.asked_at;
                    if let Some(video) = &mut self.video {
                        video.heard(bytes, seconds);
                    }
                    self.pump();
                }
            }
            For::Video => self.video_body(request, bytes, done),
            _ if !done => {}
            For::Page => {
                self.page = true;
                if std::mem::take(&mut self.app_waits) {
                    self.more();
                }
            }
            For::Slide(i) => {
                if self.prefetching == Some(request) {
                    self.prefetching = None;
                }
                if i == 0 && self.found.slide_s.is_none() {
                    self.net.wake(self.net.now() + PAINT_S, token::PAINT);
                }
            }
            For::App => self.net.wake(self.net.now() + APP_S, token::APP_RUNS),
            For::Shell => {}
        }
    }

    fn woken(&mut self, token: u32) {
        match token {
            token::BEGIN => {
                self.found.start_s = Some(self.net.now());
                self.found.start_bytes = self.net.received();
                self.clock = Clock::Playing { since: self.net.now(), from: 0.0 };
                self.tick();
            }
            token::LOADER => {
                self.at = self.lecture.first_bytes;
                self.net.wake(self.net.now() + APP_LATEST_S, token::APP);
                match self.seen {
                    true => self.more(),
                    // On a thin link the voice is asked for first.
                    false if self.thin => {}
                    false => self.first(),
                }
                self.appended();
            }
            token::APP_RUNS => {
                self.app = true;
                self.seen = true;
                self.net.wake(self.net.now() + SHELL_EVERY_S, token::SHELL);
                if self.video.is_some() {
                    self.begin_video();
                }
            }
            token::TICK => {
                self.ticking = false;
                self.tick();
            }
            token::APP => self.more(),
            token::PAINT => {
                self.found.slide_s = Some(self.net.now());
                self.seen = true;
                self.more();
                self.pump();
            }
            token::QUIET => self.quiet(),
            token::FOLLOW => self.follow(),
            token::WATCH => self.watch(),
            token::COMPILED => self.compiled(),
            token::RETRY => {
                self.waits = false;
                self.pump();
            }
            token::SHELL => match self.have() - self.position() >= SHELL_AFTER_S || self.have() >= self.lecture.duration_s() - 1.0 {
                true => {
                    for bytes in SHELL_BYTES {
                        self.ask(For::Shell, bytes);
                    }
                }
                false => self.net.wake(self.net.now() + SHELL_EVERY_S, token::SHELL),
            },
            _ => {}
        }
    }

    /// So many bytes of the page are there.
    fn page(&mut self, bytes: u64) {
        let now = self.net.now();
        let begun = *self.page_begun.get_or_insert(now);
        if self.above.is_none() && bytes >= self.lecture.above_bytes {
            self.above = Some(now);
            if now - begun <= ABOVE_S && !self.seen {
                self.first();
            }
        }
        if !self.loader && bytes >= self.lecture.loader_bytes {
            self.loader = true;
            let took = now - self.above.unwrap_or(now);
            let came = 8.0 * (self.lecture.loader_bytes - self.lecture.above_bytes) as f64;
            self.thin = took > TOOK_LEAST_S && came / took < THIN_BPS;
            let loader = (LOADER_SHARE * (self.begin_s - TAPPED_S)).max(LOADER_LEAST_S.min(self.begin_s));
            self.net.wake(now + loader, token::LOADER);
            // On a thin link the tap is offered when all of the voice in the page is there.
            if !self.thin {
                self.net.wake(now + self.begin_s, token::BEGIN);
            }
        }
        if !self.rest {
            let (head, first) = (self.lecture.head_bytes, self.lecture.first_bytes);
            let behind = (self.lecture.rest_bytes - self.lecture.loader_bytes).max(1);
            let came = bytes.saturating_sub(self.lecture.loader_bytes).min(behind) as f64 / behind as f64;
            // A piece can be heard when all of it is there.
            let pieces = (came * (head - first) as f64 / HEAD_FIRST as f64).floor() as u64;
            self.rest = bytes >= self.lecture.rest_bytes;
            self.in_page = if self.rest { head } else { (first + pieces * HEAD_FIRST as u64).min(head) };
            self.appended();
        }
    }

    /// The voice in the page is there as far as it has come, and what plays it.
    fn appended(&mut self) {
        if self.at == 0 || self.appended {
            return;
        }
        self.at = self.in_page;
        if self.rest {
            self.appended = true;
            if self.thin {
                self.net.wake(self.net.now() + self.begin_s.min(TAPPED_S), token::BEGIN);
            }
            self.pump();
            // On a thin link when what follows is there.
            if !self.seen && (!self.thin || self.range.is_none()) {
                self.first();
            }
        }
    }

    /// The first slide, once.
    fn first(&mut self) {
        if !self.slides[0] {
            self.load(0);
        }
    }

    fn more(&mut self) {
        if !self.page {
            self.app_waits = true;
        } else if !self.app_asked {
            self.app_asked = true;
            self.ask(For::App, self.lecture.app_bytes);
        }
    }

    /// Four times a second while it plays.
    fn tick(&mut self) {
        self.pump();
        if self.app && !self.lecture.slides.is_empty() {
            let position = self.position();
            let wanted = self.lecture.slides.partition_point(|s| s.start_s <= position + 0.05).saturating_sub(1);
            let left = self.have() - position;
            let voice_first = self.thin && left < SLIDE_AFTER_S && self.segment() < self.lecture.voice.len();
            if !self.slides[wanted] && !voice_first {
                self.load(wanted);
            }
            self.prefetch(wanted);
        }
        self.tick_later();
    }

    fn tick_later(&mut self) {
        if matches!(self.clock, Clock::Playing { .. }) && !self.ticking {
            self.ticking = true;
            self.net.wake(self.net.now() + TICK_S, token::TICK);
        }
    }
}
