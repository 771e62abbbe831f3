"""The HTTP interface: routes, schemas, uploads, headers, errors, security, and the web page."""
