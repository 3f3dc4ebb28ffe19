"""What is true of one backend alone, on the real server."""
