"""What a client sees: routes, schemas, uploads, caching, errors, security, the web page."""
