"""From a bundle and images to predictions: what the page, the API, the CLI and bulk share."""
