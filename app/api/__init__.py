"""The HTTP API: native /v1, health and metrics. `app.api.app.create_app(context)` makes it."""
