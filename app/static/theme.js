// A classic script in the head: a choice made before must hold from the first paint on. The API reference has no button.
(() => {
  const name = "segment-theme";
  const { dataset, classList } = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const other = () => ((dataset.theme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  const show = () => {
    classList.toggle("dark-mode", other() === "light"); // Swagger UI's class
    const button = document.getElementById("theme");
    if (button) button.title = button.ariaLabel = `Switch to the ${other()} theme`;
  };
  try { dataset.theme = localStorage.getItem(name) ?? ""; } catch { /* the system's theme holds */ }
  show();
  dark.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme")?.addEventListener("click", () => {
      dataset.theme = other();
      try { localStorage.setItem(name, dataset.theme); } catch { /* it holds for this visit */ }
      show();
    });
  });
})();
