//! Facts into lines for people: what will be repaired, what is wrong and stays wrong. Pure.

use super::{Source, facts};

/// What the lines need beyond a [`Source`].
#[derive(Debug, Default)]
pub struct Found {
    /// Video tracks with more than one packet.
    pub video_tracks: usize,
    /// Audio tracks that do not decode.
    pub silent_tracks: usize,
    pub audio_first_ns: Option<u64>,
    /// When the longest picture or sound track ends, the chosen ones or others.
    pub media_end_s: f64,
    /// When the longest other track (subtitles) ends.
    pub other_end_s: f64,
    /// Audio tracks without a decoder, in words.
    pub unreadable: Vec<String>,
    /// The container's own structure says that bytes are missing at the end.
    pub beyond_end: bool,
    /// Why reading ended before the end of the file.
    pub broke_off: Option<String>,
}

/// Less than a second is left of a longer recording, or nothing at all: no lecture comes out of that.
pub fn is_hopeless(source: &Source, found: &Found) -> bool {
    let cut = source.header_duration_s.is_some_and(|h| facts::is_cut_short(h, found.media_end_s.max(source.duration_s)));
    source.duration_s <= 0.0 || cut && source.duration_s < 1.0
}

/// Fills `repairs` and adds to `problems`.
pub fn lines(source: &mut Source, found: &Found) {
    let mut repairs = Vec::new();
    if let Some(v) = &source.video {
        if v.rotation != 0 {
            repairs.push(format!("rotated by {} degrees: turned upright", v.rotation));
        }
        if v.mirrored {
            repairs.push("mirrored: mirrored back".into());
        }
        if v.interlaced {
            repairs.push("interlaced: deinterlaced".into());
        }
        if v.par.0 != v.par.1 {
            repairs.push(format!("pixels are not square ({}:{}): scaled so that they are", v.par.0, v.par.1));
        }
        if v.width % 2 + v.height % 2 > 0 {
            repairs.push(format!("odd size {}x{}: made even", v.width, v.height));
        }
        match &v.hdr {
            Some(hdr) => {
                repairs.push(format!("HDR ({}), {} bits a colour: tone-mapped to standard range, 8 bits", hdr.to_uppercase(), v.bit_depth))
            }
            None if v.bit_depth > 8 => repairs.push(format!("{} bits a colour: reduced to 8", v.bit_depth)),
            None => {}
        }
        if v.variable {
            repairs.push(format!("variable frame rate ({:.1} pictures/s on average): every picture keeps its time", v.frame_rate.fps()));
        }
        if found.video_tracks > 1 {
            repairs.push(format!(
                "{} video tracks: number {} is taken, the one with most pixels times duration",
                found.video_tracks,
                v.track + 1
            ));
        }
    } else {
        repairs.push("no picture: the voice is put over a title card".into());
    }
    if let Some(voice) = source.voice {
        let a = &source.audio[voice];
        if source.audio.len() > 1 {
            let language = a.language.as_ref().map(|l| format!(", {l}")).unwrap_or_default();
            repairs.push(format!(
                "{} audio tracks: number {} ({}{language}) is taken as the voice",
                source.audio.len(),
                voice + 1,
                a.codec
            ));
        }
        if a.channels > 2 {
            repairs.push(format!("{} audio channels: mixed down to one voice", a.channels));
        }
    }
    source.repairs.extend(repairs);
    problems(source, found);
}

