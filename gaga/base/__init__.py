"""What every room may use: errors, files, random numbers, packed molecules, resampling."""
