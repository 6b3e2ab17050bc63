// Keeps #live fresh: reads the page again now and then, and swaps the region in when its state has changed.
// Without this script the page is as complete; a reload does the same.

const SLOWEST = 30000;
let wait = 3000;
let timer;

async function refresh() {
  clearTimeout(timer);
  const region = document.getElementById("live");
  if (!region || !("poll" in region.dataset)) return;
  if (!document.hidden) await swap(region).catch(() => {});
  wait = Math.min(wait * 1.25, SLOWEST);
  timer = setTimeout(refresh, wait);
}

async function swap(region) {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  if (!fresh || fresh.dataset.state === region.dataset.state) return;
  const known = new Set(listNews(region));
  const hadFocus = region.contains(document.activeElement);
  region.replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  document.getElementById("news").textContent = listNews(fresh).filter((text) => !known.has(text)).join(". ");
  if (hadFocus) fresh.querySelector("h1").focus();
  wait = 3000;
}

function listNews(region) {
  return Array.from(region.querySelectorAll("[data-news]"), (element) => element.textContent);
}

document.addEventListener("visibilitychange", () => {
  wait = 3000;
  if (!document.hidden) refresh();
});
timer = setTimeout(refresh, wait);
