"""What every room may use: errors, random numbers, packed molecules, options, bootstrap, threads and processes."""
