"""The work behind the HTTP interface: the service's state, models by name, admission, memory budget and watchdog.

Nothing here knows HTTP.
"""
