//! What lies between a page and its server: connections over a link, and the way in which Chromium shares them out. HTTP/1.1
//! over TLS 1.3, as `serve` speaks it: one request at a time on a connection, six connections at most. Events come in order of
//! time; whoever plays asks for the next one.

use super::pipe::{Link, Pipe};
use super::tcp::{Flow, HEADERS};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Bytes of messages, as Chromium and rustls send them: what TLS needs to begin, and what a request has in headers.
const SYN: f64 = 60.0;
const HELLO_UP: u64 = 1_800;
const HELLO_DOWN: u64 = 1_000;
const FINISHED_UP: u64 = 80;
const TICKETS_DOWN: u64 = 160;
/// A TLS record, its header and tag; and how much one holds that `serve` sends.
const RECORD: u64 = 22;
const RECORD_HOLDS: u64 = crate::serve::RECORD_BYTES as u64;
/// As Chromium has it.
const CONNECTIONS: usize = 6;
/// A navigation opens two connections at once; and where none is made after this, one more. All are kept.
const AT_ONCE: usize = 2;
const SECOND_TRY_S: f64 = 0.25;
/// Linux sends a SYN again after a second, then after twice as long.
const SYN_AGAIN_S: f64 = 1.0;

pub type Request = usize;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// So many bytes of the body have arrived.
    Body { request: Request, bytes: u64, done: bool },
    /// What [`Net::wake`] was asked for.
    Wake(u32),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    SynUp(usize),
    SynDown(usize),
    SynAgain(usize, i32),
    SecondTry,
    Data(usize, Side, usize, u64),
    /// An acknowledgement for that direction's sender.
    Heard(usize, Side, usize),
    Timer(usize, Side),
    Wake(u32),
}

struct Due {
    at: f64,
    number: u64,
    step: Step,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    // The heap gives its greatest: the earliest.
    fn cmp(&self, other: &Due) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Connecting,
    Hello,
    Idle,
    Busy(Request),
    Closed,
}

struct Connection {
    state: State,
    began: f64,
    up: Flow,
    down: Flow,
    /// The sooner of a direction's timers that are under way; none where it is infinite.
    timer: [f64; 2],
    up_written: u64,
    /// In the way up: where the request ends.
    up_ends: u64,
    /// In the way down: where the answer begins and ends.
    answer: (u64, u64),
    down_written: u64,
    fresh: bool,
}

struct Asked {
    headers_up: u64,
    headers_down: u64,
    body: u64,
    told: u64,
    /// Higher goes first where requests wait for a connection.
    priority: u8,
}

/// What a request is for, in bytes; `body` as it is sent, compressed where it is text.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub headers_up: u64,
    pub headers_down: u64,
    pub body: u64,
    pub priority: u8,
}

pub struct Net {
    now: f64,
    numbers: u64,
    due: BinaryHeap<Due>,
    up: Pipe,
    down: Pipe,
    connections: Vec<Connection>,
    asked: Vec<Asked>,
    /// Requests without a connection.
    waiting: Vec<Request>,
    /// Bytes of headers and bodies that have arrived: what Chromium's developer tools count.
    received: u64,
}

impl Net {
    pub fn new(link: &Link, seed: u64) -> Net {
        let (up, down) = link.ways(seed);
        let (connections, asked, waiting) = (Vec::new(), Vec::new(), Vec::new());
        Net { now: 0.0, numbers: 0, due: BinaryHeap::new(), up, down, connections, asked, waiting, received: 0 }
    }
    pub fn now(&self) -> f64 {
        self.now
    }
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Has [`Event::Wake`] come at a time.
    pub fn wake(&mut self, at: f64, token: u32) {
        self.plan(at.max(self.now), Step::Wake(token));
    }

    pub fn ask(&mut self, ask: Ask) -> Request {
        let Ask { headers_up, headers_down, body, priority } = ask;
        self.asked.push(Asked { headers_up, headers_down, body, told: 0, priority });
        let request = self.asked.len() - 1;
        self.waiting.push(request);
        if !self.give() {
            self.connect();
        }
        request
    }

    /// Gives a request up: its connection is closed, what is under way on it arrives for nothing.
    pub fn cancel(&mut self, request: Request) {
        self.waiting.retain(|r| *r != request);
        for c in self.connections.iter_mut().filter(|c| c.state == State::Busy(request)) {
            c.state = State::Closed;
        }
    }

