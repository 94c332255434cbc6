//! The checker on other people's packages: as ffmpeg writes them and as Shaka Packager does. What they do wrong is named;
//! what they do right is not. Needs ffmpeg (packages.txt), and says so loudly where it is missing.

use rivulet::check::{Level, Report, Target, check};
use rivulet::progress::Ctx;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Two rungs and an audio group by ffmpeg's HLS muxer, one file a segment; `None` where there is no ffmpeg.
fn ladder() -> Option<tempfile::TempDir> {
    let home = tempfile::tempdir().unwrap();
    // The sound is a little shorter: 12 s of it and the encoder's delay would be one segment more than the pictures.
    let words = "-nostdin -v error -f lavfi -i testsrc2=s=320x180:r=25:d=12 -f lavfi -i sine=r=48000:d=11.9 \
        -map 0:v -map 0:v -map 1:a -c:v libx264 -preset ultrafast -g 50 -keyint_min 50 -sc_threshold 0 -threads 1 \
        -b:v:0 300k -maxrate:v:0 300k -bufsize:v:0 300k -s:v:0 160x90 -b:v:1 600k -maxrate:v:1 600k -bufsize:v:1 600k \
        -c:a aac -b:a 96k -ac 2 -f hls -hls_time 4 -hls_playlist_type vod -hls_segment_type fmp4 \
        -hls_flags independent_segments -hls_segment_filename %v_%d.m4s -hls_fmp4_init_filename init.mp4 \
        -master_pl_name master.m3u8 -var_stream_map";
    // The map is one word with blanks in it.
    let map = "v:0,agroup:snd v:1,agroup:snd a:0,agroup:snd,default:yes,language:en";
    let words = words.split_whitespace().chain([map, "%v.m3u8"]);
    match Command::new("ffmpeg").current_dir(home.path()).args(words).status() {
        Ok(status) => {
            assert!(status.success(), "ffmpeg failed");
            Some(home)
        }
        Err(e) => {
            eprintln!("NOT TESTED: ffmpeg does not run ({e}); it is in packages.txt");
            None
        }
    }
}

fn run(dir: &Path) -> Report {
    check(&Target::File(dir.join("master.m3u8")), &Ctx::silent()).unwrap()
}

fn rules(report: &Report) -> BTreeSet<&str> {
    report.findings.iter().map(|f| f.rule).collect()
}

/// What is true of these media whatever a master says of them: Constrained Baseline, 4 s, 300 kbit/s at least, no loudness.
const OF_THE_MEDIA: [&str; 4] = ["apple-1.4", "apple-2.19", "apple-7.5", "cmaf-7.2-brands"];

#[test]
fn an_ffmpeg_ladder_is_told_what_its_master_lacks() {
    let Some(home) = ladder() else { return };
    let report = run(home.path());
    let found = rules(&report);
    let lacks = ["apple-6.1", "apple-9.10", "apple-9.11", "apple-9.14", "apple-9.15", "apple-9.21", "apple-1.32b"];
    // Its BANDWIDTH is a tenth over the rates asked for, not what was measured.
    let known: BTreeSet<&str> = lacks.into_iter().chain(OF_THE_MEDIA).chain(["rivulet-bandwidth-1pct"]).collect();
    assert!(lacks.iter().chain(&OF_THE_MEDIA).all(|r| found.contains(r)), "{found:?}");
    assert!(found.is_subset(&known), "{:#?}", report.findings);
    // A stranger declares nothing, and is warned, not failed, for a SHOULD.
    assert!(report.findings.iter().all(|f| f.level != Level::Declared));
    assert!(report.findings.iter().any(|f| f.rule == "apple-2.19" && f.level == Level::Should));
    assert_eq!((report.segments, report.notes.len(), report.passes()), (9, 0, false));
}

