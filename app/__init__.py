"""The HTTP service: `app.api` is what a client sees, `app.serving` what does the work and knows no HTTP."""
