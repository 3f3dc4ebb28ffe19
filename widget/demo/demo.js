// @ts-check
// What moves on the demo portal: a line says what the last view changed, a list shows the views of all pages as they are counted,
// and a button sends a made-up visitor. It asks the public API only, so nothing about readers is there to be shown.
(() => {
  const english = document.documentElement.lang === "en";
  const words = english ? {
    counted: "The last view: position ", total: ", total ", here: ", this page ", refused: "The last view was not counted: ",
    silent: "no answer", views: "views", position: "position ", yours: "this page", sample: "a sample visitor",
    pause: "Pause", go: "Resume", away: "The counter does not answer; this list waits.", many: "Too many sample visitors at once; wait a second.",
  } : {
    counted: "Lượt xem vừa rồi: vị trí ", total: ", tổng ", here: ", trang này ", refused: "Lượt xem vừa rồi không được đếm: ",
    silent: "không có trả lời", views: "lượt xem", position: "vị trí ", yours: "trang này", sample: "khách mẫu",
    pause: "Tạm dừng", go: "Tiếp tục", away: "Bộ đếm không trả lời; danh sách này đợi.", many: "Quá nhiều khách mẫu một lúc; xin đợi một giây.",
  };
  const LINES_MAX = 4, WAIT_MS = 1000;
  const { root, pages } = document.body.dataset;
  const site = root + "v1/sites/demo";
  const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
  const change = element("change"), list = element("views"), pause = element("pause"), send = element("send");

  /** @returns {Promise<any>} */
  const get = async (/** @type {string} */ url) => {
    const answer = await fetch(url, { cache: "no-store" });
    if (!answer.ok) throw new Error(url + ": " + answer.status);
    return answer.json();
  };
  const query = (/** @type {string[]} */ paths) => paths.map((path) => "page=" + encodeURIComponent(path)).join("&");
  const step = (/** @type {number} */ before, /** @type {number} */ after) =>
    before == null || before === after ? "" + after : before + " → " + after;

  // The line: what the site and this page had before this view, read before the widget sends it, and what they have with it.
  const here = location.pathname;
  const read = (/** @type {string} */ after) => Promise.all([
    get(site + "/counters?" + after), get(site + "/pages?" + query([here]) + "&" + after),
  ]).then(([counters, views]) => ({ total: counters.total, page: views.pages[here] }));
  const before = read("").catch(() => /** @type {{total?: number, page?: number}} */ ({}));
  let told = /** @type {object | undefined} */ (undefined);

  const tell = async (/** @type {any} */ last) => {
    const { answer, view } = last;
    if (!answer.counted) {
      change.textContent = words.refused + (answer.reason || words.silent);
      return;
    }
    const text = words.counted + answer.position;
    change.textContent = text;
    sent.push({ page: view.page.split("?")[0], who: words.yours, position: answer.position });
    try {
      const old = await before, now = await read("after=" + answer.position);
      change.textContent = text + words.total + step(old.total, now.total) + words.here + step(old.page, now.page);
    } catch { /* The numbers are late; the position stands. */ }
  };

  // The list: a page whose views have grown since the last look was viewed; those sent from here have their position beside them.
  const sent = /** @type {{page: string, who: string, position: string}[]} */ ([]);
  let known = /** @type {Record<string, number> | null} */ (null);
  let paused = matchMedia("(prefers-reduced-motion)").matches;

  const add = (/** @type {string} */ text) => {
    if (known) list.querySelectorAll("li:not([data-view])").forEach((line) => line.remove());
    const line = document.createElement("li");
    line.dataset.view = "";
    line.textContent = text;
    list.prepend(line);
    while (list.children.length > LINES_MAX) list.lastElementChild.remove();
  };
  const look = async () => {
    const found = (await get(site + "/pages?" + query(pages.split(" ")))).pages;
    const time = new Date().toLocaleTimeString(english ? "en" : "vi");
    Object.keys(found).forEach((page) => {
      if (!known || found[page] === known[page]) return;
      const mine = sent.filter((one) => one.page === page);
      mine.forEach((one) => sent.splice(sent.indexOf(one), 1));
      const from = mine.map((one) => " (" + one.who + ", " + words.position + one.position + ")").join("");
      add(time + " · " + page + " · " + step(known[page], found[page]) + " " + words.views + from);
    });
    known = found;
  };
  const follow = async () => {
    const last = window.visitCounter && window.visitCounter.count.last;
    if (last && last !== told) {
      told = last;
      await tell(last);
    }
    if (!paused && !document.hidden) await look().catch(() => {
      if (list.firstElementChild.textContent !== words.away) add(words.away);
    });
    setTimeout(follow, WAIT_MS);
  };

  const name = () => pause.textContent = paused ? words.go : words.pause;
  pause.onclick = () => {
    paused = !paused;
    name();
  };
  send.onclick = async () => {
    try {
      const answer = await fetch(root + "demo/visitors", { method: "POST" });
      if (answer.ok) sent.push({ ...await answer.json(), who: words.sample });
      else change.textContent = words.many;
    } catch {
      change.textContent = words.away;
    }
  };
  name();
  pause.hidden = send.hidden = false;
  follow();
})();
