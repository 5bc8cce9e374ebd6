"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));

  // Attributes and options cannot hold both languages at once; they are swapped.
  function setLanguage(language) {
    root.lang = language;
    for (const element of all("[data-en]")) {
      const text = element.dataset[language];
      if (element.hasAttribute("aria-label")) element.setAttribute("aria-label", text);
      else element.textContent = text;
    }
    for (const button of all("[data-lang-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.langChoice === language));
    }
    for (const form of all("[data-filters]")) applyFilters(form);
    if (samples) samples.show();
  }

  function showTheme() {
    const prefersDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (prefersDark ? "dark" : "light");
    for (const button of all("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === now));
    }
  }
  function setTheme(theme) {
    root.dataset.theme = theme;
    showTheme();
  }

  function say(en, zh) { return root.lang === "zh" ? zh : en; }

  // --- tables whose rows are chosen by columns
  function applyFilters(form) {
    const rows = all("[data-row]", form.parentElement);
    const wanted = all("select[data-filter]", form).filter((select) => select.value !== "");
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.every((select) => row.dataset[select.dataset.filter] === select.value);
      if (!row.hidden) ++shown;
    }
    form.querySelector("output").textContent = say(`${shown} of ${rows.length} rows`, `${rows.length} 行中的 ${shown} 行`);
  }

  // --- samples
  function makeSamples() {
    const source = document.getElementById("sample-data");
    if (!source) return null;
    const data = JSON.parse(source.textContent);
    const perPage = 20;
    const list = document.getElementById("sample-list");
    const testSelect = document.getElementById("sample-test");
    const conditionSelect = document.getElementById("sample-condition");
    const flagSelect = document.getElementById("sample-flag");
    const search = document.getElementById("sample-text");
    const flags = [["same answer", "回答相同"], ["right → wrong", "对 → 错"], ["wrong → right", "错 → 对"], ["other answer", "回答不同"]];
    let page = 0, found = [];

    function fill(select, entries) {
      const option = (value, en, zh) => {
        const element = new Option(en, value);
        element.dataset.en = en;
        element.dataset.zh = zh;
        select.add(element);
      };
      option("", "all", "全部");
      for (const [value, en, zh] of entries) option(value, en, zh);
    }
    const tests = Array.from(new Set(data.prompts.map((prompt) => data.texts[prompt[0]])));
    fill(testSelect, tests.map((test) => [test, test, test]));
    fill(conditionSelect, data.conditions.map((name, index) => [String(index), name, name]));
    fill(flagSelect, flags.map(([en, zh], index) => [String(index), en, zh]));

    function select() {
      const text = search.value.toLowerCase();
      let hits = null;
      if (text !== "") {
        hits = new Set();
        data.texts.forEach((one, index) => { if (one.toLowerCase().includes(text)) hits.add(index); });
      }
      found = data.answers.filter((answer) => {
        const prompt = data.prompts[answer[0]];
        return (testSelect.value === "" || data.texts[prompt[0]] === testSelect.value) &&
               (conditionSelect.value === "" || String(answer[1]) === conditionSelect.value) &&
               (flagSelect.value === "" || String(answer[3]) === flagSelect.value) &&
               (!hits || hits.has(prompt[2]) || hits.has(answer[2]) || hits.has(prompt[3]));
      });
      page = 0;
      show();
    }

    function show() {
      list.replaceChildren();
      for (const answer of found.slice(page * perPage, (page + 1) * perPage)) {
        const prompt = data.prompts[answer[0]];
        const box = document.createElement("article");
        box.className = "sample";
        box.setAttribute("data-row", "");
        const head = document.createElement("div");
        const flag = document.createElement("span");
        flag.className = `flag-${answer[3]}`;
        flag.textContent = say(...flags[answer[3]]);
        head.append(`${data.texts[prompt[0]]} · ${data.texts[prompt[1]]} · ${data.conditions[answer[1]]} · `, flag);
        const facts = document.createElement("dl");
        for (const [en, zh, value] of [["prompt", "提示", data.texts[prompt[2]]], ["right answer", "正确答案", data.texts[prompt[3]]],
                                       ["float model", "浮点模型", data.texts[prompt[4]]], ["quantized model", "量化模型", data.texts[answer[2]]]]) {
          const term = document.createElement("dt"), text = document.createElement("dd");
          term.textContent = say(en, zh);
          text.textContent = value === "" ? say("(nothing)", "（空）") : value;
          facts.append(term, text);
        }
        box.append(head, facts);
        list.append(box);
      }
      const last = Math.min(found.length, (page + 1) * perPage);
      document.getElementById("sample-count").textContent = found.length === 0 ? say("none", "无") :
          say(`${page * perPage + 1} to ${last} of ${found.length}`, `第 ${page * perPage + 1} 至 ${last} 个，共 ${found.length} 个`);
      document.getElementById("sample-back").disabled = page === 0;
      document.getElementById("sample-next").disabled = last >= found.length;
    }

    for (const element of [testSelect, conditionSelect, flagSelect]) element.addEventListener("change", select);
    search.addEventListener("input", select);
    document.getElementById("sample-filters").addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("sample-back").addEventListener("click", () => { --page; show(); });
    document.getElementById("sample-next").addEventListener("click", () => { ++page; show(); });
    select();
    return { show };
  }

  const samples = makeSamples();
  for (const button of all("[data-lang-choice]")) button.addEventListener("click", () => setLanguage(button.dataset.langChoice));
  for (const button of all("[data-theme-choice]")) {
    button.addEventListener("click", () => setTheme(button.dataset.themeChoice));
  }
  showTheme();
  for (const form of all("[data-filters]")) form.addEventListener("change", () => applyFilters(form));
  // What is folded on the screen is printed.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const element of folded) element.open = true;
  });
  addEventListener("afterprint", () => { for (const element of folded) element.open = false; });
  setLanguage((navigator.language || "en").startsWith("zh") ? "zh" : "en");
})();
