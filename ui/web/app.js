// Keeps the page up to date. The page is whole without it; then it reloads itself instead.
"use strict";

const link = document.getElementById("link");
const announce = document.getElementById("announce");
let said = document.querySelector("h1").textContent;

function show(word, lost) {
  link.hidden = false;
  link.textContent = word;
  link.classList.toggle("lost", lost);
}

// The server makes and escapes the markup; here it only takes its place.
function place(section) {
  const element = document.getElementById(section.id);
  if (!element) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = section.html;
  if (!moveOn(element, fresh.content)) element.replaceChildren(fresh.content);
  document.title = section.title + " · Phone backup box";
  if (section.title !== said) {
    said = section.title;
    announce.textContent = said;
  }
}

// A bar that only moves on stays the same element, so that it glides; a new one would jump.
function moveOn(element, content) {
  const bars = [element, content].map((e) => e.querySelector("progress[value]"));
  const rows = [element, content].map((e) => e.querySelector(".row"));
  const facts = [element, content].map((e) => e.querySelector(".facts"));
  if (element.id !== "progress" || [...bars, ...rows, ...facts].includes(null)) return false;
  bars[0].value = bars[1].value;
  bars[0].setAttribute("aria-label", bars[1].getAttribute("aria-label"));
  rows[0].replaceWith(rows[1]);
  facts[0].replaceWith(facts[1]);
  return true;
}

function listen() {
  const stream = new EventSource("/events");
  stream.addEventListener("open", () => show("live", false));
  stream.addEventListener("section", (event) => place(JSON.parse(event.data)));
  stream.addEventListener("lamps", (event) => {
    const lamps = document.querySelectorAll(".lamp");
    JSON.parse(event.data).forEach((glow, i) => lamps[i] && lamps[i].setAttribute("opacity", glow));
  });
  stream.addEventListener("error", () => {
    show("no connection to the box", true);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000); // refused: it does not ask again by itself
  });
}

// An update goes as it is, so that the page stays and shows how far it is.
const update = document.getElementById("update");
if (update) update.addEventListener("submit", (event) => {
  event.preventDefault();
  const taken = document.getElementById("taken");
  const button = update.querySelector("button");
  button.disabled = true;
  taken.textContent = "It is being sent.";
  fetch("/update", { method: "PUT", body: update.elements.file.files[0] })
    .then((answer) => answer.json())
    .then((answer) => { taken.textContent = answer.said; })
    .catch(() => { taken.textContent = "It did not come through. Try again."; })
    .finally(() => { button.disabled = false; });
});

listen();
