"""The doctor: sends a probe all the way a view goes, and says at which hop it is lost. A client of HTTP and of the two ports."""
