"""`python -m services.cli`: the same as `visit-counter`."""

from services.cli import main

main()
