"""The real parts that tests start, kill and restart, each as a small class.

`ports` finds free ports; `process` runs any program; `kafka`, `redis`, `visit_counter` and
`browser` build on it. Every process started here ends with the test run, also when pytest itself
is killed.
"""
