//! One direction of a TCP connection as Linux sends it: slow start from ten packets with HyStart, cubic, selective
//! acknowledgements, a probe of the tail, and time-outs that are taken back where nothing was lost. Pure: what is handed in is
//! the time and which packets came; what comes out is which to send.

/// Payload of a full packet, and what IP, TCP and its timestamps add.
pub const PAYLOAD: u32 = 1448;
pub const HEADERS: u32 = 52;
/// RFC 6928.
const FIRST_WINDOW: f64 = 10.0;
const LEAST_TIMEOUT_S: f64 = 0.2;
/// RFC 8312: what is left of the window after a loss, and how fast it grows.
const BETA: f64 = 0.7;
const CUBIC: f64 = 0.4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Flying,
    Lost,
    Delivered,
}

struct Segment {
    bytes: u32,
    state: State,
    sent_s: f64,
    /// The number of its last transmission, of all that this flow made.
    order: u64,
    again: bool,
}

/// A transmission that arrived.
struct Arrival {
    segment: usize,
    order: u64,
}

pub struct Flow {
    segments: Vec<Segment>,
    /// All below this were acknowledged, or never sent from this on.
    acknowledged: usize,
    next: usize,
    flying: usize,
    orders: u64,
    // The receiver's side.
    there: Vec<bool>,
    in_order: usize,
    in_order_bytes: u64,
    log: Vec<Arrival>,
    read: usize,
    // The window.
    window: f64,
    threshold: f64,
    recovery: usize,
    most_out: usize,
    cubic: Cubic,
    hystart: Hystart,
    // Time.
    rtt: Option<(f64, f64)>,
    least_rtt_s: f64,
    timer_from_s: f64,
    backoff: i32,
    probed: bool,
    /// Before a time-out: window, threshold, number of the next transmission.
    undo: Option<(f64, f64, u64)>,
    last_sent_s: f64,
}

#[derive(Default)]
struct Cubic {
    most: f64,
    epoch_s: Option<f64>,
    origin: f64,
    k_s: f64,
    reno: f64,
}

#[derive(Default)]
struct Hystart {
    round_ends: usize,
    samples: u32,
    rtt_s: f64,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            segments: Vec::new(),
            acknowledged: 0,
            next: 0,
            flying: 0,
            orders: 0,
            there: Vec::new(),
            in_order: 0,
            in_order_bytes: 0,
            log: Vec::new(),
            read: 0,
            window: FIRST_WINDOW,
            threshold: f64::INFINITY,
            recovery: 0,
            most_out: 0,
            cubic: Cubic::default(),
            hystart: Hystart::default(),
            rtt: None,
            least_rtt_s: f64::INFINITY,
            timer_from_s: 0.0,
            backoff: 0,
            probed: false,
            undo: None,
            last_sent_s: 0.0,
        }
    }
}

