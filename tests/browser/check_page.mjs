// Checks one HTML page in a headless Chromium, without a network:
//   node check_page.mjs PAGE.html OUT_FOLDER [--expect=language,filter,theme]
// Prints a line per check, "ok ..." or "FAIL ...", and two timings; writes light.png, dark.png,
// phone.png, print.png, print.pdf and, where the page speaks Chinese, zh.png into OUT_FOLDER. Exit
// codes: 0, 1 if a check failed, 2 for wrong usage, 77 if Chromium ($CHROMIUM, else
// /usr/bin/chromium) or playwright-core (npm ci --ignore-scripts) is not installed.
//
// What a page may offer, and is then held to; --expect makes its absence a failure:
//   language  [data-lang-choice="en|zh"], clicked: <html lang> changes, no element with another
//             `lang` stays visible. Quoted text that is not translated has translate="no".
//   filter    select, checkbox, radio or text input [data-filter]: changes how many [data-row] are
//             visible, and back.
//   theme     [data-theme-choice="light|dark"], clicked, wins against the system's theme.
// A <select data-lang-choice> or <select data-theme-choice> with those values does as well.
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { checkFilters, checkKeyboard, checkLanguages, checkThemes } from "./behaviour.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const desktop = { width: 1280, height: 800 };
const phone = { width: 390, height: 844 };

function parseArguments(words) {
  const places = words.filter((word) => !word.startsWith("--"));
  const flags = words.filter((word) => word.startsWith("--"));
  const expected = flags.flatMap((flag) => flag.replace(/^--expect=/, "").split(","));
  const known = ["language", "filter", "theme"];
  if (places.length !== 2 || !existsSync(places[0]) || expected.some((e) => !known.includes(e))) {
    console.error("usage: node check_page.mjs PAGE.html FOLDER [--expect=language,filter,theme]");
    process.exit(2);
  }
  mkdirSync(places[1], { recursive: true });
  return { url: pathToFileURL(resolve(places[0])).href, out: places[1], expected };
}

async function launch() {
  const skip = (why) => {
    console.log(`skipped: ${why}`);
    process.exit(77);
  };
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) skip(`no ${executablePath} (scripts/bootstrap --dev)`);
  const playwright = await import("playwright-core").catch(
    () => skip(`no playwright-core (npm ci --ignore-scripts in ${here})`));
  return playwright.chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

// Lines of output; `check` takes what the functions of page_checks.js answer.
class Report {
  failed = 0;
  line(holds, name, detail = "") {
    if (!holds) ++this.failed;
    console.log(`${holds ? "ok  " : "FAIL"} ${name}${detail ? `: ${detail}` : ""}`);
  }
  check(name, { count, problems, unmeasured = 0 }) {
    const shown = problems.slice(0, 5).join("; ");
    const more = problems.length > 5 ? `; and ${problems.length - 5} more` : "";
    const beside = unmeasured > 0 ? `, ${unmeasured} over images not measured` : "";
    this.line(problems.length === 0, name, problems.length ? shown + more : `${count}${beside}`);
  }
}

class Browser {
  constructor(chromium, url) {
    this.chromium = chromium;
    this.url = url;
    this.errors = new Set();
    this.requests = new Set();
  }
  // A page in a context of its own, so that no choice is remembered from the page before.
  async open(options = {}) {
    const context = await this.chromium.newContext({ viewport: desktop, ...options });
    await context.setOffline(true);
    for (const script of ["page_checks.js", "contrast.js"]) {
      await context.addInitScript({ path: join(here, script) });
    }
    const page = await context.newPage();
    page.setDefaultTimeout(10000);
    page.on("console", (message) => {
      if (message.type() === "error") this.errors.add(message.text());
    });
    page.on("pageerror", (error) => this.errors.add(String(error)));
    page.on("crash", () => this.errors.add("the page crashed"));
    page.on("request", (request) => {
      const address = request.url();
      const isItself = address.split("#")[0] === this.url;
      if (!isItself && !/^(data|blob):/.test(address)) this.requests.add(address.slice(0, 200));
    });
    await page.goto(this.url, { waitUntil: "load" });
    return page;
  }
}

