// Sets the theme that was chosen before anything is drawn; without a choice the system's holds.
(() => {
  const kept = localStorage.getItem("danepipe-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
