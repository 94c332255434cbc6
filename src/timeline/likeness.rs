//! What is shown of a span in which no picture differs visibly from the first: the mean of many.
//!
//! A recorder codes a slide coarsely at first, then finer, and anew with every keyframe: two pictures of one slide are as far
//! apart as SSIMULACRA2 80, and each is as far from the slide. Their mean is nearer to all of them than any of them is, reads
//! better, and costs fewer bytes (docs/slides.md).

use serde::{Deserialize, Serialize};

/// What shows a span, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likeness {
    /// Stream time of the picture; of a mean that of the one in the middle.
    pub ns: u64,
    /// Stream times of the pictures whose mean it is, rising; none: it is the one picture.
    pub of: Vec<u64>,
}

/// A picture that can be added to others. Times alone can: the plan chooses by them what the analysis has added.
pub trait Added {
    type Sum: Default;
    fn add(&self, sum: &mut Self::Sum);
}

impl Added for () {
    type Sum = ();
    fn add(&self, _: &mut ()) {}
}

#[derive(Debug, PartialEq)]
pub enum Chosen<T: Added> {
    One(T),
    Mean(T::Sum),
}

/// Chooses what shows a span without knowing its end: one for its first ten seconds, then one for every five.
pub struct Likenesses<T: Added> {
    from_ns: u64,
    /// Candidates to be shown alone, should the span end before there is a mean. Each is about 1.4 times as late as the one before.
    held: Vec<(u64, T)>,
    /// When the next of those is taken, after `from_ns`.
    next_ns: u64,
    /// Times and sum of the pictures of this mean.
    of: Vec<u64>,
    sum: T::Sum,
    /// When the next is added, and when the mean is complete, after `from_ns`.
    sample_ns: u64,
    until_ns: u64,
}

/// The first candidate after the span's own first picture.
const EARLIEST_NS: u64 = 250_000_000;
/// Pictures of a mean are as far apart. What comes earlier in the span is coarse.
const SAMPLE_NS: u64 = 500_000_000;
/// The first mean, and each after it.
const FIRST_NS: u64 = 10_000_000_000;
const LATER_NS: u64 = 5_000_000_000;
/// A later mean of fewer pictures would be worse than the one before.
const FEW: usize = 5;

impl<T: Added> Likenesses<T> {
    pub fn new(from_ns: u64, first: T) -> Self {
        Likenesses {
            from_ns,
            held: vec![(from_ns, first)],
            next_ns: EARLIEST_NS,
            of: Vec::new(),
            sum: T::Sum::default(),
            sample_ns: SAMPLE_NS,
            until_ns: FIRST_NS,
        }
    }

    /// Looks at the next picture of the span; gives what is chosen now.
    pub fn push(&mut self, ns: u64, picture: T) -> Option<(Likeness, Chosen<T>)> {
        let after = ns.saturating_sub(self.from_ns);
        let mut chosen = None;
        if after >= self.until_ns {
            chosen = self.close(self.from_ns + self.until_ns);
            self.until_ns = FIRST_NS + ((after - FIRST_NS) / LATER_NS + 1) * LATER_NS;
        }
        if after >= self.sample_ns {
            self.sample_ns = (after / SAMPLE_NS + 1) * SAMPLE_NS;
            self.of.push(ns);
            picture.add(&mut self.sum);
            if self.of.len() > 1 {
                self.held.clear();
            }
        }
        if !self.held.is_empty() && after >= self.next_ns {
            self.next_ns = after * 7 / 5;
            self.held.push((ns, picture));
        }
        chosen
    }

    /// The span ends here; gives what is left to choose.
    pub fn end(mut self, ns: u64) -> Option<(Likeness, Chosen<T>)> {
        self.close(ns)
    }