const ask = (page, name, argument) =>
  page.evaluate(([check, value]) => globalThis.pageChecks[check](value), [name, argument]);

// From the start of the navigation to the load event, and to the frame after a key was handled.
async function timing(page) {
  await page.keyboard.press("Shift");
  const handled = await ask(page, "firstKeyHandled");
  const load = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
  console.log(`load event after ${Math.round(load)} ms`);
  console.log(`first interaction handled after ${Math.round(handled)} ms`);
}

async function checkContent(page, report, view) {
  report.check(`${view}: title and language`, await ask(page, "documentIsDescribed"));
  report.check(`${view}: images have names`, await ask(page, "imagesHaveNames"));
  report.check(`${view}: links in the page have targets`, await ask(page, "linksHaveTargets"));
  report.check(`${view}: controls have labels`, await ask(page, "controlsHaveLabels"));
  report.check(`${view}: headings skip no level`, await ask(page, "headingsStepByOne"));
  report.check(`${view}: text contrast`, await ask(page, "textContrast"));
}

async function checkLooks(browser, report, out) {
  const shoot = (page, name) => page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
  const light = await browser.open({ colorScheme: "light" });
  await timing(light);
  await shoot(light, "light");
  await checkContent(light, report, "light");
  await checkKeyboard(light, report, ask);

  const dark = await browser.open({ colorScheme: "dark" });
  await shoot(dark, "dark");
  report.check("dark: text contrast", await ask(dark, "textContrast"));

  const narrow = await browser.open({ viewport: phone, isMobile: true, hasTouch: true });
  await shoot(narrow, "phone");
  report.check("phone: no horizontal overflow", await ask(narrow, "nothingIsWiderThanTheScreen"));

  const paper = await browser.open({ colorScheme: "light" });
  await paper.emulateMedia({ media: "print" });
  await shoot(paper, "print");
  report.check("print: text contrast", await ask(paper, "textContrast"));
  const pdf = await paper.pdf({ path: join(out, "print.pdf"), format: "A4" });
  report.line(pdf.subarray(0, 5).toString() === "%PDF-", "print: a PDF", `${pdf.length} bytes`);
  return shoot;
}

async function checkAll(browser, report, out, expected) {
  const shoot = await checkLooks(browser, report, out);
  const has = (what, found) => {
    if (!found && expected.includes(what)) report.line(false, what, "not offered by this page");
    return found;
  };
  const page = await browser.open({ colorScheme: "light" });
  const count = (selector) => page.locator(selector).count();
  if (has("filter", await count("[data-filter]"))) await checkFilters(page, report, ask);
  if (has("language", await count("[data-lang-choice]"))) {
    const chinese = await checkLanguages(() => browser.open({ colorScheme: "light" }), report, ask);
    if (chinese !== undefined) {
      await shoot(chinese, "zh");
      await checkContent(chinese, report, "zh");
      await chinese.setViewportSize(phone);
      const answer = await ask(chinese, "nothingIsWiderThanTheScreen");
      report.check("zh, phone: no horizontal overflow", answer);
    }
  }
  if (has("theme", await count("[data-theme-choice]"))) {
    await checkThemes((colorScheme) => browser.open({ colorScheme }), report, ask);
  }
  report.check("no errors in the console", { count: 0, problems: [...browser.errors] });
  report.check("nothing asked of the network", { count: 0, problems: [...browser.requests] });
}

// A page whose script never ends would hold every question to it.
const mostSeconds = 180;
function giveUp() {
  console.log(`FAIL the page can be looked at: not within ${mostSeconds} s`);
  process.exit(1);
}

const { url, out, expected } = parseArguments(process.argv.slice(2));
const chromium = await launch();
const report = new Report();
setTimeout(giveUp, 1000 * mostSeconds).unref();
try {
  await checkAll(new Browser(chromium, url), report, out, expected);
} catch (error) {
  report.line(false, "the page can be looked at", String(error).split("\n")[0]);
} finally {
  await chromium.close();
}
process.exit(report.failed > 0 ? 1 : 0);
