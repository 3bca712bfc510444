// Opens a page in headless Chromium and prints what it saw as one JSON object.
// Usage: node visit.mjs VISIT
//
// VISIT is a JSON object. `until` selects the element that shows that the page at `url` has finished.
// Where a `file` is given, "before the edit" becomes "after the edit" in it, and the page has to show
// that. The `hosts` are found on loopback. `login` answers a question for a name and a password. An
// error in the page ends the visit, unless it is `tolerant`.

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";

// Unlike an import this looks into NODE_PATH too.
const { chromium } = createRequire(import.meta.url)("playwright-core");

const PATIENCE = 60_000;

const visit = JSON.parse(process.argv[2]);
const { chromium: executablePath, profile, url, until, file, hosts, login, tolerant } = visit;
const found = hosts.map((host) => `MAP ${host} 127.0.0.1, `).join("");
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  httpCredentials: login ?? undefined,
  args: [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    // Nothing but the tunnel has an address.
    `--host-resolver-rules=${found}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
  ],
});
const seen = { responses: [], failed: [], sockets: [], errors: [] };
try {
  const page = await browser.newPage();
  const settled = watch(page);
  const broken = new Promise((_, reject) => {
    page.on("pageerror", (error) => (tolerant ? seen.errors.push(error.message) : reject(error)));
  });
  broken.catch(() => {}); // it may come while nobody waits for it
  await page.goto(url, { timeout: PATIENCE });
  const done = page.waitForSelector(until, { timeout: PATIENCE });
  await Promise.race([done, broken]);
  await Promise.all(settled);
  if (file) {
    seen.reloaded = await edit(page);
  }
  Object.assign(seen, await page.evaluate(contents));
} catch (error) {
  seen.errors.push(error.message);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

// Edits the file, waits until the page shows it, and returns whether the page was loaded anew.
async function edit(page) {
  await page.evaluate(() => (window.kept = true));
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace("before the edit", "after the edit"));
  await page.waitForFunction(() => document.body.innerText.includes("after the edit"), null, {
    timeout: PATIENCE,
  });
  return page.evaluate(() => !window.kept);
}

// Notes what the page does. Each promise ends when it is known what became of a WebSocket.
function watch(page) {
  const settled = [];
  page.on("response", (response) => {
    seen.responses.push({ url: response.url(), status: response.status() });
  });
  page.on("requestfailed", (request) => {
    seen.failed.push({ url: request.url(), reason: request.failure()?.errorText });
  });
  page.on("websocket", (socket) => {
    const entry = { url: socket.url(), received: 0, error: null };
    seen.sockets.push(entry);
    settled.push(
      new Promise((resolve) => {
        socket.on("framereceived", () => resolve((entry.received += 1)));
        socket.on("socketerror", (error) => resolve((entry.error = error)));
        socket.on("close", resolve);
      }),
    );
  });
  return settled;
}

// Runs in the page.
function contents() {
  const images = [...document.images].map(({ src, naturalWidth }) => ({ src, naturalWidth }));
  return { title: document.title, text: document.body.innerText, images };
}
