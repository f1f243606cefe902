// Charts of what happens each second, fetched anew with each beat. Without this script the tables below them remain.
(() => {
  const place = document.querySelector("[data-rates]");
  const colours = { accepted: "--s6", dane: "--s1", tls: "--s2", may: "--s5", clear: "--s3", delivered: "--s1", deferred: "--s3", failed: "--s4" };
  let charts = [];
  let last = null;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const width = (plot) => Math.max(200, plot.clientWidth);

  const lines = (plot) => [...plot.querySelectorAll("[data-line]")].map((one) => one.dataset);
  const data = (plot) => [last.at, ...lines(plot).map((one) => last[one.line])];

  const axis = (more) => ({
    stroke: css("--soft"),
    grid: { stroke: css("--rule2"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
    ...more,
  });

  const draw = (plot) => {
    const series = lines(plot).map((one) => ({
      label: one.label,
      stroke: css(colours[one.line]),
      width: 1.75,
      dash: one.line === "accepted" ? [5, 4] : undefined,
      points: { show: false },
      value: (_, value) => (value === null || value === undefined ? "–" : value.toFixed(place.dataset.digits ?? 1)),
    }));
    const options = {
      width: width(plot),
      height: 190,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [axis({ values: "{HH}:{mm}", space: 60, size: 26 }), axis({ size: 40 })],
      series: [{ label: "Time (UTC)", value: "{HH}:{mm}:{ss}" }, ...series],
    };
    return { plot, chart: new uPlot(options, data(plot), plot) };
  };

  const drawAll = () => {
    for (const one of charts) one.chart.destroy();
    charts = [...place.querySelectorAll("[data-chart]")].map(draw);
  };

  const beat = async () => {
    const answer = await fetch(place.dataset.rates, { headers: { Accept: "application/json" } });
    if (answer.redirected || answer.status === 401) {
      location.reload(); // the login is over
      return;
    }
    if (!answer.ok) return; // Redis is away, say: the next beat asks again
    last = await answer.json();
    if (charts.length === 0) drawAll();
    else for (const one of charts) one.chart.setData(data(one.plot));
  };

  const quiet = () => beat().catch(() => {}); // the server is away: the next beat asks again

  document.addEventListener("danepipe:beat", quiet);
  document.addEventListener("danepipe:theme", () => last && drawAll());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => last && drawAll());
  new ResizeObserver(() => {
    for (const one of charts) one.chart.setSize({ width: width(one.plot), height: 190 });
  }).observe(place);
  quiet();
})();
