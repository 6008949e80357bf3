"""The web app: the page, the JSON API and health."""
