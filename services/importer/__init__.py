"""History from access logs and from old counters' day totals: read, judged and folded by the rules of live counting, written as deltas."""