impl Flow {
    /// Puts bytes behind those that were written before.
    pub fn write(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let bytes = left.min(PAYLOAD as u64) as u32;
            self.segments.push(Segment { bytes, state: State::Waiting, sent_s: 0.0, order: 0, again: false });
            self.there.push(false);
            left -= bytes as u64;
        }
    }

    /// What may go now: number of the segment, of its transmission, and the packet's bytes.
    pub fn send(&mut self, now: f64) -> Vec<(usize, u64, u32)> {
        // After a rest the window is halved for each time-out that went by, down to the first one.
        if self.flying == 0 && self.next < self.segments.len() && self.next > 0 {
            let mut idle = now - self.last_sent_s;
            while idle > self.timeout() && self.window > FIRST_WINDOW {
                (self.window, idle) = ((self.window / 2.0).max(FIRST_WINDOW), idle - self.timeout());
                self.cubic.epoch_s = None;
            }
        }
        let mut out = Vec::new();
        let mut lost = self.acknowledged;
        while (self.flying as f64) < self.window.max(1.0).floor() {
            while lost < self.next && self.segments[lost].state != State::Lost {
                lost += 1;
            }
            let i = if lost < self.next { lost } else { self.next };
            if i >= self.segments.len() {
                break;
            }
            out.push(self.transmit(i, now));
        }
        self.most_out = self.most_out.max(self.flying);
        out
    }

    fn transmit(&mut self, i: usize, now: f64) -> (usize, u64, u32) {
        if self.flying == 0 {
            self.timer_from_s = now;
        }
        let order = self.orders;
        self.orders += 1;
        let segment = &mut self.segments[i];
        if segment.state != State::Flying {
            self.flying += 1;
        }
        segment.again = i < self.next;
        (segment.state, segment.sent_s, segment.order) = (State::Flying, now, order);
        self.next = self.next.max(i + 1);
        self.last_sent_s = now;
        (i, order, segment.bytes + HEADERS)
    }

    /// The receiver has a packet: how many bytes are there in order now, and what to acknowledge with.
    pub fn arrive(&mut self, segment: usize, order: u64) -> (u64, usize) {
        self.there[segment] = true;
        while self.there.get(self.in_order) == Some(&true) {
            self.in_order_bytes += self.segments[self.in_order].bytes as u64;
            self.in_order += 1;
        }
        self.log.push(Arrival { segment, order });
        (self.in_order_bytes, self.log.len())
    }

    /// The sender hears of all arrivals up to this one.
    pub fn acknowledge(&mut self, now: f64, upto: usize) {
        let (mut fresh, mut newest) = (0usize, None::<u64>);
        for Arrival { segment, order } in self.log[self.read..upto.max(self.read)].iter() {
            let s = &mut self.segments[*segment];
            newest = newest.max(Some(*order));
            if s.state == State::Delivered {
                continue;
            }
            if s.state == State::Flying {
                self.flying -= 1;
            }
            s.state = State::Delivered;
            fresh += 1;
            // By its timestamp an acknowledgement tells which transmission it is for.
            if s.order == *order && !s.again {
                let sample = now - s.sent_s;
                self.least_rtt_s = self.least_rtt_s.min(sample);
                self.rtt = Some(smooth(self.rtt, sample));
                self.hystart.samples += 1;
                self.hystart.rtt_s = self.hystart.rtt_s.min(sample);
            }
        }
        self.read = self.read.max(upto);
        if fresh == 0 {
            return;
        }
        while self.segments.get(self.acknowledged).is_some_and(|s| s.state == State::Delivered) {
            self.acknowledged += 1;
        }
        (self.timer_from_s, self.backoff, self.probed) = (now, 0, false);
        if let (Some((window, threshold, before)), Some(newest)) = (self.undo, newest) {
            if newest < before {
                // What came is older than the time-out: it had only been slow.
                (self.window, self.threshold, self.recovery) = (window, threshold, self.acknowledged);
            }
            self.undo = None;
        }
        self.find_lost(newest.unwrap_or(0));
        // After a time-out the window grows from one, to what is thought to be right; after a loss it waits.
        if self.acknowledged >= self.recovery || self.window < self.threshold {
            self.grow(now, fresh);
        }
        if self.acknowledged >= self.hystart.round_ends {
            self.hystart = Hystart { round_ends: self.next, samples: 0, rtt_s: f64::INFINITY };
            self.most_out = self.flying;
        }
    }

    /// What was sent before something that has arrived is lost: nothing overtakes on a link.
    fn find_lost(&mut self, newest: u64) {
        let mut lost = false;
        for s in &mut self.segments[self.acknowledged..self.next] {
            if s.state == State::Flying && s.order < newest {
                s.state = State::Lost;
                self.flying -= 1;
                lost = true;
            }
        }
        if lost && self.acknowledged >= self.recovery {
            self.shrink();
            self.window = self.threshold;
        }
    }

    fn shrink(&mut self) {
        self.recovery = self.next;
        self.cubic.most = if self.window < self.cubic.most { self.window * (2.0 - (1.0 - BETA)) / 2.0 } else { self.window };
        self.cubic.epoch_s = None;
        self.threshold = (self.window * BETA).max(2.0);
    }

    fn grow(&mut self, now: f64, fresh: usize) {
        let fresh = fresh as f64;
        if self.window < self.threshold {
            // No more than is used.
            if self.window < 2.0 * self.most_out as f64 {
                self.window = (self.window + fresh).min(self.threshold);
            }
            // HyStart: round trips that grow are a queue that fills.
            let slower = self.least_rtt_s + (self.least_rtt_s / 8.0).clamp(0.004, 0.016);
            if self.window >= 16.0 && self.hystart.samples >= 8 && self.hystart.rtt_s > slower {
                self.threshold = self.window;
            }
            return;
        }
        if (self.flying as f64) + fresh < self.window.floor() {
            return;
        }
        let began = match self.cubic.epoch_s {
            Some(began) => began,
            None => {
                let c = &mut self.cubic;
                c.k_s = if self.window < c.most { ((c.most - self.window) / CUBIC).cbrt() } else { 0.0 };
                c.origin = self.window.max(c.most);
                c.reno = self.window;
                *c.epoch_s.insert(now)
            }
        };
        let c = &mut self.cubic;
        let wanted = c.origin + CUBIC * (now - began + self.least_rtt_s - c.k_s).powi(3);
        let mut packets = if wanted > self.window { self.window / (wanted - self.window) } else { 100.0 * self.window };
        if c.most == 0.0 {
            packets = packets.min(20.0);
        }
        // Never slower than Reno would be with the same share kept.
        c.reno += fresh / (self.window * 15.0 / 8.0);
        if c.reno > self.window {
            packets = packets.min(self.window / (c.reno - self.window));
        }
        self.window += fresh / packets.max(2.0);
    }

    fn timeout(&self) -> f64 {
        let base = self.rtt.map_or(1.0, |(mean, spread)| mean + (4.0 * spread).max(LEAST_TIMEOUT_S));
        (base * 2f64.powi(self.backoff)).min(120.0)
    }

    /// When something must be done if nothing is heard until then.
    pub fn deadline(&self) -> Option<f64> {
        if self.flying == 0 {
            return None;
        }
        let probe = self.rtt.map_or(1.0, |(mean, _)| 2.0 * mean + if self.flying == 1 { LEAST_TIMEOUT_S } else { 0.002 });
        let probing = !self.probed && self.backoff == 0 && self.acknowledged >= self.recovery;
        Some(self.timer_from_s + if probing { probe.min(self.timeout()) } else { self.timeout() })
    }

    /// The deadline has passed; what to send again.
    pub fn late(&mut self, now: f64) -> Vec<(usize, u64, u32)> {
        self.timer_from_s = now;
        if !self.probed && self.backoff == 0 && self.acknowledged >= self.recovery {
            // The last packet again: its acknowledgement says what else is lost.
            self.probed = true;
            return match self.next < self.segments.len() {
                true => vec![self.transmit(self.next, now)],
                false => (self.acknowledged..self.next)
                    .rev()
                    .find(|i| self.segments[*i].state == State::Flying)
                    .map(|i| self.transmit(i, now))
                    .into_iter()
                    .collect(),
            };
        }
        if self.backoff == 0 {
            self.undo = Some((self.window, self.threshold, self.orders));
            self.shrink();
        }
        self.backoff = (self.backoff + 1).min(10);
        self.window = 1.0;
        vec![self.transmit(self.acknowledged, now)]
    }

    /// The handshake's round trip: the first that both ends know.
    pub fn measured(&mut self, rtt_s: f64) {
        self.rtt = Some(smooth(self.rtt, rtt_s));
        self.least_rtt_s = self.least_rtt_s.min(rtt_s);
    }
}

/// RFC 6298: mean and spread.
fn smooth(before: Option<(f64, f64)>, sample: f64) -> (f64, f64) {
    match before {
        None => (sample, sample / 2.0),
        Some((mean, spread)) => (0.875 * mean + 0.125 * sample, 0.75 * spread + 0.25 * (mean - sample).abs()),
    }
}
