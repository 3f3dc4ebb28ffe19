// @ts-check
// For the webmaster alone, loaded where the address ends in #visit-counter-debug or #visit-counter-skip (docs/widget.md).
// debug: draws what was counted, as what, and what the server answered. skip: marks this browser as the webmaster's own, or no longer.
// Text goes in through textContent only; no inline style is used that a strict policy would refuse.
(() => {
  const NAME = "visit-counter";
  const box = document.createElement("dialog");
  const add = (/** @type {string} */ tag, /** @type {string} */ text) => {
    const node = box.appendChild(document.createElement(tag));
    node.textContent = text;
    return node;
  };
  const close = () => {
    const button = add("button", "OK");
    button.onclick = () => box.remove();
  };

  if (location.hash == "#" + NAME + "-skip") {
    let text;
    try {
      const isOwn = localStorage[NAME] != 1;
      if (isOwn) localStorage[NAME] = 1;
      else delete localStorage[NAME];
      text = isOwn
        ? "Lượt xem của trình duyệt này từ nay không được đếm. · Views of this browser are no longer counted."
        : "Lượt xem của trình duyệt này lại được đếm. · Views of this browser are counted again.";
    } catch (error) {
      text = "Trình duyệt không cho lưu dấu này. · This browser does not let the mark be kept: " + error;
    }
    add("p", text);
    close();
  } else if (location.hash == "#" + NAME + "-debug") {
    const lines = add("pre", "visit-counter: …");
    close();
    setInterval(() => {
      const last = self.visitCounter && self.visitCounter.count.last;
      if (!last) return;
      const { view, answer } = last;
      const outcome = answer.counted ? "counted at " + answer.position :
        answer.reason ? "not counted: " + answer.reason + (answer.detail || answer.hint ? " – " + (answer.detail || answer.hint) : "") :
        "no answer from the server; it was tried three times";
      const text = [
        "visit-counter",
        "site    " + view.site,
        "page    " + view.page,
        "id      " + view.id,
        "entry   " + view.entry,
        "own     " + !!view.own,
        "visitor " + (view.visitor || "none kept in this browser"),
        "result  " + outcome,
        "answer  " + JSON.stringify(answer),
      ].join("\n");
      if (lines.textContent != text) lines.textContent = text;
    }, 200);
  } else return;
  document.body.appendChild(box);
  box.setAttribute("open", "");
})();
