//! The whole loop, with a clock that only moves when it is waited on: what happens "meanwhile" is written down per wait.

use super::*;
use crate::probe::container::tests::mp4;
use crate::progress::Event;
use crate::workdir::WorkDir;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::SystemTime;

type Meanwhile<'a> = Box<dyn FnMut(u32) + Send + 'a>;

/// Each wait moves the time on and lets the next thing happen.
struct ManualClock<'a> {
    now: AtomicU64,
    waits: Mutex<(u32, Meanwhile<'a>)>,
}
impl Clock for ManualClock<'_> {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now.load(SeqCst))
    }
    /// Every file time lies in the future: only what was watched counts.
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.now.fetch_add(span.as_millis() as u64, SeqCst);
        let mut waits = self.waits.lock().unwrap();
        waits.0 += 1;
        assert!(waits.0 < 1000, "it waits for ever");
        let n = waits.0;
        (waits.1)(n);
        Box::pin(async {})
    }
}

struct Warnings(Mutex<Vec<String>>);
impl crate::progress::Progress for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message } | Event::Note { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

struct Studio {
    dir: tempfile::TempDir,
    request: Request,
    said: Vec<Said>,
    ctx: Ctx,
    warnings: std::sync::Arc<Warnings>,
}

impl Studio {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let card = dir.path().join("card");
        fs::create_dir(&card).unwrap();
        let request = Request {
            paths: vec![card],
            into: dir.path().join("course"),
            watch: false,
            interval: Duration::from_secs(5),
            still: Duration::from_secs(10),
        };
        let warnings = std::sync::Arc::new(Warnings(Mutex::default()));
        let ctx = Ctx { progress: warnings.clone(), ..Ctx::silent() };
        Studio { dir, request, said: Vec::new(), ctx, warnings }
    }
    fn card(&self, name: &str) -> PathBuf {
        self.dir.path().join("card").join(name)
    }
    fn course(&self, name: &str) -> PathBuf {
        self.dir.path().join("course").join(name)
    }
    async fn run(&mut self, meanwhile: impl FnMut(u32) + Send) -> Result<Tally> {
        self.run_with(meanwhile, |_| Ok(u64::MAX / 2), |path| Ok(spanned::tests::source(fs::metadata(path).unwrap().len()))).await
    }
    async fn run_with(
        &mut self,
        meanwhile: impl FnMut(u32) + Send,
        free: impl Fn(&Path) -> Result<u64> + Sync,
        probe: impl Fn(&Path) -> Result<Source>,
    ) -> Result<Tally> {
        let cache = Cache::new(&WorkDir::open(Some(self.dir.path().join("work"))).unwrap());
        let clock = ManualClock { now: AtomicU64::new(0), waits: Mutex::new((0, Box::new(meanwhile))) };
        let machine = Machine { cache: &cache, clock: &clock, free_bytes: &free };
        let said = &mut self.said;
        run(&self.request, &machine, async |path: &Path, _: &Ctx| probe(path), &mut |s| said.push(s), &self.ctx).await
    }
    /// `waiting a.mp4`, `ingested a.mp4`, ...
    fn story(&self) -> Vec<String> {
        let line = |what: &str, path: &Path| format!("{what} {}", file_name(path));
        self.said
            .iter()
            .map(|s| match s {
                Said::Waiting { path, .. } => line("waiting", path),
                Said::Ingested { path, known: false, .. } => line("ingested", path),
                Said::Ingested { path, .. } => line("known", path),
                Said::Refused { path, .. } => line("refused", path),
                Said::Drafted { lectures, .. } => {
                    format!("drafted {}", lectures.iter().map(|l| l.id.as_str()).collect::<Vec<_>>().join(" "))
                }
            })
            .collect()
    }
    fn reasons(&self) -> Vec<&str> {
        self.said
            .iter()
            .filter_map(|s| if let Said::Waiting { reason, .. } | Said::Refused { reason, .. } = s { Some(reason.as_str()) } else { None })
            .collect()
    }
}

#[tokio::test]
async fn a_file_that_grows_is_taken_once_it_is_whole() {
    let mut studio = Studio::new();
    let (path, whole) = (studio.card("a.mp4"), mp4(&[7; 1000]));
    fs::write(&path, &whole[..100]).unwrap();
    let tally = studio
        .run(|n| {
            if n <= 3 {
                fs::write(&path, &whole[..whole.len().min(n as usize * 400)]).unwrap()
            }
        })
        .await
        .unwrap();
    assert_eq!(studio.story(), ["waiting a.mp4", "waiting a.mp4", "ingested a.mp4", "drafted a"]);
    assert_eq!(studio.reasons(), ["it is still growing", "it may still be growing"]);
    assert_eq!(fs::read(studio.course("a.mp4")).unwrap(), whole);
    assert_eq!((tally.ingested, tally.exit_code()), (1, 0));
}

