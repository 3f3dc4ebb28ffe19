"""What is deployed beside our services, as files."""
