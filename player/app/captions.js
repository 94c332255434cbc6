// Captions below the slide, where they hide nothing: the lines of a WebVTT file that we made, as text.
let cues = [];
function parseCues(text) {
  const at = (clock) => clock.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  const found = [];
  for (const block of text.split(/\n\n+/)) {
    const lines = block.split("\n");
    const i = lines.findIndex((l) => l.includes("-->"));
    if (i < 0) continue;
    const [start, end] = lines[i].split("-->").map((s) => at(s.trim().split(" ")[0]));
    // Tags go, entities are read by a parser that runs nothing.
    const plain = lines.slice(i + 1).join("\n").replace(/<[^>]*>/g, "");
    const words = new DOMParser().parseFromString(plain.replace(/</g, "&lt;"), "text/html").documentElement.textContent.trim();
    if (words) found.push([start, end, words]);
  }
  return found;
}
function showLine(t) {
  const line = $("line");
  if (!line || line.hidden) return;
  const cue = cues.find((c) => c[0] <= t && t < c[1]);
  const text = cue ? cue[2] : "";
  if (line.textContent !== text) line.textContent = text;
}
async function setCaptions(language) {
  const line = $("line");
  cues = [];
  save({ captions: language });
  line.hidden = !language;
  line.textContent = "";
  line.lang = language;
  const track = data.captions.find((c) => c[0] === language);
  if (!track) return;
  try {
    const found = parseCues(new TextDecoder().decode(await content(track[1])));
    // Another language may have been chosen meanwhile.
    if (R.memory.captions !== language) return;
    cues = found;
    showLine(position());
  } catch (e) {
    if (R.memory.captions === language) line.textContent = words.failed;
  }
}
function nextCaptions() {
  const select = $("cc");
  if (!select) return;
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.onchange();
}
function captions() {
  const select = $("cc");
  if (!select) return;
  select.append(new Option("", ""), ...data.captions.map((c) => new Option("", c[0])));
  const name = () => [...select.options].forEach((o) => (o.textContent = o.value ? languageName(o.value, root.lang) : words.off));
  name();
  hears.push(name);
  select.disabled = false;
  select.onchange = () => setCaptions(select.value);
  if (R.memory.captions) {
    select.value = R.memory.captions;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
    else setCaptions(select.value);
  }
}
