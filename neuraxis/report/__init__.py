"""What a run looks like: figures of artifacts, one page per participant, one page and one table over all of them."""
