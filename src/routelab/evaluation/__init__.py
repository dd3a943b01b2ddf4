"""How good a policy is, and how sure we are: cross-fitted hulls, bootstrap, replay, off-policy estimates."""
