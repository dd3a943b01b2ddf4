"""DVC stages: thin modules that read params and inputs, call the package, and write outputs."""
