// A classic script in the head: a choice made before must hold from the first paint on.
(() => {
  const name = "segment-theme";
  const savedTheme = () => { try { return localStorage.getItem(name); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (theme) => { document.documentElement.dataset.theme = theme ?? ""; };
  const current = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  apply(savedTheme());
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => {
      const other = current() === "dark" ? "light" : "dark";
      button.setAttribute("aria-label", `Switch to the ${other} theme`);
      button.title = `Switch to the ${other} theme`;
    };
    button.addEventListener("click", () => {
      const other = current() === "dark" ? "light" : "dark";
      apply(other);
      try { localStorage.setItem(name, other); } catch { /* it holds for this visit */ }
      label();
    });
    dark.addEventListener("change", label);
    label();
  });
})();
