"""What visitors say about answers, kept where the owner wants it: see docs/feedback.md."""