fn problems(source: &mut Source, found: &Found) {
    let mut problems = Vec::new();
    let cut = source.header_duration_s.is_some_and(|h| facts::is_cut_short(h, found.media_end_s.max(source.duration_s)));
    // Headers lie by themselves at times; a file whose boxes reach beyond its end was cut for certain.
    source.partial |= cut && found.beyond_end;
    if let Some(header) = source.header_duration_s.filter(|h| facts::is_cut_short(*h, found.media_end_s.max(source.duration_s))) {
        let there = found.media_end_s.max(source.duration_s);
        problems.push(match facts::is_cut_short(header, found.other_end_s) {
            true => format!("cut short: the header says {header:.1} s, {there:.1} s are there"),
            false => format!("picture and sound end after {there:.1} s, subtitles and header go on to {header:.1} s"),
        });
    }
    if let Some(why) = &found.broke_off {
        source.partial = true;
        problems.push(format!("reading breaks off after {:.1} s: {why}", source.duration_s));
    }
    problems.extend(found.unreadable.iter().cloned());
    if source.voice.is_none() {
        source.partial |= found.silent_tracks > 0;
        problems.push(match found.silent_tracks {
            0 => "no sound: the lecture will be silent".to_string(),
            n => format!(
                "no sound: {n} audio track{} there, but nothing in {} decodes; the lecture will be silent",
                if n == 1 { " is" } else { "s are" },
                if n == 1 { "it" } else { "them" }
            ),
        });
    } else if found.silent_tracks > 0 {
        problems.push(format!("{} of {} audio tracks do not decode", found.silent_tracks, source.audio.len()));
    }
    if let (Some(first), Some(voice)) = (source.frames_ns.first(), found.audio_first_ns) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let apart = |a: u64, b: u64| seconds(a.abs_diff(b));
        let (early, late) = if *first > voice { ("sound", "picture") } else { ("picture", "sound") };
        if apart(*first, voice) > 1.0 {
            // A stream that was joined in the middle shows nothing until its first keyframe.
            source.partial |= *first > voice && source.container.starts_with("video/mpeg");
            problems.push(format!("the {late} begins {:.1} s after the {early}", apart(*first, voice)));
        }
        let (ends_first, goes_on) = if source.video_end_ns > source.audio_end_ns { ("sound", "picture") } else { ("picture", "sound") };
        let gap = apart(source.video_end_ns, source.audio_end_ns);
        if gap > 1.0_f64.max(source.duration_s * 0.02) {
            problems.push(format!("the {ends_first} ends {gap:.1} s before the {goes_on}"));
        }
    }
    source.problems.extend(problems);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Access, Audio, Video};
    use crate::units::{Digest, FrameRate};

    fn source() -> Source {
        Source {
            partial: false,
            untimed: false,
            path: "a.mp4".into(),
            sha256: Digest::of(b""),
            bytes: 1,
            container: "video/quicktime".into(),
            header_duration_s: Some(10.0),
            duration_s: 10.0,
            video: Some(Video {
                track: 0,
                stream_id: String::new(),
                codec: "h264".into(),
                width: 1280,
                height: 720,
                frame_rate: FrameRate::new(25, 1).unwrap(),
                variable: false,
                rotation: 0,
                mirrored: false,
                interlaced: false,
                bottom_first: false,
                par: (1, 1),
                bit_depth: 8,
                hdr: None,
                colorimetry: None,
            }),
            audio: vec![Audio { stream_id: String::new(), codec: "aac".into(), channels: 2, rate_hz: 48000, language: None }],
            voice: Some(0),
            access: Access::Seek,
            repairs: vec![],
            problems: vec![],
            frames_ns: vec![0],
            video_end_ns: 10_000_000_000,
            audio_end_ns: 10_000_000_000,
        }
    }
    fn judged(change: impl FnOnce(&mut Source, &mut Found)) -> (String, String) {
        let (mut s, mut f) = (source(), Found { video_tracks: 1, audio_first_ns: Some(0), ..Found::default() });
        change(&mut s, &mut f);
        lines(&mut s, &f);
        (s.repairs.join("; "), s.problems.join("; "))
    }

    #[test]
    fn a_plain_recording_gets_no_line() {
        assert_eq!(judged(|_, _| ()), (String::new(), String::new()));
    }

    #[test]
    fn what_is_odd_is_repaired_and_said() {
        let (repairs, problems) = judged(|s, _| {
            let v = s.video.as_mut().unwrap();
            (v.rotation, v.interlaced, v.par, v.bit_depth, v.width) = (90, true, (4, 3), 10, 1439);
            s.audio[0].channels = 6;
        });
        for word in ["rotated by 90", "interlaced", "4:3", "10 bits", "odd size 1439x720", "6 audio channels"] {
            assert!(repairs.contains(word), "{word} in {repairs}");
        }
        assert_eq!(problems, "");
    }

    #[test]
    fn a_third_of_a_second_of_half_a_minute_is_hopeless() {
        let mut s = source();
        s.duration_s = 0.36;
        assert!(is_hopeless(&s, &Found { media_end_s: 0.4, ..Found::default() }));
        // ... but a clip that never was longer is not,
        s.header_duration_s = Some(0.36);
        assert!(!is_hopeless(&s, &Found::default()));
        // and neither is a track that is shorter than the others by design.
        s.header_duration_s = Some(10.0);
        assert!(!is_hopeless(&s, &Found { media_end_s: 10.0, ..Found::default() }));
    }

    #[test]
    fn a_silent_or_blind_lecture_is_legal_and_said() {
        assert_eq!(judged(|s, f| (s.audio.clear(), s.voice = None, f.audio_first_ns = None).0).1, "no sound: the lecture will be silent");
        assert!(judged(|s, _| (s.video = None, s.frames_ns.clear()).0).0.contains("title card"));
    }

    #[test]
    fn a_lying_header_and_sound_that_ends_early_are_problems() {
        assert_eq!(
            judged(|s, f| (s.header_duration_s, f.media_end_s) = (Some(16.6), 16.6)).1,
            "",
            "another track lasts as long as the header says"
        );
        let (_, problems) = judged(|s, _| (s.header_duration_s, s.audio_end_ns) = (Some(231.0), 4_000_000_000));
        assert_eq!(problems, "cut short: the header says 231.0 s, 10.0 s are there; the sound ends 6.0 s before the picture");
    }
}
