"""Money that waits: for the gateway's word, for patience to end, or for a person."""

from typing import Any

import pytest
from link_builders import receive_payment
from worlds import World, make_world

from flask_iterapay.errors import ContributionNotFoundError, ContributionNotOnHoldError, InvalidLinkError
from flask_iterapay.links.models import ContributionAnomaly, ContributionStatus
from flask_iterapay.orders.models import HoldReason, Policy


@pytest.fixture
def world(tmp_path):
    """A shop, and a gateway that gives ever new addresses and tells which of them was paid."""
    return make_told_world(tmp_path)


def make_told_world(folder, **options: Any) -> World:
    world = make_world(folder, **options)
    world.switch(reusable_address="new", transaction_detail="told")
    return world


class TestDeciding:
    @pytest.mark.parametrize("action", ["pay_pending", "aml_unknown", "aml_fail"])
    @pytest.mark.parametrize("is_accepted", [True, False])
    def test_a_person_decides_once_about_money_that_waits(self, world: World, action, is_accepted):
        """It stands, whatever is read later; the visitor's page shows it, and a handler hears of what is taken."""
        contribution_id = receive_payment(world, action)
        decided = world.links.resolve(contribution_id, is_accepted=is_accepted, actor="ann", note="asked")
        assert decided.status is (ContributionStatus.RECEIVED if is_accepted else ContributionStatus.REFUSED)
        for again in (True, False) if is_accepted else (False,):
            with pytest.raises(ContributionNotOnHoldError):
                world.links.resolve(contribution_id, is_accepted=again, actor="bob")
        world.links.sync("donations")
        world.clock.advance(3600)
        world.links.sync("donations")
        world.links.dispatch_news("donations")
        after = world.links.get_contribution(contribution_id)
        assert (after.status, after.anomalies) == (decided.status, ())
        assert [item.status for item in world.links.get_visit(after.reference).payments] == [decided.status]
        received = [event.key for event in world.handled if event.name == "link.payment_received"]
        assert received == ([f"link.payment_received:{contribution_id}"] if is_accepted else [])

    def test_what_contradicts_a_decision_is_told(self, world: World):
        """Money that settles after it was turned down is somebody's to send back."""
        contribution_id = receive_payment(world, "aml_fail")
        refused = world.links.resolve(contribution_id, is_accepted=False, actor="ann")
        world.act_on("settle", refused.invoice_id)
        for _ in range(2):
            world.links.sync("donations")
        after = world.links.get_contribution(contribution_id)
        assert (after.status, after.anomalies) == ("refused", (ContributionAnomaly.SETTLED_AFTER_REFUSED,))
        assert [event.name for event in after.events].count("link.payment_anomaly") == 1

    @pytest.mark.parametrize(
        ("action", "is_accepted"), [("pay_exact", True), ("pay_exact", False), ("pay_dust", False)]
    )
    def test_there_is_nothing_to_decide_about_what_is_final(self, world: World, action, is_accepted):
        """Received stays so, and failed cannot be turned down."""
        contribution_id = receive_payment(world, action)
        with pytest.raises(ContributionNotOnHoldError):
            world.links.resolve(contribution_id, is_accepted=is_accepted, actor="ann")

    @pytest.mark.parametrize("action", ["pay_dust", "aml_fail"])
    def test_what_was_refused_can_be_taken_after_all(self, world: World, action):
        """Whoever refused it, the gateway or a person, money that is there is not lost to the books; once."""
        contribution_id = receive_payment(world, action)
        if action == "aml_fail":
            world.links.resolve(contribution_id, is_accepted=False, actor="ann")
        taken = world.links.resolve(contribution_id, is_accepted=True, actor="bob", note="it is there")
        assert (taken.status, taken.history[-1].actor) == (ContributionStatus.RECEIVED, "bob")
        names = [event.name for event in taken.events]
        assert names.count("link.payment_received") == 1

    def test_a_person_says_who_and_why_in_plain_words(self, world: World):
        """About a contribution that is there."""
        contribution_id = receive_payment(world, "aml_fail")
        for words in ({"actor": "a\nb"}, {"actor": "ann", "note": "x" * 1001}):
            with pytest.raises(InvalidLinkError):
                world.links.resolve(contribution_id, is_accepted=True, **words)
        with pytest.raises(ContributionNotFoundError):
            world.links.resolve("nobody:nothing", is_accepted=True, actor="ann")
        assert world.links.get_contribution(contribution_id).hold_reason is HoldReason.AML_FAILED

    def test_patience_ends_by_itself_and_the_gateways_word_ends_the_hold(self, world: World):
        """Reconcile alone sees to both."""
        contribution_id = receive_payment(world, "aml_unknown")
        for _ in range(31):
            world.clock.advance(61)
            world.service.reconcile()
        held = world.links.get_contribution(contribution_id)
        assert (held.status, held.hold_reason) == (ContributionStatus.ON_HOLD, HoldReason.AML_UNKNOWN)
        world.act_on("settle", held.invoice_id)
        world.clock.advance(61)
        world.service.reconcile()
        assert [event.name for event in world.handled] == ["link.payment_on_hold", "link.payment_received"]

    def test_a_merchant_who_trusts_confirmations_counts_them(self, tmp_path):
        """With ``AML="unless_failed"``; what is flagged is held all the same."""
        world = make_told_world(tmp_path, policy=Policy(is_aml_required=False))
        found = [receive_payment(world, action) for action in ("aml_unknown", "aml_fail")]
        statuses = [world.links.get_contribution(contribution_id).status for contribution_id in found]
        assert statuses == [ContributionStatus.RECEIVED, ContributionStatus.ON_HOLD]
