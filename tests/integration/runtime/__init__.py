"""What of `services/runtime` needs a real socket."""
