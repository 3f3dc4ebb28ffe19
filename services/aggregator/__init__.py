"""The aggregator: reads the log, folds it, and applies the batches to the store under the fence."""
