"""What is deployed beside our services; of Python only what writes the dashboards."""