#[tokio::test]
async fn a_recording_cut_short_is_refused_and_the_others_go_on() {
    let mut studio = Studio::new();
    fs::write(studio.card("cut.mp4"), &mp4(&[7; 1000])[..500]).unwrap();
    fs::write(studio.card("good.mp4"), mp4(&[7; 1000])).unwrap();
    fs::write(studio.card("text.mp4"), "not a recording").unwrap();
    let tally = studio.run(|_| ()).await.unwrap();
    assert_eq!(tally.exit_code(), 3);
    assert!(studio.reasons().iter().any(|r| r.contains("cut short")) && studio.reasons().iter().any(|r| r.contains("a text file")));
    assert!(studio.course("good.mp4").exists() && !studio.course("cut.mp4").exists() && !studio.course("text.mp4").exists());
    assert!(studio.card("cut.mp4").exists(), "nothing is lost");
}

#[tokio::test]
async fn what_the_probe_refuses_leaves_no_copy_and_is_called_by_its_own_name() {
    let mut studio = Studio::new();
    fs::write(studio.card("a.mp4"), mp4(&[1; 9])).unwrap();
    let refuse = |path: &Path| {
        Err(Error::new(Kind::Unsupported, format!("{}: encrypted", path.display())).caused_by(format!("in {}", file_name(path))))
    };
    let tally = studio.run_with(|_| (), |_| Ok(u64::MAX / 2), refuse).await.unwrap();
    assert_eq!(tally.exit_code(), 4);
    assert_eq!(studio.reasons().last().unwrap(), &format!("{}: encrypted: in a.mp4", studio.card("a.mp4").display()));
    let left: Vec<String> = fs::read_dir(studio.course("")).unwrap().map(|e| file_name(&e.unwrap().path())).collect();
    assert_eq!(left, [".rivulet-ingest.lock"]);
}

#[tokio::test]
async fn a_full_disk_is_found_before_anything_is_copied() {
    let mut studio = Studio::new();
    for name in ["a.mp4", "b.mp4"] {
        fs::write(studio.card(name), mp4(&[name.as_bytes()[0]; 1000])).unwrap();
    }
    // Room for one and the margin, not for both.
    let free = |_: &Path| Ok(MARGIN + 1500);
    let e = studio.run_with(|_| (), free, |_| Ok(spanned::tests::source(1))).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Limit);
    assert!(e.report().contains("2.1 kB are to be copied") && e.report().contains("rivulet clean"), "{}", e.report());
    assert!(!studio.course("a.mp4").exists());
}

#[tokio::test]
async fn a_watch_waits_for_room_and_goes_on() {
    let mut studio = Studio::new();
    studio.request.watch = true;
    fs::write(studio.card("a.mp4"), mp4(&[1; 9])).unwrap();
    let (cancel, asked) = (studio.ctx.cancel.clone(), AtomicU64::new(0));
    let free = |_: &Path| Ok(if asked.fetch_add(1, SeqCst) == 0 { 0 } else { u64::MAX / 2 });
    let end = |n| {
        if n == 20 {
            cancel.cancel()
        }
    };
    studio.run_with(end, free, |_| Ok(spanned::tests::source(1))).await.unwrap();
    assert!(studio.reasons().iter().any(|r| r.starts_with("no room in")));
    assert_eq!(studio.story().iter().filter(|s| *s == "ingested a.mp4").count(), 1);
}

#[tokio::test]
async fn a_watch_survives_an_unplugged_card_and_says_each_thing_once() {
    let mut studio = Studio::new();
    studio.request.watch = true;
    let (card, away) = (studio.dir.path().join("card"), studio.dir.path().join("away"));
    fs::write(card.join("a.mp4"), mp4(&[1; 9])).unwrap();
    let cancel = studio.ctx.cancel.clone();
    let meanwhile = |n| match n {
        10 => fs::rename(&card, &away).unwrap(),
        20 => {
            fs::rename(&away, &card).unwrap();
            fs::write(card.join("b.mp4"), mp4(&[2; 9])).unwrap();
        }
        30 => cancel.cancel(),
        _ => {}
    };
    let tally = studio.run(meanwhile).await.unwrap();
    assert_eq!(
        studio.story(),
        ["waiting a.mp4", "ingested a.mp4", "drafted a", "waiting card", "waiting b.mp4", "ingested b.mp4", "drafted b"]
    );
    assert_eq!((tally.ingested, tally.exit_code()), (2, 0));
}

