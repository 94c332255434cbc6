"""What benches/player.py plays: a published course, stock players' pages beside it, and the same lecture on Apple's ladder."""

import json
import shutil
import subprocess

import common

OUT = common.OUT / "player"
RECORDINGS = common.ROOT / "fixtures" / "out"
LONG_S = 320  # More than the 300 s that are played on a trace.
COURSE = "bench"
# Apple's HLS authoring specification, table of 16:9 AVC, up to the lecture's own 720 lines: (width, height, kbit/s).
APPLE = [(416, 234, 145), (640, 360, 365), (768, 432, 730), (768, 432, 1100), (960, 540, 2000), (1280, 720, 3000)]
PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>
<video id="video" controls playsinline width="400"></video><script src="{library}"></script><script src="{name}.js"></script>
"""
# Stock: nothing set.
HLS_JS = """const hls = new Hls(); hls.loadSource("{source}"); hls.attachMedia(video); video.play();
"""
SHAKA = """shaka.polyfill.installAll(); const player = new shaka.Player(); player.attach(video).then(() => player.load("{source}")).then(() => video.play());
"""


def publish(long):
    """The store, and which voice (bit/s) and how long the longest lecture is. Made again only where something changed."""
    store, course = OUT / "store", OUT / "course"
    course.mkdir(parents=True, exist_ok=True)
    if not (RECORDINGS / "lecture.mp4").exists():
        raise SystemExit(f"bench-player: {RECORDINGS / 'lecture.mp4'} is not there; run: make fixtures")
    shutil.copy2(RECORDINGS / "lecture.mp4", course / "lecture.mp4")
    # The second is another lecture by its bytes: it begins a second later.
    lectures = {"bai-1": "lecture.mp4", "bai-2": "lecture.mp4"}
    if long:
        lectures["dai"] = looped().name
    text = f'id = "{COURSE}"\ntitle = "Bench"\nlanguage = "vi"\nlicence = "CC-BY-4.0"\n[[modules]]\nid = "m"\ntitle = "M"\n'
    for ident, name in lectures.items():
        text += f'[[lectures]]\nid = "{ident}"\ntitle = "{ident}"\nmodule = "m"\nrecording = "{name}"\n'
        text += "trims = { start = 1.0 }\n" if ident == "bai-2" else ""
    (course / "course.toml").write_text(text)
    common.Run([common.rivulet(), "publish", course / "course.toml", "--to", store], 3600, {"RIVULET_WORK": str(OUT / "work")})
    # Another version of the pages alone is no reason for a release.
    common.Run([common.rivulet(), "check", store, "--repair"], 600, {"RIVULET_WORK": str(OUT / "work")})
    current = json.loads((store / "courses" / COURSE / "current.json").read_text())
    release = json.loads((store / "courses" / COURSE / "releases" / f"{current['release']}.json").read_text())
    return store, {lecture["id"]: lecture for lecture in release["lectures"]}


def looped():
    """The lecture over and over, by stream copy."""
    path = OUT / "course" / "long.mp4"
    if not path.exists():
        part = path.with_suffix(".part.mp4")
        subprocess.run([common.ffmpeg(), "-v", "error", "-nostdin", "-y", "-stream_loop", str(LONG_S // 40 - 1), "-i", RECORDINGS / "lecture.mp4", "-c", "copy", part], check=True)
        part.rename(path)
    return path


def apple(recording, directory):
    """A package as Apple's examples have it: segments of 6 s, a keyframe every 2 s, sound in every variant."""
    if (directory / "master.m3u8").exists():
        return
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    argv = [common.ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", recording, "-filter_complex"]
    argv += [f"[0:v]split={len(APPLE)}" + "".join(f"[i{n}]" for n in range(len(APPLE))) + "".join(f";[i{n}]scale={w}:{h},setsar=1,format=yuv420p[o{n}]" for n, (w, h, _) in enumerate(APPLE))]
    for n, (_, _, kbps) in enumerate(APPLE):
        argv += ["-map", f"[o{n}]", "-map", "0:a:0", f"-b:v:{n}", f"{kbps}k", f"-maxrate:v:{n}", f"{kbps * 1.1:.0f}k", f"-bufsize:v:{n}", f"{kbps * 2}k"]
    argv += ["-c:v", "libx264", "-preset", "veryfast", "-force_key_frames", "expr:gte(t,n_forced*2)", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k", "-ac", "2"]
    argv += ["-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4", "-hls_flags", "independent_segments", "-master_pl_name", "master.m3u8"]
    argv += ["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", part / "v%v" / "%03d.m4s", "-var_stream_map", " ".join(f"v:{n},a:{n}" for n in range(len(APPLE)))]
    subprocess.run([str(a) for a in [*argv, part / "v%v" / "index.m3u8"]], check=True)
    part.rename(directory)


def peers(store, long):
    """Stock players' pages in the store, beside the course: so that one server serves all."""
    home = store / "peers"
    home.mkdir(exist_ok=True)
    shutil.copy2(common.ROOT / "player" / "vendor" / "hls.min.js", home / "hls.js")
    shaka = common.ROOT / "tests" / "browser" / "node_modules" / "shaka-player" / "dist" / "shaka-player.compiled.js"
    if long:
        shutil.copy2(shaka, home / "shaka.js")
    for ident, recording in [("bai-1", RECORDINGS / "lecture.mp4"), *([("dai", looped())] if long else [])]:
        apple(recording, home / f"apple-{ident}")
        pages = {f"hls-{ident}": ("hls.js", HLS_JS, f"../{COURSE}/{ident}.m3u8"), f"hls-apple-{ident}": ("hls.js", HLS_JS, f"apple-{ident}/master.m3u8")}
        if long:
            pages[f"shaka-apple-{ident}"] = ("shaka.js", SHAKA, f"apple-{ident}/master.m3u8")
        for name, (library, script, source) in pages.items():
            (home / f"{name}.html").write_text(PAGE.format(name=name, library=library))
            (home / f"{name}.js").write_text(script.format(source=source))
