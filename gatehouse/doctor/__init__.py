"""A look at a gate from outside, or at this machine: each check returns findings, and changes nothing."""
