// Refreshes, counts and copies. Every page works without it, and the server decides everything.
const find = (selector, root = document) => root.querySelector(selector);
const seconds = () => performance.now() / 1000;
// The one clock may stop in sleep, the other be set: what ran further counts.
const elapsed = (since) => Math.max(seconds() - since.seconds, Date.now() / 1000 - since.date);
let main = find("main[data-status]");

let pollTimer, counted, lastLeft, announced, isPolling, returnLeft;
let isBehind = false;
let notBefore = 0;
let failures = 0;

function announce(text, politeness) {
  const region = find(`[data-live=${politeness}]`);
  if (!region) return;
  // Emptied first, or the same text stays silent.
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 100);
}

const sentence = () => {
  const element = find("[data-announce]", main);
  return element ? element.dataset.announce || element.textContent.trim() : "";
};
// Another address is news even under the same words.
const news = () => main.dataset.politeness === "off" ? "" : sentence() + find("#ip-address", main)?.textContent;
const timer = () => find("[role=timer]", main);

function count(secondsLeft) {
  const hasEnd = timer() && secondsLeft != null;
  counted = hasEnd ? { left: secondsLeft, seconds: seconds(), date: Date.now() / 1000 } : null;
  tick();
}

function tick() {
  if (!counted) return;
  const { dataset } = timer();
  const left = Math.max(0, Math.ceil(counted.left - elapsed(counted)));
  for (const mark of [300, 60]) {
    // After sleep, far past the mark, the warning would be untrue.
    if (lastLeft > mark && left <= mark && left > mark - 10) announce(dataset[`at${mark}`], "polite");
  }
  // A slow answer sets the clock back, but a mark is passed once.
  lastLeft = Math.min(lastLeft, left);
  const clock = new Date(left * 1000).toISOString().slice(left < 3600 ? 14 : 11, 19);
  timer().textContent = left ? clock : dataset.at0;
  timer().previousElementSibling?.toggleAttribute("hidden", !left);
  timer().parentElement.toggleAttribute("data-low", left <= 300);
  // Nobody is asked for money at a price that may be over.
  main.toggleAttribute("data-is-over", !left);
  find("[data-ended]", main)?.toggleAttribute("hidden", left > 0);
  if (left) return;
  counted = null;
  plan(0);
}

async function get(url) {
  const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout?.(15000) });
  if (answer.ok) return answer;
  const after = answer.headers.get("Retry-After");
  notBefore = seconds() + Math.min(3600, Number(after) || (Date.parse(after) - Date.now()) / 1000 || 0);
  throw new Error(answer.status);
}

async function poll() {
  if (isPolling) return;
  isPolling = true;
  try {
    const status = await (await get(main.dataset.status)).json();
    isBehind = status.revision !== main.dataset.revision;
    if (isBehind) await refresh();
    else {
      main.dataset.nextPoll = status.next_poll_seconds ?? "";
      count(status.seconds_left);
    }
    const updated = find("[data-updated]");
    if (updated) {
      updated.dateTime = status.updated_at;
      updated.textContent = `${status.updated_at.slice(0, 16).replace("T", " ")} UTC`;
    }
    failures = 0;
  } catch {
    // A page that is known to be out of date says so at once.
    failures += isBehind ? 2 : 1;
  }
  isPolling = false;
  const offline = find("[data-offline]");
  if (failures > 1 && offline?.hidden) announce(offline.textContent, "polite");
  offline?.toggleAttribute("hidden", failures < 2);
  plan(failures ? Math.min(60, 5 * 2 ** failures) : Number(main.dataset.nextPoll));
}

function plan(pause) {
  clearTimeout(pollTimer);
  if (!main.dataset.nextPoll || document.hidden) return;
  pollTimer = setTimeout(poll, Math.max(pause, notBefore - seconds()) * 1000);
}

async function refresh() {
  const answer = await get(main.dataset.status.replace(/\/status$/, ""));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = find("main[data-status]", page);
  if (!next) throw new Error("no order");
  // What was opened, chosen, focused or selected stays so if the new page has it.
  for (const { id, value, open, checked } of main.querySelectorAll("details[open], input:checked")) {
    const twin = page.getElementById(id);
    if (twin && twin.value === value) Object.assign(twin, open ? { open } : { checked });
  }
  const focused = document.activeElement;
  const target = main.contains(focused) && (page.getElementById(focused.id) || find("h1", next));
  const selected = getSelection().toString().trim();
  document.title = page.title;
  main.replaceWith(next);
  main = next;
  enhance();
  if (target) target.focus({ preventScroll: true });
  for (const text of main.querySelectorAll("#ip-address, #ip-amount")) {
    if (text.textContent === selected) getSelection().selectAllChildren(text);
  }
  const farewell = prepareReturn();
  if (news() && news() !== announced) announce(sentence() + farewell, main.dataset.politeness);
  announced = news();
}

// Who comes back to a paid page wants to read it.
function prepareReturn() {
  const notice = find("[data-return]", main);
  if (!notice) return "";
  notice.hidden = false;
  returnLeft = Number(notice.dataset.return);
  return `. ${find("span", notice).textContent}`;
}

function returnSoon() {
  // Nobody is taken away from a receipt that was not seen.
  if (!returnLeft || document.hidden) return;
  returnLeft -= 1;
  if (!returnLeft) location.assign(find("#ip-return").href);
}

function enhance() {
  for (const element of main.querySelectorAll("[data-script]")) element.hidden = false;
  lastLeft = Number(timer()?.dataset.secondsLeft);
  count(lastLeft);
}

document.addEventListener("click", async ({ target }) => {
  if (target.id === "ip-stay") {
    returnLeft = 0;
    find("#ip-return").focus();
    target.parentElement.hidden = true;
  }
  const button = target.closest("button[data-copy]");
  if (!button) return;
  const source = () => find(`#${button.dataset.copy}`);
  button.dataset.label ??= button.textContent;
  const { copied, selected, label } = button.dataset;
  let outcome = copied;
  try {
    await navigator.clipboard.writeText(source().textContent);
  } catch {
    getSelection().selectAllChildren(source());
    outcome = selected;
  }
  announce(outcome, "polite");
  button.textContent = outcome;
  setTimeout(() => { button.textContent = label; }, 3000);
});

if (main) {
  for (const event of ["visibilitychange", "online"]) addEventListener(event, () => plan(0));
  setInterval(() => { tick(); returnSoon(); }, 1000);
  announced = news();
  enhance();
  plan(Number(main.dataset.nextPoll));
}
