"""The command line: one module a command; no logic beyond parsing, printing and exit codes."""
