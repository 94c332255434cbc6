//! Plants one fault after another in a good package: each must trigger its own rule and no other.

#[path = "support/plant.rs"]
mod plant;
mod support;

use plant::*;
use rivulet::check::{Level, RULES, Report, Target, check};
use rivulet::package::Captions;
use rivulet::progress::Ctx;
use std::collections::BTreeSet;
use std::path::Path;
use support::{DECLARED, GOOD, Shape, build, good_package, read_package, reseal, write_package};

fn run(dir: &Path) -> Report {
    check(&Target::Directory(dir.to_path_buf()), &Ctx::silent()).unwrap()
}

fn undeclared(report: &Report) -> BTreeSet<&str> {
    report.findings.iter().filter(|f| f.level != Level::Declared).map(|f| f.rule).collect()
}

#[test]
fn a_good_package_has_no_finding_beyond_the_declared() {
    let package = good_package();
    let report = run(package.path());
    assert_eq!(undeclared(&report), BTreeSet::new(), "{:#?}", report.findings);
    let declared: BTreeSet<&str> = report.findings.iter().map(|f| f.rule).collect();
    assert_eq!(declared, DECLARED.into(), "{:#?}", report.findings);
    assert_eq!((report.passes(), report.segments, report.notes.len()), (true, 24, 0));
    assert!(report.findings.iter().all(|f| f.message.contains("(cost: none)")));
}

