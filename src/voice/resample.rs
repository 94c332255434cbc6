//! Windowed-sinc resampling by an exact fraction. GStreamer's own resampler hides timestamp errors of up to an eighth of
//! a second, so decoded sound is placed by its own timestamps here, and only then leaves its rate.

/// Zero crossings of the kernel to each side: a transition band of about a tenth of the lower rate, images below -80 dB.
const CROSSINGS: usize = 24;
/// Kaiser window: side lobes near -90 dB.
const BETA: f64 = 9.0;
/// The -6 dB point as a share of the lower Nyquist frequency.
const CUTOFF: f64 = 0.92;
/// Odd rates (not a multiple of 25 Hz) would need tens of thousands of phases; these many are -66 dB at worst.
const MAX_PHASES: u64 = 2048;

/// Converts frames of `C` samples. Output frame 0 lies exactly on input frame 0; [`Resampler::flush`] gives the tail.
pub struct Resampler<const C: usize> {
    /// Input frames per output frame: `up` output frames take `down` input frames.
    up: u64,
    down: u64,
    phases: u64,
    half: usize,
    /// `phases` rows of `2 * half` taps.
    table: Vec<f32>,
    /// Input kept, the first of it `base` frames after input frame 0.
    kept: Vec<[f32; C]>,
    base: i64,
    /// Input frames taken, output frames given.
    fed: u64,
    given: u64,
}

impl<const C: usize> Resampler<C> {
    /// Rates in Hz; zero is taken as 1.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        let (from, to) = (from_hz.max(1) as u64, to_hz.max(1) as u64);
        let common = gcd(from, to);
        let (up, down) = (to / common, from / common);
        let phases = up.min(MAX_PHASES);
        // Below the input rate the kernel widens, so that it also keeps what would alias out.
        let scale = (to as f64 / from as f64).min(1.0) * CUTOFF;
        // To whole vectors of eight taps.
        let half = if up == down { 0 } else { ((CROSSINGS as f64 / scale).ceil() as usize).next_multiple_of(4) };
        let mut table = Vec::with_capacity(phases as usize * half * 2);
        for phase in 0..phases {
            let at = phase as f64 / phases as f64;
            let row: Vec<f64> = (0..2 * half).map(|i| kernel((i as f64 - half as f64 + 1.0) - at, scale, half as f64)).collect();
            // Every phase passes DC alike, or a constant would come out with a whistle.
            let sum: f64 = row.iter().sum();
            table.extend(row.iter().map(|v| (v / sum) as f32));
        }
        Resampler { up, down, phases, half, table, kept: vec![[0.0; C]; half], base: -(half as i64), fed: 0, given: 0 }
    }

    /// How far the next output frame lies before (negative) or after the next input frame, in input frames.
    pub fn lead(&self) -> f64 {
        self.given as f64 * self.down as f64 / self.up as f64 - self.fed as f64
    }

    /// Takes frames, appends what can be given already.
    pub fn push(&mut self, frames: &[[f32; C]], out: &mut Vec<[f32; C]>) {
        self.fed += frames.len() as u64;
        if self.half == 0 {
            self.given += frames.len() as u64;
            return out.extend_from_slice(frames);
        }
        self.kept.extend_from_slice(frames);
        self.give(u64::MAX, out);
    }

    /// Appends the tail. The resampler then stands at the end of its input; make a new one to go on.
    pub fn flush(&mut self, out: &mut Vec<[f32; C]>) {
        if self.half > 0 {
            self.kept.extend(std::iter::repeat_n([0.0; C], self.half));
            self.give((self.fed * self.up).div_ceil(self.down), out);
        }
    }

    fn give(&mut self, until: u64, out: &mut Vec<[f32; C]>) {
        while self.given < until {
            let at = self.given * self.down;
            let (whole, part) = ((at / self.up) as i64, at % self.up);
            let first = (whole - self.half as i64 + 1 - self.base) as usize;
            let Some(frames) = self.kept.get(first..first + 2 * self.half) else { break };
            let phase = (part * self.phases / self.up) as usize;
            let row = &self.table[phase * 2 * self.half..][..2 * self.half];
            out.push(dot(row, frames));
            self.given += 1;
        }
        let next = (self.given * self.down / self.up) as i64 - self.half as i64 + 1;
        let spent = (next - self.base).clamp(0, self.kept.len() as i64) as usize;
        // Moving the rest down is worth it only once in a while.
        if spent > 8192 || spent == self.kept.len() {
            self.kept.drain(..spent);
            self.base += spent as i64;
        }
    }
}

