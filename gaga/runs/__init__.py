"""What each command does, without a command line: read, compute, store. Called from Python and by gaga.cli."""
