"""The browser side: one script, its types, and the demo portal. Files only; the api serves them."""
