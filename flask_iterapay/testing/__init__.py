"""Help for other people's tests."""

from .stores import DurableOrderStoreContract, OrderStoreContract

__all__ = ["DurableOrderStoreContract", "OrderStoreContract"]
