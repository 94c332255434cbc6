//! Reads slides with Tesseract, an optional program of the studio's. Where it is missing, crashes or takes too long, a slide has
//! no text, and the lecture is made without it.
//!
//! Measured on slides of four real lectures at 720p, one thread: `--psm 3` finds titles that stand apart, which `--psm 6` and `11`
//! lose; twice the size costs half as much again and reads no more; `vie+eng` (0.3 to 0.8 CPU s a slide) reads English words
//! in Vietnamese slides that `vie` (0.2 to 0.5) misses, and `eng` alone loses every diacritic.

use crate::cache::Cache;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::legible::{self, Word};
use crate::picture::Frame;
use crate::units::{Area, Digest, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = "tesseract";
/// A dense 720p slide takes 0.8 CPU s; a machine ten times slower under load still ends in time.
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of an answer; a slide has some kilobytes. A program that floods us is cut off.
const MOST: u64 = 16 << 20;
/// What [`look`] says where there is no Tesseract.
pub const NONE: &str = "none";
/// Tesseract's page segmentation modes: a page, whose parts it finds; one line of text.
const PAGE: &str = "3";
const LINE: &str = "7";
/// Kind of entry in the cache. The number grows when the arguments below change.
const CACHED: &str = "ocr-2";

/// Version and language packs for the tool fingerprint: `5.3.0 eng:1f2e3d4c vie:5b6a7988`, or `none`.
pub fn look() -> String {
    look_at(Path::new(PROGRAM)).unwrap_or_else(|| NONE.into())
}

fn look_at(program: &Path) -> Option<String> {
    let ask = |argument: &str| {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
        // Some versions answer on stderr.
        output.status.success().then(|| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let version = ask("--version")?;
    let version = version.split_whitespace().nth(1)?.to_string();
    let list = ask("--list-langs")?;
    let folder = list.split('"').nth(1).map(PathBuf::from);
    let mut packs: Vec<String> = Vec::new();
    for pack in list.lines().skip(1).map(str::trim).filter(|l| ["eng", "vie"].contains(l)) {
        // The packs come in several qualities under one name.
        let file = folder.as_ref().and_then(|f| std::fs::File::open(f.join(format!("{pack}.traineddata"))).ok());
        let digest = file.and_then(|f| Digest::of_reader(f).ok()).map(|(d, _)| d.short()).unwrap_or_default();
        packs.push(format!("{pack}:{digest}"));
    }
    packs.sort();
    Some([vec![version], packs].concat().join(" "))
}

/// A reader for one language.
#[derive(Debug, Clone)]
pub struct Ocr {
    /// The program and what comes before our arguments.
    program: Vec<String>,
    /// As [`look`] gave it.
    version: String,
    /// `vie+eng`
    pub languages: String,
    limit: Duration,
}

impl Ocr {
    /// `fingerprint` is what [`look`] said, `language` the lecture's (BCP 47). `Err` says in a sentence why slides get no text.
    pub fn open(fingerprint: &str, language: &str) -> std::result::Result<Ocr, String> {
        if fingerprint == NONE {
            return Err("Tesseract is not installed: slides have no text, title or chapter (Debian: tesseract-ocr)".into());
        }
        let wanted: &[&str] = match language.split('-').next().unwrap_or_default() {
            // Vietnamese slides are full of English terms.
            "vi" => &["vie", "eng"],
            _ => &["eng"],
        };
        let has = |pack: &&&str| fingerprint.split(' ').any(|p| p.split(':').next() == Some(**pack));
        let found: Vec<&str> = wanted.iter().filter(has).copied().collect();
        // English alone would lose every diacritic, and say so nowhere.
        match found.first() == wanted.first() {
            true => Ok(Ocr { program: vec![PROGRAM.into()], version: fingerprint.into(), languages: found.join("+"), limit: LIMIT }),
            false => Err(format!("Tesseract has no language pack {0}: slides have no text (Debian: tesseract-ocr-{0})", wanted[0])),
        }
    }

    /// The words of one upright picture; see [`Ocr::read_all`].
    pub fn read(&self, picture: &Frame, cache: Option<&Cache>, alive: &mut dyn FnMut()) -> Result<Vec<Word>> {
        self.read_all(&[picture], cache, alive).pop().unwrap_or_else(|| Err(Error::bug("a picture was not read")))
    }

    /// The words of upright pictures' luma, an answer for each. What was read before, by the same version in the same languages,
    /// comes from the cache; one run of Tesseract reads the rest: loading its languages costs as much as reading a slide, and
    /// the words are the same. An error means that a picture stays unread; `alive` is called every second meanwhile.
    pub fn read_all(&self, pictures: &[&Frame], cache: Option<&Cache>, alive: &mut dyn FnMut()) -> Vec<Result<Vec<Word>>> {
        let pages: Vec<Page> = pictures.iter().map(|p| luma(p, Area::whole(p.size()))).collect();
        let keys: Vec<String> = pages.iter().map(|p| format!("{} {} {}", p.digest(), self.languages, self.version)).collect();
        let mut found: Vec<Option<Result<Vec<Word>>>> = keys.iter().map(|key| cache.and_then(|c| c.get(CACHED, key)).map(Ok)).collect();
        let unread: Vec<usize> = (0..pages.len()).filter(|i| found[*i].is_none()).collect();
        if !unread.is_empty() {
            let asked: Vec<&Page> = unread.iter().map(|i| &pages[*i]).collect();
            let answers = match self.ask(&asked, alive) {
                Ok(answers) => answers.into_iter().map(Ok).collect(),
                Err(e) if asked.len() == 1 => vec![Err(e)],
                // One picture that Tesseract cannot bear does not take the others' words away.
                Err(_) => asked.iter().map(|page| self.ask(&[page], alive).map(|words| words.concat())).collect::<Vec<_>>(),
            };
            for (i, answer) in unread.into_iter().zip(answers) {
                // A cache that cannot be written costs time, no more.
                let _ = answer.as_ref().ok().and_then(|words| cache.map(|c| c.put(CACHED, &keys[i], words)));
                found[i] = Some(answer);
            }
        }
        found.into_iter().map(|f| f.unwrap_or_else(|| Err(Error::bug("a picture was not read")))).collect()
    }

    /// What stands in each of `lines`, places of one line of text each in a picture, by one run. Tesseract does not look for lines
    /// of its own there: on whole pictures two codings that no eye tells apart differ by a fifth of the letters where it
    /// takes a line for an ornament in one of them.
    pub fn read_lines(&self, lines: &[(&Frame, Area)], alive: &mut dyn FnMut()) -> Result<Vec<String>> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let parts: Vec<Page> = lines.iter().map(|(picture, area)| luma(picture, *area)).collect();
        // A full slide has some thirty.
        let limit = self.limit * (1 + parts.len() / 30) as u32;
        let words = parse(&self.run(tiff(&parts.iter().collect::<Vec<_>>()), LINE, limit, alive)?, parts.len());
        Ok(words.iter().map(|words| legible::normal(&words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" "))).collect())
    }

    /// The words of each page, by one run.
    fn ask(&self, pages: &[&Page], alive: &mut dyn FnMut()) -> Result<Vec<Vec<Word>>> {
        Ok(parse(&self.run(tiff(pages), PAGE, self.limit * pages.len() as u32, alive)?, pages.len()))
    }

    fn run(&self, pictures: Vec<u8>, mode: &str, limit: Duration, alive: &mut dyn FnMut()) -> Result<String> {
        let mut child = Command::new(&self.program[0])
            .args(&self.program[1..])
            .args(["-", "-", "-l", &self.languages, "--psm", mode, "tsv"])
            .env("OMP_THREAD_LIMIT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .doing(|| "Tesseract does not start".into())?;
        let (mut stdin, mut stdout) = (child.stdin.take(), child.stdout.take());
        let (told, answer) = std::sync::mpsc::channel();
        // One that dies early breaks this pipe, and its exit status says why.
        std::thread::spawn(move || stdin.take().map(|mut s| s.write_all(&pictures)));
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = stdout.take().map(|s| s.take(MOST).read_to_end(&mut text));
            told.send(read.is_some_and(|r| r.is_ok()).then_some(text))
        });
        let second = Duration::from_secs(1).min(limit);
        let mut waited = Duration::ZERO;
        let text = loop {
            match answer.recv_timeout(second) {
                Ok(text) => break text,
                Err(_) if waited + second >= limit => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error::failed(format!("Tesseract took longer than {} s", limit.as_secs())));
                }
                Err(_) => waited += second,
            }
            alive();
        };
        let status = child.wait().doing(|| "cannot wait for Tesseract".into())?;
        match text {
            Some(text) if status.success() => Ok(String::from_utf8_lossy(&text).into_owned()),
            // The kernel, for lack of memory; our own limit is above.
            _ if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) => {
                Err(Error::new(Kind::Killed, "Tesseract was killed").hint("memory may be short: see what else runs on this machine"))
            }
            _ => Err(Error::failed(format!("Tesseract failed ({status})"))),
        }
    }
}

