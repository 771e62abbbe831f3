"""What a client sees: routes, schemas, uploads, headers, errors, security, the web page."""