// ffmpeg 9 writes the rate of the pictures as BANDWIDTH of a variant that plays with an audio group.
#[test]
fn a_master_that_leaves_the_audio_group_out_is_told_so() {
    let Some(home) = ladder() else { return };
    let dir = home.path();
    let peak = |list: &str| peak_bps(dir, list).0;
    let master = |more: u64| {
        format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"group_snd\",NAME=\"audio_2\",DEFAULT=YES,LANGUAGE=\"en\",URI=\"2.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH={},RESOLUTION=160x90,CODECS=\"avc1.42c00c,mp4a.40.2\",AUDIO=\"group_snd\"\n0.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH={},RESOLUTION=320x180,CODECS=\"avc1.42c00d,mp4a.40.2\",AUDIO=\"group_snd\"\n1.m3u8\n",
            peak("0.m3u8") + more,
            peak("1.m3u8") + more
        )
    };
    std::fs::write(dir.join("master.m3u8"), master(0)).unwrap();
    let report = run(dir);
    let told: Vec<_> = report.findings.iter().filter(|f| f.rule == "apple-9.13").collect();
    assert_eq!(told.len(), 2, "{:#?}", report.findings);
    for f in told {
        assert_eq!(f.level, Level::Must);
        assert!(f.message.contains("leaves the audio group \"group_snd\" out"), "{}", f.message);
    }
    // With the group counted nothing of the kind is said.
    std::fs::write(dir.join("master.m3u8"), master(peak("2.m3u8"))).unwrap();
    let found = run(dir);
    assert!(rules(&found).is_disjoint(&["apple-9.13", "apple-1.27", "rivulet-bandwidth-1pct"].into()), "{:#?}", found.findings);
}

/// Peak and average of a playlist of ffmpeg's: every segment lasts as long as the target, so the peak is of one.
fn peak_bps(dir: &Path, list: &str) -> (u64, u64) {
    let text = std::fs::read_to_string(dir.join(list)).unwrap();
    let (mut seconds, mut all, mut peak) = (0.0f64, (0.0f64, 0.0f64), 0.0f64);
    for line in text.lines() {
        if let Some(s) = line.strip_prefix("#EXTINF:") {
            seconds = s.trim_end_matches(',').parse().unwrap();
        } else if !line.starts_with('#') && !line.is_empty() {
            let bits = std::fs::metadata(dir.join(line)).unwrap().len() as f64 * 8.0;
            peak = peak.max(bits / seconds);
            all = (all.0 + bits, all.1 + seconds);
        }
    }
    (peak.round() as u64, (all.0 / all.1).round() as u64)
}

// Shaka Packager: a file for each segment, sound apart, rates measured, every attribute there.
#[test]
fn a_shaka_like_package_is_blamed_for_what_it_leaves_out_and_for_no_more() {
    let Some(home) = ladder() else { return };
    let dir = home.path();
    let mut master = "#EXTM3U\n## Generated with packager version 3\n\n#EXT-X-INDEPENDENT-SEGMENTS\n\n\
        #EXT-X-MEDIA:TYPE=AUDIO,URI=\"2.m3u8\",GROUP-ID=\"default-audio-group\",LANGUAGE=\"en\",NAME=\"stream_2\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n\n"
        .to_string();
    let sound = peak_bps(dir, "2.m3u8");
    for (list, size, codec) in [("0.m3u8", "160x90", "avc1.42c00c"), ("1.m3u8", "320x180", "avc1.42c00d")] {
        let own = peak_bps(dir, list);
        master += &format!(
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codec},mp4a.40.2\",RESOLUTION={size},FRAME-RATE=25.000,AUDIO=\"default-audio-group\",CLOSED-CAPTIONS=NONE\n{list}\n",
            own.0 + sound.0,
            own.1 + sound.1
        );
    }
    std::fs::write(dir.join("master.m3u8"), master).unwrap();
    let report = run(dir);
    let expected = ["apple-6.1", "apple-9.10", "apple-9.21", "apple-1.32b"];
    assert_eq!(rules(&report), expected.into_iter().chain(OF_THE_MEDIA).collect(), "{:#?}", report.findings);
}
