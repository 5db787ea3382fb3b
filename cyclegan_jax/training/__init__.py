"""Training of any `Method`: the code here depends on no method by name."""
