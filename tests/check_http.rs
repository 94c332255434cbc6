//! The checker over HTTP: what a server does wrong is found, and a server that does it right is not blamed.

mod support;

use rivulet::check::{Level, Target, check};
use rivulet::progress::Ctx;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq)]
enum Manners {
    Good,
    /// Plain text, no ranges, no types, and a redirect.
    Bad,
}

fn answer(stream: TcpStream, dir: &Path, manners: Manners) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut line, mut range) = (String::new(), None);
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.trim_start_matches('/').to_string();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (a, b) = value.trim().split_once('-')?;
            range = Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?));
        }
    }
    let (name, moved) = (path.split('?').next()?, path.contains('?'));
    let mut out = stream;
    if manners == Manners::Bad && name == "v-144p.m3u8" && !moved {
        return write!(out, "HTTP/1.1 302 Found\r\nLocation: /{name}?x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
    let Ok(mut body) = std::fs::read(dir.join(name)) else {
        return write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    };
    let mut head = "200 OK\r\n".to_string();
    if manners == Manners::Good {
        head += match name {
            n if n.ends_with(".m3u8") => "",
            n if n.starts_with("a-") => "Content-Type: audio/mp4\r\n",
            _ => "Content-Type: video/mp4\r\n",
        };
        if name.ends_with(".m3u8") {
            let mut packed = Vec::new();
            flate2::read::GzEncoder::new(&body[..], flate2::Compression::default()).read_to_end(&mut packed).ok()?;
            body = packed;
            head += "Content-Type: application/vnd.apple.mpegurl\r\nContent-Encoding: gzip\r\n";
        }
        if let Some((a, b)) = range {
            head = head.replacen("200 OK", "206 Partial Content", 1) + &format!("Content-Range: bytes {a}-{b}/{}\r\n", body.len());
            body = body[a..(b + 1).min(body.len())].to_vec();
        }
    }
    write!(out, "HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).ok()?;
    out.write_all(&body).ok()
}

fn serve(dir: PathBuf, manners: Manners) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &dir, manners);
        }
    });
    format!("http://{address}")
}

fn rules(url: &str) -> BTreeSet<&'static str> {
    check(&Target::Url(url.to_string()), &Ctx::silent()).unwrap().findings.iter().map(|f| f.rule).collect()
}

const DELIVERY: [&str; 4] = ["apple-8.18", "apple-10.1", "apple-10.4", "rivulet-range"];

#[test]
fn a_good_server_breaks_no_rule_of_delivery() {
    let package = support::good_package();
    let url = format!("{}/master.m3u8", serve(package.path().into(), Manners::Good));
    let file = package.path().join("master.m3u8");
    // The package.json beside a playlist declares what it breaks on purpose; a stranger's playlist has nobody to speak for it.
    for there in [true, false] {
        for target in [Target::Url(url.clone()), Target::File(file.clone())] {
            let report = check(&target, &Ctx::silent()).unwrap();
            assert_eq!(report.findings.iter().map(|f| f.rule).collect::<BTreeSet<_>>(), support::DECLARED.into());
            let declared = report.findings.iter().filter(|f| f.level == Level::Declared).count();
            assert_eq!(declared, if there { report.findings.len() } else { 0 }, "{target:?}: {:?}", report.findings);
            assert_eq!(report.passes(), there, "{target:?}");
        }
        if there {
            // Somebody else's file of that name says nothing.
            std::fs::write(package.path().join("package.json"), r#"{"name": "a-web-site", "version": "1.0.0"}"#).unwrap();
        }
    }
}

#[test]
fn redirects_plain_text_missing_types_and_ignored_ranges_are_found() {
    let package = support::good_package();
    let found = rules(&format!("{}/master.m3u8", serve(package.path().into(), Manners::Bad)));
    assert_eq!(found, support::DECLARED.into_iter().chain(DELIVERY).collect());
}

#[test]
fn what_cannot_be_reached_and_what_is_no_playlist_have_their_exit_codes() {
    let run = |target: &str| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["check", target]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).lines().count() > 0)
    };
    let package = support::good_package();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&format!("http://{closed}/master.m3u8")), (Some(5), true));
    assert_eq!(run(&format!("{}/none.m3u8", serve(package.path().into(), Manners::Good))), (Some(4), true));
    assert_eq!(run(package.path().join("poster.webp").to_str().unwrap()), (Some(4), true));
    assert_eq!(run(package.path().join("none").to_str().unwrap()), (Some(4), true));
    assert_eq!(run(package.path().to_str().unwrap()).0, Some(0));
    std::fs::remove_file(package.path().join("poster.webp")).unwrap();
    assert_eq!(run(package.path().to_str().unwrap()).0, Some(1));
}
