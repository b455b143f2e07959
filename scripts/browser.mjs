// The portal as people use it. Called by scripts/browser.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import https from "node:https";
import puppeteer from "puppeteer-core";

const [chromium, portal, api, certs, shots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(shots, { recursive: true });
let checks = 0;
const must = (holds, what) => {
  checks += 1;
  if (!holds) throw new Error(what);
};

const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
await page.setViewport({ width: 1280, height: 900 });
await page.setExtraHTTPHeaders({ "Accept-Language": "fr" });
const elsewhere = [];
page.on("request", (request) => request.url().startsWith(portal) || elsewhere.push(request.url()));
page.on("pageerror", (error) => elsewhere.push(`error: ${error.message}`));
page.on("console", (message) => message.type() === "error" && elsewhere.push(`console: ${message.text()} ${message.location().url}`));

const text = () => page.$eval("main", (main) => main.innerText);
const go = async (path) => must((await page.goto(portal + path)).status() === 200, path);
const clicked = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
const shown = (name) => page.screenshot({ path: `${shots}/${name}.png` });

// What axe finds wrong. It runs beside the page's policy, which lets no script in.
async function judged(name) {
  const client = await page.createCDPSession();
  const { frameTree } = await client.send("Page.getFrameTree");
  const { executionContextId: contextId } = await client.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const run = (expression) => client.send("Runtime.evaluate", { contextId, expression, awaitPromise: true, returnByValue: true });
  await run(axe);
  const { result } = await run(`axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] })
    .then(({ violations }) => violations.map(({ id, help, nodes }) => id + ": " + help + ": " + nodes[0].html.slice(0, 200)))`);
  must(Array.isArray(result.value), `${name}: axe did not run`);
  must(result.value.length === 0, `${name}:\n  ${result.value.join("\n  ")}`);
  await client.detach();
}

/** A call with a test card, from outside the browser. */
const call = (card, path) =>
  new Promise((done, failed) => {
    const read = (file) => readFileSync(`${certs}/${file}`);
    const tls = { ca: read("ca.pem"), cert: read(`${card}.pem`), key: read(`${card}.key`) };
    https.get(api + path, tls, (answer) => answer.resume().on("end", () => done(answer.statusCode))).on("error", failed);
  });

// Every page, by clicks on the way that every page has; in both languages.
await go("/");
const pages = await page.$$eval("nav a", (links) => links.map((link) => link.getAttribute("href")).filter((href) => href.startsWith("/")));
must(pages.length === 9, `pages: ${pages}`);
for (const path of pages) {
  const name = path === "/" ? "accueil" : path.slice(1);
  await clicked(`header nav a[href="${path}"]`);
  must((await page.$eval("html", (html) => html.lang)) === "fr", `${path}: in French`);
  must((await page.$eval("header [aria-current]", (link) => link.getAttribute("href"))) === path, `${path}: says where one is`);
  await judged(`${path} (fr)`);
  await shown(name);
  const french = await page.$eval("h1", (title) => title.innerText);
  await clicked("header > a[hreflang=en]");
  must((await page.$eval("html", (html) => html.lang)) === "en", `${path}: in English`);
  must(french === "Homologation" || french !== (await page.$eval("h1", (title) => title.innerText)), `${path}: another title in English`);
  await judged(`${path} (en)`);
  await clicked("header > a[hreflang=fr]");
}

// By the keyboard alone: the first stop leads past the way to the pages.
await go("/");
await page.keyboard.press("Tab");
must((await page.evaluate(() => document.activeElement.className)) === "skip", "the first key leads to the content");
await page.keyboard.press("Enter");
must(page.url().endsWith("#contenu"), "and there it goes");

// The other platform's commands.
await go("/");
await clicked('main a[href="/?platform=windows"]');
must((await text()).includes("curl.exe"), "PowerShell");

// A card is made, found, and called with; the call is seen, with the rule that decided.
await go("/cartes");
await page.select("#kind", "cps");
for (const [field, value] of [["name", "cps-du-navigateur"], ["family", "Martin"], ["given", "Zoé"], ["rpps", "10100000206"]]) await page.type(`#${field}`, value);
await page.select("#profession", "10");
await clicked("main form button");
must((await text()).includes("cps-du-navigateur"), "the card is there");
const download = await page.evaluate(() => fetch("/cartes/cps-du-navigateur.pem").then((answer) => answer.status, () => "refused by the policy"));
must(download === "refused by the policy", "a script could ask from the page");
must((await call("cps-du-navigateur", "/Patient?identifier=urn:oid:1.2.250.1.213.1.4.10%7C279035121518989")) === 200, "existence");
must((await call("cps-du-navigateur", "/DocumentReference?patient.identifier=urn:oid:1.2.250.1.213.1.4.10%7C291087599900442&status=current")) === 403, "search");
must((await call("cps-medecin", "/DocumentReference?patient.identifier=urn:oid:1.2.250.1.213.1.4.10%7C144027599900963&status=current")) === 200, "search");
await clicked('main a[href="/appels?carte=cps-du-navigateur"]');
const calls = await text();
for (const expected of ["/fhir/Patient", "accordé", "refusé", "PDT-INF-526", "200", "403"]) must(calls.includes(expected), `calls: ${expected}`);
await judged("/appels?carte");
await go("/appels?carte=cps-medecin");
must((await text()).includes("premier_acces → patient"), "who is told");
await judged("/appels?carte=cps-medecin");
await shown("appels");
await go("/appels?carte=cps-du-navigateur");
await page.click("#suivre");
await clicked("main form button");
const reloads = page.waitForNavigation({ timeout: 10_000 });
await call("cps-du-navigateur", "/metadata");
await reloads;
must((await text()).includes("/fhir/metadata"), "followed without a click");

// A run is opened, and its patient opposes.
await go("/homologation");
for (const [field, value] of [["name", "Éditeur <démo>"], ["software", "LPS 1.0"]]) await page.type(`#${field}`, value);
await clicked("main form button");
must(page.url().endsWith("/homologation/R0001"), page.url());
must((await text()).includes("Éditeur <démo>"), "what was typed is shown, and is no markup");
const ins = await page.$$eval("tbody tr", (rows) => rows.find((row) => row.cells[0].innerText === "inexistant").cells[1].innerText);
must((await call("r0001-cps-medecin", `/Patient?identifier=urn:oid:1.2.250.1.213.1.4.10%7C${ins}`)) === 200, "a row is played");
await clicked('form[action$="/patients/oppose/opposer"] button');
must((await text()).includes("réussi"), "and passed");
await judged("/homologation/R0001");
await shown("campagne");

// The rest of the way.
await go("/droits");
await clicked('main a[href="/droits?mode=bris_de_glace"]');
must((await text()).includes("patient_opt_in"), "an emergency's cells");
await clicked('main a[href="/droits/matrice"]');
must((await text()).includes("ne fait pas foi"), "the matrix is marked");
await judged("/droits/matrice");
await shown("matrice");
await go("/docs");
await page.click("#searchDocumentReference summary");
must((await text()).includes("patient.identifier"), "an operation opens");
await shown("docs");

must(elsewhere.length === 0 || elsewhere.every((what) => what.startsWith("console:") && what.includes("cps-du-navigateur.pem")), `asked elsewhere, or at fault: ${elsewhere}`);

// The control: axe notices.
await go("/cartes");
await page.$eval("label", (label) => label.remove());
const noticed = await judged("control").then(() => false, (error) => error.message.includes("select-name"));
must(noticed, "control: a field without its label is noticed");

await browser.close();
console.log(`browser: ${checks} checks, 0 failed`);
