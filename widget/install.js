// @ts-check
// The live check of the install help: asks ingest whether this browser's views arrive, and what became of the last ones.
// The view that is sent to find out is marked as the webmaster's own, which is never counted. Text goes in through textContent only.
(() => {
  const POLL_MS = 2000, WATCH_MS = 10 * 60 * 1000;
  // By its id our own question is told from the portal's views.
  const CHECK_ID = "check-" + String(Math.random()).slice(2);
  /** @typedef {{seconds_ago: number, id: string, counted: boolean, reason: string | null, hint: string, position: string}} Seen */
  /** @typedef {[boolean | null, string]} Answer  Whether it is well, `null` where that is open, and a sentence. */
  const box = document.getElementById("check");
  if (!box) return;
  const list = /** @type {HTMLElement} */ (box.querySelector("ul"));
  const status = /** @type {HTMLElement} */ (box.querySelector("[role=status]"));
  const button = /** @type {HTMLButtonElement} */ (box.querySelector("button"));
  const words = JSON.parse(box.dataset.words), site = box.dataset.site;
  // The page is SERVICE/sites/SITE/install; the service may stand under a prefix.
  const base = location.origin + location.pathname.replace(/\/sites\/[^/]+\/install\/?$/, "");
  // Only the browser knows by which address it came here: the scheme and the path's beginning may be a proxy's.
  /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("code[data-told]")).forEach((code) => {
    code.textContent = code.textContent.split(code.dataset.told).join(code.dataset.known === "origin" ? location.origin : base);
  });
  let until = 0, timer = 0, included = "", said = "", first = /** @type {Answer} */ ([null, ""]);

  const say = (/** @type {string} */ name, /** @type {Record<string, string | number>} */ values = {}) =>
    Object.keys(values).reduce((text, key) => text.split("{" + key + "}").join(String(values[key])), words[name] || words.other);

  /** Write the answers. A screen reader is told when one of them is another, not that a second has passed. */
  const show = (/** @type {Answer[]} */ answers) => {
    while (list.children.length > answers.length) list.lastChild.remove();
    answers.forEach(([isGood, text], index) => {
      const item = list.children[index] || list.appendChild(document.createElement("li"));
      item.className = "answer" + (isGood === null ? "" : isGood ? " good" : " bad");
      item.textContent = text;
    });
    const text = answers.map((answer) => answer[1]).join(" "), news = text.replace(/\d+/g, "");
    if (news !== said) status.textContent = text;
    said = news;
  };

  /** Return the answer to a request with its status; `{}` where there is none. */
  const ask = async (/** @type {string} */ path, /** @type {RequestInit} */ options = {}) => {
    try {
      const answer = await fetch(base + path, Object.assign({ credentials: "omit", cache: "no-store" }, options));
      return Object.assign({ status: answer.status }, await answer.json());
    } catch (error) {
      return {};
    }
  };

  /** Say whether the way to ingest is open. @returns {Promise<Answer>} */
  const way = async () => {
    const body = JSON.stringify({ site, page: "/", own: true, id: CHECK_ID });
    const answer = await ask("/v1/views", { method: "POST", body });
    if (!answer.status) return [false, say("unreached", { address: base + "/v1/views" })];
    if (answer.reason === "own") return [true, words.reached];
    return [false, say(answer.reason, { site }) + " " + (answer.detail || answer.hint || answer.status)];
  };

  /** Say what became of a view, and whether the numbers have it. @returns {Promise<Answer[]>} */
  const told = async (/** @type {Seen} */ seen) => {
    const seconds = Math.round(seen.seconds_ago);
    if (!seen.counted) {
      return [[false, [say("refused", { seconds, reason: seen.reason }), say(seen.reason, { site }), seen.hint].join(" ")]];
    }
    /** @type {Answer[]} */
    const answers = [[true, say("seen", { seconds })]];
    if (!seen.position) return answers;
    if (included !== seen.position) {
      const numbers = await ask("/v1/sites/" + site + "/counters?after=" + seen.position);
      if (numbers.after) included = seen.position;
      if (numbers.stale) answers.push([false, say("late", { time: numbers.as_of })]);
    }
    answers.push(included === seen.position ? [true, words.visible] : [false, words.not_visible]);
    return answers;
  };

  const look = async () => {
    const recent = await ask("/v1/views/recent?site=" + site), answers = [first];
    if (!recent.views) answers.push([false, say("no_recent", { address: base + "/v1/views/recent" })]);
    else {
      const views = recent.views.filter((/** @type {Seen} */ seen) => seen.id !== CHECK_ID);
      answers.push(...views.length ? await told(views[0]) : [/** @type {Answer} */ ([null, words.waiting])]);
    }
    if (recent.untrusted_proxy) answers.push([false, words.proxy]);
    if (recent.asks_privacy) answers.push([null, words.privacy]);
    if (recent.bot) answers.push([false, words.bot + " " + recent.bot]);
    if (Date.now() > until) answers.push([null, words.stopped]);
    else timer = setTimeout(look, POLL_MS);
    show(answers);
  };

  button.addEventListener("click", async () => {
    clearTimeout(timer);
    until = Date.now() + WATCH_MS;
    show([[null, words.checking]]);
    first = await way();
    look();
  });
  box.hidden = false;
})();
