// Takes its own edits while the page stays.

document.querySelector("#hot").textContent = "before the edit";

if (import.meta.hot) {
  import.meta.hot.accept();
}
