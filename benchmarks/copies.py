"""Any number of orders at once: copies of one that the store wrote itself, made by one SQL statement."""

from .databases import connect
from .shops import NOW, Shop

__all__ = ["DUE_LIMIT", "add_copies", "name_invoice", "name_order"]

DUE_LIMIT = 400
"""So many of the first copies are due, however many there are."""

_MICROSECONDS = 1_000_000
_DAY_SECONDS = 24 * 3600


def name_order(number: int) -> str:
    """Return the id of a copy."""
    return f"copy-{number}"


def name_invoice(number: int) -> str:
    """Return the id of its invoice."""
    return f"invoice-{number}"


def add_copies(shop: Shop, url: str, numbers: range) -> None:
    """Place an order that awaits its payment, and copy it once for each number."""
    order = shop.add_order()
    now = int(NOW.timestamp()) * _MICROSECONDS
    later = now + _DAY_SECONDS * _MICROSECONDS
    body = f"replace(replace(body, '{order.order_id}', order_id), '{order.current_invoice_id}', invoice_id)"
    names = f"""
        WITH RECURSIVE
          numbers(n) AS (SELECT {numbers[0]} UNION ALL SELECT n + 1 FROM numbers WHERE n < {numbers[-1]}),
          texts AS (SELECT n, CAST(n AS TEXT) AS text FROM numbers),
          names AS (SELECT n, 'copy-' || text AS order_id, 'invoice-' || text AS invoice_id FROM texts)"""
    connection = connect(url)
    connection.execute(f"""{names}
        INSERT INTO iterapay_records (key, version, due_at, refs, status, created_at, body)
        SELECT 'order:' || order_id, version, CASE WHEN n < {DUE_LIMIT} THEN {now} ELSE {later} + n END,
          '["' || invoice_id || '"]', status, created_at + n, {body}
        FROM iterapay_records, names WHERE key = 'order:{order.order_id}'""")
    connection.execute(
        f"{names} INSERT INTO iterapay_refs (ref, key) SELECT invoice_id, 'order:' || order_id FROM names"
    )
    connection.execute("ANALYZE")
    if url.startswith("sqlite"):
        # What lies in the log alone is read more slowly, which would be a cost of the filling.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
