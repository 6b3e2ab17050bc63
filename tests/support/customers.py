"""A customer at a payment page in a real browser, whose clocks stand still, and what a screen reader would say.

Time is moved in the shop and in the browser at once, so that pauses and time-outs cost nothing.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from screens import Step, prepare, prepare_link
from shops import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

POLL_SECONDS = 3
READ_SECONDS = 60
"""Within this time the shop reads the gateway for any page that still polls."""
STATUS = re.compile(r"/status$")
PAGE = re.compile(r"/pay/(?:visits/)?[^/]+$")
LINK: Mapping[str, object] = {"description": "Notebooks for the library", "minimum": "20.00"}

# Hears what a screen reader would say: every text that is put into a live region, whatever makes it one, and every
# alert that appears. It listens before the first script runs.
LISTEN = """
window.heard = [];
const IMPLIED = { status: "polite", log: "polite", alert: "assertive", timer: "off", marquee: "off" };
const politeness = (element) => element.ariaLive ?? IMPLIED[element.role];
const say = (region) => {
  const words = region.textContent.trim();
  if (words && politeness(region) !== "off") heard.push([politeness(region), words]);
};
const hear = ({ type, target, addedNodes }) => {
  let region = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
  while (region && !politeness(region)) region = region.parentElement;
  if (region && (addedNodes.length || type === "characterData")) return say(region);
  for (const node of addedNodes) {
    if (node.nodeType !== Node.ELEMENT_NODE) continue;
    for (const element of [node, ...node.querySelectorAll("*")]) if (politeness(element) === "assertive") say(element);
  }
};
document.addEventListener("readystatechange", () => {
  const changes = { childList: true, characterData: true, subtree: true };
  new MutationObserver((records) => records.forEach(hear)).observe(document, changes);
}, { once: true });
"""


def stop_clock(page: "Page", now: datetime) -> None:
    """Let a page's clock stand still from its next load on."""
    page.clock.install(time=now - timedelta(hours=1))
    page.clock.pause_at(now)


class Customer:
    """Somebody with the page of an order open, or of a visit to a payment link, and the shop behind it.

    ``page_scripts`` run on the page before its own, and spoil it for tests of the tests.
    """

    def __init__(self, visits: Any, shop: Shop, base_url: str) -> None:
        self.visits = visits
        self.shop = shop
        self.base_url = base_url
        self.polls: list[str] = []
        self.unanswered: set[Any] = set()
        self.page_scripts: tuple[str, ...] = ()
        self.page: Page

    def open(self, *steps: Step, method: str | None = "1", days_ahead: int = -1, **options: Any) -> "Page":
        """Open the page of an order that was prepared like this.

        The browser's clock is ``days_ahead`` of the shop's; the other options are those of a browser context.
        """
        return self._go_to(prepare(self.shop, *steps, method=method, return_url="/thanks"), days_ahead, options)

    def open_link(self, *steps: Step, terms: Mapping[str, object] = LINK, **options: Any) -> "Page":
        """Open the page of a payment link that was made on these terms and prepared like this."""
        return self._go_to(prepare_link(self.shop, *steps, **terms), -1, options)

    def open_visit(self, *steps: Step, terms: Mapping[str, object] = LINK, **options: Any) -> "Page":
        """Open the page of the newest visit to such a link."""
        prepare_link(self.shop, *steps, **terms)
        return self._go_to(self.shop.visits[-1], -1, options)

    def _go_to(self, path: str, days_ahead: int, options: dict[str, Any]) -> "Page":
        self.page = self.visits.open(**options)
        self.page.set_default_timeout(10_000)
        self.page.on("request", self._note)
        for end in ("requestfinished", "requestfailed"):
            self.page.on(end, lambda request: self.unanswered.discard(request))
        for script in (LISTEN, *self.page_scripts):
            self.page.add_init_script(script)
        stop_clock(self.page, self.shop.clock.now + timedelta(days=days_ahead))
        self.page.goto(self.base_url + path)
        return self.page

    def _note(self, request: Any) -> None:
        if STATUS.search(request.url):
            self.polls.append(request.url)
            self.unanswered.add(request)

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.shop.clock.advance(seconds)
        self.page.clock.run_for(round(seconds * 1000))

    def pass_answered_time(self, seconds: float) -> None:
        """Let both clocks go on, and stand still until the shop has answered: its answers take real time."""
        self.pass_time(seconds)
        while self.unanswered:
            self.page.wait_for_event("requestfinished")

    def poll(self, seconds: float = POLL_SECONDS) -> "Response":
        """Let time pass in which the page is to ask for the status."""
        with self.page.expect_response(STATUS) as response:
            self.pass_time(seconds)
        return response.value

    def poll_without_news(self) -> None:
        """Let the page ask, and wait until it has dealt with an answer that changes nothing but the last update."""
        self.shop.clock.advance(READ_SECONDS)
        self.poll(self.pause())
        now = self.shop.clock.now.isoformat(timespec="seconds")
        self.page.locator(f"[data-updated][datetime='{now}']").wait_for()

    def pause(self) -> int:
        """Seconds until the next poll."""
        return int(self.page.locator("main").get_attribute("data-next-poll") or 0)

    def see(self, headline: str) -> None:
        """Wait for a page, and until it was announced."""
        self.page.get_by_role("heading", name=headline).wait_for()
        self.page.clock.run_for(200)

    def see_notice(self, words: str) -> None:
        """Wait for a notice, and until it was announced."""
        self.page.locator("main .ip-notice").filter(has_text=words).wait_for()
        self.page.clock.run_for(200)

    def hear(self) -> list[list[str]]:
        """Everything announced so far: how politely, and what."""
        return self.page.evaluate("heard")

    def time_left(self) -> int:
        """Seconds on the countdown."""
        minutes, seconds = self.page.get_by_role("timer").inner_text().split(":")
        return int(minutes) * 60 + int(seconds)

    def forgive(self, words: str) -> None:
        """Take out the problems that the test provoked; there must be one."""
        provoked = [problem for problem in self.visits.problems if words in problem]
        assert provoked
        for problem in provoked:
            self.visits.problems.remove(problem)
