"""Scripts that complete command lines in bash, zsh and fish."""
