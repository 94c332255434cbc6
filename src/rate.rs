//! Peak and average bit rate as HLS means them, once: playlists are written from these, and the checker measures with these,
//! so that the two never disagree about a run that is exactly half a target duration or one and a half.

/// What a segment costs and lasts. Time is in whole microseconds because that is what EXTINF holds: a player and the checker
/// see no more than that, so the rates are of what they see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub bytes: u64,
    pub micros: u64,
}

/// Room at both ends of a run's length, in microseconds: EXTINF of other people's playlists has three decimals at worst, and
/// nine segments of 0.333 s are meant to be a run of 3 s.
const SLACK_MICROS: u64 = 100;

/// `ticks` of a track in microseconds, rounded as EXTINF is.
pub fn micros(ticks: u64, timescale: u32) -> u64 {
    let scale = u128::from(timescale.max(1));
    ((u128::from(ticks) * 1_000_000 + scale / 2) / scale) as u64
}

/// Which rungs, given as (peak, average) from the lowest on, cost as much as the next above that stays: they show less for the same money,
/// and would break hls.js's order of levels (height, frame rate, rate: all must rise together). Such rungs go; each with that next one.
pub fn dearer_than_above(rungs: &[(u64, u64)]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut above = rungs.len().saturating_sub(1);
    for below in (0..above).rev() {
        match rungs[below].0 >= rungs[above].0 || rungs[below].1 >= rungs[above].1 {
            true => out.push((below, above)),
            false => above = below,
        }
    }
    out
}

/// What is said of such a rung: names and averages.
pub fn left_out((below, costs): (&str, u64), (above, its): (&str, u64)) -> String {
    format!("{below} left out: it would cost {} kbit/s, {above} costs {}", costs / 1000, its / 1000)
}

/// "Peak segment bit rate" (RFC 8216bis, EXT-X-STREAM-INF's BANDWIDTH): the largest rate, bit/s, of any run of segments that
/// lasts 0.5 to 1.5 target durations. Where no run has such a length (a lecture shorter than half a target), that of the whole.
pub fn peak_bps(pieces: &[Piece], target_s: u64) -> f64 {
    let half = target_s.saturating_mul(500_000);
    let (least, most) = (half.saturating_sub(SLACK_MICROS).max(1), half.saturating_mul(3).saturating_add(SLACK_MICROS));
    let mut peak = None::<f64>;
    for from in 0..pieces.len() {
        let (mut bytes, mut micros) = (0u64, 0u64);
        for piece in &pieces[from..] {
            bytes = bytes.saturating_add(piece.bytes);
            micros = micros.saturating_add(piece.micros);
            if micros > most {
                break;
            }
            if micros >= least {
                peak = Some(peak.unwrap_or(0.0).max(bps(bytes, micros)));
            }
        }
    }
    peak.unwrap_or_else(|| average_bps(pieces))
}

/// All bits by all seconds, bit/s; 0 where there are none.
pub fn average_bps(pieces: &[Piece]) -> f64 {
    let sum = |of: fn(&Piece) -> u64| pieces.iter().map(of).fold(0, u64::saturating_add);
    bps(sum(|p| p.bytes), sum(|p| p.micros))
}

fn bps(bytes: u64, micros: u64) -> f64 {
    if micros > 0 { bytes as f64 * 8e6 / micros as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_that_are_dearer_than_the_next_that_stays_go() {
        assert_eq!(dearer_than_above(&[(46, 33), (46, 35), (105, 77)]), [(0, 1)]);
        assert_eq!(dearer_than_above(&[(40, 33), (46, 35), (105, 77)]), []);
        // Two in a row are held against the same one.
        assert_eq!(dearer_than_above(&[(30, 36), (50, 34), (45, 35)]), [(1, 2), (0, 2)]);
        assert_eq!(dearer_than_above(&[]), []);
    }

    fn pieces(list: &[(u64, f64)]) -> Vec<Piece> {
        list.iter().map(|(bytes, s)| Piece { bytes: *bytes, micros: (s * 1e6) as u64 }).collect()
    }

    #[test]
    fn a_short_dense_tail_counts_only_with_its_neighbours() {
        // 6 s target: a segment of 1 s alone is too short to be a peak; with the one before it is 7 s.
        assert_eq!(peak_bps(&pieces(&[(6_000, 6.0), (10_000, 1.0), (6_000, 6.0)]), 6), 16_000.0 * 8.0 / 7.0);
        assert_eq!(average_bps(&pieces(&[(6_000, 6.0), (10_000, 1.0), (6_000, 6.0)])), 22_000.0 * 8.0 / 13.0);
    }

    #[test]
    fn a_run_of_exactly_half_or_one_and_a_half_targets_counts() {
        assert_eq!(peak_bps(&pieces(&[(30, 3.0), (60, 6.0)]), 6), 80.0);
        assert_eq!(peak_bps(&pieces(&[(90, 9.0), (6, 6.0)]), 6), 80.0);
        assert_eq!(peak_bps(&pieces(&[(90, 9.001), (6, 6.0)]), 6), 8.0);
        // Thirds of a second as ticks: nine of them are half a target, whatever each was rounded to.
        let third = Piece { bytes: 1, micros: micros(30_000, 90_000) };
        assert_eq!(peak_bps(&[vec![third; 9], vec![Piece { bytes: 0, micros: 9_000_000 }]].concat(), 6).round(), 24.0);
    }

    #[test]
    fn a_lecture_shorter_than_half_a_target_has_its_own_rate_as_peak() {
        assert_eq!((peak_bps(&pieces(&[(1_000, 2.0)]), 6), peak_bps(&[], 6)), (4_000.0, 0.0));
        assert_eq!(peak_bps(&[Piece { bytes: u64::MAX, micros: u64::MAX }; 3], u64::MAX), 8e6);
    }

    #[test]
    fn ticks_round_to_the_nearest_microsecond() {
        assert_eq!((micros(540_000, 90_000), micros(1, 90_000), micros(2, 3), micros(1, 0)), (6_000_000, 11, 666_667, 1_000_000));
    }
}
