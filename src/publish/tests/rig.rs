//! A studio: a course's directory, and an encoder that makes tiny packages of the real shape.

use super::*;

pub const CUES: &str = "WEBVTT\n\n00:01.000 --> 00:02.000\nChào\n";

/// Makes a package whose bytes depend on recordings, captions, trims and profile alone; notes what it was asked for.
pub struct FakeEncoder {
    pub work: tempfile::TempDir,
    pub asked: Mutex<Vec<String>>,
    /// Lectures that fail.
    pub broken: Vec<&'static str>,
    /// Lectures whose floor is made before the rest.
    pub floors: Vec<&'static str>,
    /// Lectures of which a part is lost.
    pub partial: Vec<&'static str>,
    /// What its profile promises of every lecture.
    pub promises: Vec<crate::profile::Promise>,
    /// Held for each package until it was sent.
    pub held: std::sync::Arc<()>,
}

impl FakeEncoder {
    pub fn new() -> Self {
        FakeEncoder {
            work: tempfile::tempdir().unwrap(),
            asked: Mutex::default(),
            broken: vec![],
            floors: vec![],
            partial: vec![],
            promises: vec![],
            held: Default::default(),
        }
    }
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
    pub fn dir(&self, source: &Source) -> PathBuf {
        self.work.path().join(Digest::of(&serde_json::to_vec(&source).unwrap()).short())
    }
}

impl Encoder for FakeEncoder {
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source> {
        Box::pin(async move { digest_recordings(request) })
    }
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(request.lecture.clone());
            if self.broken.contains(&request.lecture.as_str()) {
                return Err(Error::bad_media(format!("{} is no media", request.recordings[0].display())));
            }
            let source = digest_recordings(request)?;
            let dir = self.dir(&source);
            let partial = self.partial.contains(&request.lecture.as_str());
            if !dir.join("package.json").exists() {
                let names = request.recordings.iter().map(|r| course::file_name(r)).collect::<Vec<_>>();
                write_package(&dir, &source, &names, &request.captions, partial, "720p", !self.promises.is_empty());
            }
            Ok(Packed {
                dir,
                partial,
                warnings: vec!["ten pictures were lost".into()],
                promises: self.promises.clone(),
                hold: Box::new(self.held.clone()),
            })
        })
    }
    fn floor<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Option<Packed>> {
        Box::pin(async move {
            if !self.floors.contains(&request.lecture.as_str()) {
                return Ok(None);
            }
            self.asked.lock().unwrap().push(format!("the floor of {}", request.lecture));
            let source = digest_recordings(request)?;
            let dir = self.dir(&source).with_extension("floor");
            if !dir.join("package.json").exists() {
                let names = request.recordings.iter().map(|r| course::file_name(r)).collect::<Vec<_>>();
                write_package(&dir, &source, &names, &request.captions, false, "270p", !self.promises.is_empty());
            }
            Ok(Some(Packed { dir, partial: false, warnings: vec![], promises: self.promises.clone(), hold: Box::new(self.held.clone()) }))
        })
    }
    fn foresee<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move { Ok(self.promises.iter().map(|p| format!("{} on {}", request.lecture, p.class)).collect()) })
    }
    fn expect<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Expected> {
        Box::pin(async move {
            let dir = self.dir(&digest_recordings(request)?);
            Ok(match dir.join("package.json").exists() {
                true => Expected::Package(dir),
                false => Expected::About(Sent { objects: 10, bytes: 5_000_000 }),
            })
        })
    }
}

pub fn digest_recordings(request: &LectureRequest) -> Result<Source> {
    let one = |path: &PathBuf| {
        let bytes = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
        Ok(Recording { sha256: Digest::of(&bytes), bytes: bytes.len() as u64 })
    };
    let recordings = request.recordings.iter().map(one).collect::<Result<_>>()?;
    let profile_sha256 = Digest::of(request.profile.as_bytes());
    let captions = request.captions.iter().map(|c| (c.language.clone(), c.sha256)).collect();
    Ok(Source { recordings, profile: request.profile.clone(), profile_sha256, trims: request.trims, captions })
}

