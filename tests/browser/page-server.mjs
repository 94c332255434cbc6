// A published store behind `rivulet serve`, seen through a proxy that counts what is asked for and can hold, cut, spoil or
// refuse an answer: for tests of what a page does on a link that fails.

import { spawn } from "node:child_process";
import { createServer, request as ask } from "node:http";
import { createInterface } from "node:readline";

export async function serveStore(rivulet, store) {
  const child = spawn(rivulet, ["--json", "serve", store, "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once("line", done);
    child.once("exit", () => failed(new Error(`${rivulet} serve ended`)));
  });
  const target = new URL(JSON.parse(line).url);
  const proxy = {
    // One entry a request: path, range, bytes that went out, whether it ended as it should.
    log: [],
    // May be replaced: what happens to a request. Returns nothing, or { cutAfter: bytes }, { hold: promise }, { status }, { answer: text, type }, { as: path }, { change: (body) => body, without: [header] }.
    rule: () => undefined,
    down: false,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGINT");
      await ended;
    },
  };
  const server = createServer(async (incoming, outgoing) => {
    const entry = { path: incoming.url, range: incoming.headers.range, method: incoming.method, bytes: 0, done: false };
    if (proxy.down) return outgoing.destroy();
    proxy.log.push(entry);
    const rule = proxy.rule(entry) || {};
    if (rule.hold) await rule.hold;
    if (proxy.down) return outgoing.destroy();
    if (rule.answer) return outgoing.writeHead(200, { "content-type": rule.type, "content-length": rule.answer.length }).end(rule.answer);
    if (rule.status) return outgoing.writeHead(rule.status).end();
    const asked = { ...incoming.headers, host: target.host };
    // What is changed must not be taken for what it was.
    if (rule.change) for (const name of ["accept-encoding", "if-none-match", "if-modified-since"]) delete asked[name];
    const upstream = ask({ host: target.hostname, port: target.port, path: rule.as || incoming.url, method: incoming.method, headers: asked }, (answer) => {
      const headers = { ...answer.headers };
      for (const name of ["connection", ...(rule.without || [])]) delete headers[name];
      const pieces = [];
      let held = false;
      if (rule.change) for (const name of ["content-length", "etag"]) delete headers[name];
      outgoing.writeHead(answer.statusCode, headers);
      answer.on("data", (piece) => {
        if (rule.change) return pieces.push(piece);
        const left = rule.cutAfter === undefined ? Infinity : rule.cutAfter - entry.bytes;
        const part = piece.subarray(0, Math.max(0, Math.min(piece.length, left)));
        entry.bytes += part.length;
        const ends = part.length < piece.length || left === part.length;
        // What was written before the cut arrives.
        outgoing.write(part, () => ends && rule.cut !== false && outgoing.socket.end());
        if (ends) {
          held = rule.cut === false;
          upstream.destroy();
          if (rule.onCut) rule.onCut();
        }
      });
      answer.on("end", () => {
        // All of it came in one piece: the rest is held back all the same.
        if (held) return;
        const body = rule.change ? rule.change(Buffer.concat(pieces)) : null;
        if (body) entry.bytes = body.length;
        outgoing.end(body);
        entry.done = true;
      });
      answer.on("error", () => rule.cutAfter === undefined && outgoing.destroy());
    });
    upstream.on("error", () => rule.cutAfter === undefined && outgoing.destroy());
    outgoing.on("close", () => upstream.destroy());
    upstream.end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  proxy.url = `http://127.0.0.1:${server.address().port}/`;
  return proxy;
}
