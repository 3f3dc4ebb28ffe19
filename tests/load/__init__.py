"""Load tests as programs: each starts its own system, or loads one that runs (`--url`), and says whether what it shows holds."""
