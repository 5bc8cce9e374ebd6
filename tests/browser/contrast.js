// Contrast of a page's visible text with what is painted behind it (WCAG 2.2, 1.4.3), measured
// inside the page. Behind a text are its ancestors' background colours and, inside an <svg>, the
// shapes drawn before it at its middle. Texts over images and gradients are counted as not measured.
(() => {
  const { describe, isVisible } = globalThis.pageChecks;
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();

  // [red, green, blue, alpha], 0 to 1, of any CSS colour.
  function parse(colour) {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255));
    }
    return known.get(colour);
  }
  const over = (front, back, opacity = 1) => {
    const alpha = front[3] * opacity;
    return [0, 1, 2].map((i) => front[i] * alpha + back[i] * (1 - alpha)).concat(1);
  };
  function luminance(colour) {
    const [r, g, b] = colour.map((part) =>
      part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ratio(one, other) {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }

  // What the browser paints where the page says nothing; it follows `color-scheme`.
  function rootColour() {
    const probe = document.createElement("div");
    probe.style.backgroundColor = "Canvas";
    document.documentElement.append(probe);
    const colour = getComputedStyle(probe).backgroundColor;
    probe.remove();
    return parse(colour);
  }
  const ancestors = (element) => {
    const chain = [];
    for (let at = element; at !== null; at = at.parentElement) chain.unshift(at);
    return chain;
  };
  // { colour, opacity, isImage }: opacity is that of the element itself on its background.
  function behind(element, root) {
    let colour = root;
    let opacity = 1;
    let isImage = false;
    for (const at of ancestors(element)) {
      const style = getComputedStyle(at);
      opacity *= Number(style.opacity);
      const own = parse(style.backgroundColor);
      if (own[3] * opacity === 1) isImage = false;
      if (style.backgroundImage !== "none") isImage = true;
      colour = over(own, colour, opacity);
    }
    return { colour, opacity, isImage };
  }

  // --- shapes of an <svg> below a text

  const shapesOf = new Map();
  function shapes(svg) {
    if (!shapesOf.has(svg)) {
      const drawn = svg.querySelectorAll("rect, path, circle, ellipse, polygon");
      const found = [...drawn].filter(isVisible);
      shapesOf.set(svg, found.map((shape) => ({ shape, box: shape.getBoundingClientRect() })));
    }
    return shapesOf.get(svg);
  }
  function behindInSvg(element, svg, box, colour) {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    for (const { shape, box: area } of shapes(svg)) {
      if (x < area.left || x > area.right || y < area.top || y > area.bottom) continue;
      if (!(shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
      const style = getComputedStyle(shape);
      if (style.fill === "none" || style.fill.startsWith("url(")) continue;
      const point = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
      if (!shape.isPointInFill(point)) continue;
      colour = over(parse(style.fill), colour, Number(style.fillOpacity) * Number(style.opacity));
    }
    return colour;
  }

  // --- the texts

  // Hidden from the eye and kept for screen readers: a box of one pixel that cuts its content off.
  const isCutOff = (element) => ancestors(element).some((at) =>
    at.clientWidth <= 1 && at.clientHeight <= 1 && getComputedStyle(at).overflow === "hidden");
  const textless = ["checkbox", "radio", "range", "color", "hidden", "file"];
  function carriers() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (walker.currentNode.data.trim() === "" || element.closest("select, :disabled")) continue;
      if (!isVisible(element) || isCutOff(element)) continue;
      range.selectNodeContents(walker.currentNode);
      const box = range.getBoundingClientRect();
      if (box.width > 0 && box.height > 0) found.push({ element, box });
    }
    for (const element of document.querySelectorAll("select, textarea, input")) {
      const isText = !textless.includes(element.type);
      if (isText && !element.disabled && isVisible(element)) {
        found.push({ element, box: element.getBoundingClientRect() });
      }
    }
    return found;
  }
  function wantedRatio(style, scale) {
    const size = parseFloat(style.fontSize) * scale;
    return size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  }
  function textContrast() {
    shapesOf.clear();
    const root = rootColour();
    const problems = new Map();
    let count = 0;
    let unmeasured = 0;
    for (const { element, box } of carriers()) {
      const style = getComputedStyle(element);
      const svg = element.closest("svg");
      const { colour, opacity, isImage } = behind(element, root);
      if (isImage) {
        ++unmeasured;
        continue;
      }
      ++count;
      const back = svg ? behindInSvg(element, svg, box, colour) : colour;
      const ink = parse(svg ? style.fill : style.color);
      const own = svg ? opacity * Number(style.fillOpacity) : opacity;
      const scale = svg ? Math.abs(element.getScreenCTM()?.a ?? 1) : 1;
      const got = ratio(over(ink, back, own), back);
      if (got < wantedRatio(style, scale) - 0.005) {
        problems.set(describe(element), `${describe(element)} ${got.toFixed(2)}:1`);
      }
    }
    return { count, unmeasured, problems: [...problems.values()] };
  }
  const pageLuminance = () => luminance(behind(document.body, rootColour()).colour);

  Object.assign(globalThis.pageChecks, { textContrast, pageLuminance });
})();
