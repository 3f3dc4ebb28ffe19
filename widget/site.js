// @ts-check
// Draws the tables of the statistics page as charts, with uPlot (widget/vendor); without it the tables stand open, and they stay
// beside the charts for those who read them: a chart is a picture of its table. Nothing moves by itself.
(() => {
  /** @typedef {ReturnType<typeof read>} Found */
  const HEIGHT = 240, STEPS = /** @type {number[]} */ ([]);
  for (let step = 1; step < 1e15; step *= 10) STEPS.push(step, 2 * step, 5 * step);
  /** @type {Array<() => void>} */
  const redraws = [];

  const color = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  /** Read a table: the names of its rows, their short marks, and their numbers. */
  const read = (/** @type {HTMLElement} */ table) => {
    const rows = Array.from(table.querySelectorAll("tbody tr"));
    const heads = rows.map((row) => /** @type {HTMLElement} */ (row.querySelector("th")));
    const cells = rows.map((row) => /** @type {HTMLElement} */ (row.querySelector("td[data-n]")));
    return {
      names: heads.map((head) => head.textContent.trim()),
      marks: heads.map((head) => head.dataset.mark || ""),
      texts: cells.map((cell) => cell.textContent.trim()),
      numbers: cells.map((cell) => Number(cell.dataset.n)),
      title: table.querySelector("thead th.n").textContent.trim(),
      period: table.querySelector("thead th").textContent.trim(),
    };
  };

  /**
   * Return what uPlot draws: one bar a row, the marks under them, the row under the pointer told in words.
   * @param {Found} found
   * @param {number} width
   * @returns {import("uplot").Options}
   */
  const options = (found, width) => {
    const line = { stroke: color("grid"), width: 1 }, axis = { stroke: color("quiet"), grid: line, ticks: line };
    const language = document.documentElement.lang;
    return {
      width,
      height: HEIGHT,
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { time: false, range: () => [-0.6, found.numbers.length - 0.4] },
        y: { range: (_plot, _low, high) => [0, high * 1.05 || 1] },
      },
      series: [
        { label: found.period, value: (_plot, _n, _series, index) => index == null ? "–" : found.names[index] },
        {
          label: found.title,
          fill: color("bar"),
          width: 0,
          paths: self.uPlot.paths.bars({ size: [0.75, 48] }),
          points: { show: false },
          value: (_plot, _n, _series, index) => index == null ? "–" : found.texts[index],
        },
      ],
      axes: [
        Object.assign({ space: 56, incrs: [1, 2, 3, 5, 6, 10, 12, 24] }, axis, {
          values: (/** @type {unknown} */ _plot, /** @type {number[]} */ splits) => splits.map((at) => found.marks[at] || ""),
        }),
        Object.assign({ size: 76, incrs: STEPS }, axis, {
          values: (/** @type {unknown} */ _plot, /** @type {number[]} */ splits) => splits.map((n) => n.toLocaleString(language)),
        }),
      ],
    };
  };

  const draw = (/** @type {HTMLElement} */ figure) => {
    const table = document.getElementById(figure.dataset.table);
    const found = read(table);
    if (!found.numbers.length) return;
    figure.hidden = false;
    const make = () => {
      figure.textContent = "";
      new self.uPlot(options(found, figure.clientWidth), [found.numbers.map((_n, index) => index), found.numbers], figure);
    };
    make();
    redraws.push(make);
    const details = /** @type {HTMLDetailsElement} */ (table.closest("details"));
    if (details) details.open = false;
  };

  if (!self.uPlot) return;
  document.querySelectorAll("figure[data-table]").forEach((figure) => draw(/** @type {HTMLElement} */ (figure)));
  const again = () => redraws.forEach((make) => make());
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width !== innerWidth) again();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addListener(again);
  // On paper the tables are wanted too.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