/// Rule, what is planted, and rules that cannot but break with it.
const FAULTS: &[(&str, &str, Plant, &[&str])] = &[
    // Playlists.
    ("rfc8216bis-4.4.1.1", "no #EXTM3U", |d| edit(d, "v-144p.m3u8", "#EXTM3U\n", ""), &[]),
    ("rfc8216bis-4.1", "a byte order mark", |d| edit(d, "a-aac.m3u8", "#EXTM3U", "\u{feff}#EXTM3U"), &[]),
    ("rfc8216bis-4.1", "a control character", |d| edit(d, "a-aac.m3u8", "#EXT-X-ENDLIST", "# \u{7}\n#EXT-X-ENDLIST"), &[]),
    ("rfc8216bis-4.4.1.2", "two versions", |d| edit(d, "a-aac.m3u8", "#EXT-X-VERSION:7", "#EXT-X-VERSION:7\n#EXT-X-VERSION:7"), &[]),
    ("rfc8216bis-8", "a version too low", |d| edit(d, "v-72p.m3u8", "VERSION:7", "VERSION:5"), &[]),
    ("rfc8216bis-4.4.3", "a tag twice", |d| edit(d, "v-72p.m3u8", "#EXT-X-ENDLIST", "#EXT-X-ENDLIST\n#EXT-X-ENDLIST"), &[]),
    ("rfc8216bis-4.4.3.1-missing", "no target duration", |d| edit(d, "i-72p.m3u8", "#EXT-X-TARGETDURATION:6\n", ""), &["apple-6.9"]),
    (
        "rfc8216bis-4.4.3.1",
        "EXTINF over the target",
        |d| {
            edit(d, "v-72p.m3u8", "#EXTINF:6.00000", "#EXTINF:6.50000");
            edit(d, "v-72p.m3u8", "#EXTINF:6.00000", "#EXTINF:5.50000");
        },
        &[],
    ),
    ("rfc8216bis-4.4.3.4", "no end", |d| edit(d, "v-72p.m3u8", "#EXT-X-ENDLIST\n", ""), &[]),
    ("rfc8216bis-4.4.3.6", "an I-frame playlist that does not say so", |d| edit(d, "i-72p.m3u8", "#EXT-X-I-FRAMES-ONLY\n", ""), &[]),
    ("rfc8216bis-4.4.4.1", "EXTINF without comma", |d| edit(d, "v-72p.m3u8", "#EXTINF:6.00000,", "#EXTINF:6.00000"), &[]),
    ("rfc8216bis-4.4.4.2-outside", "a range past the end", |d| edit(d, "i-72p.m3u8", "#EXT-X-BYTERANGE:1", "#EXT-X-BYTERANGE:99999"), &[]),
    ("apple-8.6", "not VOD", |d| edit(d, "a-opus.m3u8", "#EXT-X-PLAYLIST-TYPE:VOD\n", ""), &[]),
    ("rfc8216bis-6.2.4-type", "another type", |d| edit(d, "a-opus.m3u8", "TYPE:VOD", "TYPE:EVENT"), &["apple-8.6"]),
    (
        "apple-8.1",
        "EXTINF off by more than a frame",
        |d| {
            edit(d, "a-opus.m3u8", "#EXTINF:6.00000", "#EXTINF:5.93000");
            edit(d, "a-opus.m3u8", "#EXTINF:6.00000", "#EXTINF:6.07000");
        },
        &[],
    ),
    (
        "apple-8.2",
        "another target duration for audio",
        |d| edit(d, "a-opus.m3u8", "DURATION:6", "DURATION:7"),
        &["apple-7.5", "rivulet-package"],
    ),
    ("apple-8.14", "a lone discontinuity", |d| edit(d, "v-144p.m3u8", "#EXTINF:4", "#EXT-X-DISCONTINUITY\n#EXTINF:4"), &[]),
    (
        "rfc8216bis-4.4.4.2",
        "a range that is none",
        |d| edit(d, "v-144p.m3u8", "#EXT-X-BYTERANGE", "#EXT-X-BYTERANGE:x\n#EXT-X-BYTERANGE"),
        &[],
    ),
    ("rfc8216bis-4.4.4.5", "a map without URI", |d| edit(d, "v-144p.m3u8", "#EXT-X-MAP", "#EXT-X-MAP:BYTERANGE=\"9@0\"\n#EXT-X-MAP"), &[]),
    (
        "rfc8216bis-4.4.4.3",
        "another size, and no discontinuity",
        |d| {
            let map = format!("#EXT-X-MAP:URI=\"v-72p.mp4\",BYTERANGE=\"{}@0\"\n#EXTINF:4", read_package(d).rungs[0].init_bytes);
            edit(d, "v-144p.m3u8", "#EXTINF:4", &map);
        },
        &[],
    ),
    ("rfc8216bis-4.1-mixed", "a media tag in the master", |d| edit(d, "master.m3u8", "#EXTM3U", "#EXTM3U\n#EXT-X-TARGETDURATION:6"), &[]),
    (
        "rfc8216bis-6.2.4-target",
        "another target duration for one rung",
        |d| edit(d, "v-144p.m3u8", "DURATION:6", "DURATION:7"),
        &["apple-7.5", "rivulet-package"],
    ),
    (
        "apple-7.5",
        "a target duration of 7 s everywhere",
        |d| {
            for entry in std::fs::read_dir(d).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".m3u8") && !["master.m3u8", "floor.m3u8", "video.m3u8"].contains(&&*name) {
                    edit(d, &name, "DURATION:6", "DURATION:7");
                }
            }
            change(d, |p| p.target_duration_s = 7);
        },
        &[],
    ),
    // Every EXTINF is over such a target too, and the other playlists have another.
    (
        "apple-7.7",
        "a target duration that is a second short",
        |d| edit(d, "v-144p.m3u8", "DURATION:6", "DURATION:5"),
        &["rfc8216bis-4.4.3.1", "rfc8216bis-6.2.4-target", "apple-7.5", "rivulet-package"],
    ),
    // The sum of EXTINF is what is off, so it is off from the media as well.
    (
        "apple-8.3",
        "a voice that is said to end later",
        |d| edit(d, "a-opus.m3u8", "#EXTINF:4.02000", "#EXTINF:5.20000"),
        &["apple-8.1", "rivulet-bandwidth-1pct"],
    ),
    // Of what cannot be opened no channels are known, and the declared mono is not seen.
    ("apple-8.20", "fMP4 without EXT-X-MAP", |d| edit(d, "v-72p.m3u8", "#EXT-X-MAP", "#EXT-MAP"), &["rivulet-stale-deviation"]),
    ("apple-8.22", "a voice cut elsewhere", |d| build(d, &Shape { opus_packets: [95, 103, 69], ..GOOD }), &[]),
    // Captions.
    (
        "rfc8216bis-3.1.4",
        "a cue that ends before it starts",
        |d| captions(d, &CUES.replace("02.500", "00.000"), "LANGUAGE=\"vi\",", 16),
        &[],
    ),
    ("apple-4.7", "captions without LANGUAGE", |d| captions(d, CUES, "", 16), &[]),
    ("apple-5.2", "captions that are SRT", |d| captions(d, "1\n00:00:00,000 --> 00:00:02,500\nXin\n", "LANGUAGE=\"vi\",", 16), &[]),
    ("apple-5.3", "no X-TIMESTAMP-MAP", |d| captions(d, "WEBVTT\n\n00:00.000 --> 00:02.500\nXin\n", "LANGUAGE=\"vi\",", 16), &[]),
    ("apple-5.5", "captions that end early", |d| captions(d, CUES, "LANGUAGE=\"vi\",", 10), &[]),
    // Master.
    ("rfc8216bis-4.4.6.2", "no BANDWIDTH", |d| attribute(d, "RESOLUTION=128x72,FRAME-RATE", "BANDWIDTH", |_| None), &[]),
    ("rfc8216bis-4.4.6.3", "no BANDWIDTH of I-frames", |d| attribute(d, "I-FRAME", "BANDWIDTH", |_| None), &[]),
    (
        "rfc8216bis-unreadable",
        "a playlist that is not there",
        |d| append(d, "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\",LANGUAGE=\"vi\",URI=\"gone.m3u8\""),
        &[],
    ),
    ("apple-1.3a", "every variant is of level 5.1", |d| avc_is(d, |c| format!("avc1.{}33", &c[..4])), &["apple-9.1-codecs"]),
    ("apple-1.12", "no variant is H.264", |d| avc_is(d, |_| "hvc1.1.6.L30".into()), &["apple-9.1", "apple-9.1-codecs"]),
    ("apple-1.33", "another shape", |d| edit(d, "master.m3u8", "RESOLUTION=128x72", "RESOLUTION=129x71"), &[]),
    (
        "apple-2.1",
        "sound alone in MPEG-TS",
        |d| transport_stream(d, "CODECS=\"mp4a.40.2\""),
        // It is an audio-only variant, and of unopened sound no channels are known.
        &["apple-9.20", "rivulet-stale-deviation"],
    ),
    (
        "apple-9.5",
        "sound and picture in one stream",
        |d| transport_stream(d, "CODECS=\"avc1.64000a,mp4a.40.2\",RESOLUTION=64x36,FRAME-RATE=2.000"),
        &["rivulet-stale-deviation"],
    ),
    // What is in package.json and in no playlist, and declared deviations of what is gone.
    ("apple-6.1", "no I-frames", |d| without(d, |l, _| l.contains("I-FRAME")), &["rivulet-package", "rivulet-stale-deviation"]),
    ("apple-6.6", "one I-frame rendition", |d| without(d, |l, _| l.contains("I-FRAME") && l.contains("i-144p")), &["rivulet-package"]),
    ("apple-9.9", "one rung", |d| without(d, |_, next| next.starts_with("v-144p")), &[]),
    ("apple-9.10", "one variant of the highest resolution", |d| without(d, |_, next| next == "v-144p-hi.m3u8"), &[]),
    (
        "apple-9.12",
        "nobody says that segments are independent",
        |d| {
            edit(d, "master.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS\n", "");
            edit(d, "v-144p.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS\n", "");
        },
        &["apple-9.11"],
    ),
    ("apple-9.16", "VIDEO-RANGE on one variant", |d| edit(d, "master.m3u8", "FRAME-RATE=2.000", "FRAME-RATE=2.000,VIDEO-RANGE=SDR"), &[]),
    ("apple-9.19", "SCORE on one variant", |d| edit(d, "master.m3u8", "FRAME-RATE=2.000", "FRAME-RATE=2.000,SCORE=1.0"), &[]),
    (
        "apple-9.20",
        "a variant of sound alone",
        |d| {
            std::fs::copy(d.join("a-opus.m3u8"), d.join("b.m3u8")).unwrap();
            let (peak, average) = (read_package(d).voices[0].peak_bps, read_package(d).voices[0].average_bps);
            append(d, &format!("#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"opus\"\nb.m3u8"));
        },
        &[],
    ),
    ("apple-1.30", "one dense segment", |d| build(d, &Shape { burst_bytes: 100_000, ..GOOD }), &[]),
    // A floor that is dense only in its first segment is bursty too, and its I-frames, declared as large, are a small share.
    (
        "apple-9.21",
        "a floor over 192 kbit/s",
        |d| build(d, &Shape { burst_bytes: 400_000, ..GOOD }),
        &["apple-1.30", "rivulet-stale-deviation"],
    ),
    ("rfc8216bis-4.2", "an attribute twice", |d| edit(d, "master.m3u8", "FRAME-RATE=2.000", "FRAME-RATE=2.000,FRAME-RATE=2.000"), &[]),
    ("rfc8216bis-4.4.6.1", "DEFAULT without AUTOSELECT", |d| edit(d, "master.m3u8", "AUTOSELECT=YES", "AUTOSELECT=NO"), &[]),
    ("rfc8216bis-4.4.6.1.1", "groups with other members", |d| edit(d, "master.m3u8", "NAME=\"Voice\"", "NAME=\"Other\""), &[]),
    (
        "rfc8216bis-4.4.6.2-group",
        "a group that is not there",
        |d| edit(d, "master.m3u8", "FRAME-RATE=2.000", "FRAME-RATE=2.000,SUBTITLES=\"x\""),
        &[],
    ),
    ("rfc8216bis-4.4.6.2-frame-rate", "a wrong FRAME-RATE", |d| attribute(d, "BANDWIDTH", "FRAME-RATE", |_| Some("1.000".into())), &[]),
    ("rfc8216bis-4.4.6.2-resolution", "a wrong RESOLUTION", |d| edit(d, "master.m3u8", "RESOLUTION=128x72", "RESOLUTION=130x72"), &[]),
    ("apple-9.1", "CODECS without the sound", |d| edit(d, "master.m3u8", ",opus\"", "\""), &[]),
    ("apple-9.1-codecs", "CODECS of another level", |d| edit(d, "master.m3u8", "avc1.64000a", "avc1.640029"), &[]),
    ("apple-9.2", "no RESOLUTION", |d| edit(d, "master.m3u8", "RESOLUTION=128x72,", ""), &[]),
    ("apple-9.15", "no FRAME-RATE", |d| edit(d, "master.m3u8", ",FRAME-RATE=2.000", ""), &[]),
    ("apple-9.14", "no AVERAGE-BANDWIDTH", |d| attribute(d, "FRAME-RATE", "AVERAGE-BANDWIDTH", |_| None), &[]),
    ("apple-9.11", "no EXT-X-INDEPENDENT-SEGMENTS", |d| edit(d, "master.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS\n", ""), &[]),
    (
        "apple-9.13",
        "the audio group left out",
        |d| {
            let alone = read_package(d).rungs[0].peak_bps;
            attribute(d, "opus", "BANDWIDTH", |_| None);
            edit(d, "master.m3u8", "#EXT-X-STREAM-INF:", &format!("#EXT-X-STREAM-INF:BANDWIDTH={alone},"));
        },
        &[],
    ),
    (
        "apple-1.27",
        "BANDWIDTH 15 % too low",
        |d| attribute(d, "RESOLUTION=128x72,FRAME-RATE", "BANDWIDTH", |b| Some(format!("{:.0}", b * 0.85))),
        &[],
    ),
    (
        "rivulet-bandwidth-1pct",
        "BANDWIDTH 3 % too high",
        |d| attribute(d, "RESOLUTION=128x72,FRAME-RATE", "BANDWIDTH", |b| Some(format!("{:.0}", b * 1.03))),
        &[],
    ),
    (
        "apple-1.26",
        "AVERAGE-BANDWIDTH 20 % too low",
        |d| attribute(d, "RESOLUTION=128x72,FRAME-RATE", "AVERAGE-BANDWIDTH", |b| Some(format!("{:.0}", b * 0.8))),
        &[],
    ),
    ("apple-6.9", "I-frame BANDWIDTH 20 % too high", |d| attribute(d, "I-FRAME", "BANDWIDTH", |b| Some(format!("{:.0}", b * 1.2))), &[]),
    (
        "rivulet-hlsjs-order",
        "FRAME-RATE falls",
        |d| attribute(d, "RESOLUTION=128x72,FRAME-RATE", "FRAME-RATE", |_| Some("3.000".into())),
        &[],
    ),
    ("apple-8.10", "no LANGUAGE", |d| edit(d, "master.m3u8", "LANGUAGE=\"vi\",", ""), &[]),
    // Boxes. Another codec than CODECS and package.json say is told there too.
    (
        "apple-1.1",
        "MPEG-4 part 2",
        |d| patch(d, "v-144p.mp4", b"avc1", 0, 0, b"mp4v"),
        &["apple-9.1", "apple-9.1-codecs", "rivulet-package"],
    ),
    ("apple-1.3", "High 10", |d| patch(d, "v-144p.mp4", b"avcC", 0, 5, &[110]), &["apple-9.1-codecs", "rivulet-package"]),
    ("apple-1.4", "Main", |d| patch(d, "v-144p.mp4", b"avcC", 0, 5, &[77]), &["apple-9.1-codecs", "rivulet-package"]),
    // frame_mbs_only_flag 0, and no VUI to keep the length.
    ("apple-1.14", "field pictures", |d| patch(d, "v-144p.mp4", b"avcC", 0, 20, &[0x60]), &[]),
    // Forty times the timescale: 80 pictures a second, and every time is off with them.
    (
        "apple-1.19",
        "80 pictures a second",
        |d| patch(d, "v-144p.mp4", b"mdhd", 0, 16, &3_600_000u32.to_be_bytes()),
        &["apple-8.1", "apple-8.22", "rfc8216bis-4.4.6.2-frame-rate", "rivulet-boundaries"],
    ),
    ("apple-1.21", "other primaries in one rung", |d| patch(d, "v-144p.mp4", b"colr", 0, 9, &[9]), &[]),
    (
        "apple-2.4",
        "HE-AAC of 75 kbit/s",
        |d| {
            build(d, &Shape { aac_bytes: 400, ..GOOD });
            patch(d, "a-aac.mp4", b"esds", 0, 30, &[0x2b]);
        },
        &["apple-9.1-codecs", "rivulet-package"],
    ),
    ("apple-2.17", "two sound tracks", |d| build(d, &Shape { twice: true, ..GOOD }), &[]),
    ("apple-2.24", "SBR that nobody announced", |d| build(d, &Shape { aac_samples: 2048, ..GOOD }), &[]),
    ("rfc8216bis-3.1.2-init", "no mvex", |d| patch(d, "v-144p.mp4", b"mvex", 0, 0, b"free"), &[]),
    ("rfc8216bis-3.1.2-segment", "no tfdt", |d| patch(d, "v-144p.mp4", b"tfdt", 1, 0, b"free"), &["apple-7.3"]),
    ("rfc8216bis-3.1.2-segment", "a sample outside the mdat", |d| patch(d, "v-144p.mp4", b"trun", 1, 60, &[0, 1, 0, 0]), &[]),
    ("rfc8216bis-3.1.2-base", "no default-base-is-moof", |d| patch(d, "v-144p.mp4", b"tfhd", 1, 5, &[0]), &[]),
    (
        "cmaf-7.2-brands",
        "no CMAF brand",
        |d| {
            patch(d, "v-144p.mp4", b"ftyp", 0, 4, b"iso6");
            patch(d, "v-144p.mp4", b"ftyp", 0, 16, b"iso6iso6");
        },
        &[],
    ),
    ("apple-7.3", "tfdt one tick late", |d| patch(d, "v-144p.mp4", b"tfdt", 1, 15, &[(540_000u32 & 0xff) as u8 + 1]), &[]),
    ("apple-7.3", "audio tfdt one tick late", |d| patch(d, "a-opus.mp4", b"tfdt", 1, 15, &[(288_000u32 & 0xff) as u8 + 1]), &[]),
    ("apple-7.4", "a segment starts without IDR", |d| patch(d, "v-144p.mp4", b"mdat", 1, 8, &[0x41]), &["apple-6.10"]),
    ("apple-7.4", "an IDR flagged as no sync sample", |d| patch(d, "v-144p.mp4", b"trun", 1, 16, &[1, 1, 0, 0]), &[]),
    (
        "apple-1.10",
        "a parameter set in the samples",
        |d| {
            let first = u32::from_be_bytes(
                std::fs::read(d.join("v-144p.mp4"))
                    .map(|data| {
                        let at = data.windows(4).position(|w| w == b"mdat").unwrap();
                        data[at + 4..at + 8].try_into().unwrap()
                    })
                    .unwrap(),
            );
            // The first unit of the second picture.
            patch(d, "v-144p.mp4", b"mdat", 0, 8 + first as isize + 4, &[0x68]);
        },
        &[],
    ),
    ("apple-1.11", "a level that nothing needs", |d| patch(d, "v-144p.mp4", b"avcC", 0, 15, &[41]), &[]),
    (
        "apple-6.10",
        "an I-frame range that is too short",
        |d| {
            let bytes = read_package(d).rungs[2].segments[1].iframe_bytes.unwrap();
            edit(d, "i-144p-hi.m3u8", &format!("BYTERANGE:{bytes}@"), &format!("BYTERANGE:{}@", bytes - 1));
        },
        // package.json has the range as well.
        &["rivulet-segments"],
    ),
    ("iso14496-12-8.6.6", "an edit at double speed", |d| patch(d, "a-aac.mp4", b"elst", 0, 21, &[2]), &[]),
    ("iso14496-12-priming", "Opus delay not signalled", |d| patch(d, "a-opus.mp4", b"elst", 0, 18, &[0, 0]), &[]),
    ("iso14496-12-priming", "AAC without edit list", |d| patch(d, "a-aac.mp4", b"edts", 0, 0, b"free"), &[]),
    ("apple-2.19", "no ludt", |d| patch(d, "a-aac.mp4", b"ludt", 0, 0, b"free"), &[]),
    ("apple-2.23", "a loudness that is not so", |d| patch(d, "a-aac.mp4", b"tlou", 0, 16, &[150]), &[]),
    ("iso14496-12-8.16.3", "a sidx that is off by a tick", |d| patch(d, "a-aac.mp4", b"sidx", 0, 35, &[1]), &[]),
    ("rivulet-sidx", "no sidx", |d| patch(d, "a-aac.mp4", b"sidx", 0, 0, b"free"), &[]),
    // What stands beside the ladder.
    ("rivulet-parts", "no floor.m3u8", |d| std::fs::remove_file(d.join("floor.m3u8")).unwrap(), &[]),
    ("rivulet-parts", "a part without its tag", |d| edit(d, "video.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS\n", ""), &[]),
    ("rivulet-floor-mp4", "no floor.mp4", |d| std::fs::remove_file(d.join("floor.mp4")).unwrap(), &[]),
    ("rivulet-floor-mp4", "a chunk outside mdat", |d| patch(d, "floor.mp4", b"stco", 0, 12, &[0, 0, 0, 9]), &[]),
    ("rivulet-floor-mp4", "another length", |d| patch(d, "floor.mp4", b"mvhd", 0, 20, &[0, 0x20, 0, 0]), &[]),
    (
        "rivulet-floor-peak",
        "a slide lecture with a fat floor",
        |d| {
            build(d, &Shape { burst_bytes: 90_000, ..GOOD });
            change(d, |p| p.shape = "slides".into());
        },
        &["apple-1.30"],
    ),
    (
        "rivulet-captions",
        "cues that package.json does not count",
        |d| {
            captions(d, CUES, "LANGUAGE=\"vi\",", 16);
            std::fs::rename(d.join("s.m3u8"), d.join("c-vi.m3u8")).unwrap();
            edit(d, "master.m3u8", "\"s.m3u8", "\"c-vi.m3u8");
            change(d, |p| {
                let (bytes, average_bps) = (CUES.len() as u64, CUES.len() as u64 / 2);
                p.captions = vec![Captions { language: "vi".into(), cues: 2, bytes, average_bps, source_sha256: p.plan }];
            });
        },
        &[],
    ),
    ("rivulet-slides", "a poster that is no picture", |d| std::fs::write(d.join("poster.webp"), "RIFE").unwrap(), &[]),
    ("rivulet-slides", "a poster too small to see", |d| std::fs::write(d.join("poster.webp"), webp(8, 90)).unwrap(), &[]),
    ("rivulet-slides", "a track of no slides", |d| std::fs::write(d.join("slides.vtt"), "WEBVTT\n").unwrap(), &[]),
];

