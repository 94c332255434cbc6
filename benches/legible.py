"""What a learner sees at a time of a recording or of a rung, and how much of its text and look is left."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

sys.dont_write_bytecode = True
import common

PACKAGES = ["numpy==2.4.6", "scipy==1.17.1", "pillow==13.0.0", "ssimulacra2==0.3.0", "rapidfuzz==3.14.6", common.FFMPEG_PACKAGE]


class Video:
    """The pictures of a file or playlist: `times` (seconds from the first one, ascending), `width`, `height`, `matrix`."""

    def __init__(self, path, matrix=None):
        self.path = path
        argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,flags:stream=width,height,color_space", "-of", "json", path]
        found = json.loads(subprocess.run([str(a) for a in argv], capture_output=True, check=True).stdout)
        stream = found["streams"][0]
        self.width, self.height = stream["width"], stream["height"]
        # Packets before an edit list's start are decoded and never shown.
        times = sorted(float(p["pts_time"]) for p in found["packets"] if "D" not in p["flags"])
        self.times = [t - times[0] for t in times]
        # Not tagged: what players take. A coded rung without a tag of its own is as its source.
        self.matrix = stream.get("color_space", "unknown")
        if self.matrix not in ("bt709", "smpte170m", "bt470bg"):
            self.matrix = matrix or ("bt709" if self.height >= 720 else "smpte170m")

    def at(self, seconds):
        """Which picture is on the screen then: the last one that began (a tick's rounding allowed)."""
        return max(sum(t <= seconds + 0.002 for t in self.times) - 1, 0)

    def at_rest(self, second, reach=1.0, calm=0.2):
        """The time nearest to `second`, `reach` away at most, at which nothing has changed for `calm` seconds and nothing will; else the
        stillest. A pointer that moves is a thirtieth of a second elsewhere in any coding with fewer pictures, and SSIMULACRA2 takes 20 to 40 for it."""
        import numpy

        near = [n for n, t in enumerate(self.times) if abs(t - second) <= reach + calm]
        if len(near) < 2:
            return second
        chain = f"select='between(n\\,{near[0]}\\,{near[-1]})',scale=160:90:flags=area,format=gray"
        argv = [common.ffmpeg(), "-v", "error", "-nostdin", "-i", self.path, "-map", "0:v:0", "-vf", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-"]
        seen = numpy.frombuffer(subprocess.run([str(a) for a in argv], capture_output=True, check=True).stdout, numpy.uint8).reshape(-1, 90 * 160).astype(int)
        # What changes with each picture: the most that any spot (8 pixels of 720p) does, in levels.
        changes = [(self.times[n], abs(seen[i] - seen[i - 1]).max()) for i, n in enumerate(near[: len(seen)]) if i]

        def unrest(time):
            # 12 levels: a codec's noise has fewer, a letter more.
            most = max((c for t, c in changes if time - calm < t <= time + calm), default=0)
            return most if most > 12 else 0

        # In the middle of the time that a picture stands, not at its first tick.
        choices = [(self.times[n] + self.times[min(n + 1, len(self.times) - 1)]) / 2 for n in near]
        return min([second, *(c for c in choices if abs(c - second) <= reach)], key=lambda c: (unrest(c), abs(c - second)))

    def save(self, seconds, size, directory):
        """PNG files of what is shown at these times, scaled to `size` (bicubic), in one pass of decoding."""
        directory.mkdir(parents=True)
        wanted = [self.at(s) for s in seconds]
        some = "+".join(f"eq(n\\,{n})" for n in sorted(set(wanted)))
        chain = f"select='{some}',scale={size[0]}:{size[1]}:flags=bicubic+accurate_rnd+full_chroma_int:in_color_matrix={self.matrix}:out_range=pc,format=rgb24"
        common.Run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", self.path, "-map", "0:v:0", "-vf", chain, "-fps_mode", "passthrough", directory / "%d.png"], 1800)
        files = dict(zip(sorted(set(wanted)), sorted(directory.glob("*.png"), key=lambda f: int(f.stem))))
        if len(files) != len(set(wanted)):
            raise SystemExit(f"bench: {self.path} gave {len(files)} of {len(set(wanted))} pictures")
        return [files[n] for n in wanted]


def coded_again(pictures, crf, directory):
    """The same pictures, each through x264 at a CRF that no eye sees: how much OCR changes by itself."""
    directory.mkdir(parents=True)
    made = []
    for n, picture in enumerate(pictures):
        made.append(directory / f"{n}.png")
        coded = directory / "one.mkv"
        common.Run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", picture, "-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-c:v", "libx264", "-crf", crf, "-y", coded], 60)
        common.Run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", coded, "-vf", "scale=in_color_matrix=bt709,format=rgb24", "-y", made[-1]], 60)
    return made


def read(picture):
    """Words by Tesseract, Vietnamese and English: (text, (left, top, right, bottom), confidence of 100).

    psm 11, sparse text: slides are no pages. One thread, so that CPU is not spent on spinning."""
    argv = ["tesseract", str(picture), "-", "-l", "vie+eng", "--psm", "11", "tsv"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"OMP_THREAD_LIMIT": "1", "PATH": "/usr/bin:/bin"}).stdout
    words = []
    for line in said.splitlines()[1:]:
        field = line.split("\t")
        text = unicodedata.normalize("NFC", field[11].strip()) if len(field) == 12 else ""
        if field[0] == "5" and text:
            left, top, width, height = map(int, field[6:10])
            words.append((text, (left, top, left + width, top + height), float(field[10])))
    return words


def error(word, words):
    """Changes, insertions and deletions that turn what was read in a word's place into the word; its length at most.

    What was read there: a word that lies on it, or all that do, joined; a longer word that holds it is no error."""
    from rapidfuzz.distance import Levenshtein

    text, (left, top, right, bottom), _ = word
    there = [w for w in words if min(right, w[1][2]) - max(left, w[1][0]) > 0 and min(bottom, w[1][3]) - max(top, w[1][1]) > (bottom - top) / 3]
    readings = [w[0] for w in there] + ["".join(w[0] for w in sorted(there, key=lambda w: w[1][0]))]
    return min(0 if text in r else min(Levenshtein.distance(text, r), len(text)) for r in readings)


def sure_words(words, others):
    """Words that OCR is sure of and reads in the same way in other codings of the picture: the reference. The rest is what
    Tesseract makes of drawings and of letters too small for it, another thing every time."""
    return [w for w in words if w[2] >= 60 and sum(map(str.isalnum, w[0])) > 1 and not any(error(w, o) for o in others)]


def character_errors(read_words, references):
    """Errors a character of the references, all pictures together; diacritics count in full. None without text."""
    characters = sum(len(w[0]) for reference in references for w in reference)
    return sum(error(w, words) for words, reference in zip(read_words, references) for w in reference) / characters if characters else None


def likeness(pictures, references):
    """Mean SSIMULACRA2 (100: the same; 90: no one sees it; 70: good; 50: fair), by the Python port of the reference."""
    from ssimulacra2 import compute_ssimulacra2

    return sum(compute_ssimulacra2(str(r), str(p)) for p, r in zip(pictures, references)) / len(pictures)
