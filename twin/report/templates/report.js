"use strict";
window.onerror = function (message) {
  var root = document.documentElement;
  root.dataset.jsErrors = String(Number(root.dataset.jsErrors) + 1);
  root.dataset.jsError = String(message);
};

(function () {
  var tip = document.getElementById("tip");

  function showTip(words, x, y) {
    tip.textContent = words;
    tip.hidden = false;
    var left = Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8);
    var top = y + 18 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 12 : y + 18;
    tip.style.left = Math.max(left, 4) + "px";
    tip.style.top = Math.max(top, 4) + "px";
  }

  function hideTip() { tip.hidden = true; }

  /* Titles of the pictures become quick tooltips; without this script they stay the browser's own. */
  document.querySelectorAll("svg.oneline title, svg.lanes title").forEach(function (title) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  });
  document.querySelectorAll("svg.oneline, svg.lanes").forEach(function (svg) {
    svg.addEventListener("mousemove", function (event) {
      var owner = event.target.closest("[data-tip]");
      if (owner) { showTip(owner.dataset.tip, event.clientX, event.clientY); } else { hideTip(); }
    });
    svg.addEventListener("mouseleave", hideTip);
  });

  document.querySelectorAll("[data-shows]").forEach(function (box) {
    box.addEventListener("change", function () {
      document.getElementById(box.dataset.shows).hidden = !box.checked;
    });
  });

  function clock(ms) {
    var s = Math.abs(ms) / 1000, h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    var tail = (s % 60).toFixed(1).padStart(4, "0");
    return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + tail;
  }

  /* The row at the time: a value holds from its row on. */
  function rowAt(times, t) {
    var low = 0, high = times.length - 1;
    while (low < high) {
      var middle = (low + high + 1) >> 1;
      if (times[middle] <= t) { low = middle; } else { high = middle - 1; }
    }
    return low;
  }

  function svgElement(tag, attributes) {
    var node = document.createElementNS("http:" + "//www.w3.org/2000/svg", tag);
    Object.keys(attributes).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    return node;
  }

  function crosshair(svg, data) {
    var cross = svg.querySelector(".cross"), box = data.box;
    svg.addEventListener("mousemove", function (event) {
      var place = svg.getBoundingClientRect();
      var x = (event.clientX - place.left) * svg.viewBox.baseVal.width / place.width;
      cross.replaceChildren();
      if (x < box[0] || x > box[2]) { hideTip(); return; }
      var t = data.span[0] + (x - box[0]) / (box[2] - box[0]) * (data.span[1] - data.span[0]);
      var row = rowAt(data.t, t), lines = [clock(t)];
      cross.append(svgElement("path", { d: "M" + x + " " + box[1] + "V" + box[3], "class": "hair" }));
      data.series.forEach(function (series, i) {
        var v = series.v[row];
        lines.push(series.name + "  " + (v === null ? "not recorded" : v + (data.unit ? " " + data.unit : "")));
        if (v === null || v > data.y[1] || v < data.y[0]) { return; }
        var y = box[3] - (v - data.y[0]) / (data.y[1] - data.y[0]) * (box[3] - box[1]);
        cross.append(svgElement("circle", { cx: x, cy: y, r: 3.5, "class": "c" + i }));
      });
      showTip(lines.join("\n"), event.clientX, event.clientY);
    });
    svg.addEventListener("mouseleave", function () { cross.replaceChildren(); hideTip(); });
  }

  var plots = JSON.parse(document.getElementById("plotdata").textContent);
  document.querySelectorAll("[data-plot]").forEach(function (figure) {
    crosshair(figure.querySelector("svg"), plots[Number(figure.dataset.plot)]);
  });

  document.querySelectorAll("[data-searches]").forEach(function (search) {
    var rows = Array.from(document.querySelectorAll("#" + search.dataset.searches + " tbody tr"));
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    search.addEventListener("input", function () {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), found = 0;
      rows.forEach(function (row, i) {
        var hit = words.every(function (word) { return texts[i].includes(word); });
        row.hidden = !hit;
        found += hit ? 1 : 0;
      });
      search.parentNode.querySelector("output").textContent = words.length ? found + " found" : "";
    });
  });
  document.documentElement.dataset.ready = "true";
})();