/// Faults of package.json and of the directory: digests are not brought into line afterwards.
const UNSEALED: &[(&str, &str, Plant)] = &[
    ("rivulet-files", "a file gone", |d| std::fs::remove_file(d.join("poster.webp")).unwrap()),
    ("rivulet-files", "a file too many", |d| std::fs::write(d.join("stray.txt"), "x").unwrap()),
    ("rivulet-digest", "another picture", |d| std::fs::write(d.join("poster.webp"), webp(16, 91)).unwrap()),
    ("rivulet-slides", "a slide without its still", |d| change(d, |p| p.slides.push(slide()))),
    ("rivulet-digest", "a wrong digest", |d| change(d, |p| p.files.get_mut("v-72p.mp4").unwrap().sha256 = p.plan)),
    ("rivulet-digest", "wrong bytes", |d| change(d, |p| p.files.get_mut("poster.webp").unwrap().bytes = 9)),
    ("rivulet-segment-digest", "a flipped byte of media", |d| patch(d, "a-aac.mp4", b"mdat", 1, 50, &[0xee])),
    ("rivulet-segment-digest", "a wrong segment digest", |d| change(d, |p| p.rungs[1].segments[2].sha256 = p.plan)),
    ("rivulet-segments", "a wrong duration", |d| change(d, |p| p.voices[0].segments[1].duration += 1)),
    ("rivulet-segments", "a wrong offset", |d| change(d, |p| p.voices[0].segments[1].offset += 1)),
    ("rivulet-segments", "a wrong I-frame", |d| change(d, |p| *p.rungs[1].segments[1].iframe_bytes.as_mut().unwrap() += 1)),
    ("rivulet-rates", "a wrong peak", |d| change(d, |p| p.rungs[1].peak_bps += 200)),
    ("rivulet-rates", "a wrong average", |d| change(d, |p| p.voices[1].average_bps -= 200)),
    ("rivulet-rates", "a wrong I-frame peak", |d| change(d, |p| p.rungs[0].iframe_peak_bps += 200)),
    ("rivulet-rates", "a wrong I-frame average", |d| change(d, |p| p.rungs[2].iframe_average_bps -= 200)),
    ("rivulet-boundaries", "a wrong boundary", |d| change(d, |p| p.boundaries_s[1] = 6.5)),
    ("rivulet-package", "a wrong codec", |d| change(d, |p| p.rungs[0].codec = "avc1.640029".into())),
    ("rivulet-package", "a rung that is not there", |d| {
        change(d, |p| {
            let mut rung = p.rungs[0].clone();
            rung.name = "1080p".into();
            p.rungs.push(rung);
        })
    }),
    ("rivulet-stale-deviation", "a deviation that does not happen", |d| change(d, |p| p.deviations[0].rule = "apple-9.21".into())),
    ("apple-2.3", "a deviation not declared", |d| change(d, |p| p.deviations.retain(|d| d.rule != "apple-2.3"))),
];

