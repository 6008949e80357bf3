"""What runs under the app: waitress, its connections, their limits. docs/server.md draws it."""
