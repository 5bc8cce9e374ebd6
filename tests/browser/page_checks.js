// What check_page.mjs asks of a page, run inside of it as an init script: names, links, headings,
// the keyboard, languages, rows. Every check answers { count, problems }: how many things it looked
// at, and a line for each that is wrong.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isVisible = (element) =>
    element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const visible = (selector) => all(selector).filter(isVisible);

  function describe(element) {
    const id = element.id ? `#${element.id}` : "";
    const own = element.getAttribute("class");
    const classes = own ? `.${own.trim().split(/\s+/).join(".")}` : "";
    const source = element.getAttribute("src") ?? "";
    const text = attributeName(element) || element.textContent.trim() || source;
    return `<${element.localName}${id}${classes}> "${text.replace(/\s+/g, " ").slice(0, 40)}"`;
  }
  const answer = (elements, isWrong, why = () => "") => ({
    count: elements.length,
    problems: elements.filter(isWrong).map((element) => describe(element) + why(element)),
  });

  // --- names

  const textOfIds = (ids) =>
    ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  // A placeholder goes away when somebody types, so it names nothing.
  function attributeName(element) {
    return textOfIds(element.getAttribute("aria-labelledby") ?? "") ||
      (element.getAttribute("aria-label") ?? "").trim() ||
      [...(element.labels ?? [])].map((label) => label.textContent).join(" ").trim() ||
      (element.getAttribute("title") ?? "").trim();
  }
  function contentName(element) {
    if (element.localName === "input") {
      return ["button", "submit", "reset"].includes(element.type) ? element.value.trim() : "";
    }
    if (element.localName === "select" || element.localName === "textarea") return "";
    const images = [...element.querySelectorAll("img, svg")].map(imageName).join(" ");
    return (element.innerText ?? element.textContent).trim() || images.trim();
  }
  function imageName(image) {
    const title = [...image.children].find((child) => child.localName === "title");
    return attributeName(image) || (image.getAttribute("alt") ?? "").trim() ||
      (title?.textContent ?? "").trim();
  }
  const isSilent = (element) => element.closest('[aria-hidden="true"]') !== null;

  function imagesHaveNames() {
    const images = visible("img, svg").filter(
      (image) => !isSilent(image) && image.parentElement.closest("svg, a, button") === null);
    return answer(images, (image) =>
      imageName(image) === "" || (image.localName === "svg" && image.getAttribute("role") !== "img"),
      (image) => imageName(image) === "" ? " has no name" : " is named but not role=img");
  }
  function controlsHaveLabels() {
    return answer(visible("a[href], button, input, select, textarea, summary, [role=button]"),
      (control) => attributeName(control) === "" && contentName(control) === "");
  }

  // --- structure

  function documentIsDescribed() {
    const missing = [];
    if (document.title.trim() === "") missing.push("no <title>");
    if (document.documentElement.lang === "") missing.push("no <html lang>");
    return { count: 2, problems: missing };
  }
  function linksHaveTargets() {
    return answer(all('a[href^="#"]'), (link) => {
      const id = decodeURIComponent(link.getAttribute("href").slice(1));
      return id !== "" && document.getElementById(id) === null;
    }, (link) => ` to ${link.getAttribute("href")}`);
  }
  function headingsStepByOne() {
    let above = 0;
    return answer(visible("h1, h2, h3, h4, h5, h6"), (heading) => {
      const level = Number(heading.localName[1]);
      const skips = level > above + 1;
      above = level;
      return skips;
    }, (heading) => ` is ${heading.localName}`);
  }
  function nothingIsWiderThanTheScreen() {
    const root = document.documentElement;
    const width = root.clientWidth;
    if (root.scrollWidth <= width) return { count: 1, problems: [] };
    // The innermost ones are the cause; what is inside a scrolling box is not.
    const scrolls = (element) => {
      for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
        if (getComputedStyle(at).overflowX !== "visible") return true;
      }
      return false;
    };
    const wide = visible("body *").filter(
      (element) => element.getBoundingClientRect().right > width + 0.5 && !scrolls(element));
    const inner = wide.filter((element) => !wide.some((o) => o !== element && element.contains(o)));
    return { count: 1, problems: [`${root.scrollWidth} px in ${width} px`, ...inner.map(describe)] };
  }

  // --- the keyboard: beginFocus, then Tab is pressed, then endFocus

  const focus = { expected: [], before: new Map(), reached: new Map() };
  function focusLook(element) {
    const style = getComputedStyle(element);
    const outline = style.outlineStyle === "none" || parseFloat(style.outlineWidth) === 0
      ? "none" : `${style.outlineStyle} ${style.outlineWidth} ${style.outlineColor}`;
    return [outline, style.boxShadow, style.borderColor, style.borderWidth, style.backgroundColor,
      style.color, style.textDecoration].join("|");
  }
  // Arrow keys move inside these, Tab enters them once.
  const composites = "[role=tablist], [role=radiogroup], [role=menu], [role=grid]";
  function isTabStop(element) {
    if (element.disabled) return false;
    if (element.type === "radio") {
      const group = all("input[type=radio]").filter(
        (other) => other.name === element.name && other.form === element.form && !other.disabled);
      return element === (group.find((other) => other.checked) ?? group[0]);
    }
    return !(element.tabIndex < 0 && element.closest(composites));
  }
  function beginFocus() {
    document.activeElement?.blur();
    // Tab goes on from where somebody clicked last.
    getSelection().removeAllRanges();
    focus.expected = visible("a[href], button, select, input, textarea, summary").filter(isTabStop);
    for (const element of focus.expected) focus.before.set(element, focusLook(element));
    document.addEventListener("focusin", (event) => {
      if (!focus.reached.has(event.target)) focus.reached.set(event.target, focusLook(event.target));
    }, true);
    return focus.expected.length;
  }
  const focusIsComplete = () => focus.expected.every((element) => focus.reached.has(element));
  function endFocus() {
    return answer(focus.expected, (element) =>
      focus.reached.get(element) === undefined ||
      focus.reached.get(element) === focus.before.get(element),
    (element) => focus.reached.has(element) ? " looks the same with focus" : " is not reached");
  }

  // The frame after the first key, in milliseconds since the navigation began.
  const firstKey = new Promise((done) => {
    addEventListener("keydown", () => requestAnimationFrame(() => done(performance.now())),
      { once: true, capture: true });
  });

  // --- languages and rows

  const outsideOfTranslation = "[translate=no], [data-lang-choice], script, style, template";
  function visibleText() {
    const pieces = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const parent = walker.currentNode.parentElement;
      if (parent.closest(outsideOfTranslation) === null && isVisible(parent)) {
        pieces.push(walker.currentNode.data);
      }
    }
    return pieces.join(" ").replace(/\s+/g, " ").trim();
  }
  const primary = (language) => language.toLowerCase().split("-")[0];
  function languageIsWhole(language) {
    const root = document.documentElement.lang;
    const problems = primary(root) === language ? [] : [`<html lang> is "${root}"`];
    // Elements of an <svg> have the attribute, but no property for it.
    const languageOf = (element) => element.getAttribute("lang");
    const foreign = visible("body [lang]").filter((element) =>
      primary(languageOf(element)) !== language && element.closest(outsideOfTranslation) === null);
    problems.push(...foreign.map((element) => `${describe(element)} is ${languageOf(element)}`));
    const han = visibleText().match(/.{0,20}\p{Script=Han}.{0,20}/u);
    if (language === "zh" && han === null) problems.push("no Chinese text");
    if (language === "en" && han !== null) problems.push(`Chinese text: "${han[0]}"`);
    return { count: all("body [lang]").length, problems };
  }
  const visibleRows = () => visible("[data-row]").length;

  // A transition would show a look that is neither the old one nor the new one.
  document.addEventListener("DOMContentLoaded", () => {
    const sheet = new CSSStyleSheet();
    const still = "transition: none !important; animation: none !important";
    sheet.replaceSync(`*, *::before, *::after { ${still} }`);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  });

  globalThis.pageChecks = {
    describe, isVisible, imagesHaveNames, controlsHaveLabels, documentIsDescribed, linksHaveTargets,
    headingsStepByOne, nothingIsWiderThanTheScreen, beginFocus, focusIsComplete, endFocus,
    visibleText, languageIsWhole, visibleRows, firstKeyHandled: () => firstKey,
  };
})();
