"""The HTTP service: `app.api` is the HTTP interface, `app.serving` does the work and knows no HTTP."""
