// @ts-check
// Counts the view of this page and shows the site's counters: docs/widget.md says how.
// Sent as it stands here, without comments and indentation (widget.script()), in at most 3 KB
// gzipped. The syntax is what Chrome 66, Firefox 63 and Safari 12.1 parse: no `?.`, no `??`.
// Nothing here may throw into the page: requests never reject, callbacks catch.
(function () {
  "use strict";

  /**
   * @typedef {import("./types").Answer} Answer a counters answer, a refusal, or `{}`
   * @typedef {import("./types").Figures} Figures what the page showed at one moment
   * @typedef {import("./types").Words} Words
   * @typedef {{status: number, answer: Answer, wait: string | null}} Reply status 0: no answer
   * @typedef {HTMLElement & {shape?: string, texts?: Element[]}} Counter
   */

  const NAME = "visit-counter";
  const MINUTE = 6e4;
  const script = /** @type {HTMLScriptElement} */ (
    document.currentScript || document.querySelector("script[src*='/widget/']"));
  if (!script || !self.customElements || customElements.get(NAME)) return;
  const base = script.src.slice(0, script.src.lastIndexOf("/widget/"));
  const data = script.dataset;

  /** `%` is the metric's noun, `^` the same within a sentence. @type {Record<string, Words>} */
  const LANGUAGES = {
    vi: {
      caption: "Thống kê truy cập",
      online: "Đang online",
      today: "% hôm nay",
      yesterday: "% hôm qua",
      week: "% trong tuần",
      month: "% trong tháng",
      year: "% trong năm",
      total: "Tổng số ^",
      visits: ["Lượt truy cập", "truy cập"],
      views: ["Lượt xem", "lượt xem"],
      visitors: ["Khách", "khách"],
      rolling: "7, 30, 365 ngày gần nhất",
      calendar: "từ thứ Hai, ngày 1, ngày 1/1",
      daily: "; cộng khách từng ngày",
      time: "Cập nhật lúc ",
      stale: "Số liệu chậm, lúc ",
    },
    en: {
      caption: "Visit statistics",
      online: "Online now",
      today: "% today",
      yesterday: "% yesterday",
      week: "% this week",
      month: "% this month",
      year: "% this year",
      total: "Total ^",
      visits: ["Visits", "visits"],
      views: ["Views", "views"],
      visitors: ["Visitors", "visitors"],
      rolling: "last 7, 30, 365 days",
      calendar: "since Monday, the 1st, 1 January",
      daily: "; visitors of each day added up",
      time: "Updated at ",
      stale: "Late figures, of ",
    },
  };

  // The note keeps two lines from the start, so that nothing below moves when the numbers come.
  const CSS = ":host{display:block}dl,dd{margin:0}dt,dd{display:inline}" +
    "[part=caption],dd{font-weight:700}dd{font-variant-numeric:tabular-nums}" +
    "[part~=note]{font-size:.85em;line-height:1.4;min-height:2.8em}[part~=stale]{font-style:italic}" +
    ":host([show=views]),:host([show=views]) div,:host([show=views]) dl{display:inline}" +
    ":host([layout=line]) [part=line]{display:inline-block;margin-right:1em}" +
    ":host([hidden]),:host([layout=line]) [part=caption],:host([layout=number]) [part=caption]," +
    ":host([layout=number]) dt,:host([layout=line]) [part~=note],:host([layout=number]) [part~=note]" +
    "{display:none}";
  /** @type {CSSStyleSheet | undefined} */
  let sheet;
  if ("adoptedStyleSheets" in document) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }

  /** @type {Set<Counter>} */
  const elements = new Set();
  /** Last good answer by key; null: asked, nothing yet. @type {Record<string, any>} */
  const answers = {};
  /** @type {EventSource | null} */
  let source;
  /** The page counted, its path and canonical link, and the canonical link left behind. */
  let page = "", path = "", canonical = "", left = "";
  let pinged = 0, warned = 0, scheduled = 0;

  const attribute = (/** @type {Element} */ element, /** @type {string} */ name) =>
    element.getAttribute(name) || "";
  const isViews = (/** @type {Element} */ element) => attribute(element, "show") == "views";
  const isLive = (/** @type {Element} */ element) =>
    !isViews(element) && attribute(element, "live") != "off";
  /** An element's site; of the script: the site whose view is counted. */
  const siteOf = (/** @type {Element} */ element) => attribute(element, "site") || data.site ||
    attribute(document.querySelector(NAME + "[site]") || script, "site");
  const pageOf = (/** @type {Element} */ element) => attribute(element, "page") || page;
  const url = (/** @type {Element} */ element, /** @type {string} */ what) =>
    "/v1/sites/" + siteOf(element) + "/" + what + "?" + ["metric", "windows"].map((name) =>
      attribute(element, name) && name + "=" + attribute(element, name) + "&").join("");
  /** What an element shows: the counters of a URL, or the views of a site's page. */
  const keyOf = (/** @type {Element} */ element) =>
    isViews(element) ? siteOf(element) + " " + pageOf(element) : url(element, "counters");
  const first = (/** @type {(element: Element) => unknown} */ test) =>
    Array.from(elements).find(test);

  /**
   * Make one request of at most 10 s; never rejects.
   * @param {string} target path and query; a trailing `?` or `&` is dropped
   * @param {object | null} [body] sent by POST as text/plain, which needs no preflight
   * @param {boolean} [fresh] past the browser's cache
   * @returns {Promise<Reply>}
   */
  async function call(target, body, fresh) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 1e4);
    try {
      const response = await fetch(base + target.replace(/[?&]$/, ""), {
        method: body ? "POST" : "GET",
        body: body ? JSON.stringify(body) : null,
        keepalive: !!body,
        credentials: "omit",
        cache: fresh ? "no-cache" : "default",
        signal: abort.signal,
      });
      const status = response.status;
      const answer = await response.json().catch(() => ({}));
      if (status > 399 && status < 500) {
        warn(status + " " + (status == 403 ? "add " + location.origin + " to origins of the site" :
          status == 404 ? "no such site: mend data-site" : answer.detail));
      }
      return { status, answer, wait: response.headers.get("Retry-After") };
    } catch (error) {
      return { status: 0, answer: {}, wait: null };
    }
  }

  /** Say once a page what a webmaster has to mend. @param {string} reason */
  function warn(reason) {
    if (!warned++) console.warn(NAME + ": " + reason);
  }

  /** Keep a counters answer unless a later one stands; without numbers mark the old as late. */
  function keep(/** @type {string} */ key, /** @type {Answer} */ answer) {
    const old = answers[key];
    if (typeof answer.total != "number") old && (old.stale = true);
    else if (!old || !(new Date(answer.as_of) < new Date(old.as_of))) answers[key] = answer;
    elements.forEach(draw);
  }

  /**
   * Read what the elements that pass `test` show, each thing once, 100 pages a request.
   * @param {(element: Counter) => unknown} test
   * @param {string} [after] `after=POSITION`, or `""` for a read past the cache
   */
  function load(test, after) {
    /** @type {Record<string, string[]>} */
    const lists = {};
    /** @type {Promise<void>[]} */
    const jobs = [];
    const asked = new Set(), fresh = after != null, suffix = after || "";
    elements.forEach((element) => {
      const key = keyOf(element), list = url(element, "pages");
      if (asked.has(key) || !test(element)) return;
      asked.add(key);
      if (!(key in answers)) answers[key] = null;
      if (isViews(element)) (lists[list] = lists[list] || []).push(element);
      else jobs.push(call(key + suffix, null, fresh).then((reply) => keep(key, reply.answer)));
    });
    Object.keys(lists).forEach(async (list) => {
      while (lists[list].length) jobs.push(readPages(list, lists[list].splice(0, 100)));
    });
    /** @param {string} list @param {Counter[]} some */
    async function readPages(list, some) {
      const { answer } = await call(list + some.map((element) =>
        "page=" + encodeURIComponent(pageOf(element)) + "&").join("") + suffix, null, fresh);
      some.forEach((element) => {
        const views = (answer.pages || {})[pageOf(element)];
        if (views != null) answers[keyOf(element)] = views;
      });
      elements.forEach(draw);
    }
    return Promise.all(jobs);
  }

  /** Figures of the page and of the site's first panel, for the event. @returns {Figures} */
  function figures() {
    const panel = first((element) => !isViews(element) && siteOf(element) == siteOf(script));
    const answer = panel && answers[keyOf(panel)], views = answers[siteOf(script) + " " + page];
    return { total: answer ? answer.total : null, page: views == null ? null : views };
  }

  /** Count a view once the page is really seen, and show the numbers with it included. */
  async function count() {
    if (document.hidden || document["prerendering"]) {
      ["visibilitychange", "prerenderingchange"].forEach((event) =>
        document.addEventListener(event, count, { once: true }));
      return;
    }
    const site = siteOf(script), visited = path;
    if (!site) return warn("data-site is missing");
    const link = /** @type {HTMLLinkElement} */ (document.querySelector("link[rel=canonical]"));
    // After navigation without loading, a canonical link that did not change is of the page before.
    const parts = link && link.href != left ? (canonical = link.href).split("/") : [];
    const panel = first((element) => !isViews(element) && attribute(element, "page"));
    path = location.pathname;
    page = panel ? attribute(panel, "page") : parts[2] == location.host ?
      "/" + parts.slice(3).join("/") : path + location.search;
    const view = {
      site,
      page,
      id: Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-"),
      entry: !visited && document.referrer.split("/")[2] != location.host,
    };
    const beside = load(() => 1).then(figures);
    /** @type {Reply} */
    let reply;
    for (let attempt = 1; ; attempt++) {
      reply = await call("/v1/views", view);
      if (attempt > 2 || reply.status && reply.status < 500) break;
      const seconds = Math.min(Number(reply.wait) || 3 ** attempt, 60) + Math.random();
      await new Promise((resume) => setTimeout(resume, seconds * 1e3));
    }
    const { counted, reason, position } = reply.answer, before = await beside;
    if (position) {
      pinged = Date.now();
      const shown = (/** @type {Element} */ element) => siteOf(element) == site &&
        (!isViews(element) || pageOf(element) == page);
      const some = first(shown);
      const key = some && (isViews(some) ? url(some, "counters") : keyOf(some));
      for (let attempt = 0; key && attempt < 3; attempt++) {
        const { answer } = await call(key + "after=" + position, null, true);
        keep(key, answer);
        if (answer.after !== false) break;
      }
      await load((element) => shown(element) && keyOf(element) != key, "after=" + position);
    }
    document.dispatchEvent(new CustomEvent(NAME + ":counted", { detail: {
      site, page, id: view.id, counted: !!counted, reason, position, before, after: figures() } }));
    tick();
  }

  /** Hold one stream for the first live panel, in a visible tab only. */
  function listen() {
    const panel = !document.hidden && path && first(isLive);
    const target = panel && base + url(panel, "stream").replace(/[?&]$/, "");
    if (source && source.url != target) {
      source.close();
      source = null;
    }
    if (!panel || !target || source) return;
    const key = keyOf(panel), stream = source = new EventSource(target);
    stream.addEventListener("counters", (event) => {
      try {
        keep(key, JSON.parse(event.data));
      } catch (error) { /* The next event or poll mends it. */ }
    });
    stream.onerror = () => {
      stream.close();
      if (source == stream) source = null;
    };
  }

  /** Each minute and on return to the tab: poll what is not streamed, ping, stream again. */
  function tick() {
    const streamed = source && source.readyState == 1 && first(isLive);
    if (!document.hidden && path) {
      load((element) => !isViews(element) && answers[keyOf(element)] == null || isLive(element) &&
        !(streamed && keyOf(element) == keyOf(streamed)), "");
      if (pinged && Date.now() - pinged > 1.9 * MINUTE) {
        pinged = Date.now();
        call("/v1/views", { site: siteOf(script), page, kind: "ping" });
      }
    }
    listen();
  }

  /** Count again after navigation without loading, when the path is another. */
  const moved = () => setTimeout(() => {
    if (!path || location.pathname == path) return;
    left = canonical;
    count();
  });

  /** Write what is known into the element, touching only the texts that changed. */
  function draw(/** @type {Counter} */ element) {
    const root = /** @type {ShadowRoot} */ (element.shadowRoot);
    const answer = answers[keyOf(element)], views = isViews(element);
    const language = (attribute(element, "lang") || data.lang ||
      attribute(element.closest("[lang]") || element, "lang")).slice(0, 2) == "en" ? "en" : "vi";
    const words = LANGUAGES[language], format = attribute(element, "format");
    const metric = answer && answer.metric || attribute(element, "metric");
    const [noun, inner] = words[views ? "views" : metric] || words.visits;
    const number = (/** @type {any} */ value) => typeof value != "number" ? "–" :
      format == "full" || format == "compact" ? new Intl.NumberFormat(language, format == "full" ? {} :
        { notation: "compact", maximumFractionDigits: 1 }).format(value) : value + "";
    const names = views ? [noun] :
      (attribute(element, "counters") || "online week month year total").split(" ");
    const texts = views ? [] : [words.caption, answer ? words[answer.windows] +
      (metric == "visitors" ? words.daily : "") : "", answer ? words[answer.stale ? "stale" : "time"] +
      new Date(answer.as_of).toLocaleTimeString(language) : ""];
    names.forEach((name) => texts.push(
      (words[name] || name).replace("%", noun).replace("^", inner) + ": ",
      number(answer && !views ? answer[name] : answer)));
    const shape = answer == null && element.firstChild ? "slot" : names + "";
    if (element.shape != shape) build(element, shape, names, views);
    texts.forEach((text, index) => {
      const node = element.texts[index];
      if (node && node.textContent != text) node.textContent = text;
    });
    const note = element.texts[1] && element.texts[1].parentNode;
    if (!views && note) note.setAttribute("part", answer && answer.stale ? "note stale" : "note");
  }

  const add = (/** @type {Node} */ parent, /** @type {string} */ tag, /** @type {string} */ part) => {
    const node = document.createElement(tag);
    node.setAttribute("part", part);
    return parent.appendChild(node);
  };

  function build(element, shape, names, views) {
    const root = element.shadowRoot, texts = element.texts = [];
    element.shape = shape;
    root.textContent = "";
    if (sheet) root.adoptedStyleSheets = [sheet];
    else add(root, "style", "style").textContent = CSS;
    if (shape == "slot") return add(root, "slot", "fallback");
    const panel = add(root, "div", "panel");
    if (!views) {
      texts.push(add(panel, "div", "caption"));
      const note = add(root, "div", "note");
      texts.push(add(note, "div", "periods"), add(note, "div", "time"));
    }
    const list = add(panel, "dl", "list");
    names.forEach(() => {
      const line = add(list, "div", "line");
      texts.push(add(line, "dt", "label"), add(line, "dd", "value"));
    });
  }

  customElements.define(NAME, class extends HTMLElement {
    static get observedAttributes() {
      return "site page show counters metric windows format lang live".split(" ");
    }
    connectedCallback() {
      if (!this.shadowRoot) this.attachShadow({ mode: "open" });
      elements.add(this);
      this.attributeChangedCallback();
    }
    disconnectedCallback() {
      elements.delete(this);
    }
    attributeChangedCallback() {
      if (!elements.has(this)) return;
      draw(this);
      if (!path || scheduled) return;
      scheduled = setTimeout(() => {
        scheduled = 0;
        load((element) => !(keyOf(element) in answers));
        listen();
      });
    }
  });

  ["pushState", "replaceState"].forEach((name) => {
    const original = history[name];
    history[name] = function () {
      moved();
      return original.apply(this, arguments);
    };
  });
  addEventListener("popstate", moved);
  addEventListener("pageshow", (event) => event.persisted && count());
  addEventListener("pagehide", () => {
    if (source) source.close();
    source = null;
  });
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, MINUTE);
  if (document.readyState == "loading") document.addEventListener("DOMContentLoaded", count);
  else count();
})();
