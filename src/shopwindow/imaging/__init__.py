"""From the bytes of an untrusted file to the pixels that a model sees."""