    fn close(&mut self, end_ns: u64) -> Option<(Likeness, Chosen<T>)> {
        let (of, sum, held) = (std::mem::take(&mut self.of), std::mem::take(&mut self.sum), std::mem::take(&mut self.held));
        let first = self.until_ns == FIRST_NS;
        if of.len() >= if first { 2 } else { FEW } {
            return Some((Likeness { ns: of[of.len() / 2], of }, Chosen::Mean(sum)));
        }
        // The candidate that is nearest to the middle of the span.
        let middle = self.from_ns + end_ns.saturating_sub(self.from_ns) / 2;
        let (ns, picture) = held.into_iter().min_by_key(|(ns, _)| ns.abs_diff(middle))?;
        Some((Likeness { ns, of: Vec::new() }, Chosen::One(picture)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    impl Added for u64 {
        type Sum = Vec<u64>;
        fn add(&self, sum: &mut Vec<u64>) {
            sum.push(*self);
        }
    }

    /// What is chosen of a span with so many pictures a second.
    fn chosen(from_ns: u64, seconds: f64, rate: u64) -> Vec<(Likeness, Chosen<u64>)> {
        let mut span = Likenesses::new(from_ns, from_ns);
        let end = from_ns + (seconds * 1e9) as u64;
        let times = (1..).map(|i| from_ns + i * SECOND / rate).take_while(|ns| *ns < end);
        let mut out: Vec<_> = times.filter_map(|ns| span.push(ns, ns)).collect();
        out.extend(span.end(end));
        for (likeness, chosen) in &out {
            match chosen {
                Chosen::One(ns) => assert!(*ns == likeness.ns && likeness.of.is_empty()),
                Chosen::Mean(sum) => assert!(*sum == likeness.of && sum.contains(&likeness.ns) && sum.is_sorted(), "{likeness:?}"),
            }
        }
        out
    }

    #[test]
    fn a_short_span_is_shown_by_the_picture_of_its_middle() {
        assert_eq!(chosen(5, 0.001, 10)[0].1, Chosen::One(5));
        let [(likeness, _)] = &chosen(3 * SECOND, 0.7, 20)[..] else { panic!() };
        assert!((3.25..3.45).contains(&(likeness.ns as f64 / 1e9)), "{likeness:?}");
        // Two pictures a second at most are added, and one of them is no mean.
        let [(likeness, Chosen::One(_))] = &chosen(0, 0.95, 30)[..] else { panic!() };
        assert!((0.4..0.6).contains(&(likeness.ns as f64 / 1e9)), "{likeness:?}");
    }

    #[test]
    fn what_stands_is_shown_by_the_mean_of_what_stood() {
        let [(one, _)] = &chosen(7 * SECOND, 10.0, 25)[..] else { panic!() };
        assert_eq!(one.of.len(), 19);
        assert_eq!((one.of[0], one.of[18]), (7_520_000_000, 16_520_000_000));
        assert!((12.0..12.6).contains(&(one.ns as f64 / 1e9)));
        let long = chosen(0, 29.0, 10);
        let spans: Vec<_> = long.iter().map(|(l, _)| (l.of[0] as f64 / 1e9, l.of[l.of.len() - 1] as f64 / 1e9, l.of.len())).collect();
        assert_eq!(spans, [(0.5, 9.5, 19), (10.0, 14.5, 10), (15.0, 19.5, 10), (20.0, 24.5, 10), (25.0, 28.5, 8)]);
        // The rest of a span is worth a mean of its own, or none.
        assert_eq!(chosen(0, 12.0, 10).len(), 1);
    }

    /// Few pictures a second: all of them, and a later span is not shown by less than what showed the one before.
    #[test]
    fn of_few_pictures_all_are_used() {
        let two = chosen(0, 20.0, 1);
        assert_eq!(two.iter().map(|(l, _)| l.of.len()).collect::<Vec<_>>(), [9, 5, 5]);
        let mut sparse = Likenesses::new(0, 0);
        let found: Vec<_> = (1..8).filter_map(|i| sparse.push(i * 4 * SECOND, 0)).map(|(l, _)| l.of).collect();
        assert_eq!(found, [vec![4 * SECOND, 8 * SECOND]]);
        assert_eq!(sparse.end(40 * SECOND), None);
    }
}
