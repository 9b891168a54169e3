// The page works without this: it searches while one types, and copies hashes.
const search = document.querySelector("#search");
let latest = 0;

async function show(url) {
  const asked = ++latest;
  const main = document.querySelector("main");
  main.classList.add("waits");
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (asked !== latest) return;
    for (const part of ["main", "footer"]) document.querySelector(part).replaceWith(page.querySelector(part));
    history.replaceState(null, "", url);
    offerCopies();
  } catch {
    // As without a script: the server is asked for the page itself, and its answer is shown.
    if (asked === latest) location.assign(url);
  }
}

function wanted() {
  const said = new URLSearchParams(new FormData(search.form));
  if (!search.value.trim()) said.delete("q");
  return said.size ? `./?${said}` : "./";
}

let soon;
search.addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(() => show(wanted()), 250);
});
search.form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(soon);
  show(wanted());
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target === search) return;
  event.preventDefault();
  search.focus();
});

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Only pages that came over TLS may write to the clipboard so.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
  return true;
}

function offerCopies() {
  for (const code of document.querySelectorAll("dd code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${code.closest("div").querySelector("dt").textContent}`);
    button.addEventListener("click", async () => {
      button.textContent = (await copy(code)) ? "Copied" : "Select it";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
}
offerCopies();
