"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  for (const element of $$(".scripted")) element.hidden = false;

  // light and dark: the system decides until the button does
  const button = $("#theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `${button.textContent} colours`); };
  button.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  name();

  // a click on a head sorts its table; a second one turns the order round
  for (const table of $$("table.sortable")) {
    $$("thead th", table).forEach((head, column) => {
      if (!head.textContent.trim() || table.tBodies[0].rows.length < 2) return;
      const sort = document.createElement("button");
      sort.type = "button";
      sort.className = "sort";
      sort.textContent = head.textContent;
      head.replaceChildren(sort);
      sort.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of $$("thead th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = row => row.cells[column].dataset.sort ?? row.cells[column].textContent;
        const number = text => (text.trim() === "" ? NaN : Number(text));
        const order = (a, b) => {
          const x = number(value(a)), y = number(value(b));
          if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
          const sign = Number.isNaN(x) ? value(a).localeCompare(value(b), undefined, { numeric: true }) : x - y;
          return down ? -sign : sign;
        };
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
      });
    });
  }

  // details of a mark at once, in the place of the browser's slow title
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  for (const title of $$("figure svg title")) { title.parentNode.dataset.tip = title.textContent; title.remove(); }
  document.addEventListener("pointerover", event => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const x = Math.max(8, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8));
    tip.style.left = `${x}px`;
    tip.style.top = `${event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18}px`;
  });
  addEventListener("scroll", () => { tip.hidden = true; }, true);

  addEventListener("beforeprint", () => { for (const details of $$("details:not(.long)")) details.open = true; });

  // the waterfall of a chosen specimen: the same sums as realmat.report.charts.waterfall
  const source = $("#gap-data");
  if (!source) return;
  const data = JSON.parse(source.textContent), select = $("#piece"), log = data.log;
  const digits = (value, n = 3) => {
    const size = Math.abs(value);
    if (size >= 1e4 && size < 1e9) return Number(size.toPrecision(n)).toFixed(0).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    if (size >= 10 ** (n - 1) && size < 1e6) return size.toFixed(0);
    if (size === 0 || (size >= 1e-4 && size < 1e9)) return String(Number(size.toPrecision(n)));
    const [mantissa, power] = size.toExponential(n - 1).split("e");
    return `${Number(mantissa)} × 10${[...String(Number(power))].map(c => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
  };
  const number = (value, n = 3) => (value < 0 ? "\u2212" : "") + digits(value, n);
  const plusMinus = (value, u, signed) => {
    const sign = value < 0 ? "\u2212" : signed ? "+" : "";
    if (!(u > 0)) return sign + digits(value);
    const places = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(u))));
    return `${sign}${Math.abs(value).toFixed(places)} ± ${u.toFixed(places)}`;
  };
  const amount = (value, u, level) => {
    if (!log) return plusMinus(value, u, !level);
    if (level) return plusMinus(Math.exp(value), Math.exp(value) * u, false);
    return `× ${Math.exp(value).toFixed(3)} ± ${number(100 * u, 2)} %`;
  };
  const nice = (low, high, most) => {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * (1 - 1e-9)), ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k++) ticks.push(Number((k * step).toPrecision(12)));
    return ticks;
  };
  const niceLog = (low, high, most) => {
    if (high - low < Math.log(5)) return nice(Math.exp(low), Math.exp(high), most).filter(t => t > 0);
    let ticks = [];
    for (const marks of [[1, 2, 5], [1, 3], [1]]) {
      ticks = [];
      for (let d = Math.floor(low / Math.LN10); d <= Math.ceil(high / Math.LN10); d++)
        for (const m of marks) if (Math.log(m * 10 ** d) >= low && Math.log(m * 10 ** d) <= high) ticks.push(m * 10 ** d);
      if (ticks.length <= most) return ticks;
    }
    return ticks.filter((_, k) => k % Math.ceil(ticks.length / most) === 0);
  };
  const draw = () => {
    const chosen = select.selectedIndex, value = data.value[chosen], u = data.u[chosen], last = data.steps.length - 1;
    let at = value[0];
    const rows = data.steps.map((step, k) => {
      const level = k === 0 || k === last, start = level ? value[k] : at;
      const end = level ? value[k] : (at += value[k]);
      return { step, level, start, end, u: u[k], value: value[k] };
    });
    const edges = rows.flatMap(r => [r.start, r.end, r.end - r.u, r.end + r.u]);
    let low = Math.min(...edges), high = Math.max(...edges);
    const room = 0.05 * (high - low) || 0.5 * Math.abs(high) || 0.5;
    low -= room; high += room;
    const place = v => `${(100 * (v - low) / (high - low)).toFixed(2)}%`;
    const set = (element, attributes) => { for (const key in attributes) element?.setAttribute(key, attributes[key]); };
    $$("#fall li[data-step]").forEach((item, k) => {
      const r = rows[k], [before, after] = $$(".link", item);
      set(before, { x1: place(r.start), x2: place(r.start) });
      set(after, { x1: place(r.end), x2: place(r.end) });
      set($(".level, .whisker", item), { x1: place(r.end - r.u), x2: place(r.end + r.u) });
      set($("circle", item), { cx: place(r.end) });
      set($("rect", item), { x: place(Math.min(r.start, r.end)), width: `${(100 * Math.abs(r.end - r.start) / (high - low)).toFixed(2)}%` });
      $(".amount", item).textContent = amount(r.value, r.u, r.level);
    });
    const axis = $("#fall .axis svg"), at_ = t => place(log ? Math.log(t) : t);
    axis.innerHTML = (log ? niceLog : nice)(low, high, 5).map(t =>
      `<line class="grid" x1="${at_(t)}" x2="${at_(t)}" y1="0" y2="5"/><text class="tick" x="${at_(t)}" y="18">${number(t)}</text>`).join("");
    $("#fall-title").textContent = data.titles[chosen];
    $("#previous").disabled = chosen === 0;
    $("#next").disabled = chosen === select.options.length - 1;
  };
  const choose = index => { select.selectedIndex = index; draw(); };
  select.addEventListener("change", draw);
  $("#previous").addEventListener("click", () => choose(Math.max(0, select.selectedIndex - 1)));
  $("#next").addEventListener("click", () => choose(Math.min(select.options.length - 1, select.selectedIndex + 1)));
  document.addEventListener("click", event => {
    const piece = event.target.dataset?.piece;
    if (piece === undefined || piece === "-1") return;
    choose(Number(piece));
    $("#figure-gap").scrollIntoView({ block: "center" });
  });
  choose(data.first);
})();
