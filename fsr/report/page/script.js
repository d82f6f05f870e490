"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const spell = (x) => Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(4)));
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

  // Theme: what the system says, until the reader says otherwise.
  const theme = document.getElementById("theme");
  const names = ["auto", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = names[(names.indexOf(theme.lastElementChild.textContent) + 1) % 3];
    theme.lastElementChild.textContent = next;
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  });

  // Charts: a cursor at the nearest step; the legend tells the values there.
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle; else high = middle;
    }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  };
  for (const figure of all("[data-chart]")) {
    const chart = data.charts[Number(figure.dataset.chart)], plot = data.plot;
    const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor");
    const at = figure.querySelector(".at"), values = all(".legend b", figure);
    const longest = chart.series.reduce((a, b) => (a[0].length >= b[0].length ? a : b))[0];
    let place = longest.length - 1;
    const show = (x) => {
      const across = plot.left + (x - chart.x[0]) / (chart.x[1] - chart.x[0]) * (plot.right - plot.left);
      cursor.setAttribute("d", `M${across} ${plot.top}V${plot.bottom}`);
      cursor.removeAttribute("hidden");
      at.textContent = `step ${Math.round(x)}`;
      chart.series.forEach(([xs, ys], i) => { 
        const y = ys[nearest(xs, x)];
        values[i].textContent = chart.unit === "%" ? y.toFixed(1) : spell(y);
      });
    };
    const leave = () => {
      cursor.setAttribute("hidden", "");
      at.textContent = "last";
      place = longest.length - 1;
      for (const value of values) value.textContent = value.dataset.last;
    };
    const move = (event) => {
      const box = svg.getBoundingClientRect();
      const across = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const x = chart.x[0] + (across - plot.left) / (plot.right - plot.left) * (chart.x[1] - chart.x[0]);
      place = nearest(longest, x);
      show(longest[place]);
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerdown", move);
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      place = clamp(place + by, 0, longest.length - 1);
      show(longest[place]);
      at.setAttribute("aria-live", "polite");
    });
  }

  // Tables: a heading sorts by its column.
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if ("fixed" in head.dataset) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numbers = head.classList.contains("number");
        const first = numbers ? "descending" : "ascending";
        const order = head.ariaSort === first ? (numbers ? "ascending" : "descending") : first;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const key = (row) => {
          const text = row.cells[column].textContent.trim();
          return numbers ? (parseFloat(text.replace(/,/g, "")) || (parseFloat(text) === 0 ? 0 : -Infinity)) : text;
        };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => sign * (numbers ? (a === b ? 0 : a - b) : a.localeCompare(b)));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  // Confusion: a cell is read by pointing at it, or by arrow keys.
  for (const matrix of all("[data-matrix]")) {
    const { left, cell, rows, pixels } = data.confusion[matrix.dataset.matrix], count = rows.length;
    const svg = matrix.querySelector("svg"), pick = matrix.querySelector(".pick");
    const readout = matrix.querySelector(".readout");
    let [row, column] = [0, 0];
    const show = () => {
      pick.setAttribute("x", left + column * cell);
      pick.setAttribute("y", left + row * cell);
      pick.removeAttribute("hidden");
      const [truth, taken] = [data.labels[row], data.labels[column]];
      readout.textContent = rows[row] === null
        ? `${truth} is in no truth`
        : `${truth} taken for ${taken}: ${(100 * rows[row][column]).toFixed(2)} % of ${pixels[row].toLocaleString("en")} pixels`;
    };
    const move = (event) => {
      const box = svg.getBoundingClientRect(), zoom = svg.viewBox.baseVal.width / box.width;
      const found = [event.clientY - box.top, event.clientX - box.left].map((x) => Math.floor((x * zoom - left) / cell));
      if (found.some((x) => x < 0 || x >= count)) return;
      [row, column] = found;
      show();
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerdown", move);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      row = clamp(row + by[0], 0, count - 1);
      column = clamp(column + by[1], 0, count - 1);
      show();
    });
  }

  // Pictures: the slider fades from layer to layer; arrow keys go to the next one.
  const strength = document.getElementById("strength"), every = document.getElementById("all");
  const pictures = all(".picture").map((figure) => ({
    slider: figure.querySelector("input"),
    images: all("img", figure),
    stops: all("[data-stop]", figure),
  }));
  const paint = ({ slider, images, stops }) => {
    const at = Number(slider.value), near = Math.round(at);
    images.forEach((image, layer) => {
      if (layer === 0) return;
      const seen = Math.max(0, 1 - Math.abs(at - layer));
      // The layer below stays whole while the next one covers it, so that the image never shows dark.
      const covered = at > layer && at < layer + 1 && images[layer + 1]?.className === "opaque";
      const full = image.className === "map" ? Number(strength.value) / 100 : 1;
      image.style.opacity = (covered ? 1 : seen) * full;
    });
    stops.forEach((stop, layer) => stop.classList.toggle("on", layer === near));
    const layers = images.map((image) => image.dataset.layer), low = Math.floor(at);
    slider.setAttribute("aria-valuetext", at === near ? layers[near] : `between ${layers[low]} and ${layers[low + 1]}`);
  };
  const whole = (slider, paintIt) => slider.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const at = Number(slider.value);
    slider.value = by > 0 ? Math.floor(at + 1.001) : Math.ceil(at - 1.001);
    paintIt();
  });
  for (const picture of pictures) {
    const paintIt = () => paint(picture);
    picture.slider.addEventListener("input", paintIt);
    whole(picture.slider, paintIt);
    for (const stop of picture.stops) {
      stop.addEventListener("click", () => { picture.slider.value = stop.dataset.stop; paintIt(); });
    }
  }
  if (every) {
    // Where a picture lacks a layer, the shared slider goes by name and shows the image.
    const longest = pictures.reduce((a, b) => (a.images.length >= b.images.length ? a : b)).images.map((i) => i.dataset.layer);
    every.max = longest.length - 1;
    const paintAll = () => {
      const at = Number(every.value), near = Math.round(at);
      for (const picture of pictures) {
        const own = picture.images.map((image) => image.dataset.layer);
        picture.slider.value = own.length === longest.length ? at : Math.max(0, own.indexOf(longest[near]));
        paint(picture);
      }
      every.setAttribute("aria-valuetext", longest[near]);
    };
    every.addEventListener("input", paintAll);
    whole(every, paintAll);
    strength.addEventListener("input", () => {
      strength.setAttribute("aria-valuetext", `${strength.value} per cent`);
      pictures.forEach(paint);
    });
    pictures.forEach(paint);
  }
})();