impl Resampler<1> {
    /// Goes on with two channels that have been alike so far: the same as if there had been two from the start.
    pub fn widen(self) -> Resampler<2> {
        let Resampler { up, down, phases, half, table, kept, base, fed, given } = self;
        let kept = kept.into_iter().map(|[x]| [x, x]).collect();
        Resampler { up, down, phases, half, table, kept, base, fed, given }
    }
}

/// Eight sums side by side, which the compiler turns into vectors; both slices are as long, a multiple of eight.
fn dot<const C: usize>(row: &[f32], frames: &[[f32; C]]) -> [f32; C] {
    let mut lanes = [[0.0f32; 8]; C];
    for (taps, frames) in row.as_chunks::<8>().0.iter().zip(frames.as_chunks::<8>().0) {
        for (c, lane) in lanes.iter_mut().enumerate() {
            #[allow(clippy::needless_range_loop, reason = "three arrays side by side")]
            for k in 0..8 {
                lane[k] += taps[k] * frames[k][c];
            }
        }
    }
    lanes.map(|lane| lane.iter().sum())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A sinc of the given bandwidth (1 is Nyquist) under a Kaiser window that ends at `half`.
fn kernel(x: f64, scale: f64, half: f64) -> f64 {
    let t = x / half;
    if t.abs() >= 1.0 {
        return 0.0;
    }
    let angle = std::f64::consts::PI * x * scale;
    let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
    sinc * bessel_i0(BETA * (1.0 - t * t).sqrt()) / bessel_i0(BETA)
}

fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / k as f64).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(from: u32, to: u32, frames: &[[f32; 1]], block: usize) -> Vec<f32> {
        let (mut r, mut out) = (Resampler::new(from, to), Vec::new());
        frames.chunks(block).for_each(|c| r.push(c, &mut out));
        r.flush(&mut out);
        out.iter().map(|f| f[0]).collect()
    }

    fn sine(rate: u32, hz: f64, n: usize) -> Vec<[f32; 1]> {
        (0..n).map(|i| [(std::f64::consts::TAU * hz * i as f64 / rate as f64).sin() as f32]).collect()
    }

    /// A tone keeps its place, its level and its purity at every rate that recorders use.
    #[test]
    fn a_tone_stays_where_it_was() {
        for from in [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000, 12345] {
            let out = resample(from, 48_000, &sine(from, 1000.0, from as usize), 777);
            assert_eq!(out.len(), 48_000, "{from}");
            let want = sine(48_000, 1000.0, 48_000);
            let worst = out.iter().zip(&want).skip(4000).take(40_000).map(|(a, b)| (a - b[0]).abs()).fold(0.0, f32::max);
            assert!(worst < if from == 12345 { 2e-3 } else { 2e-4 }, "{from}: {worst}");
        }
    }

    /// What the lower rate cannot hold is gone, not folded down.
    #[test]
    fn nothing_aliases() {
        let out = resample(48_000, 24_000, &sine(48_000, 15_000.0, 48_000), 480);
        let rms = (out[1000..23_000].iter().map(|x| x * x).sum::<f32>() / 22_000.0).sqrt();
        assert!(rms < 1e-4, "{rms}");
    }

    /// Channels that part late come out as if they had always been two.
    #[test]
    fn one_channel_becomes_two_without_a_seam() {
        let mut noise = super::super::testing::noise(4);
        let frames: Vec<[f32; 2]> =
            (0..5000).map(|i| (noise(), noise(), i)).map(|(x, y, i)| if i < 2000 { [x, x] } else { [x, y] }).collect();
        for (from, to) in [(44_100, 48_000), (48_000, 48_000), (16_000, 48_000)] {
            let (mut two, mut want) = (Resampler::<2>::new(from, to), Vec::new());
            two.push(&frames, &mut want);
            two.flush(&mut want);
            let (mut one, mut head) = (Resampler::<1>::new(from, to), Vec::new());
            one.push(&frames[..2000].iter().map(|f| [f[0]]).collect::<Vec<_>>(), &mut head);
            let mut got: Vec<[f32; 2]> = head.iter().map(|[x]| [*x, *x]).collect();
            let mut two = one.widen();
            two.push(&frames[2000..], &mut got);
            two.flush(&mut got);
            assert!(got == want, "{from} to {to}");
        }
    }

    /// The size of the blocks does not change a bit of the result.
    #[test]
    fn blocks_do_not_matter() {
        let x = sine(44_100, 440.0, 30_000);
        assert_eq!(resample(44_100, 48_000, &x, 1), resample(44_100, 48_000, &x, 30_000));
    }
}
