"""Similar items: a shop's own items in one file, and which of them look most like a photo."""
