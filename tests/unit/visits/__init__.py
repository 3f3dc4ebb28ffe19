"""Laws and examples of the domain."""
