"""What people say about the answers, kept where its owner wants it: see docs/feedback.md."""