/// A picture as Tesseract gets it: 8-bit grey, row by row.
struct Page {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Page {
    fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(format!("{} {}\n", self.width, self.height).as_bytes());
        hasher.update(&self.pixels);
        hasher.finish().0
    }
}

/// A part of the visible luma, stretched from limited to full range: black letters are to be black. `area` lies in the picture.
fn luma(picture: &Frame, area: Area) -> Page {
    let stretched: Vec<u8> = (0..256i32).map(|y| (((y - 16) * 255 + 109) / 219).clamp(0, 255) as u8).collect();
    let view = picture.view();
    let rows = view.rows(0).skip(area.y as usize).take(area.height as usize);
    let pixels = rows.flat_map(|row| row[area.x as usize..area.right() as usize].iter().map(|y| stretched[*y as usize])).collect();
    Page { width: area.width, height: area.height, pixels }
}

/// Uncompressed pages of one strip each in a file (TIFF 6.0, section 2 and baseline grey of section 4): what Tesseract takes several pictures in on stdin.
fn tiff(pages: &[&Page]) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let mut file = b"II*\0\0\0\0\0".to_vec();
    // Where the place of the next page's directory is to be written.
    let mut link = 4;
    for page in pages {
        let strip = file.len() as u32;
        file.extend(&page.pixels);
        // Directories begin on even bytes.
        file.resize(file.len().next_multiple_of(2), 0);
        let place = (file.len() as u32).to_le_bytes();
        file[link..link + 4].copy_from_slice(&place);
        let entries: [(u16, u16, u32); 9] = [
            (256, LONG, page.width),
            (257, LONG, page.height),
            // Bits per sample; no compression; black is zero.
            (258, SHORT, 8),
            (259, SHORT, 1),
            (262, SHORT, 1),
            (273, LONG, strip),
            // One sample per pixel.
            (277, SHORT, 1),
            (278, LONG, page.height),
            (279, LONG, page.pixels.len() as u32),
        ];
        file.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            file.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
        }
        link = file.len();
        file.extend([0; 4]);
    }
    file
}

