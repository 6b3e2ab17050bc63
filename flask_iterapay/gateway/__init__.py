"""IteraPay as it speaks: its words, its JSON, its signatures, its HTTP. Knows nothing of Flask or of orders."""
