// What a page does when somebody uses it: keys, languages, filters, themes. `ask(page, name)` calls
// a function of page_checks.js or contrast.js in the page; `report` gets the lines.

// Clicks [attribute="value"], or chooses the value in a <select> that has the attribute.
async function choose(page, attribute, value) {
  const button = page.locator(`[${attribute}="${value}"]`).first();
  if (await button.count()) return button.click();
  return page.locator(`select[${attribute}]`).first().selectOption(value);
}
const offers = (page, attribute, value) =>
  page.locator(`[${attribute}="${value}"], select[${attribute}] option[value="${value}"]`).count();

export async function checkKeyboard(page, report, ask) {
  const count = await ask(page, "beginFocus");
  // Other things take the focus as well: scrolling boxes, the browser itself.
  for (let pressed = 0; pressed < 2 * count + 20; ++pressed) {
    await page.keyboard.press("Tab");
    if (pressed % 10 === 0 && (await ask(page, "focusIsComplete"))) break;
  }
  const answer = await ask(page, "endFocus");
  report.check("keyboard: Tab reaches every control and shows where it is", answer);
}

// The page in Chinese, if it speaks it.
export async function checkLanguages(open, report, ask) {
  const page = await open();
  let previous = "";
  let chinese;
  for (const language of ["zh", "en"]) {
    if (!(await offers(page, "data-lang-choice", language))) {
      report.line(false, `language ${language}`, "no choice for it");
      continue;
    }
    await choose(page, "data-lang-choice", language);
    const answer = await ask(page, "languageIsWhole", language);
    const text = await ask(page, "visibleText");
    if (text === previous) answer.problems.push("the text is that of the other language");
    previous = text;
    report.check(`language ${language}`, answer);
    if (language === "zh") {
      chinese = await open();
      await choose(chinese, "data-lang-choice", "zh");
    }
  }
  return chinese;
}

// A filter may wait for the end of the typing.
async function rowsAfter(page, ask, act, isDone) {
  await act();
  for (let i = 0; i < 10; ++i) {
    if (isDone(await ask(page, "visibleRows"))) return true;
    await page.waitForTimeout(100);
  }
  return false;
}

// Functions that change what a control filters by, and one that changes it back.
async function changesOf(control) {
  const { tag, type, value, name } = await control.evaluate((element) => ({
    tag: element.localName, type: element.type, value: element.value, name: element.name }));
  if (tag === "select") {
    const options = control.locator("option");
    const values = await options.evaluateAll((all) => all.map((one) => one.value));
    const others = values.filter((one) => one !== value);
    return {
      changes: others.map((one) => () => control.selectOption(one)),
      back: () => control.selectOption(value),
    };
  }
  if (type === "checkbox") return { changes: [() => control.click()], back: () => control.click() };
  if (type === "radio") {
    const checked = control.page().locator(`input[type=radio][name="${name}"]:checked`).first();
    const first = await checked.elementHandle();
    return { changes: [() => control.check()], back: () => first.check() };
  }
  return { changes: [() => control.fill("no row has this")], back: () => control.fill(value) };
}

export async function checkFilters(page, report, ask) {
  const controls = await page.locator("[data-filter]").all();
  const all = await ask(page, "visibleRows");
  for (const control of controls) {
    const look = await control.evaluate((element) => globalThis.pageChecks.describe(element));
    // A radio button that is chosen already shows what is shown.
    if (await control.evaluate((element) => element.type === "radio" && element.checked)) continue;
    const { changes, back } = await changesOf(control);
    let changed = false;
    for (const change of changes) {
      changed ||= await rowsAfter(page, ask, change, (count) => count !== all);
    }
    const restored = await rowsAfter(page, ask, back, (count) => count === all);
    const detail = changed && restored ? `${all} rows` : `${all} rows, ${
      changed ? "but not back again" : "whatever is chosen"}`;
    report.line(changed && restored && all > 0, `filter ${look}`, detail);
  }
}

export async function checkThemes(open, report, ask) {
  for (const [theme, system] of [["dark", "light"], ["light", "dark"]]) {
    const page = await open(system);
    if (!(await offers(page, "data-theme-choice", theme))) {
      report.line(false, `theme ${theme}`, "no choice for it");
      continue;
    }
    await choose(page, "data-theme-choice", theme);
    const luminance = await ask(page, "pageLuminance");
    const name = `theme ${theme}, on a ${system} system`;
    report.line((luminance > 0.4) === (theme === "light"), name,
      `the page's luminance is ${luminance.toFixed(2)}`);
    report.check(`${name}: text contrast`, await ask(page, "textContrast"));
  }
}
