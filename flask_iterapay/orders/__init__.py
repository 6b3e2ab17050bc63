"""The shop's side: what an order is and when it changes. Knows nothing of Flask or of HTTP."""
