//! What a frame costs on its way to the encoders, beside swscale's bicubic (one thread each), where ffmpeg is installed.
//!
//! `cargo bench --bench picture`. Input: a moving synthetic picture with text-like edges, 60 of them. Least of five
//! rounds, as the machine may be busy. CPU time of this process and of ffmpeg, not wall time.

use rivulet::picture::{Cascade, Colour, Depth, Look, Plane, Scaler, Turn, View};
use rivulet::units::Size;
use std::io::Write;
use std::process::{Command, Stdio};

const FRAMES: usize = 60;
const ROUNDS: usize = 5;

fn main() {
    let rungs = [size(1280, 720), size(960, 540), size(640, 360), size(426, 240)];
    println!("{:<34}{:>12}{:>12}", "CPU ms a frame", "rivulet", "swscale");
    for from in [size(1920, 1080), size(1280, 720)] {
        let pictures: Vec<Vec<u8>> = (0..FRAMES).map(|i| picture(from, i, 1)).collect();
        let nothing = swscale(from, &pictures, "");
        let smaller: Vec<Size> = rungs.into_iter().filter(|r| r.width < from.width).collect();
        for &to in &smaller {
            let mut scaler = Scaler::new(from, to);
            let ours = least(|| pictures.iter().for_each(|p| drop(scaler.scale(&view(Depth::Eight, from, p)).expect("the sizes match"))));
            let theirs = swscale(from, &pictures, &format!("[0]scale={}:{}:flags=bicubic", to.width, to.height));
            row(&format!("{from} to {to}"), ours, theirs.zip(nothing).map(|(t, n)| t - n));
        }
        let look = Look { size: from, depth: Depth::Eight, colour: Colour::default(), turn: Turn::default() };
        let mut cascade = Cascade::new(look, &smaller);
        let ours = least(|| pictures.iter().for_each(|p| drop(cascade.make(&view(Depth::Eight, from, p)).expect("it looks as said"))));
        let graph = smaller.iter().enumerate().fold(format!("[0]split={}", smaller.len()), |g, (i, _)| g + &format!("[s{i}]"));
        let graph =
            smaller.iter().enumerate().fold(graph, |g, (i, r)| g + &format!(";[s{i}]scale={}:{}:flags=bicubic[o{i}]", r.width, r.height));
        let theirs = swscale(from, &pictures, &graph);
        row(&format!("{from} to all {} below", smaller.len()), ours, theirs.zip(nothing).map(|(t, n)| t - n));
    }
    let from = size(1920, 1080);
    for (what, depth, colour, turn) in [
        ("1080p turned by 90", Depth::Eight, Colour::default(), Turn::new(90, false)),
        ("1080p 10-bit SDR", Depth::Ten, Colour::default(), Turn::default()),
        ("1080p 10-bit HLG", Depth::Ten, Colour::new(Some("hlg"), false), Turn::default()),
        ("1080p full range", Depth::Eight, Colour::new(None, true), Turn::default()),
    ] {
        let pictures: Vec<Vec<u8>> = (0..FRAMES / 4).map(|i| picture(from, i, depth.bytes())).collect();
        let mut cascade = Cascade::new(Look { size: from, depth, colour, turn }, &[turn.size(from)]);
        let ours = least(|| pictures.iter().for_each(|p| drop(cascade.make(&view(depth, from, p)).expect("it looks as said"))));
        row(what, ours * 4.0, None);
    }
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

fn row(what: &str, ours: f64, theirs: Option<f64>) {
    let ms = |s: f64| format!("{:.2}", s * 1e3 / FRAMES as f64);
    println!("{what:<34}{:>12}{:>12}", ms(ours), theirs.map_or("-".into(), ms));
}

/// CPU seconds of the quickest round.
fn least(mut work: impl FnMut()) -> f64 {
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux keeps the time of a process");
        stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("in nanoseconds") / 1e9
    };
    (0..ROUNDS)
        .map(|_| {
            let start = cpu();
            work();
            cpu() - start
        })
        .fold(f64::INFINITY, f64::min)
}

/// User seconds of ffmpeg with a filter graph; empty only reads. `None` without ffmpeg.
fn swscale(from: Size, pictures: &[Vec<u8>], graph: &str) -> Option<f64> {
    let once = || {
        let mut command = Command::new("ffmpeg");
        command.args([
            "-v",
            "info",
            "-benchmark",
            "-threads",
            "1",
            "-filter_complex_threads",
            "1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
        ]);
        command.args(["-s", &from.to_string(), "-i", "-"]);
        if graph.contains("[o0]") {
            command.args(["-filter_complex", graph]);
            (0..graph.matches("[o").count()).for_each(|i| {
                command.args(["-map", &format!("[o{i}]"), "-f", "null", "-"]);
            });
        } else {
            if !graph.is_empty() {
                command.args(["-filter_complex", graph]);
            }
            command.args(["-f", "null", "-"]);
        }
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
        let mut stdin = child.stdin.take()?;
        pictures.iter().try_for_each(|p| stdin.write_all(p)).ok()?;
        drop(stdin);
        let said = String::from_utf8_lossy(&child.wait_with_output().ok()?.stderr).into_owned();
        said.split("utime=").nth(1)?.split('s').next()?.parse::<f64>().ok()
    };
    (0..ROUNDS).map(|_| once()).try_fold(f64::INFINITY, |least, t| Some(t?.min(least)))
}

/// Diagonal stripes of many widths that move by a pixel a frame.
fn picture(size: Size, i: usize, bytes: usize) -> Vec<u8> {
    let (w, h) = (size.width as usize, size.height as usize);
    let mut out = Vec::with_capacity(w * h * 3 / 2 * bytes);
    let mut put = |v: usize| if bytes == 1 { out.push(v as u8) } else { out.extend((v as u16 * 4).to_le_bytes()) };
    for y in 0..h {
        (0..w).for_each(|x| put(16 + (x + i + y * x / 640) * 7 % 220));
    }
    for k in 0..w * h / 2 {
        put(64 + (k / 16 + i) % 128);
    }
    out
}

fn view(depth: Depth, size: Size, data: &[u8]) -> View<'_> {
    let (row, luma) = (size.width as usize * depth.bytes(), size.width as usize * size.height as usize * depth.bytes());
    let plane = |data, stride| Plane { data, stride };
    let planes = [plane(&data[..luma], row), plane(&data[luma..luma * 5 / 4], row / 2), plane(&data[luma * 5 / 4..], row / 2)];
    View::new(depth, size, planes).expect("the picture is whole")
}
