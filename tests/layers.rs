//! The architecture, tested: imports point one way, and each foreign world (GStreamer, AWS, HTTP, TLS, the terminal) is
//! behind one door. The picture is in lib.rs, the reasons in docs/glossary.md and the module comments. Test modules are
//! free to reach further: only what stands before a file's `#[cfg(test)]` counts.

use std::path::{Path, PathBuf};

/// Modules by level. A module may import its own level and those above in this list, never one below.
const LEVELS: &[(&str, &[&str])] = &[
    ("quantities and errors", &["units", "rate", "link", "legible", "error", "clock", "uri"]),
    ("talking and stopping", &["progress", "offload"]),
    ("tools", &["child", "cache", "workdir", "picture", "gst"]),
    ("values and stores", &["package", "captions", "profile", "course", "manifest", "store"]),
    ("facts", &["probe", "timeline"]),
    ("decision", &["plan"]),
    // Below the encoder, which has its own output judged before it takes its name.
    ("judgement", &["check"]),
    ("description", &["pipeline"]),
    ("media work", &["voice", "encode"]),
    ("uses", &["ingest", "pages", "publish", "serve", "replay"]),
    ("command line", &["cli"]),
];

const MEDIA: &[&str] = &["gst", "probe", "pipeline", "voice", "encode"];

/// A crate or path, and the only places (prefixes below src/) that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("gstreamer", MEDIA),
    ("gstreamer_app", MEDIA),
    ("gstreamer_audio", MEDIA),
    ("gstreamer_pbutils", MEDIA),
    ("gstreamer_video", MEDIA),
    ("aws_sdk_s3", &["store/s3"]),
    ("aws_credential_types", &["store/s3"]),
    ("aws_runtime", &["store/s3"]),
    ("aws_smithy_runtime_api", &["store/s3"]),
    ("aws_smithy_types", &["store/s3"]),
    ("aws_types", &["store/s3"]),
    ("hyper", &["store/s3"]),
    ("hyper_rustls", &["store/s3"]),
    ("hyper_util", &["store/s3"]),
    ("socket2", &["store/s3"]),
    ("axum", &["serve"]),
    ("tokio_rustls", &["serve", "store/s3/bench"]),
    ("ureq", &["check"]),
    ("rustls", &["check", "serve", "store/s3"]),
    ("indicatif", &["cli"]),
    ("clap", &["cli", "main.rs"]),
    ("IsTerminal", &["cli"]),
];

/// The pure middle: what these prefixes must not name, because they decide and never do.
const PURE: &[(&str, &[&str])] = &[
    ("units", &["tokio", "fs", "process", "net", "thread"]),
    ("plan", &["tokio", "fs", "process", "net", "thread", "SystemTime", "Instant"]),
    ("legible", &["tokio", "fs", "process", "net", "thread", "SystemTime", "Instant"]),
    ("encode/search/lines", &["gstreamer", "tokio", "fs", "process", "net", "thread", "SystemTime", "Instant"]),
    ("rate", &["tokio", "fs", "process", "net", "thread", "SystemTime", "Instant"]),
    ("package", &["tokio", "process", "net", "SystemTime", "Instant"]),
    ("captions", &["tokio", "fs", "process", "net", "thread", "SystemTime", "Instant"]),
    ("profile", &["tokio", "process", "net"]),
    ("replay", &["tokio", "fs", "process", "thread", "SystemTime", "Instant"]),
];

