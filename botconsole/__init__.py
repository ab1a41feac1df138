"""The console: settings, routes, worker, listener, pages; built on incidents and templates, and they on events."""

__version__ = "0.1.0"
