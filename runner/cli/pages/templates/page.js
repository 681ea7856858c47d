(function () {
  "use strict";
  var all = function (selector) { return Array.prototype.slice.call(document.querySelectorAll(selector)); };
  var shown = function (element) { return element.offsetParent !== null; };

  function openTarget() {
    var target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView({ block: "start" });
      target.querySelector("summary").focus({ preventScroll: true });
    }
  }

  function go(step) {
    var items = all("details.item").filter(shown);
    if (!items.length) { return; }
    var at = document.activeElement ? items.indexOf(document.activeElement.closest("details.item")) : -1;
    var next = at < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + step));
    items[next].querySelector("summary").focus({ preventScroll: true });
    items[next].scrollIntoView({ block: "nearest" });
  }

  function toggleAll() {
    var items = all("details.item").filter(shown);
    var open = items.some(function (item) { return !item.open; });
    items.forEach(function (item) { item.open = open; });
  }

  function filterNext() {
    var choices = all(".filter input");
    if (!choices.length) { return; }
    var at = choices.findIndex(function (choice) { return choice.checked; });
    choices[(at + 1) % choices.length].checked = true;
  }

  var closed = [];
  addEventListener("beforeprint", function () {
    closed = all("details:not([open])");
    closed.forEach(function (item) { item.open = true; });
  });
  addEventListener("afterprint", function () {
    closed.forEach(function (item) { item.open = false; });
    closed = [];
  });

  addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { return; }
    if (event.key === "j") { go(1); } else if (event.key === "k") { go(-1); } else if (event.key === "e") { toggleAll(); } else if (event.key === "f") { filterNext(); }
  });
  addEventListener("hashchange", openTarget);
  all("[data-needs-script]").forEach(function (element) { element.hidden = false; });
  all("button.toggle-all").forEach(function (button) { button.addEventListener("click", toggleAll); });
  openTarget();
})();
