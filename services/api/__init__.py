"""The api: serves the numbers to widgets, readers and programs; reading never counts."""