#[tokio::test]
async fn a_refused_file_that_is_put_right_is_looked_at_again() {
    let mut studio = Studio::new();
    studio.request.watch = true;
    let path = studio.card("a.mp4");
    fs::write(&path, &mp4(&[1; 99])[..50]).unwrap();
    let cancel = studio.ctx.cancel.clone();
    let meanwhile = |n| match n {
        30 => fs::write(&path, mp4(&[1; 99])).unwrap(),
        40 => cancel.cancel(),
        _ => {}
    };
    studio.run(meanwhile).await.unwrap();
    let ends: Vec<String> = studio.story().into_iter().filter(|s| !s.starts_with("waiting")).collect();
    assert_eq!(ends, ["refused a.mp4", "ingested a.mp4", "drafted a"]);
}

#[tokio::test]
async fn a_course_file_that_the_author_is_editing_is_extended_later() {
    let mut studio = Studio::new();
    studio.request.watch = true;
    fs::create_dir(studio.course("")).unwrap();
    let course = studio.course("course.toml");
    fs::write(&course, "id = \n").unwrap();
    fs::write(studio.card("a.mp4"), mp4(&[1; 9])).unwrap();
    let cancel = studio.ctx.cancel.clone();
    let meanwhile = |n| match n {
        10 => {
            assert_eq!(fs::read_to_string(&course).unwrap(), "id = \n");
            fs::write(&course, "id = 'mine'\n").unwrap();
        }
        20 => cancel.cancel(),
        _ => {}
    };
    let tally = studio.run(meanwhile).await.unwrap();
    assert_eq!(studio.story(), ["waiting a.mp4", "ingested a.mp4", "drafted a"]);
    assert!(fs::read_to_string(&course).unwrap().starts_with("id = 'mine'\n"));
    assert_eq!(tally.exit_code(), 0);
    assert_eq!(studio.warnings.0.lock().unwrap().iter().filter(|w| w.contains("course.toml")).count(), 1, "it is said once");
}

#[tokio::test]
async fn parts_cut_by_the_cards_limit_are_one_lecture_with_a_word_on_why() {
    let mut studio = Studio::new();
    studio.request.paths = vec![studio.course("")];
    fs::create_dir(studio.course("")).unwrap();
    for (n, name) in ["MVI_0001.MP4", "MVI_0002.MP4", "MVI_0003.MP4"].iter().enumerate() {
        fs::write(studio.course(name), mp4(&[n as u8; 9])).unwrap();
    }
    // The second part ends where a person pressed the button: the third is a lecture of its own.
    let probe = |path: &Path| Ok(spanned::tests::source(if path.ends_with("MVI_0001.MP4") { 4_294_000_000 } else { 9 }));
    studio.run_with(|_| (), |_| Ok(0), probe).await.unwrap();
    let text = fs::read_to_string(studio.course("course.toml")).unwrap();
    let course: toml::Table = text.parse().unwrap();
    assert_eq!(course["lectures"][0]["recording"].as_array().unwrap().len(), 2);
    assert_eq!(course["lectures"][1]["recording"].as_str(), Some("MVI_0003.MP4"));
    assert!(text.contains("# Một bài ghi nhiều tệp? / One recording in several files? MVI_0001.MP4 ends at the camera's limit of 4 GiB"));
}

#[tokio::test]
async fn a_path_that_is_not_there_is_an_error_before_any_work() {
    let mut studio = Studio::new();
    fs::write(studio.card("a.mp4"), mp4(&[1; 9])).unwrap();
    studio.request.paths.push(studio.card("typo.mp4"));
    assert_eq!(studio.run(|_| ()).await.unwrap_err().kind(), Kind::NotFound);
    assert!(!studio.course("a.mp4").exists());
    // A card without recordings too.
    studio.request.paths = vec![studio.dir.path().join("work")];
    assert_eq!(studio.run(|_| ()).await.unwrap_err().kind(), Kind::NotFound);
}

// It once waited for ever for a file that a recorder had renamed.
#[tokio::test]
async fn a_file_that_vanishes_while_it_is_waited_for_ends_the_wait() {
    let mut studio = Studio::new();
    let path = studio.card("a.mp4");
    studio.request.paths = vec![path.clone()];
    fs::write(&path, mp4(&[1; 9])).unwrap();
    let tally = studio.run(|_| drop(fs::remove_file(&path))).await.unwrap();
    assert_eq!((studio.story(), tally.exit_code()), (vec!["waiting a.mp4".to_string(), "refused a.mp4".into()], 1));
}
