// Says what the last view changed, and switches the counter's language. Text goes in through textContent only.
(function () {
  "use strict";
  var line = document.getElementById("change");
  document.addEventListener("visit-counter:counted", function (event) {
    var counted = event.detail;
    if (!counted.counted) {
      line.textContent = "Lượt xem vừa rồi không được đếm: " + (counted.reason || "không có trả lời");
      return;
    }
    var text = "Lượt xem vừa rồi: vị trí " + counted.position;
    var after = counted.after || {}, before = counted.before || {};
    if (after.total != null) {
      text += ", tổng " + (before.total == null || before.total === after.total ? "" : before.total + " → ") + after.total;
    }
    if (after.page != null) {
      text += ", trang này " + (before.page == null || before.page === after.page ? "" : before.page + " → ") + after.page;
    }
    line.textContent = text;
  });
  var button = document.getElementById("language");
  button.addEventListener("click", function () {
    var lang = button.textContent === "English" ? "en" : "vi";
    button.textContent = lang === "en" ? "Tiếng Việt" : "English";
    document.querySelectorAll("visit-counter").forEach(function (element) {
      element.setAttribute("lang", lang);
    });
  });
})();