/// Every source file as (path below src/, code without comments and tests).
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
                found.push((name, code(&std::fs::read_to_string(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn code(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    before_tests.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `a/b.rs` and `a.rs` belong to module `a`.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The top-level modules that `crate::...` paths of this code name: `crate::a::b` and `crate::{a::b, c}`.
fn imports(code: &str) -> Vec<String> {
    let ident = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` of a macro and `some_crate::` are other things.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(ident(rest));
            continue;
        };
        let (mut depth, mut first) = (1, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => first = true,
                c if first && depth == 1 && !c.is_whitespace() => {
                    found.push(ident(&group[i..]));
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    found.sort();
    found.dedup();
    found
}

/// Whether the code names this path part: `name::` and `::name` anywhere, or the bare name on a `use` line.
fn names(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let whole = !before.ends_with(word) && !after.starts_with(word);
        let line = before.rsplit('\n').next().unwrap_or(before);
        whole && (after.starts_with("::") || before.ends_with("::") || line.trim_start().starts_with("use "))
    })
}

/// Broken rules in one file, as sentences.
fn faults(file: &str, code: &str) -> Vec<String> {
    // `memalign.rs` is the program's, not the library's: the only unsafe code.
    if matches!(file, "main.rs" | "lib.rs" | "memalign.rs") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let own = module(file);
    match level(own) {
        None => found.push(format!("src/{file}: module {own} has no level; give it one in tests/layers.rs and a line in lib.rs's picture")),
        Some(own_level) => {
            for other in imports(code) {
                if level(&other).is_some_and(|l| l > own_level) {
                    let (a, b) = (LEVELS[own_level].0, LEVELS[level(&other).unwrap()].0);
                    found.push(format!("src/{file}: {own} ({a}) imports crate::{other} ({b}); imports point the other way"));
                }
            }
        }
    }
    let below = |prefix: &str| file == prefix || file.strip_suffix(".rs") == Some(prefix) || file.starts_with(&format!("{prefix}/"));
    for (world, doors) in DOORS {
        if names(code, world) && !doors.iter().any(|d| below(d)) {
            found.push(format!("src/{file}: names {world}, which only {} may", doors.join(", ")));
        }
    }
    for (prefix, banned) in PURE {
        for effect in banned.iter().filter(|b| below(prefix) && names(code, b)) {
            found.push(format!("src/{file}: {prefix} decides and never does, but names {effect}"));
        }
    }
    found
}

#[test]
fn imports_point_one_way_and_every_foreign_world_has_one_door() {
    let sources = sources();
    assert!(sources.iter().any(|(file, _)| file == "cli.rs"), "found no sources");
    let found: Vec<String> = sources.iter().flat_map(|(file, code)| faults(file, code)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_picture_in_lib_rs_names_every_module_and_no_other() {
    let lib = include_str!("../src/lib.rs");
    let (picture, code) = lib.split_once("#![forbid").unwrap();
    let named: std::collections::BTreeSet<&str> = picture
        .lines()
        .filter(|l| l.starts_with("//! | ["))
        .flat_map(|l| l.split("[`").skip(1).filter_map(|p| p.split("`]").next()))
        .collect();
    let real = code.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(named, real);
    let all: std::collections::BTreeSet<&str> =
        code.lines().filter_map(|l| l.strip_prefix("pub ").unwrap_or(l).strip_prefix("mod ")?.strip_suffix(';')).collect();
    let levelled = LEVELS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    assert_eq!(all, levelled, "the levels");
}

// The rules bite: each planted fault is found, and its innocent neighbour is not.
#[test]
fn a_planted_fault_is_found() {
    let wrong = [
        ("plan/ladder.rs", "use crate::encode::Chunk;"),
        ("store/dir.rs", "use crate::{error::Result, publish};"),
        ("probe.rs", "fn f() { crate::cli::run(x) }"),
        ("publish.rs", "use gstreamer as gst;"),
        ("package/mp4.rs", "use tokio::io::AsyncWrite;"),
        ("plan.rs", "let text = std::fs::read_to_string(p);"),
        ("store/dir.rs", "use aws_sdk_s3::Client;"),
        ("encode.rs", "use std::io::{IsTerminal, Write};"),
        ("novelty.rs", ""),
        ("package/playlist.rs", "use crate::check::Report;"),
        ("check.rs", "use crate::encode;"),
        ("profile.rs", "use crate::plan::class;"),
    ];
    for (file, code) in wrong {
        assert_eq!(faults(file, code).len(), 1, "{file}: {code}: {:?}", faults(file, code));
    }
    let right = [
        ("encode/chunk.rs", "use crate::{plan::{Plan, Rung}, probe};\nuse gstreamer as gst;"),
        ("plan.rs", "use crate::probe::Source;\nlet megabytes = offset; let process = 1;"),
        ("encode/commit.rs", "use crate::check::{Target, check};"),
        ("cli/publish.rs", "use crate::publish;\nuse clap::Args;"),
        ("store/s3.rs", "use aws_sdk_s3::Client;"),
    ];
    for (file, code) in right {
        assert_eq!(faults(file, code), Vec::<String>::new(), "{file}");
    }
    // Comments and tests are not the program.
    assert_eq!(code("//! crate::cli\nfn f() {}\n#[cfg(test)]\nmod tests { use crate::cli; }"), "fn f() {}");
}
