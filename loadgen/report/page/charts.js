"use strict";
(async () => {
  const places = [...document.querySelectorAll("[data-chart]")];
  const give_up = (why) => {
    for (const place of places) {
      place.style.height = "auto";
      place.querySelector(".waiting").textContent =
        "The chart cannot be drawn here (" + why + "). Its numbers are in the table below.";
    }
  };
  if (!("DecompressionStream" in window)) {
    give_up("this browser is too old to unpack it; Chrome 80, Firefox 113 and Safari 16.4 can");
    return;
  }
  try {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.textContent = await new Response(stream).text();
    document.head.append(library);
  } catch (problem) {
    give_up(String(problem));
    return;
  }
  const figures = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const config = {
    displaylogo: false, scrollZoom: false, displayModeBar: false,
  };
  const themed = (layout, printing) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ink = printing ? "#000000" : colour("--ink"), grid = printing ? "#dddddd" : colour("--grid");
    const result = structuredClone(layout);
    Object.assign(result, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: coarse ? false : "zoom",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12, color: ink },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: grid, font: { color: ink } },
    });
    for (const [name, axis] of Object.entries(result)) {
      if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: grid, linecolor: grid, tickcolor: grid });
    }
    return result;
  };
  let printed = false;
  const watcher = new ResizeObserver((entries) => {
    for (const entry of entries) if (!printed && entry.target.data) Plotly.Plots.resize(entry.target);
  });
  for (const place of places) {
    const figure = figures[place.dataset.chart];
    if (!figure) continue;
    place.replaceChildren();
    await Plotly.newPlot(place, figure.data, themed(figure.layout, false), config);
    watcher.observe(place);
  }
  const again = (printing, width) => {
    for (const place of places) {
      const figure = figures[place.dataset.chart];
      if (!figure) continue;
      const layout = themed(figure.layout, printing);
      if (width) Object.assign(layout, { width, autosize: false }); else layout.autosize = true;
      Plotly.react(place, figure.data, layout, config);
    }
  };
  dark.addEventListener("change", () => again(false, 0));
  const closed = [];
  window.addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) { one.open = true; closed.push(one); }
    printed = true;
    again(true, 680);
  });
  window.addEventListener("afterprint", () => {
    for (const one of closed.splice(0)) one.open = false;
    printed = false;
    again(false, 0);
  });
})();
