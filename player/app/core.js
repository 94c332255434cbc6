// What all parts of the page's script use.
const $ = (id) => document.getElementById(id);
const R = window.rivulet || (window.rivulet = {});
const data = Object.assign(R.data || JSON.parse($("data").textContent), R.about);
const words = data.words;
R.id = `${data.course}/${data.lecture}`;
const clock = R.clock;
const video = R.video;
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

// An element with properties and children. Text only ever becomes text.
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) || {};
  } catch (e) {
    return {};
  }
}
function remember(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch (e) {
    // Storage is full or forbidden: this visit is forgotten.
  }
}
// What is kept of this lecture: place, speed, mode, captions.
function save(some) {
  Object.assign(R.memory, some);
  remember(R.key, R.memory);
}
// What is kept of this device: the link's rate, data saver, the language that was chosen.
const device = recall("rivulet");
function saveDevice(some) {
  Object.assign(device, some);
  remember("rivulet", device);
}

function time(seconds) {
  const s = Math.max(0, Math.floor(seconds || 0));
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}
const number = (n, digits) => n.toFixed(digits).replace(".", data.decimal);
// Rounded up, as a price.
function size(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)}\u00a0kB`;
  if (bytes > 2e9) return `${number(Math.floor(bytes / 1e8) / 10, 1)}\u00a0GB`;
  return bytes < 1e7 ? `${number(Math.ceil(bytes / 1e5) / 10, 1)}\u00a0MB` : `${Math.ceil(bytes / 1e6)}\u00a0MB`;
}
// On a thin link the voice has what it needs first.
const short = () => R.bps < R.thin && !clock.paused && R.have && R.have() - clock.currentTime < 8 && R.have() < data.duration - 1;
const act = (text, onclick, main) => make("button", { type: "button", className: main ? "act main" : "act", textContent: text, onclick });

// A sentence over the slide's upper edge, until another takes its place, or for some seconds; `again` becomes a button.
let leaving;
function say(text, label, again, seconds) {
  const note = $("note");
  if (!note) return;
  clearTimeout(leaving);
  note.hidden = !text;
  note.replaceChildren(text || "");
  if (again) note.append(act(label, again));
  if (seconds) leaving = setTimeout(say, 1000 * seconds);
}

// Letters as people type them in a hurry: no case, no accents, đ as d.
const fold = (text) => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[đĐ]/g, "d").toLowerCase();
