// @ts-check
// Counts the view of this page and shows the site's counters; docs/widget.md is its manual.
//
// Served minified (visit-counter.min.js, made by `make widget`) in at most 3 KB gzipped, hence terse. One word per thing: `el` is
// what shows numbers (a <visit-counter>, or any element with data-visit-counter), `known` the last good answers, `newest` who asked
// last, `page` the page as it is counted. Chrome 66, Firefox 63 and Safari 12.1 run it: no `?.`, no `??`, no class fields.
// Nothing may throw into the page: requests never reject, callbacks are safe.
(() => {
  /**
   * @typedef {import("./visit-counter").Answer} Answer
   * @typedef {HTMLElement & {shape?: string, nodes?: HTMLElement[], said?: number}} Shown
   * @typedef {(el: Shown) => unknown} Test
   */
  const doc = document,
    NAME = "visit-counter",
    script = /** @type {HTMLScriptElement} */ (doc.currentScript);
  if (!script || !self.customElements || customElements.get(NAME)) return;

  const base = script.src.split("/widget/")[0],
    // The words of a language, by these names; `%` is the metric's noun.
    NAMES = ("caption online today yesterday week month year total visits views visitors rolling calendar " +
      "time stale pause go").split(" "),
    WORDS = {
      vi: "Thống kê truy cập|Đang online|% hôm nay|% hôm qua|% trong tuần|% trong tháng|% trong năm|Tổng số %|" +
        "Lượt truy cập|Lượt xem|Khách|7, 30, 365 ngày gần nhất|Từ thứ Hai, ngày 1, ngày 1/1|" +
        "Cập nhật lúc |Số liệu chậm, lúc |Tạm dừng|Tiếp tục",
      en: "Visit statistics|Online now|% today|% yesterday|% this week|% this month|% this year|Total %|" +
        "Visits|Views|Visitors|Last 7, 30, 365 days|Since Monday, the 1st, 1 January|" +
        "Updated at |Late: |Pause|Resume",
    },
    // The note has room for its two lines from the start: nothing moves when the numbers come. A target is 24 pixels high at
    // least (WCAG 2.5.8). What is only for screen readers stands above the screen.
    CSS = ":host{color:var(--visit-counter-color)}" +
      "*{margin:0}dt,dd,.i,.i *{display:inline}.number dt{display:none}" +
      "dd{font-weight:700}" +
      "a,button{display:block;font-size:.85em;min-height:3em}" +
      "[role]{position:fixed;top:-9in}",
    all = /** @type {Set<Shown>} */ (new Set()),
    known = /** @type {Record<string, any>} */ ({}),
    newest = /** @type {Record<string, object>} */ ({}),
    now = Date.now;
  let siteLang = doc.documentElement.lang,
    stream = /** @type {EventSource} */ (undefined),
    page = "",
    path = /** @type {string} */ (undefined),
    canonical = /** @type {string} */ (undefined),
    named = /** @type {string} */ (undefined),
    active = now(),
    pinged = NaN,
    warned = 0,
    timer = /** @type {any} */ (0),
    // Moving text starts paused where the reader or the network asks for little (WCAG 2.2.2).
    paused = matchMedia("(prefers-reduced-motion)").matches || (navigator.connection || {}).saveData;

  const add = (/** @type {Node} */ parent, /** @type {string} */ tag, /** @type {string} */ part) => {
      const node = doc.createElement(tag);
      node.setAttribute("part", part);
      return parent.appendChild(node);
    },
    attr = (/** @type {Element | null} */ el, /** @type {string} */ name) =>
      el && (el.getAttribute(name) || el.getAttribute("data-" + name)) || "",
    isViews = (/** @type {Element} */ el) => (attr(el, "show") || attr(el, NAME)) == "views",
    layoutOf = (/** @type {Element} */ el) => isViews(el) ? "views" : attr(el, "layout").replace("panel", ""),
    isLive = (/** @type {Element} */ el) => el.shadowRoot && !layoutOf(el) && attr(el, "live") != "off",
    siteOf = (/** @type {Element} */ el) => attr(el, "site") || attr(script, "site"),
    pageOf = (/** @type {Element} */ el) => attr(el, "page") || page,
    url = (/** @type {Element} */ el, /** @type {string} */ what) => "/v1/sites/" + siteOf(el) + what + ["metric", "windows"].map(
      (name) => attr(el, name) && name + "=" + attr(el, name) + "&").join(""),
    /** The request that has an element's numbers, without its page. */
    sourceOf = (/** @type {Element} */ el) => url(el, isViews(el) ? "/pages?" : "/counters?"),
    keyOf = (/** @type {Element} */ el) => sourceOf(el) + (isViews(el) ? "page=" + encodeURIComponent(pageOf(el)) + "&" : ""),

    /** Make one request. Never rejects: no answer is `{}`. @returns {Promise<Answer>} */
    call = async (/** @type {string} */ target, /** @type {RequestInit} */ options) => {
      try {
        const answer = await (await fetch(base + target, { credentials: "omit", ...options })).json();
        siteLang = answer.lang || siteLang;
        // Said once a page, for the webmaster to mend; the server words it.
        if (answer.status < 500 && !warned++) console.warn(NAME, answer.status, answer.detail);
        if (answer.visitor != null) localStorage[NAME] = answer.visitor;
        return answer;
      } catch {
        return {};
      }
    },
    /** Send a view or a ping, as text: JSON would need a preflight. It outlives the page. */
    post = (/** @type {import("./visit-counter").View} */ view) => {
      try {
        // The webmaster's own mark, or the id that a site with identity = "storage" gave this browser.
        view.visitor = localStorage[NAME];
        view.own = view.visitor == "1";
      } catch { /* Storage is forbidden here: then nobody is marked. */ }
      return call("/v1/views", { method: "POST", body: JSON.stringify(view), keepalive: true });
    },

    /**
     * Read what the elements that pass the test show: each thing once, 100 pages a request.
     * The suffix is `after=POSITION` or empty.
     */
    load = /** @type {(test: Test, suffix: string, cache?: RequestCache) => void} */ ((test, suffix, cache) => {
      const turn = {}, sources = /** @type {Record<string, Record<string, Shown>>} */ ({});
      all.forEach((el) => {
        if (!test(el)) return;
        newest[keyOf(el)] = turn;
        (sources[sourceOf(el)] = sources[sourceOf(el)] || {})[keyOf(el)] = el;
      });
      Object.keys(sources).forEach(async (source) => {
        const keys = Object.keys(sources[source]);
        while (keys[0]) {
          const some = keys.splice(0, 100), answer = await call(
            source + some.map((key) => key.slice(source.length)).join("") + suffix,
            { cache });
          // An answer that a later question has overtaken is dropped.
          some.forEach((key) => newest[key] == turn && keep(key, answer.pages ? answer.pages[pageOf(sources[source][key])] : answer));
          show(test);
        }
      });
    }),
    /** Keep an answer, unless a newer one has come before it; one without numbers marks those that stand as late. */
    keep = (/** @type {string} */ key, /** @type {any} */ answer) => {
      const last = known[key] || {};
      if (answer == null || answer >= 0 || answer.total >= 0) {
        if (!answer || !(answer.as_of < last.as_of)) known[key] = answer;
      } else last.stale = true;
    },

    /** Count a view once the page is really seen, then show the numbers that include it. */
    count = async () => {
      doc.querySelectorAll("[data-" + NAME + "]").forEach((el) => all.add(/** @type {Shown} */ (el)));
      const link = /** @type {HTMLLinkElement} */ (doc.querySelector("link[rel=canonical]")),
        /** @type {import("./visit-counter").View} */
        view = { site: siteOf(script), page, id: (Math.random() + "" + now()).slice(2),
          entry: !page && doc.referrer.split("/")[2] != location.host };
      let tries = 0, answer = /** @type {Answer} */ ({});
      path = location.pathname;
      page = view.page = named || attr(doc.querySelector(NAME + "[page]:not([show])"), "page") ||
        // A canonical link that navigation without loading left as it was is of the page before.
        link && link.href != canonical && (canonical = link.href).split("//" + location.host)[1] || path + location.search;
      named = "";
      load(() => 1, "");
      do {
        await new Promise((go) => setTimeout(go, 3e3 * tries));
        answer = await post(view);
      } while (answer.counted == null && !(answer.status < 500) && ++tries < 3);
      if (answer.position) {
        pinged = 0;
        load((/** @type {Shown} */ el) => siteOf(el) == view.site && (!isViews(el) || pageOf(el) == page), "after=" + answer.position);
      }
      again.last = { view, answer };
      listen();
    },

    /** Count again, under another name if one is given. */
    again = /** @type {import("./visit-counter").Count} */ ((name) => {
      named = name;
      path = canonical = "";
    }),
    close = () => {
      // Closing returns nothing, which is what then stands there.
      stream = /** @type {any} */ (stream && stream.close());
    },
    /** Hold one stream, of the first live panel. */
    listen = () => {
      const panel = [...all].find(isLive);
      if (paused || stream || !panel || doc.hidden) return;
      stream = new EventSource(base + url(panel, "/stream?"));
      stream.addEventListener("counters", (event) => {
        keep(keyOf(panel), JSON.parse(event.data));
        show(isLive);
      });
      stream.onerror = close;
    },
    /** Each minute, and with an event on return to the tab: read what no stream brings, ping, stream again. */
    tick = (/** @type {unknown} */ event) => {
      if (!path || doc.hidden) return close();
      if (event) active = now();
      load((/** @type {Shown} */ el) => event || !paused && isLive(el), "", "no-cache");
      if (now() - active > 6e5) return close();
      listen();
      // Not a number before a view was counted.
      if (pinged++ % 2) post({ site: siteOf(script), page, kind: "ping" });
    },

    show = (/** @type {Test} */ test) => all.forEach((el) => test(el) && draw(el)),
    /** Write what is known into an element; only texts that changed are touched. */
    draw = (/** @type {Shown} */ el) => {
      const answer = known[keyOf(el)], layout = layoutOf(el),
        lang = (attr(el, "lang") || siteLang).slice(0, 2) == "en" ? "en" : "vi",
        say = (/** @type {string} */ name) => WORDS[lang].split("|")[NAMES.indexOf(name)] || "",
        noun = say(answer && answer.metric || attr(el, "metric") || "visits"),
        names = (isViews(el) ? "views" : attr(el, NAME) || attr(el, "counters") || "online week month year total").split(" "),
        format = attr(el, "format"),
        texts = layout ? [] : [say("caption"), answer ? say(answer.windows) + ". " + say(answer.stale ? "stale" : "time") +
          new Date(answer.as_of).toLocaleTimeString(lang) : "–", say(paused ? "go" : "pause")],
        shape = answer == null && el.firstChild ? "slot" : layout + names;
      names.forEach((name) => {
        const value = isViews(el) || !answer ? answer : answer[name];
        // "Tổng số truy cập", not "Tổng số lượt truy cập".
        texts.push(say(name).replace("%", name == "total" ? noun.toLowerCase().replace("lượt t", "t") : noun) + ": ",
          (value == null ? "–" : format == "full" ? value.toLocaleString(lang) :
            format == "compact" ? value.toLocaleString(lang, { notation: format }) : value) + (layout == "line" ? "\u2003" : ""));
      });
      if (!el.shadowRoot) {
        if (answer != null) el.textContent = texts.pop();
        return;
      }
      if (el.shape != shape) build(el, shape, layout, texts.length);
      el.nodes.forEach((node, index) => {
        if (node.textContent != texts[index]) node.textContent = texts[index];
      });
      // Read out at most once a minute.
      if (answer && el.said < now() - 6e4) {
        el.said = now();
        el.shadowRoot.lastChild.textContent = texts.slice(3).join(" ");
      }
    },
    /** Build the parts for so many texts. */
    build = (/** @type {Shown} */ el, /** @type {string} */ shape, /** @type {string} */ layout, /** @type {number} */ length) => {
      const root = el.shadowRoot, nodes = el.nodes = /** @type {HTMLElement[]} */ ([]);
      el.shape = shape;
      root.textContent = "";
      try {
        // The only way under a policy without inline styles; newer than Chrome 72, Firefox 100, Safari 16.3.
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(CSS);
        root.adoptedStyleSheets = [sheet];
      } catch {
        add(root, "style", "").textContent = CSS;
      }
      if (shape == "slot") return add(root, shape, "");
      const panel = add(root, "div", "panel");
      if (layout) panel.className = "i " + layout;
      else {
        nodes.push(add(panel, "b", "caption"), add(root, "a", "note"), add(root, "button", "pause"));
        if (!isLive(el)) nodes[2].remove();
        nodes[2].onclick = () => {
          paused = !paused;
          close();
          show(isLive);
          tick(1);
        };
        /** @type {HTMLAnchorElement} */ (nodes[1]).href = base + "/sites/" + siteOf(el);
      }
      const list = add(panel, "dl", "list");
      while (nodes.length < length) {
        const line = add(list, "div", "line");
        nodes.push(add(line, "dt", "label"), add(line, "dd", "value"));
      }
      // No screen reader is interrupted unless the webmaster wants it.
      if (el.hasAttribute("announce")) {
        el.said = 0;
        add(root, "div", "status").setAttribute("role", "status");
      }
    };

  self.visitCounter = { count: again };
  customElements.define(NAME, class extends HTMLElement {
    static get observedAttributes() {
      return ["site", "page", "lang"];
    }
    constructor() {
      super();
      this.attachShadow({ mode: "open" });
    }
    connectedCallback() {
      all.add(this);
      draw(this);
      // Elements that come together share their requests.
      timer = timer || path && setTimeout(() => timer = load((/** @type {Shown} */ el) => known[keyOf(el)] == null, ""));
    }
    attributeChangedCallback() {
      if (this.isConnected) this.connectedCallback();
    }
    disconnectedCallback() {
      all.delete(this);
    }
  });

  addEventListener("scroll", () => active = now());
  addEventListener("pageshow", (event) => event.persisted && again());
  doc.addEventListener("visibilitychange", tick);
  setInterval(tick, 6e4);
  // Looking is shorter than listening, and leaves the page's history as it is. A prerendered page is hidden too.
  setInterval(() => {
    if (doc.readyState < "l" && !doc.hidden && location.pathname != path && (!path || attr(script, "spa") != "off")) count();
  }, 200);
  if (location.hash.indexOf(NAME) == 1) /** @type {HTMLScriptElement} */ (add(doc.head, "script", "")).src = base + "/widget/tools.js";
})();
