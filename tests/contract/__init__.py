"""Contract tests: each law of a port, run on the fakes and on the real parts."""