fn shown_as(c: &Captions) -> crate::package::Captions {
    crate::package::Captions { language: c.language.clone(), cues: 1, bytes: 1, average_bps: 1, source_sha256: c.sha256 }
}

fn write_package(dir: &Path, source: &Source, names: &[String], captions: &[Captions], partial: bool, rung: &str, voiced: bool) {
    let seed = serde_json::to_string(source).unwrap();
    let (video, voice) = (format!("{rung} video of {seed}"), format!("voice of {:?}", source.recordings));
    let media = |file: &str, n: usize| {
        format!("#EXTM3U\n#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"4@0\"\n#EXTINF:1.0,\n#EXT-X-BYTERANGE:{n}@4\n{file}\n#EXT-X-ENDLIST\n")
    };
    let sound = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"opus\",NAME=\"vi\",URI=\"a-opus.m3u8\"\n";
    let variant = format!("#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"opus\"\nv-{rung}.m3u8\n");
    let frames = format!("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i-{rung}.m3u8\"\n");
    let film = format!("v-{rung}.mp4");
    let shown = captions.iter().map(|c| (c.language.as_str(), captions::webvtt(&c.fit(0, 10_000).cues)));
    let mut texts: Vec<(String, String)> = Vec::new();
    for (language, text) in shown {
        texts.push((format!("c-{language}.m3u8"), format!("#EXTM3U\n#EXTINF:1.0,\nc-{language}.vtt\n#EXT-X-ENDLIST\n")));
        texts.push((format!("c-{language}.vtt"), text));
    }
    let subtitles: String = captions
        .iter()
        .map(|c| format!("#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"c\",NAME=\"vi\",URI=\"c-{}.m3u8\"\n", c.language))
        .collect();
    let fixed = [
        (&*format!("v-{rung}.m3u8"), media(&film, video.len())),
        (&*format!("i-{rung}.m3u8"), media(&film, 9)),
        ("a-opus.m3u8", media("a-opus.mp4", voice.len())),
        ("master.m3u8", format!("#EXTM3U\n{sound}{subtitles}{variant}{frames}")),
        ("floor.m3u8", format!("#EXTM3U\n{sound}{variant}")),
        (&*film, video.clone()),
        ("a-opus.mp4", voice.clone()),
    ];
    texts.extend(fixed.map(|(name, text)| (name.to_string(), text)));
    // What was read of its one slide, for search: another text of each recording.
    let read = Digest::of(format!("{:?}", source.recordings).as_bytes()).short().to_string();
    let still = format!("still of {read}");
    let slide = Slide {
        file: "slides/0001.webp".into(),
        start_s: 0.0,
        end_s: 1.0,
        steps_s: vec![],
        title: Some("Phổi".into()),
        text: read,
        width: 1280,
        height: 720,
        bytes: still.len() as u64,
        score: None,
        figure_score: None,
        x_height_px: None,
    };
    texts.push((slide.file.clone(), still));
    std::fs::create_dir_all(dir.join("slides")).unwrap();
    let mut files = BTreeMap::new();
    for (name, text) in &texts {
        std::fs::write(dir.join(name), text).unwrap();
        files.insert(name.to_string(), FileEntry { sha256: Digest::of(text.as_bytes()), bytes: text.len() as u64 });
    }
    let made = Rung {
        crf: 26,
        max_bps: 500_000,
        name: rung.into(),
        codec: "avc1.64001f".into(),
        width: 1280,
        height: 720,
        frame_rate: 25.0,
        bytes: video.len() as u64,
        average_bps: 1,
        peak_bps: 1,
        iframe_average_bps: 1,
        iframe_peak_bps: 1,
        init_bytes: 4,
        segments: vec![],
    };
    let voice = Voice {
        name: "opus".into(),
        codec: "opus".into(),
        language: "vi".into(),
        rate_hz: 48000,
        bytes: voice.len() as u64,
        average_bps: 1,
        peak_bps: 1,
        init_bytes: 4,
        // What a page feeds, where somebody asks how it would play: one segment.
        segments: if voiced {
            vec![Segment { offset: 4, bytes: voice.len() as u64 - 4, duration: 48_000, sha256: Digest::of(b""), iframe_bytes: None }]
        } else {
            vec![]
        },
    };
    let package = Package {
        left_out: vec![],
        partial,
        preset: "medium".into(),
        format: 1,
        tool: "test".into(),
        plan: Digest::of(format!("{rung} {seed}").as_bytes()),
        title: "t".into(),
        duration_s: 1.0,
        recordings: (source.recordings.iter().zip(names))
            .map(|(r, name)| RecordingRef { name: name.clone(), sha256: r.sha256, bytes: r.bytes })
            .collect(),
        profile: source.profile.clone(),
        fingerprint: BTreeMap::new(),
        shape: String::new(),
        target_duration_s: 1,
        boundaries_s: vec![0.0, 1.0],
        rungs: vec![made],
        voices: vec![voice],
        captions: captions.iter().map(shown_as).collect(),
        loudness: None,
        slides: vec![slide],
        chapters: Vec::new(),
        files,
        deviations: vec![],
        repairs: names.iter().map(|n| format!("{n}: turned upright")).collect(),
        warnings: names.iter().map(|n| format!("{n}: pictures were lost")).collect(),
    };
    std::fs::write(dir.join("package.json"), serde_json::to_vec(&package).unwrap()).unwrap();
}