/// The word rows of Tesseract's TSV for so many pages: level, page, block, paragraph, line, word, left, top, width, height,
/// confidence, text. Rows that are none are skipped.
fn parse(tsv: &str, pages: usize) -> Vec<Vec<Word>> {
    let mut all: Vec<Vec<Word>> = (0..pages).map(|_| Vec::new()).collect();
    let mut place = ("", "", "", "");
    let mut line = 0;
    for row in tsv.lines() {
        let cells: Vec<&str> = row.split('\t').collect();
        let [level, page, block, paragraph, in_paragraph, _, x, y, width, height, confidence, text] = cells[..] else { continue };
        let number = |cell: &str| cell.parse::<u32>().ok();
        let (Some(x), Some(y), Some(width), Some(height), Ok(confidence)) =
            (number(x), number(y), number(width), number(height), confidence.parse::<f32>())
        else {
            continue;
        };
        if level != "5" || text.trim().is_empty() || !confidence.is_finite() {
            continue;
        }
        let Some(words) = page.parse::<usize>().ok().and_then(|page| all.get_mut(page.checked_sub(1)?)) else { continue };
        if place != (page, block, paragraph, in_paragraph) {
            line = if words.is_empty() { 0 } else { line + 1 };
            place = (page, block, paragraph, in_paragraph);
        }
        words.push(Word { text: text.trim().into(), area: Area { x, y, width, height }, confidence, line });
    }
    all
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::units::Size;
    use crate::workdir::WorkDir;

    /// A reader that is this program; `|` parts its arguments.
    pub fn ocr(program: &str) -> Ocr {
        let program = program.split('|').map(str::to_string).collect();
        Ocr { program, version: "5".into(), languages: "eng".into(), limit: LIMIT }
    }

    #[test]
    fn languages_follow_the_lecture() {
        let all = "5.3.0 eng:1 vie:2";
        let languages = |fingerprint: &str, language: &str| Ocr::open(fingerprint, language).map(|o| o.languages);
        assert_eq!(languages(all, "vi").unwrap(), "vie+eng");
        assert_eq!(languages(all, "vi-VN").unwrap(), "vie+eng");
        assert_eq!(languages(all, "en").unwrap(), "eng");
        assert_eq!(languages("5.3.0 vie:2", "vi").unwrap(), "vie");
        assert!(languages("5.3.0 eng:1", "vi").unwrap_err().contains("tesseract-ocr-vie"));
        assert!(languages(NONE, "vi").unwrap_err().contains("not installed"));
        assert!(languages("5.3.0", "en").is_err());
    }

    #[test]
    fn rows_become_words_and_nonsense_is_skipped() {
        let tsv = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
                   1\t1\t0\t0\t0\t0\t0\t0\t1280\t720\t-1\t\n\
                   5\t1\t1\t1\t1\t1\t10\t20\t30\t40\t96.5\tSuy\n\
                   5\t1\t1\t1\t1\t2\t50\t20\t30\t40\t90\thô\n\
                   5\t1\t1\t1\t2\t1\t10\t70\t30\t40\t91\thấp\n\
                   5\t1\t1\t1\t2\t2\t10\t70\t30\t40\t95\t \n\
                   5\t1\t1\t1\t2\t2\t-10\t70\t30\t40\tNaN\tx\n5\tx\n\
                   5\t3\t1\t1\t2\t1\t10\t90\t30\t40\t91\tthở\n\
                   5\t4\t1\t1\t2\t1\t10\t70\t30\t40\t91\tx\n\
                   5\t0\t1\t1\t2\t1\t10\t70\t30\t40\t91\tx\n";
        let words = parse(tsv, 3);
        let seen = |page: usize| words[page].iter().map(|w| (w.text.as_str(), w.line, w.area.y)).collect::<Vec<_>>();
        assert_eq!(seen(0), [("Suy", 0, 20), ("hô", 0, 20), ("hấp", 1, 70)]);
        assert_eq!((seen(1), seen(2), words.len()), (vec![], vec![("thở", 0, 90)], 3));
        assert!(parse("", 1) == [vec![]]);
    }

    /// Missing, failing, hanging: an error each time, and soon.
    #[test]
    fn a_reader_that_breaks_is_an_error_and_no_more() {
        let picture = Frame::new(Size { width: 64, height: 48 });
        for (program, what) in [("/no/such/program", "does not start"), ("false", "failed"), ("sh|-c|exec tail -f /dev/null", "longer")] {
            let impatient = Ocr { limit: Duration::from_millis(200), ..ocr(program) };
            let error = impatient.read(&picture, None, &mut || ()).unwrap_err();
            assert!(error.report().contains(what), "{program}: {}", error.report());
        }
        // By the kernel, for lack of memory: not for the picture's sake.
        assert_eq!(ocr("sh|-c|kill -9 $$").read(&picture, None, &mut || ()).unwrap_err().kind(), Kind::Killed);
        assert_eq!(look_at(Path::new("/no/such/program")), None);
        assert_eq!(look_at(Path::new("false")), None);
    }

    #[test]
    fn a_part_is_cut_out_and_stretched() {
        let mut picture = Frame::new(Size { width: 64, height: 48 });
        let stride = picture.stride(0);
        picture.plane_mut(0).iter_mut().enumerate().for_each(|(i, v)| *v = 16 + (i / stride + i % stride) as u8);
        let part = luma(&picture, Area { x: 60, y: 46, width: 4, height: 2 });
        let level = |n: i32| ((n * 255 + 109) / 219) as u8;
        assert_eq!((part.width, part.height), (4, 2));
        assert_eq!(part.pixels, [106, 107, 108, 109, 107, 108, 109, 110].map(level));
    }

    #[test]
    fn lines_are_read_in_one_run_and_none_in_no_run() {
        let picture = Frame::new(Size { width: 64, height: 48 });
        let area = Area { x: 0, y: 0, width: 32, height: 16 };
        assert!(ocr("/no/such/program").read_lines(&[], &mut || ()).unwrap().is_empty());
        assert!(ocr("false").read_lines(&[(&picture, area)], &mut || ()).is_err());
        let said = r"printf '5\t2\t1\t1\t1\t1\t0\t0\t9\t9\t90\tho\xcc\x82\n5\t2\t1\t1\t1\t2\t9\t0\t9\t9\t20\t  ha\n'";
        let read = ocr(&format!("bash|-c|cat >/dev/null; {said}")).read_lines(&[(&picture, area); 3], &mut || ()).unwrap();
        assert_eq!(read, ["", "hô ha", ""]);
    }

    #[test]
    fn nothing_is_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(&WorkDir::open(Some(dir.path().to_path_buf())).unwrap());
        let picture = Frame::new(Size { width: 64, height: 48 });
        // `true` reads no word and succeeds; then even a program that is not there is not asked.
        assert!(ocr("true").read(&picture, Some(&cache), &mut || ()).unwrap().is_empty());
        assert!(ocr("/no/such/program").read(&picture, Some(&cache), &mut || ()).is_ok());
        // Another version or language reads anew.
        let other = Ocr { version: "6".into(), ..ocr("/no/such/program") };
        assert!(other.read(&picture, Some(&cache), &mut || ()).is_err());
    }
}
