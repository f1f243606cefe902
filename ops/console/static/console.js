// What every page does beyond HTML: the switch of the theme, and a beat for what is live on it.
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const order = ["auto", "light", "dark"];

  const show = () => {
    document.getElementById("theme-now").textContent = root.dataset.theme || "auto";
  };

  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme || "auto") + 1) % order.length];
    if (next === "auto") {
      delete root.dataset.theme;
      localStorage.removeItem("danepipe-theme");
    } else {
      root.dataset.theme = next;
      localStorage.setItem("danepipe-theme", next);
    }
    show();
    document.dispatchEvent(new Event("danepipe:theme"));
  });

  // While what is live cannot be fetched the page says so. What was asked for by a form is asked for again without
  // htmx, so that the answer is a page, which says why it was not done.
  document.addEventListener("htmx:afterRequest", (event) => {
    document.getElementById("stale").hidden = Boolean(event.detail.successful);
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.requestConfig.verb === "post") event.detail.elt.submit();
  });

  // Parts of a page with hx-trigger="danepipe:beat from:document" are fetched anew, while somebody can see them.
  setInterval(() => {
    if (document.visibilityState === "visible") document.dispatchEvent(new Event("danepipe:beat"));
  }, 5000);
})();
