"""A/B tests of routers: who gets which, what they did, and what it proves."""
