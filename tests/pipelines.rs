//! `rivulet pipelines check`: the built-in pipelines build with every profile, and what is misspelt is named.

use std::process::{Command, Output};

fn check(more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["--json", "pipelines", "check"]).args(more).output().unwrap()
}

#[test]
fn what_is_built_in_builds_with_every_profile() {
    let done = check(&[]);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{err}");
    for role in ["decode", "rung-h264", "voice-opus", "still-webp"] {
        for profile in ["rural-3g", "edge", "campus"] {
            let line = |l: &&str| l.contains(&format!("\"pipeline\":\"{role}\"")) && l.contains(&format!("\"profile\":\"{profile}\""));
            assert!(out.lines().any(|l| line(&l) && l.contains("\"faults\":[]")), "{role} {profile}: {out}");
        }
    }
}

#[test]
fn a_misspelt_element_property_or_caps_field_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sound = include_str!("../pipelines/still-webp.gst");
    for (right, wrong) in [("webpenc", "webpencc"), ("preset=text", "prisset=text"), ("colorimetry=bt601", "colourimetry=bt601")] {
        assert!(sound.contains(right));
        std::fs::write(dir.path().join("still-webp.gst"), sound.replace(right, wrong)).unwrap();
        let done = check(&["--pipelines", dir.path().to_str().unwrap()]);
        let out = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(1), "{wrong}: {out}");
        let told = wrong.split(['=', ' ']).next().unwrap();
        assert!(out.lines().any(|l| l.contains("still-webp") && l.contains(told)), "{wrong}: {out}");
    }
}

/// x264 looks at its options when it starts: a recording that fails for one is too late.
#[test]
fn an_option_that_the_encoder_does_not_know_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let rung = include_str!("../pipelines/rung-h264.gst");
    for (right, wrong) in [
        (":me={motion}", ":mee={motion}"),
        ("scenecut=0", "scenecut=nought"),
        ("speed-preset={preset}", "speed-preset={preset} pass=pass2"),
    ] {
        assert!(rung.contains(right));
        std::fs::write(dir.path().join("rung-h264.gst"), rung.replace(right, wrong)).unwrap();
        let done = check(&["--pipelines", dir.path().to_str().unwrap()]);
        let out = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(1), "{wrong}: {out}");
        assert!(out.lines().any(|l| l.contains("rung-h264") && l.contains("codes no picture")), "{wrong}: {out}");
    }
}
