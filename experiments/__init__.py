"""Studies: a question, the runs that answer it, and the documented figures (`reported.json`)."""
