// The course that the page's tests open: slides with captions, case discussions of 80 s in motion, and one whose author
// wrote what he should not. Published once into a directory by the binary under test; again by another binary.

import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const hostile = `</bdi></script><script>window.hacked=1</script><img src=x onerror="window.hacked=2">"' onclick='window.hacked=3' \u202e\u2066 ${"dài ".repeat(200)}`;

const course = `
id = "khoa"
title = { vi = "Cấp cứu tim mạch ở tuyến huyện", en = "Cardiac emergencies" }
language = "vi"
licence = "CC-BY-4.0"
modules = [{ id = "mot", title = { vi = "Bài giảng" } }, { id = "hai", title = { vi = "Hội chẩn" } }]

[[lectures]]
id = "bai"
title = { vi = "Nhồi máu cơ tim cấp: nhận biết sớm" }
module = "mot"
recording = "lecture.mp4"
presenter = "BS. Nguyễn Thị Hà"
captions = { vi = "bai.vtt" }

[[lectures]]
id = "ca"
title = { vi = "Ca bệnh: đau ngực hai giờ" }
module = "hai"
recording = ["case-1.mp4", "case-2.mp4", "case-3.mp4", "case-4.mp4"]
prerequisites = ["bai"]

[[lectures]]
id = "xau"
title = { vi = ${JSON.stringify(hostile)} }
module = "hai"
recording = "flash-click.mp4"
presenter = ${JSON.stringify(hostile)}
`;
const captions = `WEBVTT

00:00:00.500 --> 00:00:04.000
Xin chào các anh chị đồng nghiệp.

00:00:04.000 --> 00:00:11.000
Hôm nay nói về <i>suy hô hấp</i> &amp; đường thở.

00:00:20.000 --> 00:00:26.000
Đo độ bão hòa ô-xy.
`;

// The store's directory.
export function publish(rivulet, fixtures, out) {
  const store = join(out, "store");
  const done = join(out, "done");
  const { size, mtimeMs } = statSync(rivulet);
  const binary = `${size} ${mtimeMs}`;
  if (existsSync(done) && readFileSync(done, "utf8") === binary) return store;
  rmSync(out, { recursive: true, force: true });
  const folder = join(out, "course");
  mkdirSync(folder, { recursive: true });
  for (const name of ["lecture.mp4", "flash-click.mp4"]) copyFileSync(join(fixtures, name), join(folder, name));
  for (const n of [1, 2, 3, 4]) copyFileSync(join(fixtures, "case.mp4"), join(folder, `case-${n}.mp4`));
  writeFileSync(join(folder, "course.toml"), course);
  writeFileSync(join(folder, "bai.vtt"), captions);
  run(rivulet, "publish", join(folder, "course.toml"), "--to", store);
  // And a package that is in no course.
  run(rivulet, "encode", join(fixtures, "flash-click.mp4"), "-o", join(out, "package"));
  writeFileSync(done, binary);
  return store;
}

function run(rivulet, ...words) {
  const ended = spawnSync(rivulet, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (ended.status !== 0) throw new Error(`rivulet ${words[0]}: exit ${ended.status}\n${ended.stderr}`);
}

// A copy of the store, to withdraw a lecture in it.
export function copyOf(store, out) {
  const copy = join(out, "withdrawn");
  rmSync(copy, { recursive: true, force: true });
  cpSync(store, copy, { recursive: true });
  return { copy, withdraw: (rivulet, lecture) => run(rivulet, "withdraw", copy, "khoa", lecture) };
}
