// Says what the last view changed, and switches the counter's language. Text goes in through textContent only.
(function () {
  "use strict";
  var line = document.getElementById("change");
  var base = document.querySelector("script[src*='widget/v1.js']").src.replace(/\/widget\/.*/, "");
  var shown = null;

  function get(url) {
    return fetch(url, { cache: "no-store" }).then(function (response) { return response.json(); });
  }

  /** The site's total and this page's views, read once `position` is counted. */
  function read(view, position) {
    var site = base + "/v1/sites/" + view.site;
    var after = position ? "&after=" + position : "";
    return Promise.all([
      get(site + "/counters?" + after.slice(1)),
      get(site + "/pages?page=" + encodeURIComponent(view.page) + after),
    ]).then(function (answers) {
      return { total: answers[0].total, page: answers[1].pages[view.page] };
    });
  }

  function step(before, after) {
    return (before == null || before === after ? "" : before + " → ") + after;
  }

  function tell(last) {
    if (!last.answer.counted) {
      line.textContent = "Lượt xem vừa rồi không được đếm: " + (last.answer.reason || "không có trả lời");
      return;
    }
    var text = "Lượt xem vừa rồi: vị trí " + last.answer.position;
    line.textContent = text;
    before.then(function (old) {
      return read(last.view, last.answer.position).then(function (now) {
        line.textContent = text + ", tổng " + step(old.total, now.total) + ", trang này " + step(old.page, now.page);
      });
    }).catch(function () { /* The numbers are late; the position stands. */ });
  }

  // What the page and the site had before this view: read before the widget, which is async, has sent it.
  var here = location.pathname + location.search;
  var before = read({ site: "demo", page: here }, "").catch(function () { return {}; });
  setInterval(function () {
    var last = window.visitCounter && window.visitCounter.count.last;
    if (!last || last === shown) return;
    shown = last;
    tell(last);
  }, 100);

  var button = document.getElementById("language");
  button.addEventListener("click", function () {
    var lang = button.textContent === "English" ? "en" : "vi";
    button.textContent = lang === "en" ? "Tiếng Việt" : "English";
    document.querySelectorAll("visit-counter").forEach(function (element) {
      element.setAttribute("lang", lang);
    });
  });
})();
