//! How the slides look and read at one CRF, and whether that is enough.

use super::lines::{self, Line};
use super::recode::recode;
use super::{Found, Job};
use crate::cache::Cache;
use crate::child::Reporter;
use crate::encode::ocr::Ocr;
use crate::encode::still;
use crate::error::Result;
use crate::picture::Frame;
use crate::picture::score::{Matrix, Reference, Rgb};
use crate::plan::RungPlan;
use crate::units::Area;
use std::sync::Arc;

/// The share of letters that may be misread more than in the source.
pub const MISREAD: f64 = 0.02;
/// What text-free figures score on the floor at least.
pub const FIGURES: f64 = 50.0;
/// ... and slides as a whole where nothing can be read: no Tesseract, or no text on them.
const WHOLE: f64 = 30.0;

/// One slide to be judged.
pub(super) struct Sample {
    pub(super) picture: Arc<Frame>,
    pub(super) lines: Vec<Line>,
    pub(super) figures: Vec<(Area, Reference)>,
    pub(super) whole: Option<Reference>,
}

impl Sample {
    /// Whether it is judged as a whole: nothing on it can be read, and no figure is.
    pub(super) fn is_whole(&self) -> bool {
        self.figures.is_empty() && lines::letters(&self.lines) == 0.0
    }
}

/// The slides at one CRF, an entry for each sample.
pub(super) struct Try {
    pub(super) coded: Slides,
    /// Of each line.
    pub(super) read: Vec<Vec<String>>,
    /// SSIMULACRA2 of the worst figure.
    pub(super) figures: Vec<Option<f64>>,
}

/// The slides as they are seen at one CRF.
pub(super) struct Slides {
    pub(super) crf: u32,
    pub(super) pictures: Vec<Arc<Frame>>,
    /// Of all of them.
    pub(super) bytes: u64,
}

pub(super) struct Verdict {
    pub(super) found: Found,
    /// How far the worst figure, or slide without text, is above what it has to score; below where negative.
    pub(super) above: Option<f64>,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.missing() == (0.0, 0.0)
    }

    /// What is missing of the aims: letters, as a share, and SSIMULACRA2.
    fn missing(&self) -> (f64, f64) {
        ((self.found.misread.unwrap_or(0.0) - MISREAD).max(0.0), (-self.above.unwrap_or(0.0)).max(0.0))
    }

    /// Whether it is worth its bits: less is missing of letters or figures, and of the other not more. Figures get worse
    /// where the cap binds: what the top of a slide takes is missing below.
    pub(super) fn is_better(&self, coarser: &Verdict) -> bool {
        let (mine, its) = (self.missing(), coarser.missing());
        let (letters, score) = (its.0 - mine.0, its.1 - mine.1);
        letters > -LETTERS && score > -SCORE && (letters > LETTERS || score > SCORE)
    }
}

/// Less is noise: of letters, as a share, and of SSIMULACRA2.
const LETTERS: f64 = 0.01;
const SCORE: f64 = 1.0;

/// A coding that nobody can tell from the source: CRF, and a cap that never binds, bit/s.
const NEARLY_LOSSLESS: (u32, u64) = (16, 50_000_000);

pub(super) struct Judge<'a> {
    pub(super) job: &'a Job,
    pub(super) ocr: Option<Ocr>,
    pub(super) matrix: Matrix,
}

