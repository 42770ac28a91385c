"""Pages: records that a study declared, what they show and what may be said of them."""
