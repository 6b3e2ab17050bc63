// Refreshes, counts and copies. Every page works without it, and the server decides everything.
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const seconds = () => performance.now() / 1000;
  let main = find("main[data-status]");
  if (!main) return;

  let pollTimer, deadline, lastLeft, announced, isPolling;
  let notBefore = 0;
  let failures = 0;

  function announce(text, politeness) {
    const region = find(`[data-live=${politeness}]`);
    if (!region) return;
    // Emptied first: a region that gets the same text again stays silent.
    region.textContent = "";
    setTimeout(() => { region.textContent = text; }, 100);
  }

  const sentence = () => find("[data-announce]", main)?.textContent.trim();
  const timer = () => find("[role=timer]", main);

  function count(secondsLeft) {
    deadline = timer() && secondsLeft != null ? seconds() + secondsLeft : null;
    tick();
  }

  function tick() {
    if (deadline === null) return;
    const { dataset } = timer();
    const left = Math.max(0, Math.ceil(deadline - seconds()));
    for (const mark of [300, 60]) {
      // After sleep the clock may be far past the mark; then the warning would be untrue.
      if (lastLeft > mark && left <= mark && left > mark - 10) announce(dataset[`at${mark}`], "polite");
    }
    // A slow answer sets the clock back, but a mark is passed once.
    lastLeft = Math.min(lastLeft, left);
    const clock = new Date(left * 1000).toISOString().slice(left < 3600 ? 14 : 11, 19);
    timer().textContent = left ? clock : dataset.at0;
    timer().previousElementSibling?.toggleAttribute("hidden", !left);
    timer().parentElement.toggleAttribute("data-low", left <= 300);
    if (left) return;
    deadline = null;
    plan(0);
  }

  async function get(url) {
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(15000) });
    if (answer.ok) return answer;
    notBefore = seconds() + (Number(answer.headers.get("Retry-After")) || 0);
    throw new Error(answer.status);
  }

  async function poll() {
    if (isPolling) return;
    isPolling = true;
    try {
      const status = await (await get(main.dataset.status)).json();
      if (status.revision !== main.dataset.revision) await refresh();
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
      failures += 1;
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
    const page = new DOMParser().parseFromString(await (await get(main.dataset.page)).text(), "text/html");
    const next = find("main[data-status]", page);
    if (!next) throw new Error("no order");
    // What was opened, chosen or focused stays so if the new page has it.
    for (const { id, value, open, checked } of main.querySelectorAll("details[open], input:checked")) {
      const twin = page.getElementById(id);
      if (twin && twin.value === value) Object.assign(twin, open ? { open } : { checked });
    }
    const focused = document.activeElement;
    const target = main.contains(focused) && (page.getElementById(focused.id) || find("h1", next));
    document.title = page.title;
    main.replaceWith(next);
    main = next;
    enhance();
    if (target) target.focus({ preventScroll: true });
    const { politeness } = main.dataset;
    const farewell = leaveSoon();
    if (politeness !== "off" && sentence() && sentence() !== announced) announce(sentence() + farewell, politeness);
    // What was not said may come again with a weight of its own.
    announced = politeness === "off" ? "" : sentence();
  }

  // Only a page that was seen to turn to paid goes on by itself: who comes back to it wants to read it.
  function leaveSoon() {
    const notice = find("[data-return]", main);
    if (!notice) return "";
    notice.hidden = false;
    setTimeout(() => { if (!notice.hidden) location.assign(find("#ip-return").href); }, notice.dataset.return * 1000);
    return `. ${find("span", notice).textContent}`;
  }

  function enhance() {
    for (const element of main.querySelectorAll("[data-script]")) element.hidden = false;
    lastLeft = Number(timer()?.dataset.secondsLeft);
    count(lastLeft);
  }

  document.addEventListener("click", async ({ target }) => {
    if (target.id === "ip-stay") {
      find("#ip-return").focus();
      target.parentElement.hidden = true;
    }
    const button = target.closest("button[data-copy]");
    if (!button) return;
    const source = find(`#${button.dataset.copy}`);
    const { copied, selected, label } = button.dataset;
    let outcome = copied;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      outcome = selected;
    }
    announce(outcome, "polite");
    button.textContent = outcome;
    setTimeout(() => { button.textContent = label; }, 3000);
  });

  for (const event of ["visibilitychange", "online"]) addEventListener(event, () => plan(0));
  setInterval(tick, 1000);
  announced = sentence();
  enhance();
  plan(Number(main.dataset.nextPoll));
})();
