"""Payment links: reusable invoices at public pages, and what comes in there. Knows nothing of Flask or of HTTP."""
