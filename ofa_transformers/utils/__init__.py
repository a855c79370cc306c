"""What every room may use: files, packed files, progress, memory, exact search, the Hub."""