    /// The next thing that happens; `None` when nothing ever will.
    pub fn next(&mut self) -> Option<Event> {
        while let Some(Due { at, step, .. }) = self.due.pop() {
            self.now = at;
            let event = match step {
                Step::Wake(token) => Some(Event::Wake(token)),
                Step::SynUp(c) => {
                    self.plan_down(SYN, Step::SynDown(c));
                    None
                }
                Step::SynDown(c) => {
                    self.connected(c);
                    None
                }
                Step::SynAgain(c, times) => {
                    if self.connections[c].state == State::Connecting {
                        self.syn(c, times);
                    }
                    None
                }
                Step::SecondTry => {
                    let trying = self.connections.iter().filter(|c| matches!(c.state, State::Connecting)).count();
                    if trying > 0 && !self.waiting.is_empty() && self.open() < CONNECTIONS {
                        self.dial();
                    }
                    None
                }
                Step::Data(c, side, segment, order) => self.arrived(c, side, segment, order),
                Step::Heard(c, side, upto) => {
                    self.flow(c, side).acknowledge(at, upto);
                    self.pump(c, side);
                    None
                }
                Step::Timer(c, side) => {
                    self.timer(c, side);
                    None
                }
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn plan(&mut self, at: f64, step: Step) {
        self.numbers += 1;
        self.due.push(Due { at, number: self.numbers, step });
    }
    fn plan_up(&mut self, size: f64, step: Step) {
        if let Some(at) = self.up.offer(self.now, size) {
            self.plan(at, step);
        }
    }
    fn plan_down(&mut self, size: f64, step: Step) {
        if let Some(at) = self.down.offer(self.now, size) {
            self.plan(at, step);
        }
    }
    fn flow(&mut self, c: usize, side: Side) -> &mut Flow {
        match side {
            Side::Up => &mut self.connections[c].up,
            Side::Down => &mut self.connections[c].down,
        }
    }

    fn open(&self) -> usize {
        self.connections.iter().filter(|c| c.state != State::Closed).count()
    }

    /// One more connection, where more requests wait than are being made.
    fn connect(&mut self) {
        let making = self.connections.iter().filter(|c| matches!(c.state, State::Connecting | State::Hello)).count();
        if making < self.waiting.len() && self.open() < CONNECTIONS {
            let dials = if self.connections.is_empty() { AT_ONCE } else { 1 };
            (0..dials).for_each(|_| self.dial());
            self.plan(self.now + SECOND_TRY_S, Step::SecondTry);
        }
    }

    fn dial(&mut self) {
        self.connections.push(Connection {
            state: State::Connecting,
            began: self.now,
            up: Flow::default(),
            down: Flow::default(),
            timer: [f64::INFINITY; 2],
            up_written: 0,
            up_ends: u64::MAX,
            answer: (u64::MAX, u64::MAX),
            down_written: 0,
            fresh: true,
        });
        self.syn(self.connections.len() - 1, 0);
    }

    fn syn(&mut self, c: usize, times: i32) {
        self.plan_up(SYN, Step::SynUp(c));
        self.plan(self.now + SYN_AGAIN_S * 2f64.powi(times.min(6)), Step::SynAgain(c, times + 1));
    }

    fn connected(&mut self, c: usize) {
        let connection = &mut self.connections[c];
        if connection.state != State::Connecting {
            return;
        }
        connection.state = State::Hello;
        let rtt = self.now - connection.began;
        connection.up.measured(rtt);
        connection.down.measured(rtt);
        self.write_up(c, HELLO_UP);
    }

    fn write_up(&mut self, c: usize, bytes: u64) {
        let connection = &mut self.connections[c];
        connection.up_written += bytes;
        connection.up_ends = connection.up_written;
        connection.up.write(bytes);
        self.pump(c, Side::Up);
    }

    fn write_down(&mut self, c: usize, before: u64, answer: u64) {
        let connection = &mut self.connections[c];
        let begins = connection.down_written + before;
        connection.answer = (begins, begins + answer);
        connection.down_written = begins + answer;
        connection.down.write(before + answer);
        self.pump(c, Side::Down);
    }

    /// Sends what may go, and sets the timer.
    fn pump(&mut self, c: usize, side: Side) {
        let now = self.now;
        let closed = self.connections[c].state == State::Closed;
        let out = if closed { Vec::new() } else { self.flow(c, side).send(now) };
        self.transmit(c, side, out);
    }

    fn transmit(&mut self, c: usize, side: Side, out: Vec<(usize, u64, u32)>) {
        for (segment, order, size) in out {
            let step = Step::Data(c, side, segment, order);
            match side {
                Side::Up => self.plan_up(size as f64, step),
                Side::Down => self.plan_down(size as f64, step),
            }
        }
        self.arm(c, side);
    }

    fn arm(&mut self, c: usize, side: Side) {
        if self.connections[c].state == State::Closed {
            return;
        }
        // One timer is under way at most that is not later than needed; one that comes too early is set again.
        if let Some(at) = self.flow(c, side).deadline()
            && at < self.connections[c].timer[side as usize]
        {
            self.connections[c].timer[side as usize] = at;
            self.plan(at.max(self.now), Step::Timer(c, side));
        }
    }

    fn timer(&mut self, c: usize, side: Side) {
        let now = self.now;
        // Another, earlier one was set meanwhile.
        if self.connections[c].timer[side as usize] > now {
            return;
        }
        self.connections[c].timer[side as usize] = f64::INFINITY;
        if self.connections[c].state == State::Closed {
            return;
        }
        let out = match self.flow(c, side).deadline() {
            Some(at) if at <= now => self.flow(c, side).late(now),
            _ => Vec::new(),
        };
        self.transmit(c, side, out);
    }

    fn arrived(&mut self, c: usize, side: Side, segment: usize, order: u64) -> Option<Event> {
        let (bytes, upto) = self.flow(c, side).arrive(segment, order);
        let heard = Step::Heard(c, side, upto);
        match side {
            Side::Up => self.plan_down(HEADERS as f64, heard),
            Side::Down => self.plan_up(HEADERS as f64, heard),
        }
        match side {
            Side::Up => {
                let connection = &mut self.connections[c];
                if bytes >= connection.up_ends {
                    connection.up_ends = u64::MAX;
                    match connection.state {
                        State::Hello => self.write_down(c, HELLO_DOWN, 0),
                        State::Busy(request) => {
                            let asked = &self.asked[request];
                            let plain = asked.headers_down + asked.body;
                            let tickets = if std::mem::take(&mut self.connections[c].fresh) { TICKETS_DOWN } else { 0 };
                            self.write_down(c, tickets, plain + RECORD * plain.div_ceil(RECORD_HOLDS));
                        }
                        _ => {}
                    }
                }
                None
            }
            Side::Down => self.read(c, bytes),
        }
    }

    /// So many bytes have come down a connection, in order.
    fn read(&mut self, c: usize, bytes: u64) -> Option<Event> {
        let (begins, ends) = self.connections[c].answer;
        if bytes < begins {
            return None;
        }
        match self.connections[c].state {
            State::Hello if bytes >= ends => {
                self.connections[c].state = State::Idle;
                self.give();
                None
            }
            State::Busy(request) => {
                let done = bytes >= ends;
                let asked = &mut self.asked[request];
                // Nothing of a record can be read before all of it is there. The headers stand in the first.
                let records = (bytes - begins) / (RECORD_HOLDS + RECORD);
                let there = if done { asked.body } else { (records * RECORD_HOLDS).saturating_sub(asked.headers_down).min(asked.body) };
                if there == 0 && !done {
                    return None;
                }
                if asked.told == 0 {
                    self.received += asked.headers_down;
                }
                let fresh = there > asked.told || done;
                self.received += there.saturating_sub(asked.told);
                asked.told = there.max(asked.told);
                if done {
                    self.connections[c].state = State::Idle;
                    self.give();
                }
                fresh.then_some(Event::Body { request, bytes: there, done })
            }
            _ => None,
        }
    }

    /// Hands idle connections to requests that wait, the most urgent first. Whether none waits any more.
    fn give(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let Some(c) = self.connections.iter().position(|c| c.state == State::Idle) else { return false };
            let first = |i: &usize| (self.asked[self.waiting[*i]].priority, std::cmp::Reverse(*i));
            let Some(next) = (0..self.waiting.len()).max_by_key(first) else { return true };
            let request = self.waiting.remove(next);
            self.connections[c].state = State::Busy(request);
            // What still comes of the answer before, sent twice, is not this one's.
            self.connections[c].answer = (u64::MAX, u64::MAX);
            let finished = if self.connections[c].fresh { FINISHED_UP } else { 0 };
            self.write_up(c, finished + self.asked[request].headers_up + RECORD);
        }
        true
    }
}