impl Judge<'_> {
    pub(super) fn samples(&self, shown: Vec<Arc<Frame>>, cache: &Cache, reporter: &mut Reporter) -> Result<Vec<Sample>> {
        let frames: Vec<&Frame> = shown.iter().map(Arc::as_ref).collect();
        let read = match &self.ocr {
            Some(ocr) => ocr.read_all(&frames, Some(cache), &mut || reporter.alive()),
            None => frames.iter().map(|_| Ok(Vec::new())).collect(),
        };
        let mut samples = Vec::new();
        for (picture, words) in shown.into_iter().zip(read) {
            let words = words?;
            let areas = still::figure_areas(&picture, &words);
            let figures = match areas.is_empty() {
                true => Vec::new(),
                false => {
                    let source = self.rgb(&picture)?;
                    areas.into_iter().map(|a| Ok((a, Reference::new(&source.part(a)?)?))).collect::<Result<_>>()?
                }
            };
            let lines = lines::of(&words, picture.size());
            samples.push(Sample { picture, lines, figures, whole: None });
            reporter.alive();
        }
        Ok(samples)
    }

    pub(super) fn code_all(&self, crf: u32, samples: &[Sample], reporter: &mut Reporter) -> Result<Slides> {
        let mut slides = Slides { crf, pictures: Vec::new(), bytes: 0 };
        for sample in samples {
            let (picture, bytes) = self.code(&sample.picture, crf, self.job.floor.max_bps)?;
            slides.pictures.push(picture);
            slides.bytes += bytes;
            reporter.alive();
        }
        Ok(slides)
    }

    pub(super) fn try_of(&self, coded: Slides, samples: &mut [Sample], reporter: &mut Reporter) -> Result<Try> {
        let mut figures = Vec::new();
        for (sample, shown) in samples.iter().zip(&coded.pictures) {
            let mut worst = None;
            if !sample.figures.is_empty() {
                let rgb = self.rgb(shown)?;
                for (area, reference) in &sample.figures {
                    let score = reference.score(&rgb.part(*area)?)?;
                    worst = Some(worst.map_or(score, |w: f64| w.min(score)));
                }
            }
            figures.push(worst);
            reporter.alive();
        }
        let read = self.read(samples, &coded.pictures, reporter)?;
        self.prove(samples, &read, reporter)?;
        for sample in samples.iter_mut().filter(|s| s.is_whole() && s.whole.is_none()) {
            sample.whole = Some(Reference::new(&self.rgb(&sample.picture)?)?);
        }
        Ok(Try { coded, read, figures })
    }

    /// By what is known of the lines now.
    pub(super) fn verdict(&self, of: &Try, samples: &[Sample]) -> Result<Verdict> {
        let worst = |a: Option<f64>, b: f64| Some(a.map_or(b, |a| a.min(b)));
        let mut verdict =
            Verdict { found: Found { crf: of.coded.crf, misread: None, figure_score: None, samples: samples.len() }, above: None };
        for (i, sample) in samples.iter().enumerate() {
            if let Some(rate) = lines::misread(&sample.lines, &of.read[i]) {
                verdict.found.misread = Some(verdict.found.misread.map_or(rate, |m| m.max(rate)));
            }
            if let Some(score) = of.figures[i] {
                verdict.found.figure_score = worst(verdict.found.figure_score, score);
                verdict.above = worst(verdict.above, score - FIGURES);
            }
            if let Some(whole) = sample.whole.as_ref().filter(|_| sample.is_whole()) {
                verdict.above = worst(verdict.above, whole.score(&self.rgb(&of.coded.pictures[i])?)? - WHOLE);
            }
        }
        Ok(verdict)
    }

    /// What the lines of each sample say in these pictures of them.
    fn read(&self, samples: &[Sample], pictures: &[Arc<Frame>], reporter: &mut Reporter) -> Result<Vec<Vec<String>>> {
        let Some(ocr) = &self.ocr else { return Ok(vec![Vec::new(); samples.len()]) };
        let asked: Vec<(&Frame, Area)> =
            samples.iter().zip(pictures).flat_map(|(s, p)| s.lines.iter().map(|l| (p.as_ref(), l.area))).collect();
        let mut answers = ocr.read_lines(&asked, &mut || reporter.alive())?.into_iter();
        Ok(samples.iter().map(|s| answers.by_ref().take(s.lines.len()).collect()).collect())
    }

    /// Where too much of a sample is misread, the lines that came out otherwise are read alone in the source, which is their text then,
    /// and in a coding that looks the same: what differs there is Tesseract's doing.
    fn prove(&self, samples: &mut [Sample], read: &[Vec<String>], reporter: &mut Reporter) -> Result<()> {
        let Some(ocr) = &self.ocr else { return Ok(()) };
        // Sample and line.
        let mut doubtful: Vec<(usize, usize)> = Vec::new();
        for (i, (sample, read)) in samples.iter().zip(read).enumerate() {
            if lines::misread(&sample.lines, read).is_some_and(|rate| rate > MISREAD) {
                let differs = |n: &usize| sample.lines[*n].own.is_none() && sample.lines[*n].text != read[*n];
                doubtful.extend((0..sample.lines.len()).filter(differs).map(|n| (i, n)));
            }
        }
        let mut asked: Vec<(Arc<Frame>, Area)> = Vec::new();
        let mut fine: Option<(usize, Arc<Frame>)> = None;
        for (i, n) in &doubtful {
            let same = match fine.take().filter(|(of, _)| of == i) {
                Some((_, same)) => same,
                None => self.code(&samples[*i].picture, NEARLY_LOSSLESS.0, NEARLY_LOSSLESS.1)?.0,
            };
            let area = samples[*i].lines[*n].area;
            asked.extend([(samples[*i].picture.clone(), area), (same.clone(), area)]);
            fine = Some((*i, same));
            reporter.alive();
        }
        let asked: Vec<(&Frame, Area)> = asked.iter().map(|(picture, area)| (picture.as_ref(), *area)).collect();
        let answers = ocr.read_lines(&asked, &mut || reporter.alive())?;
        for ((i, n), answer) in doubtful.iter().zip(answers.chunks_exact(2)) {
            samples[*i].lines[*n].prove(&answer[0], &answer[1]);
        }
        Ok(())
    }

    /// How it is seen, and what it costs in bytes.
    fn code(&self, picture: &Arc<Frame>, crf: u32, max_bps: u64) -> Result<(Arc<Frame>, u64)> {
        let stills = &self.job.stills;
        let rung = RungPlan { max_bps, ..self.job.floor.clone() };
        recode(&stills.fragments, &rung, &self.job.preset, &stills.colour, picture, crf)
    }

    fn rgb(&self, picture: &Frame) -> Result<Rgb> {
        Rgb::of(&picture.view(), self.matrix, Area::whole(picture.size()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{bold, faint, job};
    use super::*;
    use crate::units::Size;

    pub(in super::super) fn verdict(misread: f64, above: f64) -> Verdict {
        Verdict { found: Found { crf: 39, misread: Some(misread), figure_score: None, samples: 1 }, above: Some(above) }
    }

    #[test]
    fn finer_is_better_where_more_is_seen_and_nothing_is_missed() {
        let better = |finer: (f64, f64), coarser: (f64, f64)| verdict(finer.0, finer.1).is_better(&verdict(coarser.0, coarser.1));
        assert!(!better((0.05, -10.0), (0.05, -10.0)));
        assert!(better((0.03, -10.0), (0.05, -10.0)) && better((0.05, -8.0), (0.05, -10.0)) && better((0.055, -8.0), (0.05, -10.0)));
        assert!(!better((0.03, -12.0), (0.05, -10.0)) && !better((0.07, -8.0), (0.05, -10.0)));
        // What is lost above the aim is not missed.
        assert!(better((0.05, 23.5), (0.30, 25.0)) && better((0.012, -5.0), (0.0, -20.0)));
        assert!(verdict(0.02, 0.0).is_good() && !verdict(0.03, 0.0).is_good() && !verdict(0.0, -1.0).is_good());
        assert!(Verdict { above: None, ..verdict(0.0, 0.0) }.is_good());
    }

    /// Two slides, of whose lines some come out otherwise. Those are asked for in the source and in a nearly lossless coding.
    #[test]
    fn a_line_that_is_not_read_alike_twice_counts_for_less() {
        crate::encode::decoder::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let job = job(&dir.path().join("job"), 39, &[&bold]);
        // What is answered to each run of the reader: file 1, file 2 and so on.
        let answer = |run: usize, texts: &[&str]| {
            let row = |(i, text): (usize, &&str)| format!("5\t{}\t1\t1\t1\t1\t0\t0\t9\t9\t90\t{text}\n", i + 1);
            std::fs::write(dir.path().join(run.to_string()), texts.iter().enumerate().map(row).collect::<String>()).unwrap();
        };
        answer(1, &["hap", "suy", "hâ", "thở"]);
        // hấp is read as hap and as hep: the source says nothing sure. hô is.
        answer(2, &["hap", "xyz", "hô", "hô"]);
        answer(3, &["hấp", "suy", "ho", "thở"]);
        let script = format!("cat >/dev/null; cd '{}'; n=$(($(cat n 2>/dev/null)+1)); echo $n >n; cat $n", dir.path().display());
        let judge = Judge { job: &job, ocr: Some(crate::encode::ocr::tests::ocr(&format!("sh|-c|{script}"))), matrix: Matrix::of("bt709") };
        let picture = Arc::new(Frame::new(Size { width: 480, height: 270 }));
        let line = |text: &str, y: u32| Line { area: Area { x: 0, y, width: 64, height: 16 }, text: text.into(), own: None };
        let sample = |lines: Vec<Line>| Sample { picture: picture.clone(), lines, figures: Vec::new(), whole: None };
        let mut samples = [sample(vec![line("hấp", 0), line("suy", 32), line("hò", 64)]), sample(vec![line("thở", 0)])];
        let mut rates = || {
            let pictures = [picture.clone(), picture.clone()];
            let read = judge.read(&samples, &pictures, &mut Reporter::of_test()).unwrap();
            judge.prove(&mut samples, &read, &mut Reporter::of_test()).unwrap();
            samples.iter().zip(&read).map(|(s, r)| lines::misread(&s.lines, r)).collect::<Vec<_>>()
        };
        // suy hô, read as suy hâ: one letter of five; what hấp is nobody knows.
        assert_eq!(rates(), [Some(0.2), Some(0.0)]);
        // What was asked is not asked again: two runs before, one now.
        assert_eq!(rates(), [Some(0.2), Some(0.0)]);
        assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap().trim(), "3");
        // A slide of which nothing is sure is judged as a whole.
        assert!(!samples[0].is_whole());
        samples[0].lines.truncate(1);
        assert!(samples[0].is_whole());
    }

    /// The floor's cap is not the nearly lossless coding's: of a slide that the floor cannot hold it is still true.
    #[test]
    fn nearly_lossless_is_near_whatever_the_floor_may_cost() {
        crate::encode::decoder::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut job = job(&dir.path().join("job"), 39, &[&faint]);
        job.floor = RungPlan { max_bps: 44_000, buffer_ms: 6000, ..job.floor };
        let judge = Judge { job: &job, ocr: None, matrix: Matrix::of("bt709") };
        let mut frame = Frame::new(Size { width: 480, height: 270 });
        let stride = frame.stride(0);
        // Noise of full contrast.
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| *p = 16 + (faint(i % stride, i / stride) - 118) * 7);
        (1..3).for_each(|i| frame.plane_mut(i).fill(128));
        let picture = Arc::new(frame);
        let distance = |(crf, max_bps)| {
            let (shown, _) = judge.code(&picture, crf, max_bps).unwrap();
            let sum: u64 = picture.plane(0).iter().zip(shown.plane(0)).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            sum as f64 / picture.plane(0).len() as f64
        };
        let (near, capped) = (distance(NEARLY_LOSSLESS), distance((NEARLY_LOSSLESS.0, job.floor.max_bps)));
        assert!(near < 4.0 && capped > 4.0 * near, "{near} {capped}");
    }
}