fn change(dir: &Path, f: impl Fn(&mut rivulet::package::Package)) {
    let mut package = read_package(dir);
    f(&mut package);
    write_package(dir, &package);
}

#[test]
fn each_fault_triggers_its_own_rule_and_no_other() {
    let mut wrong = Vec::new();
    for (rule, what, plant, also) in FAULTS {
        let package = good_package();
        plant(package.path());
        reseal(package.path());
        let report = run(package.path());
        let found = undeclared(&report);
        let expected: BTreeSet<&str> = also.iter().copied().chain([*rule]).collect();
        if found != expected {
            wrong.push(format!(
                "{what}: expected {expected:?}, found {:#?}",
                report.findings.iter().filter(|f| f.level != Level::Declared).collect::<Vec<_>>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_fault_of_package_json_triggers_its_own_rule_and_no_other() {
    let mut wrong = Vec::new();
    for (rule, what, plant) in UNSEALED {
        let package = good_package();
        plant(package.path());
        let report = run(package.path());
        let mut found = undeclared(&report);
        // Renaming a declaration also leaves its own rule undeclared.
        if *rule == "rivulet-stale-deviation" {
            assert!(found.remove(DECLARED[0]), "{what}");
        }
        if found != BTreeSet::from([*rule]) {
            wrong.push(format!(
                "{what}: expected {rule}, found {:#?}",
                report.findings.iter().filter(|f| f.level != Level::Declared).collect::<Vec<_>>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules that no fault here can break, and where they are tested.
const ELSEWHERE: [(&str, &str); 5] = [
    ("apple-8.18", "of a server: tests/check_http.rs"),
    ("apple-10.1", "of a server: tests/check_http.rs"),
    ("apple-10.4", "of a server: tests/check_http.rs"),
    ("rivulet-range", "of a server: tests/check_http.rs"),
    ("apple-12.1", "of a server that is not this machine: src/check/served.rs"),
];

// The good package breaks DECLARED, and the test of it says that they are found.
#[test]
fn every_rule_has_a_fault_that_breaks_it() {
    let planted: BTreeSet<&str> =
        FAULTS.iter().map(|f| f.0).chain(UNSEALED.iter().map(|f| f.0)).chain(ELSEWHERE.iter().map(|e| e.0)).chain(DECLARED).collect();
    assert_eq!(RULES.iter().map(|r| r.id).collect::<BTreeSet<_>>(), planted);
}

#[test]
fn captions_that_are_right_break_nothing() {
    let package = good_package();
    captions(package.path(), CUES, "LANGUAGE=\"vi\",", 16);
    reseal(package.path());
    let report = run(package.path());
    assert_eq!(undeclared(&report), BTreeSet::new(), "{:#?}", report.findings);
}

// Who writes package.json knows what is broken on purpose: a SHOULD that is not declared there fails. A stranger is warned.
#[test]
fn an_undeclared_should_fails_in_a_package_of_ours_and_warns_elsewhere() {
    let package = good_package();
    edit(package.path(), "master.m3u8", "FRAME-RATE=2.000", "FRAME-RATE=2.000,SCORE=1.0");
    reseal(package.path());
    let level = |report: &Report| report.findings.iter().find(|f| f.rule == "apple-9.19").map(|f| f.level);
    let ours = run(package.path());
    assert_eq!((level(&ours), ours.passes()), (Some(Level::Must), false));
    std::fs::remove_file(package.path().join("package.json")).unwrap();
    assert_eq!(level(&run(package.path())), Some(Level::Should));
}

#[test]
fn a_broken_package_json_is_a_finding_and_declares_nothing() {
    let package = good_package();
    std::fs::write(package.path().join("package.json"), "{").unwrap();
    let found = run(package.path());
    assert!(undeclared(&found).contains("rivulet-package") && undeclared(&found).contains("apple-2.3"));
}

// Whatever a stranger's bytes say, the checker ends with a report.
#[test]
fn damaged_media_gives_findings_and_never_a_panic() {
    let package = good_package();
    let dir = package.path();
    // xorshift64, so that a failure can be repeated.
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for file in ["v-144p.mp4", "a-aac.mp4", "a-opus.mp4", "v-144p.m3u8", "i-72p.m3u8", "master.m3u8"] {
        let good = std::fs::read(dir.join(file)).unwrap();
        for _ in 0..60 {
            let mut bad = good.clone();
            for _ in 0..1 + next(6) {
                // Headers are in front; most damage goes there.
                let within = if next(4) == 0 { bad.len() } else { bad.len().min(1200) };
                let at = next(within);
                bad[at] = [0, 0xff, 0x7f, next(256) as u8][next(4)];
            }
            bad.truncate(bad.len().saturating_sub(next(3) * next(200)));
            std::fs::write(dir.join(file), &bad).unwrap();
            // A text that is no playlist any more is refused, which is an answer too.
            if let Ok(report) = check(&Target::Directory(dir.to_path_buf()), &Ctx::silent()) {
                assert!(!report.passes() || bad == good, "{file}: damage went unseen");
            }
        }
        std::fs::write(dir.join(file), &good).unwrap();
    }
}