/// A directory with a course of two lectures, one of them of two files, with captions and a handout.
pub struct Studio {
    pub dir: tempfile::TempDir,
    pub encoder: FakeEncoder,
}

impl Studio {
    pub fn new() -> Self {
        let studio = Studio { dir: tempfile::tempdir().unwrap(), encoder: FakeEncoder::new() };
        for (name, text) in [("a.mp4", "A"), ("b1.mts", "B1"), ("b2.mts", "B2"), ("a.vtt", CUES), ("bài.pdf", "%PDF")] {
            studio.write(name, text);
        }
        studio.course("Khoá một", &["a", "b"]);
        studio
    }
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }
    pub fn course(&self, title: &str, lectures: &[&str]) {
        let mut text = format!("id = \"khoa\"\ntitle = \"{title}\"\nlanguage = \"vi\"\n[[modules]]\nid = \"m\"\ntitle = \"M\"\n");
        for lecture in lectures {
            let rest = match *lecture {
                "a" => "recording = \"a.mp4\"\ncaptions = { vi = \"a.vtt\" }\nhandout = \"bài.pdf\"\n",
                "b" => "recording = [\"b1.mts\", \"b2.mts\"]\n",
                other => panic!("no lecture {other}"),
            };
            text += &format!("[[lectures]]\nid = \"{lecture}\"\ntitle = \"Bài {lecture}\"\nmodule = \"m\"\n{rest}");
        }
        self.write("course.toml", &text);
    }
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("course.toml")
    }
    pub async fn publish(&self, store: &dyn Store) -> Result<Published> {
        self.publish_with(store, "p", false).await
    }
    pub async fn publish_with(&self, store: &dyn Store, profile: &str, refresh: bool) -> Result<Published> {
        let options = Options { profile: profile.into(), refresh, ..Options::default() };
        self.publish_as(store, &options, &Ctx::silent()).await
    }
    pub async fn publish_as(&self, store: &dyn Store, options: &Options, ctx: &Ctx) -> Result<Published> {
        publish(&self.file(), store, &self.encoder, options, ctx, &mut |_| ()).await
    }
    pub async fn forecast(&self, store: &dyn Store) -> Forecast {
        let options = Options { profile: "p".into(), uplink: Some(Bitrate::from_bps(1_000_000)), ..Options::default() };
        forecast(&self.file(), store, &self.encoder, &options, &Ctx::silent()).await.unwrap()
    }
}

pub async fn current(store: &dyn Store) -> Release {
    let head = Head::of(store, "khoa").await.unwrap();
    state::release_of(store, &head.current.unwrap()).await.unwrap()
}
